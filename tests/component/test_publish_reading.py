"""Reading the file to publish: kinds, separators, quotes, line numbers, and no table at all."""

from __future__ import annotations

import csv
from io import BufferedReader, BytesIO
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from consumer.core.model import InvalidEvent
from consumer.errors import UserError
from consumer.publish.header import Wanted
from consumer.publish.lines import BEGIN, MAX_LINE, json_lines, kind_of_file, refuse_other_files
from consumer.publish.table import Table

HEADER = "extended_id,market\n"


def stream(content: str | bytes) -> BufferedReader:
    raw = content.encode() if isinstance(content, str) else content
    return BufferedReader(BytesIO(raw))


def table(content: str | bytes) -> Table:
    return Table(stream(content), Wanted("extended_id"))


def read(content: str | bytes) -> list[tuple[int, Any]]:
    """Return the lines of a table; a bad one as its reason and message."""
    return [
        (line, (cells.reason, cells.message) if isinstance(cells, InvalidEvent) else cells)
        for line, cells in table(content)
    ]


def problem(content: str | bytes) -> str:
    with pytest.raises(UserError) as raised:
        table(content)
    assert "\n" not in str(raised.value)
    return str(raised.value)


@pytest.mark.parametrize("begin", [b"", b"\xef\xbb\xbf"], ids=["no mark", "byte order mark"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_a_table_is_read_with_each_separator_line_end_and_mark(
    begin: bytes, end: str, separator: str
) -> None:
    lines = [["extended_id", "market", "size"], ["A1", "cn", "1"], ["A2", "", "001"]]
    found = table(begin + "".join(separator.join(line) + end for line in lines).encode())
    assert found.names == lines[0]
    assert found.separator == separator
    assert list(found) == [(2, lines[1]), (3, lines[2])]


def test_the_separator_is_the_one_that_leaves_the_data_key_a_name_of_its_own() -> None:
    """A name may hold another separator, and more of them than there are columns."""
    assert table('extended_id;"a, b, c, d"\nA;1\n').names == ["extended_id", "a, b, c, d"]


def test_cells_are_kept_exactly() -> None:
    cells = ["A1", " 001 ", "1e5", "ÄÖ\u3000", "'x'"]
    assert read("extended_id,a,b,c,d\n" + ",".join(cells) + "\n") == [(2, cells)]


def test_quoted_cells_hold_separators_quotes_and_line_breaks_which_count_as_lines() -> None:
    content = 'extended_id,note\n"A1","a,""b""\r\nc\n"\nA2,x\n\nA3,"1\n2\n3"\nA4,y\n'
    assert read(content) == [
        (2, ["A1", 'a,"b"\r\nc\n']),
        (5, ["A2", "x"]),
        (7, ["A3", "1\n2\n3"]),
        (10, ["A4", "y"]),
    ]


def test_a_line_without_an_end_is_the_last_one() -> None:
    assert read(HEADER + "A1,cn") == [(2, ["A1", "cn"])]


def test_lines_without_any_value_are_skipped() -> None:
    assert read("\n  \n" + HEADER + "\nA1,cn\n   \n,\n,,,\nA2,de\n\n") == [
        (5, ["A1", "cn"]),
        (9, ["A2", "de"]),
    ]


def test_a_line_with_more_or_fewer_cells_than_the_header_is_told_and_the_next_one_read() -> None:
    assert read(HEADER + "A1\nA2,cn,x\nA3,cn\n") == [
        (2, ("undecodable", "the line has 1 cell, but the header has 2")),
        (3, ("undecodable", "the line has 3 cells, but the header has 2")),
        (4, ["A3", "cn"]),
    ]


def test_a_line_that_is_not_utf_8_is_told_and_the_next_one_read() -> None:
    content = HEADER.encode() + "A1,münchen\n".encode("latin-1") + b'A2,"x\n\xff\n"\nA3,cn\n'
    assert read(content) == [
        (2, ("undecodable", "the text is not UTF-8")),
        (3, ("undecodable", "the text is not UTF-8 (up to line 5)")),
        (6, ["A3", "cn"]),
    ]


def test_text_after_a_closing_quotation_mark_costs_its_line_only() -> None:
    (bad, (line, cells)) = read(HEADER + 'A1,"5" nail"\nA2,cn\n')
    assert bad[0] == 2
    assert bad[1][0] == "undecodable"
    assert "write the mark twice" in bad[1][1]
    assert (line, cells) == (3, ["A2", "cn"])


def test_a_quotation_mark_in_the_middle_of_a_cell_is_text() -> None:
    assert read(HEADER + 'A1,5" nail\n') == [(2, ["A1", '5" nail'])]


def test_a_quotation_mark_that_is_never_closed_is_told_with_the_lines_it_took() -> None:
    """Else the rest of the file would be published as one cell, or as nothing."""
    assert read(HEADER + 'A1,cn\nA2,"cn\nA3,cn\n') == [
        (2, ["A1", "cn"]),
        (3, ("undecodable", "a quotation mark opens a cell and is never closed (up to line 4)")),
    ]
    found = read(HEADER + 'A1,"cn\n' + "A2,cn\n" * 50_000)
    assert found[0][1] == (
        "undecodable",
        "a cell is longer than 131,072 characters; does a quotation mark open it that is never "
        "closed? (up to line 21847)",
    )
    assert found[1:] == [(line, ["A2", "cn"]) for line in range(21_848, 50_003)]


@given(
    st.lists(
        st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=3, max_size=3).filter(
            any
        ),
        max_size=8,
    ),
    st.sampled_from([",", ";", "\t"]),
)
def test_whatever_a_spreadsheet_writes_is_read_back_with_its_line(
    rows: list[list[str]], separator: str
) -> None:
    """Every cell is quoted, as by the strictest writers; lines are counted by their line feeds."""
    # Lines that fit the table in a cell are taken for what a stray mark has swallowed.
    assume(not any("\n" in row[0] for row in rows))
    assume(
        not any(
            "\n" in cell and cell.count(separator) == 2 * cell.count("\n")
            for row in rows
            for cell in row
        )
    )
    content = separator.join(["extended_id", "b", "c"]) + "\r\n"
    expected = []
    for row in rows:
        expected.append((content.count("\n") + 1, row))
        content += separator.join('"' + cell.replace('"', '""') + '"' for cell in row) + "\r\n"
    assert read(content) == expected


@pytest.mark.parametrize(
    ("header", "words"),
    [
        ("", "the file is empty; its first line names the columns: extended_id"),
        ("\n \n", "the file is empty"),
        (b"\xef\xbb\xbf", "the file is empty"),
        ("Extended_ID,market\n", 'no column "extended_id", the data key'),
        ("A1,cn\nA2,cn\n", 'the header is: "A1", "cn"'),
        (
            "serial_number;market\n",
            "rename the column of the codes to that; if it is another key field",
        ),
        ("extended_id,market,market\n", 'the header names "market" 2 times'),
        ("extended_id,market,extended_id\n", 'the header names "extended_id" 2 times'),
        ("extended_id,,\n", "the header names no field to set"),
        ("extended_id,activation_status \n", 'another field than "activation_status"'),
        ("extended_id, market\n", '" market", which is another field than "market"'),
        ("extended_id,Product\n", 'another field than "product"'),
        ("extended_id,pro\u200bduct\n", 'another field than "product"'),
        ("Extended_ID ,market,market\n", 'the header names "market" 2 times'),
        ("extended_id\nA1\n", "the header names no field to set"),
        (b"extended_id,m\xfcnchen\n", "the header cannot be read: the text is not UTF-8"),
        ('extended_id,"a\n', "the header cannot be read: a quotation mark"),
        (",".join(f"c{n}" for n in range(200)) + "\n", "and 188 more"),
    ],
)
def test_a_header_that_lines_cannot_be_read_by_is_told_with_what_is_expected(
    header: str | bytes, words: str
) -> None:
    assert words in problem(header)


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("first", ["sep={}\n", '"sep={}"\r\n', "\nSEP={}\n"])
def test_a_first_line_that_names_the_separator_is_obeyed(first: str, separator: str) -> None:
    """Also where the header alone would suggest another one."""
    header = separator.join(["extended_id", "market", "a,b,c;d"])
    content = f"{first.format(separator)}{header}\n{separator.join(['A1', 'c,n', 'x'])}\n"
    found = table(content)
    names = next(csv.reader([header], delimiter=separator))
    assert (found.separator, found.names) == (separator, names)
    ((line, _),) = list(found)
    assert line == first.count("\n") + 2


def test_a_header_alone_is_a_table_without_lines() -> None:
    assert read(HEADER) == []


def test_a_file_without_line_breaks_is_refused_before_it_fills_the_memory() -> None:
    endless = (HEADER + "A1,cn\n").encode() + b"x" * (MAX_LINE + 1)
    lines = iter(table(endless))
    assert next(lines) == (2, ["A1", "cn"])
    with pytest.raises(UserError, match=r"line 3 is longer than 1,048,576 bytes"):
        next(lines)
    with pytest.raises(UserError, match="line 1 is longer"):
        list(json_lines(stream(b"[" + b"1," * MAX_LINE)))


def test_json_lines_are_numbered_through_blank_ones_and_trimmed() -> None:
    content = b'\xef\xbb\xbf{"a": 1}\r\n\n  \n {"b": 2} \nnot json'
    assert list(json_lines(stream(content))) == [
        (1, b'{"a": 1}'),
        (4, b'{"b": 2}'),
        (5, b"not json"),
    ]
    assert list(json_lines(stream(b""))) == []


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("a.csv", b"{", "csv"),
        ("a.TSV", b"{", "csv"),
        ("a.ndjson", b"a,b", "ndjson"),
        ("a.jsonl", b"", "ndjson"),
        ("-", b'{"extended_id": 1}', "ndjson"),
        ("-", b'\xef\xbb\xbf\n  {"a": 1}', "ndjson"),
        ("a.json", b'[{"a": 1}]', "ndjson"),
        ("a.txt", b"extended_id;a\n{", "csv"),
        ("-", b"", "csv"),
    ],
)
def test_the_kind_is_told_by_the_ending_else_by_the_first_character(
    name: str, content: bytes, kind: str
) -> None:
    opened = stream(content)
    assert kind_of_file(name, opened) == kind
    assert opened.read() == content, "nothing is taken from the file"


WINDOWS = "extended_id;market\nA1;münchen\n".encode("cp1252")


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.csv", WINDOWS, "line 2 is not UTF-8: save it as UTF-8 (in Excel: CSV UTF-8)"),
        ("a.csv", b"extended_id,m\xfc\n", "line 1 is not UTF-8"),
        ("a.csv", HEADER.encode() + b"A1,cn\n" * 10_000 + WINDOWS, "line 10003 is not UTF-8"),
        ("a.ndjson", b'{"extended_id": "A1", "a": "\xfc"}\n', "line 1 is not UTF-8"),
        ("a.ndjson", '{"extended_id": "A1"}'.encode("utf-16"), "the file is UTF-16, not UTF-8"),
        ("a.json", '{"extended_id": "A1"}'.encode("utf-16"), "the file is UTF-16, not UTF-8"),
        (
            "a.xlsx",
            b"PK\x03\x04\x14\x00",
            "an Excel workbook (or another ZIP file), not text: save it as CSV UTF-8",
        ),
        ("a.csv", b"PK\x03\x04\x14\x00", "an Excel workbook"),
        (
            "my shift.json",
            b'{\n  "extended_id": "A1"\n}\n',
            "one event a line; jq -c . 'my shift.json' makes that",
        ),
        (
            "a.json",
            b'{"extended_id": "A1",\n "a": "1"}\n{"extended_id": "A2",\n "a": "1"}',
            "jq -c . a.json makes that",
        ),
        ("a.json", b"{\n" + b'"a": 1,\n' * 10_000, "jq -c . a.json makes that"),
        (
            "a.json",
            b'\xef\xbb\xbf\n[{"extended_id": "A1"}]',
            "a JSON list, but publish reads one event a line; jq -c '.[]' a.json",
        ),
        ("standard input", b"[\n", "jq -c '.[]' makes that"),
    ],
)
def test_a_file_that_is_no_such_list_of_events_is_refused_before_anything_is_read(
    name: str, content: bytes, words: str
) -> None:
    opened: BufferedReader = BufferedReader(BytesIO(content), BEGIN)
    with pytest.raises(UserError) as raised:
        refuse_other_files(name, opened, kind_of_file(name, opened))
    assert words in str(raised.value)
    assert opened.read() == content


@pytest.mark.parametrize(
    ("name", "content"),
    [
        (
            "a.csv",
            HEADER.encode() + b"A1,cn\n" * 20_000 + WINDOWS,
        ),  # far behind: a matter of that line
        (
            "a.csv",
            b"x" * (BEGIN - 1) + "ü".encode(),
        ),  # a character across the end of what is inspected
        ("a.csv", b"extended_id,a\n{,[\n"),
        ("a.ndjson", b'{"extended_id": "A1", "a": "1"}\n{"extended_id": "A2"}\n'),
        (
            "a.ndjson",
            b'{"extended_id": "A1", "a": \n{"extended_id": "A2"}\n',
        ),  # a broken line, the others may be good
        ("a.ndjson", b"\n\n"),
        ("-", b""),
    ],
)
def test_a_file_that_may_hold_events_is_left_as_it_is(name: str, content: bytes) -> None:
    opened: BufferedReader = BufferedReader(BytesIO(content), BEGIN)
    refuse_other_files(name, opened, kind_of_file(name, opened))
    assert opened.read() == content


def test_columns_without_a_name_are_passed_over_if_nothing_stands_in_them() -> None:
    found = table("extended_id,,market, \nA1,,cn,\nA2, ,de,\nA3,,fr,x\n,,,\n")
    assert found.names == ["extended_id", "market"]
    (first, second, (line, bad)) = list(found)
    assert (first, second) == ((2, ["A1", "cn"]), (3, ["A2", "de"]))
    assert (line, isinstance(bad, InvalidEvent)) == (4, True)
    assert isinstance(bad, InvalidEvent)
    assert bad.message == 'cell 4 is "x", and its column has no name'


@pytest.mark.parametrize(("taken", "words"), [(1, "line 3 "), (3, "lines 3 to 5 ")])
def test_lines_that_a_stray_quotation_mark_swallows_are_named(taken: int, words: str) -> None:
    lines = ["AAAA1111,1"] * taken
    found = read('extended_id,market\nA1,"cn\n' + "\n".join(lines) + '"\nA9,de\n')
    assert found[1:] == [(taken + 3, ["A9", "de"])]
    assert found[0] == (
        2,
        ("undecodable", f"a quotation mark opens a cell that takes {words}with it"),
    )


def test_all_that_is_wrong_with_a_header_is_told_at_once() -> None:
    told = problem("code,Product,market,market,status \n")
    for words in ("no column", '"Product"', '"market" 2 times', '"status "'):
        assert words in told


@pytest.mark.parametrize(
    ("header", "cells"),
    [
        ("extended_id,note\n", ["A1", "Street 1\nBerlin, Germany"]),
        ("extended_id,a,note\n", ["A1", "x", "one, two, three\nfour, five, six"]),
        ("extended_id,a,note\n", ["A1", "x", "1,2\n3,4"]),
        ("extended_id,note,a,b\n", ["A1", "L1,2,3\nL2,3,4", "x", "y"]),
        ("note,extended_id\n", ["a, b\nc", "A1"]),
        ("extended_id,note\n", ["A1", "\n, ,\n"]),
    ],
)
def test_a_cell_of_several_lines_that_are_no_lines_of_the_table_is_read(
    header: str, cells: list[str]
) -> None:
    quotes = ",".join(f'"{cell}"' for cell in cells)
    assert read(f"{header}{quotes}\n") == [(2, cells)]


@pytest.mark.parametrize(
    ("header", "lines"),
    [
        ("extended_id,a\n", 'A1,"x\nA2,y"\n'),
        ("extended_id,a,b\n", 'A1,"x,1\nA2,y",2\n'),
        ("extended_id,a,b\n", 'A1,x,"1\r\nA2,y,2\r\nA3,z,3"\r\n'),
        ("a,extended_id\n", 'x,"A1\ny,A2"\n'),
        ("extended_id,a\n", '"A1,x\nA2",y\n'),
        ("extended_id\n", '"A1\nA2"\n'),
    ],
)
def test_lines_that_fit_the_table_in_a_cell_are_what_a_stray_mark_has_swallowed(
    header: str, lines: str
) -> None:
    ((number, bad),) = list(
        Table(stream(header + lines), Wanted("extended_id", constants={"z": "1"}))
    )
    assert number == 2
    assert isinstance(bad, InvalidEvent)
    assert "a quotation mark opens a cell that takes line" in bad.message


def test_empty_cells_behind_the_last_column_are_passed_over() -> None:
    """A spreadsheet writes as many cells as its longest line has."""
    assert read(HEADER + "A1,cn,,\nA2,de, \nA3,fr,,x\n,,,,\n") == [
        (2, ["A1", "cn"]),
        (3, ["A2", "de"]),
        (4, ("undecodable", "the line has 4 cells, but the header has 2")),
    ]


@pytest.mark.parametrize("form", ["utf-16-le", "utf-16-be"])
def test_the_unicode_text_of_excel_is_read(form: str) -> None:
    text = "\ufeffextended_id\tmarket\r\nA1\tmünchen\r\nA2\t\r\nA3\t\U0001f600\r\n"
    opened: BufferedReader = BufferedReader(BytesIO(text.encode(form)), BEGIN)
    kind = kind_of_file("codes.txt", opened)
    assert kind == "csv"
    refuse_other_files("codes.txt", opened, kind)
    found = Table(opened, Wanted("extended_id"))
    assert list(found) == [(2, ["A1", "münchen"]), (3, ["A2", ""]), (4, ["A3", "\U0001f600"])]


def test_utf_16_that_breaks_off_says_where() -> None:
    raw = "extended_id\tmarket\r\nA1\tcn\r\n".encode("utf-16") + b"A"
    with pytest.raises(UserError, match="what follows line 2 is not UTF-16"):
        list(table(raw))


@pytest.mark.parametrize("name", ["a.csv", "a.txt", "a.ndjson"])
def test_utf_16_without_its_mark_is_refused_by_name(name: str) -> None:
    for form in ("utf-16-le", "utf-16-be"):
        opened: BufferedReader = BufferedReader(BytesIO("extended_id,a\nA1,x\n".encode(form)))
        with pytest.raises(UserError, match="UTF-16 without a byte order mark"):
            refuse_other_files(name, opened, kind_of_file(name, opened))
