"""The evidence: plain values that are known of a run when it is over; nothing of the consumer's
code.

Times are seconds since the epoch, of this machine's one clock: the driver's, the sandbox's and the
broker's alike.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple


@dataclass
class Life:
    """A consumer process from its start to its end."""

    name: str  #: also its Kafka client id
    slot: int
    began: float
    ended: float | None = None
    end: str = ""  #: kill, stop, itself
    exit_code: int | None = None
    protocol: str = "classic"
    static: bool = False


class Trouble(NamedTuple):
    """A time in which something was broken on purpose; ``where``: a life, or "" for all of them."""

    kind: str  #: suspended, kafka, api
    where: str
    begin: float
    end: float
    what: str  #: for a reader

    def touches(self, life: str, begin: float, end: float) -> bool:
        """Return whether it concerned this life at some time from ``begin`` to ``end``."""
        return self.where in ("", life) and self.begin <= end and begin <= self.end


class Request(NamedTuple):
    """A call to the API as the sandbox saw it."""

    number: int
    life: str
    received: float
    answered: float  #: when its answer was decided
    status: int | None
    fault: str
    keys: int
    #: A task was begun: ``answered`` and ``status`` are those of the last call that told of its
    #: end, which came at ``asked``; None if nobody was told.
    task: str = ""
    asked: float = 0.0


class Application(NamedTuple):
    """A row that the API applied, in the order of ``seq``."""

    seq: int
    request: int
    data_key: str
    key_value: str
    fields: Mapping[str, str]
    at: float


class Record(NamedTuple):
    """A record of a topic, read by an independent client."""

    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]]
    at: float = 0.0  #: its time in Kafka


class CommitEntry(NamedTuple):
    """A commit as it stands in ``__consumer_offsets``; ``place`` is its offset there."""

    place: int
    at: float
    partition: int
    offset: int
    metadata: str


class Generation(NamedTuple):
    """A generation of the group: who owns what.

    With the ``consumer`` protocol it is any change of that. ``owners``: partition → (life, member
    id). ``ids``: of all its members; None: not known, and taken for unchanged.
    """

    place: int
    at: float
    number: int
    members: int
    owners: Mapping[int, tuple[str, str]]
    ids: frozenset[str] | None = None
    protocol: str = "classic"


@dataclass
class Evidence:
    """All that is known of one run."""

    seed: int
    max_processing: float
    request_timeout: float
    max_unsettled_rows: int
    lives: list[Life] = field(default_factory=list)
    troubles: list[Trouble] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    applications: list[Application] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)
    letters: list[Record] = field(default_factory=list)
    commits: list[CommitEntry] = field(default_factory=list)
    generations: list[Generation] = field(default_factory=list)
    committed: Mapping[int, int] = field(default_factory=dict)
    ends: Mapping[int, int] = field(default_factory=dict)
    state: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    #: Rows one of whose tasks was told as failed, by data key and key value: rejected, for all one
    #: knows.
    failed: frozenset[tuple[str, str]] = frozenset()
    broken_rules: Mapping[str, int] = field(default_factory=dict)
    looks: int = 0  #: snapshots of /status that were taken
    most_unsettled: int = 0  #: rows, of one member
    actions: Mapping[str, int] = field(default_factory=dict)
    faults: Mapping[str, int] = field(default_factory=dict)  #: that struck, by kind
    drain_seconds: float = 0.0
    seconds: float = 0.0
    seen: list[str] = field(default_factory=list)  #: findings of who drove and who looked
