"""From a closed window to an outcome for each of its rows: sent, sent again, divided, held back.

What an answer means is read in ``outcomes``, what it says about the API is kept in ``api_health``, what it leaves open
in ``confirming``; here stands what follows for the rows, given what the rest of the process sees. Where each window is
meanwhile is kept in ``windows``.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable

import msgspec

from consumer.core.api_health import ApiHealth
from consumer.core.confirming import Confirming
from consumer.core.counting import Histogram
from consumer.core.gate import PROBE_SECONDS, Gate, Pause, Step
from consumer.core.lanes import Lanes
from consumer.core.model import Rejection, Row, Stage
from consumer.core.outcomes import Outcome, Reading, brief, classify
from consumer.core.reply import Reply
from consumer.core.retry import RetryPolicy
from consumer.core.rows import go_by_task
from consumer.core.tasks import Task, Tasks
from consumer.core.windows import PARTS, Place, Window, Windows

#: Bounds of the histograms: how long a request took, seconds; and rows of a window.
SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 40.0, 60.0, 80.0)
ROWS = (1.0, 2.0, 5.0, 10.0, 20.0, 40.0, 60.0, 80.0, 99.0, 100.0)
#: After this many 5xx or time-outs of one window, while others pass, the fault is sought in the window.
FAULTS_BEFORE_SPLIT = 3
#: Where nothing can pass any more, a window is halved all the same, while there are at most so many: a good part that
#: passes shows that the API works. In an outage that leaves only so many small windows behind.
FEW_WINDOWS = 16
#: After so many failed probes it was an outage: what failed meanwhile says nothing about the windows. After fewer it
#: may have been windows that fail by their own fault, which must not be pardoned again and again.
OUTAGE_PROBES = 10
#: A window that was tried alone this often while uploading is paused, and failed, is divided.
TRIALS_BEFORE_SPLIT = 2
#: The most that passes on the passing clock between two accepted windows, so that an outage does not count: seconds,
#: and as a share of the time after which a row is given up.
PASSING_GAP = 60.0
PASSING_SHARE = 0.05


class Result(msgspec.Struct, gc=False):
    """What an answer brings to rows; windows that are sent again stay inside."""

    accepted: list[Row] = []
    unconfirmed: list[Row] = []  #: of the accepted ones: no answer listed them
    unlisted: dict[int, list[str]] = {}  #: by the id of an accepted row, its fields that the answer did not list
    affected: int | None = None  #: codes that the request changed, all its rows together, if the API told
    task_id: str = ""  #: of the task by which the rows were accepted
    rejected: list[tuple[Row, Rejection]] = []
    again: list[Row] = []  #: ready once more, for a later window
    later: list[tuple[float, Row]] = []  #: ready once more from a time on
    orphans: list[Row] = []  #: their partition was taken away meanwhile: only their claims are freed
    data_key: str = ""  #: of the window


class Uploads:
    """What the answers to windows do to their rows, and to the gate."""

    def __init__(
        self,
        lanes: Lanes,
        windows: Windows,
        gate: Gate,
        policy: RetryPolicy,
        draw: Callable[[], float],
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
        self._draw = draw
        self._max_processing = max_processing
        self.tasks = tasks
        self._single_rows_by_task = single_rows_by_task
        self._passing_gap = min(PASSING_GAP, PASSING_SHARE * policy.give_up)
        self.accepted_windows = 0
        self._accepted_sent_at = -1.0  #: when the latest request that was accepted was sent
        self._accepted_at = -1.0
        self._passing = 0.0  #: the passing clock: seconds in which windows were being accepted
        self.starved = False  #: nothing is ready, and no more is read until windows succeed
        self.held_until = -1.0  #: no row's claim is held longer than this by a lost answer
        self.revoked_at = -1.0  #: when rows were last taken away
        self.requests: Counter[str] = Counter()  #: ended attempts, by what the answer meant
        self.tasks_ended: Counter[str] = Counter()  #: asynchronous uploads, by what their end meant
        self.request_seconds = Histogram(SECONDS)  #: of those that were sent
        self.retries: Counter[str] = Counter()  #: attempts after which the window goes again, by what the answer meant
        self.resent: Counter[str] = Counter()  #: rows that go again, by cause
        self.closed: Counter[str] = Counter()  #: windows by the reason they closed
        self.window_rows = Histogram(ROWS)  #: rows of closed windows
        self.confirming = Confirming()

    # -- sending -------------------------------------------------------------------------------------------------

    def next(self, now: float) -> Window | None:
        """The window that goes next, marked as sent at ``now``; None: none is closable."""
        window = self.windows.next(now, alone=self.gate.alone, tasks=not self.tasks.full)
        if window is None:
            return None
        window.on_trial = self.gate.pause is not None
        if window.attempts == 1 and window.reason not in PARTS:
            self.closed[window.reason] += 1
            self.window_rows.observe(len(window.rows))
        self.gate.start(now)
        return window

    @property
    def in_flight(self) -> list[Window]:
        """The windows whose outcomes are awaited: an answer, or the end of a task."""
        return self.windows.in_flight

    def ask_about(self, now: float) -> Task | None:
        """The task that is asked about now; None: none is due."""
        task = self.tasks.next(now)
        if task is not None:
            self.gate.question(now)
        return task

    # -- answers -------------------------------------------------------------------------------------------------

    def ended(self, window: Window, reply: Reply, now: float) -> Result:
        """An attempt ended: what becomes of its rows; what is sent again is queued or parked."""
        self.gate.ended()
        outcome = classify(window.data_key, window.rows, reply, by_task=window.by_task)
        reading = outcome.reading
        self.requests[reading.value] += 1
        self.api.heard(reply, now, failed=reading in (Reading.FAILED, Reading.LOST, Reading.UNSENT))
        if reading is not Reading.UNSENT:
            self.request_seconds.observe(reply.seconds)
        if reading is Reading.STARTED:
            self._started(window, outcome.task_id, now)
            return Result()
        # A process that got no time in between sent it later than it was handed out: that time counts.
        sent_at = max(window.sent_at, now - reply.seconds)
        return self._ended(window, outcome, reply, now, lost_until=sent_at + self._max_processing)

    def questioned(self, task: Task, reply: Reply, now: float) -> Result:
        """A question about a task was answered, or got no answer: what becomes of its window, if the task has ended."""
        if not task.asking:
            return Result()  # it was answered before
        self.gate.questioned()
        self.api.questioned(task, reply, now)
        outcome = self.tasks.answered(task, reply, now, self._policy, self._draw())
        if outcome is None:
            return Result()
        self.tasks_ended[outcome.reading.value] += 1
        # When it was started tells nothing: nobody knows when the API will come to it, if it does.
        return self._ended(task.window, outcome, reply, now, lost_until=now + self._max_processing)

    def _started(self, window: Window, task_id: str, now: float) -> None:
        """The API has taken the window over: so it works; what becomes of the rows, the task's end tells."""
        self._closed_circuit(now)
        window.place = Place.TASK
        self.tasks.start(window, task_id, now)
        if self._trying(window) and not self.gate.rejecting:
            window.on_trial = False
            self.api.unblock()

    def _trying(self, window: Window) -> bool:
        """Whether this is the one window that is tried while uploading is paused."""
        return window.on_trial and self.gate.pause is not None and self.gate.step is Step.TRYING

    def _ended(self, window: Window, outcome: Outcome, reply: Reply, now: float, *, lost_until: float) -> Result:
        result = self._judge(window, outcome, reply, now, lost_until)
        result.data_key = window.data_key
        if window.place is not Place.GONE:  # it goes again, whole or what is left of it
            self.retries[outcome.reading.value] += 1
            self.resent[outcome.reading.value] += len(window.rows)
        return result

    def _judge(self, window: Window, outcome: Outcome, reply: Reply, now: float, lost_until: float) -> Result:
        """What becomes of the rows and the window; ``lost_until``: as long a lost call of it may take effect."""
        if outcome.reading is Reading.LOST:
            self.held_until = max(self.held_until, lost_until)
            for row in window.rows:
                row.hold_until = max(row.hold_until, lost_until)
                partition = row.record.partition
                partition.lost_until = max(partition.lost_until, lost_until)
        result = Result()
        # Only while rows were taken away since it was sent can some of its rows be done.
        reduced = window.sent_at <= self.revoked_at and any(row.stage == Stage.DONE for row in window.rows)
        if reduced:
            self._drop_orphans(window, outcome, result)
        trial = self._trying(window)
        if not window.rows:
            self._nobody_waits(window, outcome, reply, now, trial=trial)
        elif outcome.reading is Reading.ACCEPTED:
            self._accepted(window, outcome, result, now, trial=trial)
        elif outcome.reading is Reading.ROWS_NAMED:
            self._rows_named(window, outcome, result, now, trial=trial)
        elif outcome.reading in (Reading.UNAUTHORIZED, Reading.UNEXPECTED):
            pause = Pause.UNAUTHORIZED if outcome.reading is Reading.UNAUTHORIZED else Pause.UNEXPECTED
            self.api.pause(pause, brief(reply), now)
            self._tried(window, now) if trial else self.windows.queue(window)
        elif trial or (self.gate.rejecting and outcome.reading in (Reading.NONE_NAMED, Reading.TOO_LARGE)):
            self.api.learn(window, outcome, reply, now)
            self.gate.trial_inconclusive(now)
            self._tried(window, now)
        elif outcome.reading in (Reading.NONE_NAMED, Reading.TOO_LARGE):
            self._rejected_whole(window, outcome, result, now, reduced=reduced)
        elif outcome.reading is Reading.REFUSED:
            self._refused(window, outcome, reply, result, now)
        else:
            self._again(window, outcome, reply, result, now)
        return result

    def _rejected_whole(self, window: Window, outcome: Outcome, result: Result, now: float, *, reduced: bool) -> None:
        """A 400 that names no row, or a 413; ``reduced``: rows of the window were taken away meanwhile."""
        self._closed_circuit(now)
        if reduced:
            # The answer is about more rows than are left: it says nothing about these alone.
            self.windows.queue(window)
        elif outcome.reading is Reading.NONE_NAMED:
            self._seek(window, Rejection("rejected_by_api", outcome.text, None, "upload", outcome.status), result, now)
        else:
            self._lanes.limit_bytes(window.rows)
            if not self._halve(window, "too_large"):
                self._reject(window, Rejection("rejected_by_api", outcome.text, None, "upload", 413), result, now)

    def _drop_orphans(self, window: Window, outcome: Outcome, result: Result) -> None:
        result.orphans = [row for row in window.rows if row.stage == Stage.DONE]
        window.rows = [row for row in window.rows if row.stage != Stage.DONE]
        window.refused_at = -1.0  # what was refused are not these rows alone
        outcome.rejected = [(row, why) for row, why in outcome.rejected if row.stage != Stage.DONE]
        outcome.others = [row for row in outcome.others if row.stage != Stage.DONE]
        outcome.missing = [row for row in outcome.missing if row.stage != Stage.DONE]

    def _nobody_waits(self, window: Window, outcome: Outcome, reply: Reply, now: float, *, trial: bool) -> None:
        """An answer for rows that were all taken away: it still tells how the API is."""
        self.api.learn(window, outcome, reply, now)
        if outcome.reading is Reading.ACCEPTED:
            self.gate.accepted()
        if outcome.reading in (Reading.ACCEPTED, Reading.ROWS_NAMED, Reading.NONE_NAMED, Reading.TOO_LARGE):
            self._closed_circuit(now)
        if trial and outcome.reading is Reading.ACCEPTED:
            self.api.unblock()
        elif trial:
            self.gate.trial_inconclusive(now)
        self.windows.end(window)

    def _closed_circuit(self, now: float) -> None:
        probes = self.api.answers_again()
        if not probes:
            return
        if probes >= OUTAGE_PROBES:
            self.windows.pardon(now, passed=self.accepted_windows)
        # Those that failed often may be at fault themselves: they go on waiting, or they would open it again.
        self.windows.unpark(now, faults_below=FAULTS_BEFORE_SPLIT)

    def _accepted(self, window: Window, outcome: Outcome, result: Result, now: float, *, trial: bool) -> None:
        self._closed_circuit(now)
        self.accepted_windows += 1
        self._accepted_sent_at = max(self._accepted_sent_at, window.sent_at)
        self._pass(now)
        self.gate.accepted()
        if trial:
            self.api.unblock()
        told = self.confirming.count(window, outcome)
        if told:
            self.api.changed_nothing(told, now)
        result.accepted, result.unconfirmed = window.rows, outcome.missing
        result.unlisted = outcome.unlisted
        result.affected, result.task_id = outcome.affected, outcome.task_id
        result.again = self.confirming.again(window, outcome.missing)
        if result.again:
            once_more = {id(row) for row in result.again}
            result.accepted = [row for row in window.rows if id(row) not in once_more]
            result.unconfirmed = [row for row in outcome.missing if id(row) not in once_more]
            self.resent["unconfirmed"] += len(result.again)
        rest, window.rest = window.rest, None
        self.windows.end(window)
        if rest is not None:
            # This part of a window that was rejected whole passes, so the fault is in the rest.
            self.windows.divide(rest) if len(rest.rows) > 1 else self.windows.queue(rest)

    def _pass(self, now: float) -> None:
        """The passing clock goes on."""
        if self._accepted_at >= 0:
            self._passing += min(max(0.0, now - self._accepted_at), self._passing_gap)
        self._accepted_at = now

    def _rows_named(self, window: Window, outcome: Outcome, result: Result, now: float, *, trial: bool) -> None:
        self._closed_circuit(now)
        if self.gate.rejecting:
            # Nothing is dead-lettered while everything is rejected; what was not named may do, and so may rows that
            # were not tried yet: they go before the ones that were.
            if outcome.rejected:  # else all that were named were taken away meanwhile
                named = self.windows.make(window.data_key, [row for row, _ in outcome.rejected], "rest")
                named.trials = window.trials + 1
                self.windows.queue(named)
                self.resent["rows_named"] += len(named.rows)
            if trial and outcome.others:
                self.gate.trial_again(now)
            elif trial:
                self.gate.block(Pause.EVERYTHING_REJECTED, now)
        else:
            if trial:
                self.api.unblock()
            for row, why in outcome.rejected:
                if why.reason == "unknown_key" and self._grace(row, result, now):
                    continue
                result.rejected.append((row, why))
            self._count_rejections(len(result.rejected), now)
        self.windows.release_rest(window)
        if outcome.others:
            window.rows = outcome.others
            window.failures = 0
            window.refused_at = -1.0
            self.windows.queue(window)
        else:
            self.windows.end(window)

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
        at = min(until, now + self._policy.delay(row.unknown_tries, self._draw()))
        result.later.append((at, row))
        self.resent["unknown_key"] += 1
        return True

    def _count_rejections(self, count: int, now: float) -> None:
        if self.gate.rejected(count):
            text = f"{self.gate.rejections_in_a_row} rejections in a row and nothing accepted"
            self.api.pause(Pause.EVERYTHING_REJECTED, text, now)

    def _seek(self, window: Window, why: Rejection, result: Result, now: float) -> None:
        """The window is rejected whole: seek the bad row, or reject the only one."""
        self.windows.release_rest(window)
        if len(window.rows) > 1:
            self.resent["divided"] += len(window.rows)
            self.windows.divide(window)
        else:
            self._reject(window, why, result, now)

    def _reject(self, window: Window, why: Rejection, result: Result, now: float) -> None:
        result.rejected = [(row, why) for row in window.rows]
        self.windows.end(window)
        self._count_rejections(len(result.rejected), now)

    def _halve(self, window: Window, cause: str) -> bool:
        if not self.windows.halve(window):
            return False
        self.resent[cause] += len(window.rows)
        return True

    def _refused(self, window: Window, outcome: Outcome, reply: Reply, result: Result, now: float) -> None:
        """403, 404, 405, 406: the window's fault only if a request sent after an earlier refusal was accepted.

        Each step asks for evidence anew. So a permission that is lost in the middle of the search ends it: nothing
        is accepted any more, and uploading pauses.
        """
        part = window.refused_at >= 0
        others_pass = part and self._accepted_sent_at > window.refused_at
        window.refused_at = now
        if others_pass:
            why = Rejection("rejected_by_api", outcome.text, None, "upload", reply.status)
            self._seek(window, why, result, now)
            return
        window.refusals += 1
        self.windows.release_rest(window)
        if part and window.refusals <= TRIALS_BEFORE_SPLIT:
            self.windows.park(window, now + self._policy.delay(window.refusals, self._draw()))
        else:
            self.api.pause(Pause.REFUSED, brief(reply), now)
            self.windows.queue(window)

    def _again(self, window: Window, outcome: Outcome, reply: Reply, result: Result, now: float) -> None:
        """429, 408, 5xx, a lost answer, not sent: the same rows again."""
        self.api.learn(window, outcome, reply, now)
        window.failures += 1
        if outcome.reading is Reading.THROTTLED:
            self.windows.queue(window)  # the gate holds it back
            return
        self.windows.release_rest(window)
        if window.passed_mark < 0:
            window.passed_mark = self.accepted_windows
        others_pass = self.accepted_windows > window.passed_mark
        if outcome.reading in (Reading.FAILED, Reading.LOST):
            window.faults += 1
            window.blamed = window.blamed or others_pass
            if window.blamed and self.starved and self._others_blamed:
                # No others can pass any more, and that they did before has to do: or this would never end.
                others_pass = True
                self._pass(now)
            seeks = others_pass or (self.starved and len(self.windows.live) <= FEW_WINDOWS)
            if window.faults >= FAULTS_BEFORE_SPLIT and seeks and self._halve(window, "halved"):
                return
            if window.faults >= FAULTS_BEFORE_SPLIT and others_pass and self._single_rows_by_task:
                self._single_by_task(window)
            if len(window.rows) == 1 and self._policy.give_up:
                if window.failing_since < 0:
                    window.failing_since = self._passing
                elif self._passing - window.failing_since >= self._policy.give_up:
                    self._reject(
                        window,
                        Rejection("api_error", outcome.text, None, "upload", outcome.status),
                        result,
                        now,
                    )
                    return
        # As long as nothing passes it is the API's trouble: its end is to be noticed soon.
        cap = math.inf if others_pass else PROBE_SECONDS
        self.windows.park(window, now + self._policy.delay(window.failures, self._draw(), cap))

    @property
    def _others_blamed(self) -> bool:
        """Whether all that is unsettled failed while others passed; one that did not may fail by the API's fault."""
        return all(window.blamed for window in self.windows.live)

    def _single_by_task(self, window: Window) -> None:
        """A single row that the synchronous call keeps failing for: it may touch too many codes for it."""
        if not window.by_task:
            window.by_task = True
            for row in window.rows:
                go_by_task(row)

    def _tried(self, window: Window, now: float) -> None:
        """The window was tried alone and failed: others are tried before it, then its parts."""
        window.trials += 1
        self.windows.release_rest(window)
        if self.gate.pause is Pause.REFUSED:
            window.refused_at = now
        if window.trials < TRIALS_BEFORE_SPLIT or not self._halve(window, "trial"):
            self.windows.queue(window)
