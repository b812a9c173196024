"""A value as the API gets it: text, numbers in plain notation, ISO dates."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from math import isfinite

from consumer.core.model import InvalidEvent
from consumer.core.rows.validation import kind_of, quoted

#: A number is written out up to here: an exponent of a million is nine characters and would be a
#: megabyte.
MAX_DIGITS = 10_000
_MAX_BITS = MAX_DIGITS * 3322 // 1000  # log2(10) is a little under 3.322

#: Stands in a rejected row for a number that is not written out. It has over 50 characters, so a
#: replay fails as well.
NOT_WRITTEN_OUT = f"(a number of more than {MAX_DIGITS:,} digits, too long to be written out)"


def text_of(name: str, value: object) -> str:
    """Return a value that is not text as the API gets it.

    Raise InvalidEvent (``invalid_event``) if there is no way. A timestamp is refused here: only in
    a configured date field is it clear what to send of it.
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float, Decimal)):
        return NOT_WRITTEN_OUT if (text := number_text(name, value)) is None else text
    if isinstance(value, datetime):
        message = (
            f"{quoted(name)} is a timestamp; to send its date, list the field in events.date_fields"
        )
        raise InvalidEvent("invalid_event", message, name)
    if isinstance(value, date):
        return value.isoformat()
    message = (
        f"{quoted(name)} is {kind_of(value)}; a field is text, a number, a boolean, a date or null"
    )
    raise InvalidEvent("invalid_event", message, name)


def number_text(name: str, value: float | Decimal) -> str | None:
    """Return a number in plain notation; None: that takes more than ``MAX_DIGITS``.

    Integers are written in full, decimals with the digits they were written with (1.10, and 1e3 as
    1000), binary floats by the shortest digits that mean the same (100.0 as 100). Raise
    InvalidEvent if it is not finite.
    """
    if isinstance(value, int):
        if value.bit_length() > _MAX_BITS:
            return None
        try:
            return str(value)
        except ValueError:  # Python's limit on converting long integers; decimal has none
            return f"{Decimal(value):f}"
    if not value.is_finite() if isinstance(value, Decimal) else not isfinite(value):
        raise InvalidEvent(
            "invalid_event", f"{quoted(name)} is {value}, which is no number to send", name
        )
    text = str(value)
    if isinstance(value, float):
        if text.endswith(".0"):
            text = text[:-2]
        text = f"{Decimal(text):f}" if "e" in text else text
        return "0" if text == "-0" else text
    if "E" not in text:
        return text if len(text) <= MAX_DIGITS else None
    return None if abs(value.adjusted()) + len(text) > MAX_DIGITS else f"{value:f}"


def key_text(data_key: str, value: object) -> str:
    """Return a key that is not text as the API gets it; raise InvalidEvent if it is no key."""
    if value is None:
        raise InvalidEvent(
            "key_missing", f"the event has no {quoted(data_key)}, which is its data key", data_key
        )
    if isinstance(value, bool) or not isinstance(value, (int, float, Decimal)):
        message = f"the key {quoted(data_key)} is {kind_of(value)}; it must be a string or a number"
        raise InvalidEvent("invalid_event", message, data_key)
    if not isinstance(value, int):
        # A program that takes codes for numbers has mostly lost digits or zeros of them by then.
        message = (
            f"the key {quoted(data_key)} is a number with a fraction or an exponent, which no code "
            "is; write it as a string"
        )
        raise InvalidEvent("invalid_event", message, data_key)
    text = number_text(data_key, value)
    if text is None:
        message = f"the key {quoted(data_key)} is a number of more than {MAX_DIGITS:,} digits"
        raise InvalidEvent("invalid_event", message, data_key)
    return text
