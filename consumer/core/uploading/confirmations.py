"""What an answer that accepts a window confirms of it, and what it leaves open.

An answer may leave rows out; the guide does not say what that means. Each such row is sent once
more, unless repeats bring nothing; then it counts as accepted, unconfirmed.
"""

from __future__ import annotations

from collections import Counter
from itertools import chain

from consumer.core.batching.windows import Window
from consumer.core.counters import Tally
from consumer.core.model import KEYS_OF_ONE_CODE, Row
from consumer.core.uploading.classification import Outcome

#: After this many repeats of unconfirmed rows that confirmed nothing, a data key's rows are
#: repeated no more.
FRUITLESS_REPEATS = 20


class Confirmations:
    """What was confirmed, in counts, and the rows that are sent again for want of it."""

    def __init__(self) -> None:
        self.unconfirmed = 0  #: accepted rows that no answer listed
        self.codes_affected = Tally()  #: by data key, as far as the API told
        self.fields_not_confirmed = Tally()
        self._fruitless: Counter[str] = Counter()
        self._repeating = False  # a row has been sent again because an answer did not confirm it

    def count(self, window: Window, outcome: Outcome) -> str:
        """Keep what the answer tells; what a person wants to know of it, or nothing."""
        if outcome.unlisted:
            for field, count in Counter(chain.from_iterable(outcome.unlisted.values())).items():
                self.fields_not_confirmed.count(field, count)
        if outcome.affected is None:
            return ""
        self.codes_affected.count(window.data_key, outcome.affected)
        idle = len(window.rows) - outcome.affected
        if idle <= 0 or window.data_key in KEYS_OF_ONE_CODE:
            return ""
        # A unit that no code is in is told, as nothing else tells it.
        share = f"{idle} or more of {len(window.rows)} updates by {window.data_key}"
        return f"{share} changed nothing: no code has that value"

    def again(self, window: Window, missing: list[Row]) -> list[Row]:
        """Of the rows that the answer does not confirm, those that are sent once more."""
        if not (missing or self._repeating):
            return []
        absent = {id(row) for row in missing}
        repeats = [row for row in window.rows if row.confirmed_once]
        if repeats:
            fruitful = any(id(row) not in absent for row in repeats)
            self._fruitless[window.data_key] = (
                0 if fruitful else self._fruitless[window.data_key] + len(repeats)
            )
        allowed = self._fruitless[window.data_key] < FRUITLESS_REPEATS
        again = [row for row in missing if allowed and not row.confirmed_once]
        self.unconfirmed += len(missing) - len(again)
        for row in again:
            row.confirmed_once = True
            self._repeating = True
        return again
