"""Warnings of ``publish``: a line that would pass, and is most likely a mistake all the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from consumer.core.model import InvalidEvent
from consumer.publish.checking import JsonEvents
from consumer.publish.doubts import MOST_CODES, Doubt, SeenCodes, refuse_doubt
from consumer.publish.making import Making
from consumer.publish.table_events import TableEvents
from tests.component.test_publish_command import TABLE, run

MAKING = Making(
    format="auto",
    configured_key="extended_id",
    data_key="extended_id",
    date_fields=("made",),
    source="codes.csv",
)


def doubts(*lines: list[str], names: tuple[str, ...] = ("extended_id", "a")) -> list[Any]:
    """Return what is told of a table's lines: the line's number, the kind, and the message."""
    told: list[tuple[int, Doubt]] = []
    make = TableEvents(
        MAKING, list(names), lambda line, doubt: told.append((line, doubt)), empty_erases=False
    ).make
    for number, cells in enumerate(lines, 2):
        make(number, list(cells))
    return [(number, doubt.kind, doubt.message) for number, doubt in told]


@pytest.mark.parametrize(
    "cell",
    [
        *(
            "7.11.2026",
            "07.11.26",
            "11/7/2026",
            "07/11/26",
            "2026/11/07",
            "2026.11.7",
            "22-11-2026",
        ),
        *("2026-02-30", "2026-22-11", "2026-1-7", "2026-11-07 00:00:00", "07.11.2026 08:15"),
        *(
            "2026-11-22T23:30:00+08:00",
            "7-Nov-26",
            "22 November 2026",
            "Nov 7, 2026",
            "7. Dez. 2026",
        ),
        *("22NOV2026", "Nov-26", "1-Mar", "1. Mrz", "7 juil. 2026", "11/7/2026 8:15 AM"),
    ],
)
def test_what_looks_like_a_date_in_a_field_that_nobody_checks_is_told(cell: str) -> None:
    ((line, _, message),) = doubts(["A1", cell])
    assert line == 2
    assert "looks like a date" in message
    assert "YYYY-MM-DD" in message
    assert "events.date_fields" in message


@pytest.mark.parametrize(
    "cell",
    [
        *("2026-11-07", "1.2.3", "12-34-56", "192.168.0.1", "1/2", "45.6.2026.1", "Market 1"),
        *("May", "12 Marks", "1.2", "20261107", "12DEC", "8:15", "v1.2.26", "L-7.11.2026", ""),
    ],
)
def test_other_texts_are_no_dates(cell: str) -> None:
    assert doubts(["A1", cell, "x"], names=("extended_id", "a", "b")) == []


def test_a_code_that_looks_like_a_date_is_told_without_the_code() -> None:
    """A spreadsheet makes 1-Mar of the code MAR1."""
    ((_, _, message),) = doubts(["1-Mar", "x"])
    assert message.startswith("the key looks like a date")
    assert "1-Mar" not in message


def test_a_date_field_needs_no_warning_as_its_rule_refuses() -> None:
    with pytest.raises(InvalidEvent, match="made"):
        doubts(["A1", "7.11.2026"], names=("extended_id", "made"))


@pytest.mark.parametrize(
    ("cell", "lost"),
    [
        ("195060000000000000", True),
        ("1234567890123450", True),
        ("195060000000000098", False),
        ("123456789012345", False),
        ("100000000000000", False),
        ("N195060000000000000", False),
    ],
)
def test_a_number_that_has_no_more_digits_than_a_spreadsheet_keeps_is_told(
    cell: str, *, lost: bool
) -> None:
    for cells in ([cell, "x"], ["A1", cell]):
        told = doubts(cells)
        assert bool(told) == lost
        assert all("15 digits" in message for _, _, message in told)


def test_where_a_column_keeps_long_numbers_whole_zeros_at_the_end_are_the_code_s_own() -> None:
    told = doubts(["1234567890123456", "x"], ["1234567890123450", "x"], ["B1", "1234567890123450"])
    assert [(line, "digits" in message) for line, _, message in told] == [(4, True)]


def test_a_code_that_comes_twice_is_told_with_the_line_of_the_first() -> None:
    told = doubts(["A1", "x"], ["A2", "x"], ["A1", "y"], ["A1", "y"])
    assert [(line, message) for line, _, message in told] == [
        (4, "the code of line 2 comes once more"),
        (5, "the code of line 2 comes once more"),
    ]


def test_codes_that_come_twice_are_found_in_bounded_memory() -> None:
    seen = SeenCodes(most=100)
    assert [seen.line_of(f"A{n}", n) for n in range(1, 101)] == [None] * 100
    assert seen.line_of("A50", 101) == 50
    assert seen.line_of("B1", 102) is None
    assert seen.line_of("B1", 103) is None, "it is full, and remembers no more"
    assert seen.line_of("A100", 104) == 100
    assert MOST_CODES == 2**20, "as many lines as a sheet has"


def test_strict_refuses_what_is_else_warned_of() -> None:
    make = TableEvents(MAKING, ["extended_id", "a"], refuse_doubt, empty_erases=False).make
    make(2, ["A1", "x"])
    for number, cells in enumerate((["A1", "x"], ["A2", "7.11.2026"], ["A3 ", "x"]), 3):
        with pytest.raises(InvalidEvent) as raised:
            make(number, cells)
        assert raised.value.reason == "strict"
    with pytest.raises(InvalidEvent) as raised:
        JsonEvents(MAKING, refuse_doubt).make(1, b'{"extended_id": "A1 ", "a": "x"}')
    assert raised.value.reason == "strict"


def test_events_of_a_code_may_come_one_after_the_other() -> None:
    """Lines of JSON are events: packed, then shipped."""
    told: list[Any] = []
    make = JsonEvents(MAKING, lambda *doubt: told.append(doubt)).make
    make(1, b'{"extended_id": "A1", "a": "x"}')
    make(2, b'{"extended_id": "A1", "a": "7.11.2026"}')
    assert told == []


@pytest.mark.parametrize("key", ["A\u200b1", "\ufeffA1", "A1\u00ad"])
def test_an_invisible_character_in_a_key_is_refused_in_json_too(key: str) -> None:
    with pytest.raises(InvalidEvent, match="invisible character"):
        JsonEvents(MAKING, refuse_doubt).make(1, f'{{"extended_id":"{key}","a":"x"}}'.encode())


SHEET = TABLE.replace("product", "product,made") + "".join(
    f"A{n % 9},1,p,{'7.11.2026' if n else '2026-11-07'}\n" for n in range(12)
)


def test_warnings_are_told_by_line_and_counted_and_the_lines_are_published(tmp_path: Path) -> None:
    (tmp_path / "codes.csv").write_text(SHEET, encoding="utf-8")
    done = run(tmp_path, "codes.csv", "--dry-run")
    assert done.returncode == 0
    told = done.stderr.splitlines()
    assert told[0].startswith('line 3: warning: "made" is "7.11.2026": it looks like a date')
    assert told[1:4] == [
        f"line {line}: warning: the code of line {line - 9} comes once more"
        for line in (11, 12, 13)
    ]
    assert told[4:] == ['warning: 11 lines in all: "made" looks like a date']
    assert done.stdout.splitlines()[-1] == (
        "dry run: 12 of 12 lines would be published to scm.events; 0 refused; 14 warnings"
    )


def test_with_strict_they_are_refused_and_the_exit_code_is_1(tmp_path: Path) -> None:
    (tmp_path / "codes.csv").write_text(SHEET, encoding="utf-8")
    done = run(tmp_path, "codes.csv", "--dry-run", "--strict")
    assert done.returncode == 1
    assert done.stderr.splitlines()[0].startswith('line 3: strict: "made" is "7.11.2026"')
    assert done.stdout.splitlines()[-1] == (
        "dry run: 1 of 12 lines would be published to scm.events; 11 refused (strict 11)"
    )


def test_all_that_is_wrong_with_the_header_and_the_options_is_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "codes.csv").write_text("code,Product,market,,\nA1,p,cn,,\n", encoding="utf-8")
    done = run(
        tmp_path, "codes.csv", "--dry-run", "--key", "case", "--set", "market=de", "--set",
        "Activation_Status=1", "--set", "status=7",
    )  # fmt: skip
    assert done.returncode == 1
    (told,) = done.stderr.splitlines()
    for words in (
        'no column "extended_id"',
        'the header names "Product", which is another field than "product"',
        '--set names "market", which is a column',
        '--set names "Activation_Status", which is another field than "activation_status"',
        '--set: "status" is "7"; allowed: 0 (inactive)',
        'no column "case", which is to be the record\'s key (--key)',
    ):
        assert words in told


def test_three_hundred_codes_of_a_sheet_are_published_in_one_try(tmp_path: Path) -> None:
    """Empty columns, constants, Excel's semicolons, line ends and mark."""
    rows = "".join(f"CODE{n:012d};2026-11-07;;\r\n" for n in range(300))
    (tmp_path / "codes.csv").write_bytes(
        b"\xef\xbb\xbf" + f"extended_id;made;;\r\n{rows};;;\r\n".encode()
    )
    done = run(
        tmp_path, "codes.csv", "--dry-run", "--strict", "--set", "product=prod_1", "--set",
        "activation_status=1",
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert "300 of 300 lines" in done.stdout
