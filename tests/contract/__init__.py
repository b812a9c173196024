"""Tests that run against the real part and against the simulation's fake of it.

* ``real_kafka``, ``simulated_kafka``: the two sites of the tests of the source; ``member``: what a
  test sees of one member, whichever it is.
* ``api``, ``letters``: the same for the upload pool and for dead letters.

Use it when a fake of ``tests.simulation`` learns something: the test says it of the real part, too.
"""
