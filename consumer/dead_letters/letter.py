"""A dead letter as it is read from the dead-letter topic, whoever wrote it.

A record of that topic is one of two things:

* a **letter**: a rejected row with its original record (docs/dead-letters.md, "What a dead letter
  holds"). Older versions of this program, Kafka Connect and others may have written it, and its
  headers may be damaged; then less is known of it, and it is a letter all the same.
* a **marker**: the record by which ``dlq resolve`` says that letters need nothing more. It has no
  value, and a header ``scm.resolves``. It is no letter itself. ``dlq replay`` writes one, too, with
  a header ``scm.replayed``: copies may be gone from their topic before the letters are.

A letter that was brought back (replayed) is a new record in its source topic. That record carries
``scm.replay_of``, the place of the letter, and ``scm.replays``, how often the event was brought
back by then. The consumer keeps a record's own headers. So if the event is rejected again, the new
letter carries them, too: ``Letter.replay_of`` is the letter before it in the chain, and
``Letter.replays`` the number of letters before it.

Pure: no client, no file. ``read`` takes the parts of a record.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec
import orjson

Header = tuple[str, bytes | None]

#: What a dead letter adds to its record (docs/dead-letters.md); a replay takes them off.
ADDED_HEADERS = frozenset(
    {f"__connect.errors.{name}" for name in ("topic", "partition", "offset", "stage")}
    | {"__connect.errors.exception.message"}
    | {f"scm.{name}" for name in ("reason", "message", "field", "data_key", "key_value", "row")}
    | {f"scm.{name}" for name in ("http_status", "attempts", "event_id", "consumer")}
)
CONNECT_PREFIX = "__connect.errors."
REPLAY_OF = "scm.replay_of"  #: of a record that was brought back: the letter it was
REPLAYS = "scm.replays"  #: and how often its event was brought back, this time included
_TAKEN_OFF = ADDED_HEADERS | {REPLAY_OF, REPLAYS}
RESOLVES = "scm.resolves"  #: of a marker: the letters that it resolves
BECAUSE = "scm.because"  #: of a marker: why
REPLAYED = "scm.replayed"  #: of a marker that a replay wrote: its letters were brought back

#: The reason of letters that have none of this program's: Kafka Connect's, and all others.
CONNECT, FOREIGN = "connect", "foreign"

_PLACE = re.compile(r"([A-Za-z0-9._-]{1,249})\[(\d{1,9})\]@(\d{1,18})")
_RESOLVES = re.compile(r"([A-Za-z0-9._-]{1,249})\[(\d{1,9})\]@([\d,-]+)")
_RANGE = re.compile(r"(\d{1,18})(?:-(\d{1,18}))?")


class Place(NamedTuple):
    """Where a record is. As text: ``topic[partition]@offset``."""

    topic: str
    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.topic}[{self.partition}]@{self.offset}"

    @classmethod
    def parse(cls, text: str) -> Place | None:
        """Return the place that a text names; None if it names none."""
        found = _PLACE.fullmatch(text)
        return cls(found[1], int(found[2]), int(found[3])) if found else None


class Letter(msgspec.Struct, frozen=True):
    """One dead letter. What its headers do not tell, or not readably, is None or empty."""

    place: Place  #: in the dead-letter topic
    at: int  #: when it was written, milliseconds since the epoch; not positive: unknown
    key: bytes | None  #: of the original record, byte for byte; so is the value
    value: bytes | None
    headers: tuple[Header, ...]  #: all of them, as they stand in the dead-letter topic
    source: Place | None  #: the original record
    reason: str  #: of docs/dead-letters.md; ``connect`` or ``foreign`` where there is none
    message: str = ""
    field: str | None = None
    data_key: str | None = None  #: None: the record, or a part of it, could not be made a row
    key_value: str | None = None
    item: dict[str, str] | None = None  #: the row as it was sent, key first; None: not known
    stage: str = ""
    http_status: int | None = None
    attempts: int | None = None
    event_id: str | None = None
    consumer: str = ""  #: version of this program; empty: another one wrote it
    replay_of: Place | None = None  #: the letter before it in the chain
    replays: int = 0  #: how often its event has been brought back already

    @property
    def ours(self) -> bool:
        """Return whether this program wrote it."""
        return self.reason not in (CONNECT, FOREIGN)

    @property
    def original_headers(self) -> tuple[Header, ...]:
        """Return the headers of the original record: without what dead letters and replays add.

        Of a letter of Kafka Connect, all of its ``__connect.errors.`` headers are added ones.
        """
        connect = self.reason == CONNECT
        return tuple(
            (name, raw)
            for name, raw in self.headers
            if name not in _TAKEN_OFF and not (connect and name.startswith(CONNECT_PREFIX))
        )


class Marker(msgspec.Struct, frozen=True):
    """A record that resolves letters of one partition of the dead-letter topic."""

    place: Place  #: of the marker
    at: int
    topic: str  #: of the letters; so is the partition
    partition: int
    ranges: tuple[tuple[int, int], ...]  #: of offsets, both ends included
    because: str
    replayed: bool = False  #: they were brought back; else a person has resolved them


def read(
    place: Place, at: int, key: bytes | None, value: bytes | None, headers: Sequence[Header]
) -> Letter | Marker | None:
    """Return the letter or the marker that a record of the dead-letter topic is.

    None: a marker that names no letters readably. No record raises anything.
    """
    texts = {name: (raw or b"").decode("utf-8", "replace") for name, raw in headers}
    if value is None and RESOLVES in texts:
        return _marker(place, at, texts)
    connect = any(name.startswith(CONNECT_PREFIX) for name in texts)
    reason = texts.get("scm.reason") or (CONNECT if connect else FOREIGN)
    message = texts.get("scm.message") or texts.get(f"{CONNECT_PREFIX}exception.message", "")
    return Letter(
        place=place,
        at=at,
        key=key,
        value=value,
        headers=tuple(headers),
        source=_source(texts),
        reason=reason,
        message=message,
        field=texts.get("scm.field"),
        data_key=texts.get("scm.data_key"),
        key_value=texts.get("scm.key_value"),
        item=_item(texts.get("scm.row")),
        stage=texts.get(f"{CONNECT_PREFIX}stage", ""),
        http_status=_number(texts.get("scm.http_status")),
        attempts=_number(texts.get("scm.attempts")),
        event_id=texts.get("scm.event_id"),
        consumer=texts.get("scm.consumer", ""),
        replay_of=Place.parse(texts.get(REPLAY_OF, "")),
        replays=_number(texts.get(REPLAYS)) or 0,
    )


def resolves_text(topic: str, partition: int, offsets: Iterable[int]) -> str:
    """Return ``scm.resolves`` for letters of one partition: ``topic[3]@7,9-12``.

    ``offsets``: rising, at least one.
    """
    ranges: list[list[int]] = []
    for offset in offsets:
        if ranges and ranges[-1][1] == offset - 1:
            ranges[-1][1] = offset
        else:
            ranges.append([offset, offset])
    spelled = (str(low) if low == high else f"{low}-{high}" for low, high in ranges)
    return f"{topic}[{partition}]@{','.join(spelled)}"


def _marker(place: Place, at: int, texts: dict[str, str]) -> Marker | None:
    found = _RESOLVES.fullmatch(texts[RESOLVES])
    if found is None:
        return None
    ranges: list[tuple[int, int]] = []
    for part in found[3].split(","):
        spelled = _RANGE.fullmatch(part)
        if spelled is None:
            return None
        low = int(spelled[1])
        ranges.append((low, int(spelled[2] or low)))
    because = texts.get(BECAUSE, "")
    replayed = REPLAYED in texts
    return Marker(place, at, found[1], int(found[2]), tuple(ranges), because, replayed)


def _source(texts: dict[str, str]) -> Place | None:
    topic, partition, offset = (
        texts.get(f"{CONNECT_PREFIX}{name}", "") for name in ("topic", "partition", "offset")
    )
    return Place.parse(f"{topic}[{partition}]@{offset}")


def _item(text: str | None) -> dict[str, str] | None:
    if text is None:
        return None
    try:
        item = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    whole = isinstance(item, dict) and all(isinstance(value, str) for value in item.values())
    return item if whole and item else None


def _number(text: str | None) -> int | None:
    if text is None or not text.isascii() or not text.isdigit() or len(text) > 9:
        return None
    return int(text)
