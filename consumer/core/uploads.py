"""From a closed window to an outcome for each of its rows: sent, sent again, divided, held back.

A window is in one place: queued (to be sent as soon as the gate lets it), parked (until a time), in flight, or
behind the first part of a bisected window. Its rows keep their claims in all of them. What an answer means is read
in ``outcomes``; here stands what follows from it, given what the rest of the process sees.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Iterator

import msgspec

from consumer.core.gate import Gate, Pause, Step
from consumer.core.model import Rejection, Row, Stage
from consumer.core.outcomes import Outcome, Reading, classify, describe
from consumer.core.reply import Reply
from consumer.core.retry import RetryPolicy
from consumer.core.windows import Lanes, Place, Window, bisect

#: After this many 5xx or time-outs of one window, while others pass, the fault is sought in the window.
FAULTS_BEFORE_SPLIT = 3
#: A window that was tried alone this often while uploading is paused, and failed, is divided.
TRIALS_BEFORE_SPLIT = 2
#: After this many repeats of unconfirmed rows that confirmed nothing, a data key's rows are repeated no more.
FRUITLESS_REPEATS = 20
#: The most that passes on the passing clock between two accepted windows, so that an outage does not count: seconds,
#: and as a share of the time after which a row is given up.
PASSING_GAP = 60.0
PASSING_SHARE = 0.05


class Result(msgspec.Struct, gc=False):
    """What an answer brings to rows; windows that are sent again stay inside."""

    accepted: list[Row] = []
    rejected: list[tuple[Row, Rejection]] = []
    again: list[Row] = []  #: ready once more, for a later window
    later: list[tuple[float, Row]] = []  #: ready once more from a time on
    orphans: list[Row] = []  #: their partition was taken away meanwhile: only their claims are freed


class Notice(msgspec.Struct, frozen=True):
    """Something a person wants to know: a change of the process's state."""

    level: str
    text: str


class Uploads:
    """All windows of the process between their cut and their end."""

    def __init__(
        self,
        lanes: Lanes,
        gate: Gate,
        policy: RetryPolicy,
        draw: Callable[[], float],
        *,
        max_processing: float,
        pause_after_rejections: int,
    ) -> None:
        self.lanes = lanes
        self.gate = gate
        self._policy = policy
        self._draw = draw
        self._max_processing = max_processing
        self._passing_gap = min(PASSING_GAP, PASSING_SHARE * policy.give_up)
        self._pause_after = pause_after_rejections
        self.live: dict[Window, None] = {}
        self._queued: list[tuple[float, int, Window]] = []
        self._parked: list[tuple[float, int, Window]] = []
        self.accepted_windows = 0
        self._accepted_sent_at = -1.0  #: when the latest request that was accepted was sent
        self._accepted_at = -1.0
        self._passing = 0.0  #: the passing clock: seconds in which windows were being accepted
        self._rejections_in_a_row = 0
        self._fruitless: Counter[str] = Counter()
        self._repeating = False  #: a row has been sent again because an answer did not confirm it
        self.held_until = -1.0  #: no row's claim is held longer than this by a lost answer
        self.revoked_at = -1.0  #: when rows were last taken away
        self.notices: list[Notice] = []
        self.requests: Counter[str] = Counter()
        self.resent: Counter[str] = Counter()  #: rows sent again, by cause
        self.closed: Counter[str] = Counter()  #: windows by the reason they closed
        self.unconfirmed = 0
        self.fields_not_confirmed: Counter[str] = Counter()

    # -- sending -------------------------------------------------------------------------------------------------

    def next(self, now: float, *, drain: bool = False) -> Window | None:
        """The window that goes next, marked as sent at ``now``; None: none is closable."""
        while self._parked and self._parked[0][0] <= now:
            due_at, _, due = heapq.heappop(self._parked)
            if due.place is Place.PARKED and due.due_at == due_at:
                self._queue(due)
        window = self._trial(now) if self.gate.alone else self._pop_queued() or self.lanes.cut(now, drain=drain)
        if window is None:
            return None
        if window.attempts == 0:
            self.closed[window.reason] += 1
        self.live[window] = None
        window.place = Place.IN_FLIGHT
        window.attempts += 1
        window.sent_at = now
        for row in window.rows:
            row.attempts += 1
        self.gate.start(now)
        return window

    def wakes_at(self) -> float | None:
        """When the first parked window is due; None: none is parked."""
        while self._parked:
            due_at, _, window = self._parked[0]
            if window.place is Place.PARKED and window.due_at == due_at:
                return due_at
            heapq.heappop(self._parked)
        return None

    @property
    def waiting(self) -> bool:
        """Whether a window is queued."""
        while self._queued and self._queued[0][2].place is not Place.QUEUED:
            heapq.heappop(self._queued)
        return bool(self._queued)

    @property
    def in_flight(self) -> list[Window]:
        """The windows whose answers are awaited."""
        return [window for window in self.live if window.place is Place.IN_FLIGHT]

    def _pop_queued(self) -> Window | None:
        return heapq.heappop(self._queued)[2] if self.waiting else None

    def _trial(self, now: float) -> Window | None:
        """The one window to try, as a pause's trial or a circuit's probe: the one that failed least.

        A window that fails by its own fault would else be tried for ever, while others could show that all is well.
        """
        held = [w for w in self.live if w.place in (Place.QUEUED, Place.PARKED)]
        best = min(held, key=lambda w: (w.times_failed, w.oldest, w.number), default=None)
        if best is None or best.times_failed > 0:
            return self.lanes.cut(now, drain=True) or best
        return best

    def _queue(self, window: Window) -> None:
        self.live[window] = None
        window.place = Place.QUEUED
        heapq.heappush(self._queued, (window.oldest, window.number, window))

    def _park(self, window: Window, until: float) -> None:
        self.live[window] = None
        window.place = Place.PARKED
        window.due_at = until
        heapq.heappush(self._parked, (until, window.number, window))

    def _end(self, window: Window) -> None:
        """The window is no more; what waited behind it goes."""
        window.place = Place.GONE
        self.live.pop(window, None)
        self._release_rest(window)

    def _release_rest(self, window: Window) -> None:
        """The window's answer may be long in coming: what waits behind it does not depend on it, and goes."""
        rest, window.rest = window.rest, None
        if rest is not None:
            self._queue(rest)

    def rows_at_rest(self) -> Iterator[Row]:
        """The rows of windows that are not in flight, those behind the first part of a bisected one included."""
        for window in self.live:
            if window.place is not Place.IN_FLIGHT:
                yield from window.rows
            behind = window.rest
            while behind is not None:
                yield from behind.rows
                behind = behind.rest

    def remove_done(self) -> None:
        """Take released rows out of the windows that are not in flight."""
        for window in list(self.live):
            # Those behind first: when nothing is left of the window itself, the next one takes its place.
            behind = window
            while behind.rest is not None:
                behind.rest.rows = [row for row in behind.rest.rows if row.stage != Stage.DONE]
                if not behind.rest.rows:
                    behind.rest = behind.rest.rest
                else:
                    behind = behind.rest
            if window.place is Place.IN_FLIGHT:
                continue
            before = len(window.rows)
            window.rows = [row for row in window.rows if row.stage != Stage.DONE]
            if len(window.rows) < before:
                window.refused_at = -1.0  # what was refused are not these rows alone
            if not window.rows:
                self._end(window)

    # -- answers -------------------------------------------------------------------------------------------------

    def ended(self, window: Window, reply: Reply, now: float) -> Result:
        """An attempt ended: what becomes of its rows; what is sent again is queued or parked."""
        self.gate.ended()
        outcome = classify(window.data_key, window.rows, reply)
        self.requests[outcome.reading.value] += 1
        if outcome.reading is Reading.LOST:
            until = window.sent_at + self._max_processing
            self.held_until = max(self.held_until, until)
            for row in window.rows:
                row.hold_until = max(row.hold_until, until)
        result = Result()
        # Only while rows were taken away since it was sent can some of its rows be done.
        reduced = window.sent_at <= self.revoked_at and any(row.stage == Stage.DONE for row in window.rows)
        if reduced:
            self._drop_orphans(window, outcome, result)
        trial = self.gate.pause is not None and self.gate.step is Step.TRYING
        if not window.rows:
            self._nobody_waits(window, outcome, reply, now, trial=trial)
        elif outcome.reading is Reading.ACCEPTED:
            self._accepted(window, outcome, result, now, trial=trial)
        elif outcome.reading is Reading.ROWS_NAMED:
            self._rows_named(window, outcome, result, now, trial=trial)
        elif outcome.reading in (Reading.UNAUTHORIZED, Reading.UNEXPECTED):
            self._pause(
                Pause.UNAUTHORIZED if outcome.reading is Reading.UNAUTHORIZED else Pause.UNEXPECTED,
                outcome,
                now,
            )
            self._tried(window, now) if trial else self._queue(window)
        elif trial or (self.gate.rejecting and outcome.reading in (Reading.NONE_NAMED, Reading.TOO_LARGE)):
            self._learn(window, outcome, reply, now)
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
            self._queue(window)  # the answer is about more rows than are left: it says nothing about these alone
        elif outcome.reading is Reading.NONE_NAMED:
            self._seek(window, Rejection("rejected_by_api", outcome.text, None, "upload", 400), result, now)
        else:
            self.lanes.limit_bytes(window)
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
        self._learn(window, outcome, reply, now)
        if outcome.reading is Reading.ACCEPTED:
            self._rejections_in_a_row = 0
        if outcome.reading in (Reading.ACCEPTED, Reading.ROWS_NAMED, Reading.NONE_NAMED, Reading.TOO_LARGE):
            self._closed_circuit(now)
        if trial and outcome.reading is Reading.ACCEPTED:
            self._unblock()
        elif trial:
            self.gate.trial_inconclusive(now)
        self._end(window)

    def _learn(self, window: Window, outcome: Outcome, reply: Reply, now: float) -> None:
        """What an answer says about the API, whatever becomes of the rows."""
        reading = outcome.reading
        if reading is Reading.THROTTLED or (reading is Reading.FAILED and reply.retry_after is not None):
            wait = self.gate.throttled(now, reply.retry_after)
            self.notices.append(Notice("info", f"the API asks to slow down: no request for {wait:.1f} s"))
        if reading in (Reading.FAILED, Reading.LOST, Reading.UNSENT) and self.gate.failed(window.number, now):
            self.notices.append(
                Notice(
                    "warning",
                    f"the API fails for several windows ({outcome.text}): one request at a time until it is back",
                )
            )

    def _closed_circuit(self, now: float) -> None:
        if self.gate.answered():
            self.notices.append(Notice("info", "the API answers again: full speed"))
            for window in self.live:
                # Those that failed often may be at fault themselves: they go on waiting, or they would open it again.
                if window.place is Place.PARKED and window.faults < FAULTS_BEFORE_SPLIT:
                    self._park(window, now)

    def _accepted(self, window: Window, outcome: Outcome, result: Result, now: float, *, trial: bool) -> None:
        self._closed_circuit(now)
        self.accepted_windows += 1
        self._accepted_sent_at = max(self._accepted_sent_at, window.sent_at)
        if self._accepted_at >= 0:
            self._passing += min(max(0.0, now - self._accepted_at), self._passing_gap)
        self._accepted_at = now
        self._rejections_in_a_row = 0
        if trial:
            self._unblock()
        if outcome.unlisted:
            self.fields_not_confirmed.update(outcome.unlisted)
        result.accepted = window.rows
        if outcome.missing or self._repeating:
            self._repeat_unconfirmed(window, outcome.missing, result)
        rest, window.rest = window.rest, None
        self._end(window)
        if rest is not None:
            # This part of a window that was rejected whole passes, so the fault is in the rest.
            self._divide(rest) if len(rest.rows) > 1 else self._queue(rest)

    def _repeat_unconfirmed(self, window: Window, missing: list[Row], result: Result) -> None:
        absent = {id(row) for row in missing}
        repeats = [row for row in window.rows if row.confirmed_once]
        if repeats:
            fruitful = any(id(row) not in absent for row in repeats)
            self._fruitless[window.data_key] = 0 if fruitful else self._fruitless[window.data_key] + len(repeats)
        allowed = self._fruitless[window.data_key] < FRUITLESS_REPEATS
        again = [row for row in missing if allowed and not row.confirmed_once]
        self.unconfirmed += len(missing) - len(again)
        if again:
            for row in again:
                row.confirmed_once = True
            self._repeating = True
            once_more = {id(row) for row in again}
            result.accepted = [row for row in window.rows if id(row) not in once_more]
            result.again = again
            self.resent["unconfirmed"] += len(again)

    def _rows_named(self, window: Window, outcome: Outcome, result: Result, now: float, *, trial: bool) -> None:
        self._closed_circuit(now)
        if self.gate.rejecting:
            # Nothing is dead-lettered while everything is rejected; what was not named may do, and so may rows that
            # were not tried yet: they go before the ones that were.
            named = self.lanes.window(window.data_key, [row for row, _ in outcome.rejected], "rest")
            named.trials = window.trials + 1
            self._queue(named)
            if trial and outcome.others:
                self.gate.trial_again(now)
            elif trial:
                self.gate.block(Pause.EVERYTHING_REJECTED, now)
        else:
            if trial:
                self._unblock()
            for row, why in outcome.rejected:
                if why.reason == "unknown_key" and self._grace(row, result, now):
                    continue
                result.rejected.append((row, why))
            self._count_rejections(len(result.rejected), now)
        self._release_rest(window)
        if outcome.others:
            window.rows = outcome.others
            window.failures = 0
            window.refused_at = -1.0
            self.resent["others_rejected"] += len(window.rows)
            self._queue(window)
        else:
            self._end(window)

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
        self._rejections_in_a_row += count
        if self._pause_after and self._rejections_in_a_row >= self._pause_after and count:
            text = f"{self._rejections_in_a_row} rejections in a row and nothing accepted"
            self._pause(Pause.EVERYTHING_REJECTED, Outcome(Reading.ROWS_NAMED, text=text), now)

    def _seek(self, window: Window, why: Rejection, result: Result, now: float) -> None:
        """The window is rejected whole: seek the bad row, or reject the only one."""
        self._release_rest(window)
        if len(window.rows) > 1:
            self._divide(window)
        else:
            self._reject(window, why, result, now)

    def _reject(self, window: Window, why: Rejection, result: Result, now: float) -> None:
        result.rejected = [(row, why) for row in window.rows]
        self._end(window)
        self._count_rejections(len(result.rejected), now)

    def _divide(self, window: Window) -> None:
        """Seek a bad row: the first part goes now, the rest when the first one's answer is there."""
        self.resent["divided"] += len(window.rows)
        first, rest = (self._part(window, rows) for rows in bisect(window.rows))
        rest.rest, window.rest = window.rest, None
        first.rest = rest
        self._end(window)
        self._queue(first)

    def _halve(self, window: Window, cause: str) -> bool:
        """Two halves in place of the window, both to be sent; False: it is a single row."""
        rows = window.rows
        if len(rows) < 2:
            return False
        self._end(window)
        middle = (len(rows) + 1) // 2
        self.resent[cause] += len(rows)
        for half in (rows[:middle], rows[middle:]):
            self._queue(self._part(window, half))
        return True

    def _part(self, window: Window, rows: list[Row]) -> Window:
        """A part of a window; it takes over when the whole was refused: the others' passing since then counts."""
        part = self.lanes.window(window.data_key, rows, "split")
        part.refused_at = window.refused_at
        return part

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
        self._release_rest(window)
        if part and window.refusals <= TRIALS_BEFORE_SPLIT:
            self._park(window, now + self._policy.delay(window.refusals, self._draw()))
        else:
            self._pause(Pause.REFUSED, outcome, now)
            self._queue(window)

    def _again(self, window: Window, outcome: Outcome, reply: Reply, result: Result, now: float) -> None:
        """429, 408, 5xx, a lost answer, not sent: the same rows again."""
        self._learn(window, outcome, reply, now)
        window.failures += 1
        self.resent[outcome.reading.value] += len(window.rows)
        if outcome.reading is Reading.THROTTLED:
            self._queue(window)  # the gate holds it back
            return
        self._release_rest(window)
        if outcome.reading in (Reading.FAILED, Reading.LOST):
            if not window.faults:
                window.passed_mark = self.accepted_windows
            window.faults += 1
            others_pass = self.accepted_windows > window.passed_mark
            if window.faults >= FAULTS_BEFORE_SPLIT and others_pass and self._halve(window, "halved"):
                return
            if len(window.rows) == 1 and self._policy.give_up:
                if window.failing_since < 0:
                    window.failing_since = self._passing
                elif self._passing - window.failing_since >= self._policy.give_up:
                    self._reject(
                        window,
                        Rejection("api_error", outcome.text, None, "upload", reply.status),
                        result,
                        now,
                    )
                    return
        self._park(window, now + self._policy.delay(window.failures, self._draw()))

    # -- the pause -----------------------------------------------------------------------------------------------

    def _pause(self, pause: Pause, outcome: Outcome, now: float) -> None:
        if self.gate.block(pause, now):
            advice = {
                Pause.UNAUTHORIZED: "check api.token or the token file; a new token file is taken up by itself",
                Pause.REFUSED: "check the token's permissions, api.base_url and the API's version",
                Pause.UNEXPECTED: "check api.base_url and what stands between (proxy, firewall, portal)",
                Pause.EVERYTHING_REJECTED: "check the company of the token, events.data_key and the dead letters; "
                "`run --accept-rejections` or a restart goes on",
            }[pause]
            self.notices.append(Notice("error", f"uploading is paused: {outcome.text}; nothing is lost; {advice}"))

    def _unblock(self) -> None:
        self.gate.unblock()
        self.notices.append(Notice("info", "uploading goes on"))

    def _tried(self, window: Window, now: float) -> None:
        """The window was tried alone and failed: others are tried before it, then its parts."""
        window.trials += 1
        self._release_rest(window)
        if self.gate.pause is Pause.REFUSED:
            window.refused_at = now
        if window.trials < TRIALS_BEFORE_SPLIT or not self._halve(window, "trial"):
            self._queue(window)

    def me_answered(self, reply: Reply, now: float) -> None:
        """``GET /me`` was answered; only a 200 lets a window be tried."""
        if reply.status == 429:
            self.gate.throttled(now, reply.retry_after)
        self.gate.told(now, passed=reply.status == 200)
        if reply.status != 200:
            self.notices.append(Notice("debug", f"GET /api/v2/me/: {describe(reply)}"))
