"""The publisher: records as bytes, and what the oracle and the API may know of them."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.simulation.broker import ListLog
from tests.simulation.documents import UNIT, DocumentWriter, Key, PublishedRow
from tests.simulation.witness import Tag

#: Records without a row that can be sent, by the reason of their dead letter; None: skipped by
#: rule.
BROKEN: dict[str, tuple[bytes | None, str | None]] = {
    "tombstone": (None, None),
    "undecodable": (b"{ this is no JSON", "undecodable"),
    "binary": (b"\x07\xff\xfe", "undecodable"),
    "list": (b"[1, 2]", "invalid_event"),
    "no key": (b'{"note": "whose?"}', "key_missing"),
}
#: Rows that break a rule, by the reason of their dead letter.
INVALID: dict[str, dict[str, str]] = {
    "key_blank": {"extended_id": "  "},
    "value_too_long": {"note": "x" * 51},
    "forbidden_field": {"date_consumed": "2024-01-01"},
    "invalid_value": {"activation_status": "7"},
}


@dataclass(frozen=True)
class PublishedRecord:
    """One record; without rows it is skipped by rule."""

    number: int
    offset: int
    rows: tuple[PublishedRow, ...]
    size: int


@dataclass
class Mix:
    """The mix of what is published, by shares from 0 to 1."""

    codes: int = 20  #: different codes of a partition
    shared: float = 0.1  #: rows about codes that every partition has
    envelope: float = 0.3
    joins: float = 0.0  #: rows that put their code into a unit
    units: float = 0.0  #: rows about a unit
    pairs: float = 0.0  #: records that update a code and its unit
    documents: float = 0.0  #: records that are documents of EPCIS
    broken: float = 0.02
    invalid: float = 0.02
    #: Of what the API has against a row (api.KINDS).
    kinds: dict[str, float] = field(default_factory=dict)
    gaps: float = 0.05  #: records with a gap before them
    gap: int = 3  #: the longest
    shapes: int = 2  #: different sets of fields
    #: Rows about a unit carry no tag, so that several may have the same data.
    bare_units: bool = False
    good_units: bool = False  #: the API has nothing against rows about a unit
    padding: int = 0  #: the longest text beside the row, which only makes the record bigger


class Publisher:
    """Writes to the logs, and keeps what it wrote."""

    def __init__(
        self,
        logs: list[ListLog],
        rng: random.Random,
        mix: Mix,
        published: Callable[[PublishedRecord], object] = lambda _: None,
    ) -> None:
        self._published = published
        self._logs = logs
        self._rng = rng
        self._mix = mix
        self._documents = DocumentWriter(rng, mix.codes, mix.shared, 0.2)
        self.records: dict[tuple[int, int], PublishedRecord] = {}
        self.kinds: dict[Tag, str] = {}

    def publish(self, number: int, now: float) -> None:
        """Publish one record of the mix."""
        rng, mix = self._rng, self._mix
        gap = rng.randint(1, mix.gap) if rng.random() < mix.gaps else 0
        offset = self._logs[number].end + gap
        if rng.random() < mix.broken:
            self._write(number, rng.choice(list(BROKEN)), offset, gap, now)
            return
        if mix.documents and rng.random() < mix.documents:
            self._document(number, offset, gap, now)
            return
        place = "s" if rng.random() < mix.shared else str(number)
        value = f"{place}-{rng.randrange(mix.codes)}"
        unit = f"u{place}-{rng.randrange(max(1, mix.codes // 8))}"
        data: dict[str, Any] = {"tag": f"{number}.{offset}.0"}
        if rng.randrange(mix.shapes):
            data["note"] = rng.choice(("a", "b", "\u00e9\u4e2d"))
        key: Key = ("extended_id", value)
        joins: tuple[Key, ...] = ()
        point = rng.random()
        also: Key | None = None
        invalid = ""
        if point < mix.units:
            key = (UNIT, unit)
            if mix.bare_units:
                data = {"note": rng.choice(("a", "a", "b"))}
        elif point < mix.units + mix.joins:
            data[UNIT] = unit
            joins = ((UNIT, unit),)
        elif point < mix.units + mix.joins + mix.pairs:
            also = (UNIT, unit)
        elif rng.random() < mix.invalid:
            invalid = rng.choice(list(INVALID))
            data |= INVALID[invalid]
            if invalid == "key_blank":
                key = ("extended_id", data.pop("extended_id"))
        rows = [PublishedRow((number, offset, 0), key, joins, invalid, data)]
        if also is not None:
            rows.append(PublishedRow((number, offset, 1), also, (), "", data))
        raw = json.dumps(self._event(offset, key, data, also)).encode()
        if not invalid:
            self._mark(rows)
        self._logs[number].append(key[1].encode(), raw, int(now * 1000), gap)
        self._keep(PublishedRecord(number, offset, tuple(rows), len(raw)))

    def _document(self, number: int, offset: int, gap: int, now: float) -> None:
        """Publish a document of EPCIS; the API may have something against any of its rows."""
        members, rows = self._documents.document(number, offset)
        raw = json.dumps(members).encode()
        good = [row for row in rows if not row.invalid]
        for _ in range(min(len(good), 2)):
            self._mark(good)
        self._logs[number].append(b"document", raw, int(now * 1000), gap)
        self._keep(PublishedRecord(number, offset, tuple(rows), len(raw)))

    def _event(
        self, offset: int, key: Key, data: dict[str, Any], also: Key | None
    ) -> dict[str, Any]:
        """Return the event of a row: flat, or in an envelope where it must be, or by chance."""
        rng, mix = self._rng, self._mix
        padding = {"source": "p" * rng.randint(0, mix.padding)} if mix.padding else {}
        usual = key[0] == "extended_id"
        if also is None and usual and not padding and rng.random() >= mix.envelope:
            return {key[0]: key[1], **data}
        event: dict[str, Any] = {
            "event_id": f"e{offset}",
            "key_value": key[1],
            "scm_data": data,
            **padding,
        }
        if not usual:
            event["data_key"] = key[0]
        if also is not None:
            event["also_update"] = {"data_key": also[0], "key_value": also[1]}
        return event

    def _mark(self, rows: list[PublishedRow]) -> None:
        """Let the API, by chance, have something against one of the rows."""
        if self._mix.good_units:
            rows = [row for row in rows if row.key[0] != UNIT]
        if not rows:
            return
        point = self._rng.random()
        for kind, share in self._mix.kinds.items():
            point -= share
            if point < 0:
                self.kinds[self._rng.choice(rows).tag] = kind
                return

    def beat(self, number: int, value: str, now: float) -> None:
        """Publish one good record about a code of its own."""
        offset = self._logs[number].end
        event = json.dumps({"extended_id": value, "tag": f"{number}.{offset}.0"}).encode()
        self._logs[number].append(None, event, int(now * 1000))
        row = PublishedRow(
            (number, offset, 0), ("extended_id", value), (), "", {"tag": f"{number}.{offset}.0"}
        )
        self._keep(PublishedRecord(number, offset, (row,), len(event)))

    def unit(self, number: int, value: str, note: str, now: float) -> None:
        """Publish one good record about a unit that no code is in; one note, the same data."""
        offset = self._logs[number].end
        fields = {"note": note}
        event = json.dumps({"data_key": UNIT, "key_value": value, "scm_data": fields}).encode()
        self._logs[number].append(None, event, int(now * 1000))
        row = PublishedRow((number, offset, 0), (UNIT, value), (), "", fields)
        self._keep(PublishedRecord(number, offset, (row,), len(event)))

    def _write(self, number: int, name: str, offset: int, gap: int, now: float) -> None:
        value, reason = BROKEN[name]
        self._logs[number].append(b"k", value, int(now * 1000), gap)
        rows = () if reason is None else (PublishedRow((number, offset, 0), ("", ""), (), reason),)
        self._keep(PublishedRecord(number, offset, rows, len(value or b"")))

    def _keep(self, record: PublishedRecord) -> None:
        self.records[record.number, record.offset] = record
        self._published(record)
