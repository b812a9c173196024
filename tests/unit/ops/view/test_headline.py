"""The first thing that is seen: never green while something is wrong, and it says what to do."""

from __future__ import annotations

from typing import Any

import pytest

from consumer.ops.view.document import read
from consumer.ops.view.headline import TITLES, Headline, Tone, headline, notices
from tests.support import status_samples
from tests.support.status_samples import FAULTS, SAMPLES, Document


def told(document: Document) -> Headline:
    return headline(read(document))


@pytest.mark.parametrize(
    ("sample", "tone"),
    [
        ("healthy", Tone.GOOD),
        ("joining", Tone.QUIET),
        ("backlog", Tone.QUIET),
        ("rejections", Tone.WARN),
        ("api_failing", Tone.WARN),
        ("api_unauthorized", Tone.BAD),
        ("row_stuck", Tone.BAD),
        ("dead_letter_topic_failing", Tone.BAD),
        ("partition_out_of_range", Tone.BAD),
    ],
)
def test_each_sample_has_its_tone(sample: str, tone: Tone) -> None:
    assert told(SAMPLES[sample]()).tone is tone


@pytest.mark.parametrize("sample", FAULTS)
def test_why_rows_do_not_arrive_stands_at_the_top_with_what_to_do(sample: str) -> None:
    document = FAULTS[sample]()
    shown = told(document)
    assert shown.title == TITLES[sample]
    assert shown.message == document["troubles"][0]["message"]
    assert shown.advice == document["advice"] != ""
    assert shown.since == "for 3 min"
    assert shown.runbook == f"docs/runbook.md#{sample.replace('_', '-')}"


@pytest.mark.parametrize(
    "wrong",
    [
        {"api": {"blocked": "unauthorized"}},
        {"partitions": [status_samples.partition(0, stopped="out_of_range")]},
        {"troubles": [status_samples.trouble("row_stuck", "stuck", "it fails", "look")]},
        {"state": "stuck"},
    ],
    ids=lambda wrong: next(iter(wrong)),
)
def test_what_needs_a_person_is_never_green_whatever_the_state_says(wrong: dict[str, Any]) -> None:
    assert told(status_samples.healthy() | wrong).tone is Tone.BAD


def test_what_comes_back_by_itself_is_not_green_either() -> None:
    document = status_samples.healthy()
    document["troubles"] = [status_samples.trouble("throttled", "degraded", "429", "nothing")]
    assert told(document).tone is Tone.WARN


def test_a_state_or_a_cause_that_is_not_known_here_is_shown_as_it_is() -> None:
    document = status_samples.healthy() | {"state": "odd"}
    assert (told(document).word, told(document).tone) == ("odd", Tone.QUIET)
    document["troubles"] = [status_samples.trouble("moon_full", "degraded", "m", "a")]
    assert told(document).title == "Moon full"


def test_the_other_troubles_follow_the_foremost_in_their_order() -> None:
    document = status_samples.api_unauthorized()
    document["troubles"] += [
        status_samples.trouble("schema_missing", "stuck", "schema 7", "register it", where="t[0]"),
        status_samples.trouble("rejections", "degraded", "3 rows", "look"),
    ]
    shown = notices(read(document))
    assert [(each.title, each.tone) for each in shown] == [
        (TITLES["schema_missing"], Tone.BAD),
        (TITLES["rejections"], Tone.WARN),
    ]
    assert shown[0].where == "t[0]"


def test_a_member_without_partitions_says_that_others_have_them() -> None:
    shown = told(status_samples.healthy() | {"partitions": []})
    assert (shown.tone, shown.title) == (Tone.QUIET, "This member has no partitions")


def test_a_backlog_that_is_worked_off_says_when_it_will_be_gone() -> None:
    document = status_samples.backlog()
    assert "gone in about 12 min" in told(document).message
    document["lag"]["seconds"] = None
    assert told(document).title == "Working off a backlog", "by when it will be gone"
    document["lag"] |= {"growing": True, "backlog_eta_seconds": None}
    assert "does not keep up" in told(document).message
    assert told(document).title == "Falling behind"
    document["lag"] |= {"growing": False, "seconds": 1_520.0}
    assert "no pace yet" in told(document).message
