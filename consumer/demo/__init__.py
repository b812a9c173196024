"""The demo: the whole system on one machine, watched by an independent judge.

Read in this order:

* ``factory``: which codes there are; ``line``: what a packaging line publishes about them; ``mistakes``: what
  goes wrong there;
* ``stage``: starts Kafka, the API and the consumer, and keeps the evidence;
* ``replay``: what must come of what was published, worked out from the guides alone; ``judge``: compares it
  with what came of it; ``report``: says it.
"""
