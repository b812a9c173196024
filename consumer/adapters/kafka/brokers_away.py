"""Watch whether any broker answers, as far as a client's errors tell.

The client says once that all brokers are down, goes on to say about twice a minute that it cannot
connect, and does not say when that is over. So it is over with the first sign of a broker; and
where nothing is to be read or committed, when the client has not complained for a minute.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from confluent_kafka import KafkaError

#: The client repeats an error that has not changed after half a minute.
COMPLAINS_EVERY_SECONDS = 60.0
_CONNECTING = frozenset(
    {
        KafkaError._ALL_BROKERS_DOWN,
        KafkaError._TRANSPORT,
        KafkaError._RESOLVE,
        KafkaError._TIMED_OUT,
    }
)


class BrokersAway:
    """Since when no broker answers; ``clock`` in seconds."""

    def __init__(
        self,
        on_error: Callable[[KafkaError], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._on_error = on_error
        self._clock = clock
        self._since: float | None = None
        self._complained_at = 0.0
        self._text = ""

    def error(self, error: KafkaError) -> None:
        """Take in an error of the client, and pass it on."""
        code = error.code()
        if code in _CONNECTING:
            self._complained_at = self._clock()
            if code == KafkaError._ALL_BROKERS_DOWN:
                self._since = self._complained_at if self._since is None else self._since
            else:
                self._text = error.str()
        self._on_error(error)

    def answered(self) -> None:
        """Take in that a broker answered."""
        self._since = None

    @property
    def away(self) -> tuple[float, str] | None:
        """Return since when no broker answers, and how the client says so; None: one does."""
        if self._since is None or self._clock() - self._complained_at > COMPLAINS_EVERY_SECONDS:
            return None
        return self._since, self._text or "all brokers are down"
