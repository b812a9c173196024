"""Signals that end the demo, and signals that it leaves to those that started it."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from consumer.demo.signals import ENDING, handling


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in ENDING}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("ignored", ENDING)
def test_only_a_hang_up_that_was_ignored_at_the_start_stays_ignored(
    ignored: signal.Signals,
) -> None:
    """``nohup`` is meant; a shell that ignores SIGINT for a background job is not."""
    signal.signal(ignored, signal.SIG_IGN)
    heard: list[int] = []
    with handling(ENDING, lambda number, _: heard.append(number)):
        for number in ENDING:
            signal.raise_signal(number)
    assert heard == [
        number for number in ENDING if (number, ignored) != (signal.SIGHUP, signal.SIGHUP)
    ]
    assert signal.getsignal(ignored) is signal.SIG_IGN
