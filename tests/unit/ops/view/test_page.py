"""The page's HTML: whole without a script, and nothing that an event holds becomes markup."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from html.parser import HTMLParser

import pytest

from consumer.ops.view.document import read
from consumer.ops.view.model import view_of
from consumer.ops.view.page import REFRESH_SECONDS, page, page_without_answer, policy
from consumer.ops.view.text import clean
from tests.support import status_samples
from tests.support.status_samples import FAULTS, HOSTILE, SAMPLES, Document

AT = datetime(2026, 12, 1, 3, 7, 9, tzinfo=UTC)
#: Elements without an end.
VOID = {"meta", "link"}


class Parsed(HTMLParser):
    """The elements, attributes and text of a page; each element has its end, in order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[str] = []
        self.attributes: set[str] = set()
        self.words: list[str] = []
        self._open: list[str] = []
        self.feed(html)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        self.attributes |= {name for name, _ in attrs}
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] not in ("script", "style"):
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def html(document: Document) -> str:
    return page(view_of(read(document)), AT).decode()


@pytest.mark.parametrize("sample", SAMPLES)
def test_the_page_is_whole_and_well_formed(sample: str) -> None:
    parsed = Parsed(html(SAMPLES[sample]()))
    assert parsed.elements.count("main") == parsed.elements.count("h1") == 1
    assert "as of 03:07:09 UTC" in parsed.text


@pytest.mark.parametrize("sample", FAULTS)
def test_state_cause_place_since_and_advice_stand_in_the_text(sample: str) -> None:
    document = FAULTS[sample]()
    text = Parsed(html(document)).text
    (trouble,) = document["troubles"]
    for part in (document["state"], trouble["message"], trouble["advice"], trouble["where"]):
        assert part in text
    assert "for 3 min" in text
    assert 'class="headline good"' not in html(document)


def test_what_events_hold_is_text_and_makes_no_element_or_attribute() -> None:
    calm, hostile = (
        Parsed(html(status_samples.rejections())),
        Parsed(html(status_samples.hostile())),
    )
    assert set(hostile.elements) <= set(calm.elements) | {"article", "h3"}
    assert hostile.elements.count("script") == hostile.elements.count("style") == 1
    assert hostile.attributes <= calm.attributes
    assert not {name for name in hostile.attributes if name.startswith("on")}


@pytest.mark.parametrize("text", HOSTILE[:5])
def test_a_hostile_text_is_shown_as_it_is(text: str) -> None:
    shown = Parsed(html(status_samples.hostile())).text
    assert " ".join(clean(text).split()) in shown


def test_a_page_of_whatever_size_is_bounded() -> None:
    document = status_samples.hostile()
    document["troubles"] *= 3
    assert len(html(document)) < 200_000
    assert len(html(status_samples.many_partitions(5_000))) < 200_000
    assert "and 460 more" in html(status_samples.many_partitions(500))


def test_nothing_but_its_own_script_and_style_is_allowed() -> None:
    rules = dict(rule.split(" ", 1) for rule in policy().split("; "))
    assert rules["default-src"] == "'none'"
    assert rules["connect-src"] == "'self'"
    assert re.fullmatch(r"'sha256-[\w+/=]+'", rules["script-src"])
    assert re.fullmatch(r"'sha256-[\w+/=]+'", rules["style-src"])
    assert "unsafe" not in policy()
    shown = html(status_samples.healthy())
    assert " style=" not in shown, "the policy forbids it"
    assert not re.search(r"(?:src|href)=\"(?:https?:)?//", shown)
    assert "innerHTML" not in shown


def test_without_a_script_the_page_loads_itself_again() -> None:
    refresh = f'<noscript><meta http-equiv="refresh" content="{REFRESH_SECONDS}"></noscript>'
    assert refresh in html(status_samples.healthy())
    assert refresh in page_without_answer(2, AT).decode()


def test_an_owner_loop_that_does_not_answer_has_a_page_that_says_so() -> None:
    shown = page_without_answer(2, AT).decode()
    text = Parsed(shown).text
    assert "no answer" in text
    assert "did not answer within 2 s" in text
    assert "What to do: look at healthz" in text
    assert "Partitions" not in text
