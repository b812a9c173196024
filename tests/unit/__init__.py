"""The core, the loop and the formats by themselves: no thread, no socket, no clock but a number.

* ``world``: the pipeline in a world of its own, which plays Kafka, the API and dead letters; for
  what may happen in the core, one partition's owner at a time.
* ``runner_fakes``: the adapters that the owner loop is attached to, one call at a time.
* ``builders``: records, rows, settings and attempts in a line; ``epcis``: events of EPCIS;
  ``api_model``: what an API holds that got such rows.

Folders mirror ``consumer/``. Use it for a rule that one call or one turn shows.
"""
