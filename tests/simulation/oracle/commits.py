"""I3, I7: a commit tells of what is settled, of all of it, and of nothing else."""

from __future__ import annotations

from collections.abc import Sequence

from tests.simulation.maps import covered_by, epoch_of, names_nothing
from tests.simulation.oracle.books import Books, Epoch, Violation, in_ranges

#: The leader epoch of what is written after a cut; there is one in a run.
LATER = 1


class Commits:
    """Compares each commit with what is settled."""

    def __init__(self, books: Books) -> None:
        self._books = books

    def check(self, epoch: Epoch, offset: int, metadata: str) -> None:
        number = epoch.number
        while epoch.read and epoch.read[0] not in epoch.open:
            epoch.read.popleft()
        first = next(
            (o for o in epoch.read if o in epoch.open and not epoch.undecided(o)), epoch.position
        )
        if offset > first:
            raise Violation(
                f"I3: a commit of {offset} of {epoch} passes {first}, which is not settled"
            )
        lowest = epoch.read[0] if epoch.read else epoch.position
        if offset < lowest:
            raise Violation(
                f"I7: a commit of {offset} of {epoch} where all before {lowest} is settled"
            )
        ranges = covered_by(metadata, number, offset)
        if not ranges and not names_nothing(metadata):
            raise Violation(f"I7: a commit of {epoch} carries no map that can be read: {metadata}")
        self._check_unread(epoch, ranges, epoch_of(metadata))
        if any(len(places) < len(self._books.rows[number, o]) for o, places in epoch.open.items()):
            self._books.seen["a half-settled record at a commit"] += 1
        beyond = [o for o in epoch.read if o >= offset]
        for other in beyond:
            if other in epoch.open:
                if in_ranges(ranges, other) and not epoch.undecided(other):
                    raise Violation(
                        f"I3: the map of {epoch} at {offset} names {other}, which is not settled"
                    )
            elif not in_ranges(ranges, other) and not (epoch.refusals or epoch.sparse):
                raise Violation(
                    f"I7: the map of {epoch} at {offset} leaves out {other}, which is settled"
                )
        room = self._books.limits.map_room
        if metadata and len(metadata) > 0.6 * room:
            self._books.seen["map near its room"] += 1
        if len(metadata) > room:
            raise Violation(f"I7: a map of {len(metadata)} characters, {room} are allowed")

    def _check_unread(self, epoch: Epoch, ranges: Sequence[tuple[int, int]], leader: int) -> None:
        """Raise Violation unless a map tells of unread positions what the first commit told.

        ``leader``: the epoch that it names. Until a record of a later one is read, it may name what
        is no more.
        """
        end = epoch.cut_at
        unread = {
            o for o in _from(epoch.position, ranges) if leader >= LATER or end is None or o < end
        }
        known = {offset for offset in _from(epoch.position, epoch.map) if epoch.mapped(offset)}
        if not known >= unread:
            raise Violation(
                f"I3: the map of {epoch} tells of what was not read: {min(unread - known)}"
            )
        if not unread >= known and not (epoch.refusals or epoch.sparse):
            raise Violation(
                f"I7: the map of {epoch} forgets what its first one says of {min(known - unread)}"
            )


def _from(position: int, ranges: Sequence[tuple[int, int]]) -> set[int]:
    """Return the offsets from a position on that a map names."""
    return {offset for start, end in ranges for offset in range(max(start, position), end)}
