"""The plan of a replay: what goes, where, in which order, with which headers.

A ``Step`` names a letter; its record is read and mended once more when its turn comes (``Mender.
copy`` with ``without``), so the plan of 100,000 letters is small. Steps to one partition must be
published, and acknowledged, in the order of the plan. Steps to different ones may go side by side.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import NamedTuple

from consumer.dead_letters.catalogue import Catalogue
from consumer.dead_letters.letter import REPLAY_OF, REPLAYS, Header, Letter, Place
from consumer.dead_letters.verdicts import Verdicts
from consumer.dead_letters.watching import Kind, Watched

#: What ``--force`` adds.
FORCED = frozenset({Kind.SUPERSEDED, Kind.UNKNOWN, Kind.LOOPING})


#: Room for a partition, for a letter's number, and for position and number.
_PARTITION_BITS, _NUMBER_BITS, _POSITION_BITS = 32, 32, 96


class Step(NamedTuple):
    """One letter to bring back."""

    letter: Place
    kind: Kind  #: REPLAY, or what was forced
    topic: str
    partition: int | None  #: None: the one that its key belongs to
    without: frozenset[str]  #: fields to leave out


def steps(
    verdicts: Verdicts,
    catalogue: Catalogue,
    partition_counts: Mapping[str, int],
    *,
    force: Collection[Kind] = (),
) -> Iterator[Step]:
    """Yield the steps, those of one partition in the order of the letters' events.

    ``partition_counts``: of the topics, as they are now. ``force``: verdicts that go all the same,
    whole.
    """
    goes = {Kind.REPLAY, *force}
    going = [each for each in verdicts.watchlist.letters if each.kind in goes]

    def order(each: Watched) -> int:
        # One number, as tuples of a hundred thousand letters would take much memory.
        home = verdicts.home_of(each) << _PARTITION_BITS | each.partition
        number = each.position << _NUMBER_BITS | each.number
        return home << _POSITION_BITS | number

    going.sort(key=order)
    for each in going:
        home = verdicts.home_of(each)
        topic, partition = catalogue.partition_name(home)
        verdict = verdicts.verdict_of(each)
        there = partition < partition_counts.get(topic, 0)
        yield Step(verdict.letter, each.kind, topic, partition if there else None, verdict.without)


def headers_of(letter: Letter) -> list[Header]:
    """Return the headers of a copy: the record's own, and which letter it is, and how often."""
    return [
        *letter.original_headers,
        (REPLAY_OF, str(letter.place).encode()),
        (REPLAYS, str(letter.replays + 1).encode()),
    ]
