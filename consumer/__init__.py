"""scm-consumer: brings supply-chain events from Kafka into the Scantrust SCM API."""

from importlib.metadata import version

__version__ = version("scm-consumer")
