"""Have a snapshot taken on the owner's thread, from any other thread."""

from __future__ import annotations

import logging
import queue
from collections.abc import Callable

from consumer.ops.status import Snapshot

log = logging.getLogger(__name__)

#: How long the owner loop may take to answer; a turn takes milliseconds.
ANSWER_SECONDS = 2.0


class SnapshotRequester:
    """Requests snapshots of the owner's thread.

    ``hand_over`` gives the owner something to do; ``take_now`` is called there.
    """

    def __init__(
        self, hand_over: Callable[[Callable[[], None]], object], take_now: Callable[[], Snapshot]
    ) -> None:
        self._hand_over = hand_over
        self._take_now = take_now

    def request(self) -> Snapshot | None:
        """Return a snapshot as of now; None if the owner loop gives none in ``ANSWER_SECONDS``."""
        result: queue.SimpleQueue[Snapshot | None] = queue.SimpleQueue()
        given_up = False

        def on_owner() -> None:
            if given_up:
                return
            try:
                result.put(self._take_now())
            except Exception:  # whatever is wrong with the snapshot, the work goes on
                log.exception("snapshot")
                result.put(None)

        self._hand_over(on_owner)
        try:
            return result.get(timeout=ANSWER_SECONDS)
        except queue.Empty:
            given_up = True
            return None
