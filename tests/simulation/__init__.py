"""Whole groups of the real loop and core over simulated surroundings, in simulated time.

* ``world``: one run of a ``scenario`` (a seed decides it); ``life``: one process in it;
  ``befalling`` and ``cluster``: what goes wrong; ``ending``: what must be settled afterwards.
* ``scheduler``, ``process``: time, and what can befall between two effects.
* ``broker``, ``group``, ``consumer_group``: Kafka; ``source`` and ``client_*``: its client;
  ``api``: the API; ``adapters``, ``dead_letters``, ``receipts``: the threads beside the owner.
* ``oracle``, ``group_watch``: the judges; they are told all by ``witness``.

Use it for what only happens between members, or by the moment: rebalances, crashes, late responses.
What its fakes have in common with the real parts is held by ``tests.contract``.
"""
