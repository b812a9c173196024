"""A ticker hands a function over at an interval, and waits for nobody."""

from __future__ import annotations

import logging
import queue
from collections.abc import Callable

import pytest

from consumer.ops.ticker import Ticker

SECONDS = 10.0


def test_it_hands_over_again_only_once_it_was_called() -> None:
    handed: queue.Queue[Callable[[], None]] = queue.Queue()
    called: list[int] = []
    ticker = Ticker(handed.put, lambda: called.append(1), 0.001)
    ticker.start()
    try:
        first = handed.get(timeout=SECONDS)
        with pytest.raises(queue.Empty):
            handed.get(timeout=0.2)
        first()
        handed.get(timeout=SECONDS)()
    finally:
        ticker.close()
    assert called == [1, 1]


def test_a_fault_in_what_is_done_ends_nothing(caplog: pytest.LogCaptureFixture) -> None:
    handed: queue.Queue[Callable[[], None]] = queue.Queue()

    def fails() -> None:
        raise ValueError("a fault")

    ticker = Ticker(handed.put, fails, 0.001)
    ticker.start()
    try:
        with caplog.at_level(logging.ERROR):
            handed.get(timeout=SECONDS)()
        handed.get(timeout=SECONDS)
    finally:
        ticker.close()
    assert "a fault" in caplog.text
