"""I1, I9: when all is over nothing is lost, and each code stands as was published."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tests.simulation.final_state import Fate
from tests.simulation.maps import names_nothing
from tests.simulation.oracle.books import Books, Violation
from tests.simulation.oracle.effects import Effects
from tests.simulation.progress import claims
from tests.simulation.witness import Tag


def check_end(
    books: Books,
    effects: Effects,
    left_out: Mapping[Tag, int],
    committed: Mapping[int, tuple[int, str]],
    ends: Sequence[int],
) -> None:
    """Raise Violation when something is left or lost when all is over (I1)."""
    for number, end in enumerate(ends):
        if committed[number][0] != end or not names_nothing(committed[number][1]):
            raise Violation(
                f"I1: partition {number} is committed to {committed[number]}, it ends at {end}"
            )
    for (number, offset), record in books.records.items():
        if offset < books.floor.get(number, 0) or (number, offset) in books.removed:
            continue  # before the group's time, or no more
        for row in record.rows:
            fine = (
                row.tag in effects.applied_tags
                or row.tag in books.dead_lettered
                or left_out[row.tag]
            )
            if not fine or (row.invalid and row.tag not in books.dead_lettered):
                raise Violation(f"I1: {row.tag} is lost")
            if not books.limits.receipts or row.tag in books.dead_lettered:
                # an owner that did not write its receipt any more may be followed by a
                # rejection
                continue
            if row.tag in books.accepted and row.tag not in effects.receipted_tags:
                raise Violation(f"I1: {row.tag} was accepted and has no receipt")
    _check_final_state(books, effects)


def _check_final_state(books: Books, effects: Effects) -> None:
    """Raise Violation unless each code stands as was published, whatever was repeated (I9)."""
    fate = Fate(
        lambda number: books.floor.get(number, 0),
        books.dead_lettered.__contains__,
        effects.sure,
    )
    # Nothing is promised of codes that records were about which are no more, nor of what rows
    # share with them.
    gone = {
        (at[0], key)
        for at in books.removed
        for row in books.records[at].rows
        for key, _ in claims(row)
    }
    rows = [row for at in sorted(books.records) for row in books.records[at].rows]
    while True:
        touched = [row for row in rows if any((row.tag[0], key) in gone for key, _ in claims(row))]
        more = {(row.tag[0], key) for row in touched for key, _ in claims(row)}
        if more <= gone:
            break
        gone |= more
    rows = [row for row in rows if not any((row.tag[0], key) in gone for key, _ in claims(row))]
    for difference in effects.state.differences(rows, fate):
        if not difference.late:
            raise Violation(f"I9: {difference}")
        books.seen["final state by a late call"] += 1
    books.seen["an update by unit repeated after a code was put in"] += effects.state.reached_later
