"""The snapshot of a running consumer, which ``/metrics``, ``/status`` and the page show.

Its fields are the keys of ``/status``. Seconds are durations until the moment it was taken.
"""

from __future__ import annotations

import msgspec

from consumer.core.counters import Histogram
from consumer.core.offsets.ledger import Ledger
from consumer.ops.history import HistorySample
from consumer.ops.lag_status import LagStatus


class PartitionStatus(msgspec.Struct, frozen=True):
    """An owned partition: its ledger since it was assigned, and its offsets, of the next record."""

    topic: str
    partition: int
    consumed: int
    accepted: int
    rejected: int
    skipped: int
    released: int
    unsettled: int
    committed: int | None  #: None: the group has no committed offset yet
    position: int
    end: int | None  #: None: not known, yet or any more
    lag: int | None  #: from what is committed to the end
    oldest_unsettled_seconds: float  #: since it was read
    #: not read on for now: no room (for rows, or in the settled map), a schema is awaited, what its
    #: log holds is looked up, or the process stops
    paused: bool
    stopped: str | None  #: why it is not read on until a person does something
    #: the age of its oldest record that is not settled, by the record's own time; None: not known
    lag_seconds: float | None = None
    begin: int | None = None  #: the first offset that its log still holds; None: not known


class RowsStatus(msgspec.Struct, frozen=True):
    """Rows: the unsettled ones by where they are, the settled ones since the start by outcome."""

    unsettled: int
    ready: int  #: gathered for windows
    in_flight: int
    parked: dict[str, int]
    dead_letters_pending: int
    receipts_pending: int
    accepted: dict[str, int]  #: by data key
    rejected: dict[str, int]  #: by reason
    unconfirmed: int
    fields_not_confirmed: dict[str, int]
    codes_affected: dict[str, int]  #: by data key, as far as the API reported it
    resent: dict[str, int]  #: by cause


class LaneStatus(msgspec.Struct, frozen=True):
    """Ready rows that may share a window."""

    data_key: str
    fields: tuple[str, ...]
    rows: int
    oldest_seconds: float


class RequestStatus(msgspec.Struct, frozen=True):
    """A request whose response is awaited, or the task that it started."""

    window: int
    data_key: str
    rows: int
    attempt: int
    task: bool  #: the response is there; the end of the task is awaited
    seconds: float


class WindowsStatus(msgspec.Struct, frozen=True):
    """Windows: those that fill, are in flight, wait for a retry, were closed since the start."""

    lanes: list[LaneStatus]
    in_flight: list[RequestStatus]
    waiting: int
    closed: dict[str, int]  #: by reason
    rows: Histogram


class RequestsStatus(msgspec.Struct, frozen=True):
    """Upload requests that ended since the start."""

    outcomes: dict[str, int]
    retries: dict[str, int]  #: by cause
    seconds: Histogram
    tasks: int  #: asynchronous uploads that are at work at the API
    tasks_ended: dict[str, int]  #: by outcome


class ApiStatus(msgspec.Struct, frozen=True):
    """The limits on requests: an upload pause, the circuit, throttling, the budget."""

    blocked: str | None  #: why uploading is paused
    blocked_seconds: float
    circuit: bool  #: open: one request at a time
    throttled_for_seconds: float  #: no request for so long, as the API asked
    throttled_seconds: float  #: the sum of what the API asked for since the start
    budget: float | None  #: requests a second that this process may make now; None: no limit
    last_error: str | None  #: how the latest call failed, as logged; None: it was answered
    #: since when no call was answered; None: the latest one was, or none is needed
    failing_seconds: float | None


class Snapshot(msgspec.Struct, frozen=True):
    """One moment of one process."""

    version: str
    state: str  #: joining, running, stopping, stopped
    ledger: Ledger
    consumed: dict[str, int]  #: records by topic
    partitions: list[PartitionStatus]
    #: partitions that are owned and not read: it is not known yet where they begin, or go on
    awaiting_start: list[str]
    #: partitions that were read and whose lag is not known now
    unknown: list[tuple[str, int]]
    rows: RowsStatus
    windows: WindowsStatus
    requests: RequestsStatus
    api: ApiStatus
    event_to_settled: Histogram
    oldest_unsettled_seconds: float
    commits: dict[str, int]
    commit_metadata_characters: int  #: of the largest settled map that the group has
    rebalances: int
    lag: LagStatus = LagStatus()
    history: list[HistorySample] = []  #: of the last fifteen minutes, the oldest first
