"""Kafka adapters: reading, committing, dead letters; nothing here decides what becomes of a row."""
