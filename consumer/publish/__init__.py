"""Publish a file as events.

``opening`` opens the file, ``lines`` and ``table`` read it, ``checking`` makes records of its
lines, ``job`` hands them to Kafka (or to ``preview``), ``reporting`` shows the progress.
"""
