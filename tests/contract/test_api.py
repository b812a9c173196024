"""Each response of the API has its result.

The same from the real client and the sandbox as in the simulation.

What the core makes of a reply is what counts, so it is read by ``classify``, as the core reads it.
"""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from consumer.core.model import Row
from consumer.core.uploading.classification import LineNumbers, Outcome, classify
from consumer.core.uploading.response import Response
from consumer.core.verdict import Verdict
from tests.contract.api import KEY, ApiSite, rows_of


def _outcome(rows: Sequence[Row], response: Response) -> Outcome:
    lines = LineNumbers()
    lines.learn(1, 0)  # as the guide says, and as an earlier error has shown
    return classify(KEY, list(rows), response, lines=lines)


def _rejected(outcome: Outcome) -> dict[str | None, str]:
    return {row.value: why.reason for row, why in outcome.rejected}


def test_an_accepted_window_lists_every_row_with_its_fields_and_counts_the_codes(
    api: ApiSite,
) -> None:
    rows = rows_of("A", "B", "C")
    response = api.upload(rows)
    assert (response.status, response.sent, response.retry_after) == (200, True, None)
    assert response.document["items"] == {"A": ["tag"], "B": ["tag"], "C": ["tag"]}
    assert response.document["codes_affected"] == 3
    outcome = _outcome(rows, response)
    assert (outcome.verdict, outcome.missing, outcome.unlisted) == (Verdict.ACCEPTED, [], {})
    assert api.applied() == ["A", "B", "C"]


@pytest.mark.parametrize(
    ("trouble", "statuses", "verdict"),
    [
        ("unauthorized", {401}, Verdict.UNAUTHORIZED),
        ("forbidden", {403}, Verdict.REFUSED),
        ("moved", {404, 405, 301}, None),
        ("redirected", {301, 302, 404, 405}, None),
        ("down", {500, 502, 503, 504}, Verdict.FAILED),
        ("busy", {408, 500, 502, 503, 504}, Verdict.FAILED),
        ("throttle", {429}, Verdict.THROTTLED),
        ("throttle without a time", {429}, Verdict.THROTTLED),
    ],
)
def test_an_answer_that_refuses_or_puts_off_the_whole_request_applies_nothing(
    api: ApiSite, trouble: str, statuses: set[int], verdict: Verdict | None
) -> None:
    api.trouble(trouble)
    rows = rows_of("A", "B")
    response = api.upload(rows)
    assert response.status in statuses
    assert response.sent, "the request reached the API"
    found = _outcome(rows, response).verdict
    assert found is verdict or (verdict is None and found in (Verdict.REFUSED, Verdict.UNEXPECTED))
    assert api.applied() == []


def test_a_time_to_wait_is_told_in_seconds_or_not_at_all(api: ApiSite) -> None:
    api.trouble("throttle")
    assert {api.upload(rows_of("A")).retry_after for _ in range(20)} <= {None, 0.0, 0.5, 2.0, 5.0}


def test_what_is_not_the_documented_answer_is_read_as_that(api: ApiSite) -> None:
    api.trouble("garbage")
    rows = rows_of("A")
    for _ in range(5):
        response = api.upload(rows)
        assert response.status in (200, 302)
        assert _outcome(rows, response).verdict is Verdict.UNEXPECTED


@pytest.mark.promise("I2", "lost-answer")
@pytest.mark.parametrize(("trouble", "applied"), [("reset", []), ("answer lost", ["A", "B"])])
def test_without_an_answer_nobody_knows_whether_it_was_applied(
    api: ApiSite, trouble: str, applied: list[str]
) -> None:
    api.trouble(trouble)
    rows = rows_of("A", "B")
    response = api.upload(rows)
    assert response.sent, (
        "I2: a call that may take effect later is told as never sent: "
        "it could overwrite a later row"
    )
    assert (response.status, response.document) == (None, None)
    assert response.error
    assert _outcome(rows, response).verdict is Verdict.LOST
    assert api.applied() == applied


@pytest.mark.promise("lost-answer")
def test_a_lost_call_may_take_effect_after_it_was_given_up(api: ApiSite) -> None:
    api.trouble("late")
    rows = rows_of("A")
    response = api.upload(rows)
    assert (response.status, response.sent) == (None, True)
    assert api.applied() == [], "not yet"
    api.wait_until(lambda: api.applied() == ["A"], "it takes effect late")


def test_a_call_that_found_no_connection_is_known_not_to_have_been_sent(api: ApiSite) -> None:
    api.trouble("no connection")
    rows = rows_of("A")
    response = api.upload(rows)
    assert (response.status, response.sent) == (None, False)
    assert response.error
    assert _outcome(rows, response).verdict is Verdict.UNSENT
    assert api.applied() == []


@pytest.mark.promise("fencing")
def test_a_call_whose_time_to_start_has_passed_is_not_sent(api: ApiSite) -> None:
    rows = rows_of("A")
    response = api.upload(rows, too_late=True)
    assert (response.status, response.sent) == (None, False), "fencing: a request begins too late"
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
    response = api.upload(rows)
    assert (response.status, response.sent) == (400, True)
    outcome = _outcome(rows, response)
    assert outcome.verdict is (Verdict.ROWS_NAMED if named else Verdict.NONE_NAMED)
    assert _rejected(outcome) == named
    if named:
        assert [row.value for row in outcome.others] == [
            row.value for row in rows if row.value not in named
        ]
    assert api.applied() == []


@pytest.mark.parametrize(
    ("bad", "verdict"),
    [("HUGE", Verdict.TOO_LARGE), ("WALLED", Verdict.REFUSED), ("CURSED", Verdict.FAILED)],
)
def test_a_window_is_refused_for_one_of_its_rows_without_naming_it(
    api: ApiSite, bad: str, verdict: Verdict
) -> None:
    api.trouble(bad)
    rows = rows_of("A", bad)
    outcome = _outcome(rows, api.upload(rows))
    assert outcome.verdict is verdict
    assert not outcome.rejected
    assert api.applied() == []
    assert _outcome(rows[:1], api.upload(rows[:1])).verdict is Verdict.ACCEPTED


def test_a_200_may_leave_out_a_row_that_it_did_not_apply(api: ApiSite) -> None:
    api.trouble("omitted, not applied")
    rows = rows_of("A", "B")
    response = api.upload(rows)
    outcome = _outcome(rows, response)
    assert outcome.verdict is Verdict.ACCEPTED
    assert response.document["codes_affected"] == 1
    (missing,) = outcome.missing
    assert api.applied() == [row.value for row in rows if row is not missing]


@pytest.mark.parametrize(
    ("trouble", "statuses"), [("unauthorized", {401}), ("down", {500, 502, 503, 504})]
)
def test_asking_who_we_are_tells_of_the_token_and_of_an_outage(
    api: ApiSite, trouble: str, statuses: set[int]
) -> None:
    assert api.me().status == 200
    api.trouble(trouble)
    assert api.me().status in statuses


def test_asking_who_we_are_passes_while_uploading_is_forbidden(api: ApiSite) -> None:
    api.trouble("forbidden")
    assert api.me().status == 200
    assert api.upload(rows_of("A")).status == 403
