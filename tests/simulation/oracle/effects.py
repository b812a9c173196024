"""I9: rows of a key take effect in their order, but for what nobody could hold back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from tests.simulation.documents import Key, PublishedRow
from tests.simulation.final_state import FinalState
from tests.simulation.oracle.books import Books, Epoch, Violation
from tests.simulation.process import Process
from tests.simulation.progress import claims
from tests.simulation.witness import Call, Tag

#: A wait that ends by its bound has lasted so long, but for the turn that it ends in, seconds.
WAIT_SLACK = 0.2


class Effects:
    """Watches what the API applies, and what the topic of receipts takes."""

    def __init__(self, books: Books) -> None:
        self._books = books
        self.state = FinalState()
        #: The latest row of each key that took effect, and in which assignment.
        self._latest: dict[tuple[int, bool, Key, bool], tuple[Tag, Epoch]] = {}
        #: The same of receipts.
        self._receipts: dict[tuple[int, bool, Key], tuple[Tag, Epoch]] = {}
        self.receipted_tags: set[Tag] = set()
        #: Rows for which a call took effect, by their places in it.
        self._effects: dict[Call, set[int]] = {}
        #: Of settled rows, whether the call that was accepted took effect for them.
        self._sure: dict[Tag, bool] = {}
        self.applied_tags: set[Tag] = set()
        #: Since when each process stops, for whatever reason.
        self._stopping: dict[Process, float] = {}
        self._signals: Counter[Process] = Counter()
        #: Members that another process with their instance id has replaced.
        self.fenced: set[Process] = set()

    def accepted(self, call: Call, tag: Tag) -> None:
        """Note whether the call that a row is accepted by took effect for it."""
        self._sure[tag] = call.tags.index(tag) in self._effects.get(call, ())

    def sure(self, tag: Tag) -> bool:
        """Return whether the response that settled a row is one to a call that took effect."""
        return self._sure.get(tag, False)

    def set_apart(self) -> None:
        """Compare what is left of replaced records only with each other from now on."""
        self._set_apart(self._latest)
        self._set_apart(self._receipts)

    def _set_apart(self, latest: dict[Any, tuple[Tag, Epoch]]) -> None:
        """Move the latest of a key, where its record was replaced, to the others of its life."""
        for key in [
            key
            for key, (tag, _) in latest.items()
            if tag[:2] in self._books.replaced and not key[1]
        ]:
            latest[(key[0], True, *key[2:])] = latest.pop(key)

    def asked_to_stop(self, process: Process) -> None:
        """Count a signal to stop."""
        self._signals[process] += 1

    def stopping(self, process: Process) -> None:
        """Note since when a process stops."""
        self._stopping.setdefault(process, self._books.scheduler.now)

    def applied(self, call: Call, rows: Sequence[int]) -> None:
        """Check that the API sees a key's rows in their order (I9).

        Excused is what nobody could hold back or keep from a repeat.
        """
        self._effects.setdefault(call, set()).update(rows)
        self._books.tell(call.process, f"#{call.number} is applied")
        for place in rows:
            tag = call.tags[place]
            epoch = self._books.epochs[call.epochs[place]]
            self.applied_tags.add(tag)
            row = self._books.rows_of(tag)[tag]
            late = self._takes_effect_late(call, epoch, row)
            self.state.applied(row, late=late)
            if not late:
                for key, exclusive in claims(row):
                    self._latest[tag[0], tag[:2] in self._books.replaced, key, exclusive] = (
                        tag,
                        epoch,
                    )

    def _takes_effect_late(self, call: Call, epoch: Epoch, row: PublishedRow) -> bool:
        """Return whether a later row of a key has taken effect by another owner.

        Raises Violation where that must not be.
        """
        late = False
        for key, exclusive in claims(row):
            for other in (True, False) if exclusive else (True,):
                before = self._latest.get(
                    (row.tag[0], row.tag[:2] in self._books.replaced, key, other)
                )
                if before is None or row.tag >= before[0]:
                    continue
                latest, owner = before
                if epoch.process is owner.process and epoch.place <= owner.place:
                    raise Violation(
                        f"I9: {row.tag} of {key} takes effect after {latest}, both of {epoch}"
                    )
                if epoch.place > owner.place:
                    self._check_repeat(epoch, key, row.tag, latest)
                    continue
                late = True
        if late:
            why = self.why_late(epoch)
            if not why:
                raise Violation(
                    f"I9: {row.tag} takes effect after a later row of its key: "
                    f"{epoch} was handed over meanwhile, "
                    f"with #{call.number} under way and time left to wait for it"
                )
            self._books.seen["applied late after its owner"] += 1
            self._books.seen[f"applied late: its owner {why}"] += 1
            self._books.tell(
                call.process, f"#{call.number} takes effect after its owner {why}: {row.tag}"
            )
        return late

    def _check_repeat(self, epoch: Epoch, key: Key, tag: Tag, latest: Tag) -> None:
        """Raise Violation where a new owner's repeat sets a key back and will not catch up.

        What it undoes is to be repeated, too.
        """
        if epoch.settled_before(latest[1]):
            raise Violation(
                f"I9: {tag} of {key} takes effect once more, by {epoch}, after {latest}, "
                "which is settled for it "
                "and is not sent again"
            )
        self._books.seen["set back by a repeat"] += 1

    def why_late(self, epoch: Epoch) -> str:
        """Return what excuses that a call of an assignment takes effect after its time.

        Empty: it could have waited.
        """
        if epoch.killed:
            return "was killed"
        if epoch.lost or not epoch.ended or epoch.process in self.fenced:
            return "was thrown out"
        gone_at = epoch.gone_at or 0.0
        if self._signals[epoch.process] > 1:
            return "was stopped at once"
        if (
            gone_at - self._stopping.get(epoch.process, gone_at)
            >= self._books.limits.stop - WAIT_SLACK
        ):
            return "stopped waiting by its bound"
        if gone_at - epoch.left_at >= self._books.limits.revoke - WAIT_SLACK:
            return "stopped waiting by its bound"
        return ""

    def receipted(self, tag: Tag, row: PublishedRow, book: Epoch) -> None:
        """Raise Violation when the receipts of a key are not in order."""
        self.receipted_tags.add(tag)
        place = (tag[0], tag[:2] in self._books.replaced, row.key)
        latest = self._receipts.get(place)
        if latest is not None and tag < latest[0]:
            if book is latest[1]:
                raise Violation(
                    f"I9: the receipt of {tag} comes after that of {latest[0]}, both of {book}"
                )
            if book.place > latest[1].place and book.settled_before(latest[0][1]):
                raise Violation(
                    f"I9: the receipt of {tag} comes once more, after that of {latest[0]}, "
                    f"by {book}"
                )
            if book.place < latest[1].place:
                self._books.seen["a receipt after its owner"] += 1  # it was on its way
                return
        self._receipts[place] = (tag, book)
