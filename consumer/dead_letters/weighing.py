"""From what stands against a letter to its verdict, and between letters that would go at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from consumer.dead_letters.slots import NO_TIME, Moment
from consumer.dead_letters.watching import Kind, Watched, Watchlist, Why
from consumer.dead_letters.writers import Age, Cause, Findings, Writers, Writing

#: How often an event is brought back before its letter counts as looping.
MOST_REPLAYS = 3


def weigh(watched: Watched, writers: Sequence[Writers], *, only_missing: bool) -> None:
    """Set the verdict of a letter by the newest writers that were seen."""
    moment = watched.moment
    found = [each.against(writing, moment) for each in writers for writing in watched.writings]
    watched.set(Kind.LOOPING if watched.replays >= MOST_REPLAYS else Kind.REPLAY)
    for writing in watched.writings:
        watched.left |= writing.fields
    _hold_back(watched, found, only_missing=only_missing)


def _hold_back(watched: Watched, found: Sequence[Findings], *, only_missing: bool) -> bool:
    """Let what stands against a letter change its verdict; return whether anything does."""
    why, cause = _gravest(found)
    if not cause.age:
        return False
    watched.why, watched.cause = why, cause
    for each in found:
        watched.hit |= each.certain | each.perhaps
    whole = any(each.joined.age or each.unread.age for each in found)
    if only_missing and len(watched.writings) == 1 and not whole:
        watched.left &= ~watched.hit
        if watched.left:
            return True
    watched.left = 0
    watched.kind = Kind.SUPERSEDED if cause.age is Age.NEWER else Kind.UNKNOWN
    return True


def _gravest(found: Sequence[Findings]) -> tuple[Why, Cause]:
    """Return the surest of all that stands against a letter; of equal ones the first kind."""
    why, gravest = Why.NOTHING, Cause()
    for each in found:
        for kind, cause in (
            (Why.FIELD, each.field),
            (Why.JOINED, each.joined),
            (Why.MOVED, each.moved),
            (Why.UNREAD, each.unread),
        ):
            age = Age.UNORDERED if kind is Why.UNREAD and cause.age else cause.age
            if age > gravest.age:
                why, gravest = kind, cause._replace(age=age)
    return why, gravest


def settle_between_partitions(
    watchlist: Watchlist, home_of: Callable[[Watched], int], *, only_missing: bool
) -> None:
    """Let of letters that would go to different partitions, and set one field, only the newest go.

    Nobody could tell which of their copies is applied last. ``home_of``: the partition of a
    letter's copy. Letters of one partition that go to one partition go in order.
    """
    ways: dict[tuple[int, int], int] = {}
    going: list[tuple[Watched, int]] = []
    for each in watchlist.letters:
        if each.kind is Kind.REPLAY:
            from_and_to = (each.partition, home_of(each))
            going.append((each, ways.setdefault(from_and_to, len(ways))))
    if len(ways) < 2:
        return
    shared = _keys_of_several(going)
    newest = watchlist.writers(elsewhere=True)
    # Those without a time cannot be ordered: they come first, and each that meets one stays.
    going.sort(key=lambda pair: pair[0].time or NO_TIME, reverse=True)
    for each, way in going:
        moment = Moment(way, each.position, each.time)
        writings = [_of_shared(writing, shared) for writing in each.writings]
        found = [newest.against(_only(writing, each.left), moment) for writing in writings]
        if _hold_back(each, found, only_missing=only_missing):
            each.why = Why.GOES_TOO
        if each.kind is Kind.REPLAY:
            for writing in writings:
                newest.add(_only(writing, each.left), moment)


def _only(writing: Writing, left: int) -> Writing:
    return writing._replace(
        fields=writing.fields & left, joins=tuple(j for j in writing.joins if j[1] & left)
    )


def _keys_of_several(going: Sequence[tuple[Watched, int]]) -> set[int]:
    """Return the keys that letters on different ways have in common: nearly none."""
    first: dict[int, int] = {}
    shared: set[int] = set()
    for each, way in going:
        for writing in each.writings:
            for key in (writing.key, *(unit for unit, _ in writing.joins)):
                if key is not None and first.setdefault(key, way) != way:
                    shared.add(key)
    return shared


def _of_shared(writing: Writing, shared: set[int]) -> Writing:
    return writing._replace(
        key=writing.key if writing.key in shared else None,
        joins=tuple(pair for pair in writing.joins if pair[0] in shared),
    )
