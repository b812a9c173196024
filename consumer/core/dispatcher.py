"""Which request starts next, and when: uploads and polls of tasks in turn, ``GET /me`` when due."""

from __future__ import annotations

from consumer.core.admission.gate import Gate
from consumer.core.batching.lanes import Lanes
from consumer.core.batching.windows import Windows
from consumer.core.effects import Attempt, Effects
from consumer.core.uploading.uploads import Uploads


class Dispatcher:
    """Starts requests as the gate lets it; times in seconds of the owner's clock."""

    def __init__(self, lanes: Lanes, windows: Windows, gate: Gate, uploads: Uploads) -> None:
        self._lanes = lanes
        self._windows = windows
        self._gate = gate
        self._uploads = uploads
        self._polls_first = False
        self.suspended = False  #: nothing is uploaded, for good or for now; tasks are polled

    def dispatch(self, effects: Effects, now: float) -> None:
        """Start all requests that may start now."""
        self._lanes.pass_time(now, sendable=False)
        check_due_at = None if self.suspended else self._uploads.token_checks.due_at(now)
        if check_due_at is not None and check_due_at <= now:
            self._uploads.token_checks.start(now)
            effects.token_check = True
        while self._start_one(effects, now):
            pass
        sendable = not self.suspended and self._gate.could_have_sent(now)
        self._lanes.pass_time(now, sendable=sendable)

    def _start_one(self, effects: Effects, now: float) -> bool:
        """Start an upload or a poll, in turn where both could go: neither keeps the other waiting.

        Return whether one started.
        """
        first, second = (
            (self._poll_task, self._send) if self._polls_first else (self._send, self._poll_task)
        )
        if first(effects, now):
            self._polls_first = not self._polls_first
            return True
        return second(effects, now)

    def _send(self, effects: Effects, now: float) -> bool:
        if self.suspended or not self._gate.admits(now):
            return False
        window = self._uploads.next_window(now)
        if window is None:
            return False
        items = [row.item for row in window.rows]
        effects.send.append(
            Attempt(window, window.attempts, window.data_key, items, window.by_task)
        )
        return True

    def _poll_task(self, effects: Effects, now: float) -> bool:
        at = self._gate.earliest_poll(now) if self._uploads.tasks else None
        task = self._uploads.next_poll(now) if at is not None and at <= now else None
        if task is None:
            return False
        effects.polls.append(task)
        return True

    def wakes_at(self, now: float) -> float | None:
        """Return when a request may start if no input comes before; None: only an input helps."""
        times = [None if self.suspended else self._uploads.token_checks.due_at(now)]
        earliest_poll = self._gate.earliest_poll(now) if self._uploads.tasks else None
        poll_due_at = self._uploads.tasks.next_poll_at() if earliest_poll is not None else None
        if earliest_poll is not None and poll_due_at is not None:
            times.append(max(earliest_poll, poll_due_at))
        earliest_send = None if self.suspended else self._gate.earliest_send(now)
        if earliest_send is not None and (self._lanes or self._windows.live):
            if earliest_send > now:
                # Nothing can be sent before; from then on the linger counts.
                times.append(earliest_send)
            else:
                times.append(self._windows.wakes_at())
                times.append(self._lanes.next_due(now, tasks=not self._uploads.tasks.full))
        return min((at for at in times if at is not None), default=None)
