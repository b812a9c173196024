"""The view of the status: pure functions of a document."""
