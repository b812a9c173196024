"""The schema registry, asked as the consumer will ask it: for a schema by its id."""

from __future__ import annotations

from collections.abc import Iterator

from consumer.adapters.schema_registry.client import RegistryClient, RegistryError, explain
from consumer.config.settings import SchemaRegistrySettings
from consumer.preflight.result import Check, failed, ok

NAME = "registry"
#: Any id will do: that there is no such schema is an answer, too.
SOME_ID = 1


class RegistryCheck:
    """Whether it answers and takes the log-in.

    ConfigError at once for settings no call could be made with.
    """

    def __init__(self, settings: SchemaRegistrySettings) -> None:
        self._settings = settings
        password = settings.password.get_secret_value()
        self._client = (
            RegistryClient(settings.url, settings.user, password) if settings.url else None
        )

    def checks(self) -> Iterator[Check]:
        """One line."""
        url, user = self._settings.url, self._settings.user
        if self._client is None:
            yield ok(NAME, "none configured; needed only for records in Confluent's wire format")
            return
        try:
            self._client.schema(SOME_ID)
        except Exception as error:  # whatever the library raises
            if not (isinstance(error, RegistryError) and error.not_there):
                what, _, advice = explain(error, url).rpartition(": ")
                yield failed(NAME, what, advice)
                return
        finally:
            self._client.close()
        yield ok(NAME, f"{url}: answers{f', takes the log-in of {user}' if user else ''}")
