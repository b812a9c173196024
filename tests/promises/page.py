"""The page that leads from each promise to its code, its tests and its mutants.

``python -m tests.promises.page`` prints it. It is read from the sources; no test is run.
"""

from __future__ import annotations

import ast
import re
import sys
import textwrap
import tomllib
from collections import defaultdict
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

from tests.mutants.table import MUTANTS
from tests.promises.names import PROMISES, unknown

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "promises.md"
#: Names in parentheses, as a docstring tells them: one or several, with commas between.
_NAME = r"(?:I\d+|[a-z]+(?:-[a-z]+)*)"
_MENTION = re.compile(rf"\(({_NAME}(?:, {_NAME})*)\)")
_INVARIANT = re.compile(r"I\d+")

TITLE = "# Promises: where each is kept, tested and broken"
HEAD = (
    "Written by `make promises`. [delivery-guarantees.md](delivery-guarantees.md) tells each "
    "promise in full, and what it rests on; this page leads from its name to the code that keeps "
    "it, to the tests that hold the code to it, and to the mutants: deliberate breaks that one of "
    "those tests must catch ([mutants.md](mutants.md)). There are {promises} promises, {tests} "
    "tests and {mutants} mutants. The way back is the name: the code tells it in parentheses, a "
    'test is marked with it (`pytest.mark.promise("I7")`).'
)
COVERAGE = (
    "`make coverage` runs `tests/unit` and measures {measured}: less than {floor} % of their lines "
    "and branches is an error."
)
TABLE = ("| promise | what it means |", "| --- | --- |")


class PromiseError(Exception):
    """A mark, a docstring or a mutant names a promise that there is not."""


class MarkedTest(NamedTuple):
    """A test and what it is marked with; ``whole``: by its file."""

    file: str
    name: str
    promises: tuple[str, ...]
    whole: tuple[str, ...]


class Code(NamedTuple):
    """Code that keeps a promise; ``name``: empty for a whole module."""

    file: str
    name: str
    promises: tuple[str, ...]


def marked_tests() -> list[MarkedTest]:
    """Return the tests that are marked, and the others of their files."""
    found = []
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        file = path.relative_to(ROOT).as_posix()
        text = path.read_text(encoding="utf-8")
        if "mark.promise(" not in text:
            continue
        tree = ast.parse(text)
        whole = tuple(
            name
            for node in tree.body
            if isinstance(node, ast.Assign) and _is_named(node.targets[0], "pytestmark")
            for name in _marked(node.value, file)
        )
        for node in tree.body:
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                own = [name for mark in node.decorator_list for name in _marked(mark, file)]
                found.append(MarkedTest(file, node.name, (*own, *whole), whole))
    return found


def keepers() -> list[Code]:
    """Return all of the program that names a promise in its docstring."""
    found = []
    for path in sorted((ROOT / "consumer").rglob("*.py")):
        file = path.relative_to(ROOT).as_posix()
        text = path.read_text(encoding="utf-8")
        if not mentioned(text, file):
            continue
        for name, node in _documented(ast.parse(text)):
            said = mentioned(ast.get_docstring(node) or "", f"{file}: {name}")
            if said:
                found.append(Code(file, name, said))
    return found


def breaks() -> dict[str, list[str]]:
    """Return what is broken, by promise."""
    found: dict[str, list[str]] = defaultdict(list)
    for mutant in MUTANTS:
        if mutant.promise:
            found[_known(mutant.promise, mutant.breaks)].append(mutant.breaks)
    return found


def page() -> str:
    """Return the page as it should be."""
    marked, kept_by, broken = marked_tests(), keepers(), breaks()
    head = HEAD.format(
        promises=len(PROMISES),
        tests=sum(bool(test.promises) for test in marked),
        mutants=sum(map(len, broken.values())),
    )
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"][
        "coverage"
    ]
    measured = " and ".join(f"`{folder}`" for folder in settings["run"]["source"])
    floor = COVERAGE.format(measured=measured, floor=settings["report"]["fail_under"])
    lines = [TITLE, "", *_wrapped(head), "", *_wrapped(floor), "", *TABLE]
    lines += [f"| [{name}](#{name.lower()}) | {means} |" for name, means in PROMISES.items()]
    for name, means in PROMISES.items():
        lines += ["", f"## {name}", "", *_wrapped(means)]
        lines += ["", "**Code**", "", *_code_lines(name, kept_by)]
        lines += ["", "**Tests**", "", *_test_lines(name, marked)]
        lines += ["", "**Mutants**", ""]
        lines += [line for broke in broken[name] for line in _item(broke)]
    return "\n".join([*lines, ""])


def _is_named(node: ast.expr, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name


def _marked(mark: ast.expr, where: str) -> Iterator[str]:
    """The promises that a decorator names, or a value of ``pytestmark``: a mark, or several."""
    for call in mark.elts if isinstance(mark, (ast.List, ast.Tuple)) else (mark,):
        if isinstance(call, ast.Call) and ast.unparse(call.func) == "pytest.mark.promise":
            yield from (_known(ast.literal_eval(name), where) for name in call.args)


def _documented(
    module: ast.Module,
) -> Iterator[tuple[str, ast.Module | ast.ClassDef | ast.FunctionDef]]:
    yield "", module

    def below(node: ast.AST, prefix: str) -> Iterator[tuple[str, ast.ClassDef | ast.FunctionDef]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, (ast.ClassDef, ast.FunctionDef)):
                yield prefix + child.name, child
                yield from below(child, f"{prefix}{child.name}.")

    yield from below(module, "")


def mentioned(text: str, where: str) -> tuple[str, ...]:
    """The promises that a docstring names; in parentheses stands many another word, too."""
    found: dict[str, None] = {}
    for match in _MENTION.finditer(text):
        names = match[1].split(", ")
        if any(name in PROMISES or _INVARIANT.fullmatch(name) for name in names):
            found |= dict.fromkeys(map(partial(_known, where=where), names))
    return tuple(found)


def _known(name: str, where: str) -> str:
    if unknown(name):
        raise PromiseError(f"{where}: no promise is called {name!r}: {', '.join(PROMISES)}")
    return name


def _code_lines(promise: str, keepers: Iterable[Code]) -> Iterator[str]:
    by_file: dict[str, list[str]] = defaultdict(list)
    for keeper in keepers:
        if promise in keeper.promises:
            by_file[keeper.file].append(keeper.name)
    for file, names in by_file.items():
        listed = ", ".join(f"`{name}`" if name else "the module" for name in names)
        yield from _item(f"{_link(file)}: {listed}")


def _test_lines(promise: str, marked: Iterable[MarkedTest]) -> Iterator[str]:
    by_file: dict[str, list[MarkedTest]] = defaultdict(list)
    for test in marked:
        if promise in test.promises:
            by_file[test.file].append(test)
    for file, held in by_file.items():
        if promise in held[0].whole:
            yield from _item(f"{_link(file)}: the whole file ({len(held)})")
        else:
            yield from _item(f"{_link(file)}:")
            for test in held:
                yield f"  - `{test.name}`"


def _link(file: str) -> str:
    return f"[{file}](../{file})"


def _item(text: str) -> Iterator[str]:
    yield from _wrapped(text, "- ", "  ")


def _wrapped(text: str, first: str = "", following: str = "") -> list[str]:
    return textwrap.wrap(
        text,
        100,
        initial_indent=first,
        subsequent_indent=following,
        break_long_words=False,
        break_on_hyphens=False,
    )


if __name__ == "__main__":
    sys.stdout.write(page())
