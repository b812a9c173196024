"""Whatever a server does, each response is taken for its own request.

A short run; ``python -m tests.fuzz.http`` is a long one.
"""

from __future__ import annotations

import random

import pytest

from tests.fuzz.conversations import WAYS
from tests.fuzz.http import held

pytestmark = pytest.mark.promise("matching")

CONVERSATIONS = 900


@pytest.mark.promise("I1")
def test_no_answer_is_for_another_request_none_is_sent_twice_and_none_ends_late(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """To repeat one: ``python -m tests.fuzz.http --start NUMBER --conversations 1``."""
    start = random.randrange(10**12)  # others every time
    numbers = range(start, start + CONVERSATIONS)
    made, _, findings = held((numbers, tmp_path_factory.mktemp("tls"), 0.3))
    assert not findings, f"I1: {findings[0]}"
    for way in WAYS:
        for what in ("answered", "no answer"):
            assert made[f"{way}: {what}"] >= 10, f"hardly any call is {what} over {way}"
