"""Breaks of order: claims, lanes, windows, and what a lost answer holds."""

from __future__ import annotations

from tests.mutants.mutant import CORE, Edit, Mutant

CLAIMS, LOCKS, LANE, LANES, WINDOW, WINDOWS = (
    "core/ordering/claims.py",
    "core/ordering/lock_queue.py",
    "core/batching/lane.py",
    "core/batching/lanes.py",
    "core/batching/window.py",
    "core/batching/windows.py",
)
PIPELINE, UPLOADS, OUTCOMES = (
    "core/pipeline.py",
    "core/uploading/uploads.py",
    "core/uploading/classification.py",
)
HALF_SETTLED = ("tests/unit/core/test_half_settled.py",)

MUTANTS = (
    Mutant(
        "claims ignored: a row is ready though an earlier one holds its key",
        (Edit(CLAIMS, "            if row.blocked:\n", "            if False:\n"),),
        promise="I2",
    ),
    Mutant(
        "a key goes to the latest that waits instead of the first",
        (Edit(CLAIMS, "queue.waiting.popleft()", "queue.waiting.pop()"),),
        promise="I2",
    ),
    Mutant(
        "exclusive claims treated as shared",
        (
            Edit(
                CLAIMS,
                "self._wait(keys, value, held, row, expedited, shared=False)",
                "self._wait(keys, value, held, row, expedited, shared=True)",
            ),
        ),
        promise="I2",
    ),
    Mutant(
        "shared claims treated as exclusive: a unit's children go one after the other",
        (
            Edit(
                CLAIMS,
                "elif type(held) is LockQueue and not held.waiting and held.admits(row, "
                "shared=True):",
                "elif False:",
            ),
            Edit(
                CLAIMS,
                "self._wait(keys, value, held, row, expedited, shared=True)",
                "self._wait(keys, value, held, row, expedited, shared=False)",
            ),
        ),
        ("tests/unit/core/ordering/test_claims.py", CORE),
        promise="I8",
    ),
    Mutant(
        "joins ignored: nothing holds a unit while codes are put into it",
        (
            Edit(CLAIMS, "            for join in row.joins:\n", "            for join in ():\n"),
            Edit(
                CLAIMS,
                "            for unit, joined in row.joins:\n",
                "            for unit, joined in ():\n",
            ),
            Edit(
                CLAIMS,
                "return ((row.data_key, row.value), *row.joins)",
                "return ((row.data_key, row.value),)",
            ),
        ),
        promise="I2",
    ),
    Mutant(
        "a row joins a unit past an update that waits for it",
        (
            Edit(
                CLAIMS,
                "type(held) is LockQueue and not held.waiting and held",
                "type(held) is LockQueue and held",
            ),
        ),
        promise="I2",
    ),
    Mutant(
        "claims forgotten on retry: a row that failed stands behind the later ones of its key",
        (
            Edit(
                PIPELINE,
                "            self._carry_out(self.uploads.handle_response(",
                "            if response.status != 200:\n"
                "                self._add_ready(self.claims.release(attempt.window.rows))\n"
                "                self.claims.acquire(attempt.window.rows)\n"
                "            self._carry_out(self.uploads.handle_response(",
            ),
        ),
        promise="I2",
    ),
    Mutant(
        "a call that is lost after its partition went is forgotten with the epoch before",
        (
            Edit(
                PIPELINE,
                "            self._lost_calls.keep_late(result.revoked, self.partitions)\n",
                "",
            ),
        ),
        ("tests/unit/core/test_revocation.py",),
        promise="lost-answer",
    ),
    Mutant(
        "claims freed when the dead letter is written, not when it is acknowledged",
        (
            Edit(
                PIPELINE,
                "add_dead_letter(row, rejection)\n",
                "add_dead_letter(row, rejection)\n"
                "            self._add_ready(self.claims.release([row]))\n",
            ),
            Edit(
                PIPELINE,
                "add_dead_letter(row, row.rejection)\n",
                "add_dead_letter(row, row.rejection)\n"
                "            self._add_ready(self.claims.release([row]))\n",
            ),
            Edit(
                PIPELINE,
                "        self._settle(settled, now)",
                "        self.flow.release(len(settled), settle(settled, "
                "self._settled_timestamps))",
            ),
            Edit(PIPELINE, "        self._release(unacknowledged, now)\n", ""),
        ),
        promise="I2",
    ),
    Mutant(
        "a row's claims are freed though its record, which is sent again whole, is not settled",
        (
            Edit(
                CLAIMS,
                "                if not row.record.settled:\n",
                "                if False:\n",
            ),
        ),
        HALF_SETTLED,
        promise="I2",
    ),
    Mutant(
        "a key that a record held alone is shared with others when a later row of its "
        "own shares it",
        (Edit(CLAIMS, "queue.add(record, shared=shared)", "queue.add(record, shared=True)"),),
        HALF_SETTLED,
        promise="I2",
    ),
    Mutant(
        "what a record holds keeps out its own rows",
        (
            Edit(LOCKS, "return self.exclusive == (own is False)", "return not self.exclusive"),
            Edit(LOCKS, "return len(self.holders) == (own is not None)", "return not self.holders"),
        ),
        HALF_SETTLED,
        promise="I8",
    ),
    Mutant(
        "what half-settled records of a revoked partition hold is never freed",
        (Edit(PIPELINE, "        self._add_ready(self.claims.release_records(records))\n", ""),),
        HALF_SETTLED,
        promise="I8",
    ),
    Mutant(
        "a record that is settled goes on holding its codes for the lost call of one of them",
        (
            Edit(
                PIPELINE,
                "release_records(row.record for row in held if row.record.settled)",
                "release_records(())",
            ),
        ),
        HALF_SETTLED,
        promise="I8",
    ),
    Mutant(
        "only the row that is waited for is hastened, not the others of its record",
        (Edit(CLAIMS, "        for each in several.rows:\n", "        for each in ():\n"),),
        HALF_SETTLED,
        promise="I8",
    ),
    Mutant(
        "a record that waits itself is not hastened for those that wait for it",
        (Edit(CLAIMS, "        elif self._records:\n", "        elif False:\n"),),
        HALF_SETTLED,
        promise="I8",
    ),
    Mutant(
        "rows with a blank key wait for each other",
        (
            Edit(
                CLAIMS,
                " and bool(row.value) and not str(row.value).isspace()",
                " and row.value is not None",
            ),
        ),
        HALF_SETTLED,
        promise="I8",
    ),
    Mutant(
        "every data key that an event ever named is remembered",
        (Edit(CLAIMS, "                if not keys:\n                    del by_key[key]\n", ""),),
        HALF_SETTLED,
        promise="I6",
    ),
    Mutant(
        "lanes that lost no row are entered again at each turn of a revocation",
        (Edit(LANES, "if any(row.stage == Stage.DONE for row in lane.rows):", "if True:"),),
        ("tests/unit/core/batching/test_lanes.py",),
        promise="I8",
    ),
    Mutant(
        "entries of lanes that hold no more stay where others stand before them",
        (Edit(LANE, "            if len(heap) > most:\n", "            if False:\n"),),
        ("tests/unit/core/batching/test_lanes.py",),
        promise="I6",
    ),
    Mutant(
        "claims of rows in flight freed at the revocation",
        (
            Edit(
                PIPELINE,
                "self._release(unacknowledged, now)",
                "self._release(unacknowledged + in_flight, now)",
            ),
            Edit(PIPELINE, "self._release(result.revoked, now)", "pass"),
        ),
        promise="I4",
    ),
    Mutant(
        "grant after revoke: waiting rows of a revoked partition stay in line",
        (
            Edit(
                PIPELINE,
                "            if row.stage == Stage.WAITING:\n",
                "            if row.stage == Stage.WAITING:\n                continue\n",
            ),
        ),
        promise="fencing",
    ),
    Mutant(
        "rows of a revoked partition stay in parked windows",
        (Edit(PIPELINE, "        self.windows.remove_done()\n", ""),),
        promise="fencing",
    ),
    Mutant(
        "rows of a revoked partition stay in lanes",
        (Edit(PIPELINE, "        self.lanes.remove_done()\n", ""),),
        promise="fencing",
    ),
    Mutant(
        "nothing is held after a lost answer: it may overwrite the next row of the key",
        (Edit(UPLOADS, "lost_until=sent_at + self._max_processing", "lost_until=now"),),
        promise="lost-answer",
    ),
    Mutant(
        "a claim is freed when its row settles, though a lost call of it may still take effect",
        (Edit(PIPELINE, "if now < self.uploads.held_until:", "if False:"),),
        promise="lost-answer",
    ),
    Mutant(
        "a lost answer taken for a request that was never sent",
        (Edit(OUTCOMES, "Verdict.LOST if response.sent else Verdict.UNSENT", "Verdict.UNSENT"),),
        promise="lost-answer",
    ),
    Mutant(
        "a claim is held half as long as a lost call can take",
        (
            Edit(
                UPLOADS,
                "row.hold_until = max(row.hold_until, lost_until)",
                "row.hold_until = lost_until - self._max_processing / 2",
            ),
        ),
        promise="lost-answer",
    ),
    Mutant(
        "a divided window loses a row",
        (
            Edit(
                WINDOWS,
                "rows[start : start + size], PART)",
                "rows[start : start + max(1, size - 1)], PART)",
            ),
        ),
        promise="I8",
    ),
    Mutant(
        "parts of a window overlap: a row is sent in both",
        (
            Edit(
                WINDOWS,
                "rows[start : start + size], PART)",
                "rows[start : start + size + 1], PART)",
            ),
        ),
        promise="I4",
    ),
    Mutant(
        "a part that goes on failing goes before the others that wait, each time",
        (
            Edit(
                WINDOWS,
                "entry = (window.sent_at, window.oldest, window.number, window)",
                "entry = (0.0, window.oldest, window.number, window)",
            ),
        ),
        ("tests/unit/core/uploading/test_uploads_failing.py",),
        promise="I8",
    ),
    Mutant(
        "a parked window is forgotten",
        (
            Edit(
                WINDOWS,
                "        heapq.heappush(self._parked, (until, window.number, window))\n",
                "",
            ),
        ),
        promise="I8",
    ),
    Mutant(
        "an answer to an earlier attempt counts for the present one",
        (
            Edit(
                WINDOW,
                "self.place is Place.IN_FLIGHT and self.attempts == attempt",
                "self.place is Place.IN_FLIGHT",
            ),
        ),
        promise="I5",
    ),
    Mutant(
        "a second answer to the same attempt counts again",
        (
            Edit(
                WINDOW,
                "self.place is Place.IN_FLIGHT and self.attempts == attempt",
                "self.attempts == attempt",
            ),
        ),
        promise="I5",
    ),
    Mutant(
        "windows mix data keys and sets of fields",
        (
            Edit(
                LANES,
                "                or row.shape is not shape\n"
                "                or row.data_key != lane.data_key\n"
                "                or row.suspect\n",
                "",
            ),
        ),
        ("tests/unit/core/batching/test_windows.py",),
    ),
)
