"""scm-consumer: brings supply-chain events from Kafka into the Scantrust SCM API."""

__version__ = "0.1.0"
