"""A pytest plugin that judges a run against a mutant.

Caught only by a test's assertion that says which rule is broken.

A crash, an assertion of the program itself, a bare comparison or a time-out says that something is
wrong, and not what: such a failure is noted, and the run goes on.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec
import pytest
from hypothesis import Phase, settings

import consumer

#: The environment variable that names the file the verdict is written to.
FILE_VARIABLE = "MUTANT_VERDICT"
INVARIANT = re.compile(r"\bI[1-9]: ")

# Every run is the same, and a failing example is not made smaller: that takes longer than to find
# it.
settings.register_profile(
    "mutants",
    derandomize=True,
    database=None,
    deadline=None,
    report_multiple_bugs=False,
    phases=(Phase.explicit, Phase.generate),
)
settings.load_profile("mutants")

# The program runs without its assertions, and so would helpers of the tests that pytest does not
# take for tests.
_PARTS = ("component", "contract", "fuzz", "simulation", "support", "unit")
if FILE_VARIABLE in os.environ:
    pytest.register_assert_rewrite(*(f"tests.{part}" for part in _PARTS))


class Verdict(msgspec.Struct):
    """What a run found."""

    caught_by: str = ""  #: the test; empty: not caught
    assertion: str = ""  #: what it says is broken
    other: list[str] = []  #: failures that do not say what is broken
    passed: int = 0


def pytest_configure(config: pytest.Config) -> None:
    """Judge the copy of the program that stands beside these tests, never an installed one."""
    if config.rootpath not in Path(consumer.__file__).parents:
        raise pytest.UsageError(f"{consumer.__file__} is not the program under {config.rootpath}")
    config.pluginmanager.register(Judge(config.rootpath / "tests", Path(os.environ[FILE_VARIABLE])))


class Judge:
    """Watches the failures, and ends the run at the first that says what is broken."""

    def __init__(self, tests: Path, file: Path) -> None:
        self._tests = tests
        self._file = file
        self._verdict = Verdict()

    def pytest_exception_interact(self, node: Any, call: Any) -> None:
        """A test, or a module when it is imported, has failed."""
        said = statement(call.excinfo.value, self._tests)
        if said is None:
            self._verdict.other.append(f"{node.nodeid}: {call.excinfo.exconly()}"[:300])
        elif not self._verdict.caught_by:
            self._verdict.caught_by, self._verdict.assertion = node.nodeid, said
            node.session.shouldstop = "caught"

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Count what passed: a run without a single test proves nothing."""
        self._verdict.passed += report.when == "call" and report.passed

    def pytest_sessionfinish(self) -> None:
        """Write the verdict."""
        self._file.write_bytes(msgspec.json.encode(self._verdict))


def statement(error: BaseException, tests: Path) -> str | None:
    """What a failure says is broken.

    None unless it is an assertion of the tests, with words of its own.
    """
    first_line = str(error).partition("\n")[0]
    while (
        error.__cause__ is not None
    ):  # a property says which seed it was, and raises that from what it found
        error = error.__cause__
    if (
        not isinstance(error, AssertionError)
        or tests not in _raised_in(error.__traceback__).parents
    ):
        return None
    own = str(error).partition("\n")[0]
    # A comparison, as pytest writes it out; or the patience with a real part is over, which may
    # have any cause.
    if not own or own.startswith(("assert ", "not within ")):
        return None
    return first_line


def _raised_in(trace: TracebackType | None) -> Path:
    file = ""
    while trace is not None:
        file, trace = trace.tb_frame.f_code.co_filename, trace.tb_next
    return Path(file)
