"""The pages about the inside: what they name exists, and a record goes the way that they tell.

``docs/journey.md`` names, step by step, the functions that a record passes. Here one is sent
through the real loop and core, with fakes of the adapters, and the calls are compared.
"""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Callable, Iterable
from functools import cache
from types import CodeType, FrameType
from typing import Any, NamedTuple

import pytest

from consumer.core.rows.maker import RowMaker
from consumer.formats import decoder
from consumer.loop.intake import Intake
from tests.docs.blocks import ROOT, pages
from tests.unit.builders import error_of, naming
from tests.unit.runner_fakes import World, message

PAGES = (
    "CONTRIBUTING.md",
    "docs/admission.md",
    "docs/architecture.md",
    "docs/decisions.md",
    "docs/group.md",
    "docs/journey.md",
    "docs/offsets.md",
    "docs/uploading.md",
)
JOURNEY = "docs/journey.md"

_FILE = re.compile(r"`((?:consumer|tests)/[\w/]+\.py)`")
#: A file and, right behind it, names in it, parted by commas.
_NAMES = re.compile(r"`((?:consumer|tests)/[\w/]+\.py)`((?:[\s,]+`[A-Za-z_][\w.]*`)+)")
_NAME = re.compile(r"`([A-Za-z_][\w.]*)`")
_WAY = re.compile(r"^\*\*Way:\*\* (.*?)$(?=\n\n)", re.MULTILINE | re.DOTALL)


class Named(NamedTuple):
    """A function or class, as a page names it."""

    file: str
    name: str


def text_of(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def named_in(text: str) -> list[Named]:
    return [
        Named(file, name) for file, names in _NAMES.findall(text) for name in _NAME.findall(names)
    ]


def ways() -> list[list[Named]]:
    """Return what each step of the journey names as its way, in order; the last is the
    other road.
    """
    return [named_in(way) for way in _WAY.findall(text_of(JOURNEY))]


@cache
def defined(file: str) -> frozenset[str]:
    """Return classes, functions, methods and constants of a file, as ``name`` or ``Class.name``."""
    found: set[str] = set()

    def look(body: Iterable[ast.stmt], within: str) -> None:
        for node in body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef):
                found.add(within + node.name)
                if isinstance(node, ast.ClassDef):
                    look(node.body, f"{within}{node.name}.")
            elif isinstance(node, ast.Assign | ast.AnnAssign):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                found.update(within + each.id for each in targets if isinstance(each, ast.Name))

    look(ast.parse((ROOT / file).read_text(encoding="utf-8")).body, "")
    return frozenset(found)


# -- what is named exists ------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES)
def test_every_file_that_is_named_exists(page: str) -> None:
    files = set(_FILE.findall(text_of(page)))
    assert [file for file in sorted(files) if not (ROOT / file).is_file()] == []


@pytest.mark.parametrize("page", PAGES)
def test_every_name_stands_in_its_file(page: str) -> None:
    named = named_in(text_of(page))
    missing = [
        each
        for each in named
        if (ROOT / each.file).is_file() and each.name not in defined(each.file)
    ]
    assert missing == []


def test_names_are_found_and_missed_names_too() -> None:
    text = "`consumer/loop/runner.py` `Runner.turn`,\n  `Runner.no_such`; `Flow`"
    assert named_in(text) == [
        ("consumer/loop/runner.py", "Runner.turn"),
        ("consumer/loop/runner.py", "Runner.no_such"),
    ]
    assert "Runner.turn" in defined("consumer/loop/runner.py")
    assert "Runner.no_such" not in defined("consumer/loop/runner.py")


def test_every_layer_and_room_has_its_line() -> None:
    """The table of the architecture page is the order that import-linter checks."""
    settings = tomllib.loads(text_of("pyproject.toml"))
    layers = {
        contract["containers"][0]: [sorted(layer.split(" | ")) for layer in contract["layers"]]
        for contract in settings["tool"]["importlinter"]["contracts"]
        if contract["type"] == "layers"
    }
    section = text_of("docs/architecture.md").partition("\n## Rooms and layers\n")[2]
    lines = [
        line.split("|")[1] for line in section.partition("\n## ")[0].splitlines() if "|" in line
    ]
    told = [re.findall(r"`(\w+)`", line) for line in lines]
    begin = next(n for n, line in enumerate(told) if "pipeline" in line)
    for container, rows in (
        ("consumer", told[:begin]),
        ("consumer.core", told[begin:]),
    ):
        names = [name for row in rows for name in row]
        order = {name: n for n, layer in enumerate(layers[container]) for name in layer}
        assert sorted(names) == sorted(order), f"{container}: other rooms than import-linter's"
        assert [order[name] for name in names] == sorted(order.values()), f"{container}: order"


# -- the journey itself --------------------------------------------------------------------------


def calls_of(run: Callable[[], None]) -> list[Named]:
    """Return the consumer's functions that are called, in order; an inner one as its outer one."""
    names: dict[CodeType, Named | None] = {}
    calls: list[Named] = []
    root = f"{ROOT}/"

    def name_of(code: CodeType) -> Named | None:
        if not code.co_filename.startswith(f"{root}consumer/"):
            return None
        return Named(
            code.co_filename.removeprefix(root), code.co_qualname.partition(".<locals>")[0]
        )

    def note(frame: FrameType, event: str, _: Any) -> None:
        if event == "call":
            code = frame.f_code
            if code not in names:
                names[code] = name_of(code)
            if (name := names[code]) is not None:
                calls.append(name)

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        run()
    finally:
        sys.setprofile(before)
    return calls


def passes(calls: list[Named], way: list[Named]) -> Named | None:
    """Return the first of the way that is not called after those before it; None: all are."""
    left = iter(calls)
    return next((each for each in way if each not in left), None)


def by_fakes(way: list[Named]) -> list[Named]:
    """Leave out what fakes stand for."""
    return [
        each for each in way if not each.file.startswith(("consumer/adapters/", "consumer/app.py"))
    ]


def journey(*, rejected: bool = False) -> list[Named]:
    """Return the calls from the turn that reads one record to the acknowledgement of its commit."""
    world = World(intake=Intake(decoder("flat"), RowMaker("extended_id")))
    partition = world.partition(0)
    if rejected:
        world.api = lambda _: naming(error_of("A1"))
    world.start()
    world.turn_for(1.0)  # idle: what the start needs is over
    world.source.logs[partition].append(message(0, "A1"))
    calls = calls_of(lambda: world.turn_until(lambda: partition.committed == 1))
    counts = world.runner.ledger().as_dict()
    assert counts["rejected" if rejected else "accepted"] == counts["consumed"] == 1
    return calls


def test_the_journey_has_eight_steps_and_another_road() -> None:
    steps = re.findall(r"^## (\d)\. ", text_of(JOURNEY), re.MULTILINE)
    assert steps == [str(number) for number in range(1, 9)]
    assert len(ways()) == 9, "a step without its way"
    assert all(by_fakes(way) for way in ways()), "a step of which nothing is held true"
    told = [re.findall(r"`([^`]+)`", way) for way in _WAY.findall(text_of(JOURNEY))]
    names = [[each for each in way if not each.endswith(".py")] for way in told]
    assert names == [[each.name for each in way] for way in ways()], "a name that is not read"


def test_a_record_passes_the_named_functions_in_their_order() -> None:
    way = [each for step in ways()[:-1] for each in by_fakes(step)]
    missed = passes(journey(), way)
    assert missed is None, f"docs/journey.md: {missed} is not called there"


def test_a_rejected_row_takes_the_other_road() -> None:
    missed = passes(journey(rejected=True), by_fakes(ways()[-1]))
    assert missed is None, f"docs/journey.md: {missed} is not called there"


@pytest.mark.parametrize("number", range(1, 8))
def test_no_two_steps_could_be_exchanged(number: int) -> None:
    """So the comparison can fail: what a step does is done there, and not at any time."""
    steps = ways()[:-1]
    steps[number - 1], steps[number] = steps[number], steps[number - 1]
    way = [each for step in steps for each in by_fakes(step)]
    assert passes(journey(), way) is not None


# -- decisions -----------------------------------------------------------------------------------


def test_decisions_are_numbered_each_with_its_status() -> None:
    page = text_of("docs/decisions.md")
    found = re.findall(r"^### D(\d+)\. .+\n\n\*(.+)\*$", page, re.MULTILINE)
    numbers = [int(number) for number, _ in found]
    assert numbers, "no decision is found"
    assert numbers == list(range(1, len(re.findall(r"^### ", page, re.MULTILINE)) + 1))
    for number, status in found:
        said = re.fullmatch(
            r"since 0\.1 \(\d{4}-\d\d-\d\d\) · (accepted|replaced by D(\d+))", status
        )
        assert said is not None, f"D{number}: {status}"
        assert said[2] is None or int(said[2]) in numbers


def test_a_link_to_a_heading_leads_to_one() -> None:
    def anchors(page: str) -> set[str]:
        heads = re.findall(r"^#{1,6} (.+)$", text_of(page), re.MULTILINE)
        return {
            re.sub(r"[^\w\- ]", "", head.replace("`", "").lower()).replace(" ", "-")
            for head in heads
        }

    broken = []
    for page in pages():
        for target, anchor in re.findall(r"\]\(([\w./-]*)#([\w-]+)\)", text_of(page)):
            other = (ROOT / page).parent / target if target else ROOT / page
            if anchor not in anchors(str(other.resolve().relative_to(ROOT))):
                broken.append(f"{page}: {target}#{anchor}")
    assert broken == []
