"""Kafka: read, commit, write dead letters; nothing here decides what becomes of a row."""
