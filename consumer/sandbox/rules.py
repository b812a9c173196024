"""Well-formed uploads: the rules that need no knowledge of codes, as tables.

Source: the provider's guides on synchronous uploads and on special fields. There are two kinds of
mistakes: a *refusal* is about the request as a whole, a *mistake* about one row; both are a 400.
All of them can be known before sending, so they are also remembered as rules that a client broke.
*Advice* is what the guide recommends and the API lets pass.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date
from typing import Any, NamedTuple

import orjson

MAX_ITEMS = 100
MAX_CHARACTERS = 50
DEFAULT_DATA_KEY = "extended_id"

_STRINGS = frozenset({str})
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


class Mistake(NamedTuple):
    """One thing wrong with a request, or with the row of it at ``line`` (counted from 1)."""

    rule: str
    message: str
    line: int | None = None
    field: str | None = None
    key_value: str | None = None


@dataclass(slots=True)
class Upload:
    """A request body as far as it could be read.

    ``items`` holds only strings when there is no refusal.
    """

    data_key: str = DEFAULT_DATA_KEY
    items: list[dict[str, str]] = field(default_factory=list)
    refusals: list[Mistake] = field(default_factory=list)
    mistakes: list[Mistake] = field(default_factory=list)
    advice: list[Mistake] = field(default_factory=list)

    @property
    def keys(self) -> list[str]:
        """Return the key values in the order of the rows; "" where a row has none."""
        return [item.get(self.data_key, "") for item in self.items]


def _one_of(*allowed: str) -> Callable[[str], str | None]:
    text = f"must be one of {', '.join(allowed)}"
    return lambda value: None if value in allowed else text


def _reason(value: str) -> str | None:
    return (
        None if value == "" or value in {str(number) for number in range(11)} else "must be 0 to 10"
    )


def _real_date(value: str) -> str | None:
    if value == "":
        return None
    try:
        if _DATE.fullmatch(value):
            date.fromisoformat(value)
            return None
    except ValueError:
        pass
    return "must be a date as YYYY-MM-DD"


def _filled(value: str) -> str | None:
    return None if value else "must not be empty"


#: Special fields: what is wrong with a value, or None. An empty string erases a field, where a
#: field can be erased.
FIELD_RULES: dict[str, Callable[[str], str | None]] = {
    "activation_status": _one_of("0", "1", "2"),
    "status": _one_of("0", "1", "2"),
    "blacklist_reason": _reason,
    "after_sell_by": _real_date,
    "product": _filled,
}

#: Fields that only the system sets.
FORBIDDEN_FIELDS = frozenset({"date_consumed"})

#: Whether an item has only fields without a rule.
_PLAIN = FORBIDDEN_FIELDS.union(FIELD_RULES).isdisjoint


def examine(body: bytes) -> Upload:
    """Read a request body and find every mistake that does not depend on which codes exist."""
    upload = Upload()
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        upload.refusals.append(Mistake("not_json", f"JSON parse error - {error}"))
        return upload
    upload.refusals.extend(_shape(document, upload))
    if not upload.refusals:
        upload.refusals.extend(_repeated(upload))
        upload.mistakes.extend(_row_mistakes(upload))
        upload.advice.extend(_advice(upload))
    return upload


def _shape(document: Any, upload: Upload) -> Iterator[Mistake]:
    if not isinstance(document, dict):
        yield Mistake("not_an_object", "The body must be a JSON object.")
        return
    extra = sorted(document.keys() - {"data_key", "items"})
    if extra:
        yield Mistake("unknown_body_field", f"Unknown in the body: {', '.join(extra)}.")
    data_key = document.get("data_key", DEFAULT_DATA_KEY)
    if not isinstance(data_key, str) or not data_key.strip():
        yield Mistake("invalid_data_key", "data_key must be the name of a field.")
        return
    upload.data_key = data_key
    items = document.get("items")
    if not isinstance(items, list) or not items:
        yield Mistake("no_items", "items must be a list with at least one object.")
        return
    if len(items) > MAX_ITEMS:
        yield Mistake(
            "too_many_items", f"Batch was too large: {len(items)} items, at most {MAX_ITEMS}."
        )
    for line, item in enumerate(items, 1):
        if not isinstance(item, dict):
            yield Mistake("item_not_an_object", "Every item must be an object.", line)
            continue
        if _STRINGS.issuperset(map(type, item.values())):
            upload.items.append(item)
            continue
        for name, value in item.items():
            if not isinstance(value, str):
                yield Mistake(
                    "value_not_a_string", f"The value of {name!r} must be a string.", line, name
                )


def _repeated(upload: Upload) -> Iterator[Mistake]:
    keys = [key for key in upload.keys if key]
    if len(set(keys)) == len(keys):
        return
    seen: set[str] = set()
    for line, key in enumerate(upload.keys, 1):
        if key and key in seen:
            yield Mistake(
                "key_repeated", f"Repeated {upload.data_key}: {key!r}.", line, upload.data_key, key
            )
        seen.add(key)


def _row_mistakes(upload: Upload) -> Iterator[Mistake]:
    data_key = upload.data_key
    for line, item in enumerate(upload.items, 1):
        key = item.get(data_key)
        if (
            key
            and not key.isspace()
            and _PLAIN(item)
            and max(map(len, item.values())) <= MAX_CHARACTERS
        ):
            continue  # nothing to look at closely: nearly every row
        if key is None:
            yield Mistake("key_missing", f"No {data_key} found.", line, data_key)
        elif not key.strip():
            yield Mistake("key_blank", f"Empty {data_key}.", line, data_key, key)
        for name, value in item.items():
            if name == data_key:
                continue
            if len(value) > MAX_CHARACTERS:
                text = f"Longer than {MAX_CHARACTERS} characters: {name}."
                yield Mistake("value_too_long", text, line, name, key)
            if name in FIELD_RULES:
                if name == "status" and "activation_status" in item:
                    continue  # it is overridden, so nothing depends on its value
                wrong = FIELD_RULES[name](value)
                if wrong:
                    text = "Invalid Product" if name == "product" else f"Invalid {name}: {wrong}."
                    yield Mistake("invalid_value", text, line, name, key)
            elif name in FORBIDDEN_FIELDS:
                yield Mistake(
                    "forbidden_field", f"{name} is set by the system only.", line, name, key
                )


def _advice(upload: Upload) -> Iterator[Mistake]:
    first = upload.items[0].keys()
    for line, item in enumerate(upload.items, 1):
        if item.keys() != first:
            yield Mistake("uneven_fields", "Rows of one request have different fields.", line)
            break
    for line, item in enumerate(upload.items, 1):
        if len(item) == 1 and upload.data_key in item:
            yield Mistake("no_fields", "A row has nothing but its key.", line)
            break
