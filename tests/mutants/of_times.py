"""Breaks of bounds that are times.

How long a member may be silent, how long a slot of the group's pace lasts.
"""

from __future__ import annotations

from tests.mutants.mutant import Edit, Mutant

MEMBERSHIP, PACE = "loop/session_lease.py", "core/admission/pace.py"
MEMBERSHIP_TESTS = ("tests/unit/loop/test_session_lease_times.py",)
PACE_TESTS = ("tests/unit/core/admission/test_pace_numbers.py",)

MUTANTS = (
    Mutant(
        "a worker may begin an upload when the session is over",
        (Edit(MEMBERSHIP, "min(2 / 3 * self.session, LONGEST_GAP_SECONDS)", "self.session"),),
        MEMBERSHIP_TESTS,
        promise="fencing",
    ),
    Mutant(
        "with a long session, standing still for ten seconds is no gap",
        (Edit(MEMBERSHIP, "LONGEST_GAP_SECONDS = 5.0", "LONGEST_GAP_SECONDS = 10.0"),),
        MEMBERSHIP_TESTS,
        promise="fencing",
    ),
    Mutant(
        "a slot of the group's pace is used until the next one begins",
        (Edit(PACE, "LATE_SECONDS = 0.025", "LATE_SECONDS = 0.1"),),
        PACE_TESTS,
        promise="budget",
    ),
    Mutant(
        "near the pace of the last 429 it rises as quickly as far from it",
        (
            Edit(
                PACE,
                "self._speed * (1.0 + CAREFUL) if near else self._speed + FASTER",
                "self._speed + FASTER",
            ),
        ),
        PACE_TESTS,
        promise="budget",
    ),
)
