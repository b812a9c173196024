"""Scans of a line, and what becomes of them on their way: each the right code, or refused.

A scan depends on its number alone, so that one that fails is found again by it:
``python -m tests.fuzz.scans --start NUMBER --scans 1``. The judge has two opinions: the code that
the scan was made of, and how the library biip reads what came.
"""

from __future__ import annotations

import argparse
import random
import time
from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple
from urllib.parse import quote

from biip import ParseConfig, ParseError
from biip.gs1_digital_link_uris import GS1DigitalLinkURI
from biip.gs1_messages import GS1Message

from consumer.core.model import InvalidEvent
from consumer.formats import ScanDecoder, ScanRules
from consumer.formats.gs1 import check_digit

GS = "\x1d"
LENGTH = 14
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
SCAN_RULES: dict[str, Any] = {
    "code": (
        rf"extended_id = 01/\d{{14}}/21/([A-Z0-9]{{{LENGTH}}})",
        r"pallet_code = 00/(\d{18})",
        rf"extended_id = https://qr\.example\.com/q/([A-Z0-9]{{{LENGTH}}})",
        r"serial_number = N-([A-Z0-9]{8})",
    ),
    "set": ("* = line: 7, product: {gtin}",),
}
_ANY_DATE = ParseConfig(gs1_element_strings_verify_date=False)  # no code depends on it
_DECODE = ScanDecoder(ScanRules(**SCAN_RULES))


class Scan(NamedTuple):
    """A scan as it came, and what it was made of."""

    raw: bytes
    form: str
    damage: str
    code: str
    #: Whether the damage can be seen: else another code may come out, which is as good as the one
    #: that was scanned.
    visible: bool


def _gtin(rng: random.Random) -> str:
    digits = f"{rng.randrange(10**13):013d}"
    return digits + check_digit(digits)


def _more(rng: random.Random) -> list[tuple[str, str]]:
    """Return other elements of a package: AI and value."""
    lot = "".join(rng.choices(LETTERS + "-/.", k=rng.randint(1, 12)))
    some = [
        ("17", f"{rng.randint(24, 30)}{rng.randint(1, 12):02d}{rng.randint(1, 28):02d}"),
        ("11", "261122"),
        ("10", lot),
        ("240", lot[:6]),
        ("3103", f"{rng.randrange(10**6):06d}"),
        ("422", "756"),
    ]
    return rng.sample(some, rng.randint(0, 3))


def _element_string(rng: random.Random, code: str) -> str:
    parts = [("01", _gtin(rng)), ("21", code), *_more(rng)]
    if rng.random() < 0.5:
        rng.shuffle(parts)
    text = "".join(
        ai + value + (GS if ai in ("21", "10", "240", "422") else "") for ai, value in parts
    )
    begin = rng.choice(("", "]d2", "]C1", "]Q3", GS, "]d2" + GS))
    return begin + (text.removesuffix(GS) if rng.random() < 0.9 else text)


def _bracketed(rng: random.Random, code: str) -> str:
    parts = [("01", _gtin(rng)), ("21", code), *_more(rng)]
    return "".join(f"({ai}){value}" for ai, value in parts)


def _link(rng: random.Random, code: str) -> str:
    lot = "".join(f"/10/{quote(value, safe='')}" for ai, value in _more(rng) if ai == "10")
    begin = rng.choice(("", "]Q1", "]d1")) + rng.choice(
        ("https://id.gs1.org", "HTTPS://ID.GS1.ORG", "http://qr.example.com/x")
    )
    return f"{begin}/01/{_gtin(rng)}{lot}/21/{code}{rng.choice(('', '?17=261231', '/'))}"


def _pallet(rng: random.Random, code: str) -> str:
    return rng.choice(("]C100", "00", "(00)", "https://id.gs1.org/00/")) + code


_FORMS: dict[str, Callable[[random.Random, str], str]] = {
    "element string": _element_string,
    "brackets": _bracketed,
    "Digital Link": _link,
    "SSCC": _pallet,
    "URL": lambda _, code: f"https://qr.example.com/q/{code}",
    "own": lambda _, code: f"N-{code}",
}


def _code(rng: random.Random, form: str) -> str:
    if form == "SSCC":
        digits = f"{rng.randrange(10**17):017d}"
        return digits + check_digit(digits)
    return "".join(rng.choices(LETTERS, k=8 if form == "own" else LENGTH))


def _cut(rng: random.Random, text: str) -> str:
    return text[: rng.randrange(len(text))] if rng.random() < 0.5 else text[rng.randrange(9) :]


def _without_one(rng: random.Random, text: str) -> str:
    at = rng.randrange(len(text))
    return text[:at] + text[at + 1 :]


def _with_other(rng: random.Random, text: str) -> str:
    at = rng.randrange(len(text))
    return text[:at] + rng.choice(LETTERS + "()/-:<>%\x00\x1d\n\u00e9") + text[at + 1 :]


_QWERTZ = str.maketrans("yzYZ-/:;]()?_=&", "zyZY\u00df-\u00d6\u00f6+)=_?\u00b4/")
_AZERTY = str.maketrans(
    "aqzwAQZWmM;:/-0123456789()", "qawzQAWZ,?mM!)\u00e0&\u00e9\"'(-\u00e8_\u00e790"
)

#: What is done to a scan, and whether it can be seen in the result.
_DAMAGE: dict[str, tuple[Callable[[random.Random, str], str], bool]] = {
    "none": (lambda _, text: text, True),
    "frame": (lambda rng, text: "\x02" + text + rng.choice(("\x03", "\r\n", "\t", " ")), True),
    "cut": (_cut, True),
    "a character less": (_without_one, True),
    "doubled": (lambda rng, text: text + rng.choice(("", "\r\n", " ", "\t")) + text, True),
    "separators lost": (lambda _, text: text.replace(GS, ""), True),
    "separators replaced": (
        lambda rng, text: text.replace(
            GS, rng.choice(("|", "~", " ", "<GS>", "\n", "^", ";", "%"))
        ),
        True,
    ),
    "another character": (_with_other, False),
    "upper case": (lambda _, text: text.upper(), True),
    "lower case": (lambda _, text: text.lower(), True),
    "QWERTZ": (lambda _, text: text.translate(_QWERTZ), False),
    "AZERTY": (lambda _, text: text.translate(_AZERTY), False),
}


def scan_of(number: int) -> Scan:
    """Return the scan of this number."""
    rng = random.Random(number)
    form = rng.choice(list(_FORMS))
    code = _code(rng, form)
    damage = rng.choice(list(_DAMAGE))
    change, visible = _DAMAGE[damage]
    return Scan(change(rng, _FORMS[form](rng, code)).encode(), form, damage, code, visible)


def judge(scan: Scan) -> str:
    """Return ``code`` or ``refused``. Raise AssertionError for a wrong code."""
    try:
        event = _DECODE(scan.raw)
    except InvalidEvent:
        assert scan.damage not in ("none", "frame"), "a good scan is refused"
        return "refused"
    if scan.visible:
        assert event.key_value == scan.code, "another code than was scanned"
    if event.data_key in ("extended_id", "pallet_code") and scan.form != "URL":
        read = _by_biip(scan.raw.decode().strip(" \t\r\n\x02\x03").rstrip("\0"))
        assert read is None or event.key_value in read, f"biip reads {read}"
    return "code"


def _by_biip(text: str) -> set[str] | None:
    """Return the serial numbers and SSCCs that biip reads; None: it has no opinion."""
    if text.startswith("]"):  # biip takes more than the identifier for some, and knows not all
        text = text[3:]
    try:
        if text[:4].lower() == "http":
            # What stands behind the ? names no code, so it is not looked at: biip would.
            head, _, rest = text.partition("?")[0].partition("://")
            host, _, path = rest.rstrip("/").partition("/")
            link = GS1DigitalLinkURI.parse(f"{head.lower()}://{host.lower()}/{path}")
            found = link.element_strings
        elif text.startswith("("):
            found = GS1Message.parse_hri(text, config=_ANY_DATE).element_strings
        else:
            found = GS1Message.parse(text.strip(GS), config=_ANY_DATE).element_strings
    except ParseError:
        return set()
    return {one.value for one in found if one.ai.ai in ("21", "00")}


def main() -> None:
    """Judge scans, and print what became of each kind of damage."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scans", type=int, default=1_000_000)
    parser.add_argument("--start", type=int, default=0)
    options = parser.parse_args()
    made: Counter[tuple[str, str]] = Counter()
    began = time.monotonic()
    for number in range(options.start, options.start + options.scans):
        scan = scan_of(number)
        try:
            made[scan.damage, judge(scan)] += 1
        except Exception as error:
            raise SystemExit(f"scan {number} {scan}: {type(error).__name__}: {error}") from error
    for damage in _DAMAGE:
        codes, refused = made[damage, "code"], made[damage, "refused"]
        print(f"{damage:22} {codes:9,} the code {refused:9,} refused")  # noqa: T201
    print(f"{options.scans:,} scans, 0 wrong, in {time.monotonic() - began:.0f} s")  # noqa: T201


if __name__ == "__main__":
    main()
