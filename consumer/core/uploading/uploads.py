"""From a closed window to an outcome for each of its rows: sent, sent again, divided, held back.

Decide, then do: ``classification`` reads the response, ``decision`` decides what follows for the
window, ``evidence`` whose fault a failure is; this module does it. Beside it stand what a response
says about the API (``api_health``), what it confirms (``confirmations``), rejected rows
(``rejections``) and ``GET /me`` (``token_checks``). ``windows`` knows where each window is
meanwhile.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable

from consumer.core.admission.gate import Gate
from consumer.core.admission.retry import PROBE_SECONDS, RetryPolicy
from consumer.core.admission.upload_pause import Pause
from consumer.core.batching.lanes import Lanes
from consumer.core.batching.window import PART, Place, Window
from consumer.core.batching.windows import Windows
from consumer.core.counters import Histogram
from consumer.core.model import Stage
from consumer.core.rows.by_task import go_by_task
from consumer.core.uploading.api_health import ApiHealth
from consumer.core.uploading.classification import Outcome, brief, classify
from consumer.core.uploading.confirmations import Confirmations
from consumer.core.uploading.decision import Action, Mode, decide
from consumer.core.uploading.evidence import (
    DIVIDED_BLIND_AFTER,
    USUALLY_DIVIDED_AFTER,
    Evidence,
    Failure,
    Step,
    next_step,
)
from consumer.core.uploading.rejections import Rejections
from consumer.core.uploading.response import Response
from consumer.core.uploading.result import Conclusion, Result
from consumer.core.uploading.tasks import Task, Tasks
from consumer.core.uploading.token_checks import TokenChecks
from consumer.core.verdict import Verdict

#: Bounds of the histograms: how long a request took, seconds; and rows of a window.
SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 40.0, 60.0, 80.0)
ROWS = (1.0, 2.0, 5.0, 10.0, 20.0, 40.0, 60.0, 80.0, 99.0, 100.0)
#: After so many failed probes it was an outage: what failed meanwhile says nothing about the
#: windows. After fewer it may have been windows that fail by their own fault, whose failures must
#: not be reset again and again.
OUTAGE_PROBES = 10
#: A failure that took longer than this many seconds makes the search for its cause slow: the window
#: is divided into more parts at once.
SLOW_SECONDS = 5.0
SLOW_PARTS = 10

#: Why uploading pauses, by verdict.
PAUSES = {Verdict.REFUSED: Pause.REFUSED, Verdict.UNEXPECTED: Pause.UNEXPECTED}
#: Verdicts by which the API did its work for a window, whatever becomes of its rows.
WORKED = frozenset({Verdict.ACCEPTED, Verdict.ROWS_NAMED, Verdict.NONE_NAMED, Verdict.TOO_LARGE})


class Uploads:
    """Turn responses to windows into results for their rows, and tell the gate."""

    def __init__(
        self,
        lanes: Lanes,
        windows: Windows,
        gate: Gate,
        policy: RetryPolicy,
        rng: Callable[[], float],
        tasks: Tasks,
        *,
        max_processing: float,
        single_rows_by_task: bool = False,
    ) -> None:
        """``single_rows_by_task``: a single row that keeps failing goes asynchronously."""
        self._lanes = lanes
        self.windows = windows
        self.gate = gate
        self.api = ApiHealth(gate)
        self._policy = policy
        self._rng = rng
        self._max_processing = max_processing
        self.tasks = tasks
        self._single_rows_by_task = single_rows_by_task
        self.evidence = Evidence(policy.give_up)
        self.token_checks = TokenChecks(gate, windows, self.api, self.evidence)
        self.held_until = -1.0  #: no row's claim is held longer than this by a lost response
        self.revoked_at = -1.0  #: when rows were last revoked
        self.requests: Counter[str] = Counter()  #: ended attempts, by verdict
        self.tasks_ended: Counter[str] = Counter()  #: asynchronous uploads, by verdict
        self.request_seconds = Histogram(SECONDS)  #: of those that were sent
        self.retries: Counter[str] = Counter()  #: attempts that are repeated, by verdict
        self.resent: Counter[str] = Counter()  #: rows that go again, by cause
        self.closed: Counter[str] = Counter()  #: windows by the reason they closed
        self.window_rows = Histogram(ROWS)  #: rows of closed windows
        self.confirming = Confirmations()
        self.rejections = Rejections(
            gate, windows, self.api, self.evidence, policy, rng, self.resent
        )

    # -- requests start --------------------------------------------------------------------------

    def next_window(self, now: float) -> Window | None:
        """Return the window that goes next, marked as sent at ``now``; None: none is closable."""
        while True:
            window = self.windows.pick(now, alone=self.gate.alone, tasks=not self.tasks.full)
            if window is None:
                return None
            if len(window.rows) == 1 or not self._is_at_fault(window):
                break
            self._divide(window, "halved", now, suspect=True)
        self.windows.start(window, now)
        self.token_checks.window_sent_at = now
        window.is_probe = self.gate.pause is not None
        window.retried_after_evidence = self.evidence.passed_since(window, window.failed_at)
        if window.attempts == 1 and window.reason != PART:
            self.closed[window.reason] += 1
            self.window_rows.observe(len(window.rows))
        self.gate.take_slot(now)
        return window

    @property
    def in_flight(self) -> list[Window]:
        """Return the windows whose outcomes are awaited: a response, or the end of a task."""
        return self.windows.in_flight

    def next_poll(self, now: float) -> Task | None:
        """Return the task that is polled now; None: no poll is due."""
        task = self.tasks.next_poll(now)
        if task is not None:
            self.gate.start_poll(now)
        return task

    # -- requests end ----------------------------------------------------------------------------

    def handle_response(self, window: Window, response: Response, now: float) -> Result:
        """Take in the end of an attempt: what is sent again is queued or parked.

        Return what becomes of the other rows.
        """
        self.gate.release_slot()
        outcome = classify(
            window.data_key,
            window.rows,
            response,
            by_task=window.by_task,
            lines=self.rejections.lines,
        )
        verdict = outcome.verdict
        self.requests[verdict.value] += 1
        self.api.note_reachability(
            response, now, failed=verdict in (Verdict.FAILED, Verdict.LOST, Verdict.UNSENT)
        )
        if verdict is not Verdict.UNSENT:
            self.request_seconds.observe(response.seconds)
        if verdict is Verdict.STARTED:
            self._start_task(window, outcome.task_id, now)
            return Result()
        # A process that got no time in between sent it later than it was handed out: that time
        # counts.
        sent_at = max(window.sent_at, now - response.seconds)
        return self._conclude(
            window, outcome, response, now, lost_until=sent_at + self._max_processing
        )

    def handle_task_response(self, task: Task, response: Response, now: float) -> Result:
        """Take in the end of a poll; return what becomes of the task's rows if it has ended."""
        if not task.polling:
            return Result()  # the response to this poll was there before
        self.gate.end_poll()
        self.api.learn_from_poll(task, response, now)
        outcome = self.tasks.handle_poll(task, response, now, self._policy, self._rng())
        if outcome is None:
            return Result()
        # A failed task has had this name in the metrics from the first.
        ended = Verdict.NONE_NAMED if outcome.verdict is Verdict.TASK_FAILED else outcome.verdict
        self.tasks_ended[ended.value] += 1
        # When it was started tells nothing: nobody knows when the API will come to it, if it does.
        return self._conclude(
            task.window, outcome, response, now, lost_until=now + self._max_processing
        )

    def _start_task(self, window: Window, task_id: str, now: float) -> None:
        """Hand the window over to the API, which works; the task's end tells of the rows."""
        self._close_circuit(now)
        self.windows.hand_over(window)
        self.tasks.start(window, task_id, now)
        if self._mode(window) is Mode.PROBING and not self.gate.upload_pause.rejecting:
            window.is_probe = False
            self._end_pause(now)

    def _conclude(
        self, window: Window, outcome: Outcome, response: Response, now: float, *, lost_until: float
    ) -> Result:
        """Decide and do what follows; return what becomes of the rows that are not sent again (I1).

        ``lost_until``: until then a call whose response was lost may take effect.
        """
        assert window.away, "the outcome of a window that is not in flight"
        if outcome.verdict is Verdict.LOST:
            self._hold_claims(window, lost_until)
        # Only where rows were revoked since it was sent can some of its rows be done.
        reduced = window.sent_at <= self.revoked_at and any(
            row.stage == Stage.DONE for row in window.rows
        )
        end = Conclusion(window, outcome, response, now, self._mode(window), reduced, Result())
        if reduced:
            self._drop_revoked(end)
        if outcome.verdict is not Verdict.ACCEPTED:
            window.last_response = outcome.text if outcome.task_id else brief(response)
        if window.rows:
            self._do(end)
        else:
            self._learn_only(end)
        end.result.data_key = window.data_key
        assert not window.away, "a window is in flight whose outcome is known"
        if window.place is not Place.GONE:  # it goes again, whole or what is left of it
            self.retries[outcome.verdict.value] += 1
            self.resent[outcome.verdict.value] += len(window.rows)
        return end.result

    def _do(self, end: Conclusion) -> None:
        """Do what ``decide`` says for a window that has rows left."""
        window, outcome, now = end.window, end.outcome, end.now
        match decide(outcome.verdict, end.mode, rejecting=self.gate.upload_pause.rejecting):
            case Action.ACCEPT:
                self._accept(end)
            case Action.REJECT_NAMED:
                self._close_circuit(now)
                if end.probe:
                    self._end_pause(now)
                self.rejections.reject_named(window, outcome, end.result, now)
            case Action.RESEND_NAMED:
                self._close_circuit(now)
                self.rejections.resend_named(window, outcome, now, probe=end.probe)
            case Action.REJECT_WHOLE:
                self._close_circuit(now)
                self._reject_whole(end)
            case Action.PAUSE:
                self.api.pause(Pause.UNAUTHORIZED, brief(end.response), now, probe=end.probe)
                self._requeue_probe(end)
            case Action.PROBE_FAILED:
                self._end_probe(end)
                self._requeue_probe(end)
            case Action.REQUEUE:
                self.api.learn_from(window, outcome, end.response, now)
                self._end_probe(end)
                self.windows.queue(window)  # the gate holds it back
            case Action.WEIGH:
                self._weigh(end)

    # -- what is done ----------------------------------------------------------------------------

    def _accept(self, end: Conclusion) -> None:
        """Accept the rows, resend those that the response left out; tell gate and evidence."""
        window, outcome, result, now = end.window, end.outcome, end.result, end.now
        self._close_circuit(now)
        self.evidence.accepted(window, now)
        self.token_checks.suspect_failed = False
        self.gate.on_acceptance()
        self._lanes.passed(window.rows, now)
        if end.probe:
            self._end_pause(now)
        warning = self.confirming.count(window, outcome)
        if warning:
            self.api.changed_nothing(warning, now)
        result.accepted, result.unconfirmed = window.rows, outcome.missing
        result.unlisted = outcome.unlisted
        result.affected, result.task_id = outcome.affected, outcome.task_id
        result.resend = self.confirming.to_resend(window, outcome.missing)
        if result.resend:
            resent = {id(row) for row in result.resend}
            result.accepted = [row for row in window.rows if id(row) not in resent]
            result.unconfirmed = [row for row in outcome.missing if id(row) not in resent]
            self.resent["unconfirmed"] += len(result.resend)
        self.windows.suspect_siblings(window)
        self.windows.end(window)

    def _reject_whole(self, end: Conclusion) -> None:
        """Divide a window after a 400 that names no row, or a 413; a single row is rejected."""
        window, now = end.window, end.now
        too_large = end.outcome.verdict is Verdict.TOO_LARGE
        if end.reduced:
            # The response is about more rows than are left: it says nothing about these alone.
            self.windows.queue(window)
            return
        if too_large:
            self._lanes.limit_bytes(window.rows, now)
        if len(window.rows) > 1:
            self._divide(window, "too_large" if too_large else "divided", now)
        else:
            self.rejections.reject_all(window, end.outcome, end.result, now)

    def _requeue_probe(self, end: Conclusion) -> None:
        """Let others be probed before the window; where there are none, divide it.

        A 401 divides nothing, as it is never the window's fault.
        """
        window, verdict, now = end.window, end.outcome.verdict, end.now
        if end.probe:
            window.fail(now, verdict)
        divides = end.probe and verdict is not Verdict.UNAUTHORIZED and len(window.rows) > 1
        often = window.failures >= DIVIDED_BLIND_AFTER
        if divides and often and self.windows.nothing_else(window):
            self._divide(window, "trial", now)
        else:
            self.windows.queue(window)

    def _learn_only(self, end: Conclusion) -> None:
        """Take in a response for rows that were all revoked: it still tells how the API is."""
        window, outcome, now = end.window, end.outcome, end.now
        self.api.learn_from(window, outcome, end.response, now)
        if outcome.verdict in WORKED:
            self._close_circuit(now)
        if outcome.verdict is Verdict.ACCEPTED:
            self.gate.on_acceptance()
            self.evidence.accepted(window, now)
        if end.probe and outcome.verdict is Verdict.ACCEPTED:
            self._end_pause(now)
        else:
            self._end_probe(end)
        self.evidence.forget(window)
        self.windows.end(window)

    def _hold_claims(self, window: Window, lost_until: float) -> None:
        """Hold the claims of rows whose lost call may take effect until then (I9, lost-answer)."""
        self.held_until = max(self.held_until, lost_until)
        for row in window.rows:
            row.hold_until = max(row.hold_until, lost_until)
            partition = row.record.partition
            partition.lost_until = max(partition.lost_until, lost_until)

    def _drop_revoked(self, end: Conclusion) -> None:
        """Take the revoked rows out of the window and its outcome."""
        window, outcome = end.window, end.outcome
        end.result.revoked = [row for row in window.rows if row.stage == Stage.DONE]
        window.rows = [row for row in window.rows if row.stage != Stage.DONE]
        window.begin_anew()  # what failed are not these rows alone
        outcome.rejected = [(row, why) for row, why in outcome.rejected if row.stage != Stage.DONE]
        outcome.candidates = [row for row in outcome.candidates if row.stage != Stage.DONE]
        outcome.others = [row for row in outcome.others if row.stage != Stage.DONE]
        outcome.missing = [row for row in outcome.missing if row.stage != Stage.DONE]

    def _divide(
        self, window: Window, cause: str, now: float, *, parts: int = 2, suspect: bool = False
    ) -> None:
        """Divide a window, count its rows as resent, and forget what is known of it as a whole."""
        self.resent[cause] += len(window.rows)
        self.evidence.forget(window)
        self.windows.divide(
            window, now, parts=parts, failing=cause in ("halved", "trial"), suspect=suspect
        )

    # -- pause and circuit -----------------------------------------------------------------------

    def _mode(self, window: Window) -> Mode:
        """Return what the pause makes of the window's response.

        It is the probe if it was sent while uploading was paused, as it still is.
        """
        if self.gate.pause is None:
            return Mode.NORMAL
        probes = window.is_probe and window.sent_at >= self.gate.upload_pause.since
        return Mode.PROBING if probes else Mode.PAUSED

    def _end_pause(self, now: float) -> None:
        """End the pause: what failed in it says nothing about the windows."""
        since = self.gate.upload_pause.since
        self.api.end_pause()
        self.windows.reset_failures(now, since=since)

    def _end_probe(self, end: Conclusion) -> None:
        """Let the pause go on, if this was its probe: its response decides nothing."""
        if end.probe:
            self.gate.upload_pause.probe_inconclusive(end.now)

    def _close_circuit(self, now: float) -> None:
        """Take in that the API did its work; after an outage reset what failed in it."""
        probes = self.api.close_circuit()
        if not probes:
            return
        if probes >= OUTAGE_PROBES:
            self.windows.reset_failures(now, since=self.evidence.accepted_at)
        # Those that failed often may be at fault themselves: they go on waiting, or they would open
        # it again.
        self.windows.unpark(now, failures_below=USUALLY_DIVIDED_AFTER)

    # -- failures that may be the API's fault ----------------------------------------------------

    def _weigh(self, end: Conclusion) -> None:
        """Decide by evidence whose fault a failure is, and do what follows.

        403 to 406, an unexpected response, 408, 5xx, a lost one, not sent, a failed task.
        """
        window, verdict, now = end.window, end.outcome.verdict, end.now
        self.api.learn_from(window, end.outcome, end.response, now)
        # What it was before may have been the whole API's fault, and so may this be.
        refused_again = window.retried_after_evidence and window.failed_as is verdict
        window.fail(now, verdict)
        evidence = self.evidence.passed_since(window, window.doubted_since)
        step = Step.RETRY
        if verdict is not Verdict.UNSENT:  # that says nothing about the rows
            step = next_step(self._failure(end, evidence=evidence, refused_again=refused_again))
            window.suspect = window.suspect or (evidence and not self.gate.pause)
        self.token_checks.suspect_failed = window.suspect
        if end.probe and verdict in PAUSES:
            self.api.pause(PAUSES[verdict], brief(end.response), now, probe=True)
        else:
            self._end_probe(end)
        self._take_step(step, end, evidence=evidence)

    def _take_step(self, step: Step, end: Conclusion, *, evidence: bool) -> None:
        """Do what ``next_step`` says for a failed window."""
        window, outcome, now = end.window, end.outcome, end.now
        verdict = outcome.verdict
        match step:
            case Step.DIVIDE:
                parts = SLOW_PARTS if end.response.seconds >= SLOW_SECONDS else 2
                self._divide(window, "halved", now, parts=parts, suspect=evidence)
            case Step.REJECT:
                self.rejections.reject_all(window, outcome, end.result, now)
            case Step.GIVE_UP:
                # Without evidence, or it had been rejected, nobody knows whether a failed task is
                # about its row.
                reason = "rejected_by_api" if verdict is Verdict.REFUSED else "api_error"
                self.rejections.reject_all(window, outcome, end.result, now, reason)
            case Step.PAUSE:
                self.api.pause(PAUSES[verdict], brief(end.response), now, probe=end.probe)
                self.windows.queue(window)
            case Step.GO_BY_TASK | Step.RETRY:
                if step is Step.GO_BY_TASK:
                    self._send_by_task(window)
                # As long as nothing passes it is the API's trouble: its end is to be noticed soon.
                # A task costs more.
                cap = math.inf if evidence or outcome.task_id else PROBE_SECONDS
                delay = self._policy.delay(window.failures, self._rng(), cap)
                self.windows.park(window, now + delay)

    def _failure(self, end: Conclusion, *, evidence: bool, refused_again: bool) -> Failure:
        """Return what is known of a failed window, for ``next_step``."""
        window, verdict, now = end.window, end.outcome.verdict, end.now
        refused_by_all = (
            verdict in PAUSES
            and not window.suspect
            and self.gate.upload_pause.on_refusal(window.number)
        )
        return Failure(
            verdict,
            len(window.rows),
            window.failures,
            evidence=evidence,
            refused_again=refused_again,
            suspect=window.suspect,
            nothing_else=self.windows.nothing_else(window),
            only_suspects=window.suspect and self.windows.only_suspects(),
            refuses_all=refused_by_all or not self.evidence.accepted_lately(now),
            paused=end.mode is Mode.PAUSED,
            is_probe=end.probe,
            expired=self.gate.pause is None and self.evidence.expired(window, now),
            lone_task=self.evidence.lone_task(window, now),
            by_task=window.by_task,
            may_go_by_task=self._single_rows_by_task,
        )

    def _is_at_fault(self, window: Window) -> bool:
        """Return whether a window need not be tried whole again.

        Others passed since it was refused, or since a part of one at fault failed.
        """
        doubted = window.failures > 0 and (window.suspect or window.failed_as in PAUSES)
        return doubted and self.evidence.passed_since(window, window.doubted_since)

    def _send_by_task(self, window: Window) -> None:
        """Let a single row that the synchronous call keeps failing for go asynchronously.

        It may touch too many codes for that call.
        """
        window.by_task = True
        for row in window.rows:
            go_by_task(row)
