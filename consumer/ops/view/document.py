"""``/status`` as a viewer reads it: the members that are shown, each with a default.

A tolerant reader: the terminal may look at a consumer of another version, so what is absent has
its default and what is unknown is passed over.
"""

from __future__ import annotations

from typing import Any

import msgspec

from consumer.ops.view.text import cleaned


class Oldest(msgspec.Struct, frozen=True):
    """The oldest unsettled record of a partition."""

    offset: int
    age_seconds: float | None = None
    unsettled_seconds: float | None = None
    waits_for: str = ""
    behind: str | None = None
    attempts: int = 0
    retry_in_seconds: float | None = None
    last_response: str | None = None
    data_key: str | None = None
    key_value: str | None = None
    message: str = ""


class Partition(msgspec.Struct, frozen=True):
    """A partition of the member."""

    topic: str
    partition: int
    accepted: int = 0
    rejected: int = 0
    skipped: int = 0
    unsettled: int = 0
    begin: int | None = None
    committed: int | None = None
    position: int | None = None
    end: int | None = None
    lag: int | None = None
    lag_seconds: float | None = None
    paused: bool = False
    pauses: list[str] = []
    stopped: str | None = None
    oldest: Oldest | None = None

    @property
    def name(self) -> str:
        """Return topic and number as logs write them."""
        return f"{self.topic}[{self.partition}]"


class Trouble(msgspec.Struct, frozen=True):
    """Something that is wrong."""

    cause: str
    severity: str = "degraded"
    where: str = ""
    seconds: float | None = None
    message: str = ""
    advice: str = ""
    runbook: str = ""


class Lag(msgspec.Struct, frozen=True):
    """The backlog, and when it will be gone."""

    records: int | None = None
    seconds: float | None = None
    backlog_eta_seconds: float | None = None
    growing: bool = False
    rows_per_second: float | None = None
    desired_members: int | None = None
    target_seconds: float | None = None


class Ledger(msgspec.Struct, frozen=True):
    """The outcomes of every record that was read."""

    consumed: int = 0
    accepted: int = 0
    rejected: int = 0
    skipped: int = 0
    released: int = 0
    unsettled: int = 0


class Rows(msgspec.Struct, frozen=True):
    """Rows by where they are."""

    ready: int = 0
    in_flight: int = 0
    parked: dict[str, int] = {}
    dead_letters_pending: int = 0
    receipts_pending: int = 0
    unconfirmed: int = 0
    fields_not_confirmed: dict[str, int] = {}


class Rejection(msgspec.Struct, frozen=True):
    """One of the latest rejections."""

    seconds: float | None = None
    reason: str = ""
    field: str | None = None
    message: str | None = None
    where: str = ""
    data_key: str | None = None
    key_value: str | None = None
    http_status: int | None = None


class Message(msgspec.Struct, frozen=True):
    """A message of rejections, and how often it came."""

    reason: str = ""
    message: str = ""
    count: int = 0


class Rejections(msgspec.Struct, frozen=True):
    """The rejections of the last minutes."""

    since_seconds: float = 900.0
    by_reason: dict[str, int] = {}
    latest: list[Rejection] = []
    messages: list[Message] = []


class Lane(msgspec.Struct, frozen=True):
    """Ready rows that may share a window."""

    data_key: str = ""
    fields: list[str] = []
    rows: int = 0
    oldest_seconds: float | None = None


class Request(msgspec.Struct, frozen=True):
    """A request under way."""

    data_key: str = ""
    rows: int = 0
    attempt: int = 1
    task: bool = False
    seconds: float | None = None


class Windows(msgspec.Struct, frozen=True):
    """Windows that fill, are in flight, wait for a retry."""

    lanes: list[Lane] = []
    in_flight: list[Request] = []
    waiting: int = 0


class Distribution(msgspec.Struct, frozen=True):
    """A histogram in short."""

    count: int = 0
    p50: float | None = None
    p95: float | None = None


class Requests(msgspec.Struct, frozen=True):
    """Requests that ended."""

    outcomes: dict[str, int] = {}
    seconds: Distribution = Distribution()
    tasks: int = 0


class Api(msgspec.Struct, frozen=True):
    """The limits on requests."""

    blocked: str | None = None
    blocked_seconds: float | None = None
    circuit: bool = False
    throttled_for_seconds: float = 0.0
    budget: float | None = None
    last_error: str | None = None
    failing_seconds: float | None = None


class Sample(msgspec.Struct, frozen=True):
    """A moment of the last fifteen minutes."""

    seconds: float
    rows_per_second: float | None = None
    records_behind: float | None = None
    lag_seconds: float | None = None
    rejected_per_second: float | None = None


class Status(msgspec.Struct, frozen=True):
    """The document."""

    version: str = ""
    state: str = "unknown"
    advice: str = ""
    troubles: list[Trouble] = []
    lag: Lag = Lag()
    ledger: Ledger = Ledger()
    partitions: list[Partition] = []
    awaiting_start: list[str] = []
    rows: Rows = Rows()
    rejections: Rejections = Rejections()
    windows: Windows = Windows()
    requests: Requests = Requests()
    api: Api = Api()
    event_to_settled: Distribution = Distribution()
    history: list[Sample] = []


def read(document: Any) -> Status:
    """Return a document of plain values as it is shown, its texts cleaned.

    Raise msgspec.ValidationError for what is no such document.
    """
    return msgspec.convert(cleaned(document), Status)
