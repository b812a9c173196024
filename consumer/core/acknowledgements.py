"""Dead letters and receipts on their way to their topics, until these acknowledge them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from consumer.core.effects import DeadLetter, Receipt
from consumer.core.model import Rejection, Row, Stage
from consumer.core.offsets.partition import Partition
from consumer.core.uploading.result import Result

#: Dead letters that are not acknowledged for so long wait for their topic, seconds.
DEAD_LETTERS_LATE_SECONDS = 2.0


class Acknowledgements:
    """Rows whose dead letters or receipts are not acknowledged yet, in the order they were made."""

    def __init__(self) -> None:
        # Each with the time since when its topic has been asked for it; None: it is asked next.
        self._rows: dict[Row, float | None] = {}
        self._dead_letters: list[DeadLetter] = []  # not handed out yet
        self._receipts: list[Receipt] = []  # the same

    def __bool__(self) -> bool:
        return bool(self._rows)

    def __iter__(self) -> Iterator[Row]:
        return iter(self._rows)

    def add_dead_letter(self, row: Row, rejection: Rejection) -> None:
        """Make the dead letter of a rejected row."""
        assert row.stage in (Stage.WAITING, Stage.WINDOWED), "the row was rejected, or is done"
        row.rejection = rejection
        row.stage = Stage.DEAD_LETTER
        self._rows[row] = None
        self._dead_letters.append(DeadLetter(row, rejection))

    def add_receipt(self, result: Result) -> None:
        """Make the receipt of accepted rows."""
        for row in result.accepted:
            assert row.stage == Stage.WINDOWED, "a receipt of a row that was not sent"
            row.stage = Stage.RECEIPT
            self._rows[row] = None
        self._receipts.append(
            Receipt(
                result.accepted,
                result.unconfirmed,
                result.unlisted,
                result.affected,
                result.task_id,
            )
        )

    def hand_out(self, now: float) -> tuple[list[DeadLetter], list[Receipt]]:
        """Return the dead letters and receipts that are to be written now, each once."""
        receipts, self._receipts = self._receipts, []
        dead_letters = [
            letter for letter in self._dead_letters if letter.row.stage == Stage.DEAD_LETTER
        ]
        self._dead_letters.clear()
        for letter in dead_letters:
            self._rows[letter.row] = now
        for receipt in receipts:
            for row in receipt.rows:
                if row in self._rows:  # else it was revoked
                    self._rows[row] = now
        return dead_letters, receipts

    def take(self, rows: Iterable[Row]) -> list[Row]:
        """Take in that a topic has these rows, on all in-sync replicas; return those still here.

        The others were revoked, or are acknowledged already.
        """
        taken = []
        for row in rows:
            if row in self._rows:
                del self._rows[row]
                taken.append(row)
        return taken

    def revoke(self, partitions: Collection[Partition]) -> list[Row]:
        """Forget the rows of these partitions, which are done; return them."""
        revoked = [row for row in self._rows if row.record.partition in partitions]
        for row in revoked:
            del self._rows[row]
            row.stage = Stage.DONE
        return revoked

    def waiting(self, now: float) -> Iterator[Row]:
        """Yield the rows that wait for a topic: rejected ones, and if that is late all others."""
        oldest = next(iter(self._rows), None)
        late = oldest is not None and now - oldest.arrived >= DEAD_LETTERS_LATE_SECONDS
        return (row for row in self._rows if late or row.stage == Stage.DEAD_LETTER)

    def oldest(self, stage: Stage, now: float) -> float:
        """Return how long the oldest row has waited for its dead letter, or its receipt.

        ``stage``: DEAD_LETTER or RECEIPT. In seconds; 0: none waits.
        """
        rows = self._rows.items()
        first = next((since for row, since in rows if row.stage == stage), None)
        return 0.0 if first is None else now - first

    @property
    def dead_letters(self) -> int:
        """Return how many rows wait for their dead letters' acknowledgement."""
        return sum(row.stage == Stage.DEAD_LETTER for row in self._rows)

    @property
    def receipts(self) -> int:
        """Return how many rows wait for their receipts' acknowledgement."""
        return len(self._rows) - self.dead_letters
