"""The owner's thread: it reads, lets the core decide, does what the core says, and commits.

``ports`` is what the loop expects of the adapters.
"""
