"""``scm-consumer where``: what became of a code's events."""
