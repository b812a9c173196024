"""A scripted day at a factory, through the real Kafka and the sandbox, in every format and mode.

``script`` says what happens, ``encoders`` how each format tells it, ``model`` what must come of it:
none of them shares code with what they judge.
"""
