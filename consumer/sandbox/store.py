"""Codes and journal under one lock: a row gets its number at the instant it is applied."""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from consumer.sandbox.async_rules import AsyncUpload
from consumer.sandbox.codes import Codes, stored_fields
from consumer.sandbox.documents import Documents
from consumer.sandbox.journal import Journal, RowEntry
from consumer.sandbox.rules import DEFAULT_DATA_KEY, Mistake, Upload
from consumer.sandbox.tasks import SandboxTask, SandboxTasks, TaskOutcome


@dataclass(slots=True)
class UploadEffect:
    """The effect of an upload; the material of a 200's body."""

    rows: int = 0
    #: Key value → fields that were accepted, as sent.
    items: dict[str, list[str]] = field(default_factory=dict)
    #: Only rows and fields that got another value.
    changed: dict[str, list[str]] = field(default_factory=dict)
    changes: list[dict[str, str]] = field(default_factory=list)  #: what was stored, a row each
    codes: set[str] = field(default_factory=set)
    updates: int = 0  #: field values written, over all codes


@dataclass(frozen=True, slots=True)
class InitialState:
    """The world at the start, and again after a reset; ``codes`` None: no explicit set."""

    codes: Mapping[str, Mapping[str, str]] | None = None
    known_prefixes: Collection[str] = ()
    products: Collection[str] | None = None
    accept_empty_units: bool = False


class Store:
    """The shared state; hold ``lock`` (re-entrant) around all that must be seen as one step."""

    def __init__(self, world: InitialState) -> None:
        self.lock = threading.RLock()
        self._world = world
        #: Grows with each reset: what was begun before it must not be applied after it.
        self.generation = 0
        self.reset()

    def reset(self) -> None:
        """Back to the start: the codes of the beginning, an empty journal."""
        with self.lock:
            world = self._world
            self.codes = Codes(
                world.known_prefixes, world.products, accept_empty_units=world.accept_empty_units
            )
            if world.codes is not None:
                self.codes.load(world.codes, only=True)
            self.journal = Journal()
            self.tasks = SandboxTasks()
            self.documents = Documents()
            self.generation += 1

    def mistakes(self, upload: Upload) -> list[Mistake]:
        """Return all row mistakes in the order of the rows, also those only the API can know."""
        found = list(upload.mistakes)
        data_key = upload.data_key
        for line, item in enumerate(upload.items, 1):
            key = item.get(data_key, "")
            if key.strip() and not self.codes.knows(data_key, key):
                text = f"Invalid value passed for {data_key}: '{key}'"
                found.append(Mistake("unknown_key", text, line, data_key, key))
            product = item.get("product", "") if data_key != "product" else ""
            if product and not self.codes.knows_product(product):
                found.append(Mistake("unknown_product", "Invalid Product", line, "product", key))
        return sorted(found, key=lambda mistake: mistake.line or 0)

    def apply(
        self,
        request: int,
        data_key: str,
        items: Sequence[dict[str, str]],
        campaign: Collection[str] | None,
    ) -> UploadEffect:
        """Apply rows that are known to be good, in their order."""
        applied = UploadEffect(rows=len(items))
        entries: list[RowEntry] = []
        now = time.time()
        for item in items:
            key = item[data_key]
            sent = {name: value for name, value in item.items() if name != data_key}
            stored = stored_fields(sent, campaign)
            codes = self.codes.select(data_key, key)
            changed: dict[str, None] = {}
            for code in codes:
                changed |= self.codes.write(code, stored)
            applied.codes.update(codes)
            applied.updates += len(stored) * len(codes)
            # as sent: "status" confirms itself, though it is stored under its newer name
            confirmed = (
                sent
                if stored is sent
                else [name for name in sent if name in stored or name == "status"]
            )
            applied.items[key] = list(confirmed)
            if changed:
                applied.changed[key] = list(changed)
            applied.changes.append(stored)
            entries.append(RowEntry(request, data_key, key, sent, len(codes), now))
        self.journal.add_rows(entries)
        return applied

    def touched(self, upload: Upload) -> int:
        """Return how many codes a good upload selects."""
        return sum(self.codes.count(upload.data_key, key) for key in upload.keys)

    def begin(
        self,
        request: int,
        upload: AsyncUpload,
        campaign: list[str] | None,
        outcome: TaskOutcome,
        seconds: float,
    ) -> SandboxTask:
        """Begin a task that takes so many seconds."""
        now = time.monotonic()
        task = self.tasks.begin(request, upload, campaign, outcome, now, seconds)
        self.catch_up(now)
        return task

    def catch_up(self, now: float | None = None) -> None:
        """Let every task take effect whose time has come, in the order of their times."""
        now = time.monotonic() if now is None else now
        for task in self.tasks.due(now):
            self._end(task, time.time() - (now - task.due))

    def _end(self, task: SandboxTask, at: float) -> None:
        """End a task.

        Values that select nothing are passed over in silence; an unknown product fails it all.
        """
        upload, outcome = task.upload, task.outcome
        task.ended = True
        task.failure = outcome.failure
        product = upload.data.get("product", "")
        if product and not self.codes.knows_product(product):
            task.failure = task.failure or "Invalid Product"
        elif outcome.applies:
            stored = stored_fields(upload.data, task.campaign)
            entries = []
            for key, value, codes in self._selected(upload):
                for code in codes:
                    self.codes.write(code, stored)
                task.codes += len(codes)
                entries.append(
                    RowEntry(task.request, key, value, upload.data, len(codes), at, task.id)
                )
            task.updates = task.codes * len(stored)
            self.journal.add_rows(entries)

    def _selected(self, upload: AsyncUpload) -> Iterator[tuple[str, str, list[str]]]:
        """Return each key value with its codes; several constraints as one, the values as JSON."""
        if len(upload.constraints) > 1:
            text = orjson.dumps(upload.constraints).decode()
            yield upload.data_key, text, self.codes.meeting(upload.constraints)
            return
        for key, values in upload.constraints.items():
            for value in values:
                yield (
                    key,
                    value,
                    self.codes.select(key, value) if self.codes.knows(key, value) else [],
                )

    def state(self) -> dict[str, Any]:
        """Return every code that was loaded or uploaded to, with its fields."""
        with self.lock:
            self.catch_up()
            return {"codes": {code: dict(data) for code, data in self.codes.data.items()}}


def codes_from(document: object) -> dict[str, dict[str, str]]:
    """Return known codes from JSON.

    It is a list of extended_ids and of objects with an ``extended_id``, or an object id → fields.
    Raises ValueError that says which entry is wrong.
    """
    if isinstance(document, dict):
        pairs: list[tuple[object, object]] = list(document.items())
    elif isinstance(document, list):
        pairs = [_pair(entry) for entry in document]
    else:
        raise ValueError(  # noqa: TRY004 - one kind of error for whatever is wrong with them
            "codes must be a list of ids, a list of objects with extended_id, "
            "or an object id → fields"
        )
    codes = {}
    for number, (code, fields) in enumerate(pairs, 1):
        if not isinstance(code, str) or not code.strip():
            raise ValueError(
                f"code {number}: {DEFAULT_DATA_KEY} must be a string that is not blank"
            )
        if not isinstance(fields, dict) or not all(
            isinstance(value, str) for value in fields.values()
        ):
            raise ValueError(f"code {number} ({code}): its fields must be an object of strings")
        codes[code] = fields
    return codes


def _pair(entry: object) -> tuple[object, object]:
    if isinstance(entry, dict):
        return entry.get(DEFAULT_DATA_KEY), {
            name: value for name, value in entry.items() if name != DEFAULT_DATA_KEY
        }
    return entry, {}
