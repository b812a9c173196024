"""Have something done on the owner's thread every few seconds (thread ``ticks``)."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

log = logging.getLogger(__name__)


class Ticker:
    """Hands a function over at an interval, and never a second time before it was called.

    So an owner that stands still finds one waiting, not hundreds.
    """

    def __init__(
        self,
        hand_over: Callable[[Callable[[], None]], object],
        do: Callable[[], None],
        seconds: float,
    ) -> None:
        self._hand_over = hand_over
        self._do = do
        self._seconds = seconds
        self._waiting = False
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="ticks", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def close(self) -> None:
        """Hand nothing over any more."""
        self._closed.set()

    def _run(self) -> None:
        while not self._closed.wait(self._seconds):
            if not self._waiting:
                self._waiting = True
                self._hand_over(self._on_owner)

    def _on_owner(self) -> None:
        self._waiting = False
        try:
            self._do()
        except Exception:  # whatever is wrong with what is told, the work goes on
            log.exception("ticks")
