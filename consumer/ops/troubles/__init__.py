"""Troubles: what is wrong, where, and what to do, as one table of causes (contract, section 11).

``find`` is a pure function of a snapshot and of what is seen besides it (``Seen``). All troubles of
one cause are one, with their places. *Degraded*: it goes on, or comes back by itself. *Stuck*: it
needs a person. Each cause has its section in docs/runbook.md.
"""
