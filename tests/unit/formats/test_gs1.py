"""Names of GS1: Digital Links and URNs, compared with the library biip where it reads them too."""

from __future__ import annotations

import pytest
from biip import ParseError
from biip.gs1_digital_link_uris import GS1DigitalLinkURI
from biip.gs1_element_strings import GS1ElementString
from hypothesis import given
from hypothesis import strategies as st

from consumer.formats import gs1

GTIN = "09506000134352"
LINK = f"https://id.gs1.org/01/{GTIN}"


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        # The examples of the Tag Data Standard and of the Digital Link standard.
        ("urn:epc:id:sgtin:0614141.112345.400", "01/10614141123459/21/400"),
        ("urn:epc:id:sscc:0614141.1234567890", "00/106141412345678908"),
        ("urn:epc:id:sgtin:9506000.013435.A%2FB%251", f"01/{GTIN}/21/A/B%1"),
        ("URN:EPC:id:sgtin:9506000.013435.A", f"01/{GTIN}/21/A"),
        (f"{LINK}/10/ABC1/21/123456?17=180426", f"01/{GTIN}/21/123456"),
        (f"{LINK}/22/2A/10/ABC1/21/1", f"01/{GTIN}/21/1"),
        (f"{LINK}/22/2A/10/ABC1", f"01/{GTIN}"),
        (f"{LINK}/235/TPX-1", f"01/{GTIN}/235/TPX-1"),
        (f"{LINK}/21/A%2fB%22#f", f'01/{GTIN}/21/A/B"'),
        (f"{LINK}/21/A/", f"01/{GTIN}/21/A"),
        ("https://b.example.com/some/stem/01/9506000134352/21/1", f"01/{GTIN}/21/1"),
        (f"https://b.example.com/gtin/{GTIN}/lot/L/ser/S", f"01/{GTIN}/21/S"),
        (f"HTTPS://ID.GS1.ORG/01/{GTIN}/21/aB", f"01/{GTIN}/21/aB"),
        ("http://example.org:8080/00/106141412345678908", "00/106141412345678908"),
        ("https://example.org/sscc/106141412345678908/", "00/106141412345678908"),
        ("https://example.org/01/00000096385074/21/1", "01/00000096385074/21/1"),
        ("https://example.org/01/96385074/21/1", "01/00000096385074/21/1"),
    ],
)
def test_each_spelling_of_a_name_has_one_form(text: str, canonical: str) -> None:
    name = gs1.read_name(text)
    assert name is not None
    assert name.canonical == canonical


@pytest.mark.parametrize(
    "text",
    [
        "HGDTQD54D5SD86EEDFS",
        "https://example.org",
        "https://example.org/01/abc",
        "https://line.example.com/case/00/456",
        "urn:epc:id:sgln:9506000.00001.0",
        "urn:epc:id:grai:9506000.00001.A",
        "urn:uuid:1",
        "",
    ],
)
def test_other_names_are_left_alone(text: str) -> None:
    assert gs1.read_name(text) is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"{LINK}/21/HGDTQD54/D5SD86EEDFS", "a slash in a value is written %2F"),
        (f"{LINK}/21/A//", "is no part of a Digital Link"),
        (f"{LINK}/21", "is no part of a Digital Link"),
        (f"{LINK}/x/21/A", "is no part of a Digital Link"),
        (f"{LINK}/21/A/00/106141412345678908", "is no part of a Digital Link"),
        (f"{LINK}/21/A/21/A", 'the part "21" twice'),
        (f"{LINK}/ser/A/21/B", 'the part "21" twice'),
        (f"{LINK}/21/A/10/L", "in the order 22, 10, 21"),
        (f"{LINK}/21/A/235/B", "two serial numbers"),
        (f"{LINK}/21/", "is no part of a Digital Link"),
        (f"{LINK}/10//21/A", "the lot is empty"),
        (f"{LINK}?21=A", "belongs into the path"),
        (f"{LINK}/21/A?01=09506000134369", "belongs into the path"),
        (f"{LINK}/21/{'A' * 21}", "at most 20 characters, not 21"),
        (f"{LINK}/21/A%20B", "the characters that GS1 allows"),
        (f"{LINK}/21/A\u00e9", "the characters that GS1 allows"),
        (f"{LINK}/21/A%zz", "two hexadecimal digits"),
        (f"{LINK}/21/A%", "two hexadecimal digits"),
        (f"{LINK}/21/%ff", "are no text"),
        ("https://id.gs1.org/01/09506000134353/21/A", "check digit of the GTIN is 3 and must be 2"),
        ("https://id.gs1.org/01/095060001343529/21/A", "8, 12, 13 or 14 digits, not 15"),
        ("https://id.gs1.org/00/106141412345678907", "check digit of the SSCC is 7 and must be 8"),
        ("https://id.gs1.org/00/10614141234567890", "an SSCC has 18 digits, not 17"),
        ("https://id.gs1.org/00/106141412345678908/21/A", "is no part of a Digital Link"),
        ("urn:epc:id:sscc:95060001234.0004", "17 digits together"),
        ("urn:epc:id:sscc:95060.100000000009", "a company prefix has 6 to 12 digits"),
        ("urn:epc:id:sscc:9506000-1000000009", "digits, a dot, and digits"),
        ("urn:epc:id:sgtin:9506000.01.1", "13 digits together"),
        ("urn:epc:id:sgtin:9506000.013435", "the serial number is empty"),
        ("urn:epc:id:sgtin:9506000.013435.A/B", "are written with %"),
        ("urn:epc:id:sgtin:9506000.013435.%FF", "escapes"),
        ("urn:epc:ID:SGTIN:9506000.013435.A", "lower case"),
        ("urn:epc:tag:sgtin-96:3.9506000.013435.1", "a tag URI"),
        ("urn:epc:raw:96.x0123", "what a tag holds"),
        ("urn:epc:class:lgtin:9506000.013435.L", "a class of things"),
        ("urn:epc:idpat:sgtin:9506000.013435.*", "a pattern"),
        ("urn:epc:pat:sgtin-64:3.9506000.*.*", "a pattern"),
    ],
)
def test_a_name_that_breaks_its_standard_is_refused_with_the_rule(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message.replace("?", ".").replace("(", ".")):
        gs1.read_name(text)


@given(st.text("0123456789", min_size=1, max_size=17))
def test_check_digits_are_those_of_biip(digits: str) -> None:
    from biip.checksums import gs1_standard_check_digit

    assert gs1.check_digit(digits) == str(gs1_standard_check_digit(digits))


@given(st.text(st.characters(min_codepoint=32, max_codepoint=255), min_size=1, max_size=22))
def test_serial_numbers_are_those_of_biip(text: str) -> None:
    def taken_by_biip() -> bool:
        try:
            return GS1ElementString.parse(f"21{text}").value == text
        except ParseError:
            return False

    def taken() -> bool:
        try:
            return gs1.text_value("21", text) == text
        except ValueError:
            return False

    assert taken() == taken_by_biip()


@given(
    st.lists(st.sampled_from(["10", "21", "22", "235", "00", "x", "A", "B%2FC", ""]), max_size=7)
)
def test_paths_are_read_as_by_biip(parts: list[str]) -> None:
    """biip refuses a slash at the end, which the standard's own expression allows, and takes two
    serial numbers; nothing else differs.
    """
    url = "/".join([LINK, *parts])
    try:
        strings = GS1DigitalLinkURI.parse(url).element_strings
        wanted = {one.ai.ai: one.value for one in strings[1:]}
    except ParseError:
        wanted = None
    try:
        name = gs1.digital_link(url.removesuffix("/") if wanted is None else url)
        found = None if name is None else name.qualifiers
    except ValueError:
        found = None
    if url.endswith("/") or (wanted and {"21", "235"} <= wanted.keys()):
        return
    assert found == wanted


def test_scheme_and_host_of_a_url_mean_the_same_in_any_case() -> None:
    assert gs1.plain_url("HTTPS://QR.Example.COM/Q/aB?C") == "https://qr.example.com/Q/aB?C"
    assert gs1.plain_url("URN:X") == "URN:X"


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("09506000134352", "bare GTIN"),
        ("106141412345678908", "bare SSCC"),
        ("(01)09506000134352(21)A", "element string"),
        ("010950600013435221ABC", "element string"),
        ("]d201095060001343522112", "element string"),
        ("https://id.gs1.org/AQnYUc1gmiCNV4JGYgYAUOsSG", "compressed"),
    ],
)
def test_what_no_rule_fits_is_told_by_what_it_looks_like(text: str, part: str) -> None:
    assert part in (gs1.hint(text) or "")
    assert gs1.hint("HGDTQD54D5SD86EEDFS") is None
