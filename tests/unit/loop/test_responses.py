"""Who looks at debug lines finds a row's request, and a request's rows."""

from __future__ import annotations

import logging
from typing import Any

import orjson
import pytest

from consumer.core.model import Event
from consumer.core.rows.by_task import TaskRowMaker
from consumer.core.uploading.response import Response
from consumer.loop.intake import Intake
from consumer.loop.responses import places
from tests.unit.builders import accepted, answered, error_of, naming, rows_of
from tests.unit.runner_fakes import World, keys_of


class Lines:
    """The lines about responses at debug level."""

    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        self._caplog = caplog

    @property
    def messages(self) -> list[str]:
        return [record.getMessage() for record in self._records]

    @property
    def data(self) -> list[dict[str, Any]]:
        return [vars(record)["data"] for record in self._records]

    @property
    def _records(self) -> list[logging.LogRecord]:
        return [r for r in self._caplog.records if r.name == "consumer.loop.responses"]


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Lines:
    caplog.set_level(logging.DEBUG, logger="consumer.loop.responses")
    return Lines(caplog)


def test_a_request_is_one_line_with_its_window_its_answer_and_the_records_it_was_made_of(
    lines: Lines,
) -> None:
    world = World()
    partition = world.partition(0, *keys_of("A", 10))
    world.api = lambda attempt: Response(
        200, document=accepted(attempt).document, seconds=0.25, request_id="7f3a"
    )
    world.start()
    world.turn_until(lambda: not world.pipeline.unsettled and len(world.sent) == 1)
    (line,) = lines.data
    assert line == {
        "window": 1,
        "attempt": 1,
        "rows": 10,
        "data_key": "extended_id",
        "status": 200,
        "seconds": 0.25,
        "request_id": "7f3a",
        "sources": {str(partition): "0-9"},
        "fates": {"place": "gone", "accepted": 10, "rejected": 0, "released": 0, "unsettled": 0},
    }
    assert lines.messages == [
        "window 1, attempt 1: 10 rows by extended_id from events[0]@0-9: "
        "HTTP 200 after 0.250 s, request ID 7f3a; 10 accepted"
    ]


def test_no_line_holds_a_code_or_what_the_api_said(lines: Lines) -> None:
    world = World()
    world.partition(0, "SECRETCODE1", "SECRETCODE2")
    world.api = lambda attempt: (
        naming(error_of("SECRETCODE1")) if len(attempt.items) > 1 else accepted(attempt)
    )
    world.start()
    world.turn_until(lambda: not world.pipeline.unsettled and bool(world.sent))
    shown = [f"{message} {data}" for message, data in zip(lines.messages, lines.data, strict=True)]
    assert len(shown) == len(world.sent) == 2
    assert not any("SECRETCODE" in line for line in shown)
    assert lines.data[0]["fates"] == {
        "place": "queued",  # with the row that is left
        "accepted": 0,
        "rejected": 1,
        "released": 0,
        "unsettled": 1,
    }


def test_a_failed_attempt_says_that_its_rows_go_again_and_the_next_has_the_next_number(
    lines: Lines,
) -> None:
    world = World()
    world.partition(0, "A")
    answers = [Response(None, sent=False, error="no connection"), answered(503)]
    world.api = lambda attempt: answers.pop(0) if answers else accepted(attempt)
    world.start()
    world.turn_until(lambda: not world.pipeline.unsettled and len(world.sent) == 3)
    assert [(t["window"], t["attempt"], t["status"]) for t in lines.data] == [
        (1, 1, None),
        (1, 2, 503),
        (1, 3, 200),
    ]
    assert lines.data[0]["error"] == "no connection"
    assert "1 to be sent again" in lines.messages[0]


def test_a_task_is_a_line_for_its_start_and_one_for_each_poll(
    lines: Lines,
) -> None:
    maker = TaskRowMaker("extended_id", every=True)
    world = World(intake=Intake(lambda raw: Event(fields=orjson.loads(raw)), maker))
    world.partition(0, "A")
    world.api = lambda _: answered(200, {"task_id": "t-1"})
    world.start()
    world.turn_until(lambda: not world.pipeline.unsettled and bool(world.questions))
    assert [(line["fates"]["place"], line.get("task")) for line in lines.data] == [
        ("task", None),
        ("gone", "t-1"),
    ]


def test_above_debug_nothing_is_logged_of_a_request_that_was_answered(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, logger="consumer")
    world = World()
    world.partition(0, "A")
    world.start()
    world.turn_until(lambda: not world.pipeline.unsettled and bool(world.sent))
    assert not [r for r in caplog.records if r.name == "consumer.loop.responses"]


def test_places_are_runs_of_offsets_by_partition_and_a_record_of_several_rows_is_one() -> None:
    world = World()
    one, two = world.partition(0), world.partition(1)
    rows = rows_of(one, "A", "B", "C", start=5) + rows_of(one, "D", start=9)
    rows += rows_of(two, "E", start=1) + rows_of(one, "B2", start=6)
    assert places(rows) == {"events[0]": "5-7,9", "events[1]": "1"}
