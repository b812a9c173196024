"""From a closed window to an outcome for each of its rows: sent, sent again, divided, held back.

What an answer means is read in ``outcomes``, what it says about the API is kept in ``api_health``,
what it leaves open in ``confirming``, whose fault a failure is is decided in ``evidence``; here
stands what follows for the rows. Where each window is meanwhile is kept in ``windows``.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable

import msgspec

from consumer.core.admission.gate import Gate
from consumer.core.admission.retry import PROBE_SECONDS, RetryPolicy
from consumer.core.admission.upload_pause import Pause
from consumer.core.batching.lanes import Lanes
from consumer.core.batching.windows import PART, Place, Window, Windows
from consumer.core.counters import Histogram
from consumer.core.model import Rejection, Row, Stage
from consumer.core.rows.maker import go_by_task
from consumer.core.uploading.api_health import ApiHealth
from consumer.core.uploading.classification import LineNumbers, Outcome, brief, classify
from consumer.core.uploading.confirmations import Confirmations
from consumer.core.uploading.evidence import (
    DIVIDED_BLIND_AFTER,
    USUALLY_DIVIDED_AFTER,
    Evidence,
    Failure,
    Step,
    next_step,
)
from consumer.core.uploading.response import Response
from consumer.core.uploading.tasks import Task, Tasks
from consumer.core.verdict import Verdict

#: Bounds of the histograms: how long a request took, seconds; and rows of a window.
SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 40.0, 60.0, 80.0)
ROWS = (1.0, 2.0, 5.0, 10.0, 20.0, 40.0, 60.0, 80.0, 99.0, 100.0)
#: After so many failed probes it was an outage: what failed meanwhile says nothing about the
#: windows. After fewer it may have been windows that fail by their own fault, which must not be
#: pardoned again and again.
OUTAGE_PROBES = 10
#: A failure that took longer than this many seconds makes the search for its cause slow: the window
#: is divided into more parts at once.
SLOW_SECONDS = 5.0
SLOW_PARTS = 10


#: Why uploading pauses, by what an answer means.
PAUSES = {Verdict.REFUSED: Pause.REFUSED, Verdict.UNEXPECTED: Pause.UNEXPECTED}


class Result(msgspec.Struct, gc=False):
    """What an answer brings to rows; windows that are sent again stay inside."""

    accepted: list[Row] = []
    unconfirmed: list[Row] = []  #: of the accepted ones: no answer listed them
    unlisted: dict[
        int, list[str]
    ] = {}  #: by the id of an accepted row, its fields that the answer did not list
    affected: int | None = (
        None  #: codes that the request changed, all its rows together, if the API told
    )
    task_id: str = ""  #: of the task by which the rows were accepted
    rejected: list[tuple[Row, Rejection]] = []
    resend: list[Row] = []  #: ready once more, for a later window
    retry_at: list[tuple[float, Row]] = []  #: ready once more from a time on
    revoked: list[
        Row
    ] = []  #: their partition was taken away meanwhile: only their claims are freed
    data_key: str = ""  #: of the window


class Uploads:
    """What the answers to windows do to their rows, and to the gate."""

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
        self._suspects_failed = False  # one was the last to be answered
        self._asking = False  # the answer to ``GET /me`` is awaited
        self._asked_at = -math.inf
        self._sent_at = -math.inf  # when a window was handed out last
        self._lines = LineNumbers()
        self.held_until = -1.0  #: no row's claim is held longer than this by a lost answer
        self.revoked_at = -1.0  #: when rows were last taken away
        self.requests: Counter[str] = Counter()  #: ended attempts, by what the answer meant
        self.tasks_ended: Counter[str] = Counter()  #: asynchronous uploads, by what their end meant
        self.request_seconds = Histogram(SECONDS)  #: of those that were sent
        self.retries: Counter[str] = (
            Counter()
        )  #: attempts after which the window goes again, by what the answer meant
        self.resent: Counter[str] = Counter()  #: rows that go again, by cause
        self.closed: Counter[str] = Counter()  #: windows by the reason they closed
        self.window_rows = Histogram(ROWS)  #: rows of closed windows
        self.confirming = Confirmations()

    # -- sending ---------------------------------------------------------------------------------

    def next_window(self, now: float) -> Window | None:
        """The window that goes next, marked as sent at ``now``; None: none is closable."""
        while True:
            window = self.windows.pick(now, alone=self.gate.alone, tasks=not self.tasks.full)
            if window is None:
                return None
            if len(window.rows) == 1 or not self._is_at_fault(window):
                break
            self._divide(window, "halved", now, suspect=True)
        self.windows.start(window, now)
        self._sent_at = now
        window.on_trial = self.gate.pause is not None
        window.retried_after_evidence = self.evidence.passed_since(window, window.failed_at)
        if window.attempts == 1 and window.reason != PART:
            self.closed[window.reason] += 1
            self.window_rows.observe(len(window.rows))
        self.gate.take_slot(now)
        return window

    @property
    def in_flight(self) -> list[Window]:
        """The windows whose outcomes are awaited: an answer, or the end of a task."""
        return self.windows.in_flight

    def next_task(self, now: float) -> Task | None:
        """The task that is asked about now; None: none is due."""
        task = self.tasks.next(now)
        if task is not None:
            self.gate.start_poll(now)
        return task

    # -- who are we: for a pause, or for a sign of life ------------------------------------------

    def token_check_due_at(self, now: float) -> float | None:
        """When ``GET /me`` is due; None: it is not."""
        if self.gate.pause is not None or self._asking:
            return self.gate.token_check_due_at(now)
        if not self._suspects_failed or not self._only_suspects():
            return None
        if self._sent_at <= self._asked_at and any(
            window.waits(now) for window in self.windows.live
        ):
            # requests may be so few that each could be a question: uploads and these take turns
            return None
        return self.gate.earliest_token_check(max(now, self._asked_at + self.evidence.sign_seconds))

    def start_token_check(self, now: float) -> None:
        """``GET /me`` starts."""
        self._asking, self._asked_at = True, now
        self.gate.start_token_check(now)

    def handle_token_check(self, response: Response, now: float) -> None:
        """``GET /me`` was answered."""
        self._asking = False
        self.api.learn_from_token_check(response, now)
        if (
            response.status == 200
            and self.gate.pause is None
            and self._suspects_failed
            and self._only_suspects()
        ):
            self.evidence.advance(now, by_sign=True)  # others would pass, were there any

    # -- answers ---------------------------------------------------------------------------------

    def handle_response(self, window: Window, response: Response, now: float) -> Result:
        """An attempt ended: what becomes of its rows; what is sent again is queued or parked."""
        self.gate.release_slot()
        outcome = classify(
            window.data_key, window.rows, response, by_task=window.by_task, lines=self._lines
        )
        verdict = outcome.verdict
        self.requests[verdict.value] += 1
        self.api.note_reachability(
            response, now, failed=verdict in (Verdict.FAILED, Verdict.LOST, Verdict.UNSENT)
        )
        if verdict is not Verdict.UNSENT:
            self.request_seconds.observe(response.seconds)
        if verdict is Verdict.STARTED:
            self._started(window, outcome.task_id, now)
            return Result()
        # A process that got no time in between sent it later than it was handed out: that time
        # counts.
        sent_at = max(window.sent_at, now - response.seconds)
        return self._conclude(
            window, outcome, response, now, lost_until=sent_at + self._max_processing
        )

    def handle_task_response(self, task: Task, response: Response, now: float) -> Result:
        """A question about a task was answered, or got no answer.

        What becomes of its window, if the task has ended.
        """
        if not task.asking:
            return Result()  # it was answered before
        self.gate.end_poll()
        self.api.learn_from_poll(task, response, now)
        outcome = self.tasks.answered(task, response, now, self._policy, self._rng())
        if outcome is None:
            return Result()
        # A failed task has had this name in the metrics from the first.
        ended = Verdict.NONE_NAMED if outcome.verdict is Verdict.TASK_FAILED else outcome.verdict
        self.tasks_ended[ended.value] += 1
        # When it was started tells nothing: nobody knows when the API will come to it, if it does.
        return self._conclude(
            task.window, outcome, response, now, lost_until=now + self._max_processing
        )

    def _started(self, window: Window, task_id: str, now: float) -> None:
        """The API has taken the window over.

        So it works; what becomes of the rows, the task's end tells.
        """
        self._closed_circuit(now)
        window.place = Place.TASK
        self.tasks.start(window, task_id, now)
        if self._is_trial(window) and not self.gate.upload_pause.rejecting:
            window.on_trial = False
            self._unblock(now)

    def _is_trial(self, window: Window) -> bool:
        """Whether its answer decides about the pause.

        It was sent while uploading was paused, as it still is.
        """
        return (
            window.on_trial
            and self.gate.pause is not None
            and window.sent_at >= self.gate.upload_pause.since
        )

    def _unblock(self, now: float) -> None:
        """The pause ends: what failed in it says nothing about the windows."""
        since = self.gate.upload_pause.since
        self.api.end_pause()
        self.windows.reset_failures(now, since=since)

    def _conclude(
        self, window: Window, outcome: Outcome, response: Response, now: float, *, lost_until: float
    ) -> Result:
        result = self._judge(window, outcome, response, now, lost_until)
        result.data_key = window.data_key
        if window.place is not Place.GONE:  # it goes again, whole or what is left of it
            self.retries[outcome.verdict.value] += 1
            self.resent[outcome.verdict.value] += len(window.rows)
        return result

    def _judge(
        self, window: Window, outcome: Outcome, response: Response, now: float, lost_until: float
    ) -> Result:
        """What becomes of the rows and the window (I1, lost-answer).

        ``lost_until``: as long a lost call of it may take effect.
        """
        if outcome.verdict is Verdict.LOST:
            self.held_until = max(self.held_until, lost_until)
            for row in window.rows:
                row.hold_until = max(row.hold_until, lost_until)
                partition = row.record.partition
                partition.lost_until = max(partition.lost_until, lost_until)
        result = Result()
        # Only while rows were taken away since it was sent can some of its rows be done.
        reduced = window.sent_at <= self.revoked_at and any(
            row.stage == Stage.DONE for row in window.rows
        )
        if reduced:
            self._drop_orphans(window, outcome, result)
        trial = self._is_trial(window)
        if not window.rows:
            self._nobody_waits(window, outcome, response, now, trial=trial)
        elif outcome.verdict is Verdict.ACCEPTED:
            self._accepted(window, outcome, result, now, trial=trial)
        elif outcome.verdict is Verdict.ROWS_NAMED:
            self._rows_named(window, outcome, result, now, trial=trial)
        elif outcome.verdict is Verdict.UNAUTHORIZED:
            self.api.pause(Pause.UNAUTHORIZED, brief(response), now, trial=trial)
            self._tried(window, outcome.verdict, now, trial=trial)
        elif outcome.verdict in (Verdict.NONE_NAMED, Verdict.TOO_LARGE):
            if trial:
                self.gate.upload_pause.probe_inconclusive(now)
                self._tried(window, outcome.verdict, now, trial=True)
            elif self.gate.pause is not None:
                self.windows.queue(window)  # what rejects everything may be what the pause is about
            else:
                self._rejected_whole(window, outcome, result, now, reduced=reduced)
        elif outcome.verdict is Verdict.THROTTLED:
            self.api.learn_from(window, outcome, response, now)
            self._inconclusive(now, trial=trial)
            self.windows.queue(window)  # the gate holds it back
        else:
            self._failed(window, outcome, response, result, now, trial=trial)
        return result

    def _inconclusive(self, now: float, *, trial: bool) -> None:
        if trial:
            self.gate.upload_pause.probe_inconclusive(now)

    def _tried(self, window: Window, verdict: Verdict, now: float, *, trial: bool) -> None:
        """It did not pass. The one that is tried.

        Others go before it, and where there are none, its parts do.

        A 401 divides nothing, as it is never the window's fault.
        """
        if trial:
            window.fail(now, verdict)
        divides = trial and verdict is not Verdict.UNAUTHORIZED and len(window.rows) > 1
        if divides and window.failures >= DIVIDED_BLIND_AFTER and self._nothing_else(window):
            self._divide(window, "trial", now)
        else:
            self.windows.queue(window)

    def _rejected_whole(
        self, window: Window, outcome: Outcome, result: Result, now: float, *, reduced: bool
    ) -> None:
        """A 400 that names no row, or a 413.

        ``reduced``: rows of the window were taken away meanwhile.
        """
        self._closed_circuit(now)
        too_large = outcome.verdict is Verdict.TOO_LARGE
        if reduced:
            # The answer is about more rows than are left: it says nothing about these alone.
            self.windows.queue(window)
            return
        if too_large:
            self._lanes.limit_bytes(window.rows, now)
        if len(window.rows) > 1:
            self._divide(window, "too_large" if too_large else "divided", now)
        else:
            self._reject(
                window,
                Rejection("rejected_by_api", outcome.text, None, "upload", outcome.status),
                result,
                now,
            )

    def _drop_orphans(self, window: Window, outcome: Outcome, result: Result) -> None:
        result.revoked = [row for row in window.rows if row.stage == Stage.DONE]
        window.rows = [row for row in window.rows if row.stage != Stage.DONE]
        window.begin_anew()  # what failed are not these rows alone
        outcome.rejected = [(row, why) for row, why in outcome.rejected if row.stage != Stage.DONE]
        outcome.candidates = [row for row in outcome.candidates if row.stage != Stage.DONE]
        outcome.others = [row for row in outcome.others if row.stage != Stage.DONE]
        outcome.missing = [row for row in outcome.missing if row.stage != Stage.DONE]

    def _nobody_waits(
        self, window: Window, outcome: Outcome, response: Response, now: float, *, trial: bool
    ) -> None:
        """An answer for rows that were all taken away: it still tells how the API is."""
        self.api.learn_from(window, outcome, response, now)
        if outcome.verdict in (
            Verdict.ACCEPTED,
            Verdict.ROWS_NAMED,
            Verdict.NONE_NAMED,
            Verdict.TOO_LARGE,
        ):
            self._closed_circuit(now)
        if outcome.verdict is Verdict.ACCEPTED:
            self.gate.on_acceptance()
            self.evidence.accepted(window, now)
        if trial and outcome.verdict is Verdict.ACCEPTED:
            self._unblock(now)
        else:
            self._inconclusive(now, trial=trial)
        self.evidence.forget(window)
        self.windows.end(window)

    def _closed_circuit(self, now: float) -> None:
        probes = self.api.answers_again()
        if not probes:
            return
        if probes >= OUTAGE_PROBES:
            self.windows.reset_failures(now, since=self.evidence.accepted_at)
        # Those that failed often may be at fault themselves: they go on waiting, or they would open
        # it again.
        self.windows.unpark(now, failures_below=USUALLY_DIVIDED_AFTER)

    def _accepted(
        self, window: Window, outcome: Outcome, result: Result, now: float, *, trial: bool
    ) -> None:
        self._closed_circuit(now)
        self.evidence.accepted(window, now)
        self._suspects_failed = False
        self.gate.on_acceptance()
        self._lanes.passed(window.rows, now)
        if trial:
            self._unblock(now)
        told = self.confirming.count(window, outcome)
        if told:
            self.api.changed_nothing(told, now)
        result.accepted, result.unconfirmed = window.rows, outcome.missing
        result.unlisted = outcome.unlisted
        result.affected, result.task_id = outcome.affected, outcome.task_id
        result.resend = self.confirming.again(window, outcome.missing)
        if result.resend:
            once_more = {id(row) for row in result.resend}
            result.accepted = [row for row in window.rows if id(row) not in once_more]
            result.unconfirmed = [row for row in outcome.missing if id(row) not in once_more]
            self.resent["unconfirmed"] += len(result.resend)
        self.windows.suspect_siblings(window)
        self.windows.end(window)

    def _rows_named(
        self, window: Window, outcome: Outcome, result: Result, now: float, *, trial: bool
    ) -> None:
        self._closed_circuit(now)
        named = [row for row, _ in outcome.rejected] + outcome.candidates
        if self.gate.upload_pause.rejecting:
            # Nothing is dead-lettered while everything is rejected; what was not named may do, and
            # so may rows that were not tried yet: they go before the ones that were.
            if named:  # else all that were named were taken away meanwhile
                again = self.windows.make(window.data_key, named, PART)
                again.failures = window.failures + 1
                self.windows.queue(again)
                self.resent["rows_named"] += len(named)
            if trial and outcome.others:
                self.gate.upload_pause.probe_again(now)
            elif trial:
                self.gate.upload_pause.begin(Pause.EVERYTHING_REJECTED, now, trial=True)
        else:
            if trial:
                self._unblock(now)
            for row, why in outcome.rejected:
                if why.reason == "unknown_key" and self._grace(row, result, now):
                    continue
                result.rejected.append((row, why))
            self._count_rejections(len(result.rejected), now)
            self._try_alone(window, outcome.candidates)
        if outcome.others:
            window.rows = outcome.others
            window.begin_anew()
            self.windows.queue(window)
        else:
            self.windows.end(window)

    def _try_alone(self, window: Window, rows: list[Row]) -> None:
        """It is not known which of these rows an error is about.

        Each goes alone, and its own answer will tell.
        """
        if not rows:
            return
        self._lines.trying()
        self.resent["divided"] += len(rows)
        for row in rows:
            self.windows.queue(self.windows.make(window.data_key, [row], PART))

    def _grace(self, row: Row, result: Result, now: float) -> bool:
        """Whether a row whose key the API does not know is tried again."""
        grace = self._policy.unknown_key_grace
        if not grace:
            return False
        if not row.unknown_tries:
            row.unknown_since = now
        until = row.unknown_since + grace
        if now >= until:
            return False
        row.unknown_tries += 1
        row.suspect = True
        at = min(until, now + self._policy.delay(row.unknown_tries, self._rng()))
        result.retry_at.append((at, row))
        self.resent["unknown_key"] += 1
        return True

    def _count_rejections(self, count: int, now: float) -> None:
        if self.gate.upload_pause.on_rejections(count):
            text = f"{self.gate.upload_pause.rejections_in_a_row} rejections in a row and nothing accepted"
            self.api.pause(Pause.EVERYTHING_REJECTED, text, now)

    def _reject(self, window: Window, why: Rejection, result: Result, now: float) -> None:
        result.rejected = [(row, why) for row in window.rows]
        self.evidence.forget(window)
        self.windows.end(window)
        self._count_rejections(len(result.rejected), now)

    def _divide(
        self, window: Window, cause: str, now: float, *, parts: int = 2, suspect: bool = False
    ) -> None:
        self.resent[cause] += len(window.rows)
        self.evidence.forget(window)
        self.windows.divide(
            window, now, parts=parts, failing=cause in ("halved", "trial"), suspect=suspect
        )

    # -- failures that may be the API's fault ----------------------------------------------------

    def _failed(
        self,
        window: Window,
        outcome: Outcome,
        response: Response,
        result: Result,
        now: float,
        *,
        trial: bool,
    ) -> None:
        """403 to 406, unexpected answers, 408, 5xx, a lost answer, not sent, a failed task.

        See ``evidence``.
        """
        verdict = outcome.verdict
        paused = self.gate.pause is not None and not trial
        self.api.learn_from(window, outcome, response, now)
        if paused and verdict in PAUSES:
            self.windows.queue(
                window
            )  # it was sent before the pause, and meets what the pause is about
            return
        # What it was before may have been the whole API's fault, and so may this be.
        refused_again = window.retried_after_evidence and window.failed_as is verdict
        window.fail(now, verdict)
        evidence = self.evidence.passed_since(window, window.doubted_since)
        step = Step.RETRY
        if verdict is not Verdict.UNSENT:  # that says nothing about the rows
            more = {
                "evidence": evidence,
                "refused_again": refused_again,
                "trial": trial,
                "paused": paused,
            }
            step = next_step(self._failure(window, verdict, now, **more))
        window.suspect = window.suspect or (
            evidence and verdict is not Verdict.UNSENT and not self.gate.pause
        )
        self._suspects_failed = window.suspect
        if trial and verdict in PAUSES:
            self.api.pause(PAUSES[verdict], brief(response), now, trial=True)
        else:
            self._inconclusive(now, trial=trial)
        match step:
            case Step.DIVIDE:
                parts = SLOW_PARTS if response.seconds >= SLOW_SECONDS else 2
                self._divide(window, "halved", now, parts=parts, suspect=evidence)
            case Step.REJECT:
                why = Rejection("rejected_by_api", outcome.text, None, "upload", outcome.status)
                self._reject(window, why, result, now)
            case Step.GIVE_UP:
                # Without evidence, or it had been rejected, nobody knows whether a failed task is
                # about its row.
                reason = "rejected_by_api" if verdict is Verdict.REFUSED else "api_error"
                self._reject(
                    window,
                    Rejection(reason, outcome.text, None, "upload", outcome.status),
                    result,
                    now,
                )
            case Step.PAUSE:
                self.api.pause(PAUSES[verdict], brief(response), now, trial=trial)
                self.windows.queue(window)
            case Step.GO_BY_TASK | Step.RETRY:
                if step is Step.GO_BY_TASK:
                    self._single_by_task(window)
                # As long as nothing passes it is the API's trouble: its end is to be noticed soon.
                # A task costs more.
                cap = math.inf if evidence or outcome.task_id else PROBE_SECONDS
                self.windows.park(
                    window, now + self._policy.delay(window.failures, self._rng(), cap)
                )

    def _failure(
        self,
        window: Window,
        verdict: Verdict,
        now: float,
        *,
        evidence: bool,
        refused_again: bool,
        trial: bool,
        paused: bool,
    ) -> Failure:
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
            nothing_else=self._nothing_else(window),
            only_suspects=window.suspect and self._only_suspects(),
            api_doubtful=refused_by_all or not self.evidence.accepted_lately(now),
            paused=paused,
            on_trial=trial,
            expired=self.gate.pause is None and self.evidence.expired(window, now),
            lone_task=self.evidence.lone_task(window, now),
            by_task=window.by_task,
            may_go_by_task=self._single_rows_by_task,
        )

    def _is_at_fault(self, window: Window) -> bool:
        """Whether others passed since a window was refused, or a part of one at fault failed.

        It need not go whole.
        """
        doubted = window.failures > 0 and (window.suspect or window.failed_as in PAUSES)
        return doubted and self.evidence.passed_since(window, window.doubted_since)

    def _nothing_else(self, window: Window) -> bool:
        """Whether no other row or window of its kind is left that could show, untried, that the API
        works.
        """
        others = (
            other
            for other in self.windows.live
            if other is not window and other.by_task is window.by_task
        )
        return not self._lanes.has(by_task=window.by_task) and all(
            other.failures for other in others
        )

    def _only_suspects(self) -> bool:
        """Whether all that can be sent failed while others passed.

        One that did not may fail by the API's fault.
        """
        live = self.windows.live
        return not self._lanes and bool(live) and all(window.suspect for window in live)

    def _single_by_task(self, window: Window) -> None:
        """A single row that the synchronous call keeps failing for.

        It may touch too many codes for it.
        """
        window.by_task = True
        for row in window.rows:
            go_by_task(row)
