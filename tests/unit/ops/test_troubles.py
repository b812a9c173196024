"""Each cause of trouble: found by what it is about, at its threshold, and told with what to do."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from consumer.core.admission.upload_pause import ADVICE, Pause
from consumer.loop.partition_pauses import PauseReason
from consumer.ops.snapshot import take
from consumer.ops.status import (
    LatestRejection,
    OldestStatus,
    RejectionMessage,
    RejectionsStatus,
    Snapshot,
    Trouble,
)
from consumer.ops.troubles.causes import BY_NAME, NAMES
from consumer.ops.troubles.evidence import DEGRADED, STUCK, Seen, duration, places
from consumer.ops.troubles.finding import advice_of, find, state_of
from tests.unit.runner_fakes import World

replace = msgspec.structs.replace


def healthy() -> Snapshot:
    """Return a snapshot of a consumer of two partitions, where all is well."""
    world = World()
    for number in range(2):
        world.partition(number)
    world.start()
    world.runner.turn()
    return take(world.runner, world.source, world.results.now, world.lag)


def old(**more: Any) -> OldestStatus:
    """Return a record that is stuck on its own, unless told otherwise."""
    stuck: dict[str, Any] = {
        "offset": 17,
        "age_seconds": 60.0,
        "unsettled_seconds": 30.0,
        "waits_for": "retry",
        "behind": None,
        "attempts": 5,
        "retry_in_seconds": 2.0,
        "last_response": "HTTP 500",
        "data_key": "extended_id",
        "key_value": "(hidden)",
        "message": "It waits for its next attempt, in 2 s.",
        "suspect": True,
    }
    return OldestStatus(**(stuck | more))


def having(number: int = 0, **more: Any) -> Snapshot:
    """Return the healthy snapshot with one partition changed."""
    snapshot = healthy()
    partitions = list(snapshot.partitions)
    partitions[number] = replace(partitions[number], **more)
    return replace(snapshot, partitions=partitions)


def api(**more: Any) -> Snapshot:
    snapshot = healthy()
    return replace(snapshot, api=replace(snapshot.api, **more))


def rows(**more: Any) -> Snapshot:
    snapshot = healthy()
    return replace(snapshot, rows=replace(snapshot.rows, **more))


def rejected(count: int) -> Snapshot:
    latest = LatestRejection(5, "unknown_key", None, "no such code", "events[1]@7", None, None, 400)
    status = RejectionsStatus(
        900.0,
        {"unknown_key": count} if count else {},
        [latest] if count else [],
        [RejectionMessage("unknown_key", "no such code", count)] if count else [],
    )
    return replace(healthy(), rejections=status)


def only(snapshot: Snapshot, seen: Seen | None = None) -> Trouble:
    (trouble,) = find(snapshot, seen or Seen())
    return trouble


def causes(snapshot: Snapshot, seen: Seen | None = None) -> list[str]:
    return [trouble.cause for trouble in find(snapshot, seen or Seen())]


def test_where_all_is_well_there_is_none() -> None:
    assert find(healthy(), Seen()) == []


# What there is, and just not yet, of each cause. None: a state that has no threshold.
Case = tuple[Callable[[], Snapshot], Seen]
WELL = healthy
TABLE: dict[str, tuple[Case, Case | None]] = {
    "api_unauthorized": ((lambda: api(blocked="unauthorized"), Seen()), None),
    "api_refused": ((lambda: api(blocked="refused"), Seen()), None),
    "api_unexpected": ((lambda: api(blocked="unexpected_answer"), Seen()), None),
    "everything_rejected": ((lambda: api(blocked="everything_rejected"), Seen()), None),
    "kafka_away": (
        (WELL, Seen(kafka=[(5.0, "no broker answers")])),
        (WELL, Seen(kafka=[(4.9, "no broker answers")])),
    ),
    "partition_out_of_range": ((lambda: having(stopped="out_of_range"), Seen()), None),
    "retention_near": (
        (WELL, Seen(lag={"events[0]": 81.0}, retention={"events": 100.0})),
        (WELL, Seen(lag={"events[0]": 80.0}, retention={"events": 100.0})),
    ),
    "dead_letter_topic_failing": (
        (
            lambda: rows(dead_letters_pending=2),
            Seen(dead_letters=("no such topic", "create it"), dead_letter_topic="letters"),
        ),
        (
            lambda: rows(dead_letters_pending=2, dead_letters_oldest_seconds=9.9),
            Seen(dead_letter_topic="letters"),
        ),
    ),
    "receipts_topic_failing": (
        (lambda: rows(receipts_pending=1, receipts_oldest_seconds=10.0), Seen()),
        (lambda: rows(receipts_pending=1, receipts_oldest_seconds=9.9), Seen()),
    ),
    "row_stuck": (
        (lambda: having(oldest=old(unsettled_seconds=10.0, attempts=3)), Seen()),
        (lambda: having(oldest=old(unsettled_seconds=9.9)), Seen()),
    ),
    "schema_missing": (
        (WELL, Seen(schemas=[("events[0]", 10.1, 7)])),
        (WELL, Seen(schemas=[("events[0]", 10.0, 7)])),
    ),
    "start_unknown": (
        (WELL, Seen(starts=[("events[0]", 30.1)])),
        (WELL, Seen(starts=[("events[0]", 30.0)])),
    ),
    "api_failing": (
        (lambda: api(failing_seconds=5.0, last_error="HTTP 503"), Seen()),
        (lambda: api(failing_seconds=4.9, last_error="HTTP 503"), Seen()),
    ),
    "throttled": (
        (lambda: api(throttled_for_seconds=1.0), Seen()),
        (lambda: api(throttled_for_seconds=0.9), Seen()),
    ),
    "map_full": ((lambda: having(pauses=[PauseReason.MAP_FULL.value]), Seen()), None),
    "over_quota": ((lambda: having(pauses=[PauseReason.OVER_QUOTA.value]), Seen()), None),
    "lag_growing": ((WELL, Seen(growing=True)), (WELL, Seen(growing=False))),
    "fields_not_confirmed": ((WELL, Seen(fields={"Product": 3})), None),
    "rows_unconfirmed": ((WELL, Seen(unconfirmed=1)), None),
    "rejections": ((lambda: rejected(50), Seen()), (lambda: rejected(0), Seen())),
    "no_progress": ((WELL, Seen(idle=300.0)), (WELL, Seen(idle=299.9))),
}


@pytest.mark.parametrize("cause", NAMES)
def test_each_cause_is_found_at_its_threshold_and_says_what_to_do(cause: str) -> None:
    (snapshot, seen), not_yet = TABLE[cause]
    found = only(snapshot(), seen)
    assert found.cause == cause
    assert found.message
    assert found.advice
    assert found.runbook == cause.replace("_", "-")
    if not_yet is not None:
        snapshot, seen = not_yet
        assert find(snapshot(), seen) == []


@pytest.mark.parametrize("cause", NAMES)
def test_what_needs_a_person_is_stuck_and_the_rest_degraded(cause: str) -> None:
    (snapshot, seen), _ = TABLE[cause]
    found = find(snapshot(), seen)
    expected = DEGRADED if cause == "kafka_away" else BY_NAME[cause].severity
    assert found[0].severity == expected
    assert state_of("running", found) == expected
    assert state_of("joining", found) == expected
    assert state_of("stopping", found) == "stopping"
    assert advice_of(found) == found[0].advice


def test_the_state_without_troubles_is_the_phase() -> None:
    for phase in ("joining", "running", "stopping", "stopped"):
        assert state_of(phase, []) == phase
    assert advice_of([]) == ""


def test_each_pause_tells_its_advice_and_what_the_api_said() -> None:
    found = only(
        api(blocked="unauthorized", blocked_why="HTTP 401: no such token", blocked_seconds=7.0)
    )
    assert found.advice == ADVICE[Pause.UNAUTHORIZED]
    assert found.message == (
        "uploading is paused: the API refuses the token (HTTP 401: no such token); nothing is lost"
    )
    assert found.seconds == 7.0


def test_kafka_that_is_away_for_more_than_a_minute_needs_a_person() -> None:
    assert only(healthy(), Seen(kafka=[(60.0, "x")])).severity == DEGRADED
    found = only(healthy(), Seen(kafka=[(3.0, "commits fail"), (60.1, "no broker answers")]))
    assert (found.severity, found.message) == (STUCK, "Kafka: no broker answers")


def test_a_stuck_row_is_named_by_its_place_and_its_last_response() -> None:
    found = only(having(1, oldest=old()))
    assert found.where == "events[1]@17"
    assert "HTTP 500" in found.message
    assert "extended_id" not in found.message, "a key that is hidden is not worth a word"
    assert "key extended_id=CODE7" in only(having(oldest=old(key_value="CODE7"))).message


def test_a_row_that_failed_as_everything_did_is_not_stuck_on_its_own() -> None:
    assert causes(having(oldest=old(suspect=False))) == []
    assert causes(having(oldest=old(attempts=2))) == []


def test_in_a_pause_no_row_is_to_blame() -> None:
    snapshot = having(oldest=old())
    paused = replace(snapshot, api=replace(snapshot.api, blocked="unauthorized"))
    assert causes(paused) == ["api_unauthorized"]
    assert only(paused).where == "events[0]@17"


def test_requests_that_fail_for_a_stuck_row_alone_are_no_trouble_of_the_api() -> None:
    snapshot = having(oldest=old())
    failing = replace(snapshot, api=replace(snapshot.api, failing_seconds=9.0, last_error="x"))
    assert causes(failing) == ["row_stuck"]
    both = replace(failing, api=replace(failing.api, circuit=True))
    assert causes(both) == ["row_stuck", "api_failing"]


def test_an_api_that_fails_names_the_records_that_wait() -> None:
    snapshot = having(oldest=old(suspect=False))
    failing = replace(snapshot, api=replace(snapshot.api, circuit=True, last_error="HTTP 503"))
    found = only(failing)
    assert found.where == "events[0]@17"
    assert "HTTP 503" in found.message


def test_a_topic_that_refuses_gives_the_brokers_error_and_its_cure() -> None:
    (snapshot, seen), _ = TABLE["dead_letter_topic_failing"]
    found = only(snapshot(), seen)
    assert (found.where, found.advice) == ("letters", "create it")
    assert "no such topic" in found.message
    assert "2 rows wait" in found.message


def test_a_topic_that_has_failed_for_rows_that_are_gone_is_no_trouble() -> None:
    assert causes(healthy(), Seen(dead_letters=("x", "y"), receipts=("x", "y"))) == []


def test_all_of_one_cause_are_one_with_the_first_places() -> None:
    snapshot = healthy()
    stopped = [
        replace(snapshot.partitions[0], partition=number, stopped="out_of_range", position=9)
        for number in range(60)
    ]
    found = only(replace(snapshot, partitions=stopped))
    assert found.where == "events[0], events[1], events[2] and 57 more"
    assert "60 partitions are not read on" in found.message
    assert "events[0] at 9" in found.message


def test_the_worst_comes_first() -> None:
    snapshot = having(stopped="out_of_range")
    snapshot = replace(snapshot, api=replace(snapshot.api, throttled_for_seconds=5.0))
    snapshot = replace(snapshot, rejections=rejected(3).rejections)
    seen = Seen(kafka=[(10.0, "x")], schemas=[("events[1]", 60.0, 3)])
    assert causes(snapshot, seen) == [
        "partition_out_of_range",
        "schema_missing",
        "kafka_away",
        "throttled",
        "rejections",
    ]


def test_no_progress_is_told_only_where_nothing_else_explains_it() -> None:
    assert causes(api(circuit=True), Seen(idle=1000.0)) == ["api_failing"]
    assert causes(rejected(3), Seen(idle=1000.0)) == ["no_progress", "rejections"]
    found = only(having(oldest=old(suspect=False), unsettled=1), Seen(idle=1000.0))
    assert found.where == "events[0]"
    assert "events[0]@17: It waits for its next attempt" in found.message


def test_what_is_not_known_of_the_lag_is_no_trouble() -> None:
    for seen in (
        Seen(lag={"events[0]": None}, retention={"events": 100.0}),
        Seen(lag={"events[0]": 1e9}, retention={"events": None}),
        Seen(lag={"events[0]": 1e9}, retention={"events": math.inf}),
        Seen(lag={"events[0]": 1e9}),
        Seen(growing=None),
    ):
        assert find(healthy(), seen) == []


def test_the_partition_nearest_to_losing_records_is_told_first() -> None:
    lag = {"a[0]": 90.0, "b[0]": 8000.0, "b[1]": 9000.0}
    found = only(healthy(), Seen(lag=lag, retention={"a": 100.0, "b": 10_000.0}))
    assert found.where == "a[0], b[1]"
    assert "the oldest of a[0] is 90 s old, and the topic keeps 100 s" in found.message


def test_rejections_tell_reasons_and_the_commonest_message() -> None:
    found = only(rejected(50))
    assert found.message == (
        "50 rows were rejected in the last 15 min: unknown_key 50; mostly: no such code"
    )
    assert found.where == "events[1]@7"
    assert "dlq stats" in found.advice


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.4, "0 s"), (119, "119 s"), (120, "2 min"), (7200, "2.0 h"), (864_000, "10.0 days")],
)
def test_durations_are_words(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_places_beyond_the_first_are_counted() -> None:
    assert places([]) == ""
    assert places("abc") == "a, b, c"
    assert places("abcd") == "a, b, c and 1 more"
