"""Signals while the demo runs."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager


@contextmanager
def handling(numbers: Sequence[signal.Signals], handler: Callable[[int, object], object]) -> Iterator[None]:
    """Have these signals handled so in this block; only on the main thread."""
    before = [signal.signal(number, handler) for number in numbers]
    try:
        yield
    finally:
        for number, previous in zip(numbers, before, strict=True):
            signal.signal(number, previous)
