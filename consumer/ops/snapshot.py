"""Everything there is to tell of a running consumer, as of one moment.

What a scrape, ``/status`` and the page show.

It is taken on the owner's thread, between two inputs of the core, so its parts agree: in each
snapshot the ledger balances. Its fields are the keys of ``/status``; seconds are durations until
the moment it was taken.
"""

from __future__ import annotations

import logging
import queue
from collections.abc import Callable

import msgspec

from consumer import __version__
from consumer.core.batching.windows import Place
from consumer.core.counters import Histogram
from consumer.core.offsets.ledger import Ledger
from consumer.core.offsets.partition import Partition
from consumer.core.pipeline import Pipeline
from consumer.loop.lifecycle import Phase
from consumer.loop.ports import RecordSource
from consumer.loop.runner import Runner

log = logging.getLogger(__name__)

#: How long the owner loop may take to answer; a turn takes milliseconds.
ANSWER_SECONDS = 2.0
#: Lanes that are listed: those with the most rows.
MAX_LANES = 20


class PartitionStatus(msgspec.Struct, frozen=True):
    """An owned partition: its ledger since it was assigned, and where it is.

    Offsets are of the next record.
    """

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
    end: int | None  #: as of the last fetch; None: not fetched yet
    lag: int | None  #: from what is committed to the end
    oldest_unsettled_seconds: float  #: since it was read
    paused: bool  #: not read on for now: there is no room, or a schema is awaited
    stopped: str | None  #: why it is not read on until a person does something


class Rows(msgspec.Struct, frozen=True):
    """Rows that are read and not settled, by where they are.

    And what became of the others since the start.
    """

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
    codes_affected: dict[str, int]  #: by data key, as far as the API told
    resent: dict[str, int]  #: by cause


class Lane(msgspec.Struct, frozen=True):
    """Ready rows that may share a window."""

    data_key: str
    fields: tuple[str, ...]
    rows: int
    oldest_seconds: float


class Request(msgspec.Struct, frozen=True):
    """A request whose answer is awaited, or the task that it started."""

    window: int
    data_key: str
    rows: int
    attempt: int
    task: bool  #: its answer is there; the end of the task is awaited
    seconds: float


class Windows(msgspec.Struct, frozen=True):
    """Windows that fill, are in flight and wait to be sent again.

    And those that were closed since the start.
    """

    lanes: list[Lane]
    in_flight: list[Request]
    waiting: int
    closed: dict[str, int]  #: by reason
    rows: Histogram


class Requests(msgspec.Struct, frozen=True):
    """Upload requests that ended since the start."""

    outcomes: dict[str, int]
    retries: dict[str, int]  #: by cause
    seconds: Histogram
    tasks: int  #: asynchronous uploads that are at work at the API
    tasks_ended: dict[str, int]  #: by what their end meant


class Api(msgspec.Struct, frozen=True):
    """What holds requests back."""

    blocked: str | None  #: why uploading is paused
    blocked_seconds: float
    circuit: bool  #: open: one request at a time
    throttled_for_seconds: float  #: no request until then, as the API asked
    throttled_seconds: float  #: asked for since the start
    budget: float | None  #: requests a second that this process may make now; None: no limit
    last_error: str | None  #: how the latest call failed, as logged; None: it was answered
    failing_seconds: (
        float | None
    )  #: since when no call was answered; None: the latest one was, or none is needed


class Snapshot(msgspec.Struct, frozen=True):
    """One moment of one process."""

    version: str
    state: str  #: joining, running, stopping, stopped
    ledger: Ledger
    consumed: dict[str, int]  #: records by topic
    partitions: list[PartitionStatus]
    awaiting_start: list[
        str
    ]  #: partitions that are owned and not read: where they begin is not known yet
    unknown: list[
        tuple[str, int]
    ]  #: partitions that were read, and of which nobody knows now how far behind they are
    rows: Rows
    windows: Windows
    requests: Requests
    api: Api
    event_to_settled: Histogram
    oldest_unsettled_seconds: float
    commits: dict[str, int]
    commit_metadata_characters: int  #: of the largest settled map that the group has
    rebalances: int


def take(runner: Runner, source: RecordSource, now: float) -> Snapshot:
    """The snapshot as of ``now`` on the owner's clock; to be called on the owner's thread."""
    pipeline = runner.pipeline
    ledgers = pipeline.ledgers.by_topic(pipeline.partitions)
    partitions = [_partition(partition, runner, source, now) for partition in pipeline.partitions]
    partitions.sort(key=lambda status: (status.topic, status.partition))
    return Snapshot(
        version=__version__,
        state=_STATES[runner.lifecycle.phase],
        ledger=Ledger.total(ledgers.values()),
        consumed={topic: ledger.consumed for topic, ledger in ledgers.items()},
        partitions=partitions,
        awaiting_start=[f"{topic}[{number}]" for topic, number in sorted(source.awaiting)],
        unknown=sorted(source.unknown),
        rows=_rows(pipeline),
        windows=_windows(pipeline, now),
        requests=_requests(pipeline),
        api=_api(pipeline, now),
        event_to_settled=pipeline.event_to_settled.copy(),
        oldest_unsettled_seconds=max(
            (status.oldest_unsettled_seconds for status in partitions), default=0.0
        ),
        commits=dict(runner.committing.ended),
        commit_metadata_characters=max((len(p.metadata) for p in pipeline.partitions), default=0),
        rebalances=runner.rebalances,
    )


#: What ``/status`` calls the phases; asked to stop counts at once, as in ``/readyz``.
_STATES = {
    Phase.JOINING: "joining",
    Phase.RUNNING: "running",
    Phase.STOP_REQUESTED: "stopping",
    Phase.DRAINING: "stopping",
    Phase.STOPPED: "stopped",
}


def _partition(
    partition: Partition, runner: Runner, source: RecordSource, now: float
) -> PartitionStatus:
    end = source.end(partition)
    since = partition.unsettled_since
    stopped = source.stopped.get(partition)
    key = (partition.topic, partition.number)
    if end is not None:
        end = max(
            end, partition.position
        )  # what is known of the end comes with the fetches, and may be older
    begin = partition.started_at if partition.committed is None else partition.committed
    return PartitionStatus(
        partition.topic,
        partition.number,
        **partition.ledger.as_dict(),
        committed=partition.committed,
        position=partition.position,
        end=end,
        lag=None if end is None or key in source.unknown else end - begin,
        oldest_unsettled_seconds=0.0 if since is None else _rounded(now - since),
        paused=stopped is None
        and (source.paused or partition in runner.partition_pauses or key in source.awaiting),
        stopped=stopped,
    )


def _rows(pipeline: Pipeline) -> Rows:
    uploads = pipeline.uploads
    return Rows(
        unsettled=pipeline.unsettled,
        ready=len(pipeline.lanes),
        in_flight=sum(len(window.rows) for window in uploads.in_flight),
        parked=pipeline.parked(),
        dead_letters_pending=pipeline.dead_letters_pending,
        receipts_pending=pipeline.receipts_pending,
        accepted=dict(pipeline.rows_accepted),
        rejected=dict(pipeline.rows_rejected),
        unconfirmed=uploads.confirming.unconfirmed,
        fields_not_confirmed=dict(uploads.confirming.fields_not_confirmed),
        codes_affected=dict(uploads.confirming.codes_affected),
        resent=dict(uploads.resent),
    )


def _windows(pipeline: Pipeline, now: float) -> Windows:
    uploads = pipeline.uploads
    in_flight = uploads.in_flight
    return Windows(
        lanes=[
            Lane(
                lane.data_key,
                tuple(name for name in lane.rows[0].item if name != lane.data_key),
                len(lane.rows),
                _rounded(now - lane.rows[0].arrived),
            )
            for lane in pipeline.lanes.fullest(MAX_LANES)
        ],
        in_flight=[
            Request(
                window=window.number,
                data_key=window.data_key,
                rows=len(window.rows),
                attempt=window.attempts,
                task=window.place is Place.TASK,
                seconds=_rounded(now - window.sent_at),
            )
            for window in in_flight
        ],
        waiting=len(pipeline.windows.live) - len(in_flight),
        closed=dict(uploads.closed),
        rows=uploads.window_rows.copy(),
    )


def _requests(pipeline: Pipeline) -> Requests:
    uploads = pipeline.uploads
    return Requests(
        outcomes=dict(uploads.requests),
        retries=dict(uploads.retries),
        seconds=uploads.request_seconds.copy(),
        tasks=len(uploads.tasks),
        tasks_ended=dict(uploads.tasks_ended),
    )


def _api(pipeline: Pipeline, now: float) -> Api:
    gate = pipeline.gate
    # With nothing left to send, and no pause to end, no call will be made that could be answered.
    since = (
        pipeline.uploads.api.failing_since if pipeline.unsettled or gate.pause is not None else None
    )
    return Api(
        blocked=gate.pause.value if gate.pause is not None else None,
        blocked_seconds=_rounded(now - gate.upload_pause.since) if gate.pause is not None else 0.0,
        circuit=gate.circuit.is_open,
        throttled_for_seconds=_rounded(gate.throttle.until - now),
        throttled_seconds=_rounded(gate.throttle.seconds),
        budget=None if gate.pace.budget is None else round(gate.pace.budget, 3),
        last_error=pipeline.uploads.api.last_error,
        failing_seconds=None if since is None else _rounded(now - since),
    )


def _rounded(seconds: float) -> float:
    return max(0.0, round(seconds, 3))


class Asker:
    """Asks the owner's thread for a snapshot; for every other thread.

    ``hand_over`` gives the owner something to do, ``take_now`` is then called there.
    """

    def __init__(
        self, hand_over: Callable[[Callable[[], None]], object], take_now: Callable[[], Snapshot]
    ) -> None:
        self._hand_over = hand_over
        self._take_now = take_now

    def ask(self) -> Snapshot | None:
        """A snapshot as of now; None: the owner loop did not answer in two seconds."""
        answer: queue.SimpleQueue[Snapshot | None] = queue.SimpleQueue()
        given_up = False

        def on_owner() -> None:
            if given_up:
                return
            try:
                answer.put(self._take_now())
            except Exception:  # whatever is wrong with telling, the work goes on
                log.exception("snapshot")
                answer.put(None)

        self._hand_over(on_owner)
        try:
            return answer.get(timeout=ANSWER_SECONDS)
        except queue.Empty:
            given_up = True
            return None
