"""A member that is cut off from its group, but not from the API: fencing by the group's last sign."""

from __future__ import annotations

from tests.core.builders import accepted
from tests.core.runner_fakes import SESSION_SECONDS, World, keys_of, message


def _cut_off(world: World) -> float:
    """From now on no commit is answered; when that was."""
    world.source.commit_answers = "never"
    return world.results.now


def test_a_member_that_hears_nothing_of_its_group_sends_nothing_from_two_thirds_of_the_session_on() -> None:
    world = World(max_rows=1, concurrency=1)
    world.latency = 1.0
    world.partition(0, *keys_of("A", 500))
    world.start()
    world.turn_for(5)
    since = _cut_off(world)
    world.turn_for(120)
    last = max(at for at, _ in world.start_by)
    assert last <= since + 2 / 3 * SESSION_SECONDS, "fencing: rows are sent though the group may have given them away"
    assert last >= since + SESSION_SECONDS / 2, "a short silence of the group stops nothing"


def test_it_goes_on_when_the_group_answers_again() -> None:
    world = World(max_rows=1, concurrency=1)
    world.latency = 1.0
    partition = world.partition(0, *keys_of("A", 60))
    world.start()
    world.turn_for(5)
    _cut_off(world)
    world.turn_for(60)
    sent = len(world.sent)
    world.source.commit_answers, world.source.committing = "at once", False
    world.turn_until(lambda: partition.committed == 60, 120)
    assert len(world.sent) == 60 > sent


def test_while_there_is_work_the_group_is_asked_in_time_though_nothing_new_is_settled() -> None:
    """A request takes longer than the session; others must not wait for it."""
    world = World(max_rows=1, concurrency=2)
    world.api = lambda attempt: None if attempt.items[0]["extended_id"] == "A0" else accepted(attempt)
    partition = world.partition(0, "A0")
    world.start()
    world.turn_for(3 * SESSION_SECONDS)
    asked = len(world.source.commits)
    assert 3 <= asked <= 15, "once in a third of the session, and not all the time"
    world.source.logs[partition].append(message(1, "B"))
    began = world.results.now
    world.turn_until(lambda: len(world.sent) == 2)
    assert world.results.now - began <= 0.2, "I8: a row waits for the group's sign though there was one"


def test_an_idle_member_commits_nothing_and_asks_at_once_when_work_comes() -> None:
    world = World()
    partition = world.partition(0, "A")
    world.start()
    world.turn_until(lambda: partition.committed == 1)
    before = len(world.source.commits)
    world.turn_for(10 * SESSION_SECONDS)
    assert len(world.source.commits) == before
    world.source.logs[partition].append(message(1, "B"))
    began = world.results.now
    world.turn_until(lambda: partition.committed == 2)
    assert world.results.now - began <= 1.0
