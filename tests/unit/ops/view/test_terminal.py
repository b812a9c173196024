"""The view in a terminal: the page's words, on any width, and nothing that moves the cursor."""

from __future__ import annotations

import re
from io import BytesIO, TextIOWrapper

import pytest
from rich.cells import cell_len
from rich.console import Console

from consumer.ops.view.document import read
from consumer.ops.view.model import View, view_of
from consumer.ops.view.terminal import screen
from tests.support import status_samples
from tests.support.status_samples import FAULTS, SAMPLES, Document

#: What rich itself writes for colours; nothing else of its kind may be there.
COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def shown(document: Document, width: int = 120, encoding: str = "utf-8", lost: str = "") -> str:
    """Return what a terminal of that width and encoding gets. Fail at what it cannot show."""
    raw = BytesIO()
    out = TextIOWrapper(raw, encoding=encoding, errors="strict", newline="")
    console = Console(
        file=out,
        force_terminal=True,
        width=width,
        markup=False,
        highlight=False,
        emoji=False,
        legacy_windows=False,
        _environ={},
    )
    console.print(screen(view_of(read(document)), console, head="scm-consumer", lost=lost))
    out.flush()
    return raw.getvalue().decode(encoding)


def words(text: str) -> str:
    """Return a text without colours and breaks of lines."""
    return " ".join(COLOUR.sub("", text).split())


@pytest.mark.parametrize("sample", FAULTS)
def test_state_cause_and_advice_are_told(sample: str) -> None:
    document = FAULTS[sample]()
    text = words(shown(document))
    (trouble,) = document["troubles"]
    assert document["state"].upper() in text
    assert trouble["message"] in text
    assert f"What to do: {trouble['advice']}" in text


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
@pytest.mark.parametrize("width", [60, 80, 200])
@pytest.mark.parametrize("sample", SAMPLES)
def test_it_fits_any_width_and_any_encoding(sample: str, width: int, encoding: str) -> None:
    for line in COLOUR.sub("", shown(SAMPLES[sample](), width, encoding)).splitlines():
        assert cell_len(line) <= width


def test_no_text_of_an_event_reaches_the_terminal_as_anything_but_text() -> None:
    text = COLOUR.sub("", shown(status_samples.hostile()))
    assert all(character.isprintable() or character == "\n" for character in text)
    assert r"\x1b[31mred\x1b[0m" in text
    assert "[bold red]markup[/]" in text, "no markup of ours either"


def test_page_and_terminal_show_one_view() -> None:
    view: View = view_of(read(status_samples.backlog()))
    text = words(shown(status_samples.backlog()))
    for figure in view.figures:
        assert f"{figure.name} {figure.value} {figure.note}".strip() in text
    for curve in view.curves:
        assert f"now {curve.now}, at most {curve.most}" in text


def test_a_consumer_that_went_away_is_told_of_at_the_top() -> None:
    text = words(shown(status_samples.healthy(), lost="No answer since 03:07:09"))
    assert text.startswith("scm-consumer No answer since 03:07:09")
