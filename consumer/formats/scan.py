"""Read scans: what a scanner sent becomes the value of a key, by the rules of the settings.

The steps, each of which refuses what it is not sure of:

1. *Unwrap.* ``scan.text`` names the member of a gateway's JSON that holds the scan.
2. *Clean.* Control characters and blanks at both ends, then the line's prefix and suffix, which
   must be there, are taken off. What is left is ASCII without control characters but GS.
3. *Read.* A name of GS1 (element string, Digital Link, URN) becomes ``01/GTIN/21/SERIAL`` or
   ``00/SSCC``; anything else stays as it is. Bare digits may be an element string, too, and a
   wrapped text may be base64: those have two readings. What a text would be had it been damaged (a
   separator got lost, a whole URL was put into upper case) is a reading that is not sure.
4. *Match.* Every rule is tried on every reading. Exactly one key must come out, else nothing is
   sent. A reading that is not sure can only make a key doubtful: no damage is undone.
"""

from __future__ import annotations

import base64
import binascii
import re
from codecs import BOM_UTF8
from collections.abc import Iterable
from typing import Any, NamedTuple

from consumer.core.model import Event, InvalidEvent
from consumer.core.rows.validation import kind_of
from consumer.formats import element_strings, gs1
from consumer.formats.element_strings import GS
from consumer.formats.jsonformat import read_object
from consumer.formats.scan_rules import Origin, ScanRules

#: Longer scans are refused: no code is as long, and the cost of matching a pattern grows with it.
MAX_SCAN = 500

#: What scanners and their drivers put around a scan: blank, SOH, STX, ETX, EOT, tab, line ends. The
#: end of a C string comes behind only.
_AROUND = " \x01\x02\x03\x04\t\n\v\f\r"
_BEHIND = _AROUND + "\0"
_CONTROL = re.compile(f"[\0-\x1f\x7f](?<!{GS})")

#: AIM's symbology identifiers (ISO/IEC 15424), and those that say "GS1": Code 128, DataBar,
#: DataMatrix, QR, DotCode.
_SYMBOLOGY = re.compile(r"\][A-UX-Zc-eopsz][0-9A-Za-z]", re.ASCII)
_OF_GS1 = frozenset(("]C1", "]e0", "]d2", "]Q3", "]J1"))

_SCHEME = re.compile(r"https?://", re.IGNORECASE)
_URL = re.compile(r"(https?://[^/?#]*)(.*)", re.IGNORECASE)
_ELEMENT_STRING = re.compile(r"0[01]\d{14}", re.ASCII)
_TWICE = re.compile(r"(.+)[^A-Za-z0-9]?\1")


class _Reading(NamedTuple):
    """One of the things that a text may mean."""

    name: str  #: what rules are matched with
    gtin: str | None = None
    sure: bool = True  #: False: it gives no key, but may make another reading's doubtful


class _Key(NamedTuple):
    field: str
    value: str


class ScanDecoder:
    """The decoder of scans. Without an origin it knows no topic, time, key or header.

    It raises InvalidEvent: ``undecodable`` for what is no text (or no JSON, where it should be),
    ``invalid_event`` for a scan of which no key is certain.
    """

    def __init__(self, rules: ScanRules) -> None:
        self._rules = rules

    def __call__(self, raw: bytes, origin: Origin = Origin()) -> Event:  # noqa: B008 - immutable
        """Return the event of a scan."""
        try:
            key, gtin = self._key_of_any(self._texts(raw))
            fields = self._rules.fields(origin, gtin)
        except ValueError as error:
            raise InvalidEvent("invalid_event", f"the scan is refused: {error}") from None
        return Event(fields, key.field, key.value, None, origin.timestamp)

    def _texts(self, raw: bytes) -> list[str]:
        """Return the scan, and where it is wrapped what it is if it is base64."""
        if not self._rules.path:
            return [_decoded(raw)]
        value: Any = read_object(raw)
        for depth, name in enumerate(self._rules.path, 1):
            path = ".".join(self._rules.path[:depth])
            if type(value) is not dict or name not in value:
                raise InvalidEvent(
                    "invalid_event", f'the JSON has no member "{path}", which scan.text names'
                )
            value = value[name]
        if type(value) is not str:
            raise InvalidEvent(
                "invalid_event",
                f'"{path}" is {kind_of(value)}; a scan is a string (a number loses zeros)',
            )
        try:
            return [value, base64.b64decode(value, validate=True).decode("ascii")]
        except (binascii.Error, ValueError):
            return [value]

    def _key_of_any(self, texts: list[str]) -> tuple[_Key, str | None]:
        found: dict[_Key, str | None] = {}
        why: ValueError | None = None
        for text in texts:
            try:
                found |= self._keys(self._cleaned(text))
            except ValueError as error:
                why = why or error
        if not found:
            raise why or ValueError(_NO_RULE)
        if len(found) > 1:
            raise ValueError(_different(found))
        return next(iter(found.items()))

    def _cleaned(self, text: str) -> str:
        text = text.lstrip(_AROUND).rstrip(_BEHIND)
        prefix, suffix = self._rules.prefix.lstrip(_AROUND), self._rules.suffix.rstrip(_BEHIND)
        if not text.startswith(prefix):
            raise ValueError(
                "it does not begin with scan.prefix: characters are missing, or the scanner's "
                "keyboard layout is not the computer's"
            )
        text = text.removeprefix(prefix)
        if not text.endswith(suffix):
            raise ValueError("it does not end with scan.suffix: it is cut off")
        text = text.removesuffix(suffix).strip(_AROUND)
        if not text:
            raise ValueError("it is empty")
        if len(text) > MAX_SCAN:
            raise ValueError(f"more than {MAX_SCAN} characters")
        if not text.isascii():
            raise ValueError(
                "it has characters that no code has (not ASCII): look whether the scanner's "
                "keyboard layout is the computer's"
            )
        if _CONTROL.search(text):
            raise ValueError(
                "a control character stands inside: two scans in one, or no scan at all"
            )
        return text

    def _keys(self, text: str) -> dict[_Key, str | None]:
        """Return every key that a rule finds in a reading of a text, and its GTIN.

        Raise ValueError, saying why, if there is none, or if the text is a scan that came twice.
        """
        if len(_SCHEME.findall(text)) > 1:
            raise ValueError("it has two URLs: two scans in one")
        twice = _TWICE.fullmatch(text)
        if twice is not None and self._sure(_readings_or_none(twice[1], of_gs1=self._rules.of_gs1)):
            raise ValueError("it is a code twice: two scans in one")
        readings = _readings(text, of_gs1=self._rules.of_gs1)
        found = self._sure(readings)
        if not found:
            looks = gs1.hint(text) if len(readings) == 1 and readings[0].name == text else None
            what = looks.partition(":")[0] if looks else None
            raise ValueError(_NO_RULE + (f"; {what}" if what else ""))
        return found | self._matched(reading for reading in readings if not reading.sure)

    def _sure(self, readings: list[_Reading]) -> dict[_Key, str | None]:
        return self._matched(reading for reading in readings if reading.sure)

    def _matched(self, readings: Iterable[_Reading]) -> dict[_Key, str | None]:
        found: dict[_Key, str | None] = {}
        for name, gtin, _ in readings:
            for (field,), pattern in self._rules.codes:
                match = pattern.fullmatch(name)
                if match is not None:
                    groups = match.groups()
                    value = "".join(group or "" for group in groups) if groups else name
                    found[_Key(field, value)] = gtin
        return found


_NO_RULE = (
    "no rule of scan.code fits it: another kind of code was scanned, characters are missing or "
    "wrong, or the rule is to be added"
)


def _different(found: dict[_Key, str | None]) -> str:
    fields = sorted({key.field for key in found})
    return (
        f"it can be read in {len(found)} ways by scan.code (as {' and '.join(fields)}), and which "
        "is right is not certain: say by the patterns how long codes are and what is in them, such "
        "as [A-Z0-9]{20}"
    )


def _decoded(raw: bytes) -> str:
    try:
        return raw.removeprefix(BOM_UTF8).decode()
    except UnicodeDecodeError:
        raise InvalidEvent("undecodable", "the scan is not text (UTF-8)") from None


def _readings_or_none(text: str, *, of_gs1: bool) -> list[_Reading]:
    try:
        return _readings(text, of_gs1=of_gs1)
    except ValueError:
        return []


def _readings(text: str, *, of_gs1: bool) -> list[_Reading]:
    """Return what a text may mean. Raise ValueError for a name that breaks a rule of GS1."""
    symbology = _SYMBOLOGY.match(text)
    if symbology is not None:
        text = text[3:]
        if symbology[0] in _OF_GS1:
            return _of_elements(element_strings.elements(text))
    if _SCHEME.match(text):
        return _of_url(text)
    if text[:4].lower() == "urn:":
        return [_of_name(gs1.read_name(text), text)]
    if text.startswith("("):
        names = element_strings.names(element_strings.bracketed(text))
        return [_of_name(name, "") for name in names]
    if GS in text:
        return _of_elements(element_strings.elements(text))
    plain = [_Reading(text)]
    if not of_gs1:
        return plain
    try:
        return plain + _of_elements(element_strings.elements(text))
    except ValueError:
        # Told from a code of one's own by its rule only; an element string that is damaged must not
        # become one.
        if _ELEMENT_STRING.match(text):
            raise
        return plain


def _of_elements(found: dict[str, str]) -> list[_Reading]:
    return [
        *(_of_name(name, "") for name in element_strings.names(found)),
        *(
            _of_name(name, "")._replace(sure=False)
            for name in element_strings.doubtful_names(found)
        ),
    ]


def _of_url(text: str) -> list[_Reading]:
    found = [_of_name(gs1.read_name(text), gs1.plain_url(text))]
    url = _URL.fullmatch(text)
    if url is not None and text.isupper() and url[2] != url[2].lower():
        # Scheme and host mean the same in any case. That all is in upper case can be as it was
        # printed (a QR code is smaller so), or the keyboard: then the path was another one.
        lower = url[1] + url[2].lower()
        try:
            doubt = _of_name(gs1.read_name(lower), gs1.plain_url(lower))
            found.append(doubt._replace(sure=False))
        except ValueError:
            pass
    return found


def _of_name(name: gs1.Gs1Name | None, otherwise: str) -> _Reading:
    if name is None:
        return _Reading(otherwise)
    return _Reading(name.canonical, name.value if name.key == "01" else None)
