"""The time a member may be silent, for a short session and for a long one.

What others rely on to the second.
"""

from __future__ import annotations

import math

import pytest

from consumer.loop.session_lease import SessionLease

pytestmark = pytest.mark.promise("fencing")


@pytest.mark.parametrize(("session", "seconds"), [(6.0, 2.0), (45.0, 5.0)])
def test_a_gap_is_a_third_of_the_session_and_never_more_than_five_seconds(
    session: float, seconds: float
) -> None:
    for passed, gap in ((seconds - 0.01, False), (seconds + 0.01, True)):
        membership = SessionLease(session)
        membership.on_poll(100.0)
        assert membership.on_poll(100.0 + passed) == gap, (
            f"fencing: {passed} s between two polls, session {session} s"
        )


def test_a_reader_that_is_no_member_never_stands_still_for_too_long() -> None:
    membership = SessionLease(math.inf)
    membership.on_poll(0.0)
    assert not membership.on_poll(1e9), "fencing: there is no group to ask"


@pytest.mark.parametrize(("session", "seconds"), [(6.0, 4.0), (45.0, 5.0)])
def test_an_upload_begins_within_two_thirds_of_the_session_after_a_poll_and_within_five_seconds(
    session: float, seconds: float
) -> None:
    membership = SessionLease(session)
    membership.on_poll(100.0)
    assert membership.start_by() == pytest.approx(100.0 + seconds), (
        "fencing: how long a worker may hold an upload back"
    )


def test_the_group_is_asked_after_a_third_of_the_session_and_nothing_is_sent_after_two_thirds() -> (
    None
):
    membership = SessionLease(6.0)
    membership.on_assigned(100.0)
    for passed, asks, doubtful in (
        (1.9, False, False),
        (2.1, True, False),
        (3.9, True, False),
        (4.1, True, True),
    ):
        now = 100.0 + passed
        assert membership.needs_probe(now) == asks, (
            f"fencing: {passed} s after the group's last sign"
        )
        assert membership.expired(now) == doubtful, (
            f"fencing: {passed} s after the group's last sign"
        )
