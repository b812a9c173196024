"""Breaks of the owner loop.

Commits, revocations, back-pressure, and its share of the group's requests.
"""

from __future__ import annotations

from tests.mutants.mutant import SIMULATION, Edit, Mutant

RUNNER, RESTING, MEMBERSHIP = "loop/runner.py", "loop/partition_pauses.py", "loop/session_lease.py"
PIPELINE, BACKPRESSURE = "core/pipeline.py", "core/backpressure.py"
PACE = "core/admission/pace.py"
SEVERAL_TESTS = ("tests/unit/core/rows/test_several.py",)
CROWDING_TESTS = ("tests/unit/core/admission/test_flow.py",)
MEMBERSHIP_TESTS = ("tests/unit/loop/test_session_lease.py",)
PACE_TESTS = ("tests/unit/core/admission/test_pace.py",)
MEMBERSHIP_TESTS = ("tests/unit/loop/test_session_lease.py",)
STOP_TESTS = ("tests/unit/loop/test_runner_stop.py",)
LOOP_TESTS = (
    "tests/unit/loop/test_runner.py",
    "tests/unit/loop/test_runner_revocation.py",
    "tests/unit/loop/test_runner_stop.py",
    "tests/unit/loop/test_runner_schemas.py",
    "tests/unit/loop/test_session_lease.py",
    SIMULATION,
)

MUTANTS = (
    Mutant(
        "a failed commit is recorded as committed",
        (
            Edit(
                RUNNER,
                "        if error is None:\n            self._commits_told",
                "        if True:\n            self._commits_told",
            ),
        ),
        LOOP_TESTS,
    ),
    Mutant(
        "a commit is sent while another is in flight",
        (Edit(RUNNER, "if now < due_at or self._source.committing:", "if now < due_at:"),),
        LOOP_TESTS,
    ),
    Mutant(
        "a lost partition is committed",
        (
            Edit(
                RUNNER,
                "if not lost and self.state is not State.STOPPED:",
                "if self.state is not State.STOPPED:",
            ),
        ),
        LOOP_TESTS,
    ),
    Mutant(
        "a revocation does not wait for requests in flight",
        (
            Edit(
                RUNNER,
                "(pipeline.busy(partitions) or self._clock() < lost_until(partitions))",
                "(self._clock() < lost_until(partitions))",
            ),
        ),
        LOOP_TESTS,
    ),
    Mutant(
        "a revocation does not wait for calls whose answer was lost",
        (
            Edit(
                RUNNER,
                "(pipeline.busy(partitions) or self._clock() < lost_until(partitions))",
                "pipeline.busy(partitions)",
            ),
        ),
        LOOP_TESTS,
    ),
    Mutant(
        "a revocation's last commit is left out",
        (
            Edit(
                RUNNER,
                "if not self._source.commit_and_wait(due_commits(partitions, self._clock())):",
                "if False:",
            ),
        ),
        LOOP_TESTS,
    ),
    Mutant(
        "the partitions that stay stand still in a revocation",
        (
            Edit(
                RUNNER,
                "                self._act()\n            if pipeline",
                "            if pipeline",
            ),
        ),
        LOOP_TESTS,
    ),
    Mutant(
        "a revoked partition's records are taken in",
        (Edit(RUNNER, "            if not partition.owned:\n                continue\n", ""),),
        LOOP_TESTS,
    ),
    Mutant(
        "a request is sent however long ago the group was polled",
        (
            Edit(
                MEMBERSHIP,
                "until = self._polled_at + min(2 / 3 * self.session, LONGEST_GAP_SECONDS)",
                "until = math.inf",
            ),
        ),
        LOOP_TESTS,
    ),
    Mutant(
        "an upload that was handed out is judged by the poll of that time, not by the latest",
        (
            Edit(
                MEMBERSHIP,
                "        return until\n\n",
                "        frozen = until()\n        return lambda: frozen\n\n",
            ),
        ),
        MEMBERSHIP_TESTS,
    ),
    Mutant(
        "an upload from before a gap may be sent after it",
        (
            Edit(
                MEMBERSHIP,
                "            self.end_leases()  # before the poll",
                "            # before the poll",
            ),
        ),
        MEMBERSHIP_TESTS,
    ),
    Mutant(
        "an upload whose partition was lost may still be sent",
        (Edit(RUNNER, "        if lost:\n            self._lease.end_leases()\n", ""),),
        MEMBERSHIP_TESTS,
    ),
    Mutant(
        "an upload is sent after the last commit of its partition",
        (
            Edit(
                RUNNER,
                "            if pipeline.busy(partitions):\n                self._lease.end_leases()",
                "            if False:\n                pass",
            ),
        ),
        MEMBERSHIP_TESTS,
    ),
    Mutant(
        "an upload is sent after the last commit of a stop",
        (
            Edit(
                RUNNER,
                "        self._lease.end_leases()  # what waits for",
                "        # what waits for",
            ),
        ),
        MEMBERSHIP_TESTS,
    ),
    Mutant(
        "a member that stood still goes on sending before the group has confirmed it",
        (Edit(MEMBERSHIP, "            self._gap_at = now\n", ""),),
        LOOP_TESTS,
    ),
    Mutant(
        "a commit from before the gap confirms a member that stood still",
        (
            Edit(
                MEMBERSHIP,
                "self._confirmed_at = max(self._confirmed_at, sent_at)",
                "self._confirmed_at = math.inf",
            ),
        ),
        LOOP_TESTS,
    ),
    Mutant(
        "the answer to an old commit is a fresh sign of the group",
        (
            Edit(
                MEMBERSHIP,
                "self._heard_at = max(self._heard_at, sent_at)",
                "self._heard_at = self._polled_at",
            ),
        ),
        MEMBERSHIP_TESTS,
    ),
    Mutant(
        "an assignment is as fresh as the poll that tells of it",
        (
            Edit(
                MEMBERSHIP,
                "max(self._heard_at, min(now, self._polled_at))",
                "max(self._heard_at, now)",
            ),
        ),
        MEMBERSHIP_TESTS,
    ),
    Mutant(
        "the group is asked for a sign only when a commit is due",
        (
            Edit(
                RUNNER,
                "min(self._next_commit_at, self._probe_at) if anew else self._next",
                "self._next",
            ),
        ),
        MEMBERSHIP_TESTS,
    ),
    Mutant(
        "resting partitions are looked at with the commits",
        (
            Edit(
                RUNNER,
                "self._review_at = now + REVIEW_SECONDS",
                "self._review_at = now + self._commit_interval",
            ),
        ),
        MEMBERSHIP_TESTS,
    ),
    Mutant(
        "a fault in a hand-over leaves the partition owned",
        (
            Edit(
                RUNNER,
                "                partition.owned = False  # whatever",
                "                pass  # whatever",
            ),
            Edit(
                RUNNER, "        self.pipeline.remove_partitions(partitions, self._clock())\n", ""
            ),
        ),
        ("tests/unit/loop/test_runner_revocation.py",),
    ),
    Mutant(
        "a source that cannot go on ends a stop half-way",
        (
            Edit(
                RUNNER,
                "        except UserError as error:\n            self._fail(error)\n",
                "        finally:\n            pass\n",
            ),
        ),
        STOP_TESTS,
    ),
    Mutant(
        "with an end to reach, an API that fails is waited for without a bound",
        (
            Edit(
                RUNNER,
                "if now - max(api.failing_since, self._failing_from) >= BLOCKED_SECONDS",
                "if now < 0",
            ),
        ),
        STOP_TESTS,
    ),
    Mutant(
        "at an end that was reached, a lost call is not waited for",
        (
            Edit(
                RUNNER,
                "        return self._clock() < lost_until(self.pipeline.partitions)",
                "        return self._signals > 0 and self._clock() < lost_until(self.pipeline.partitions)",
            ),
        ),
        STOP_TESTS,
    ),
    Mutant(
        "a member that is cut off from the group goes on sending",
        (Edit(MEMBERSHIP, " or now - self._heard_at > 2 / 3 * self.session", ""),),
        LOOP_TESTS,
    ),
    Mutant(
        "a full memory does not stop verdict",
        (
            Edit(
                RUNNER,
                "        if self.pipeline.reads():\n            if self._source.paused:\n",
                "        if True:\n            if self._source.paused:\n",
            ),
        ),
        LOOP_TESTS,
    ),
    Mutant(
        "partitions stay paused when there is room again",
        (
            Edit(
                RUNNER,
                "            if self._source.paused:\n                self._source.resume()\n",
                "",
            ),
        ),
        LOOP_TESTS,
    ),
    Mutant(
        "a partition that was held is not read on",
        (
            Edit(
                RESTING,
                "                self.map_full.discard(partition)\n                self.apply(partition)\n",
                "                self.map_full.discard(partition)\n",
            ),
        ),
        LOOP_TESTS,
    ),
    Mutant(
        "an inherited map without room rests its partition for as long as one row is stuck",
        (
            Edit(
                RESTING,
                "idle = self._unsettled[partition] == before.get(partition)",
                "idle = False",
            ),
        ),
        ("tests/unit/loop/test_partition_pauses.py",),
    ),
    Mutant(
        "a partition whose map has no room is read on when nothing settles",
        (Edit(RESTING, "(idle and partition.fits_alone(room // 2))", "idle"),),
        ("tests/unit/loop/test_partition_pauses.py",),
    ),
    Mutant(
        "a stop does not wait for what is in flight",
        (Edit(RUNNER, "(self._in_flight() or self._lost_call()) and", "self._lost_call() and"),),
        LOOP_TESTS,
    ),
    Mutant(
        "a stop goes on sending",
        (
            Edit(
                RUNNER,
                "self.pipeline.uploads_suspended = self.stopping or",
                "self.pipeline.uploads_suspended =",
            ),
        ),
        LOOP_TESTS,
    ),
    Mutant(
        "what waits for a schema is not read on when it came",
        (
            Edit(
                RUNNER,
                "decoded(partition, records, rows, now)\n        self.partition_pauses.apply(partition)\n",
                "decoded(partition, records, rows, now)\n",
            ),
        ),
        LOOP_TESTS,
    ),
    Mutant(
        "the group's doubt about a member holds nothing back",
        (Edit(RUNNER, " or self._lease.expired(now)", ""),),
        LOOP_TESTS,
    ),
    Mutant(
        "a record that proves to have no rows is never settled",
        (
            Edit(
                PIPELINE,
                "size -= record.size\n                partition.skip(record)\n",
                "size -= record.size\n",
            ),
        ),
        SEVERAL_TESTS,
    ),
    Mutant(
        "what waits for room waits for itself",
        (Edit(BACKPRESSURE, "else self._flow.room + undecoded", "else self._flow.room"),),
        SEVERAL_TESTS,
    ),
    Mutant(
        "rows that cannot go may take all of the memory",
        (
            Edit(
                RUNNER,
                "self.pipeline.over_quota(self.partition_pauses.over_quota, self._clock())",
                "set()",
            ),
        ),
        CROWDING_TESTS,
    ),
    Mutant(
        "a partition that crowded out the others is never read on",
        (
            Edit(
                RESTING,
                "for partition in crowding ^ before:",
                "for partition in crowding - before:",
            ),
        ),
        CROWDING_TESTS,
    ),
    Mutant(
        "what waits for tasks to end is taken for stock",
        (Edit(BACKPRESSURE, "sync + min(by_task, self._tasks.free)", "self._lanes.full_windows"),),
        CROWDING_TESTS,
    ),
    Mutant(
        "rows that wait for tasks to end may take all of the memory",
        (
            Edit(
                BACKPRESSURE,
                "            yield from (row for row in self._lanes.rows() if row.by_task)",
                "            pass",
            ),
        ),
        CROWDING_TESTS,
    ),
    Mutant(
        "a member starts requests in the slots of partitions that others own",
        (Edit(PACE, "self._own[which]) / self._slots", "which) / self._slots"),),
        PACE_TESTS,
    ),
    Mutant(
        "a member that could not count the partitions takes all of the rate",
        (
            Edit(
                PIPELINE,
                "                own, of = assumed_slot_positions(self.partitions)\n",
                "                own, of = [0], 1\n",
            ),
        ),
        PACE_TESTS,
    ),
    Mutant(
        "slots that were let pass are saved up",
        (
            Edit(
                PACE,
                "return max(self._next, self._ordinal(",
                "return self._next or max(0.0, self._ordinal(",
            ),
        ),
        PACE_TESTS,
    ),
)
