"""I1, I2, I4, I7: what a process sends is its own, is due, and is in order by key."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from tests.simulation.documents import Key
from tests.simulation.oracle.books import Books, Epoch, Violation
from tests.simulation.process import Process
from tests.simulation.progress import claims
from tests.simulation.published import PublishedRecord
from tests.simulation.witness import Call, Tag


class Sending:
    """Holds uploads to the order of their keys, from their sending to their outcome."""

    def __init__(self, books: Books) -> None:
        self._books = books
        #: The latest assignment of each partition, by the group's word.
        self.owners: dict[int, Epoch] = {}
        self._claims: dict[tuple[int, Key], list[tuple[int, int, bool]]] = {}
        self._in_flight: dict[Process, dict[Key, list[tuple[Call, Tag, bool]]]] = {}
        #: Rows of lost calls, and until when those may take effect.
        self._lost: dict[Process, dict[Key, list[tuple[float, Tag, bool]]]] = {}
        #: Rows that went by a task, or may be about to.
        self.by_task: set[Tag] = set()
        self.rows_sent = 0
        #: Rows of each call, in the order they were sent.
        self.sizes: list[int] = []
        self.repeats = 0

    def began(self, process: Process) -> None:
        """Watch a process."""
        self._in_flight[process] = {}
        self._lost[process] = {}

    def published(self, record: PublishedRecord) -> None:
        """Take in the keys of a record's rows."""
        for row in record.rows:
            for key, exclusive in claims(row):
                self._claims.setdefault((record.number, key), []).append(
                    (record.offset, row.tag[2], exclusive)
                )

    def lost_until(self, process: Process, waited: Collection[int]) -> float:
        """Return until when a lost call may take effect, but for those of partitions ``waited``.

        0: none is lost.
        """
        entries = (
            until
            for held in self._lost[process].values()
            for until, tag, _ in held
            if tag[0] not in waited
        )
        return max(entries, default=0.0)

    def handed(self, process: Process, epochs: Sequence[object]) -> None:
        for key in epochs:
            epoch = self._books.epochs[key]
            if epoch.ended or epoch.leaving:
                raise Violation(f"I2: {process.name} sends rows of {epoch}, which it gives up")

    def sent(self, call: Call) -> None:
        process, now = call.process, self._books.scheduler.now
        self.sizes.append(len(call.tags))
        self._books.tell(
            process,
            f"sends #{call.number}{' as a task' if call.by_task else ''}: {_shown(call.tags)}",
        )
        if call.by_task:
            self.by_task.update(call.tags)
        self._check_content(call)
        flight = self._in_flight[process]
        for tag, key_of_epoch in zip(call.tags, call.epochs, strict=True):
            epoch = self._books.epochs[key_of_epoch]
            self._check_fence(call, epoch)
            if tag not in self._books.rows_of(tag) or tag[1] >= epoch.position:
                raise Violation(f"I1: {process.name} sends {tag}, which it has not read")
            if epoch.settled(tag):
                raise Violation(
                    f"I7: {process.name} sends {tag} again, which is settled in {epoch}"
                )
            if tag in epoch.receipting:
                raise Violation(
                    f"I7: {process.name} sends {tag} again, which was accepted: "
                    "only its receipt is due"
                )
            row = self._books.rows_of(tag)[tag]
            self.rows_sent += 1
            if tag in self._books.settled_ever:
                self.repeats += 1
            for key, exclusive in claims(row):
                self._check_order(epoch, key, tag, exclusive=exclusive)
                held = flight.setdefault(key, [])
                for _, other_tag, other_exclusive in held:
                    if exclusive or other_exclusive:
                        raise Violation(
                            f"I4: {tag} is sent while {other_tag} of {key} is in flight"
                        )
                for until, other_tag, other_exclusive in self._lost[process].get(key, ()):
                    if now < until and other_tag != tag and (exclusive or other_exclusive):
                        raise Violation(
                            f"I4: {tag} is sent while a lost call with {other_tag} of {key} may "
                            "take effect"
                        )
                held.append((call, tag, exclusive))

    def _check_content(self, call: Call) -> None:
        """Raise Violation unless each row goes under its own key, and those of a task have the same
        data.

        A task sets one set of data.
        """
        for tag, item in zip(call.tags, call.items, strict=True):
            row = self._books.rows_of(tag).get(tag)
            if row is not None and row.key != (call.data_key, item[call.data_key]):
                raise Violation(f"I1: {call.process.name} sends {tag} under another key: {item}")
        data = {
            tuple(sorted((n, v) for n, v in item.items() if n != call.data_key))
            for item in call.items
        }
        if call.by_task and len(data) > 1:
            raise Violation(
                f"I1: {call.process.name} sends rows of different data as one task: {data}"
            )
        if call.by_task and len(call.items) > 1:
            self._books.seen["several rows in a task"] += 1

    def _check_fence(self, call: Call, epoch: Epoch) -> None:
        """Raise Violation when a member sends of a partition that another one has begun with."""
        latest = self.owners.get(epoch.number, epoch)
        if latest is not epoch and latest.process is not epoch.process:
            raise Violation(
                f"I9: {call.process.name} sends rows of {epoch}, "
                f"which {latest.process.name} has meanwhile"
            )
        if epoch.ended:
            self._books.seen["sent of what was given up"] += 1

    def _check_order(self, epoch: Epoch, key: Key, tag: Tag, *, exclusive: bool) -> None:
        """Raise Violation unless every earlier row of the key, and its record, is settled (I2)."""
        number = epoch.number
        for offset, place, other in self._claims.get((number, key), ()):
            if offset >= tag[1]:
                return
            if (exclusive or other) and not epoch.settled((number, offset, place)):
                if (number, offset, place) in epoch.maybe:
                    continue
                raise Violation(
                    f"I2: {tag} of {key} is sent before {(number, offset, place)} is settled"
                )
            if (exclusive or other) and offset in epoch.open and not epoch.undecided(offset):
                # A repeat of that record would say of the key once more what this row has changed.
                raise Violation(
                    f"I2: {tag} of {key} is sent before the record of {(number, offset, place)} "
                    "is settled"
                )

    def land(self, call: Call, *, lost: bool, sent_at: float | None = None) -> None:
        """Take a call's rows out of flight; if it was lost, it may take effect still."""
        process = call.process
        flight = self._in_flight[process]
        until = (call.sent_at if sent_at is None else sent_at) + self._books.limits.max_processing
        for tag in call.tags:
            for key, exclusive in claims(self._books.rows_of(tag)[tag]):
                flight[key] = [entry for entry in flight[key] if entry[0] is not call]
                if lost:
                    self._lost[process].setdefault(key, []).append((until, tag, exclusive))
        if lost:
            self._books.seen["lost answer"] += 1


def _shown(tags: Sequence[Tag]) -> str:
    return " ".join(".".join(map(str, tag)) for tag in tags)
