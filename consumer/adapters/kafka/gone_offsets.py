"""Decide what follows where the log does not hold what was to be read next.

What the log holds now says why, and ``kafka.on_out_of_range`` what to do: nothing is passed over in
silence.
"""

from __future__ import annotations

from dataclasses import dataclass

from confluent_kafka import KafkaError

from consumer.adapters.kafka.starts import Extent, another_log
from consumer.core.offsets.settled_map import Origin

#: Stands in the error of an offset that is not there if leader epochs tell the client that the log
#: was cut before it.
_CUT = KafkaError(KafkaError._LOG_TRUNCATION).str()


@dataclass(frozen=True, slots=True)
class GoOn:
    """Read the same log on from ``offset``; ``skipped``: records before it are gone."""

    offset: int
    skipped: bool = False


@dataclass(frozen=True, slots=True)
class BeginAnew:
    """Begin at the log's beginning, as a new epoch: ``why`` says what the old position was."""

    why: str


@dataclass(frozen=True, slots=True)
class StopReading:
    """Read no more until a person has decided."""

    why: str


@dataclass(frozen=True, slots=True)
class AnotherLog:
    """The topic was made anew."""


def decide(
    position: int, before: Origin, extent: Extent, error: KafkaError, on_out_of_range: str
) -> GoOn | BeginAnew | StopReading | AnotherLog:
    """Return what follows where the offset of a position is not there."""
    begin, end, origin = extent
    # Then what is there now took the place of what was read: none of it is known to have been.
    beyond = position > end or _CUT in error.str()
    if another_log(before, origin):
        return AnotherLog()
    if begin <= position and not beyond:  # it is there again
        return GoOn(position)
    if on_out_of_range == "stop":
        why = (
            f"the partition ends at {end}: "
            "the topic was deleted and made anew, or brokers lost its end"
            if beyond
            else "records were deleted by retention before they were read"
        )
        return StopReading(
            f"offset {position} is no longer there ({error.str()}): {why}; "
            "set kafka.on_out_of_range to earliest or latest to go on without them"
        )
    if beyond:
        return BeginAnew("which is behind the partition's end, or was")
    return GoOn(begin if on_out_of_range == "earliest" else end, skipped=True)


def made_anew(before: Origin, now: Origin, offset: int) -> str:
    """Return what to say of a topic that was made anew."""
    return (
        "the topic was deleted and made anew "
        f"(its id was {before.topic_id} and is {now.topic_id}): "
        f"offset {offset} is one of the topic that was; "
        "set kafka.on_out_of_range to earliest to begin the new one at its beginning"
    )
