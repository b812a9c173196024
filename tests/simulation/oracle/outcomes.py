"""I4: each row is settled once, by a response, a task, a receipt or a dead letter."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from tests.simulation.api_faults import state_told
from tests.simulation.oracle.blame import Blame
from tests.simulation.oracle.books import Books, Epoch, Violation
from tests.simulation.oracle.effects import Effects
from tests.simulation.oracle.load import Load
from tests.simulation.oracle.sending import Sending
from tests.simulation.process import Process
from tests.simulation.witness import Call, Tag

#: After so many answers that there is no such task it is lost (docs/async.md).
UNKNOWN_TASK = 3
KEYS_OF_ONE_CODE = ("extended_id", "serial_number")


@dataclass
class TaskBook:
    """The books of one task."""

    call: Call
    started_at: float  #: when its process heard of it
    unknown: int = 0  #: answers that there is no such task, since the last one that told of it


class Outcomes:
    """Settles rows by what comes back."""

    def __init__(
        self, books: Books, load: Load, sending: Sending, effects: Effects, blame: Blame
    ) -> None:
        self._books = books
        self._load = load
        self._sending = sending
        self._effects = effects
        self._blame = blame
        self._open_calls: set[Call] = set()
        self._tasks: dict[tuple[Process, str], TaskBook] = {}
        #: How often a 200 left a row out.
        self.left_out: Counter[Tag] = Counter()

    def sent(self, call: Call) -> None:
        """Wait for the outcome of a call."""
        self._open_calls.add(call)

    def answered(self, call: Call, status: int | None, document: object) -> None:
        """Take in the response to a call; a status of None: it was lost."""
        if call not in self._open_calls:
            return  # it came twice
        self._open_calls.discard(call)
        process = call.process
        self._books.tell(
            process, f"takes in #{call.number}: {'lost' if status is None else status}"
        )
        task_id = document.get("task_id") if isinstance(document, dict) else None
        if call.by_task and status == 200 and task_id:
            self._books.seen["async"] += 1
            self._tasks[process, task_id] = TaskBook(call, self._books.scheduler.now)
            self._blame.unpause(call)
            return  # its rows are in flight until the task has ended
        self._sending.land(call, lost=status is None)
        self._blame.condemn(call, status, document)
        if len(call.tags) == 1 and (status is None or status >= 500):
            self._blame.failed_alone(call)
        items = document.get("items") if isinstance(document, dict) else None
        if status != 200 or not isinstance(items, dict):
            return
        self._blame.unpause(call)
        affected = document.get("codes_affected") if isinstance(document, dict) else None
        values = [item[call.data_key] for item in call.items]
        ambiguous = (
            call.data_key in KEYS_OF_ONE_CODE
            and isinstance(affected, int)
            and affected < len(values)
        )
        for tag, value, key in zip(call.tags, values, call.epochs, strict=True):
            epoch = self._books.epochs[key]
            if value not in items:
                self.left_out[tag] += 1
                if ambiguous and tag not in epoch.maybe:
                    epoch.maybe.add(tag)
                    self._effects.accepted(call, tag)
                    continue
            self._accept(call, epoch, tag)

    def told_of_task(
        self, process: Process, task_id: str, status: int | None, document: object
    ) -> None:
        """Take in the response to a poll: a task that is complete settles its rows.

        One that nobody can tell of may take effect still.
        """
        book = self._tasks.get((process, task_id))
        if book is None:
            raise Violation(f"I4: {process.name} asks about the task {task_id}, which has ended")
        call = book.call
        state = state_told(document) if isinstance(document, dict) and status == 200 else None
        if state:
            book.unknown = 0
        book.unknown += status in (404, 410)
        if status == 401:
            self._blame.pause(process)
        ended = state in ("complete", "failed")
        lost = (
            book.unknown >= UNKNOWN_TASK
            or self._books.scheduler.now - book.started_at >= self._books.limits.task_deadline
        )
        self._books.tell(
            process,
            f"hears of {task_id} (#{call.number}): {state or status}{', lost' if lost else ''}",
        )
        if not ended and not lost:
            return
        del self._tasks[process, task_id]
        self._sending.land(call, lost=not ended, sent_at=self._books.scheduler.now)
        if state == "complete":
            for tag, key in zip(call.tags, call.epochs, strict=True):
                self._accept(call, self._books.epochs[key], tag)
            self._blame.unpause(call)
        else:
            self._blame.task_failed(call, state)
        if not ended:
            self._books.seen["lost task"] += 1

    def acknowledged(self, process: Process, letters: Sequence[tuple[Tag, object]]) -> None:
        """Settle rows whose dead letters are acknowledged."""
        for tag, key in letters:
            epoch = self._books.epochs[key]
            self._books.tell(process, f"takes in the acknowledgement of {tag}")
            if not epoch.ended and not epoch.settled(tag):
                if tag not in epoch.receipted:
                    epoch.rejected.add(tag[1])
                self._settle(epoch, tag)

    def _accept(self, call: Call, epoch: Epoch, tag: Tag) -> None:
        """Settle a row that is accepted; where receipts are written, once its own is safe."""
        self._effects.accepted(call, tag)
        self._books.accepted.add(tag)
        if not self._books.limits.receipts or epoch.ended:
            self._settle(epoch, tag)
            return
        if epoch.settled(tag):
            raise Violation(f"I4: {tag} is accepted in {epoch}, where it is settled")
        epoch.maybe.discard(tag)
        epoch.receipting.add(tag)

    def receipted(self, process: Process, epoch: object, tag: Tag) -> None:
        """Raise Violation unless a receipt is that of an accepted row (I1), in order (I9)."""
        book = self._books.epochs[epoch]
        row = self._books.rows_of(tag).get(tag)
        if row is None or (
            tag not in book.receipting and tag not in book.maybe and tag not in book.receipted
        ):
            raise Violation(
                f"I1: {process.name} writes a receipt of {tag}, which was not accepted in {book}"
            )
        self._books.tell(process, f"has written the receipt of {tag}")
        self._books.seen["receipt written"] += 1
        book.receipted.add(tag)
        self._effects.receipted(tag, row, book)

    def _settle(self, epoch: Epoch, tag: Tag) -> None:
        if epoch.ended:
            self._books.seen["late result"] += 1
            return
        places = epoch.open.get(tag[1])
        if places is None or tag[2] not in places:
            raise Violation(f"I4: {tag} is settled twice in {epoch}")
        process = epoch.process
        self._books.settled_ever.add(tag)
        epoch.maybe.discard(tag)
        epoch.receipting.discard(tag)
        places.discard(tag[2])
        if places:
            return
        del epoch.open[tag[1]]
        self._load.remove(process, self._books.records[tag[:2]])
        epoch.counts["unsettled"] -= 1
        epoch.counts["rejected" if tag[1] in epoch.rejected else "accepted"] += 1
