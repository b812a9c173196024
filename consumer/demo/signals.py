"""Signals while the demo runs.

SIGINT and SIGTERM end it wherever it was started, as they end ``run``: also in a background job of
a script, which a shell starts with SIGINT ignored, and which would else go on when the script has
been interrupted. SIGHUP ends it with its terminal, unless it was ignored at the start: that is what
``nohup`` is for.
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
    """Have these signals handled so in this block, but for an ignored SIGHUP.

    Only on the main thread.
    """
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
