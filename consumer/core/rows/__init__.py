"""From an event to the rows that are uploaded: which fields are sent, what is rejected unsent."""
