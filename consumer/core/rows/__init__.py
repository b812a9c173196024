"""From an event to the rows that are uploaded.

Which fields are sent, and what is rejected unsent.
"""
