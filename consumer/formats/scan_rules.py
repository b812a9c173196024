"""Compile the rules of the settings' section ``scan``: how a scan is read, and what it sets.

Each function reads one setting. For a text that is none it raises ValueError, with what is allowed.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import NamedTuple
from zoneinfo import ZoneInfo

from consumer.formats.epcis_rules import CodeRule, Template, code_rule, templates

#: In ``set``: the fields of every topic.
ANY_TOPIC = "*"
#: What the values of ``set`` may name, beside ``{header.NAME}``.
NAMES = ("date", "time", "topic", "key", "gtin")
HEADER = "header."

_WITH_FIELD = re.compile(r"\s*[\w|. -]+=")
_OFFSET = re.compile(r"([+-])(\d{2}):([0-5]\d)", re.ASCII)
#: What stands in patterns for names of GS1.
_GS1 = ("00/", "01/", "0[01]/")


class Origin(NamedTuple):
    """Where a record comes from: what a scan does not say itself."""

    topic: str = ""
    timestamp: int | None = None  #: milliseconds since the epoch; None: the record has none
    key: bytes | None = None
    headers: tuple[tuple[str, bytes | None], ...] = ()


def scan_code(text: str, data_key: str) -> CodeRule:
    """Read ``FIELD = PATTERN``, or a PATTERN alone, for values of ``data_key``.

    What is alone has no = behind a name, as in ``https://qr.example.com/\\?c=(\\w{20})``.
    """
    rule = code_rule(text if _WITH_FIELD.match(text) else f"{data_key} = {text}")
    if len(rule.levels) > 1:
        raise ValueError(
            "a scan does not tell of which level a unit is: name one field, and say by the "
            "pattern how its numbers differ"
        )
    return rule


def topic_fields(text: str) -> tuple[str, dict[str, Template]]:
    """Read ``scans.line7 = activation_status: 1, line: 7, pack_date: {date}``; * is any topic."""
    left = "TOPIC (or *)"
    topic, equals, meaning = (part.strip() for part in text.partition("="))
    fields = templates(meaning, left)
    if not topic or not equals or not fields:
        raise ValueError(f"allowed is {left} = FIELD: VALUE, FIELD: VALUE")
    for template in fields.values():
        for name in template.names:
            if name not in NAMES and not (name.startswith(HEADER) and name != HEADER):
                known = ", ".join(f"{{{one}}}" for one in (*NAMES, f"{HEADER}NAME"))
                raise ValueError(f"{{{name}}} is nothing that a scan has; it has {known}")
    return topic, fields


def time_zone(text: str) -> tzinfo | None:
    """Read ``Asia/Shanghai``, ``+08:00`` or ``UTC``; empty: None."""
    if not text:
        return None
    offset = _OFFSET.fullmatch(text)
    try:
        if offset is not None:
            minutes = int(offset[2]) * 60 + int(offset[3])
            return timezone(timedelta(minutes=-minutes if offset[1] == "-" else minutes))
        return UTC if text == "UTC" else ZoneInfo(text)
    except (ValueError, OSError, LookupError):
        raise ValueError(
            "allowed is an offset such as +08:00, UTC, or a name such as Asia/Shanghai that this "
            "machine's time zones have"
        ) from None


class ScanRules:
    """All settings of ``scan``. Raises ValueError for a text that is no rule.

    Without ``code``, every scan is refused. ``default_key``: the data key where none is set.
    """

    def __init__(
        self,
        default_key: str = "extended_id",
        *,
        code: Collection[str] = (),
        set: Collection[str] = (),  # noqa: A002 - the setting's own name
        data_key: str = "",
        text: str = "",
        prefix: str = "",
        suffix: str = "",
        time_zone: str = "",
    ) -> None:
        self.codes = [scan_code(one, data_key or default_key) for one in code]
        #: Whether codes are sought in names of GS1: else digits are nothing but digits.
        self.of_gs1 = any(part in rule.pattern.pattern for rule in self.codes for part in _GS1)
        self.path = tuple(text.split(".")) if text else ()
        self.prefix, self.suffix = prefix, suffix
        self._zone = _zone_of(time_zone)
        by_topic = dict(map(topic_fields, set))
        self._of_any = by_topic.pop(ANY_TOPIC, {})
        self._by_topic = by_topic

    def fields(self, origin: Origin, gtin: str | None) -> dict[str, str]:
        """Return the fields of a scan. Raise ValueError if the record lacks its time.

        A field for which the record tells nothing (no key, no such header, no GTIN) is left out.
        """
        fields: dict[str, str] = {}
        for name, template in (self._of_any | self._by_topic.get(origin.topic, {})).items():
            value = template.text
            for place in template.names:
                told = self._told(place, origin, gtin)
                if told is None:
                    break
                value = value.replace(f"{{{place}}}", told)
            else:
                fields[name] = value
        return fields

    def _told(self, place: str, origin: Origin, gtin: str | None) -> str | None:
        if place in ("date", "time"):
            return self._moment(place, origin)
        if place.startswith(HEADER):
            name = place.removeprefix(HEADER)
            found = [value for header, value in origin.headers if header == name]
            return _text(found[-1], f"the header {name}") if found else None
        if place == "key":
            return _text(origin.key, "the record's key")
        return gtin if place == "gtin" else origin.topic

    def _moment(self, place: str, origin: Origin) -> str:
        if origin.timestamp is None:
            raise ValueError("the record has no timestamp, of which scan.set makes a field")
        try:
            moment = datetime.fromtimestamp(origin.timestamp / 1000, self._zone or UTC)
        except (ValueError, OverflowError, OSError):
            raise ValueError("the record's timestamp is no time") from None
        if place == "date":
            return moment.date().isoformat()
        return moment.isoformat(timespec="milliseconds")


#: ``time_zone`` under a name that no parameter of the class hides.
_zone_of = time_zone


def _text(value: bytes | None, what: str) -> str | None:
    if value is None:
        return None
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise ValueError(f"{what} is no text, of which scan.set makes a field") from None
