"""The lag of a running consumer: its monitor, and the two threads that keep it up to date."""

from __future__ import annotations

import time
from collections.abc import Callable

from consumer.adapters.kafka.lag_watch import watch_of
from consumer.adapters.kafka.reader import ReadFrom
from consumer.config.settings import Settings
from consumer.loop.runner import Runner
from consumer.ops.lag_monitor import TICK_SECONDS, LagMonitor, Sizing
from consumer.ops.ticker import Ticker


class LagService:
    """Watches for one owner loop; ``hand_over`` gives its thread something to do."""

    def __init__(
        self,
        settings: Settings,
        reading: ReadFrom,
        runner: Runner,
        hand_over: Callable[[Callable[[], None]], object],
    ) -> None:
        self._watch = watch_of(reading)
        self.monitor = LagMonitor(
            runner.pipeline,
            runner.source,
            time.monotonic,
            time.time,
            sizing=sizing(settings),
            watch=self._watch,
        )
        self._ticker = Ticker(hand_over, self.monitor.tick, TICK_SECONDS)

    def start(self) -> None:
        """Begin to watch."""
        self._watch.start()
        self._ticker.start()

    def close(self) -> None:
        """Watch no more; wait for nothing."""
        self._ticker.close()
        self._watch.close()


def unwatched(settings: Settings, runner: Runner) -> LagMonitor:
    """Return the monitor of a process whose lag nobody can ask for: nothing is looked up for it."""
    return LagMonitor(
        runner.pipeline, runner.source, time.monotonic, time.time, sizing=sizing(settings)
    )


def sizing(settings: Settings) -> Sizing:
    """Return what says how many members there should be."""
    return Sizing(
        target_seconds=settings.ops.target_lag_seconds,
        max_rows=settings.windows.max_rows,
        concurrency=settings.api.concurrency,
        requests_per_second=settings.api.requests_per_second,
        start_from=settings.kafka.start_from,
        on_out_of_range=settings.kafka.on_out_of_range,
    )
