"""Breaks of what an answer does: acceptance, rejection, search, retry, pause, circuit."""

from __future__ import annotations

from tests.mutants.mutant import CORE, Edit, Mutant

UPLOADS, OUTCOMES, GATE, PIPELINE, ROWS = (
    "core/uploads.py",
    "core/outcomes.py",
    "core/gate.py",
    "core/pipeline.py",
    "core/rows.py",
)
GATE_TESTS = ("tests/core/test_gate.py", CORE)

MUTANTS = (
    Mutant(
        "a rejected row is settled without a dead letter",
        (
            Edit(
                PIPELINE,
                "            self._letter(row, rejection)\n        if result.again",
                "            self._settle([row], now)\n        if result.again",
            ),
        ),
    ),
    Mutant(
        "a dead letter counts when it is written, not when it is acknowledged",
        (
            Edit(
                PIPELINE,
                "        self._letters.clear()\n",
                "        self._letters.clear()\n"
                "        self.acknowledged([letter.row for letter in effects.letters], now)\n",
            ),
        ),
    ),
    Mutant(
        "an acknowledgement of a revoked partition's letter settles its row",
        (
            Edit(
                PIPELINE,
                "            del self._unacknowledged[row]\n            row.stage = Stage.DONE\n",
                "            row.stage = Stage.DONE\n",
            ),
            Edit(PIPELINE, "        self._free(lettered, now)\n", ""),
        ),
    ),
    Mutant(
        "letters of a revoked partition are written", (Edit(PIPELINE, " if letter.row.stage == Stage.LETTER]", "]"),)
    ),
    Mutant(
        "epoch ignored: a late answer settles what was revoked",
        (
            Edit(
                UPLOADS,
                "        if reduced:\n            self._drop_orphans",
                "        if False:\n            self._drop_orphans",
            ),
        ),
    ),
    Mutant(
        "an answer about more rows is taken for those that are left",
        (
            Edit(
                UPLOADS, "        if reduced:\n            # The answer", "        if False:\n            # The answer"
            ),
        ),
        ("tests/core/test_revocation.py",),
    ),
    Mutant(
        "a row named by a 400 counts as accepted",
        (
            Edit(
                UPLOADS,
                "                result.rejected.append((row, why))\n",
                "                result.accepted.append(row)\n",
            ),
        ),
    ),
    Mutant(
        "the rows that a 400 does not name count as accepted",
        (
            Edit(
                UPLOADS,
                "        if outcome.others:\n            window.rows",
                "        result.accepted += outcome.others\n        if False:\n            window.rows",
            ),
        ),
    ),
    Mutant(
        "a 400's line numbers are taken to begin at 0",
        (Edit(OUTCOMES, "return rows[int(line) - 1]", "return rows[int(line) % len(rows)]"),),
    ),
    Mutant(
        "a 400 that names no row rejects the whole window",
        (
            Edit(
                UPLOADS,
                '        if len(window.rows) > 1:\n            self.resent["divided"]',
                '        if False:\n            self.resent["divided"]',
            ),
        ),
    ),
    Mutant(
        "a 200 that is not the documented answer counts as accepted",
        (
            Edit(
                OUTCOMES,
                'return Outcome(Reading.UNEXPECTED, text=f"not the documented answer; {describe(reply)}")\n    missing',
                'return Outcome(Reading.ACCEPTED, text=f"not the documented answer; {describe(reply)}")\n    missing',
            ),
        ),
    ),
    Mutant(
        "a 5xx is taken for a rejection",
        (Edit(OUTCOMES, "(Reading.FAILED if 500 <= status <= 599", "(Reading.NONE_NAMED if 500 <= status <= 599"),),
    ),
    Mutant("a 429 is taken for a rejection", (Edit(OUTCOMES, "429: Reading.THROTTLED", "429: Reading.NONE_NAMED"),)),
    Mutant(
        "a lost permission is taken for the rows' fault",
        (Edit(UPLOADS, "others_pass = part and self._accepted_sent_at > window.refused_at", "others_pass = True"),),
    ),
    Mutant(
        "rows that an answer leaves out are sent again and again",
        (
            Edit("core/confirming.py", "if allowed and not row.confirmed_once]", "]"),
            Edit(OUTCOMES, "missing = [row for row in missing if row.confirmed_once]", "pass"),
        ),
        ("tests/core/test_uploads.py",),
    ),
    Mutant(
        "a row that fails beside others is given up at once",
        (Edit(UPLOADS, "elif self._passing - window.failing_since >= self._policy.give_up:", "elif True:"),),
        ("tests/core/test_uploads_failing.py", CORE),
    ),
    Mutant(
        "a row that fails beside others is never given up",
        (Edit(UPLOADS, "elif self._passing - window.failing_since >= self._policy.give_up:", "elif False:"),),
        ("tests/core/test_uploads_failing.py", CORE),
    ),
    Mutant(
        "an unknown key's grace holds the whole window",
        (
            Edit(
                UPLOADS,
                "            window.refused_at = -1.0\n            self.windows.queue(window)\n",
                "            window.refused_at = -1.0\n"
                "            self.windows.park(window, now + self._policy.unknown_key_grace)\n",
            ),
        ),
        ("tests/core/test_uploads.py",),
    ),
    Mutant(
        "an unknown key's grace never ends",
        (Edit(UPLOADS, "        if now >= until:\n            return False\n", ""),),
        ("tests/core/test_uploads.py",),
    ),
    Mutant(
        "pause ignored: requests go on while the API refuses us",
        (
            Edit(
                GATE,
                "        if self.pause is not None:\n            if self.step",
                "        if False:\n            if self.step",
            ),
        ),
        ("tests/core/test_uploads_refused.py",),
    ),
    Mutant(
        "pause never ends",
        (
            Edit(
                GATE,
                "        if passed:\n            self.step = Step.TRIAL\n",
                "        if False:\n            self.step = Step.TRIAL\n",
            ),
        ),
    ),
    Mutant(
        "everything is rejected, and uploading goes on",
        (Edit(GATE, "return 0 < self._pause_after <= self.rejections_in_a_row and count > 0", "return False"),),
        ("tests/core/test_uploads_rejecting.py", *GATE_TESTS),
    ),
    Mutant(
        "circuit never opens",
        (Edit(GATE, "opens = not self.circuit_open and len(self._failing) >= CIRCUIT_WINDOWS", "opens = False"),),
        GATE_TESTS,
    ),
    Mutant(
        "circuit never closes",
        (Edit(GATE, "        self.circuit_open = False\n        return probes\n", "        return probes\n"),),
        GATE_TESTS,
    ),
    Mutant("Retry-After ignored", (Edit(GATE, "        self.throttled_until = until\n", ""),), GATE_TESTS),
    Mutant(
        "requests in flight not bounded",
        (Edit(GATE, "        if self.in_flight >= self._concurrency:\n", "        if False:\n"),),
    ),
    Mutant("requests in flight never counted down", (Edit(GATE, "        self.in_flight -= 1\n", "        pass\n"),)),
    Mutant(
        "a fault in what an event sets for all of its codes is a dead letter for each of them",
        (Edit(ROWS, "        if fault is not None:\n", "        if False:\n"),),
        ("tests/core/test_epcis.py",),
    ),
    Mutant(
        "an event's second row (also_update) is dropped",
        (Edit(ROWS, "        return [row, also]", "        return [row]"),),
        ("tests/core/test_rows.py",),
    ),
)
