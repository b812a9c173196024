"""The ground of tests in several folders: a real Kafka, a registry, the sandbox, the program.

* ``kafka_sources``: the Kafka of a run (fixture ``kafka``); ``kafka_broker``: one that a test may
  stop and kill; ``kafka_secure``: one that asks for TLS and a password; ``kafka_mock``: where
  there is none; ``kafka_witness``: produce, and read back with another client.
* ``process``: the consumer as a process; ``job``: topics, a sandbox and the settings around it;
  ``sandbox_client``: a plain client of the sandbox; ``apicurio``: a schema registry.
* ``oracle``: what was published against what was applied.
* ``needs``, ``surroundings``: the machine.

Use it where a test meets the outside. Without sockets or processes, use ``tests.unit``; for many
members and time that passes, ``tests.simulation``.
"""
