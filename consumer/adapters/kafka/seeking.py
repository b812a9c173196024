"""Go on looking up what was not answered at once, on a thread and with a client of its own.

So one that is not answered holds up neither a callback of the reading client nor the loop.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import Consumer, KafkaException

from consumer.adapters.kafka.client import PartitionId, ThrottledLog
from consumer.adapters.kafka.offsets import LookUpError

log = logging.getLogger(__name__)

#: Pause before the next look: doubling, from the first to the last.
FIRST_PAUSE_SECONDS = 0.05
LAST_PAUSE_SECONDS = 2.0
METADATA_SECONDS = 5.0


@dataclass(eq=False)
class LookUp:
    """One look-up; its answer counts for no later one of the same partition."""

    key: PartitionId
    #: Called on the other thread; raises LookUpError where it is not answered.
    look: Callable[[Consumer], Any]
    then: Callable[[Any], None]  #: called on the owner's
    since: float = field(default_factory=lambda: time.monotonic())
    ended: bool = False  #: nobody waits for it any more


class Seeking:
    """The look-ups of one reader (I8, starts).

    ``open_client`` makes a client that is no member of the group, with the first search.
    """

    def __init__(self, open_client: Callable[[], Consumer], throttled: ThrottledLog) -> None:
        self._open = open_client
        self._throttled = throttled
        self._asked: queue.SimpleQueue[LookUp | None] = queue.SimpleQueue()
        self._found: queue.SimpleQueue[tuple[LookUp, Any]] = queue.SimpleQueue()
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None

    def seek(self, search: LookUp) -> None:
        """Begin to look; call it on the owner's thread, as all but the looking."""
        self._asked.put(search)
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="starts", daemon=True)
            self._thread.start()

    def found(self) -> list[tuple[LookUp, Any]]:
        """Return what was found since the last time, of searches that somebody still waits for."""
        found: list[tuple[LookUp, Any]] = []
        while not self._found.empty():
            search, answer = self._found.get()
            if not search.ended:
                found.append((search, answer))
        return found

    def close(self) -> None:
        """Look no more."""
        self._closed.set()
        self._asked.put(None)

    def _run(self) -> None:
        client = self._open()
        waiting: list[LookUp] = []
        pause = FIRST_PAUSE_SECONDS
        while not self._closed.is_set():
            while not waiting or not self._asked.empty():
                search = self._asked.get()
                if search is None:
                    break
                waiting.append(search)
                pause = FIRST_PAUSE_SECONDS
            waiting = [
                search
                for search in waiting
                if not self._closed.is_set() and not self._look(client, search)
            ]
            if waiting:
                self._closed.wait(pause)
                pause = min(2 * pause, LAST_PAUSE_SECONDS)
        client.close()

    def _look(self, client: Consumer, search: LookUp) -> bool:
        """Look once; return whether that is the end of it."""
        if search.ended:
            return True
        try:
            # The client would go on with what it knows: that the partition has no leader, say.
            client.list_topics(search.key[0], timeout=METADATA_SECONDS)
            answer = search.look(client)
        except (LookUpError, KafkaException) as error:
            why = error.args[0].str() if isinstance(error, KafkaException) else error
            text = (
                "{}[{}]: where it begins cannot be looked up ({}); "
                "it is not read until then; trying on"
            )
            self._throttled.log_once(("start", search.key), text.format(*search.key, why))
            return False
        except Exception:  # whatever the client raises: nobody else would look on
            log.exception("looking up where %s[%s] begins", *search.key)
            return False
        self._found.put((search, answer))
        return True
