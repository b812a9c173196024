"""Watching for troubles: a line when one begins and when it is over, few, and the state's word."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from consumer.core.admission.retry import RetryPolicy
from consumer.core.effects import Attempt
from consumer.core.uploading.response import Response
from consumer.ops.troubles.of_events import NO_PROGRESS_SECONDS
from consumer.ops.watch import SHORT_SECONDS, Lately, Watch
from tests.unit.builders import accepted, answered, values
from tests.unit.runner_fakes import World, keys_of, message

LOGGER = "consumer.ops.watch"


class Watched(World):
    """A world that is watched."""

    def __init__(self, *, show_keys: bool = False, **rules: Any) -> None:
        super().__init__(**rules)
        self.watch = Watch(
            self.runner,
            self.source,
            self.results.clock,
            self.lag,
            dead_letter_topic="letters",
            show_keys=show_keys,
        )
        self.runner.look = self.watch.look

    @property
    def letters_trouble(self) -> tuple[str, str] | None:
        return self.runner.dead_letters.trouble

    @letters_trouble.setter
    def letters_trouble(self, trouble: tuple[str, str] | None) -> None:
        self.runner.dead_letters.trouble = trouble  # type: ignore[misc]  # the fake's is a plain one

    def refuse_letters(self) -> None:
        self.acknowledges = False
        self.letters_trouble = ("no such topic", "create it")

    def take_letters(self) -> None:
        self.acknowledges = True
        self.letters_trouble = None
        self.results.put([letter.row for letter in self.dead_letters])


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO, LOGGER)
    return caplog


def told(lines: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in lines.records if record.name == LOGGER]


def test_a_trouble_that_begins_is_one_line_with_place_and_cure_and_one_when_it_is_over(
    lines: pytest.LogCaptureFixture,
) -> None:
    world = Watched()
    world.partition(0, "")
    world.refuse_letters()
    world.start()
    world.turn_for(30)
    (line,) = told(lines)
    assert line == (
        "dead_letter_topic_failing: letters: dead letters cannot be written to letters "
        "(no such topic); 1 row waits, nothing is lost; create it "
        "(docs/runbook.md#dead-letter-topic-failing)"
    )
    assert lines.records[-1].levelno == logging.ERROR
    assert lines.records[-1].__dict__["data"] == {
        "trouble": "dead_letter_topic_failing",
        "event": "begun",
        "where": "letters",
    }
    snapshot = world.watch.snapshot()
    assert (snapshot.state, snapshot.phase, snapshot.advice) == ("stuck", "running", "create it")
    assert snapshot.troubles[0].seconds == pytest.approx(30, abs=1)
    world.take_letters()
    world.turn_for(5)
    assert told(lines)[1].startswith("over: dead_letter_topic_failing of letters, after 3")
    assert world.watch.snapshot().state == "degraded", "a row was rejected"


def test_a_trouble_that_comes_and_goes_is_not_a_line_each_time(
    lines: pytest.LogCaptureFixture,
) -> None:
    world = Watched()
    partition = world.partition(0)
    world.start()
    for offset in range(20):
        world.refuse_letters()
        world.source.logs[partition].append(message(offset, ""))
        world.turn_for(4)
        assert world.watch.snapshot().state == "stuck"
        world.take_letters()
        world.turn_for(4)
    begun = [line for line in told(lines) if line.startswith("dead_letter_topic_failing")]
    over = [line for line in told(lines) if line.startswith("over: ")]
    assert len(begun) == len(over) == 3, "160 s"


def test_who_asks_between_two_looks_hides_no_end_of_a_trouble(
    lines: pytest.LogCaptureFixture,
) -> None:
    world = Watched()
    world.partition(0, "")
    world.refuse_letters()
    world.start()
    world.turn_for(10)
    world.take_letters()
    world.turn_until(lambda: not world.pipeline.dead_letters_pending)
    world.watch.snapshot()
    world.turn_for(5)
    assert len([line for line in told(lines) if line.startswith("over: ")]) == 1


def test_the_beginning_of_a_pause_is_not_logged_a_second_time(
    lines: pytest.LogCaptureFixture,
) -> None:
    world = Watched(retry=RetryPolicy(base=1, cap=1))
    world.api = lambda _: answered(401, {"detail": "no such token"})
    world.me = 401
    partition = world.partition(0, "A")
    world.start()
    world.turn_for(2 * SHORT_SECONDS)
    snapshot = world.watch.snapshot()
    assert (snapshot.state, snapshot.troubles[0].cause) == ("stuck", "api_unauthorized")
    assert "HTTP 401: no such token" in snapshot.troubles[0].message
    assert snapshot.partitions[0].oldest is not None
    assert snapshot.partitions[0].oldest.waits_for in ("pause", "response")
    world.api, world.me = accepted, 200
    world.turn_until(lambda: partition.ledger.accepted == 1)
    world.turn_for(5)
    assert told(lines) == [], "the core logs both"
    assert world.watch.snapshot().state == "running"


def test_what_another_module_logs_has_its_end_logged_if_it_has_lasted(
    lines: pytest.LogCaptureFixture,
) -> None:
    world = Watched()
    partition = world.partition(0)
    world.start()
    world.source.stopped[partition] = "out_of_range"
    world.turn_for(SHORT_SECONDS - 10)
    del world.source.stopped[partition]
    world.turn_for(5)
    assert told(lines) == []
    world.source.stopped[partition] = "out_of_range"
    world.turn_for(SHORT_SECONDS + 10)
    del world.source.stopped[partition]
    world.turn_for(5)
    (line,) = told(lines)
    assert line.startswith("over: partition_out_of_range of events[0], after 4")


def test_a_poison_row_is_named_while_others_pass_and_its_key_only_where_keys_are_logged(
    lines: pytest.LogCaptureFixture,
) -> None:
    for show_keys in (False, True):
        lines.clear()
        world = Watched(
            max_rows=4, retry=RetryPolicy(base=0.2, cap=1, give_up=0), show_keys=show_keys
        )

        def api(attempt: Attempt) -> Response:
            return answered(500) if "POISON" in values(attempt) else accepted(attempt)

        world.api = api
        world.latency = 0.5
        world.partition(0, "A", "POISON")
        world.partition(1, *keys_of("B", 400))
        world.start()
        world.turn_for(20)
        snapshot = world.watch.snapshot()
        assert [trouble.cause for trouble in snapshot.troubles] == ["row_stuck"]
        assert snapshot.state == "stuck"
        assert snapshot.troubles[0].where == "events[0]@1"
        assert snapshot.api.last_error == "HTTP 500", "while a row fails"
        (line,) = told(lines)
        assert line.startswith("row_stuck: events[0]@1: ")
        assert ("POISON" in line) == show_keys


def test_each_field_that_responses_leave_out_is_one_warning(
    lines: pytest.LogCaptureFixture,
) -> None:
    world = Watched(max_rows=1)

    def api(attempt: Attempt) -> Response:
        response = accepted(attempt)
        assert response.document is not None
        for value in response.document["items"]:
            response.document["items"][value] = []
        return response

    world.api = api
    partition = world.partition(0, *keys_of("A", 20))
    world.start()
    world.turn_until(lambda: partition.ledger.accepted == 20)
    world.turn_for(30)
    (line,) = told(lines)
    assert line.startswith('fields_not_confirmed: a response did not list the field "note"')
    snapshot = world.watch.snapshot()
    assert (snapshot.state, snapshot.troubles[0].cause) == ("degraded", "fields_not_confirmed")
    assert '"note"' in snapshot.troubles[0].message
    world.turn_for(1000)
    assert world.watch.snapshot().state == "running", "it is long ago"


def test_nothing_that_settles_for_five_minutes_is_told_and_the_process_stays_healthy(
    lines: pytest.LogCaptureFixture,
) -> None:
    world = Watched()
    world.api = lambda _: None
    partition = world.partition(0, "A")
    world.source.ends[partition] = 1
    world.start()
    world.turn_for(NO_PROGRESS_SECONDS - 5)
    assert world.watch.snapshot().state == "running"
    world.turn_for(15)
    snapshot = world.watch.snapshot()
    assert (snapshot.state, snapshot.troubles[0].cause) == ("stuck", "no_progress")
    assert snapshot.troubles[0].where == "events[0]"
    (line,) = told(lines)
    assert "events[0]@0: It waits for the API's response." in line


def test_with_nothing_behind_nothing_need_settle() -> None:
    world = Watched()
    world.partition(0)
    world.start()
    world.turn_for(2 * NO_PROGRESS_SECONDS)
    assert world.watch.snapshot().troubles == []


def test_brokers_that_do_not_answer_and_commits_that_fail_are_told() -> None:
    world = Watched()
    world.partition(0)
    world.start()
    world.source.away = (world.results.now, "Connection refused")
    world.turn_for(10)
    snapshot = world.watch.snapshot()
    assert snapshot.state == "degraded"
    assert snapshot.troubles[0].message == "Kafka: no broker answers (Connection refused)"
    world.turn_for(60)
    assert world.watch.snapshot().state == "stuck"
    world.source.away = None
    world.source.commit_answers = "coordinator not available"
    world.partition(1, "A")
    world.runner.on_begun(list(world.source.logs)[1:])
    world.turn_for(10)
    snapshot = world.watch.snapshot()
    assert snapshot.troubles[0].message == "Kafka: commits fail (coordinator not available)"
    world.source.commit_answers = "at once"
    world.turn_for(5)
    assert world.watch.snapshot().state == "running"


def test_how_much_grew_in_the_last_quarter_of_an_hour_is_known_to_a_minute() -> None:
    lately = Lately()
    assert lately.grown({"a": 2}, 0.0) == {"a": 2}, "at the start all were zero"
    for minute in range(1, 15):
        assert lately.grown({"a": 2, "b": minute}, minute * 60.0) == {"a": 2, "b": minute}
    grown = {}
    for minute in range(15, 40):
        grown = lately.grown({"a": 2, "b": 14}, minute * 60.0)
        assert len(lately._before) <= 18
    assert grown == {}
