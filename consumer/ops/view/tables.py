"""The tables of the view: partitions, rejections, what is under way; each bounded, worst first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeVar

import msgspec

from consumer.ops.view.document import Oldest, Partition, Status
from consumer.ops.view.headline import Tone
from consumer.ops.view.text import UNKNOWN, duration, number, words

#: Rows of a table that are shown, and what a smaller list shows.
MAX_PARTITIONS = 40
MAX_ITEMS = 10
#: An unsettled record is told of when it is as old as this, in seconds: younger ones are on their
#: way, and would only flicker.
OLD_SECONDS = 10.0

T = TypeVar("T")

#: What the oldest record waits for, where it has no sentence of its own.
_WAITS = {
    "window": "its window fills",
    "request": "its request may not start yet",
    "response": "its request is under way",
    "task": "the API works at its task",
    "retry": "it is sent again",
    "earlier_row": "an earlier row of its code comes first",
    "lost_call": "a lost call may still take effect",
    "unknown_key": "the API does not know its key yet",
    "dead_letter": "its dead letter is not acknowledged",
    "receipt": "its receipt is not acknowledged",
    "schema": "its schema is not known yet",
    "room": "there is no room for its rows yet",
    "pause": "uploading is paused",
    "group": "it is not sure that this member is in its group",
    "stop": "the process stops",
}
OUTCOMES = {
    "accepted": "accepted",
    "rows_named": "some rows rejected (400)",
    "none_named": "rejected as a whole (400)",
    "too_large": "too large (413)",
    "unauthorized": "token refused (401)",
    "refused": "refused (403 to 406)",
    "unexpected": "not the documented answer",
    "throttled": "asked to wait (429)",
    "failed": "failed (408, 5xx)",
    "task_failed": "task failed",
    "lost": "answer lost",
    "unsent": "not sent",
}


class Cell(msgspec.Struct, frozen=True):
    """A text, with a second line that is less important."""

    text: str
    note: str = ""
    tone: Tone = Tone.QUIET


class Table(msgspec.Struct, frozen=True):
    """Rows under headings; ``more`` tells what is left out, ``nothing`` stands for no rows."""

    name: str
    columns: tuple[str, ...]
    rows: list[tuple[Cell, ...]]
    more: str = ""
    nothing: str = ""
    numbers: frozenset[str] = frozenset()  #: columns that are set to the right


def worst_first(partitions: Iterable[Partition]) -> list[Partition]:
    """Return partitions by how much they need to be looked at."""
    return sorted(
        partitions,
        key=lambda p: (
            p.stopped is None,
            -(p.lag_seconds or 0.0),
            not (p.pauses or p.paused),
            -(p.lag or 0),
            p.topic,
            p.partition,
        ),
    )


def partitions(status: Status, most: int = MAX_PARTITIONS) -> Table:
    """Return the partitions: how far each is behind, why it is not read, what is oldest in it."""
    ordered = worst_first(status.partitions)
    return Table(
        "Partitions",
        ("partition", "behind", "time lag", "reading", "oldest record that is not done"),
        [_partition(partition) for partition in ordered[:most]],
        _more(ordered, most),
        "This member has none.",
        frozenset({"behind", "time lag"}),
    )


def offsets(status: Status, most: int = MAX_PARTITIONS) -> Table:
    """Return the partitions' offsets, of the next record each, and what became of theirs."""
    columns = ("begin", "committed", "position", "end", "accepted", "rejected", "unsettled")
    ordered = worst_first(status.partitions)
    return Table(
        "Offsets",
        ("partition", *columns),
        [
            (Cell(partition.name), *(Cell(number(getattr(partition, name))) for name in columns))
            for partition in ordered[:most]
        ],
        _more(ordered, most),
        "This member has no partitions.",
        frozenset(columns),
    )


def _partition(partition: Partition) -> tuple[Cell, ...]:
    return (
        Cell(partition.name),
        _behind(partition),
        Cell(duration(partition.lag_seconds)),
        _reading(partition),
        _oldest(partition.oldest, always=partition.stopped is not None),
    )


def _behind(partition: Partition) -> Cell:
    # Of a partition that is stopped "0" is not what anybody should read: what its end is compared
    # with is gone.
    if partition.stopped and not partition.lag:
        return Cell("not known", tone=Tone.BAD)
    return Cell(number(partition.lag))


def _reading(partition: Partition) -> Cell:
    why = "; ".join(partition.pauses)
    if partition.stopped:
        return Cell(f"stopped: {words(partition.stopped)}", why, Tone.BAD)
    if why or partition.paused:
        return Cell(why or "paused", tone=Tone.WARN)
    return Cell("yes")


def _oldest(oldest: Oldest | None, *, always: bool) -> Cell:
    if oldest is None or not (always or (oldest.unsettled_seconds or 0.0) >= OLD_SECONDS):
        return Cell(UNKNOWN)
    parts = [f"offset {oldest.offset}", f"unsettled for {duration(oldest.unsettled_seconds)}"]
    if oldest.key_value:
        parts.append(f"{oldest.data_key or 'key'} {oldest.key_value}")
    if oldest.message:
        return Cell(oldest.message, ", ".join(parts))
    if oldest.behind:
        parts.append(f"behind {oldest.behind}")
    if oldest.attempts > 1:
        parts.append(f"sent {oldest.attempts} times")
    if oldest.retry_in_seconds is not None:
        parts.append(f"again in {duration(oldest.retry_in_seconds)}")
    if oldest.last_response:
        parts.append(f"last answer {oldest.last_response}")
    waits = _WAITS.get(oldest.waits_for, words(oldest.waits_for))
    return Cell(waits, ", ".join(parts))


def reasons(status: Status) -> Table:
    """Return how many rows were rejected, by reason."""
    return Table(
        "By reason",
        ("reason", "rows"),
        _counted(status.rejections.by_reason),
        _more(status.rejections.by_reason, MAX_ITEMS),
        numbers=frozenset({"rows"}),
    )


def messages(status: Status) -> Table:
    """Return the commonest messages of rejections."""
    found = status.rejections.messages
    return Table(
        "Commonest messages",
        ("message", "reason", "rows"),
        [
            (Cell(each.message or UNKNOWN), Cell(words(each.reason)), Cell(number(each.count)))
            for each in found[:MAX_ITEMS]
        ],
        _more(found, MAX_ITEMS),
        numbers=frozenset({"rows"}),
    )


def latest(status: Status) -> Table:
    """Return the latest rejections, key values as the document has them: masked by default."""
    found = status.rejections.latest
    return Table(
        "Latest",
        ("ago", "record", "row", "reason", "message"),
        [
            (
                Cell(duration(each.seconds)),
                Cell(each.where),
                Cell(each.key_value or UNKNOWN, each.data_key or ""),
                Cell(words(each.reason), f"HTTP {each.http_status}" if each.http_status else ""),
                Cell(each.message or UNKNOWN, f"field {each.field}" if each.field else ""),
            )
            for each in found[:MAX_ITEMS]
        ],
        _more(found, MAX_ITEMS),
    )


def lanes(status: Status) -> Table:
    """Return the windows that fill."""
    found = status.windows.lanes
    return Table(
        "Windows that fill",
        ("data key and fields", "rows", "oldest"),
        [
            (
                Cell(lane.data_key, ", ".join(lane.fields)),
                Cell(number(lane.rows)),
                Cell(duration(lane.oldest_seconds)),
            )
            for lane in found[:MAX_ITEMS]
        ],
        _more(found, MAX_ITEMS),
        "No rows are ready.",
        frozenset({"rows", "oldest"}),
    )


def in_flight(status: Status) -> Table:
    """Return the requests under way."""
    found = status.windows.in_flight
    waiting = status.windows.waiting
    return Table(
        "Requests under way",
        ("data key", "rows", "attempt", "for"),
        [
            (
                Cell(each.data_key, "a task of the API" if each.task else ""),
                Cell(number(each.rows)),
                Cell(number(each.attempt)),
                Cell(duration(each.seconds)),
            )
            for each in found[:MAX_ITEMS]
        ],
        _more(found, MAX_ITEMS),
        f"None; {number(waiting)} to be sent again." if waiting else "None.",
        frozenset({"rows", "attempt", "for"}),
    )


def outcomes(status: Status) -> Table:
    """Return the requests that ended since the start."""
    named = {
        OUTCOMES.get(name, words(name)): count for name, count in status.requests.outcomes.items()
    }
    return Table(
        "Requests since the start",
        ("response", "requests"),
        _counted(named),
        _more(named, MAX_ITEMS),
        "None yet.",
        frozenset({"requests"}),
    )


def _counted(counts: Mapping[str, int]) -> list[tuple[Cell, ...]]:
    ordered = sorted(
        ((name, count) for name, count in counts.items() if count), key=lambda item: -item[1]
    )
    return [(Cell(words(name)), Cell(number(count))) for name, count in ordered[:MAX_ITEMS]]


def _more(found: Iterable[T], most: int) -> str:
    left = len(list(found)) - most
    return f"and {left:,} more" if left > 0 else ""
