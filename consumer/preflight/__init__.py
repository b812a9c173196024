"""What has to be right before the consumer can work, found out without touching anything.

Each check is a plain value, ``Check``; nothing here joins the group, commits, publishes or uploads.
Only ``--create`` changes anything: it makes topics that are not there.
"""
