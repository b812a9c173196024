"""Breaks of the owner loop: commits, revocations, back-pressure."""

from __future__ import annotations

from tests.mutants.mutant import SIMULATION, Edit, Mutant

RUNNER, RESTING, MEMBERSHIP = "runner.py", "resting.py", "membership.py"
LOOP_TESTS = (
    "tests/core/test_runner.py",
    "tests/core/test_runner_revocation.py",
    "tests/core/test_runner_stop.py",
    "tests/core/test_runner_schemas.py",
    SIMULATION,
)

MUTANTS = (
    Mutant(
        "a failed commit is recorded as committed",
        (
            Edit(
                RUNNER,
                "        if error is None:\n            self._membership",
                "        if True:\n            self._membership",
            ),
        ),
        LOOP_TESTS,
    ),
    Mutant(
        "a commit is sent while another is in flight",
        (Edit(RUNNER, "if now < self._next_commit_at or self._source.committing:", "if now < self._next_commit_at:"),),
        LOOP_TESTS,
    ),
    Mutant(
        "a lost partition is committed",
        (Edit(RUNNER, "if not lost and self.state is not State.STOPPED:", "if self.state is not State.STOPPED:"),),
        LOOP_TESTS,
    ),
    Mutant(
        "a revocation does not wait for requests in flight",
        (
            Edit(
                RUNNER,
                "                pipeline.busy(partitions) and self._clock()",
                "                False and self._clock()",
            ),
        ),
        LOOP_TESTS,
    ),
    Mutant(
        "a revocation's last commit is left out",
        (Edit(RUNNER, "if not self._source.commit_and_wait(due_commits(partitions)):", "if False:"),),
        LOOP_TESTS,
    ),
    Mutant(
        "the partitions that stay stand still in a revocation",
        (Edit(RUNNER, "                self._act()\n            if not", "            if not"),),
        LOOP_TESTS,
    ),
    Mutant(
        "a revoked partition's records are taken in",
        (Edit(RUNNER, "            if not partition.owned:\n                continue\n", ""),),
        LOOP_TESTS,
    ),
    Mutant(
        "a request is sent however long ago the group was heard of",
        (Edit(MEMBERSHIP, "return self._polled_at + self._holds", "return math.inf"),),
        LOOP_TESTS,
    ),
    Mutant(
        "a member that stood still goes on sending before the group has confirmed it",
        (Edit(MEMBERSHIP, "            self.doubtful = True\n", ""),),
        LOOP_TESTS,
    ),
    Mutant(
        "a commit from before the gap confirms a member that stood still",
        (
            Edit(
                MEMBERSHIP,
                "        if self._asked:\n",
                "        if self.doubtful:\n",
            ),
        ),
        LOOP_TESTS,
    ),
    Mutant(
        "a full memory does not stop reading",
        (
            Edit(
                RUNNER,
                "        if self.pipeline.reads():\n            self._full_since = None\n",
                "        if True:\n            self._full_since = None\n",
            ),
        ),
        LOOP_TESTS,
    ),
    Mutant(
        "partitions stay paused when there is room again",
        (Edit(RUNNER, "            if self._source.paused:\n                self._source.resume()\n", ""),),
        LOOP_TESTS,
    ),
    Mutant(
        "a partition that was held is not read on",
        (
            Edit(
                RESTING,
                "            self.full.discard(partition)\n            self.tell(partition)\n",
                "            self.full.discard(partition)\n",
            ),
        ),
        LOOP_TESTS,
    ),
    Mutant(
        "a stop does not wait for what is in flight",
        (Edit(RUNNER, "while self._in_flight() and not self.leaves_at_once and", "while False and"),),
        LOOP_TESTS,
    ),
    Mutant(
        "a stop goes on sending",
        (Edit(RUNNER, "self.pipeline.silent = self.state is not State.RUNNING or", "self.pipeline.silent ="),),
        LOOP_TESTS,
    ),
    Mutant(
        "what waits for a schema is not read on when it came",
        (
            Edit(
                RUNNER,
                "        self.resting.tell(partition)\n",
                "",
            ),
        ),
        LOOP_TESTS,
    ),
)
