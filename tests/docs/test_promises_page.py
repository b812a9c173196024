"""docs/promises.md: what the code, the tests and the mutants say of the promises, and no gap."""

from __future__ import annotations

import re
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from tests.conftest import pytest_collection_modifyitems
from tests.docs.blocks import ROOT
from tests.mutants.mutant import Mutant
from tests.mutants.table import MUTANTS
from tests.promises.names import PROMISES
from tests.promises.page import (
    PAGE,
    Code,
    MarkedTest,
    PromiseError,
    breaks,
    keepers,
    marked_tests,
    mentioned,
    page,
)

PROMISED = [mutant for mutant in MUTANTS if mutant.promise]


@pytest.fixture(scope="module")
def marked() -> list[MarkedTest]:
    return marked_tests()


@pytest.fixture(scope="module")
def kept_by() -> list[Code]:
    return keepers()


def test_the_page_is_what_make_promises_writes() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run: make promises"


@pytest.mark.parametrize("promise", PROMISES)
def test_each_promise_has_code_a_test_and_a_mutant(
    promise: str, marked: list[MarkedTest], kept_by: list[Code]
) -> None:
    assert [keeper for keeper in kept_by if promise in keeper.promises]
    assert [test for test in marked if promise in test.promises]
    assert breaks()[promise]


@pytest.mark.parametrize("mutant", PROMISED, ids=[mutant.breaks for mutant in PROMISED])
def test_a_mutant_of_a_promise_is_run_against_a_test_that_is_marked_with_it(
    mutant: Mutant, marked: list[MarkedTest]
) -> None:
    names = {name for test in _run_by(mutant, marked) for name in test.promises}
    assert mutant.promise in names


def _run_by(mutant: Mutant, marked: list[MarkedTest]) -> Iterator[MarkedTest]:
    for given in mutant.tests:
        file, _, name = given.partition("::")
        for test in marked:
            if test.file == file and name.partition("[")[0] in ("", test.name):
                yield test


def test_every_invariant_that_the_guarantees_name_is_a_promise() -> None:
    text = (ROOT / "docs" / "delivery-guarantees.md").read_text(encoding="utf-8")
    assert set(re.findall(r"\bI\d\b", text)) <= PROMISES.keys()


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("Return it (I7).", ("I7",)),
        ("Return it (I2, lost-answer); wait (I2).", ("I2", "lost-answer")),
        ("Return seconds (bounded), or `f(x)`.", ()),
    ],
)
def test_a_docstring_names_promises_in_parentheses(text: str, names: tuple[str, ...]) -> None:
    assert mentioned(text, "here") == names


def test_a_docstring_that_names_no_promise_there_is_is_an_error() -> None:
    with pytest.raises(PromiseError, match="'I12'"):
        mentioned("Return it (I7, I12).", "here")


def test_a_mark_that_names_no_promise_is_an_error_before_any_test_runs() -> None:
    item: Any = SimpleNamespace(
        nodeid="test_probe", iter_markers=lambda name: [pytest.mark.promise("I7", "I12").mark]
    )
    config: Any = SimpleNamespace()
    with pytest.raises(pytest.UsageError, match="test_probe: no promise is called 'I12'"):
        pytest_collection_modifyitems(config, [item])
