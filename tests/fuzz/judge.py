"""The judge of what is read: rows or a dead letter with a reason, soon, and nothing else ever."""

from __future__ import annotations

import json
import random
import time
from collections import Counter
from typing import Any

import orjson

from consumer.adapters.kafka.dead_letter import headers_of
from consumer.config.settings import EpcisSettings
from consumer.core.effects import DeadLetter
from consumer.core.model import Record, Row
from consumer.core.offsets.partition import Partition
from consumer.core.pipeline import Pipeline, Rules
from consumer.core.rows.maker import MAX_ROWS, RowMaker
from consumer.core.rows.validation import MAX_VALUE, REASONS
from consumer.formats import FORMATS, EpcisRules, ScanRules, Schemas, decoder
from consumer.loop.intake import Intake
from tests.fuzz.samples import SCHEMAS
from tests.fuzz.scans import SCAN_RULES
from tests.unit.builders import accepted
from tests.unit.runner_fakes import Message

UNITS = ("case_code", "pallet_code")
#: No input may take longer, seconds of the processor: well under what a group waits for a member.
MOST_SECONDS = 5.0
_MORE_RULES: dict[str, tuple[str, ...]] = {
    "codes": (r"case_code = .*case/(.+)", *EpcisSettings().codes),
    "unit_codes": ("case_code = serial_number", "pallet_code = rfid"),
    "steps": (
        *EpcisSettings().steps,
        "shipping = a: {date}, b: x{lotNumber}y{gtin}, c: {readPoint}, d: {market}, e:",
        "packing =",
    ),
    "products": ("9506000134352 = prod_1",),
    "markets": ("urn:epc:id:sgln:9506000. = cn",),
}


class Judge:
    """Every format with and without a registry, over one core.

    ``made`` counts what became of the inputs.
    """

    def __init__(self) -> None:
        self._now = 1000.0
        self._intakes: list[tuple[str, Intake]] = []
        rules = (
            EpcisRules(UNITS, **EpcisSettings().model_dump()),
            EpcisRules(UNITS, **(EpcisSettings().model_dump() | _MORE_RULES)),
        )
        for form in FORMATS:
            for registry in (False, True):
                schemas = Schemas(lambda: 0.0)
                for schema_id, (kind, text) in SCHEMAS.items():
                    schemas.learn(schema_id, kind, text)
                maker = RowMaker("extended_id", ("ship_date",), logistic_units=UNITS)
                scans = ScanRules(**SCAN_RULES, text="payload" if registry else "")
                read = decoder(form, schemas if registry else None, rules[registry], scans)
                self._intakes.append(
                    (form, Intake(read, maker, (lambda _: None) if registry else None))
                )
        self._pipeline = Pipeline(
            Rules(rate=0.0, linger=0.0, pause_after_rejections=0), random.Random(1).random
        )
        self._partition = Partition("events", 0, 0, 0)
        self._pipeline.add_partition(self._partition)
        self.made: Counter[str] = Counter()
        self.slowest = (0.0, 0)

    def read(self, number: int, raw: bytes) -> None:
        """Read an input in one of the ways; AssertionError, or whatever comes out, is a finding."""
        form, intake = self._intakes[number % len(self._intakes)]
        partition = self._partition
        message = Message(partition.position, raw)
        began = time.process_time()
        records, rows, position = intake.take(partition, [message], self._now)
        took = time.process_time() - began
        self.slowest = max(self.slowest, (took, number))
        assert took < MOST_SECONDS, f"it takes {took:.1f} s"
        if intake.waiting:
            assert raw.startswith((b"\x00", b"\x01")), "only a frame waits for its schema"
            intake.forget([partition])
            self.made[f"{form}: waits for its schema"] += 1
            return
        (record,) = records
        assert record.open == len(rows) <= 2 * MAX_ROWS
        for row in rows:
            self._judge(row)
        if not rows:
            text = raw.replace(b"\0", b"")  # UTF-16 or not
            assert b"EPC" in text or b"Event" in text, "only an event of EPCIS may set nothing"
        self.made[
            f"{form}: {'rows' if any(row.rejection is None for row in rows) else _why(rows)}"
        ] += 1
        self._settle(records, rows, position)

    def _judge(self, row: Row) -> None:
        if row.rejection is None:
            assert row.data_key is not None
            assert row.value
            assert row.value.strip()
            assert row.item[row.data_key] == row.value
            assert len(row.item) > 1
            for name, value in row.item.items():
                assert type(value) is str, f"{name} is {value!r}"
                assert name == row.data_key or len(value) <= MAX_VALUE
            assert json.loads(orjson.dumps(row.item)) == row.item
        else:
            assert row.rejection.reason in REASONS
            assert row.rejection.message
            assert len(row.rejection.message) < 2_000
            assert "\n" not in row.rejection.message
            headers = headers_of(DeadLetter(row, row.rejection), [], "0")
            assert dict(headers)["scm.reason"]

    def _settle(self, records: list[Record], rows: list[Row], position: int) -> None:
        """Let the core take it in, send it, and settle it."""
        pipeline = self._pipeline
        pipeline.add_records(self._partition, records, rows, position, self._now)
        for _ in range(3 * MAX_ROWS):
            if not pipeline.unsettled:
                break
            effects = pipeline.tick(self._now)
            for attempt in effects.send:
                pipeline.on_response(attempt, accepted(attempt), self._now)
            pipeline.on_acknowledged([letter.row for letter in effects.dead_letters], self._now)
        assert not pipeline.unsettled
        assert (pipeline.flow.size, len(pipeline.claims)) == (0, 0)
        ledger = self._partition.ledger
        assert ledger.balanced
        assert not ledger.unsettled
        assert self._partition.committable_offset == position


def _why(rows: list[Row]) -> Any:
    return rows[0].rejection.reason if rows and rows[0].rejection is not None else "skipped"
