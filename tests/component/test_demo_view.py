"""The demo's view: a screen on a terminal, a log elsewhere, whatever happens and however small."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from io import BytesIO, StringIO, TextIOWrapper
from typing import Any

import pytest
from rich.cells import cell_len
from rich.console import Console
from rich.live import Live

from consumer.demo import progress as shown
from consumer.demo.line import STATIONS
from consumer.demo.publishing import Published, StationReport
from consumer.demo.view import frame
from consumer.demo.watch import Progress, SeenDeadLetter, SeenUpload

SIZES = [(80, 24), (100, 30), (110, 32), (200, 60)]

STATUS: dict[str, Any] = {
    "ledger": {
        "consumed": 1400,
        "accepted": 1150,
        "rejected": 35,
        "skipped": 5,
        "released": 0,
        "unsettled": 210,
    },
    "partitions": [
        {"topic": "scm.events", "partition": 0, "position": 790},
        {"topic": "scm.events", "partition": 1, "position": 610},
    ],
    "windows": {
        "lanes": [
            {
                "data_key": "extended_id",
                "fields": ["intended_market", "after_sell_by", "lot"],
                "rows": 230,
            },
            {"data_key": "case_code", "fields": ["ship_date", "carrier"], "rows": 7},
            {"data_key": "extended_id", "fields": ["activation_status", "product"], "rows": 63},
        ],
        "in_flight": [{"rows": 100}, {"rows": 38}],
    },
    "rows": {"parked": {"retry": 38, "unknown_key": 0, "earlier_row": 12, "late_answer": 100}},
}
BEGINNING = Progress(0.0, Published(), 5125)
JOINING = Progress(
    2.0,
    Published(
        900,
        {0: 500, 1: 400},
        {name: StationReport() for name in STATIONS},
        datetime(2024, 5, 1, 17, 5, tzinfo=UTC),
    ),
    5125,
)
RUNNING = Progress(
    seconds=6.4,
    line=Published(
        1500,
        {0: 800, 1: 700},
        {name: StationReport(321, f"AB2C4DEFGH7JKLMN at the {name}") for name in STATIONS},
        datetime(2024, 5, 1, 18, 12, tzinfo=UTC),
    ),
    total=5125,
    committed={0: 640, 1: 20},
    applied=1234,
    requests={"200": 12, "400": 3, "429": 1, "503": 2, "none": 2},
    answers=(
        SeenUpload(200, "extended_id", 100, 100),
        SeenUpload(400, "extended_id", 100, 0),
        SeenUpload(503, "extended_id", 100, 0, again=62),
        SeenUpload(429, "extended_id", 98, 0),
        SeenUpload(None, "extended_id", 40, 0),
        SeenUpload(None, "extended_id", 41, 41),
        SeenUpload(418, "case_code", 1, 0),
        SeenUpload(200, "extended_id", 98, 98, again=98),
    ),
    letters=3,
    reasons={"unknown_key": 2, "key_blank": 1},
    last_letters=(
        SeenDeadLetter("unknown_key", "scm.events[1]@7", "NOT-OURS-1", "Invalid value passed"),
        SeenDeadLetter("key_blank", "scm.events[0]@9", "  \u3000", "the key is blank"),
        SeenDeadLetter(
            "value_too_long", "scm.events[0]@12", "長" * 60, "長い " * 200 + "[red]no markup[/red]"
        ),
    ),
    notable=(
        "the API: 429, throttled: all wait (98 rows)",
        "dead letter, unknown_key: scm.events[1]@7: Invalid value",
    ),
    status=STATUS,
)
ENDED = replace(
    RUNNING,
    line=replace(RUNNING.line, events=5125, finished=True),
    committed={0: 800, 1: 700},
    status=None,
)
MOMENTS = {"beginning": BEGINNING, "joining": JOINING, "running": RUNNING, "ended": ENDED}


def drawn(progress: Progress, width: int, height: int, encoding: str = "utf-8") -> list[str]:
    """Return the screen's lines as a terminal of that size and encoding gets them.

    Strict: fail at what it cannot show.
    """
    out = TextIOWrapper(BytesIO(), encoding=encoding, errors="strict")
    console = Console(
        file=out,
        force_terminal=True,
        width=width,
        height=height,
        record=True,
        legacy_windows=False,
        _environ={},
    )
    with Live(console=console, screen=True, auto_refresh=False) as live:
        live.update(frame(progress, console), refresh=True)
        console.print(frame(progress, console), height=height)
    return console.export_text().splitlines()[-height:]


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize(("width", "height"), SIZES)
def test_each_moment_fits_the_screen_exactly(moment: str, width: int, height: int) -> None:
    lines = drawn(MOMENTS[moment], width, height)
    assert len(lines) == height
    assert {cell_len(line) for line in lines} == {width}
    assert lines[0].startswith("packaging line → Kafka → scm-consumer → Scantrust API")
    assert " published " in lines[-1]


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_what_happens_now_is_on_the_screen_at_every_size(width: int, height: int) -> None:
    text = "\n".join(drawn(RUNNING, width, height))
    for word in (
        *STATIONS,
        "02 May 02:12",  # the line's own clock
        "790",  # read of partition 0
        "640",  # committed of it
        "━  230",  # a lane
        "in flight: 100, 38",
        "wait: 38 retry, 12 earlier row, 100 lost",
        "API 200:12 400:3 429:1 503:2 lost:2",
        "applied, answer lost",
        "418",
        "accepted, 98 sent again",
        "dead letters: 3, unknown_key 2, key_blank 1",
        "value_too_long",
        "scm.events[0]@9",  # a blank key says nothing: its place does
        "1,500 of 5,125 published   1,190 settled   1,234 rows applied   3 dead letters",
        "6.4 s",
    ):
        assert word[:36] in text, text  # cut where half a screen ends


def test_on_an_ascii_terminal_everything_is_ascii() -> None:
    lines = drawn(RUNNING, 100, 30, encoding="ascii")
    assert all(line.isascii() for line in lines)
    assert lines[0].startswith("packaging line -> Kafka -> scm-consumer")
    assert any("#####" in line for line in lines)


@pytest.mark.parametrize(("width", "height"), [(60, 24), (80, 12), (20, 5)])
def test_a_terminal_that_is_too_small_shows_the_totals(width: int, height: int) -> None:
    text = "\n".join(drawn(RUNNING, width, height))
    assert "1,500 of 5,125"[:width] in text
    assert "coder" not in text


def test_the_log_tells_how_far_it_is_once_a_second_and_what_is_new_once(
    capsys: pytest.CaptureFixture[str],
) -> None:
    tell = shown.Plain()
    for step in range(11):
        tell(replace(RUNNING, seconds=6.4 + step / 5, notable=RUNNING.notable[: step + 1]))
    told = capsys.readouterr()
    assert told.out == ""
    lines = told.err.splitlines()
    assert [line for line in lines if "events published" in line] == [
        f" {seconds} s: 1,500 of 5,125 events published, 660 committed, 1,234 rows applied, "
        "3 dead letters; "
        "answers: 200 12, 400 3, 429 1, 503 2, none 2"
        for seconds in ("6.4", "7.4", "8.4")
    ]
    assert [line for line in lines if "events published" not in line] == [
        f" 6.4 s: {RUNNING.notable[0]}",
        f" 6.6 s: {RUNNING.notable[1]}",
    ]


def test_the_log_tells_the_end_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    tell = shown.Plain()
    tell(RUNNING)
    tell(replace(ENDED, seconds=6.6))
    assert "6.6 s: 5,125 of 5,125 events published, 1,500 committed" in capsys.readouterr().err


@pytest.mark.parametrize("environment", [{"TERM": "dumb"}, {}])
def test_no_screen_where_nothing_could_be_drawn(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]
) -> None:
    terminal = bool(environment)
    monkeypatch.setattr(
        shown,
        "Console",
        lambda **_: Console(file=StringIO(), force_terminal=terminal, _environ=environment),
    )
    with shown.shown() as tell:
        assert isinstance(tell, shown.Plain)
