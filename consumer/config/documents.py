"""Write what users see of the configuration: an example, the JSON schema, what is in effect.

All of it comes from the settings themselves.
"""

from __future__ import annotations

import textwrap
from typing import Any

from consumer import __version__
from consumer.adapters.kafka.property_rules import REFUSED_CLIENT_PROPERTIES
from consumer.config.keys import CLIENT, SECTIONS, Key, section_model, section_text, toml_value
from consumer.config.loading import Loaded
from consumer.config.masking import masked

#: Keys that nobody can leave as they are without a look. The example gives them first in their
#: section, and not as a comment.
TO_SET = ("kafka.bootstrap_servers", "kafka.topics", "api.base_url", "api.token")

_NOTES = {
    "api.base_url": "To try without an account: scm-consumer sandbox; "
    "http://127.0.0.1:8080, token sandbox-token.",
    "api.token": "Better out of this file: SCM_API__TOKEN.",
}
_HEAD = """\
Settings of scm-consumer. What is marked SET is to be set or checked; a key behind a "#" stands
at its default. The environment goes over this file: SCM_KAFKA__BOOTSTRAP_SERVERS, SCM_API__TOKEN.
See what is in effect: scm-consumer config show. All of it explained: docs/configuration.md."""
_CLIENT_EXAMPLE = """\
"security.protocol" = "sasl_ssl"
"sasl.mechanism" = "SCRAM-SHA-512"
"sasl.username" = "line7"
"sasl.password" = "..."          # better as SCM_KAFKA__CLIENT__SASL_PASSWORD
"ssl.ca.location" = "/etc/ssl/kafka-ca.pem\""""
_WIDTH = 100


def example() -> str:
    """Return a file with every key: those to be set, and all others as comments, at the default."""
    lines = [f"# {line}" for line in _HEAD.splitlines()]
    for section, keys in SECTIONS.items():
        lines += ["", *_comment(section_text(section)), f"[{section}]"]
        tables = [key for key in keys.values() if key.path == CLIENT]
        first = [key for key in keys.values() if key.path in TO_SET]
        for key in [
            *first,
            *(key for key in keys.values() if key not in first and key not in tables),
        ]:
            lines += _example_of(key)
        for key in tables:  # behind all keys of the section that it stands in
            lines += [
                "",
                *_comment(f"{key.field.description} For a cluster with a log-in:"),
                f"[{key.path}]",
            ]
            lines += [f"#   {line}" for line in _CLIENT_EXAMPLE.splitlines()]
    return "\n".join(lines) + "\n"


def _example_of(key: Key) -> list[str]:
    to_set = key.path in TO_SET
    allowed = "" if key.allowed.startswith("text") else f" Allowed: {key.allowed}."
    text = f"{'SET: ' if to_set else ''}{key.field.description}{allowed} {_NOTES.get(key.path, '')}"
    written = f"{key.name} = {toml_value(key.default)}"
    lines = [written]
    if len(written) > _WIDTH and key.is_list:
        lines = [f"{key.name} = [", *(f"{toml_value(item)}," for item in key.default), "]"]
    return [*_comment(text), *(f"{'' if to_set else '#'}{line}" for line in lines)]


def _comment(text: str) -> list[str]:
    return [f"# {line}" for line in textwrap.wrap(text, _WIDTH - 2, break_on_hyphens=False)]


def shown_configuration(loaded: Loaded) -> str:
    """Return what is in effect, as TOML with secrets hidden; comments name the origin of values."""
    lines = [
        f"# scm-consumer {__version__}: the configuration in effect; "
        "values without a comment are defaults"
    ]
    api = loaded.settings.api
    if not api.token.get_secret_value() and not api.token_file:
        lines.append(
            "# no token is set: run and check need api.token or api.token_file, "
            "such as by SCM_API__TOKEN"
        )
    for section, values in masked(loaded.settings).items():
        tables = {name: value for name, value in values.items() if isinstance(value, dict)}
        plain = {name: value for name, value in values.items() if name not in tables}
        lines += _shown_table(section, plain, loaded.origins)
        for name, table in tables.items():
            if table or f"{section}.{name}" != CLIENT:
                lines += _shown_table(f"{section}.{name}", table, loaded.origins)
    return "\n".join(lines) + "\n"


def _shown_table(path: str, values: dict[str, Any], origins: dict[str, str]) -> list[str]:
    lines = ["", f"[{path}]"]
    for name, value in values.items():
        origin = origins.get(f"{path}.{name}")
        key = toml_value(name) if "." in name else name
        lines.append(f"{key} = {toml_value(value)}{f'  # {origin}' if origin else ''}")
    return lines


def json_schema() -> dict[str, Any]:
    """Return the JSON schema of the file. It demands no token: that may be in the environment."""
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "scm-consumer.toml",
        "description": f"Settings of scm-consumer {__version__}.",
        "type": "object",
        "properties": {section: _section_schema(section) for section in SECTIONS},
        "additionalProperties": False,
    }


def _section_schema(section: str) -> dict[str, Any]:
    schema = section_model(section).model_json_schema()
    del schema["title"]
    for name, value in schema["properties"].items():
        del value["title"]
        if SECTIONS[section][name].path == CLIENT:
            value |= _client_schema()
    return schema


def _client_schema() -> dict[str, Any]:
    # In TOML, sasl.password = "x" without quotes around the name makes tables of it, which are read
    # the same.
    scalar = {"type": ["string", "number", "boolean"]}
    table = {"type": "object", "additionalProperties": True}
    return {
        "propertyNames": {"not": {"enum": sorted(REFUSED_CLIENT_PROPERTIES)}},
        "additionalProperties": {"anyOf": [scalar, table]},
    }
