"""Check what must be right before the consumer can work, without changing anything.

Each result is a plain value, ``Check``. Nothing here joins the group, commits, publishes or
uploads; only ``--create`` makes topics that are not there.
"""
