"""Load the settings: environment over file over default, and every mistake at once.

File and environment are validated apart, so that each mistake is shown where it was made.
"""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from consumer.config.complaints import did_you_mean, invalid_value, label_of, unknown_variable
from consumer.config.keys import CLIENT, PREFIX, SECTIONS, Key, property_variable
from consumer.config.settings import Settings, dotted
from consumer.errors import ConfigError

DEFAULT_FILE = Path("scm-consumer.toml")

#: Beginnings of the TOML parser's messages, and what to do about each.
_TOML_CURES = {
    "Cannot overwrite a value": "the key stands there twice: keep one",
    "Cannot declare": "the section stands there twice: write all its keys under one heading",
    "Invalid value": "text stands in quotes; true and false are lower case",
    "Invalid statement": "a line is [section] or key = value",
}


@dataclass
class Loaded:
    """Settings, and by path the origin of each value that is set: a file's name or a variable's."""

    settings: Settings
    origins: dict[str, str]


@dataclass
class _Layer:
    """One source: its values by section, the origin of each, and the mistakes in them."""

    values: dict[str, Any] = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    wrong: set[str] = field(default_factory=set)  #: paths with a problem


def load(file: Path | None, *, uploads: bool = True) -> Settings:
    """Return the settings from a file and the environment.

    Without ``file``, ``scm-consumer.toml`` of the current folder is read if it is there. Without
    ``uploads`` the API is not called, so its section need not be complete: who publishes has no
    token. Raise ConfigError with every mistake at once.
    """
    return load_with_origins(file, uploads=uploads).settings


def load_with_origins(
    file: Path | None, *, uploads: bool = True, needs_token: bool = True
) -> Loaded:
    """Return what ``load`` does, and where the values came from.

    Without ``needs_token`` it is no mistake that no token is set.
    """
    from consumer.config.address_checks import NO_TOKEN
    from consumer.config.checks import impossible

    written, variables = _from_file(file), _from_environment(os.environ)
    _validate(written, strict=True)
    _validate(variables, strict=False)
    settings = Settings.model_validate_json(_json(_merge(written.values, variables.values)))
    origins = written.origins | variables.origins
    wrong = written.wrong | variables.wrong
    problems = written.problems + variables.problems
    for problem in impossible(settings):
        if not needs_token and problem.paths == NO_TOKEN:
            continue
        if not wrong.intersection(problem.paths) and (
            uploads or not problem.paths[0].startswith("api.")
        ):
            problems.append(f"{label_of(problem.paths[0], origins)}{problem.text}")
    if problems:
        raise ConfigError(problems)
    return Loaded(settings, origins)


def _from_file(file: Path | None) -> _Layer:
    path = file or DEFAULT_FILE
    if file is None and not path.exists():
        return _Layer()
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8-sig"))
        _json(values)
    except OSError as error:
        advice = (
            f"give another file with --config, or write one: scm-consumer config example > {path}"
        )
        raise ConfigError([f"{path}: cannot be read ({error.strerror}); {advice}"]) from None
    except UnicodeDecodeError as error:
        raise ConfigError([f"{path}: not UTF-8 (byte {error.start}); save it as UTF-8"]) from None
    except tomllib.TOMLDecodeError as error:
        cure = next(
            (cure for words, cure in _TOML_CURES.items() if str(error).startswith(words)),
            "mend that place",
        )
        raise ConfigError([f"{path}: not valid TOML: {error}; {cure}"]) from None
    except RecursionError:
        raise ConfigError(
            [f"{path}: tables or lists are nested too deep; no key needs more than two"]
        ) from None
    except ValueError:  # only Python's own bound on digits is left
        raise ConfigError(
            [f"{path}: not valid TOML: a number with thousands of digits; mend that place"]
        ) from None
    layer = _Layer(values)
    for section, keys in values.items():
        if isinstance(keys, dict):
            if section == "kafka" and isinstance(keys.get("client"), dict):
                keys["client"] = dict(dotted(keys["client"]))
            for name, value in keys.items():
                names = (
                    [f"{name}.{inner}" for inner in value] if isinstance(value, dict) else [name]
                )
                layer.origins |= {f"{section}.{each}": str(path) for each in names}
    return layer


def _from_environment(environment: Mapping[str, str]) -> _Layer:
    layer = _Layer()
    for variable in sorted(environment):
        if not variable.startswith(PREFIX):
            continue
        section, *names = variable.removeprefix(PREFIX).lower().split("__")
        keys = SECTIONS.get(section)
        if not _is_utf8(variable) or not _is_utf8(environment[variable]):
            layer.problems.append(f"{ascii(variable)[1:-1]}: not UTF-8; set it anew, as UTF-8")
        elif not names or keys is None:
            layer.problems += unknown_variable(variable, section, names)
        elif names[0] == "client" and section == "kafka":
            if len(names) < 2:
                example = property_variable("security.protocol")
                layer.problems.append(
                    f"{variable}: a table; name one of its properties, such as {example}"
                )
            else:
                name = ".".join(names[1:]).replace("_", ".")
                layer.values.setdefault("kafka", {}).setdefault("client", {})[name] = environment[
                    variable
                ]
                layer.origins[f"{CLIENT}.{name}"] = variable
        elif len(names) > 1 or names[0] not in keys:
            near = [
                SECTIONS[section][name].variable
                for name in get_close_matches("__".join(names), keys, 1)
            ]
            layer.problems.append(
                f"{variable}: unknown key; {did_you_mean(near)}allowed are {', '.join(keys)}"
            )
        else:
            _take(layer, keys[names[0]], environment[variable])
    return layer


def _take(layer: _Layer, key: Key, text: str) -> None:
    """Add one variable's value to the layer; a list is written as JSON."""
    value: Any = text
    if key.is_list:
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            value = text  # refused when it is validated
        if not _is_utf8(json.dumps(value, ensure_ascii=False)):
            value = text  # half a character, which JSON can write and no text can hold
    layer.values.setdefault(key.section, {})[key.name] = value
    layer.origins[key.path] = key.variable


def _is_utf8(text: str) -> bool:
    """Return whether a text can be written as UTF-8: the environment's bytes may be any."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _validate(layer: _Layer, *, strict: bool) -> None:
    """Move invalid values out of the layer, to its problems."""
    try:
        Settings.model_validate_json(_json(layer.values), strict=strict)
    except ValidationError as error:
        found = dict.fromkeys(_path(problem["loc"]) for problem in error.errors())
    else:
        return
    for path in found:
        value = layer.values
        *above, last = path
        for name in above:
            value = value[name]
        layer.problems.append(invalid_value(path, value.pop(last), layer.origins))
        layer.wrong.add(".".join(path))


def _path(loc: tuple[int | str, ...]) -> tuple[str, ...]:
    """Return the path of the key that a mistake is in: not the item of a list."""
    return tuple(str(part) for part in loc[: 3 if loc[:2] == ("kafka", "client") else 2])


def _json(values: Mapping[str, Any]) -> str:
    """Return the values for the validator; TOML's dates become null, which no key takes."""
    return json.dumps(values, default=lambda _: None)


def _merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        under = merged.get(key)
        merged[key] = (
            _merge(under, value) if isinstance(under, dict) and isinstance(value, dict) else value
        )
    return merged
