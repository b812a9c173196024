"""Signals while the demo runs.

SIGINT and SIGTERM end it wherever it was started, as they end ``run``. That includes a background
job of a script: a shell starts that with SIGINT ignored, and the demo would go on when the script
has been interrupted. SIGHUP ends it with its terminal, unless it was ignored at the start: that is
what ``nohup`` is for.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

#: Signals that end the demo.
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def handling(
    numbers: Sequence[signal.Signals], handler: Callable[[int, object], object]
) -> Iterator[None]:
    """Have these signals handled so in this block, but for an ignored SIGHUP; main thread only."""
    heard = [
        number
        for number in numbers
        if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN
    ]
    before = [signal.signal(number, handler) for number in heard]
    try:
        yield
    finally:
        for number, previous in zip(heard, before, strict=True):
            signal.signal(number, previous)
