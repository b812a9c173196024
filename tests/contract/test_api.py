"""What each answer of the API comes to: the same from the real client and the sandbox as in the simulation.

What the core makes of a reply is what counts, so it is read by ``classify``, as the core reads it.
"""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from consumer.core.model import Row
from consumer.core.uploading.classification import LineNumbers, Outcome, classify
from consumer.core.uploading.response import Reply
from consumer.core.verdict import Reading
from tests.contract.api import KEY, ApiSite, rows_of


def _outcome(rows: Sequence[Row], reply: Reply) -> Outcome:
    lines = LineNumbers()
    lines.learn(1, 0)  # as the guide says, and as an earlier error has shown
    return classify(KEY, list(rows), reply, lines=lines)


def _rejected(outcome: Outcome) -> dict[str | None, str]:
    return {row.value: why.reason for row, why in outcome.rejected}


def test_an_accepted_window_lists_every_row_with_its_fields_and_counts_the_codes(api: ApiSite) -> None:
    rows = rows_of("A", "B", "C")
    reply = api.upload(rows)
    assert (reply.status, reply.sent, reply.retry_after) == (200, True, None)
    assert reply.document["items"] == {"A": ["tag"], "B": ["tag"], "C": ["tag"]}
    assert reply.document["codes_affected"] == 3
    outcome = _outcome(rows, reply)
    assert (outcome.reading, outcome.missing, outcome.unlisted) == (Reading.ACCEPTED, [], {})
    assert api.applied() == ["A", "B", "C"]


@pytest.mark.parametrize(
    ("trouble", "statuses", "reading"),
    [
        ("unauthorized", {401}, Reading.UNAUTHORIZED),
        ("forbidden", {403}, Reading.REFUSED),
        ("moved", {404, 405, 301}, None),
        ("redirected", {301, 302, 404, 405}, None),
        ("down", {500, 502, 503, 504}, Reading.FAILED),
        ("busy", {408, 500, 502, 503, 504}, Reading.FAILED),
        ("throttle", {429}, Reading.THROTTLED),
        ("throttle without a time", {429}, Reading.THROTTLED),
    ],
)
def test_an_answer_that_refuses_or_puts_off_the_whole_request_applies_nothing(
    api: ApiSite, trouble: str, statuses: set[int], reading: Reading | None
) -> None:
    api.trouble(trouble)
    rows = rows_of("A", "B")
    reply = api.upload(rows)
    assert reply.status in statuses
    assert reply.sent, "the request reached the API"
    found = _outcome(rows, reply).reading
    assert found is reading or (reading is None and found in (Reading.REFUSED, Reading.UNEXPECTED))
    assert api.applied() == []


def test_a_time_to_wait_is_told_in_seconds_or_not_at_all(api: ApiSite) -> None:
    api.trouble("throttle")
    assert {api.upload(rows_of("A")).retry_after for _ in range(20)} <= {None, 0.0, 0.5, 2.0, 5.0}


def test_what_is_not_the_documented_answer_is_read_as_that(api: ApiSite) -> None:
    api.trouble("garbage")
    rows = rows_of("A")
    for _ in range(5):
        reply = api.upload(rows)
        assert reply.status in (200, 302)
        assert _outcome(rows, reply).reading is Reading.UNEXPECTED


@pytest.mark.parametrize(("trouble", "applied"), [("reset", []), ("answer lost", ["A", "B"])])
def test_without_an_answer_nobody_knows_whether_it_was_applied(api: ApiSite, trouble: str, applied: list[str]) -> None:
    api.trouble(trouble)
    rows = rows_of("A", "B")
    reply = api.upload(rows)
    assert reply.sent, "I2: a call that may take effect later is told as never sent: it could overwrite a later row"
    assert (reply.status, reply.document) == (None, None)
    assert reply.error
    assert _outcome(rows, reply).reading is Reading.LOST
    assert api.applied() == applied


def test_a_lost_call_may_take_effect_after_it_was_given_up(api: ApiSite) -> None:
    api.trouble("late")
    rows = rows_of("A")
    reply = api.upload(rows)
    assert (reply.status, reply.sent) == (None, True)
    assert api.applied() == [], "not yet"
    api.wait_until(lambda: api.applied() == ["A"], "it takes effect late")


def test_a_call_that_found_no_connection_is_known_not_to_have_been_sent(api: ApiSite) -> None:
    api.trouble("no connection")
    rows = rows_of("A")
    reply = api.upload(rows)
    assert (reply.status, reply.sent) == (None, False)
    assert reply.error
    assert _outcome(rows, reply).reading is Reading.UNSENT
    assert api.applied() == []


def test_a_call_whose_time_to_start_has_passed_is_not_sent(api: ApiSite) -> None:
    rows = rows_of("A")
    reply = api.upload(rows, too_late=True)
    assert (reply.status, reply.sent) == (None, False), "fencing: a request begins too late"
    assert api.applied() == []
    assert api.upload(rows).status == 200


@pytest.mark.parametrize(
    ("told", "named"),
    [
        ("all named", {"UNKNOWN1": "unknown_key", "UNKNOWN2": "unknown_key"}),
        ("first named", {"UNKNOWN1": "unknown_key"}),
        ("named by line", {"UNKNOWN1": "unknown_key", "UNKNOWN2": "unknown_key"}),
        ("none named", {}),
    ],
)
def test_a_400_names_rows_by_key_or_line_or_not_at_all_and_applies_nothing(
    api: ApiSite, told: str, named: dict[str, str]
) -> None:
    api.trouble(told)
    rows = rows_of("A", "UNKNOWN1", "B", "UNKNOWN2")
    reply = api.upload(rows)
    assert (reply.status, reply.sent) == (400, True)
    outcome = _outcome(rows, reply)
    assert outcome.reading is (Reading.ROWS_NAMED if named else Reading.NONE_NAMED)
    assert _rejected(outcome) == named
    if named:
        assert [row.value for row in outcome.others] == [row.value for row in rows if row.value not in named]
    assert api.applied() == []


@pytest.mark.parametrize(
    ("bad", "reading"),
    [("HUGE", Reading.TOO_LARGE), ("WALLED", Reading.REFUSED), ("CURSED", Reading.FAILED)],
)
def test_a_window_is_refused_for_one_of_its_rows_without_naming_it(api: ApiSite, bad: str, reading: Reading) -> None:
    api.trouble(bad)
    rows = rows_of("A", bad)
    outcome = _outcome(rows, api.upload(rows))
    assert outcome.reading is reading
    assert not outcome.rejected
    assert api.applied() == []
    assert _outcome(rows[:1], api.upload(rows[:1])).reading is Reading.ACCEPTED


def test_a_200_may_leave_out_a_row_that_it_did_not_apply(api: ApiSite) -> None:
    api.trouble("omitted, not applied")
    rows = rows_of("A", "B")
    reply = api.upload(rows)
    outcome = _outcome(rows, reply)
    assert outcome.reading is Reading.ACCEPTED
    assert reply.document["codes_affected"] == 1
    (missing,) = outcome.missing
    assert api.applied() == [row.value for row in rows if row is not missing]


@pytest.mark.parametrize(("trouble", "statuses"), [("unauthorized", {401}), ("down", {500, 502, 503, 504})])
def test_asking_who_we_are_tells_of_the_token_and_of_an_outage(api: ApiSite, trouble: str, statuses: set[int]) -> None:
    assert api.me().status == 200
    api.trouble(trouble)
    assert api.me().status in statuses


def test_asking_who_we_are_passes_while_uploading_is_forbidden(api: ApiSite) -> None:
    api.trouble("forbidden")
    assert api.me().status == 200
    assert api.upload(rows_of("A")).status == 403
