"""Loading the settings: environment over file over default; every mistake at once, each in a line of its own."""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import BaseModel, ValidationError, create_model
from pydantic_settings import BaseSettings, EnvSettingsSource, SettingsConfigDict, SettingsError

from consumer.config import Settings
from consumer.errors import ConfigError

DEFAULT_FILE = Path("scm-consumer.toml")


class _Environment(BaseSettings):
    """Reads the same keys from variables such as ``SCM_KAFKA__BOOTSTRAP_SERVERS``; ``load`` validates them."""

    model_config = SettingsConfigDict(env_prefix="SCM_", env_nested_delimiter="__", extra="ignore")


_FIELDS: dict[str, Any] = {name: (field.annotation, None) for name, field in Settings.model_fields.items()}
_VARIABLES = create_model("_Variables", __base__=_Environment, **_FIELDS)


def load(file: Path | None) -> Settings:
    """The settings from a file and the environment; raises ConfigError with every mistake at once.

    Without ``file``, ``scm-consumer.toml`` of the current folder is read if it is there.
    """
    written = _read_file(file)
    problems = _problems(written, strict=True)
    problems += _unknown_variables()
    merged = _merge(written, _from_environment(problems))
    if not problems:
        problems += _problems(merged, strict=False)
    if problems:
        raise ConfigError(problems)
    settings = Settings(**merged)
    problems = list(_impossible(settings))
    if problems:
        raise ConfigError(problems)
    return settings


def _read_file(file: Path | None) -> dict[str, Any]:
    path = file or DEFAULT_FILE
    if file is None and not path.exists():
        return {}
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError([f"{path}: cannot be read ({error.strerror}); give a file with --config"]) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError([f"{path}: not valid TOML: {error}"]) from None


def _from_environment(problems: list[str]) -> dict[str, Any]:
    try:
        found: dict[str, Any] = EnvSettingsSource(_VARIABLES)()
    except SettingsError as error:
        problems.append(f'environment: {error}: allowed is a JSON list, such as ["a", "b"]')
        return {}
    kafka = found.get("kafka")
    client = kafka.get("client") if isinstance(kafka, dict) else None
    if isinstance(kafka, dict) and isinstance(client, dict):
        kafka["client"] = {name.lower().replace("_", "."): value for name, value in client.items()}
    return found


def _section(prefixed: str) -> tuple[str, type[BaseModel]] | None:
    name = prefixed.removeprefix("SCM_").lower()
    if not prefixed.startswith("SCM_") or name not in Settings.model_fields:
        return None
    annotation = Settings.model_fields[name].annotation
    assert isinstance(annotation, type)
    return name, annotation


def _unknown_variables() -> Iterator[str]:
    for name in sorted(os.environ):
        parts = name.split("__")
        if not name.startswith("SCM_"):
            continue
        section = _section(parts[0])
        if section is None:
            known = next((s for s in Settings.model_fields if parts[0].startswith(f"SCM_{s.upper()}_")), None)
            if known is not None and len(parts) == 1:
                yield f"{name}: unknown; two underscores stand between section and key: SCM_{known.upper()}__..."
            elif len(parts) > 1:
                yield f"{name}: unknown section; allowed are {', '.join(Settings.model_fields)}"
        elif len(parts) > 1 and parts[1].lower() not in section[1].model_fields:
            yield f"{name}: unknown key; allowed are {', '.join(section[1].model_fields)}"


def _merge(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        under = merged.get(key)
        merged[key] = _merge(under, value) if isinstance(under, dict) and isinstance(value, dict) else value
    return merged


def _problems(values: dict[str, Any], *, strict: bool) -> list[str]:
    try:
        Settings.model_validate_json(json.dumps(values, default=str), strict=strict)
    except ValidationError as error:
        return [_told(problem) for problem in error.errors()]
    return []


def _told(problem: Any) -> str:
    """A mistake in a line: the key, the value (never a secret), what is allowed."""
    path = ".".join(str(part) for part in problem["loc"])
    kind, message, value = problem["type"], str(problem["msg"]), problem["input"]
    if kind == "extra_forbidden":
        section = Settings.model_fields.get(str(problem["loc"][0]))
        known: Any = Settings if len(problem["loc"]) == 1 else section.annotation if section else Settings
        return f"{path}: unknown key; allowed are {', '.join(known.model_fields)}"
    if kind == "value_error":
        return f"{path}: {message.removeprefix('Value error, ')}".replace(": client: ", ".client: ")
    shown = "(hidden)" if is_secret(path) else json.dumps(value, default=str)[:80]
    return f"{path} = {shown}: {message[:1].lower()}{message[1:]}"


def is_secret(name: str) -> bool:
    """Whether a setting of this name is never shown."""
    name = name.lower()
    return not name.endswith("_file") and any(
        word in name for word in ("token", "password", "secret", "ssl.key.pem", "jaas", "sasl.oauthbearer.config")
    )


def _impossible(settings: Settings) -> Iterator[str]:
    """Combinations that cannot work."""
    api = settings.api
    if not api.token.get_secret_value() and not api.token_file:
        yield "api.token: empty, and so is api.token_file; set one of them (or SCM_API__TOKEN)"
    if api.token_file and not api.token.get_secret_value():
        yield from _unreadable("api.token_file", api.token_file)
    if api.ca_file:
        yield from _unreadable("api.ca_file", api.ca_file)
    try:
        url = urlsplit(api.base_url)
        usable = url.scheme in ("https", "http") and bool(url.hostname) and not url.query and not url.fragment
        usable = usable and url.port != 0
    except ValueError:
        url, usable = urlsplit(""), False
    if "@" in api.base_url:
        yield "api.base_url: no user or password belongs there; set api.token"
    elif not usable:
        yield f'api.base_url = "{api.base_url}": allowed is https://host, such as https://api.staging.scantrust.io'
    elif url.scheme == "http" and not api.allow_plain_http and not _loopback(url.hostname or ""):
        yield (
            f'api.base_url = "{api.base_url}": http:// would send the token in the clear; use https://, '
            "or set api.allow_plain_http"
        )
    for topic in settings.kafka.topics:
        yield from _topic_problems(topic, settings.dead_letter.topic)
    for name in ("session.timeout.ms", "max.poll.interval.ms"):
        value = settings.kafka.client.get(name, "1")
        if not value.isascii() or not value.isdigit():
            yield f'kafka.client: {name} = "{value}": allowed is a whole number of milliseconds'
    if settings.retry.base_seconds > settings.retry.cap_seconds:
        yield (
            f"retry.base_seconds = {settings.retry.base_seconds:g}: allowed is at most retry.cap_seconds "
            f"({settings.retry.cap_seconds:g})"
        )


def _unreadable(key: str, path: str) -> Iterator[str]:
    try:
        Path(path).read_bytes()
    except OSError as error:
        yield f'{key} = "{path}": cannot be read ({error.strerror})'


def _loopback(host: str) -> bool:
    return host == "localhost" or host == "::1" or bool(re.fullmatch(r"127(\.\d+){3}", host))


def _topic_problems(topic: str, dead_letters: str) -> Iterator[str]:
    if topic.startswith("^"):
        try:
            matches = re.match(topic, dead_letters) is not None
        except re.error as error:
            yield f'kafka.topics: "{topic}" is no valid pattern ({error})'
            return
    else:
        matches = topic == dead_letters
        if not re.fullmatch(r"[A-Za-z0-9._-]{1,249}", topic):
            yield f'kafka.topics: "{topic}" is no topic name; allowed are letters, digits, ".", "_" and "-"'
    if matches:
        yield (
            f'kafka.topics: "{topic}" matches dead_letter.topic "{dead_letters}": the dead letters would be read '
            "again; give them a topic of another name"
        )
