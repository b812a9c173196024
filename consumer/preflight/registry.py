"""Check the schema registry as the consumer uses it: by the look-up of a schema by its id."""

from __future__ import annotations

from collections.abc import Iterator

from consumer.adapters.schema_registry.client import RegistryClient, RegistryError, explain
from consumer.config.settings import SchemaRegistrySettings
from consumer.preflight.result import Check, failed, ok

NAME = "registry"
#: Any id will do: a registry that does not know it works, too.
SOME_ID = 1


class RegistryCheck:
    """The check of the registry. Raises ConfigError for settings no call could be made with."""

    def __init__(self, settings: SchemaRegistrySettings) -> None:
        self._settings = settings
        password = settings.password.get_secret_value()
        self._client = (
            RegistryClient(settings.url, settings.user, password) if settings.url else None
        )

    def checks(self) -> Iterator[Check]:
        """Yield one check: the registry answers and takes the log-in."""
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
