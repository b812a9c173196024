"""Loading the settings.

Environment over file over default; every mistake at once, each in a line of its own.
"""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from consumer.config.keys import CLIENT, PREFIX, SECTIONS, Key, property_variable
from consumer.config.masking import HIDDEN, masked_value
from consumer.config.settings import Settings, dotted
from consumer.errors import ConfigError

DEFAULT_FILE = Path("scm-consumer.toml")

#: What the TOML parser says, and what is to be done about it.
_TOML_CURES = {
    "Cannot overwrite a value": "the key stands there twice: keep one",
    "Cannot declare": "the section stands there twice: write all its keys under one heading",
    "Invalid value": "text stands in quotes; true and false are lower case",
    "Invalid statement": "a line is [section] or key = value",
}


@dataclass
class Loaded:
    """Settings, and where each value that is not the default came from.

    A file's name or a variable's, by path.
    """

    settings: Settings
    origins: dict[str, str]


@dataclass
class _Layer:
    """What one source says.

    Values by section, where each came from, and what is wrong with them.
    """

    values: dict[str, Any] = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    wrong: set[str] = field(default_factory=set)  #: paths with a problem


def load(file: Path | None, *, uploads: bool = True) -> Settings:
    """The settings from a file and the environment; raises ConfigError with every mistake at once.

    Without ``file``, ``scm-consumer.toml`` of the current folder is read if it is there.
    ``uploads``: whether the API is to be called; if not, its section need not be complete (who
    publishes has no token).
    """
    return load_with_origins(file, uploads=uploads).settings


def load_with_origins(
    file: Path | None, *, uploads: bool = True, needs_token: bool = True
) -> Loaded:
    """As ``load``, and where the values came from.

    ``needs_token``: whether it is a mistake that none is set.
    """
    from consumer.config.checks import NO_TOKEN, impossible

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
            problems.append(f"{_label(problem.paths[0], origins)}{problem.text}")
    if problems:
        raise ConfigError(problems)
    return Loaded(settings, origins)


def _label(path: str, origins: Mapping[str, str]) -> str:
    """What a mistake's line begins with: the variable that says it, else the key."""
    origin = origins.get(path, "")
    return origin if origin.startswith(PREFIX) else path


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
            layer.problems += _no_key(variable, section, names)
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
                f"{variable}: unknown key; {_did_you_mean(near)}allowed are {', '.join(keys)}"
            )
        else:
            _take(layer, keys[names[0]], environment[variable])
    return layer


def _take(layer: _Layer, key: Key, text: str) -> None:
    """One variable's value; a list is written as JSON."""
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


def _no_key(variable: str, first: str, names: list[str]) -> Iterator[str]:
    """A variable that names no section and key.

    Without "__" it is another program's unless it all but names a key.
    """
    if names:
        near = [
            f"{PREFIX}{section}__{names[0]}".upper()
            for section in get_close_matches(first, SECTIONS, 1)
        ]
        yield f"{variable}: unknown section; {_did_you_mean(near)}allowed are {', '.join(SECTIONS)}"
    elif first in SECTIONS:
        example = next(iter(SECTIONS[first].values())).variable
        yield f"{variable}: a section; name one of its keys, such as {example}"
    else:
        for section, keys in SECTIONS.items():
            rest = first.removeprefix(f"{section}_")
            meant = (
                "client"
                if rest.startswith("client_")
                else next(iter(get_close_matches(rest, keys, 1, 0.8)), "")
            )
            if rest != first and meant in keys:
                right = (
                    property_variable(rest.removeprefix("client_"))
                    if meant == "client"
                    else keys[meant].variable
                )
                yield f"{variable}: two underscores stand between section and key: {right}"


def _is_utf8(text: str) -> bool:
    """Whether it can be written as UTF-8: the environment's bytes may be any."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _did_you_mean(near: list[str]) -> str:
    return f"did you mean {near[0]}? " if near else ""


def _validate(layer: _Layer, *, strict: bool) -> None:
    """Add what is wrong with the layer's values to its problems, and take those values out of it."""
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
        layer.problems.append(_told(path, value.pop(last), layer))
        layer.wrong.add(".".join(path))


def _path(loc: tuple[int | str, ...]) -> tuple[str, ...]:
    """The key that a mistake is in: not the item of a list."""
    return tuple(str(part) for part in loc[: 3 if loc[:2] == ("kafka", "client") else 2])


def _told(path: tuple[str, ...], value: Any, layer: _Layer) -> str:
    """A mistake in a line: the key or variable, the value (never a secret), what is allowed."""
    whole = ".".join(path)
    section, name = path[0], path[-1]
    keys = SECTIONS.get(section)
    if keys is None:
        return f"{section}: {_no_section(section, value)}"
    if len(path) == 1:
        return f"{section}: a section; write [{section}], and its keys in the lines under it"
    label = _label(whole, layer.origins)
    if len(path) == 3:
        return f"{label} = {_display(name, value)}: allowed is text, a number, true or false"
    key = keys.get(name)
    if key is None:
        homes = [f"[{other}]" for other, names in SECTIONS.items() if name in names]
        near = [
            f"{section}.{other}"
            for other in get_close_matches(name, keys, 1, 0.8 if homes else 0.6)
        ]
        hint = (
            f"it belongs under {' or '.join(homes)}; "
            if homes and not near
            else _did_you_mean(near)
        )
        return f"{label}: unknown key; {hint}{_allowed(keys)}"
    said = HIDDEN if key.is_secret else _display(name, value)
    return f"{label} = {said}: allowed is {_allowed_of(key, value, variable=label != whole)}"


def _no_section(name: str, value: Any) -> str:
    homes = [f"[{section}]" for section, keys in SECTIONS.items() if name in keys]
    if not isinstance(value, dict):
        hint = (
            f"it belongs under {' or '.join(homes)}"
            if homes
            else f"the sections are {', '.join(SECTIONS)}"
        )
        return f"outside of any section; {hint}"
    return f"unknown section; {_did_you_mean(get_close_matches(name, SECTIONS, 1))}{_allowed(SECTIONS)}"


def _allowed_of(key: Key, value: Any, *, variable: bool) -> str:
    """What may stand there; in a file, also what is wrong with the quotes."""
    if variable:
        return key.allowed.replace("a list", "a JSON list")
    if key.is_text and not isinstance(value, str | list | dict):
        return f"{key.allowed}, in quotes"
    plain = not key.is_text and not key.is_list and isinstance(value, str)
    return f"{key.allowed}, without quotes" if plain else key.allowed


def _allowed(names: Mapping[str, Any]) -> str:
    return f"allowed are {', '.join(names)}"


def _display(name: str, value: Any) -> str:
    """A value in a message, without secrets, on one line and not endless."""
    return json.dumps(masked_value(name, value), ensure_ascii=False, default=str)[:80]


def _json(values: Mapping[str, Any]) -> str:
    """For the validator; TOML's dates become null, which no key takes."""
    return json.dumps(values, default=lambda _: None)


def _merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        under = merged.get(key)
        merged[key] = (
            _merge(under, value) if isinstance(under, dict) and isinstance(value, dict) else value
        )
    return merged
