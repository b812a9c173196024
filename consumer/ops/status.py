"""The snapshot of a running consumer, which ``/metrics``, ``/status`` and the page show.

Its fields are the keys of ``/status``. Seconds are durations until the moment it was taken.
"""

from __future__ import annotations

import msgspec

from consumer.core.counters import Histogram
from consumer.core.offsets.ledger import Ledger
from consumer.ops.history import HistorySample
from consumer.ops.lag_status import LagStatus


class Trouble(msgspec.Struct, frozen=True):
    """Something that is wrong now; all of one cause are one."""

    cause: str  #: a word of ``troubles.CAUSES``
    severity: str  #: degraded: it goes on, or comes back by itself; stuck: it needs a person
    where: str  #: partitions, records or a topic; empty: it has no place
    seconds: float  #: since it began
    message: str
    advice: str  #: what to do
    runbook: str  #: the section of docs/runbook.md


class OldestStatus(msgspec.Struct, frozen=True):
    """The oldest unsettled record of a partition: the committed offset waits for it."""

    offset: int
    age_seconds: float | None  #: by its own timestamp; None: it has none
    unsettled_seconds: float  #: since it was read
    #: window, request, response, task, retry, earlier_row, lost_call, unknown_key, dead_letter,
    #: receipt, schema, room, pause, group, stop
    waits_for: str
    behind: str | None  #: topic[partition]@offset of the earlier row that it waits for
    attempts: int  #: times that it was sent
    retry_in_seconds: float | None
    last_response: str  #: how its last request failed, in brief; empty: none did
    data_key: str | None
    key_value: str | None  #: masked unless ``log.keys``
    message: str  #: all of it in a sentence
    suspect: bool  #: it failed while others were accepted: the fault is its own


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
    pauses: list[str]  #: why it is not read now, in words
    oldest: OldestStatus | None  #: None: nothing was read more than a second ago and is unsettled
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
    dead_letters_oldest_seconds: float  #: the longest that a dead letter is not acknowledged
    receipts_oldest_seconds: float
    dead_letters_error: str | None  #: why one cannot be written, and what to do
    receipts_error: str | None
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
    blocked_why: str | None  #: what the API said to that
    circuit: bool  #: open: one request at a time
    throttled_for_seconds: float  #: no request for so long, as the API asked
    throttled_seconds: float  #: the sum of what the API asked for since the start
    budget: float | None  #: requests a second that this process may make now; None: no limit
    #: how the latest call failed, or the request of a window that waits for its retry; None:
    #: neither did
    last_error: str | None
    #: since when no call was answered; None: the latest one was, or none is needed
    failing_seconds: float | None


class LatestRejection(msgspec.Struct, frozen=True):
    """A row that was rejected lately."""

    seconds: float  #: ago
    reason: str
    field: str | None
    message: str  #: without the code that it is about
    where: str  #: topic[partition]@offset
    data_key: str | None
    key_value: str | None  #: masked unless ``log.keys``
    http_status: int | None


class RejectionMessage(msgspec.Struct, frozen=True):
    """Why rows were rejected lately, and how many."""

    reason: str
    message: str
    count: int


class RejectionsStatus(msgspec.Struct, frozen=True):
    """The rejections of the last minutes."""

    since_seconds: float  #: what was before is not counted
    by_reason: dict[str, int]
    latest: list[LatestRejection]  #: the newest first
    messages: list[RejectionMessage]  #: the commonest first


class Snapshot(msgspec.Struct, frozen=True):
    """One moment of one process."""

    version: str
    #: one word for all of it: joining, running, degraded, stuck, stopping, stopped
    state: str
    phase: str  #: joining, running, stopping, stopped
    advice: str  #: what to do about the foremost trouble; empty: there is none
    troubles: list[Trouble]  #: the worst first
    start_time_seconds: float  #: Unix time when the process started
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
    rejections: RejectionsStatus
    event_to_settled: Histogram
    oldest_unsettled_seconds: float
    commits: dict[str, int]
    commit_metadata_characters: int  #: of the largest settled map that the group has
    rebalances: int
    lag: LagStatus = LagStatus()
    history: list[HistorySample] = []  #: of the last fifteen minutes, the oldest first
