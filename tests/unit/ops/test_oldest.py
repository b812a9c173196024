"""The oldest unsettled record's wait, in the words of ``/status``; why none is read."""

from __future__ import annotations

import pytest

from consumer.core.admission.retry import RetryPolicy
from consumer.core.rows.maker import RowMaker
from consumer.formats import NeedsSchema
from consumer.loop.intake import Intake
from consumer.loop.lifecycle import Phase
from consumer.loop.partition_pauses import PauseReason
from consumer.ops.snapshot import take
from consumer.ops.status import OldestStatus, PartitionStatus
from tests.unit.builders import answered, lost
from tests.unit.runner_fakes import SESSION_SECONDS, World, keys_of


def partitions(world: World, *, show_keys: bool = False) -> list[PartitionStatus]:
    now = world.results.now
    return take(world.runner, world.source, now, world.lag, show_keys=show_keys).partitions


def oldest(world: World, number: int = 0, *, show_keys: bool = False) -> OldestStatus:
    found = partitions(world, show_keys=show_keys)[number].oldest
    assert found is not None
    return found


def test_a_record_that_waits_for_its_response_is_told_with_age_and_place() -> None:
    world = World()
    world.api = lambda _: None
    world.partition(0, "A")
    world.start()
    world.turn_for(0.5)
    assert partitions(world)[0].oldest is None, "it is too young"
    world.turn_for(30)
    found = oldest(world)
    assert (found.offset, found.waits_for, found.attempts) == (0, "response", 1)
    assert found.age_seconds == pytest.approx(30.5, abs=0.5)
    assert found.unsettled_seconds == pytest.approx(30.5, abs=0.5)
    assert found.message == "It waits for the API's response."
    assert (found.data_key, found.key_value) == ("extended_id", "(hidden)")
    assert oldest(world, show_keys=True).key_value == "A"


def test_a_record_without_a_timestamp_has_no_age() -> None:
    world = World()
    world.api = lambda _: None
    partition = world.partition(0, "A")
    world.start()
    world.turn_for(3)
    partition.records[0].timestamp = -1
    assert oldest(world).age_seconds is None


def test_a_retry_is_told_with_its_time_and_what_was_said_last() -> None:
    world = World(retry=RetryPolicy(base=30, cap=30))
    world.api = lambda _: answered(503, {"detail": "no database"})
    partition = world.partition(0, "A")
    world.start()
    world.turn_until(lambda: bool(world.pipeline.uploads.retries))
    partition.records[0].read_at -= 1.0  # as its retry may come sooner than a second
    found = oldest(world)
    assert found.waits_for == "retry"
    assert found.retry_in_seconds is not None
    assert found.message.startswith(
        f"It waits for its next attempt, in {found.retry_in_seconds:.0f} s."
    )
    assert found.message.endswith(
        " Its last request failed (HTTP 503: no database); it was sent 1 time."
    )


def test_while_uploading_is_paused_a_record_waits_for_that() -> None:
    world = World(retry=RetryPolicy(base=100, cap=100))
    world.api = lambda _: answered(401)
    world.me = 401
    world.partition(0, *keys_of("A", 5))
    world.start()
    world.turn_until(lambda: world.pipeline.gate.pause is not None)
    world.turn_for(2)
    assert oldest(world).waits_for == "pause"


def test_what_a_stop_does_not_send_waits_for_the_next_start() -> None:
    world = World(retry=RetryPolicy(base=100, cap=100))
    world.api = lambda _: answered(503)
    world.partition(0, "A")
    world.start()
    world.turn_until(lambda: bool(world.pipeline.uploads.retries))
    world.results.now += 1.0
    world.runner.signal()
    assert oldest(world).waits_for == "stop"


def test_without_a_sign_of_the_group_a_record_waits_for_that() -> None:
    world = World(retry=RetryPolicy(base=100, cap=100))
    world.api = lambda _: answered(503)
    world.source.commit_answers = None
    world.partition(0, "A")
    world.start()
    world.turn_for(SESSION_SECONDS)
    assert oldest(world).waits_for == "group"


def test_a_window_that_no_request_may_carry_waits_for_one() -> None:
    world = World(max_rows=1, concurrency=1, linger=60.0)
    world.api = lambda _: None
    world.partition(0, "A")
    world.partition(1, "B")
    world.start()
    world.turn_for(2)
    waits = {oldest(world, number).waits_for for number in range(2)}
    assert waits == {"response", "request"}


def test_a_request_that_the_api_asked_to_wait_for_says_so() -> None:
    world = World()
    world.api = lambda _: answered(429, {}, retry_after=60)
    world.partition(0, "A")
    world.start()
    world.turn_for(3)
    found = oldest(world)
    assert found.waits_for == "request"
    assert "the API asked for none for 5" in found.message


def test_a_row_behind_another_partitions_names_that_record() -> None:
    world = World()
    world.api = lambda _: None
    world.partition(0, "A")
    world.partition(1, "A")
    world.start()
    world.turn_for(2)
    found = oldest(world, 1)
    assert (found.waits_for, found.behind) == ("earlier_row", "events[0]@0")
    assert found.message == "It waits for an earlier row of its code, of events[0]@0."


def test_a_row_behind_a_lost_call_says_for_how_long_at_most() -> None:
    world = World(retry=RetryPolicy(base=0.001, cap=0.001))
    replies = iter([lost()])
    accept = world.api
    world.api = lambda attempt: next(replies, None) or accept(attempt)
    world.partition(0, "A", "A")
    world.start()
    world.turn_for(3)
    found = oldest(world)
    assert (found.waits_for, found.behind) == ("lost_call", "events[0]@0")
    assert "can no longer take effect, for 6" in found.message


def test_a_schema_that_is_awaited_and_room_that_is_short_are_told_apart() -> None:
    def decode(_: bytes) -> None:
        raise NeedsSchema(7)

    intake = Intake(decode, RowMaker("extended_id"), lambda _: None)  # type: ignore[arg-type]  # it never gives one
    world = World(intake=intake)
    partition = world.partition(0, "A")
    world.start()
    world.turn_for(2)
    found = oldest(world)
    assert (found.waits_for, found.data_key) == ("schema", None)
    assert partitions(world)[0].pauses == [PauseReason.SCHEMA_AWAITED.value]
    intake.waiting[partition].schema_id = None
    assert oldest(world).waits_for == "room"


def test_a_row_whose_dead_letter_is_not_acknowledged() -> None:
    world = World()
    world.acknowledges = False
    world.partition(0, "")
    world.start()
    world.turn_for(20)
    assert oldest(world).waits_for == "dead_letter"
    told = take(world.runner, world.source, world.results.now, world.lag).rows
    assert told.dead_letters_oldest_seconds == pytest.approx(20, abs=0.2)
    assert (told.receipts_oldest_seconds, told.dead_letters_error) == (0.0, None)


# -- why a partition is not read -----------------------------------------------------------------


def test_each_reason_for_which_a_partition_is_not_read_is_told() -> None:
    world = World()
    held, gone, sought, kept = (world.partition(number) for number in range(4))
    world.start()
    world.runner.partition_pauses.pause(held, PauseReason.OVER_QUOTA)
    world.runner.partition_pauses.pause(held, PauseReason.MAP_FULL)
    world.source.stopped[gone] = "out_of_range"
    world.source.awaiting["events", sought.number] = world.results.now
    told = [status.pauses for status in partitions(world)]
    assert told[0] == [PauseReason.MAP_FULL.value, PauseReason.OVER_QUOTA.value]
    assert "a person has to decide" in told[1][0]
    assert told[2] == ["where it goes on is looked up"]
    assert told[kept.number] == []
    world.source.paused = True
    assert "no room" in partitions(world)[kept.number].pauses[0]
    world.runner.lifecycle.phase = Phase.DRAINING
    assert partitions(world)[kept.number].pauses == ["the process stops"]
    assert all(status.pauses for status in partitions(world) if status.paused)
