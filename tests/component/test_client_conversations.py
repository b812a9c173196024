"""Whatever a server does: its answers are taken for the requests that they are for. A short run; a long one is
``python -m tests.fuzz.http``.
"""

from __future__ import annotations

import random

import pytest

from tests.component.wire import make_certificate
from tests.fuzz.conversations import WAYS, Judge

CONVERSATIONS = 1_500


def test_no_answer_is_for_another_request_none_is_sent_twice_and_none_ends_late(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """A conversation is found again by its number: ``python -m tests.fuzz.http --start NUMBER --conversations 1``."""
    made = make_certificate(tmp_path_factory.mktemp("tls"), "api", "IP:127.0.0.1")
    judge = Judge(made.pem, made.server())
    start = random.randrange(10**12)  # others every time
    try:
        for number in range(start, start + CONVERSATIONS):
            try:
                judge.hold(number)
            except Exception as error:
                raise AssertionError(f"conversation {number}: {type(error).__name__}: {error}") from error
    finally:
        judge.close()
    for way in WAYS:
        for what in ("answered", "no answer"):
            assert judge.made[f"{way}: {what}"] >= 10, f"hardly any call is {what} over {way}"
