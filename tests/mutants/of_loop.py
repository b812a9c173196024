"""Breaks of the owner loop.

Commits, revocations, back-pressure, and its share of the group's requests.
"""

from __future__ import annotations

from tests.mutants.mutant import SIMULATION, Edit, Mutant

RUNNER, READING, HAND_OVER = "loop/runner.py", "loop/reading.py", "loop/rebalance.py"
COMMITTING, DRAIN, PATIENCE = "loop/committing.py", "loop/drain.py", "loop/patience.py"
PAUSES, LEASE = "loop/partition_pauses.py", "loop/session_lease.py"
BACKPRESSURE, PIPELINE = "core/backpressure.py", "core/pipeline.py"
PACE = "core/admission/pace.py"
SEVERAL_TESTS = ("tests/unit/core/rows/test_several.py",)
QUOTA_TESTS = ("tests/unit/core/admission/test_flow.py",)
PACE_TESTS = ("tests/unit/core/admission/test_pace.py",)
LEASE_TESTS = ("tests/unit/loop/test_session_lease.py",)
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
                COMMITTING,
                "        if error is None:\n            self._logged",
                "        if True:\n            self._logged",
            ),
        ),
        LOOP_TESTS,
        promise="I3",
    ),
    Mutant(
        "a commit is sent while another is in flight",
        (Edit(COMMITTING, "if now < due_at or self._source.committing:", "if now < due_at:"),),
        LOOP_TESTS,
        promise="I3",
    ),
    Mutant(
        "a lost partition is committed",
        (
            Edit(
                HAND_OVER,
                "        elif self._lifecycle.phase is not Phase.STOPPED:",
                "        if self._lifecycle.phase is not Phase.STOPPED:",
            ),
        ),
        LOOP_TESTS,
        promise="I3",
    ),
    Mutant(
        "a revocation does not wait for requests in flight",
        (
            Edit(
                HAND_OVER,
                "(pipeline.busy(partitions) or self._clock() < lost_until(partitions))",
                "(self._clock() < lost_until(partitions))",
            ),
        ),
        LOOP_TESTS,
        promise="I7",
    ),
    Mutant(
        "a revocation does not wait for calls whose answer was lost",
        (
            Edit(
                HAND_OVER,
                "(pipeline.busy(partitions) or self._clock() < lost_until(partitions))",
                "pipeline.busy(partitions)",
            ),
        ),
        LOOP_TESTS,
        promise="I9",
    ),
    Mutant(
        "a revocation's last commit is left out",
        (
            Edit(
                HAND_OVER,
                "if not self._committing.commit_and_wait(partitions):",
                "if False:",
            ),
        ),
        LOOP_TESTS,
        promise="I7",
    ),
    Mutant(
        "the partitions that stay stand still in a revocation",
        (
            Edit(
                HAND_OVER,
                "            self._act()\n        if pipeline",
                "        if pipeline",
            ),
        ),
        LOOP_TESTS,
        promise="I8",
    ),
    Mutant(
        "a revoked partition's records are taken in",
        (Edit(READING, "            if not partition.owned:\n                continue\n", ""),),
        LOOP_TESTS,
        promise="I5",
    ),
    Mutant(
        "a request is sent however long ago the group was polled",
        (
            Edit(
                LEASE,
                "until = self._polled_at + min(2 / 3 * self.session, LONGEST_GAP_SECONDS)",
                "until = math.inf",
            ),
        ),
        LOOP_TESTS,
        promise="fencing",
    ),
    Mutant(
        "an upload that was handed out is judged by the poll of that time, not by the latest",
        (
            Edit(
                LEASE,
                "        return until\n\n",
                "        frozen = until()\n        return lambda: frozen\n\n",
            ),
        ),
        LEASE_TESTS,
        promise="fencing",
    ),
    Mutant(
        "an upload from before a gap may be sent after it",
        (
            Edit(
                LEASE,
                "            self.end_leases()\n        self._polled_at = now",
                "        self._polled_at = now",
            ),
        ),
        LEASE_TESTS,
        promise="fencing",
    ),
    Mutant(
        "an upload whose partition was lost may still be sent",
        (
            Edit(
                HAND_OVER,
                "        if lost:\n            self._lease.end_leases()\n",
                "        if lost:\n            pass\n",
            ),
        ),
        LEASE_TESTS,
        promise="fencing",
    ),
    Mutant(
        "an upload is sent after the last commit of its partition",
        (
            Edit(
                HAND_OVER,
                "        if pipeline.busy(partitions):\n",
                "        if False:\n",
            ),
        ),
        LEASE_TESTS,
        promise="fencing",
    ),
    Mutant(
        "an upload is sent after the last commit of a stop",
        (
            Edit(
                DRAIN,
                "        self._lease.end_leases()\n",
                "",
            ),
        ),
        LEASE_TESTS,
        promise="fencing",
    ),
    Mutant(
        "a member that stood still goes on sending before the group has confirmed it",
        (Edit(LEASE, "            self._gap_at = now\n", ""),),
        LOOP_TESTS,
        promise="fencing",
    ),
    Mutant(
        "a commit from before the gap confirms a member that stood still",
        (
            Edit(
                LEASE,
                "self._confirmed_at = max(self._confirmed_at, sent_at)",
                "self._confirmed_at = math.inf",
            ),
        ),
        LOOP_TESTS,
        promise="fencing",
    ),
    Mutant(
        "the answer to an old commit is a fresh sign of the group",
        (
            Edit(
                LEASE,
                "self._heard_at = max(self._heard_at, sent_at)",
                "self._heard_at = self._polled_at",
            ),
        ),
        LEASE_TESTS,
        promise="fencing",
    ),
    Mutant(
        "an assignment is as fresh as the poll that tells of it",
        (
            Edit(
                LEASE,
                "max(self._heard_at, min(now, self._polled_at))",
                "max(self._heard_at, now)",
            ),
        ),
        LEASE_TESTS,
        promise="fencing",
    ),
    Mutant(
        "the group is asked for a sign only when a commit is due",
        (
            Edit(
                COMMITTING,
                "min(self._next_at, self._probe_at) if probe else self._next",
                "self._next",
            ),
        ),
        LEASE_TESTS,
        promise="fencing",
    ),
    Mutant(
        "paused partitions are reviewed with the commits",
        (
            Edit(
                READING,
                "self._review_at = now + REVIEW_SECONDS",
                "self._review_at = now + 300.0",
            ),
        ),
        LEASE_TESTS,
    ),
    Mutant(
        "a fault in a hand-over leaves the partition owned",
        (
            Edit(
                RUNNER,
                "                partition.owned = False\n",
                "                pass\n",
            ),
            Edit(
                RUNNER, "        self.pipeline.remove_partitions(partitions, self._clock())\n", ""
            ),
        ),
        ("tests/unit/loop/test_runner_revocation.py",),
        promise="I3",
    ),
    Mutant(
        "a source that cannot go on ends a stop half-way",
        (
            Edit(
                READING,
                "        except UserError as error:\n            self._lifecycle.fail(error)\n",
                "        finally:\n            pass\n",
            ),
        ),
        STOP_TESTS,
        promise="I7",
    ),
    Mutant(
        "with an end to reach, an API that fails is waited for without a bound",
        (
            Edit(
                PATIENCE,
                "if api.failing_since is not None and self._failing_from < math.inf:",
                "if False:",
            ),
        ),
        STOP_TESTS,
        promise="I8",
    ),
    Mutant(
        "at an end that was reached, a lost call is not waited for",
        (
            Edit(
                DRAIN,
                "        return self._clock() < lost",
                "        return self._lifecycle.signals > 0 and self._clock() < lost",
            ),
        ),
        STOP_TESTS,
        promise="lost-answer",
    ),
    Mutant(
        "a member that is cut off from the group goes on sending",
        (Edit(LEASE, " or now - self._heard_at > 2 / 3 * self.session", ""),),
        LOOP_TESTS,
        promise="fencing",
    ),
    Mutant(
        "a full memory does not stop reading",
        (
            Edit(
                READING,
                "        if self._pipeline.reads():\n            if self._source.paused:\n",
                "        if True:\n            if self._source.paused:\n",
            ),
        ),
        LOOP_TESTS,
    ),
    Mutant(
        "partitions stay paused when there is room again",
        (
            Edit(
                READING,
                "            if self._source.paused:\n                self._source.resume()\n",
                "",
            ),
        ),
        LOOP_TESTS,
        promise="I8",
    ),
    Mutant(
        "a partition that was held is not read on",
        (
            Edit(
                PAUSES,
                "paused=False)\n        self._apply(partition)\n",
                "paused=False)\n",
            ),
        ),
        LOOP_TESTS,
        promise="I8",
    ),
    Mutant(
        "an inherited map without room pauses its partition for as long as one row is stuck",
        (
            Edit(
                PAUSES,
                "idle = self._unsettled[partition] == before.get(partition)",
                "idle = False",
            ),
        ),
        ("tests/unit/loop/test_partition_pauses.py",),
    ),
    Mutant(
        "a partition whose map has no room is read on when nothing settles",
        (Edit(PAUSES, "(idle and partition.fits_alone(room // 2))", "idle"),),
        ("tests/unit/loop/test_partition_pauses.py",),
        promise="I7",
    ),
    Mutant(
        "a stop does not wait for what is in flight",
        (Edit(DRAIN, "(self._in_flight() or self._lost_call())", "self._lost_call()"),),
        LOOP_TESTS,
        promise="I7",
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
        promise="I7",
    ),
    Mutant(
        "what waits for a schema is not read on when it came",
        (
            Edit(
                PAUSES,
                "paused=schema_awaited)\n        self._apply(partition)\n",
                "paused=schema_awaited)\n",
            ),
        ),
        LOOP_TESTS,
        promise="I8",
    ),
    Mutant(
        "the group's doubt about a member holds nothing back",
        (Edit(RUNNER, " or self._lease.expired(now)", ""),),
        LOOP_TESTS,
        promise="fencing",
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
        promise="I8",
    ),
    Mutant(
        "what waits for room waits for itself",
        (Edit(BACKPRESSURE, "else self._flow.room + undecoded", "else self._flow.room"),),
        SEVERAL_TESTS,
        promise="I8",
    ),
    Mutant(
        "rows that cannot go may take all of the memory",
        (
            Edit(
                READING,
                "self._pipeline.over_quota(paused, self._clock())",
                "set()",
            ),
        ),
        QUOTA_TESTS,
        promise="I8",
    ),
    Mutant(
        "a partition that was over quota is never read on",
        (
            Edit(
                PAUSES,
                "for partition in before - over_quota:",
                "for partition in ():",
            ),
        ),
        QUOTA_TESTS,
    ),
    Mutant(
        "what waits for tasks to end is taken for stock",
        (Edit(BACKPRESSURE, "sync + min(by_task, self._tasks.free) >=", "sync + by_task >="),),
        QUOTA_TESTS,
        promise="I6",
    ),
    Mutant(
        "rows that wait for tasks to end may take all of the memory",
        (
            Edit(
                BACKPRESSURE,
                "        if self._lanes.full_task_windows + self._lanes.task_lanes >",
                "        if 0 >",
            ),
        ),
        QUOTA_TESTS,
        promise="I8",
    ),
    Mutant(
        "a member starts requests in the slots of partitions that others own",
        (Edit(PACE, "self._own[which]) / self._slots", "which) / self._slots"),),
        PACE_TESTS,
        promise="budget",
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
        promise="budget",
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
        promise="budget",
    ),
)
