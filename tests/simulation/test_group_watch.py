"""The group's judge finds what it is there for, and excuses what is promised to nobody."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.simulation.group_watch import GroupWatch
from tests.simulation.oracle import Limits, Oracle, Violation
from tests.simulation.process import Process
from tests.simulation.scheduler import BEGIN, Scheduler

SESSION = 10.0
LIMITS = Limits(100, 1e6, 10.0, 4000, 500, 60.0)


class Stage:
    """A judge, and processes that work; ``pass_time`` moves the clock."""

    def __init__(self, rate: float = 0.0) -> None:
        self.scheduler = Scheduler()
        self.seen: Counter[str] = Counter()
        self.oracle = Oracle(self.scheduler, {}, LIMITS, self.seen, lambda *_: True, None)
        self.watch = GroupWatch(self.scheduler, self.seen, self.oracle, session=SESSION, rate=rate)

    def process(self, name: str, *, works: bool = True, partition: int | None = 0) -> Process:
        process = Process(self.scheduler, name, lambda: None)
        self.oracle.began(process, dict)
        if partition is not None:
            self.oracle.assigned(process, object(), partition, 0, None)
        self.oracle.load.unsettled[process] = int(works)
        return process

    def pass_time(self, seconds: float) -> None:
        self.scheduler.run(lambda: False, self.scheduler.now + seconds)


def test_after_a_stand_still_only_a_commit_that_was_sent_since_lets_uploads_go_on() -> None:
    stage = Stage()
    process = stage.process("A")
    stage.pass_time(8.0)
    stage.watch.stood_still(process, 8.0)
    stage.watch.confirmed(process, BEGIN)  # it was on its way before
    with pytest.raises(Violation, match="I9: A stood still and uploads"):
        stage.watch.uploads(process)
    assert stage.seen["old answer after a stand-still"] == 1
    stage.watch.confirmed(process, stage.scheduler.now)
    stage.watch.uploads(process)


def test_a_short_stand_still_needs_no_word_of_the_group() -> None:
    stage = Stage()
    process = stage.process("A")
    stage.watch.stood_still(process, 4.9)
    stage.watch.uploads(process)


def test_a_process_with_work_asks_for_a_sign_in_time() -> None:
    stage = Stage()
    process, idle = stage.process("A"), stage.process("B", works=False)
    for _ in range(8):
        stage.watch.polled(process, can_ask=True)
        stage.watch.polled(idle, can_ask=True)
        stage.pass_time(1.0)
    stage.watch.asked(process)
    for _ in range(8):
        stage.watch.polled(process, can_ask=True)
        stage.watch.polled(idle, can_ask=True)
        stage.pass_time(1.0)
    stage.watch.polled(idle, can_ask=True)
    stage.pass_time(1.0)
    with pytest.raises(Violation, match="I8: A has work, and has not asked"):
        stage.watch.polled(process, can_ask=True)


def test_one_that_cannot_ask_is_not_blamed() -> None:
    stage = Stage()
    process = stage.process("A")
    for _ in range(30):
        stage.watch.polled(process, can_ask=False)
        stage.pass_time(1.0)


def test_the_group_makes_no_more_requests_in_a_second_than_its_rate_allows() -> None:
    stage = Stage(rate=5.0)
    first, second = stage.process("A"), stage.process("B", partition=1)
    for _ in range(20):
        stage.pass_time(0.21)
        stage.watch.requested(first, small=False)
    stage.pass_time(0.1)
    with pytest.raises(Violation, match="I6: 6 requests in a second, the group may make 5"):
        stage.watch.requested(second, small=True)


def test_who_has_no_partition_may_ask_who_it_is() -> None:
    stage = Stage(rate=5.0)
    first, second = stage.process("A"), stage.process("B", partition=None)
    for _ in range(20):
        stage.pass_time(0.21)
        stage.watch.requested(first, small=False)
        stage.watch.requested(second, small=True)


def test_who_was_replaced_and_does_not_know_it_yet_may_ask_about_tasks_and_not_upload() -> None:
    stage = Stage(rate=5.0)
    first, second = stage.process("A"), stage.process("B")
    stage.watch.replaced(first)
    for _ in range(20):
        stage.pass_time(0.21)
        stage.watch.requested(second, small=False)
        stage.watch.requested(first, small=True)
    stage.pass_time(0.1)
    with pytest.raises(Violation, match="I6: 6 requests in a second"):
        stage.watch.requested(first, small=False)


def test_a_run_with_an_end_gives_up_when_all_connections_are_refused() -> None:
    stage = Stage()
    process, other = stage.process("A"), stage.process("B")
    stage.watch.has_end(process)
    stage.watch.refused_since = stage.scheduler.now
    for _ in range(400):  # it may call nothing while the group has not confirmed it
        stage.watch.asked(process)
        stage.watch.polled(process, can_ask=True)
        stage.pass_time(1.0)
    stage.watch.requested(process, small=False)
    for _ in range(331):
        stage.watch.asked(process)
        stage.watch.asked(other)
        stage.watch.polled(other, can_ask=True)
        stage.watch.polled(process, can_ask=True)
        stage.pass_time(1.0)
    stage.watch.asked(other)
    stage.watch.polled(other, can_ask=True)
    with pytest.raises(Violation, match="I8: A runs with --until-end"):
        stage.watch.polled(process, can_ask=True)


def test_what_a_member_takes_for_committed_is_what_the_group_has() -> None:
    stage = Stage()
    process = stage.process("A")
    stage.watch.believes(process, 0, (3, "map"), (3, "map"))
    with pytest.raises(Violation, match="I7: A takes"):
        stage.watch.believes(process, 0, (3, "map"), (3, "another"))


def test_one_start_that_is_not_known_holds_up_the_others_for_a_while_only() -> None:
    stage = Stage()
    process = stage.process("A")
    stage.watch.held_up(process, [1], [0, 1], 15.0)
    with pytest.raises(Violation, match="I8: A has waited"):
        stage.watch.held_up(process, [1], [0, 1], 15.1)
