"""The demo: the whole system on one machine, watched by an independent judge.

Read in this order:

* ``factory``: which codes there are; ``line``: what a packaging line publishes about them;
  ``mistakes``: what goes wrong there; ``shift``: all of it, in order; ``publishing``: at a steady
  pace, while the consumer works;
* ``stage``: starts Kafka, the API and the consumer (``process``), and keeps the evidence;
  ``staying``: keeps all of it running to look at, until a signal (``signals``);
* ``watch``: what can be seen meanwhile; ``progress``, ``view``, ``panels``: shown on a terminal or
  told in a log;
* ``replay``: what must come of what was published, worked out from the guides alone; ``judge``:
  compares it with what came of it; ``report``: says it.
"""
