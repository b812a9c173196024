"""Confirmations: which rows of an accepted window the response lists, and which it leaves out.

The guide does not say what it means when a row is left out. Each such row is sent once more, unless
repeats bring nothing; then it counts as accepted, unconfirmed.
"""

from __future__ import annotations

from collections import Counter
from itertools import chain

from consumer.core.batching.window import Window
from consumer.core.counters import Tally
from consumer.core.model import KEYS_OF_ONE_CODE, Row
from consumer.core.uploading.classification import Outcome

#: After this many repeats of unconfirmed rows that confirmed nothing, a data key's rows are
#: repeated no more.
FRUITLESS_REPEATS = 20


class Confirmations:
    """Counts of confirmed rows, and the rows that are resent as they were not confirmed."""

    def __init__(self) -> None:
        self.unconfirmed = 0  #: accepted rows that no response listed
        self.codes_affected = Tally()  #: by data key, as far as the API told
        self.fields_not_confirmed = Tally()
        self._fruitless: Counter[str] = Counter()
        self._repeating = False  # a row has been sent again because a response left it out

    def count(self, window: Window, outcome: Outcome) -> str:
        """Count what the response confirms; return a warning for people, or an empty text."""
        if outcome.unlisted:
            for field, count in Counter(chain.from_iterable(outcome.unlisted.values())).items():
                self.fields_not_confirmed.count(field, count)
        if outcome.affected is None:
            return ""
        self.codes_affected.count(window.data_key, outcome.affected)
        idle = len(window.rows) - outcome.affected
        if idle <= 0 or window.data_key in KEYS_OF_ONE_CODE:
            return ""
        # Nothing else shows that a unit holds no code.
        share = f"{idle} or more of {len(window.rows)} updates by {window.data_key}"
        return f"{share} changed nothing: no code has that value"

    def to_resend(self, window: Window, missing: list[Row]) -> list[Row]:
        """Return those of the rows that the response leaves out that are sent once more."""
        if not (missing or self._repeating):
            return []
        absent = {id(row) for row in missing}
        repeats = [row for row in window.rows if row.left_out_once]
        if repeats:
            fruitful = any(id(row) not in absent for row in repeats)
            self._fruitless[window.data_key] = (
                0 if fruitful else self._fruitless[window.data_key] + len(repeats)
            )
        allowed = self._fruitless[window.data_key] < FRUITLESS_REPEATS
        resent = [row for row in missing if allowed and not row.left_out_once]
        self.unconfirmed += len(missing) - len(resent)
        for row in resent:
            row.left_out_once = True
            self._repeating = True
        return resent
