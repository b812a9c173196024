"""Breaks of asynchronous uploads, and of receipts."""

from __future__ import annotations

from tests.mutants.mutant import Edit, Mutant

EVIDENCE = "core/uploading/evidence.py"
TASKS, OUTCOMES, UPLOADS, PIPELINE, WINDOWS, ROWS = (
    "core/uploading/tasks.py",
    "core/uploading/classification.py",
    "core/uploading/uploads.py",
    "core/pipeline.py",
    "core/batching/windows.py",
    "core/rows/by_task.py",
)
TASKS_TESTS = ("tests/unit/core/uploading/test_tasks.py",)
RECEIPTS_TESTS = ("tests/unit/core/test_receipts.py",)

MUTANTS = (
    Mutant(
        "a task that has begun counts as accepted",
        (
            Edit(
                OUTCOMES,
                "return Outcome(Verdict.STARTED, task_id",
                "return Outcome(Verdict.ACCEPTED, task_id",
            ),
        ),
        promise="I1",
    ),
    Mutant(
        "the rows of a failed task count as accepted",
        (
            Edit(
                TASKS,
                "Verdict.TASK_FAILED,\n",
                "Verdict.ACCEPTED,\n",
            ),
        ),
        promise="I1",
    ),
    Mutant(
        "a success word in the answer goes before a task's state",
        (Edit(TASKS, '    if words & AT_WORK:\n        return ""\n', ""),),
        TASKS_TESTS,
        promise="I1",
    ),
    Mutant(
        "broken task workers have a row rejected that is tried for long enough",
        (
            Edit(
                EVIDENCE,
                "few = window.suspect or len(self._failing_tasks) < CIRCUIT_WINDOWS",
                "few = True",
            ),
        ),
        TASKS_TESTS,
        promise="I1",
    ),
    Mutant(
        "a row whose task fails waits for ever where it is the only one",
        (
            Edit(
                EVIDENCE,
                "few = window.suspect or len(self._failing_tasks) < CIRCUIT_WINDOWS",
                "few = False",
            ),
        ),
        TASKS_TESTS,
        promise="I8",
    ),
    Mutant(
        "a row that is given up while all tasks fail is said to be rejected",
        (
            Edit(
                UPLOADS,
                'if verdict is Verdict.REFUSED else "api_error"',
                'if verdict is not Verdict.FAILED else "api_error"',
            ),
        ),
        TASKS_TESTS,
        promise="I1",
    ),
    Mutant(
        "a row whose task is refused waits for another task for ever",
        (
            Edit(
                UPLOADS,
                "lone_task=self.evidence",
                "lone_task=verdict is Verdict.TASK_FAILED and self.evidence",
            ),
        ),
        TASKS_TESTS,
        promise="I8",
    ),
    Mutant(
        "a probe that is a task at work keeps all others from being tried",
        (
            Edit(
                "core/admission/upload_pause.py",
                "return max(at, self._unanswered_until)",
                "return None",
            ),
        ),
        TASKS_TESTS,
        promise="I8",
    ),
    Mutant(
        "a task that nobody knows any more counts as accepted",
        (
            Edit(
                TASKS,
                'Verdict.LOST, text="the API',
                'Verdict.ACCEPTED, text="the API',
            ),
        ),
        promise="I1",
    ),
    Mutant(
        "nothing is held after a task was lost: it may overwrite the next row of the key",
        (Edit(UPLOADS, "lost_until=now + self._max_processing", "lost_until=now"),),
        promise="lost-answer",
    ),
    Mutant(
        "the end of a task settles rows of a partition that was taken away meanwhile",
        (
            Edit(
                WINDOWS,
                "[window for window in self.live if window.away]",
                "[window for window in self.live if window.place is Place.IN_FLIGHT]",
            ),
        ),
        promise="fencing",
    ),
    Mutant(
        "rows of different data share a task, which sets those of the first",
        (Edit(ROWS, "    row.shape = tuple(text for pair in data for text in pair)\n", ""),),
        TASKS_TESTS,
        promise="I1",
    ),
    Mutant(
        "tasks at work not bounded",
        (Edit(TASKS, "return len(self._tasks) >= self._most", "return False"),),
        TASKS_TESTS,
        promise="I6",
    ),
    Mutant(
        "an accepted row is settled without its receipt",
        (
            Edit(
                PIPELINE,
                "                self._acknowledgements.add_receipt(result)\n",
                "                self._acknowledgements.add_receipt(result)\n"
                "                self.on_acknowledged(result.accepted, now)\n",
            ),
        ),
        RECEIPTS_TESTS,
        promise="I3",
    ),
    Mutant(
        "a receipt of a revoked partition settles its row",
        (
            Edit(
                "core/acknowledgements.py",
                "            del self._rows[row]\n            row.stage = Stage.DONE\n",
                "            row.stage = Stage.DONE\n",
            ),
            Edit(PIPELINE, "        self._release(unacknowledged, now)\n", ""),
        ),
        RECEIPTS_TESTS,
        promise="I5",
    ),
)
