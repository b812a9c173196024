"""The load: what the line publishes during the run, and what is to become of each record.

Every event carries its own number, so that each row the API applies tells which record it came
from. A group (a unit with its codes) is one record key and so one partition. A code joins one unit
and never leaves it, and every unit is updated a last time at the end. So what the API has to hold
in the end follows from the topic alone.

There are two records of several rows. A *label* is a code that is in no unit; it is updated
together with its unit (``also_update``) and alone. Documents of EPCIS update up to six codes of a
group, one of which may be unknown, and pack some of them. Order between a label and the codes of
its unit is not promised, so none of them is reached in both ways.
"""

from __future__ import annotations

import json
import random
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from tests.support.kafka_witness import KafkaProducer

PARTITIONS = 8
NUMBER = "step"  #: field with the event's number, in updates of a code
UNIT = "case_code"
UNIT_NUMBER = "unit_step"  #: the same, in updates of a unit
STEP = "inspecting"  #: of documents of EPCIS
#: How the members read them.
EPCIS = {
    "codes": [rf"{UNIT} = case-\d+", r"extended_id = [\w-]{8,}"],
    "steps": [f"{STEP} = {NUMBER}: {{{NUMBER}}}", f"packing = {NUMBER}: {{{NUMBER}}}"],
}
HOT_GROUPS = 6
CODES_OF_A_UNIT = 12
MOST_ROWS = 6  #: of one record
FLUSH_SECONDS = 120.0
PATIENCE_MS = 3_600_000


def partition_of(key: bytes) -> int:
    """Return the partition of a group."""
    return zlib.crc32(key) % PARTITIONS


class Line:
    """A seeded line: an endless stream of events, and at any time the events that close it."""

    def __init__(self, seed: int) -> None:
        self._rng = random.Random(seed)
        self._number = 0
        self._group = 0
        self._units: list[str] = []
        self._codes: list[tuple[str, str]] = []  # (group, code)
        self._packing: list[tuple[str, str]] = []  # (unit, code) still to join
        #: Of a hundred events; an update of a unit costs two calls and more, as it goes by a task.
        self._shares: Mapping[Callable[[], tuple[bytes, bytes | None]], float] = {
            self._new_unit: 1,
            self._pack: 13,
            self._unit: 3,
            self._label_and_unit: 2,
            self._label: 4,
            self._inspection: 3,
            self._hot_code: 12,
            self._unknown: 2,
            self._invalid: 1,
            self._no_event: 0.5,
            self._tombstone: 0.5,
            self._code: 30,
            self._single: 28,
        }

    def events(self) -> Iterator[tuple[bytes, bytes | None]]:
        """Yield record key and value, one after the other."""
        while True:
            yield self._next()

    def closing(self) -> list[tuple[bytes, bytes | None]]:
        """Yield a last update of every unit."""
        return [self._unit_update(unit) for unit in self._units]

    def _next(self) -> tuple[bytes, bytes | None]:
        if not self._units:
            return self._new_unit()
        (make,) = self._rng.choices(list(self._shares), list(self._shares.values()))
        return make()

    def _unit(self) -> tuple[bytes, bytes | None]:
        return self._unit_update(self._some_hot() if self._rng.random() < 0.5 else self._units[-1])

    def _hot_code(self) -> tuple[bytes, bytes | None]:
        group = self._some_hot()
        return self._item(group, f"CODE-{group}-0", {"line": f"L{self._rng.randrange(9)}"})

    def _unknown(self) -> tuple[bytes, bytes | None]:
        return self._item(self._rng.choice(self._units), f"UNKNOWN{self._number}", {"line": "L0"})

    def _invalid(self) -> tuple[bytes, bytes | None]:
        return self._item(*self._rng.choice(self._codes), {"activation_status": "9"})

    def _no_event(self) -> tuple[bytes, bytes | None]:
        self._number += 1
        return self._rng.choice(self._units).encode(), b"\xff\xfe no event " + str(
            self._number
        ).encode()

    def _tombstone(self) -> tuple[bytes, bytes | None]:
        return self._rng.choice(self._units).encode(), None

    def _code(self) -> tuple[bytes, bytes | None]:
        group, code = self._rng.choice(self._codes)
        market = self._rng.choice(["cn", "de", ""])
        return self._item(group, code, {"line": f"L{self._rng.randrange(9)}", "market": market})

    def _single(self) -> tuple[bytes, bytes | None]:
        self._group += 1
        name = f"single-{self._group}"
        self._codes.append((name, f"CODE-{name}"))
        return self._item(name, f"CODE-{name}", {"line": "L1"})

    def _new_unit(self) -> tuple[bytes, bytes | None]:
        unit = f"case-{len(self._units)}"
        codes = [(unit, f"CODE-{unit}-{child}") for child in range(CODES_OF_A_UNIT)]
        self._units.append(unit)
        self._codes += codes
        self._packing += codes[1:]
        # no update of a unit comes before its first code
        return self._item(unit, codes[0][1], {UNIT: unit})

    def _some_hot(self) -> str:
        return self._rng.choice(self._units[:HOT_GROUPS])

    def _some_unit(self) -> str:
        """Return any unit, a hot one as often as any."""
        return self._some_hot() if self._rng.random() < 0.5 else self._rng.choice(self._units)

    def _pack(self) -> tuple[bytes, bytes | None]:
        """Put the next code into its unit; now and then up to four into the same one, in a
        document.
        """
        if not self._packing:
            return self._code()
        unit, code = self._packing.pop(0)
        if self._rng.random() < 0.85:
            return self._item(unit, code, {UNIT: unit})
        codes = [code]
        while len(codes) < 4 and self._packing and self._packing[0][0] == unit:
            codes.append(self._packing.pop(0)[1])
        return self._event(
            unit,
            type="AggregationEvent",
            action="ADD",
            bizStep="packing",
            parentID=unit,
            childEPCs=codes,
        )

    def _label(self) -> tuple[bytes, bytes | None]:
        """Update a unit's label alone."""
        unit = self._some_unit()
        self._number += 1
        return unit.encode(), json.dumps(
            {"extended_id": f"LABEL-{unit}", UNIT_NUMBER: str(self._number)}
        ).encode()

    def _label_and_unit(self) -> tuple[bytes, bytes | None]:
        """Update a unit and its label by one record."""
        unit = self._some_unit()
        self._number += 1
        event = {
            "data_key": "extended_id",
            "key_value": f"LABEL-{unit}",
            "scm_data": {UNIT_NUMBER: str(self._number)},
            "also_update": {"data_key": UNIT, "key_value": unit},
        }
        return unit.encode(), json.dumps(event).encode()

    def _inspection(self) -> tuple[bytes, bytes | None]:
        """Update some codes of a group by one document, now and then an unknown one among them."""
        unit = self._some_unit()
        some = self._rng.sample(range(CODES_OF_A_UNIT), self._rng.randint(2, MOST_ROWS))
        codes = [f"CODE-{unit}-{child}" for child in some]
        if self._rng.random() < 0.2:
            codes[-1] = f"UNKNOWN{self._number:08}"
        return self._event(unit, type="ObjectEvent", action="OBSERVE", bizStep=STEP, epcList=codes)

    def _event(self, unit: str, **members: Any) -> tuple[bytes, bytes | None]:
        self._number += 1
        event = {
            "eventTime": "2026-11-22T15:30:00Z",
            "eventTimeZoneOffset": "+00:00",
            NUMBER: str(self._number),
            **members,
        }
        body = {
            "type": "EPCISDocument",
            "schemaVersion": "2.0",
            "epcisBody": {"eventList": [event]},
        }
        return unit.encode(), json.dumps(body).encode()

    def _item(self, group: str, code: str, fields: Mapping[str, str]) -> tuple[bytes, bytes | None]:
        self._number += 1
        item = {"extended_id": code, NUMBER: str(self._number), **fields}
        return group.encode(), json.dumps(item).encode()

    def _unit_update(self, unit: str) -> tuple[bytes, bytes | None]:
        self._number += 1
        event = {"data_key": UNIT, "key_value": unit, "scm_data": {UNIT_NUMBER: str(self._number)}}
        return unit.encode(), json.dumps(event).encode()


class Publisher:
    """Publish a line at a steady pace from a thread of its own, through restarts, nothing twice.

    It uses kafka-python: librdkafka's idempotent producer was seen to stand still for ever after a
    broker was back.
    """

    def __init__(
        self, bootstrap: str, topic: str, line: Line, per_second: float, ahead: int
    ) -> None:
        self._line = line
        self._topic = topic
        self._per_second = per_second
        self._ahead = ahead  # published at once, at the start
        self._stop = threading.Event()
        self._failed: list[Exception] = []
        self.published = 0
        self.acknowledged = 0
        self._producer = KafkaProducer(
            bootstrap_servers=bootstrap,
            enable_idempotence=True,
            linger_ms=20,
            request_timeout_ms=10_000,
            delivery_timeout_ms=PATIENCE_MS,
            max_block_ms=PATIENCE_MS,
        )
        self._thread = threading.Thread(target=self._run, name="publisher", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def close(self) -> None:
        """Publish the closing events, and wait until all is acknowledged."""
        self._stop.set()
        self._thread.join()
        for key, value in self._line.closing():
            self._produce(key, value)
        self._producer.flush(timeout=FLUSH_SECONDS)
        self._producer.close(timeout=FLUSH_SECONDS)
        left = self.published - self.acknowledged
        if left or self._failed:
            raise RuntimeError(
                f"{left} events unacknowledged, {len(self._failed)} failed: {self._failed[:1]}"
            )

    def _run(self) -> None:
        began = time.monotonic()
        for key, value in self._line.events():
            try:
                self._produce(key, value)
            except Exception as error:  # whatever it is, the run is void: told by close
                self._failed.append(error)
                return
            due = began + (self.published - self._ahead) / self._per_second
            if self._stop.wait(max(0.0, due - time.monotonic())):
                return

    def _produce(self, key: bytes, value: bytes | None) -> None:
        def done(_: Any) -> None:
            self.acknowledged += 1

        self.published += 1
        sent = self._producer.send(self._topic, value=value, key=key, partition=partition_of(key))
        sent.add_callback(done)
        sent.add_errback(self._failed.append)
