"""Breaks of what an answer does: acceptance, rejection, search, retry, pause, circuit."""

from __future__ import annotations

from tests.mutants.mutant import CORE, Edit, Mutant

UPLOADS, OUTCOMES, GATE, PIPELINE, ROWS = (
    "core/uploading/uploads.py",
    "core/uploading/classification.py",
    "core/admission/gate.py",
    "core/pipeline.py",
    "core/rows/maker.py",
)
EVIDENCE = "core/uploading/evidence.py"
DECISION, REJECTIONS, TOKEN_CHECKS, ACKNOWLEDGEMENTS = (
    "core/uploading/decision.py",
    "core/uploading/rejections.py",
    "core/uploading/token_checks.py",
    "core/acknowledgements.py",
)
UPLOAD_PAUSE, CIRCUIT, THROTTLE = (
    "core/admission/upload_pause.py",
    "core/admission/circuit.py",
    "core/admission/throttle.py",
)
GATE_TESTS = ("tests/unit/core/admission/test_gate.py", CORE)
EVIDENCE_TESTS = ("tests/unit/core/uploading/test_evidence.py",)
REFUSED_TESTS = ("tests/unit/core/uploading/test_uploads_refused.py",)
FAILING_TESTS = ("tests/unit/core/uploading/test_uploads_failing.py",)

MUTANTS = (
    Mutant(
        "a rejected row is settled without a dead letter",
        (
            Edit(
                PIPELINE,
                "            self._acknowledgements.add_dead_letter(row, rejection)\n"
                "        if result.resend",
                "            self._settle([row], now)\n        if result.resend",
            ),
        ),
        promise="I1",
    ),
    Mutant(
        "a dead letter counts when it is written, not when it is acknowledged",
        (
            Edit(
                PIPELINE,
                "        effects.notices, self.uploads",
                "        self.on_acknowledged([letter.row for letter in "
                "effects.dead_letters], now)\n"
                "        effects.notices, self.uploads",
            ),
        ),
        promise="I1",
    ),
    Mutant(
        "an acknowledgement of a revoked partition's letter settles its row",
        (
            Edit(
                ACKNOWLEDGEMENTS,
                "            del self._rows[row]\n            row.stage = Stage.DONE\n",
                "            row.stage = Stage.DONE\n",
            ),
            Edit(PIPELINE, "        self._release(unacknowledged, now)\n", ""),
        ),
        promise="I5",
    ),
    Mutant(
        "letters of a revoked partition are written",
        (Edit(ACKNOWLEDGEMENTS, " if letter.row.stage == Stage.DEAD_LETTER\n", "\n"),),
        promise="fencing",
    ),
    Mutant(
        "epoch ignored: a late answer settles what was revoked",
        (
            Edit(
                UPLOADS,
                "        if reduced:\n            self._drop_revoked",
                "        if False:\n            self._drop_revoked",
            ),
        ),
        promise="fencing",
    ),
    Mutant(
        "an answer about more rows is taken for those that are left",
        (
            Edit(
                UPLOADS,
                "        if end.reduced:\n            # The response",
                "        if False:\n            # The response",
            ),
        ),
        ("tests/unit/core/test_revocation.py",),
        promise="I1",
    ),
    Mutant(
        "a row named by a 400 counts as accepted",
        (
            Edit(
                REJECTIONS,
                "            result.rejected.append((row, why))\n",
                "            result.accepted.append(row)\n",
            ),
        ),
        promise="I1",
    ),
    Mutant(
        "the rows that a 400 does not name count as accepted",
        (
            Edit(
                REJECTIONS,
                "        self._try_alone(window, outcome.candidates)\n",
                "        self._try_alone(window, outcome.candidates)\n"
                "        result.accepted += outcome.others\n"
                "        outcome.others = []\n",
            ),
        ),
        promise="I1",
    ),
    Mutant(
        "a 400's line numbers are taken to begin at 0",
        (Edit(OUTCOMES, "LINES_BEGIN_AT = (1, 0, 2)", "LINES_BEGIN_AT = (0,)"),),
        ("tests/unit/core/uploading/test_uploads.py", CORE),
        promise="I1",
    ),
    Mutant(
        "a 400 that names no row rejects the whole window",
        (
            Edit(
                UPLOADS,
                "        if len(window.rows) > 1:\n            self._divide(",
                "        if False:\n            self._divide(",
            ),
        ),
        promise="I1",
    ),
    Mutant(
        "a 200 that is not the documented answer counts as accepted",
        (
            Edit(
                OUTCOMES,
                'Verdict.UNEXPECTED, text=f"not the documented answer; {describe(response)}")\n'
                "    if items",
                'Verdict.ACCEPTED, text=f"not the documented answer; {describe(response)}")\n'
                "    if items",
            ),
        ),
        promise="I1",
    ),
    Mutant(
        "a 5xx is taken for a rejection",
        (
            Edit(
                OUTCOMES,
                "Verdict.FAILED if 500 <= status <= 599",
                "Verdict.NONE_NAMED if 500 <= status <= 599",
            ),
        ),
        promise="I1",
    ),
    Mutant(
        "a 429 is taken for a rejection",
        (Edit(OUTCOMES, "429: Verdict.THROTTLED", "429: Verdict.NONE_NAMED"),),
        promise="I1",
    ),
    Mutant(
        "a lost permission is taken for the rows' fault",
        (
            Edit(
                EVIDENCE,
                "return since is not None and self._passed_sent_at[window.by_task] > since",
                "return True",
            ),
        ),
        REFUSED_TESTS,
        promise="I1",
    ),
    Mutant(
        "what passed before a failure counts against the window",
        (
            Edit(
                EVIDENCE,
                "self._passed_sent_at[window.by_task] > since",
                "self._passed_sent_at[window.by_task] > -inf",
            ),
        ),
        REFUSED_TESTS,
        promise="I1",
    ),
    Mutant(
        "synchronous calls that pass are evidence against a failing task",
        (
            Edit(
                EVIDENCE,
                "self._passed_sent_at[window.by_task] > since",
                "max(self._passed_sent_at.values()) > since",
            ),
        ),
        ("tests/unit/core/uploading/test_tasks.py",),
        promise="I1",
    ),
    Mutant(
        "a failed task is divided as a rejection is, and its last row rejected",
        (
            Edit(
                DECISION,
                "Verdict.TASK_FAILED:  (Action.WEIGH, ",
                "Verdict.TASK_FAILED:  (Action.REJECT_WHOLE, ",
            ),
        ),
        ("tests/unit/core/uploading/test_tasks.py",),
        promise="I1",
    ),
    Mutant(
        "a refused row is rejected without being tried again after others passed",
        (Edit(EVIDENCE, "(failure.refused_again or alone or", "(failure.evidence or alone or"),),
        EVIDENCE_TESTS,
        promise="I1",
    ),
    Mutant(
        "a row is rejected for its first refusal where it had failed otherwise before",
        (
            Edit(
                UPLOADS,
                "refused_again = window.retried_after_evidence and window.failed_as is verdict",
                "refused_again = window.retried_after_evidence",
            ),
        ),
        (*REFUSED_TESTS, "tests/unit/core/uploading/test_tasks.py"),
        promise="I1",
    ),
    Mutant(
        "a 401 of the window that is tried divides it",
        (
            Edit(
                UPLOADS,
                "divides = end.probe and verdict is not Verdict.UNAUTHORIZED and",
                "divides = end.probe and",
            ),
        ),
        REFUSED_TESTS,
    ),
    Mutant(
        "a window that fails with nothing else to send is never divided",
        (Edit(EVIDENCE, "if failure.nothing_else and", "if False and"),),
        EVIDENCE_TESTS,
        promise="I8",
    ),
    Mutant(
        "a window is divided without evidence one failure later",
        (
            Edit(
                EVIDENCE,
                "failure.failures >= DIVIDED_BLIND_AFTER",
                "failure.failures > DIVIDED_BLIND_AFTER",
            ),
        ),
        EVIDENCE_TESTS,
        promise="I8",
    ),
    Mutant(
        "a refusal of one row pauses uploading whatever else passes",
        (
            Edit(
                EVIDENCE,
                "if refused and not failure.suspect and failure.refuses_all:",
                "if refused:",
            ),
        ),
        (*EVIDENCE_TESTS, *REFUSED_TESTS),
        promise="I8",
    ),
    Mutant(
        "answers to other windows reject rows while uploading is paused",
        (Edit(EVIDENCE, "    if failure.paused:\n        return Step.RETRY\n", ""),),
        (*EVIDENCE_TESTS, *REFUSED_TESTS),
        promise="I1",
    ),
    Mutant(
        "a 400 without names that comes while uploading is paused rejects rows",
        (
            Edit(
                DECISION,
                "Verdict.NONE_NAMED:   (Action.REJECT_WHOLE, Action.REQUEUE, ",
                "Verdict.NONE_NAMED:   (Action.REJECT_WHOLE, Action.REJECT_WHOLE, ",
            ),
        ),
        REFUSED_TESTS,
        promise="I1",
    ),
    Mutant(
        "suspect rows are given up in an outage",
        (
            Edit(
                TOKEN_CHECKS,
                "if response.status == 200 and self._gate.pause is None and",
                "if self._gate.pause is None and",
            ),
        ),
        FAILING_TESTS,
        promise="I1",
    ),
    Mutant(
        "signs of life take every request where a member's share is small",
        (
            Edit(
                TOKEN_CHECKS,
                "if self.window_sent_at <= self._sent_at and any(",
                "if False and any(",
            ),
        ),
        FAILING_TESTS,
        promise="I8",
    ),
    Mutant(
        "suspect rows that are left alone are never given up",
        (
            Edit(
                TOKEN_CHECKS,
                "        if not self._sign_wanted:\n",
                "        if True:\n",
            ),
        ),
        FAILING_TESTS,
        promise="I8",
    ),
    Mutant(
        "an outage leaves many small windows behind",
        (
            Edit(
                UPLOADS,
                "            self.windows.reset_failures(now, since=self.evidence.accepted_at)\n",
                "            pass\n",
            ),
        ),
        FAILING_TESTS,
        promise="I8",
    ),
    Mutant(
        "a pause ends only when GET /me passes",
        (
            Edit(
                "core/uploading/api_health.py",
                "passed=response.status not in (None, 401, 429)",
                "passed=response.status == 200",
            ),
        ),
        REFUSED_TESTS,
        promise="I8",
    ),
    Mutant(
        "a limit of 413 is never forgotten",
        (
            Edit(
                "core/batching/lanes.py",
                "            self._limit(min(MAX_WINDOW_BYTES, 2 * self.max_bytes))\n",
                "            pass\n",
            ),
        ),
        ("tests/unit/core/uploading/test_uploads.py",),
        promise="I8",
    ),
    Mutant(
        "a row that is named by its line only is rejected before it is known how lines are counted",
        (
            Edit(
                OUTCOMES,
                "        if self._first is not None:\n            return [rows",
                "        if True:\n            fits = fits[:1]\n            return [rows",
            ),
        ),
        ("tests/unit/core/uploading/test_uploads.py",),
        promise="I1",
    ),
    Mutant(
        "an answer about other codes counts as accepted",
        (
            Edit(
                OUTCOMES,
                "if items and data_key in KEYS_OF_ONE_CODE and not any(",
                "if False and not any(",
            ),
        ),
        ("tests/unit/core/uploading/test_uploads.py",),
        promise="I1",
    ),
    Mutant(
        "rows that an answer leaves out are sent again and again",
        (
            Edit("core/uploading/confirmations.py", "if allowed and not row.left_out_once]", "]"),
            Edit(OUTCOMES, "missing = [row for row in missing if row.left_out_once]", "pass"),
        ),
        ("tests/unit/core/uploading/test_uploads.py",),
        promise="I7",
    ),
    Mutant(
        "a row that fails beside others is given up at once",
        (
            Edit(
                EVIDENCE,
                "return self.healthy_time - window.failing_since >= self._give_up",
                "return True",
            ),
        ),
        ("tests/unit/core/uploading/test_uploads_failing.py", CORE),
        promise="I1",
    ),
    Mutant(
        "a row that fails beside others is never given up",
        (
            Edit(
                EVIDENCE,
                "return self.healthy_time - window.failing_since >= self._give_up",
                "return False",
            ),
        ),
        ("tests/unit/core/uploading/test_uploads_failing.py", CORE),
        promise="I8",
    ),
    Mutant(
        "a row is given up for one failure by chance and one task that did not end",
        (Edit(EVIDENCE, "if failure.expired and often and", "if failure.expired and"),),
        EVIDENCE_TESTS,
        promise="I1",
    ),
    Mutant(
        "an unknown key's grace holds the whole window",
        (
            Edit(
                REJECTIONS,
                "            window.begin_anew()\n            self._windows.queue(window)\n",
                "            window.begin_anew()\n"
                "            until = window.sent_at + self._policy.unknown_key_grace\n"
                "            self._windows.park(window, until)\n",
            ),
        ),
        ("tests/unit/core/uploading/test_uploads.py",),
        promise="I8",
    ),
    Mutant(
        "an unknown key's grace never ends",
        (Edit(REJECTIONS, "        if now >= until:\n            return False\n", ""),),
        ("tests/unit/core/uploading/test_uploads.py",),
        promise="I8",
    ),
    Mutant(
        "pause ignored: requests go on while the API refuses us",
        (
            Edit(
                GATE,
                "        if self.pause is None:\n            return self.circuit",
                "        if True:\n            return self.circuit",
            ),
        ),
        ("tests/unit/core/uploading/test_uploads_refused.py",),
    ),
    Mutant(
        "pause never ends",
        (
            Edit(
                UPLOAD_PAUSE,
                "        if passed:\n            self.step = PauseStep.PROBE_DUE\n",
                "        if False:\n            self.step = PauseStep.PROBE_DUE\n",
            ),
        ),
        promise="I8",
    ),
    Mutant(
        "everything is rejected, and uploading goes on",
        (
            Edit(
                UPLOAD_PAUSE,
                "return 0 < self._pause_after <= self.rejections_in_a_row and count > 0",
                "return False",
            ),
        ),
        ("tests/unit/core/uploading/test_uploads_rejecting.py", *GATE_TESTS),
        promise="I1",
    ),
    Mutant(
        "circuit never opens",
        (
            Edit(
                CIRCUIT,
                "opens = not self.is_open and len(self._failing) >= CIRCUIT_WINDOWS",
                "opens = False",
            ),
        ),
        GATE_TESTS,
    ),
    Mutant(
        "circuit never closes",
        (
            Edit(
                CIRCUIT,
                "        self.is_open = False\n        failures",
                "        failures",
            ),
        ),
        GATE_TESTS,
        promise="I8",
    ),
    Mutant(
        "a throttling without a time is backed off for up to a minute",
        (
            Edit(
                THROTTLE,
                "self._policy.delay(self._untimed, self._rng(), PROBE_SECONDS)",
                "self._policy.delay(self._untimed, self._rng())",
            ),
        ),
        GATE_TESTS,
        promise="I8",
    ),
    Mutant(
        "after a throttling without a time all requests go at once",
        (Edit(THROTTLE, "if self.untimed and under_way else at", "if False else at"),),
        GATE_TESTS,
        promise="budget",
    ),
    Mutant(
        "the pace falls with each 429 of a throttling",
        (Edit(GATE, "        if not self._slowed:\n", "        if True:\n"),),
        GATE_TESTS,
        promise="budget",
    ),
    Mutant(
        "each 429 is told",
        (
            Edit(
                "core/uploading/api_health.py",
                "        if now < self._log_throttle_at and",
                "        if False and",
            ),
        ),
        ("tests/unit/core/uploading/test_uploads_failing.py",),
    ),
    Mutant(
        "Retry-After ignored",
        (Edit(THROTTLE, "        self.until = until\n", ""),),
        GATE_TESTS,
        promise="budget",
    ),
    Mutant(
        "requests in flight not bounded",
        (Edit(GATE, "        if self.in_flight >= self._concurrency:\n", "        if False:\n"),),
        promise="I6",
    ),
    Mutant(
        "requests in flight never counted down",
        (Edit(GATE, "        self.in_flight -= 1\n", "        pass\n"),),
        promise="I8",
    ),
    Mutant(
        "a fault in what an event sets for all of its codes is a dead letter for each of them",
        (Edit(ROWS, "        if fault is not None:\n", "        if False:\n"),),
        ("tests/unit/formats/test_epcis.py",),
        promise="I6",
    ),
    Mutant(
        "an event's second row (also_update) is dropped",
        (Edit(ROWS, "        return [row, also]", "        return [row]"),),
        ("tests/unit/core/rows/test_rows.py",),
        promise="I1",
    ),
)
