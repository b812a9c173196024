"""The view: figures, tables and curves in words, bounded, from any document."""

from __future__ import annotations

from typing import Any

import pytest

from consumer.ops.view.document import read
from consumer.ops.view.headline import Tone
from consumer.ops.view.model import Figure, View, view_of
from consumer.ops.view.tables import MAX_ITEMS, MAX_PARTITIONS, Table
from tests.support import status_samples
from tests.support.status_samples import SAMPLES, Document, oldest, partition


def view(document: Document) -> View:
    return view_of(read(document))


def figures(document: Document) -> dict[str, Figure]:
    return {figure.name: figure for figure in view(document).figures}


def texts(table: Table) -> list[tuple[str, ...]]:
    return [tuple(cell.text for cell in row) for row in table.rows]


@pytest.mark.parametrize("sample", SAMPLES)
def test_each_sample_gives_a_view_whose_rows_fit_their_columns(sample: str) -> None:
    shown = view(SAMPLES[sample]())
    for table in (shown.partitions, shown.offsets, shown.outcomes, *shown.rejections):
        assert all(len(row) == len(table.columns) for row in table.rows)
        assert table.numbers <= set(table.columns)


@pytest.mark.parametrize("sample", SAMPLES)
def test_whatever_is_absent_is_left_out_and_nothing_fails(sample: str) -> None:
    document = SAMPLES[sample]()
    for name in list(document):
        view({key: value for key, value in document.items() if key != name})
    assert view({}).headline.word == "unknown"


def test_a_document_of_before_lag_and_troubles_has_a_view() -> None:
    document = status_samples.healthy()
    for name in ("lag", "troubles", "advice", "history", "rejections", "phase"):
        del document[name]
    for each in document["partitions"]:
        for name in ("lag_seconds", "begin", "pauses", "oldest"):
            del each[name]
    shown = figures(document)
    assert shown["Behind"].value == "104", "summed up"
    assert shown["Time lag"].value == "–"  # noqa: RUF001


# -- figures -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lag", "name", "value", "tone"),
    [
        ({"backlog_eta_seconds": 721.0}, "Gone in", "about 12 min", Tone.QUIET),
        ({"backlog_eta_seconds": None, "growing": True}, "Gone in", "growing", Tone.WARN),
        ({"backlog_eta_seconds": None}, "Gone in", "not known", Tone.QUIET),
        ({"records": 0}, "Backlog", "none", Tone.QUIET),
    ],
)
def test_when_the_backlog_is_gone_is_told_in_words(
    lag: dict[str, Any], name: str, value: str, tone: Tone
) -> None:
    document = status_samples.healthy()
    document["lag"] |= {"records": 5_000} | lag
    shown = figures(document)[name]
    assert (shown.value, shown.tone) == (value, tone)


def test_what_waits_for_its_oldest_record_is_not_called_gone() -> None:
    document = status_samples.poison_row()
    document["lag"] |= {"backlog_eta_seconds": 0.3}
    shown = figures(document)["Gone in"]
    assert (shown.value, shown.tone) == ("not known", Tone.WARN)


def test_a_time_lag_that_is_known_of_some_partitions_is_told_as_the_least() -> None:
    document = status_samples.backlog()
    document["lag"]["seconds"] = None
    document["partitions"][1]["lag_seconds"] = None
    shown = figures(document)["Time lag"]
    assert (shown.value, shown.note) == ("25 min", "at least: in 1 partition it is not known")


def test_a_time_lag_beyond_the_target_stands_out() -> None:
    document = status_samples.healthy()
    document["lag"] |= {"seconds": 301.0, "target_seconds": 300}
    assert figures(document)["Time lag"].tone is Tone.WARN
    document["lag"]["seconds"] = 299.0
    assert figures(document)["Time lag"].tone is Tone.QUIET


@pytest.mark.parametrize(
    ("api", "value", "note"),
    [
        ({"blocked": "unauthorized", "blocked_seconds": 184.0}, "paused", "unauthorized, for 3"),
        ({"failing_seconds": 20.0, "last_error": "HTTP 503"}, "failing", "for 20 s: HTTP 503"),
        ({"failing_seconds": 1.0, "last_error": "HTTP 503"}, "yes", "at most 9.5 requests"),
        ({"circuit": True}, "probing", "one request at a time"),
        ({"throttled_for_seconds": 7.0}, "throttled", "no request for 7.0 s"),
        ({"budget": None}, "yes", "no limit"),
    ],
)
def test_whether_it_uploads_is_told_with_why(api: dict[str, Any], value: str, note: str) -> None:
    document = status_samples.healthy()
    document["api"] |= api
    shown = figures(document)["Uploading"]
    assert shown.value == value
    assert shown.note.startswith(note)


# -- partitions ----------------------------------------------------------------------------------


@pytest.mark.parametrize("lag", [0, None])
def test_a_partition_out_of_range_never_reads_behind_0(lag: int | None) -> None:
    document = status_samples.partition_out_of_range()
    document["partitions"][1]["lag"] = lag
    shown = view(document)
    first = shown.partitions.rows[0]
    assert [cell.text for cell in first[:4]] == [
        "factory.events[1]",
        "not known",
        "–",  # noqa: RUF001
        "stopped: out of range",
    ]
    assert first[3].note == "stopped: its committed offset is gone from the log"
    assert "in 1 partition where it is not known" in figures(document)["Behind"].note


def test_a_stopped_partition_whose_lag_is_known_tells_it() -> None:
    document = status_samples.partition_out_of_range()
    document["partitions"][1]["lag"] = 40_933
    assert view(document).partitions.rows[0][1].text == "40,933"


def test_five_hundred_partitions_are_bounded_with_the_worst_first() -> None:
    shown = view(status_samples.many_partitions(500))
    for table in (shown.partitions, shown.offsets):
        assert len(table.rows) == MAX_PARTITIONS == 40
        assert table.more == "and 460 more"
        assert table.rows[0][0].text == "factory.events[321]"


def test_stopped_comes_before_late_and_late_before_paused() -> None:
    document = status_samples.healthy()
    document["partitions"] = [
        partition(0),
        partition(1, pauses=["a schema is awaited"], paused=True),
        partition(2, lag_seconds=500.0),
        partition(3, stopped="out_of_range", lag_seconds=None),
    ]
    assert [row[0] for row in texts(view(document).partitions)] == [
        f"factory.events[{number}]" for number in (3, 2, 1, 0)
    ]


def test_why_a_partition_is_not_read_is_told() -> None:
    document = status_samples.healthy()
    document["partitions"] = [
        partition(0, pauses=["its settled map has no room", "it is over quota"], paused=True),
        partition(1, paused=True),
        partition(2),
    ]
    reading = [(row[3].text, row[3].tone) for row in view(document).partitions.rows]
    assert reading == [
        ("its settled map has no room; it is over quota", Tone.WARN),
        ("paused", Tone.WARN),
        ("yes", Tone.QUIET),
    ]


def test_the_oldest_record_tells_its_place_its_age_and_what_it_waits_for() -> None:
    document = status_samples.poison_row()
    cell = view(document).partitions.rows[0][4]
    assert cell.text == document["partitions"][2]["oldest"]["message"]
    assert cell.note == "offset 361184, unsettled for 3 min, extended_id HGDT…EEDFS"


def test_the_oldest_record_without_a_sentence_gets_one() -> None:
    document = status_samples.healthy()
    found = oldest(
        7,
        unsettled_seconds=60.0,
        message="",
        waits_for="earlier_row",
        behind="factory.events[3]@9",
        attempts=17,
        retry_in_seconds=8.0,
        last_response="HTTP 500",
    )
    document["partitions"] = [partition(0, oldest=found)]
    cell = view(document).partitions.rows[0][4]
    assert cell.text == "an earlier row of its code comes first"
    assert cell.note == (
        "offset 7, unsettled for 60 s, extended_id HGDT…EEDFS, behind factory.events[3]@9, "
        "sent 17 times, again in 8.0 s, last answer HTTP 500"
    )


def test_a_record_that_is_just_on_its_way_is_not_told_of() -> None:
    assert {row[4] for row in texts(view(status_samples.healthy()).partitions)} == {"–"}  # noqa: RUF001


# -- rejections, the API, rows at work ---------------------------------------------------------


def test_rejections_are_told_by_reason_with_the_commonest_messages_and_the_latest() -> None:
    shown = view(status_samples.rejections())
    assert shown.rejected == "52 rows in the last 15 min."
    reasons, messages, latest = shown.rejections
    assert texts(reasons) == [("rejected by api", "50"), ("unknown key", "2")]
    assert texts(messages) == [("Product with sku PRD-9 does not exist", "rejected by api", "50")]
    assert len(latest.rows) == 10
    assert texts(latest)[0][1:3] == ("factory.events[3]@361000", "HGDT…EEDFS")
    assert latest.rows[0][3].note == "HTTP 400"
    assert latest.rows[0][4].note == "field product"


def test_without_rejections_there_is_one_line() -> None:
    shown = view(status_samples.healthy())
    assert (shown.rejected, shown.rejections) == ("None in the last 15 min.", [])


def test_what_the_api_said_last_is_told() -> None:
    facts = {fact.name: fact for fact in view(status_samples.api_unauthorized()).api}
    assert facts["It said last"].value == "HTTP 401: Invalid token"
    assert facts["It said last"].tone is Tone.BAD
    assert facts["Paused for"].value == "3 min"
    assert facts["Budget"].value == "at most 9.5 requests a second"


def test_rows_at_work_are_told_by_what_they_wait_for() -> None:
    document = status_samples.healthy()
    document["rows"] |= {
        "parked": {"retry": 0, "unknown_key": 3},
        "receipts_pending": 2,
        "fields_not_confirmed": {"Product": 5},
        "unconfirmed": 1,
    }
    document["awaiting_start"] = ["factory.events[9]"]
    facts = {fact.name: fact.value for fact in view(document).work}
    assert facts["Waiting: unknown key"] == "3"
    assert "Waiting: retry" not in facts
    assert facts["Receipts to be written"] == "2"
    assert facts["Field not confirmed: Product"] == "5"
    assert facts["Accepted and not confirmed"] == "1"
    assert facts["Awaits its start"] == "factory.events[9]"


def test_lists_of_names_are_bounded() -> None:
    document = status_samples.healthy()
    many = {f"name-{number}": 1 for number in range(50)}
    document["rows"]["fields_not_confirmed"] = many
    document["awaiting_start"] = list(many)
    document["rejections"]["by_reason"] = many
    document["requests"]["outcomes"] = many
    shown = view(document)
    assert len(shown.work) < 3 * MAX_ITEMS
    assert len(shown.outcomes.rows) == len(shown.rejections[0].rows) == MAX_ITEMS
    assert shown.outcomes.more == "and 40 more"


def test_the_bar_of_records_is_whole() -> None:
    shares = view(status_samples.healthy()).ledger
    assert sum(share.width for share in shares) == pytest.approx(100, abs=0.01)
    assert shares[-1].begin + shares[-1].width == pytest.approx(100, abs=0.01)
    assert all(share.width == 0 for share in view(status_samples.joining()).ledger)
