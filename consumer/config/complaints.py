"""Word the mistakes of a file or an environment in a line each: key, value, what is allowed.

No value that could be a secret is shown.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any

from consumer.config.keys import PREFIX, SECTIONS, Key, property_variable
from consumer.config.masking import masked_value
from consumer.hiding import HIDDEN


def label_of(path: str, origins: Mapping[str, str]) -> str:
    """Return the first words of a mistake's line: the variable it is set by, else the key."""
    origin = origins.get(path, "")
    return origin if origin.startswith(PREFIX) else path


def unknown_variable(variable: str, first: str, names: list[str]) -> Iterator[str]:
    """Yield the complaint about a variable that names no section and key, if it is one of ours.

    Without "__" it is another program's, unless it all but names a key.
    """
    if names:
        near = [
            f"{PREFIX}{section}__{names[0]}".upper()
            for section in get_close_matches(first, SECTIONS, 1)
        ]
        yield f"{variable}: unknown section; {did_you_mean(near)}allowed are {', '.join(SECTIONS)}"
    elif first in SECTIONS:
        example = next(iter(SECTIONS[first].values())).variable
        yield f"{variable}: a section; name one of its keys, such as {example}"
    else:
        for section, keys in SECTIONS.items():
            name = first.removeprefix(f"{section}_")
            meant = (
                "client"
                if name.startswith("client_")
                else next(iter(get_close_matches(name, keys, 1, 0.8)), "")
            )
            if name != first and meant in keys:
                right = (
                    property_variable(name.removeprefix("client_"))
                    if meant == "client"
                    else keys[meant].variable
                )
                yield f"{variable}: two underscores stand between section and key: {right}"


def did_you_mean(near: list[str]) -> str:
    """Return the question about the nearest name, or nothing if no name is near."""
    return f"did you mean {near[0]}? " if near else ""


def invalid_value(path: tuple[str, ...], value: Any, origins: Mapping[str, str]) -> str:
    """Return the complaint about a value: its key or variable, itself, and what is allowed."""
    whole = ".".join(path)
    section, name = path[0], path[-1]
    keys = SECTIONS.get(section)
    if keys is None:
        return f"{section}: {_no_section(section, value)}"
    if len(path) == 1:
        return f"{section}: a section; write [{section}], and its keys in the lines under it"
    label = label_of(whole, origins)
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
            f"it belongs under {' or '.join(homes)}; " if homes and not near else did_you_mean(near)
        )
        return f"{label}: unknown key; {hint}{_allowed(keys)}"
    shown = HIDDEN if key.is_secret else _display(name, value)
    return f"{label} = {shown}: allowed is {_allowed_of(key, value, variable=label != whole)}"


def _no_section(name: str, value: Any) -> str:
    homes = [f"[{section}]" for section, keys in SECTIONS.items() if name in keys]
    if not isinstance(value, dict):
        hint = (
            f"it belongs under {' or '.join(homes)}"
            if homes
            else f"the sections are {', '.join(SECTIONS)}"
        )
        return f"outside of any section; {hint}"
    near = get_close_matches(name, SECTIONS, 1)
    return f"unknown section; {did_you_mean(near)}{_allowed(SECTIONS)}"


def _allowed_of(key: Key, value: Any, *, variable: bool) -> str:
    """Say what is allowed; in a file, also what is wrong with the quotes."""
    if variable:
        return key.allowed.replace("a list", "a JSON list")
    if key.is_text and not isinstance(value, str | list | dict):
        return f"{key.allowed}, in quotes"
    plain = not key.is_text and not key.is_list and isinstance(value, str)
    return f"{key.allowed}, without quotes" if plain else key.allowed


def _allowed(names: Mapping[str, Any]) -> str:
    return f"allowed are {', '.join(names)}"


def _display(name: str, value: Any) -> str:
    """Return a value as a message shows it: without secrets, on one line and not endless."""
    return json.dumps(masked_value(name, value), ensure_ascii=False, default=str)[:80]
