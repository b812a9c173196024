"""Publishing a file as events: ``table`` and ``ndjson`` read lines, ``checking`` makes records of them, ``producing``
hands those to Kafka, ``job`` runs it all, ``telling`` says how it goes.
"""
