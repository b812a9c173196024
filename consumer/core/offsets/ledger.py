"""The ledger: what became of every record that was read, in counts that must balance."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec


class Ledger(msgspec.Struct):
    """Counts of records; ``consumed`` = the sum of all the others, in every snapshot (I5)."""

    consumed: int = 0
    accepted: int = 0
    rejected: int = 0
    skipped: int = 0
    released: int = 0
    unsettled: int = 0

    def add(self, other: Ledger) -> None:
        """Add others' counts."""
        for name in self.__struct_fields__:
            setattr(self, name, getattr(self, name) + getattr(other, name))

    @classmethod
    def total(cls, ledgers: Iterable[Ledger]) -> Ledger:
        """Return the sum of these counts."""
        total = cls()
        for ledger in ledgers:
            total.add(ledger)
        return total

    def as_dict(self) -> dict[str, int]:
        """Return the counts by name, consumed first."""
        return msgspec.structs.asdict(self)

    @property
    def balanced(self) -> bool:
        """Return whether every consumed record is in exactly one of the other counts (I5)."""
        ended = self.accepted + self.rejected + self.skipped + self.released
        return self.consumed == ended + self.unsettled
