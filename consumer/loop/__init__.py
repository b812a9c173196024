"""The owner's thread: it reads, lets the core decide, does what the core says, and commits.

``runner`` turns the loop; ``ports`` is what it expects of its adapters.
"""
