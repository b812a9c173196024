"""Take a snapshot on the owner's thread, between two inputs of the core.

So its parts agree: in each snapshot the ledger balances.
"""

from __future__ import annotations

import time

from consumer import __version__
from consumer.core.batching.window import Place
from consumer.core.offsets.ledger import Ledger
from consumer.core.offsets.partition import Partition
from consumer.core.pipeline import Pipeline
from consumer.loop.lifecycle import Phase
from consumer.loop.ports import RecordSource
from consumer.loop.recent_rejections import WINDOW_SECONDS, RecentRejections
from consumer.loop.runner import Runner
from consumer.ops.lag_monitor import LagMonitor
from consumer.ops.oldest import YOUNG_SECONDS, Describer, shown_key
from consumer.ops.status import (
    ApiStatus,
    LaneStatus,
    LatestRejection,
    OldestStatus,
    PartitionStatus,
    RejectionMessage,
    RejectionsStatus,
    RequestsStatus,
    RequestStatus,
    RowsStatus,
    Snapshot,
    WindowsStatus,
)

#: Lanes that are listed: those with the most rows.
MAX_LANES = 20
#: Messages of rejections that are listed: the commonest.
MAX_MESSAGES = 5
#: When this process started, as far as it matters: Unix time.
START_TIME = round(time.time(), 3)
#: What ``/status`` calls the phases; a stop counts once it is requested, as in ``/readyz``.
_PHASES = {
    Phase.JOINING: "joining",
    Phase.RUNNING: "running",
    Phase.STOP_REQUESTED: "stopping",
    Phase.DRAINING: "stopping",
    Phase.STOPPED: "stopped",
}


def take(
    runner: Runner, source: RecordSource, now: float, lag: LagMonitor, *, show_keys: bool = False
) -> Snapshot:
    """Return the snapshot as of ``now`` on the owner's clock. For the owner's thread only.

    ``show_keys``: with key values, as ``log.keys`` says. Its troubles are found by ``watch``.
    """
    pipeline = runner.pipeline
    ledgers = pipeline.ledgers.by_topic(pipeline.partitions)
    describe = Describer(runner, now, show_keys=show_keys).describe
    oldest = {
        partition: describe(found)
        for partition, found in pipeline.oldest(now, older_than=YOUNG_SECONDS).items()
    }
    partitions = [
        _partition(partition, runner, source, lag, now, oldest.get(partition))
        for partition in pipeline.partitions
    ]
    partitions.sort(key=lambda status: (status.topic, status.partition))
    phase = _PHASES[runner.lifecycle.phase]
    return Snapshot(
        version=__version__,
        state=phase,
        phase=phase,
        advice="",
        troubles=[],
        start_time_seconds=START_TIME,
        ledger=Ledger.total(ledgers.values()),
        consumed={topic: ledger.consumed for topic, ledger in ledgers.items()},
        partitions=partitions,
        awaiting_start=[f"{topic}[{number}]" for topic, number in sorted(source.awaiting)],
        unknown=sorted(source.unknown),
        rows=_rows(runner, now),
        windows=_windows(pipeline, now),
        requests=_requests(pipeline),
        api=_api(pipeline, now),
        rejections=_rejections(runner.recent_rejections, now, show_keys=show_keys),
        event_to_settled=pipeline.event_to_settled.copy(),
        oldest_unsettled_seconds=max(
            (status.oldest_unsettled_seconds for status in partitions), default=0.0
        ),
        commits=dict(runner.committing.ended),
        commit_metadata_characters=max((len(p.metadata) for p in pipeline.partitions), default=0),
        rebalances=runner.rebalances,
        lag=lag.status(now),
        history=lag.history(now),
    )


def _partition(
    partition: Partition,
    runner: Runner,
    source: RecordSource,
    monitor: LagMonitor,
    now: float,
    oldest: OldestStatus | None,
) -> PartitionStatus:
    lag = monitor.of(partition, now)
    since = partition.unsettled_since
    stopped = source.stopped.get(partition)
    key = (partition.topic, partition.number)
    return PartitionStatus(
        partition.topic,
        partition.number,
        **partition.ledger.as_dict(),
        committed=partition.committed,
        position=partition.position,
        end=lag.end,
        lag=None if key in source.unknown else lag.records,
        oldest_unsettled_seconds=0.0 if since is None else _rounded(now - since),
        paused=stopped is None
        and (source.paused or partition in runner.partition_pauses or key in source.awaiting),
        stopped=stopped,
        pauses=pauses_of(partition, runner, source),
        oldest=oldest,
        lag_seconds=None if lag.seconds is None else _rounded(lag.seconds),
        begin=lag.begin,
    )


def pauses_of(partition: Partition, runner: Runner, source: RecordSource) -> list[str]:
    """Return why a partition is not read now, in words."""
    pauses = [reason.value for reason in runner.partition_pauses.reasons(partition)]
    if partition in source.stopped:
        pauses.insert(0, "what is next is gone from its log: a person has to decide how to go on")
    if (partition.topic, partition.number) in source.awaiting:
        pauses.append("where it goes on is looked up")
    if runner.lifecycle.phase >= Phase.DRAINING:
        pauses.append("the process stops")
    elif source.paused:
        pauses.append("there is no room for more rows, of all partitions together")
    return pauses


def _rejections(recent: RecentRejections, now: float, *, show_keys: bool) -> RejectionsStatus:
    return RejectionsStatus(
        since_seconds=WINDOW_SECONDS,
        by_reason=dict(recent.by_reason),
        latest=[
            LatestRejection(
                seconds=_rounded(now - found.at),
                reason=found.reason,
                field=found.field,
                message=found.message,
                where=found.where,
                data_key=found.data_key,
                key_value=shown_key(found.key_value, show_keys=show_keys),
                http_status=found.http_status,
            )
            for found in recent.latest
        ],
        messages=[RejectionMessage(*found) for found in recent.messages[:MAX_MESSAGES]],
    )


def _told(trouble: tuple[str, str] | None) -> str | None:
    return None if trouble is None else ": ".join(trouble)


def _rows(runner: Runner, now: float) -> RowsStatus:
    pipeline = runner.pipeline
    uploads = pipeline.uploads
    return RowsStatus(
        unsettled=pipeline.unsettled,
        ready=len(pipeline.lanes),
        in_flight=sum(len(window.rows) for window in uploads.in_flight),
        parked=pipeline.parked(),
        dead_letters_pending=pipeline.dead_letters_pending,
        receipts_pending=pipeline.receipts_pending,
        dead_letters_oldest_seconds=_rounded(pipeline.dead_letters_oldest(now)),
        receipts_oldest_seconds=_rounded(pipeline.receipts_oldest(now)),
        dead_letters_error=_told(runner.dead_letters.trouble),
        receipts_error=None if runner.receipts is None else _told(runner.receipts.trouble),
        accepted=dict(pipeline.rows_accepted),
        rejected=dict(pipeline.rows_rejected),
        unconfirmed=uploads.confirming.unconfirmed,
        fields_not_confirmed=dict(uploads.confirming.fields_not_confirmed),
        codes_affected=dict(uploads.confirming.codes_affected),
        resent=dict(uploads.resent),
    )


def _windows(pipeline: Pipeline, now: float) -> WindowsStatus:
    uploads = pipeline.uploads
    in_flight = uploads.in_flight
    return WindowsStatus(
        lanes=[
            LaneStatus(
                lane.data_key,
                tuple(name for name in lane.rows[0].item if name != lane.data_key),
                len(lane.rows),
                _rounded(now - lane.rows[0].arrived),
            )
            for lane in pipeline.lanes.fullest(MAX_LANES)
        ],
        in_flight=[
            RequestStatus(
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


def _requests(pipeline: Pipeline) -> RequestsStatus:
    uploads = pipeline.uploads
    return RequestsStatus(
        outcomes=dict(uploads.requests),
        retries=dict(uploads.retries),
        seconds=uploads.request_seconds.copy(),
        tasks=len(uploads.tasks),
        tasks_ended=dict(uploads.tasks_ended),
    )


def _api(pipeline: Pipeline, now: float) -> ApiStatus:
    gate = pipeline.gate
    # With nothing left to send, and no pause to end, no call will be made that could be answered.
    since = (
        pipeline.uploads.api.failing_since if pipeline.unsettled or gate.pause is not None else None
    )
    return ApiStatus(
        blocked=gate.pause.value if gate.pause is not None else None,
        blocked_seconds=_rounded(now - gate.upload_pause.since) if gate.pause is not None else 0.0,
        blocked_why=pipeline.uploads.api.pause_why if gate.pause is not None else None,
        circuit=gate.circuit.is_open,
        throttled_for_seconds=_rounded(gate.throttle.until - now),
        throttled_seconds=_rounded(gate.throttle.seconds),
        budget=None if gate.pace.budget is None else round(gate.pace.budget, 3),
        last_error=pipeline.uploads.api.last_error or _failed_last(pipeline),
        failing_seconds=None if since is None else _rounded(now - since),
    )


def _failed_last(pipeline: Pipeline) -> str | None:
    """Return how the request failed that failed last of those that wait to be sent again."""
    failed = [w for w in pipeline.windows.live if w.failed_at is not None and w.last_response]
    if not failed:
        return None
    return max(failed, key=lambda window: window.failed_at or 0.0).last_response


def _rounded(seconds: float) -> float:
    return max(0.0, round(seconds, 3))
