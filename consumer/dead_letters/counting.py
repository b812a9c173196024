"""``dlq stats``: how many letters there are of each kind, and what they commonly say."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from consumer.dead_letters.letter import Place
from consumer.dead_letters.listing import place_members
from consumer.dead_letters.store import OPEN, STATES, LetterStore
from consumer.dead_letters.texts import printable, time_text

#: Groups of a kind that are told at most, to programs and to people.
MOST, SHOWN = 100, 10
_HOURS_SHOWN = 24
_NAME = 48
_NO_NAME = "(none)"

#: How letters are grouped: the member of ``--json``, the heading for people, and SQL of the name.
_HOURS = "hours"
_KINDS = (
    ("reasons", "reason", "reason"),
    ("fields", "field", "field"),
    ("data_keys", "data key", "data_key"),
    ("sources", "source", "topic || '[' || source_partition || ']'"),
    (_HOURS, "hour (UTC)", "strftime('%Y-%m-%dT%H:00Z', at / 1000, 'unixepoch')"),
)
_COUNTED = ", ".join(f"SUM(state = '{state}') AS {state}" for state in STATES)


class Group(msgspec.Struct, frozen=True):
    """Letters that have a name in common, by their state; ``name``: None if they have none."""

    name: str | None
    open: int
    replayed: int
    resolved: int


class Complaint(msgspec.Struct, frozen=True):
    """Letters that say the same, but for their keys and numbers. ``example``: the newest."""

    message: str
    reason: str
    open: int
    replayed: int
    resolved: int
    example: Place


class Stats(msgspec.Struct, frozen=True):
    """The counts of a command's letters. Of each kind the largest groups, of hours the latest."""

    topic: str
    states: dict[str, int]
    oldest: int | None  #: milliseconds since the epoch; so is the newest
    newest: int | None
    kinds: dict[str, list[Group]]
    sizes: dict[str, int]  #: how many groups of each kind there are
    messages: list[Complaint]

    @property
    def letters(self) -> int:
        """Return how many letters there are."""
        return sum(self.states.values())


def stats_of(store: LetterStore, topic: str) -> Stats:
    """Count the letters of a store, and return the counts."""
    ((oldest, newest),) = store.query("SELECT MIN(at), MAX(at) FROM letters WHERE at > 0")
    kinds, sizes = {}, {}
    for member, _, name in _KINDS:
        order = "1 DESC" if member == _HOURS else "COUNT(*) DESC, 1"
        grouped = f"SELECT {name}, {_COUNTED} FROM letters GROUP BY 1 ORDER BY {order} LIMIT ?"  # noqa: S608 - names of ours
        groups = [Group(*row) for row in store.query(grouped, (MOST,))]
        kinds[member] = groups[::-1] if member == _HOURS else groups
        if len(groups) < MOST:
            sizes[member] = len(groups)
        else:
            ((sizes[member],),) = store.query(f"SELECT COUNT(DISTINCT {name}) FROM letters")  # noqa: S608 - as above
    told = f"""
      SELECT complaint, reason, {_COUNTED}, MAX(at), partition, offset FROM letters
      GROUP BY 1, 2 ORDER BY SUM(state = 'open') DESC, COUNT(*) DESC, 1 LIMIT ?"""  # noqa: S608 - as above
    messages = [_complaint(topic, *row) for row in store.query(told, (MOST,))]
    return Stats(topic, store.counts(), oldest, newest, kinds, sizes, messages)


def as_json(stats: Stats) -> bytes:
    """Return the JSON object of the counts."""
    members: dict[str, Any] = {
        "topic": stats.topic,
        "letters": stats.letters,
        "oldest": None if stats.oldest is None else time_text(stats.oldest),
        "newest": None if stats.newest is None else time_text(stats.newest),
        "states": stats.states,
        **stats.kinds,
        "messages": [
            msgspec.structs.asdict(complaint) | {"example": place_members(complaint.example)}
            for complaint in stats.messages
        ],
    }
    return msgspec.json.encode(members)


def lines(stats: Stats) -> Iterator[str]:
    """Yield the counts for people."""
    if not stats.letters:
        yield f"{stats.topic}: no dead letters"
        return
    when = f"{time_text(stats.oldest or 0)} to {time_text(stats.newest or 0)}"
    yield f"{stats.topic}: {stats.letters:,} dead letters, {when}"
    yield ", ".join(f"{count:,} {state}" for state, count in stats.states.items())
    for member, heading, _ in _KINDS:
        yield ""
        yield from _table(heading, stats.kinds[member], stats.sizes[member], member == _HOURS)
    yield ""
    yield "commonest messages (<key>, #: what differs)"
    for said in stats.messages[:SHOWN]:
        count = said.open if said.open else said.replayed + said.resolved
        state = OPEN if said.open else "done"
        text = said.message or "(none)"
        yield f"  {count:>9,} {state}  {said.reason}: {text}  (such as {said.example})"
    if len(stats.messages) > SHOWN:
        yield f"  ... and others; --json tells {MOST}"


def _complaint(topic: str, message: str, reason: str, *numbers: int) -> Complaint:
    opened, replayed, resolved, _, partition, offset = numbers
    example = Place(topic, partition, offset)
    return Complaint(message, reason, opened, replayed, resolved, example)


def _table(heading: str, groups: list[Group], size: int, latest: bool) -> Iterator[str]:  # noqa: FBT001
    shown = groups[-_HOURS_SHOWN:] if latest else groups[:SHOWN]
    names = [printable(group.name if group.name else _NO_NAME, _NAME) for group in shown]
    width = max(len(heading), *map(len, names))
    yield f"{heading:<{width}}" + "".join(f"  {state:>9}" for state in STATES)
    for name, group in zip(names, shown, strict=True):
        counts = (group.open, group.replayed, group.resolved)
        yield f"{name:<{width}}" + "".join(f"  {count:>9,}" for count in counts)
    if size > len(shown):
        yield f"... and {size - len(shown):,} {'earlier' if latest else 'more'}"
