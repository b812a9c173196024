"""From rows to requests: lanes collect rows that may share one, windows are the batches."""
