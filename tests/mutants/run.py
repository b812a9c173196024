"""Apply each deliberate break to a copy of the program, one by one, and show which test catches it.

``python -m tests.mutants.run [--jobs 2] [--only TEXT] [--record]``; exits 1 unless every mutant is
caught.
"""

from __future__ import annotations

import argparse
import compileall
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue

import msgspec
import pytest

from tests.mutants.mutant import Mutant, mutated
from tests.mutants.table import MUTANTS
from tests.mutants.verdict import FILE_VARIABLE, INVARIANT, Verdict

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "mutants.md"
#: What a run needs of the tree.
PARTS = ("consumer", "tests", "schemas", "pyproject.toml")
HEAD = """\
# Mutants: every break is caught, by a test that says what is broken

Written by `make mutants`. Each line is one deliberate break of the program (`tests/mutants/`), a
classical bug of this trade, applied alone to a copy of the tree. It counts as caught when an
assertion of a test says which rule is broken. A crash, a time-out, a comparison without words or an
assertion of the program itself does not count.

I1 nothing lost · I2 order per claim · I3 a commit never passes an unsettled position · I4 no two
rows of one key in flight or in one window · I5 the ledger balances · I6 memory and concurrency are
bounded · I7 after a restart only what was unsettled or unmapped is sent again · I8 progress,
whatever other rows do · I9 the API saw the accepted rows of a key in partition order

**{caught} of {count} caught**, {named} of them by an assertion that names an invariant.

| break | in | caught by | what it says |
| --- | --- | --- | --- |"""
#: How a run ends that has not come to its tests.
NO_RUN = (
    pytest.ExitCode.INTERNAL_ERROR,
    pytest.ExitCode.USAGE_ERROR,
    pytest.ExitCode.NO_TESTS_COLLECTED,
)
#: A run that takes longer has caught nothing.
RUN_SECONDS = 600.0


class Result(msgspec.Struct):
    """The outcome of one mutant."""

    mutant: Mutant
    verdict: Verdict
    seconds: float
    problem: str = ""  #: why there is no verdict

    @property
    def caught(self) -> bool:
        """Return whether a test said what is broken."""
        return bool(self.verdict.caught_by) and not self.problem

    @property
    def outcome(self) -> str:
        """Return what is to be said about one that is not caught."""
        if self.problem:
            return self.problem
        if self.verdict.other:
            return f"not caught; failed without saying what is broken: {self.verdict.other[0]}"
        return f"not caught: {self.verdict.passed} tests passed"


def copy_of(root: Path, folder: Path) -> Path:
    """Return a copy of what the tests need, in ``folder``."""
    for part in PARTS:
        source = root / part
        if source.is_dir():
            # with the bytecode: it is believed while a file is as old
            shutil.copytree(source, folder / part)
        else:
            shutil.copy2(source, folder / part)
    compileall.compile_dir(folder / "consumer", quiet=2, optimize=1)
    return folder


def judge(mutant: Mutant, copy: Path) -> Result:
    """Apply the mutant to the copy, run its tests there, and take it back."""
    changed = mutated(mutant, copy)
    before = {path: path.read_text() for path in changed}
    began = time.monotonic()
    try:
        for path, text in changed.items():
            path.write_text(text)
        verdict, problem = _run(mutant.tests, copy)
    finally:
        for path, text in before.items():
            path.write_text(text)
    return Result(mutant, verdict, time.monotonic() - began, problem)


def _run(tests: Iterable[str], copy: Path) -> tuple[Verdict, str]:
    file = copy / "verdict.json"
    file.unlink(missing_ok=True)
    # No bytecode: a file that was changed within the second, and is as long as before, would count
    # as unchanged. And none of the program's own assertions, which would end a test before it can
    # say what is broken (those of the tests are rewritten by pytest, see ``verdict``).
    environment = os.environ | {
        FILE_VARIABLE: str(file),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONOPTIMIZE": "1",
    }
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "tests.mutants.verdict",
        "-p",
        "no:cacheprovider",
        "-W",
        "ignore:assertions not in test modules",
    ]
    try:
        done = subprocess.run(
            [*command, "-p", "no:xdist", *tests],
            cwd=copy,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=RUN_SECONDS,
        )
    except subprocess.TimeoutExpired:
        return Verdict(), f"not caught: no end within {RUN_SECONDS:g} s"
    if done.returncode not in NO_RUN:
        with suppress(FileNotFoundError):
            return msgspec.json.decode(file.read_bytes(), type=Verdict), ""
    return Verdict(), f"no verdict: {(done.stdout + done.stderr)[-300:]}"


def run(mutants: Iterable[Mutant], jobs: int) -> list[Result]:
    """Judge all, side by side, each process in a copy of its own; print a line for each."""
    with (
        tempfile.TemporaryDirectory(prefix="mutants-") as work,
        ThreadPoolExecutor(jobs) as threads,
    ):
        copies: SimpleQueue[Path] = SimpleQueue()
        for number in range(jobs):
            copies.put(copy_of(ROOT, Path(work) / str(number)))

        def one(mutant: Mutant) -> Result:
            copy = copies.get()
            try:
                result = judge(mutant, copy)
            finally:
                copies.put(copy)
            _tell(result)
            return result

        return list(threads.map(one, mutants))


def unmutated(mutants: Iterable[Mutant]) -> str:
    """Return what fails of the mutants' tests while nothing is broken; empty if all pass.

    It could catch nothing.
    """
    tests = dict.fromkeys(test for mutant in mutants for test in mutant.tests)
    with tempfile.TemporaryDirectory(prefix="mutants-") as work:
        verdict, problem = _run(tests, copy_of(ROOT, Path(work)))
    if verdict.caught_by:
        return f"{verdict.caught_by}: {verdict.assertion}"
    return problem or "".join(verdict.other[:1]) or ("" if verdict.passed else "no test ran at all")


def _tell(result: Result) -> None:
    mark = "caught " if result.caught else "MISSED "
    said = result.verdict.assertion if result.caught else result.outcome
    sys.stdout.write(
        f"{mark}{result.seconds:5.1f} s  {result.mutant.breaks}\n                 {said}\n"
    )
    sys.stdout.flush()


def page(results: list[Result]) -> str:
    """Return the table for people."""
    caught = sum(result.caught for result in results)
    named = sum(
        bool(INVARIANT.search(result.verdict.assertion)) for result in results if result.caught
    )
    lines = [HEAD.format(caught=caught, count=len(results), named=named)]
    for result in results:
        files = ", ".join(dict.fromkeys(f"`{edit.file}`" for edit in result.mutant.edits))
        test = result.verdict.caught_by.partition("[")[0].removeprefix("tests/").replace("::", " ")
        said = result.verdict.assertion if result.caught else f"**{result.outcome}**"
        cells = (result.mutant.breaks, files, test, said)
        escaped = (" ".join(cell.split()).replace("|", chr(92) + "|") for cell in cells)
        lines.append(f"| {' | '.join(escaped)} |")
    return "\n".join([*lines, ""])


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants.run")
    parser.add_argument("--jobs", type=int, default=2, help="processes side by side")
    parser.add_argument(
        "--only", default="", help="those with this text in their description or file"
    )
    parser.add_argument("--record", action="store_true", help=f"write {PAGE.relative_to(ROOT)}")
    given = parser.parse_args()
    if given.record and given.only:
        parser.error("--record writes the table of all mutants")
    chosen = [
        m
        for m in MUTANTS
        if given.only in m.breaks or any(given.only in edit.file for edit in m.edits)
    ]
    began = time.monotonic()
    if failure := unmutated(chosen):
        sys.stderr.write(f"a test fails though nothing is broken: {failure}\n")
        return 1
    results = run(chosen, given.jobs)
    missed = [result for result in results if not result.caught]
    took = time.monotonic() - began
    sys.stdout.write(
        f"{len(results) - len(missed)} of {len(results)} mutants caught in {took:.0f} s\n"
    )
    if given.record:
        PAGE.write_text(page(results))
    return 1 if missed or not results else 0


if __name__ == "__main__":
    sys.exit(main())
