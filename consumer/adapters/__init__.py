"""Adapters to Kafka, the SCM API and the schema registry; and a dry run in their place."""
