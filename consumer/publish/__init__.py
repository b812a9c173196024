"""Publishing a file as events.

``opening`` takes the file, ``lines`` and ``table`` read it, ``checking`` makes records of its
lines, ``job`` hands them to Kafka (or to ``preview``), ``telling`` says how it goes.
"""
