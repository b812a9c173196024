"""Traces by OpenTelemetry, for who has the extra ``scm-consumer[otel]``."""
