"""The table of mutants follows the program; its runner counts only what a test says in words."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tests.mutants.mutant import Edit, Mutant, StaleMutantError, mutated
from tests.mutants.run import ROOT, Result, copy_of, judge, page, unmutated
from tests.mutants.table import MUTANTS
from tests.mutants.verdict import Verdict

PROBE = "tests/unit/test_probe.py"
RETRY = "core/admission/retry.py"


def test_every_mutant_applies_once_changes_the_program_and_still_compiles() -> None:
    for mutant in MUTANTS:
        for path, text in mutated(mutant, ROOT).items():
            assert text != path.read_text(), mutant.breaks
            compile(text, str(path), "exec")


def test_every_mutant_is_told_apart_and_has_tests_that_are_there() -> None:
    twice = [
        breaks
        for breaks, count in Counter(mutant.breaks for mutant in MUTANTS).items()
        if count > 1
    ]
    assert not twice
    assert [test for mutant in MUTANTS for test in mutant.tests if not _is_there(test)] == []


def _is_there(test: str) -> bool:
    """Return whether a test, named as pytest does, is in its file."""
    file, _, name = test.partition("::")
    function = name.rpartition("::")[2].partition("[")[0]
    path = ROOT / file
    return path.exists() and (not name or f"def {function}(" in path.read_text(encoding="utf-8"))


def test_a_mutant_whose_text_is_gone_or_not_the_only_one_is_an_error() -> None:
    for text, count in (("no such text", 0), ("self", 2)):
        with pytest.raises(StaleMutantError, match="not once" if count else "found 0 times"):
            mutated(Mutant("stale", (Edit(RETRY, text, "x"),)), ROOT)


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_of(ROOT, tmp_path_factory.mktemp("copy"))


def _judged(copy: Path, probe: str, edit: Edit | None = None) -> Result:
    """Judge a mutant of the policy of retries against one test."""
    imports = "from consumer.core.admission.retry import RetryPolicy\n"
    (copy / PROBE).write_text(f"{imports}\n\ndef test_probe() -> None:\n    {probe}\n")
    slow = edit or Edit(RETRY, "return draw *", "return 2 * draw *")
    before = (copy / "consumer" / slow.file).read_text()
    result = judge(Mutant("twice the delay", (slow,), (PROBE,)), copy)
    assert (copy / "consumer" / slow.file).read_text() == before, "the copy is as before"
    return result


def test_an_assertion_of_a_test_that_says_what_is_broken_catches(copy: Path) -> None:
    result = _judged(copy, 'assert RetryPolicy().delay(1, 1.0) == 0.5, "I8: too late"')
    assert result.caught
    assert result.verdict.assertion == "I8: too late"
    assert result.verdict.caught_by == f"{PROBE}::test_probe"


@pytest.mark.parametrize(
    ("probe", "edit"),
    [
        ("assert RetryPolicy().delay(1, 1.0) < 9, 'I8: too late'", None),  # passes
        ("assert RetryPolicy().delay(1, 1.0) == 0.5", None),  # no words
        ("assert {}['x'], 'I8: too late'", None),  # a crash
        (
            "assert RetryPolicy().delay(1, 1.0), 'x'",
            Edit(RETRY, "return draw *", "assert False, 'I8: own words'; return draw *"),
        ),
        (
            "pass",
            Edit(RETRY, "from __future__", "import nowhere\nfrom __future__"),
        ),  # an error of import
    ],
)
def test_nothing_else_does(copy: Path, probe: str, edit: Edit | None) -> None:
    result = _judged(copy, probe, edit)
    assert not result.caught
    assert "not caught" in result.outcome


def test_tests_that_do_not_run_while_nothing_is_broken_are_told() -> None:
    """They would catch nothing, or seem to have looked and missed it."""
    nowhere = Mutant("no test", (), ("tests/mutants/few_seeds.py::no_such_test",))
    assert "no_such_test" in unmutated([nowhere])


def test_the_page_shows_who_caught_what_and_what_is_missed() -> None:
    caught = Result(MUTANTS[0], Verdict("tests/unit/test_x.py::test_y[1]", "I2: a | b"), 1.0)
    missed = Result(MUTANTS[1], Verdict(passed=3), 1.0)
    text = page([caught, missed])
    assert "**1 of 2 caught**, 1 of them" in text
    assert (
        f"| {MUTANTS[0].breaks} | `core/ordering/claims.py` | unit/test_x.py test_y | I2: a \\| b |"
        in text
    )
    assert "**not caught: 3 tests passed**" in text
