"""``scm-consumer dlq``: dead letters, what became of them, and bringing them back."""
