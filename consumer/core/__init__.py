"""Decide everything: pure, without a clock, a thread, a log or randomness.

``pipeline`` composes the rooms below; ``effects`` says what the loop is to do.
"""
