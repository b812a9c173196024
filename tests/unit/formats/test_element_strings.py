"""Element strings of GS1, compared with the library biip."""

from __future__ import annotations

import pytest
from biip import ParseConfig, ParseError
from biip.gs1_application_identifiers import GS1ApplicationIdentifier
from biip.gs1_element_strings import GS1ElementString
from biip.gs1_messages import GS1Message
from hypothesis import given
from hypothesis import strategies as st

from consumer.formats.element_strings import GS, bracketed, doubtful_names, elements, names

GTIN = "0109506000134352"
#: Which of the days 00 to 31 a month has is not looked at: nothing is made of dates.
ANY_DATE = ParseConfig(gs1_element_strings_verify_date=False)


def _biip_has(ai: str) -> bool:
    try:
        return GS1ApplicationIdentifier.extract(ai).ai == ai
    except ParseError:
        return False


#: Around every length that an identifier has.
LENGTHS = [*range(1, 22), *range(24, 37), 40, 41, 50, 51, 70, 71, 90, 91]
AIS = [
    ai
    for length in (2, 3, 4)
    for ai in (f"{number:0{length}d}" for number in range(10**length))
    if _biip_has(ai)
]


def _ours(text: str) -> dict[str, str] | None:
    try:
        return elements(text)
    except ValueError:
        return None


def _biip(text: str) -> str | None:
    try:
        return GS1ElementString.parse(text, config=ANY_DATE).value
    except ParseError:
        return None


def test_every_application_identifier_is_known_with_its_length_and_characters() -> None:
    values = [character * length for character in "0A/" for length in LENGTHS]
    values += ["261231", "2612312359", "26123123", "20261231", "202612312359", "000000-", "1/2"]
    assert len(AIS) > 500
    for ai in AIS:
        for value in values:
            found = _ours(ai + value) or {}
            alone = found.get(ai) if len(found) == 1 else None  # a value that others follow
            assert alone == _biip(ai + value), (ai, value)


@given(
    st.lists(st.sampled_from(["10", "21", "17", "01", "240", "A", "B1", "261231", GS]), max_size=8)
)
def test_strings_are_read_as_by_biip(parts: list[str]) -> None:
    """biip reads an identifier that comes twice, and leaves separators out that nobody needs."""
    text = GTIN + "".join(parts)
    found = _ours(text)
    if found is None:
        return
    read = GS1Message.parse(text.strip(GS), config=ANY_DATE).element_strings
    assert found == {one.ai.ai: one.value for one in read}
    assert len(found) == len(read)


def test_what_stands_behind_a_lost_separator_makes_the_serial_number_doubtful() -> None:
    read = elements(f"{GTIN}21ABC17261231")
    assert [name.canonical for name in names(read)] == ["01/09506000134352/21/ABC17261231"]
    assert "01/09506000134352/21/ABC" in [name.canonical for name in doubtful_names(read)]
    assert doubtful_names(elements(f"{GTIN}21ABCDEF")) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        (f"{GTIN}21A{GS}21A", "comes twice"),
        (f"{GTIN}9", "should stand is none"),
        (f"{GTIN}21", "is no value of it"),
        (f"{GTIN}17261331", "is no value of it"),
        (f"{GTIN}21A<gs>10B", "as a word"),
        ("0109506000134353", "check digit of the GTIN"),
        (f"{GTIN}21A{GS}235B", "two serial numbers"),
    ],
)
def test_what_breaks_a_rule_is_refused_with_it(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        names(elements(text))


@pytest.mark.parametrize(
    "text", ["(01)09506000134352(21)A(B", "(01)0950600013435", "x(21)A", "(2)A", "(21)", "(0195)06"]
)
def test_brackets_that_are_not_as_they_must_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        bracketed(text)
