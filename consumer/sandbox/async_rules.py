"""Well-formed asynchronous uploads: the rules that need no knowledge of codes.

Source: the guide on special fields; its examples show ``{"constraints": {key: [values]},
"scm_data": {field: value}}``. Every mistake refuses the request as a whole: it has no rows that
could be named. Not documented and decided here: several constraints all have to hold for a code;
values are texts as in synchronous uploads, except ``activation_status``, which the guide shows as a
number; any number of values may be given.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import orjson

from consumer.sandbox.rules import FIELD_RULES, FORBIDDEN_FIELDS, MAX_CHARACTERS, Mistake

STATUS = "activation_status"


@dataclass(slots=True)
class AsyncUpload:
    """A request body as far as it could be read; whole when there is no refusal."""

    constraints: dict[str, list[str]] = field(default_factory=dict)
    data: dict[str, str] = field(default_factory=dict)  #: what is set, a number as its text
    refusals: list[Mistake] = field(default_factory=list)
    mistakes: list[Mistake] = field(default_factory=list)  #: always empty: see above
    advice: list[Mistake] = field(default_factory=list)

    @property
    def data_key(self) -> str:
        """Return the field that selects the codes; several are joined by "+"."""
        return "+".join(self.constraints)

    @property
    def keys(self) -> list[str]:
        """Return all values of all constraints."""
        return [value for values in self.constraints.values() for value in values]


def examine(body: bytes) -> AsyncUpload:
    """Read a request body and find every mistake that does not depend on which codes exist."""
    upload = AsyncUpload()
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        upload.refusals.append(Mistake("not_json", f"JSON parse error - {error}"))
        return upload
    if not isinstance(document, dict):
        upload.refusals.append(Mistake("not_an_object", "The body must be a JSON object."))
        return upload
    for name in document.keys() - {"constraints", "scm_data"}:
        upload.refusals.append(
            Mistake("unknown_body_field", f"Unknown field: {name!r}.", None, name)
        )
    upload.refusals.extend(_constraints(document.get("constraints"), upload))
    upload.refusals.extend(_data(document.get("scm_data"), upload))
    for name in upload.constraints.keys() & upload.data.keys():
        upload.advice.append(
            Mistake("key_in_data", f"{name!r} selects the codes and is set as well.", None, name)
        )
    return upload


def _constraints(given: Any, upload: AsyncUpload) -> Iterator[Mistake]:
    if not isinstance(given, dict) or not given:
        yield Mistake(
            "no_constraints", "constraints must be an object with at least one list of values."
        )
        return
    for name, values in given.items():
        if not name:
            yield Mistake("invalid_data_key", "A constraint must have a name.")
        elif not isinstance(values, list) or not values:
            yield Mistake(
                "values_not_a_list",
                f"The values of {name!r} must be a list, not empty.",
                None,
                name,
            )
        elif not all(isinstance(value, str) for value in values):
            yield Mistake(
                "value_not_a_string", f"Every value of {name!r} must be a string.", None, name
            )
        elif not all(map(str.strip, values)):
            yield Mistake("key_blank", f"Empty {name}.", None, name)
        elif len(set(values)) < len(values):
            yield Mistake("key_repeated", f"Repeated value of {name}.", None, name)
        else:
            upload.constraints[name] = values


def _data(given: Any, upload: AsyncUpload) -> Iterator[Mistake]:
    if not isinstance(given, dict) or not given:
        yield Mistake("no_data", "scm_data must be an object with at least one field.")
        return
    for name, value in given.items():
        mistake = _wrong(name, value)
        if mistake:
            yield Mistake(*mistake, None, name)
        else:
            upload.data[name] = str(value)


def _wrong(name: str, value: Any) -> tuple[str, str] | None:
    """Return the rule that a field breaks, and what is said of it."""
    if name in FORBIDDEN_FIELDS:
        return "forbidden_field", f"{name} is set by the system only."
    if name == "status":
        return "status_in_async", f"Use {STATUS} in asynchronous uploads."
    if name == STATUS:
        if isinstance(value, bool) or not isinstance(value, int):
            return "status_not_a_number", f"{name} must be a number."
        return (
            None
            if value in (0, 1, 2)
            else ("invalid_value", f"Invalid {name}: must be one of 0, 1, 2.")
        )
    if not isinstance(value, str):
        return "value_not_a_string", f"The value of {name!r} must be a string."
    if len(value) > MAX_CHARACTERS:
        return "value_too_long", f"Longer than {MAX_CHARACTERS} characters: {name}."
    wrong = FIELD_RULES[name](value) if name in FIELD_RULES else None
    if wrong is None:
        return None
    return "invalid_value", "Invalid Product" if name == "product" else f"Invalid {name}: {wrong}."
