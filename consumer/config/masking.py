"""Hide the secrets in settings that are shown: by their type, their name, and in addresses."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from pydantic import SecretStr

from consumer.config.settings import Settings
from consumer.hiding import HIDDEN, Hider

#: A user or a password before an address. Greedy: an unescaped "/" or "@" may stand in a password.
_USER_INFO = re.compile(r"://.*@", re.DOTALL)
#: Settings whose value is an address. The scheme may be missing; a query has no place there.
_ADDRESSES = frozenset({"base_url", "bootstrap_servers", "proxy", "url"})
_QUERY = re.compile(r"[?#].*", re.DOTALL)
_BARE_USER_INFO = re.compile(r"^([a-z][a-z0-9+.-]*://)?.*@", re.IGNORECASE | re.DOTALL)

_SECRET_WORDS = (
    "token",
    "password",
    "passphrase",
    "secret",
    "key.pem",
    "jaas",
    "sasl.oauthbearer.config",
)
#: Ends of names with such a word that say only where a secret is.
_PLACES = ("_file", ".file", ".url", ".location")


def is_secret(name: str) -> bool:
    """Return whether a setting or librdkafka property of this name is never shown."""
    name = name.lower()
    return not name.endswith(_PLACES) and any(word in name for word in _SECRET_WORDS)


def masked(settings: Settings) -> dict[str, Any]:
    """Return the settings as plain JSON values by section; a secret that is set is "(hidden)".

    Secrets are the secret fields, the librdkafka properties that ``is_secret`` names, and the user
    info of addresses. An empty secret stays "".
    """
    sections: dict[str, Any] = masked_value("", settings.model_dump(mode="python"))
    return sections


def masked_value(name: str, value: Any) -> Any:
    """Return a value as it may be shown; ``name``: of the setting or librdkafka property."""
    if isinstance(value, SecretStr):
        return HIDDEN if value.get_secret_value() else ""
    if isinstance(value, Mapping):
        return {inner_name: masked_value(inner_name, inner) for inner_name, inner in value.items()}
    if isinstance(value, str):
        if is_secret(name):
            return HIDDEN if value else ""
        if name in _ADDRESSES:
            return _QUERY.sub(f"?{HIDDEN}", _BARE_USER_INFO.sub(rf"\1{HIDDEN}@", value))
        return _USER_INFO.sub(f"://{HIDDEN}@", value)
    if isinstance(value, list | tuple):
        return [masked_value(name, inner) for inner in value]
    return value


def hide_secrets(settings: Settings, hider: Hider) -> None:
    """Have these settings' secrets hidden wherever others show them."""
    registry = settings.schema_registry
    hider.add_login(registry.user, registry.password.get_secret_value())
    _hide(hider, "", settings.model_dump(mode="python"))


def _hide(hider: Hider, name: str, value: Any) -> None:
    if isinstance(value, SecretStr):
        hider.add(value.get_secret_value())
    elif isinstance(value, Mapping):
        for inner_name, inner in value.items():
            _hide(hider, inner_name, inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            _hide(hider, name, inner)
    elif isinstance(value, str):
        if is_secret(name):
            hider.add(value)
        # A log-in before an address: its password, as written and as it is sent.
        bare = _BARE_USER_INFO if name in _ADDRESSES else _USER_INFO
        if found := bare.search(value):
            user, _, password = found[0].rpartition("@")[0].rpartition("//")[2].partition(":")
            hider.add(password)
            hider.add_login(unquote(user), unquote(password))
