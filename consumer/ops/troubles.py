"""Troubles: what is wrong, where, and what to do, as one table of causes (contract, section 11).

``find`` is a pure function of a snapshot and of what is seen besides it (``Seen``). All troubles of
one cause are one, with their places. *Degraded*: it goes on, or comes back by itself. *Stuck*: it
needs a person. Each cause has its section in docs/runbook.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec

from consumer.core.admission.upload_pause import ADVICE, Pause
from consumer.hiding import HIDDEN
from consumer.loop.partition_pauses import PauseReason
from consumer.ops.status import OldestStatus, PartitionStatus, Snapshot, Trouble

DEGRADED, STUCK = "degraded", "stuck"

#: When a wait becomes a trouble, seconds.
API_FAILING_SECONDS = 5.0
THROTTLED_SECONDS = 1.0
ROW_STUCK_SECONDS = 10.0
LETTERS_LATE_SECONDS = 10.0
SCHEMA_SECONDS = 10.0
START_SECONDS = 30.0
KAFKA_SECONDS = 5.0
KAFKA_STUCK_SECONDS = 60.0
NO_PROGRESS_SECONDS = 300.0
#: A row that failed so often, while others were accepted, is stuck.
ROW_STUCK_ATTEMPTS = 3
#: A lag of this share of the topic's retention is near it.
RETENTION_SHARE = 0.8
#: Places that a trouble names.
MAX_PLACES = 3


class Seen(msgspec.Struct, frozen=True):
    """What troubles are found by that is not in a snapshot; durations in seconds, None: unknown."""

    #: what keeps this process from Kafka: since when, and in words
    kafka: Sequence[tuple[float, str]] = ()
    #: that are awaited: partition, since when, id
    schemas: Sequence[tuple[str, float, int | str]] = ()
    starts: Sequence[tuple[str, float]] = ()  #: that are looked up: partition, since when
    dead_letters: tuple[str, str] | None = None  #: why one cannot be written, and what to do
    receipts: tuple[str, str] | None = None
    dead_letter_topic: str = ""
    receipts_topic: str = ""
    #: fields that the latest responses did not list, and rows that they did not confirm
    fields: Mapping[str, int] = {}
    unconfirmed: int = 0
    idle: float = 0.0  #: since when nothing was settled, though something is behind
    lag: Mapping[str, float | None] = {}  #: by partition: the age of its oldest unsettled record
    retention: Mapping[str, float | None] = {}  #: by topic; infinite: it keeps everything
    growing: bool | None = None  #: more comes than is settled


class Found(msgspec.Struct, frozen=True):
    """A trouble as a rule finds it; ``advice`` and ``severity`` where they differ by case."""

    message: str
    where: str = ""
    seconds: float = 0.0
    advice: str = ""
    severity: str = ""


Rule = Callable[[Snapshot, Seen], Found | None]


class Cause(msgspec.Struct, frozen=True):
    """A cause of trouble.

    ``begins``, ``ends``: whether its beginning and its end are logged by ``watch``; what is not is
    logged elsewhere.
    """

    name: str
    severity: str
    rule: Rule
    advice: str
    begins: bool = True
    ends: bool = True


def find(snapshot: Snapshot, seen: Seen) -> list[Trouble]:
    """Return the troubles, the worst first: those that need a person, then as in the table."""
    found: list[Trouble] = []
    for cause in CAUSES:
        one = cause.rule(snapshot, seen)
        if one is not None:
            found.append(_trouble(cause, one))
    if not snapshot.api.circuit and any(trouble.cause == "row_stuck" for trouble in found):
        # That requests fail is the stuck row's doing alone.
        found = [trouble for trouble in found if trouble.cause != "api_failing"]
    if any(trouble.cause in _EXPLAINING for trouble in found):
        # What holds the rows up explains that more come than go.
        found = [trouble for trouble in found if trouble.cause != "lag_growing"]
    else:
        still = _no_progress(snapshot, seen)
        if still is not None:
            found.append(_trouble(NO_PROGRESS, still))
    return sorted(found, key=lambda trouble: trouble.severity != STUCK)


def state_of(phase: str, troubles: Sequence[Trouble]) -> str:
    """Return one word for all of it: stuck or degraded, else the phase; a stop comes first."""
    if phase.startswith("stop") or not troubles:
        return phase
    return troubles[0].severity


def advice_of(troubles: Sequence[Trouble]) -> str:
    """Return what to do about the foremost trouble; empty: there is none."""
    return troubles[0].advice if troubles else ""


def _trouble(cause: Cause, found: Found) -> Trouble:
    return Trouble(
        cause.name,
        found.severity or cause.severity,
        found.where,
        round(found.seconds, 3),
        found.message,
        found.advice or cause.advice,
        cause.name.replace("_", "-"),
    )


def places(names: Iterable[str]) -> str:
    """Return the first places, and how many more there are."""
    listed = list(names)
    more = len(listed) - MAX_PLACES
    text = ", ".join(listed[:MAX_PLACES])
    return f"{text} and {more} more" if more > 0 else text


def duration(seconds: float) -> str:
    """Return a duration for a person."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 172_800 else f"{seconds / 86_400:.1f} days"


def name_of(partition: PartitionStatus) -> str:
    """Return a partition's name, as it is written everywhere."""
    return f"{partition.topic}[{partition.partition}]"


def _oldest(snapshot: Snapshot) -> list[tuple[PartitionStatus, OldestStatus]]:
    """Return the partitions with an old unsettled record, the oldest first."""
    found = [(p, p.oldest) for p in snapshot.partitions if p.oldest is not None]
    return sorted(found, key=lambda pair: -pair[1].unsettled_seconds)


def _record(partition: PartitionStatus, oldest: OldestStatus) -> str:
    return f"{name_of(partition)}@{oldest.offset}"


# -- the API -------------------------------------------------------------------------------------


def _paused(pause: Pause) -> Rule:
    def rule(snapshot: Snapshot, _: Seen) -> Found | None:
        api = snapshot.api
        if api.blocked != pause.value:
            return None
        said = f" ({api.blocked_why})" if api.blocked_why else ""
        message = f"uploading is paused: {_PAUSED[pause]}{said}"
        where = places(_record(*pair) for pair in _oldest(snapshot))
        return Found(f"{message}; nothing is lost", where, api.blocked_seconds)

    return rule


_PAUSED = {
    Pause.UNAUTHORIZED: "the API refuses the token",
    Pause.REFUSED: "the API refuses every request",
    Pause.UNEXPECTED: "what answers is not the API",
    Pause.EVERYTHING_REJECTED: "the API rejects every row",
}


def _api_failing(snapshot: Snapshot, _: Seen) -> Found | None:
    api = snapshot.api
    seconds = api.failing_seconds or 0.0
    if api.blocked is not None or not (api.circuit or seconds >= API_FAILING_SECONDS):
        return None
    waiting = [_record(*pair) for pair in _oldest(snapshot) if pair[1].last_response]
    said = f" ({api.last_error})" if api.last_error else ""
    message = f"requests to the API fail{said}; rows are sent again, nothing is lost"
    return Found(message, places(waiting), seconds)


def _throttled(snapshot: Snapshot, _: Seen) -> Found | None:
    seconds = snapshot.api.throttled_for_seconds
    if seconds < THROTTLED_SECONDS:
        return None
    return Found(f"the API asks to slow down: no request for {seconds:.0f} s")


def _row_stuck(snapshot: Snapshot, _: Seen) -> Found | None:
    if snapshot.api.blocked is not None:
        return None
    stuck = [
        (partition, oldest)
        for partition, oldest in _oldest(snapshot)
        if oldest.suspect
        and oldest.attempts >= ROW_STUCK_ATTEMPTS
        and oldest.unsettled_seconds >= ROW_STUCK_SECONDS
    ]
    if not stuck:
        return None
    partition, oldest = stuck[0]
    place = _record(partition, oldest)
    shown = oldest.key_value not in (None, HIDDEN)
    key = f", key {oldest.data_key}={oldest.key_value}," if shown else ""
    message = (
        f"the request with {place}{key} fails while others are accepted "
        f"({oldest.last_response}); it was sent {oldest.attempts} times"
    )
    return Found(message, places(_record(*pair) for pair in stuck), oldest.unsettled_seconds)


# -- Kafka ---------------------------------------------------------------------------------------


def _kafka_away(_: Snapshot, seen: Seen) -> Found | None:
    lasting = [found for found in seen.kafka if found[0] >= KAFKA_SECONDS]
    if not lasting:
        return None
    seconds, text = max(lasting)
    severity = STUCK if seconds > KAFKA_STUCK_SECONDS else DEGRADED
    return Found(f"Kafka: {text}", "", seconds, severity=severity)


def _out_of_range(snapshot: Snapshot, _: Seen) -> Found | None:
    stopped = [p for p in snapshot.partitions if p.stopped is not None]
    if not stopped:
        return None
    first = stopped[0]
    message = (
        f"{_count(len(stopped), 'partition is', 'partitions are')} not read on: the record that is "
        f"next is gone from the log ({name_of(first)} at {first.position}), by retention or as the "
        "topic was made anew"
    )
    return Found(message, places(map(name_of, stopped)))


def _start_unknown(_: Snapshot, seen: Seen) -> Found | None:
    late = [(place, since) for place, since in seen.starts if since > START_SECONDS]
    if not late:
        return None
    seconds = max(since for _, since in late)
    message = (
        f"where to begin cannot be looked up for {_count(len(late), 'partition', 'partitions')}"
    )
    return Found(message, places(place for place, _ in late), seconds)


def _map_full(snapshot: Snapshot, _: Seen) -> Found | None:
    return _paused_for(
        snapshot,
        PauseReason.MAP_FULL,
        "much is settled behind a record that is not: reading waits, as the commit has no room",
    )


def _over_quota(snapshot: Snapshot, _: Seen) -> Found | None:
    return _paused_for(
        snapshot,
        PauseReason.OVER_QUOTA,
        "rows that cannot be sent yet fill much of the limits: reading waits, so that others have "
        "room",
    )


def _paused_for(snapshot: Snapshot, reason: PauseReason, message: str) -> Found | None:
    held = [name_of(p) for p in snapshot.partitions if reason.value in p.pauses]
    return Found(message, places(held)) if held else None


def _schema_missing(_: Snapshot, seen: Seen) -> Found | None:
    late = [found for found in seen.schemas if found[1] > SCHEMA_SECONDS]
    if not late:
        return None
    number = max(late, key=lambda found: found[1])[2]
    seconds = max(since for _, since, _ in late)
    message = f"schema {number} cannot be fetched: records of it wait"
    return Found(message, places(place for place, _, _ in late), seconds)


def _retention_near(_: Snapshot, seen: Seen) -> Found | None:
    near: list[tuple[float, str, float, float]] = []
    for name, age in seen.lag.items():
        kept = seen.retention.get(name.rpartition("[")[0])
        if age is not None and kept is not None and age > RETENTION_SHARE * kept:
            near.append((age - kept, name, age, kept))
    if not near:
        return None
    near.sort(reverse=True)
    place, lag, keeps = near[0][1:]
    message = (
        f"records will be deleted before they are read: the oldest of {place} is "
        f"{duration(lag)} old, and the topic keeps {duration(keeps)}"
    )
    return Found(message, places(one[1] for one in near))


def _dead_letters(snapshot: Snapshot, seen: Seen) -> Found | None:
    rows = snapshot.rows
    return _not_written(
        "dead letters",
        seen.dead_letters,
        seen.dead_letter_topic,
        rows.dead_letters_pending,
        rows.dead_letters_oldest_seconds,
    )


def _receipts(snapshot: Snapshot, seen: Seen) -> Found | None:
    rows = snapshot.rows
    return _not_written(
        "receipts",
        seen.receipts,
        seen.receipts_topic,
        rows.receipts_pending,
        rows.receipts_oldest_seconds,
    )


def _not_written(
    what: str, why: tuple[str, str] | None, topic: str, pending: int, seconds: float
) -> Found | None:
    if not pending or (why is None and seconds < LETTERS_LATE_SECONDS):
        return None
    error, advice = why or ("no broker has acknowledged them", "")
    waits = _count(pending, "row waits", "rows wait")
    message = f"{what} cannot be written to {topic} ({error}); {waits}, nothing is lost"
    return Found(message, topic, seconds, advice)


# -- the events ----------------------------------------------------------------------------------


def _fields(_: Snapshot, seen: Seen) -> Found | None:
    if not seen.fields:
        return None
    names = places(f'"{name}"' for name in sorted(seen.fields, key=lambda n: -seen.fields[n]))
    return Found(f"the API does not confirm the fields {names}: it may discard them")


def _unconfirmed(_: Snapshot, seen: Seen) -> Found | None:
    if not seen.unconfirmed:
        return None
    rows = _count(seen.unconfirmed, "accepted row was", "accepted rows were")
    return Found(f"{rows} not confirmed by any response")


def _rejected(snapshot: Snapshot, _: Seen) -> Found | None:
    recent = snapshot.rejections
    total = sum(recent.by_reason.values())
    if not total:
        return None
    counts = sorted(recent.by_reason.items(), key=lambda pair: -pair[1])
    reasons = ", ".join(f"{reason} {count}" for reason, count in counts[:MAX_PLACES])
    mostly = f"; mostly: {recent.messages[0].message}" if recent.messages else ""
    rows = _count(total, "row was", "rows were")
    message = f"{rows} rejected in the last {duration(recent.since_seconds)}: {reasons}{mostly}"
    return Found(message, recent.latest[0].where if recent.latest else "")


def _lag_growing(_: Snapshot, seen: Seen) -> Found | None:
    if not seen.growing:
        return None
    return Found("more records come than are settled: the lag grows")


def _no_progress(snapshot: Snapshot, seen: Seen) -> Found | None:
    if seen.idle < NO_PROGRESS_SECONDS:
        return None
    waiting = _oldest(snapshot)
    detail = f": {_record(*waiting[0])}: {waiting[0][1].message}" if waiting else ""
    behind = [name_of(p) for p in snapshot.partitions if p.lag or p.unsettled]
    message = f"nothing was settled for {duration(seen.idle)}, though records wait{detail}"
    return Found(message, places(behind), seen.idle)


def _count(number: int, one: str, many: str) -> str:
    return f"{number:,} {one if number == 1 else many}"


NO_PROGRESS = Cause(
    "no_progress",
    STUCK,
    _no_progress,
    "look at the oldest records, and at the log; if nothing explains it, restart this process: "
    "nothing is lost",
)
#: The causes, the worst first within each severity; ``no_progress`` is what none explains.
CAUSES = (
    *(
        Cause(name, STUCK, _paused(pause), ADVICE[pause], begins=False, ends=False)
        for name, pause in (
            ("api_unauthorized", Pause.UNAUTHORIZED),
            ("api_refused", Pause.REFUSED),
            ("api_unexpected", Pause.UNEXPECTED),
            ("everything_rejected", Pause.EVERYTHING_REJECTED),
        )
    ),
    Cause(
        "kafka_away",
        STUCK,
        _kafka_away,
        "check that the brokers are up and can be reached (scm-consumer check)",
        begins=False,
    ),
    Cause(
        "partition_out_of_range",
        STUCK,
        _out_of_range,
        "decide whether to go on without what is gone: set kafka.on_out_of_range to earliest or "
        "latest, and restart",
        begins=False,
    ),
    Cause(
        "retention_near",
        STUCK,
        _retention_near,
        "raise retention.ms of the topic now, then see to the lag",
    ),
    Cause(
        "dead_letter_topic_failing",
        STUCK,
        _dead_letters,
        "check the dead-letter topic (scm-consumer check)",
    ),
    Cause(
        "receipts_topic_failing", STUCK, _receipts, "check the receipts topic (scm-consumer check)"
    ),
    Cause(
        "row_stuck",
        STUCK,
        _row_stuck,
        "look at this record (kcat or scm-consumer where), and have the API's people look at why "
        "it fails; it is dead-lettered after retry.give_up_seconds, and holds up only its own code "
        "until then",
    ),
    Cause(
        "schema_missing",
        STUCK,
        _schema_missing,
        "check schema_registry.url, and that the registry is up and has the schema",
        begins=False,
    ),
    Cause(
        "start_unknown",
        STUCK,
        _start_unknown,
        "check the brokers that lead these partitions (scm-consumer check)",
        begins=False,
    ),
    Cause(
        "api_failing",
        DEGRADED,
        _api_failing,
        "nothing, if it ends soon; else check that the API is up, and api.base_url",
    ),
    Cause(
        "throttled",
        DEGRADED,
        _throttled,
        "nothing, if it is rare; else lower api.requests_per_second, and see who else uses the "
        "company's budget",
        begins=False,
    ),
    Cause(
        "map_full",
        DEGRADED,
        _map_full,
        "look at what the partition's oldest record waits for",
        begins=False,
    ),
    Cause(
        "over_quota",
        DEGRADED,
        _over_quota,
        "look at what the partition's oldest record waits for",
        begins=False,
    ),
    Cause(
        "lag_growing",
        DEGRADED,
        _lag_growing,
        "see how many members are wanted, and whether the API's budget allows more",
    ),
    Cause(
        "fields_not_confirmed",
        DEGRADED,
        _fields,
        "check the names of the events' fields against the campaign's SCM fields",
        begins=False,
    ),
    Cause(
        "rows_unconfirmed",
        DEGRADED,
        _unconfirmed,
        "see with scm-consumer where what the API holds for one of them",
    ),
    Cause(
        "rejections",
        DEGRADED,
        _rejected,
        "scm-consumer dlq stats tells why; what is mended is brought back with dlq replay",
        begins=False,
        ends=False,
    ),
)
#: Every cause, in this order.
NAMES = (*(cause.name for cause in CAUSES), NO_PROGRESS.name)
BY_NAME = {cause.name: cause for cause in (*CAUSES, NO_PROGRESS)}
#: Causes with which it is clear why nothing is settled.
_EXPLAINING = frozenset(NAMES) - {
    "fields_not_confirmed",
    "lag_growing",
    "no_progress",
    "rejections",
    "retention_near",
    "rows_unconfirmed",
}
