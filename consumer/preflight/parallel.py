"""Run independent checks beside each other, within one time limit."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from queue import Empty, SimpleQueue

from consumer.preflight.result import Check, failed

log = logging.getLogger(__name__)


def run(parts: Mapping[str, Callable[[], Iterable[Check]]], seconds: float) -> Iterator[Check]:
    """Yield the checks of all parts: parts in their order, each part's checks as they come.

    A part that takes longer than ``seconds``, as with a resolver that does not answer, fails under
    its name.
    """
    until = time.monotonic() + seconds
    queues: dict[str, SimpleQueue[Check | None]] = {}
    for name, part in parts.items():
        queues[name] = SimpleQueue()
        # A daemon: a look-up that cannot be ended must not keep the process alive.
        threading.Thread(
            target=_work, args=(name, part, queues[name]), name=f"check-{name}", daemon=True
        ).start()
    for name, queue in queues.items():
        try:
            while (check := queue.get(timeout=max(0.001, until - time.monotonic()))) is not None:
                yield check
        except Empty:
            yield failed(
                name, f"not done within {seconds:g} s", "check the network and this machine's DNS"
            )


def _work(name: str, part: Callable[[], Iterable[Check]], queue: SimpleQueue[Check | None]) -> None:
    try:
        for check in part():
            queue.put(check)
    except Exception as error:
        log.exception("the check of %s", name)
        queue.put(
            failed(
                name, f"a fault in this program ({type(error).__name__})", "report it with the log"
            )
        )
    queue.put(None)
