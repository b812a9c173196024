"""The owner loop while schemas are looked up.

It never waits, keeps the order, and passes nothing unsettled.
"""

from __future__ import annotations

from typing import Any

import pytest

from consumer.core.offsets.partition import Partition
from consumer.core.offsets.settled_map import characters
from consumer.core.rows.maker import RowMaker
from consumer.errors import UserError
from consumer.formats import Schemas, decoder
from consumer.loop.intake import Intake
from consumer.loop.partition_pauses import PauseReason
from consumer.loop.patience import BLOCKED_SECONDS
from tests.unit.builders import accepted
from tests.unit.runner_fakes import Call, Message, World, keys_of


def framed(offset: int, key: str, schema_id: int = 7) -> Message:
    value = b'{"extended_id":"%s","note":"%d"}' % (key.encode(), offset)
    return Message(offset, b"\x00" + schema_id.to_bytes(4, "big") + value)


def plain(offset: int, key: str) -> Message:
    return Message(offset, b'{"extended_id":"%s","note":"%d"}' % (key.encode(), offset))


class Site:
    """A runner over fakes whose intake asks a registry.

    The registry answers when the test says so.
    """

    def __init__(self, **options: Any) -> None:
        self.asked: list[int | str] = []
        self.schemas = Schemas(lambda: self.world.results.now)
        intake = Intake(decoder("auto", self.schemas), RowMaker("extended_id"), self.asked.append)
        self.world = World(intake=intake, **options)

    def partition(self, number: int, *messages: Message) -> Partition:
        partition = self.world.partition(number)
        self.world.source.logs[partition] = list(messages)
        return partition

    def answer(self, schema_id: int = 7, problem: str = "") -> None:
        """The registry answers, from its own thread."""

        def take_in() -> None:
            if problem:
                self.schemas.refuse(schema_id, problem)
            else:
                self.schemas.learn(schema_id, "JSON", "{}")
            self.world.runner.on_schema_looked_up(schema_id)

        self.world.results.put(take_in)

    def sent(self, prefix: str) -> list[str]:
        """Key and note of the rows that were sent of the codes that begin so."""
        items = [item for attempt in self.world.sent for item in attempt.items]
        return [
            f"{item['extended_id']} {item['note']}"
            for item in items
            if item["extended_id"].startswith(prefix)
        ]


def test_other_partitions_go_on_during_an_outage_and_then_all_is_taken_in_in_order() -> None:
    site = Site()
    world = site.world
    waiting = site.partition(
        0, plain(0, "A"), framed(1, "A"), plain(2, "A"), Message(3, None), framed(4, "B")
    )
    going = world.partition(1, *keys_of("C", 500))
    world.start()
    world.turn_until(lambda: going.committed == 500)
    world.turn_for(120)
    assert site.asked == [7]
    assert site.sent("A") == ["A 0"]
    assert waiting.committed == waiting.committable_offset == 1
    assert waiting in world.source.held
    assert waiting.ledger.as_dict() == {
        "consumed": 5,
        "accepted": 1,
        "rejected": 0,
        "skipped": 1,
        "released": 0,
        "unsettled": 3,
    }
    site.answer()
    world.turn_until(lambda: waiting.committed == 5)
    assert site.sent("A") == ["A 0", "A 1", "A 2"]
    assert site.sent("B") == ["B 4"]
    assert world.pipeline.unsettled == 0
    assert not world.source.held


def test_messages_that_still_come_from_a_held_partition_are_taken_in_behind_the_rest() -> None:
    site = Site(max_rows=1)
    world = site.world
    waiting = site.partition(0, framed(0, "A"))
    world.start()
    world.turn_until(lambda: waiting in world.source.held)
    world.source.held.clear()  # what was fetched before the hold
    world.source.logs[waiting] += [plain(1, "A"), framed(2, "A")]
    world.turn_until(lambda: waiting.position == 3)
    site.answer()
    world.turn_until(lambda: waiting.committed == 3)
    assert site.sent("A") == ["A 0", "A 1", "A 2"]


def test_end_of_the_partition_while_waiting_never_lets_the_watermark_pass() -> None:
    site = Site()
    world = site.world
    waiting = site.partition(0, framed(0, "A"))
    world.start()
    world.turn_until(lambda: waiting in world.source.held)
    waiting.position = 9  # the client's end-of-partition event, behind offsets that hold no record
    world.turn_for(30)
    assert waiting.committable_offset == waiting.committed == 0
    site.answer()
    world.turn_until(lambda: waiting.committed == 9)


def test_partition_waits_for_one_schema_after_the_other() -> None:
    site = Site()
    world = site.world
    waiting = site.partition(0, framed(0, "A", 7), framed(1, "A", 8), framed(2, "A", 7))
    world.start()
    world.turn_until(lambda: site.asked == [7])
    site.answer(7)
    world.turn_until(lambda: site.asked == [7, 8])
    world.turn_until(lambda: waiting.committed == 1)
    assert waiting in world.source.held
    site.answer(8)
    world.turn_until(lambda: waiting.committed == 3)
    assert site.sent("A") == ["A 0", "A 1", "A 2"]


def test_unknown_schema_rejects_its_records_and_no_others() -> None:
    site = Site()
    world = site.world
    waiting = site.partition(0, framed(0, "A"), plain(1, "B"))
    world.start()
    world.turn_until(lambda: site.asked == [7])
    site.answer(7, "schema 7 is not in the registry at http://registry")
    world.turn_until(lambda: waiting.committed == 2)
    (letter,) = world.dead_letters
    assert letter.rejection.reason == "undecodable"
    assert letter.rejection.message == "schema 7 is not in the registry at http://registry"
    assert letter.rejection.stage == "decode"
    assert letter.row.record.offset == 0
    assert site.sent("B") == ["B 1"]


def test_partition_that_goes_while_waiting_releases_its_records_and_a_late_schema_is_nothing() -> (
    None
):
    site = Site()
    world = site.world
    waiting = site.partition(0, plain(0, "A"), framed(1, "A"), framed(2, "A"))
    stays = site.partition(1, framed(0, "S"))
    world.start()
    world.turn_until(lambda: waiting.committed == 1)
    world.source.inside.append(lambda: world.runner.on_revoked([waiting], lost=False))
    world.turn_until(lambda: not waiting.owned)
    assert (waiting.ledger.released, waiting.ledger.unsettled) == (2, 0)
    assert world.pipeline.unsettled == 1
    site.answer()
    world.turn_until(lambda: stays.committed == 1)
    world.turn_for(10)
    assert site.sent("A") == ["A 0"]
    assert (world.pipeline.unsettled, world.pipeline.flow.size) == (0, 0)
    assert world.runner.ledger().balanced


def test_schema_that_comes_during_a_revocation_sends_nothing_of_what_goes() -> None:
    site = Site(max_rows=1)
    world = site.world
    waiting = site.partition(0, plain(0, "A"), framed(1, "B"))
    world.api = lambda _: None
    world.start()
    world.turn_until(lambda: len(world.unanswered) == 1)
    first = world.unanswered.pop()
    world.api = accepted
    site.answer()
    world.results.at(1.0, lambda: world.results.put((Call(first), accepted(first))))
    world.source.inside.append(lambda: world.runner.on_revoked([waiting], lost=False))
    world.turn_until(lambda: not waiting.owned)
    world.turn_for(10)
    assert world.source.waited == [{0: 1}]
    assert site.sent("B") == []
    assert (waiting.ledger.accepted, waiting.ledger.released) == (1, 1)
    assert (world.pipeline.unsettled, world.pipeline.flow.size) == (0, 0)


def test_partition_that_comes_back_waits_anew() -> None:
    site = Site()
    world = site.world
    before = site.partition(0, framed(0, "A"))
    world.start()
    world.turn_until(lambda: site.asked == [7])
    world.source.inside.append(lambda: world.runner.on_revoked([before], lost=True))
    world.turn_until(lambda: not before.owned)
    again = site.partition(0, framed(0, "A"), plain(1, "A"))
    world.source.inside.append(lambda: world.runner.on_assigned([again]))
    world.turn_until(lambda: again in world.source.held)
    site.answer()
    world.turn_until(lambda: again.committed == 2)
    assert site.sent("A") == ["A 0", "A 1"]


def test_records_that_wait_count_for_the_memory_bound() -> None:
    site = Site(max_unsettled_rows=20)
    world = site.world
    waiting = [site.partition(n, *(framed(i, f"A{n}-{i}") for i in range(50))) for n in range(4)]
    world.start()
    world.turn_for(60)
    taken = sum(partition.ledger.unsettled for partition in waiting)
    assert world.pipeline.unsettled == taken <= 22
    assert world.pipeline.flow.size == sum(
        record.size for partition in waiting for record in partition.records
    )
    site.answer()
    world.turn_until(lambda: all(partition.committed == 50 for partition in waiting))
    assert (world.pipeline.unsettled, world.pipeline.flow.size) == (0, 0)


def test_two_reasons_to_hold_a_partition_do_not_end_each_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("consumer.core.offsets.partition.MAX_READ", 0)
    site = Site(concurrency=4)
    world = site.world
    codes = keys_of("A", 40)
    partition = site.partition(
        0, *(plain(n, code) for n, code in enumerate(codes)), framed(40, "Z")
    )
    world.api = lambda attempt: (
        None if codes[0] in [i["extended_id"] for i in attempt.items] else accepted(attempt)
    )
    partition.room = characters(5)
    world.start()
    world.turn_until(
        lambda: partition in world.runner.partition_pauses.paused_for(PauseReason.MAP_FULL)
    )  # too much stands behind the first row
    assert site.asked == [7]  # and the last record waits for its schema
    site.answer()
    world.turn_for(5)
    assert partition in world.source.held, "the schema came, the row did not settle"
    world.source.logs[partition] += [framed(41, "Z", 8)]
    world.source.held.clear()  # what was fetched before the hold
    world.turn_until(lambda: site.asked == [7, 8])
    world.api = accepted
    for attempt in world.unanswered:
        world.results.put((Call(attempt), accepted(attempt)))
    world.turn_until(lambda: not world.runner.partition_pauses.paused_for(PauseReason.MAP_FULL))
    assert partition in world.source.held, "the row settled, the schema did not come"
    site.answer(8)
    world.turn_until(lambda: partition.committed == 42)
    assert not world.source.held


def test_with_an_end_to_reach_a_registry_that_stays_away_is_a_failure() -> None:
    site = Site(until_end=True)
    waiting = site.partition(0, framed(0, "A"))
    with pytest.raises(UserError, match=r"events\[0\] waits for schema 7 .*schema_registry.url"):
        site.world.runner.run()
    assert site.world.results.now - 1000 == pytest.approx(BLOCKED_SECONDS, abs=2)
    assert waiting.committed == 0


def test_without_an_end_the_registry_is_waited_for_as_long_as_it_takes() -> None:
    site = Site()
    waiting = site.partition(0, framed(0, "A"))
    site.world.start()
    site.world.turn_for(2 * BLOCKED_SECONDS)
    site.answer()
    site.world.turn_until(lambda: waiting.committed == 1)


def test_stop_while_waiting_ends_at_once_and_commits_nothing_that_waits() -> None:
    site = Site()
    world = site.world
    waiting = site.partition(0, plain(0, "A"), framed(1, "A"))
    world.results.at(5.0, lambda: world.runner.signal(0))
    assert world.runner.run() == 0
    assert world.results.now < 1000 + 6
    assert waiting.committed == 1
    assert world.runner.final_ledger is not None
    assert world.runner.final_ledger.unsettled == 1
