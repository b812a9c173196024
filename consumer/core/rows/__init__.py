"""From an event to the rows that are uploaded: which fields are sent, and what is rejected unsent."""
