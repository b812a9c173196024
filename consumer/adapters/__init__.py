"""What speaks to the outside.

Kafka, the SCM API, the schema registry; and a dry run in their place.
"""
