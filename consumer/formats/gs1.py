"""Read the names that GS1 gives to things: trade items (GTIN) and logistic units (SSCC).

A name comes as a GS1 Digital Link or as an EPC URN. What the module offers:

* ``read_name``: from either to a ``Gs1Name``; None for any other text.
* ``digital_link``, ``pure_identity``: the same for one of the two spellings.
* ``gtin``, ``sscc``: digits to a GTIN of 14 or an SSCC of 18 digits, their check digit verified.
* ``text_value``: the text of an application identifier (lot, serial), verified.
* ``check_digit``: the check digit of digits without one.
* ``plain_url``: a URL with scheme and host in lower case, as they mean the same in any case.
* ``hint``: what a text looks like that no rule could be found for.

Rules: GS1 Digital Link URI Syntax 1.2 with the words of 1.1 (``/gtin/``, ``/ser/``), EPC Tag Data
Standard 2.0 (pure identity URIs), GS1 General Specifications (lengths, 7.9 check digits, 7.11
characters). Every function raises ValueError with what is wrong; nothing is cut off or guessed.
"""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple
from urllib.parse import unquote

#: Application identifiers with text, and how long it may be.
_LONGEST = {"10": 20, "21": 20, "22": 20, "235": 28}
#: Qualifiers of a key in the order that a Digital Link must have them in.
_QUALIFIERS = {"00": (), "01": ("22", "10", "21", "235")}
#: Words that Digital Link 1.1 allows in place of numbers.
_WORDS = {"gtin": "01", "sscc": "00", "cpv": "22", "lot": "10", "ser": "21"}
_NAMES = {"01": "GTIN", "00": "SSCC", "10": "lot", "21": "serial number", "22": "variant"}

_URL = re.compile(r"(https?://[^/?#]*)([^?#]*)(?:\?([^#]*))?", re.IGNORECASE)
#: A value that makes a Digital Link of a path with a key before it.
_LIKE_A_KEY = re.compile(r"\d{6,}", re.ASCII)
_DIGITS = re.compile(r"\d+", re.ASCII)
_LOST_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
#: The 82 characters of GS1's texts, and those that may stand in a URN as they are.
_CHARACTERS = re.compile(r"""[!"%&'()*+,\-./0-9:;<=>?A-Z_a-z]*""")
_IN_A_URN = re.compile(r"[!'()*+,\-.0-9:;=A-Z_a-z%]*")

_COMPRESSED = re.compile(r"(?i:https?)://[^/?#]+/(?:[^?#]*/)?[\w-]{16,}(?:[?#].*)?", re.ASCII)
_ELEMENT_STRING = re.compile(r"\(\d{2,4}\)|\]\w\d|\x1d|0[01]\d{14}", re.ASCII)
#: The URNs of the Tag Data Standard that name no single thing, and why.
_OTHER_URNS = {
    "class": "it names a class of things, and not one of them",
    "idpat": "it names a pattern, and not one thing",
    "pat": "it names a pattern, and not one thing",
    "tag": 'it is a tag URI: publish the pure identity, which begins with "urn:epc:id:"',
    "raw": 'it is what a tag holds: publish the pure identity, which begins with "urn:epc:id:"',
}


class Gs1Name(NamedTuple):
    """One name: ``key`` is ``01`` with a GTIN of 14 digits, or ``00`` with an SSCC of 18 digits.

    ``qualifiers``: what stands behind it, by application identifier: 22, 10, 21 or 235.
    """

    key: str
    value: str
    qualifiers: dict[str, str]

    @property
    def canonical(self) -> str:
        """Return ``01/GTIN/21/SERIAL`` (235 likewise), ``01/GTIN`` or ``00/SSCC``."""
        for serial in ("21", "235"):
            if serial in self.qualifiers:
                return f"{self.key}/{self.value}/{serial}/{self.qualifiers[serial]}"
        return f"{self.key}/{self.value}"


def read_name(text: str) -> Gs1Name | None:
    """Return the name in a Digital Link or a URN; None: the text is neither.

    Raise ValueError for one that breaks a rule of its standard.
    """
    if text[:8].lower() == "urn:epc:":
        return pure_identity(text)
    return digital_link(text)


def digital_link(url: str) -> Gs1Name | None:
    """Return the GTIN or SSCC of a Digital Link of any domain, behind any path stem.

    None: it is no URL, or its path has none of the two keys followed by six digits or more. A slash
    at the end is allowed. Raise ValueError: a wrong length, a wrong check digit, a part of the path
    too many, twice or out of order, a value with characters that it may not have.
    """
    found = _URL.fullmatch(url.partition("#")[0])
    if found is None:
        return None
    segments = found[2].split("/")
    for at, (name, value) in enumerate(pairwise(segments)):
        key = _WORDS.get(name, name)
        if key in _QUALIFIERS and _LIKE_A_KEY.fullmatch(value):
            rest = segments[at + 2 :]
            if rest and not rest[-1]:
                rest.pop()
            _refuse_in_query(key, found[3] or "")
            number = sscc(value) if key == "00" else gtin(value)
            return Gs1Name(key, number, _qualifiers(key, rest))
    return None


def _qualifiers(key: str, parts: list[str]) -> dict[str, str]:
    allowed, found = _QUALIFIERS[key], dict[str, str]()
    if len(parts) == 2 and parts[0] == "21" and key == "01":  # as nearly all are
        return {"21": text_value("21", unescaped(parts[1]))}
    for name, value in zip(parts[::2], [*parts[1::2], None], strict=False):
        ai = _WORDS.get(name, name)
        if value is None or ai not in allowed:
            raise ValueError(
                f'"{name[:40]}" is no part of a Digital Link behind its {_NAMES[key]}; '
                "a slash in a value is written %2F"
            )
        if ai in found:
            raise ValueError(f'the Digital Link has the part "{name}" twice')
        found[ai] = text_value(ai, unescaped(value))
    order = [allowed.index(ai) for ai in found]
    if order != sorted(order):
        raise ValueError(f"the parts of a Digital Link stand in the order {', '.join(allowed)}")
    if "21" in found and "235" in found:
        raise ValueError("the Digital Link has two serial numbers, 21 and 235")
    return found


def _refuse_in_query(key: str, query: str) -> None:
    if not query:
        return
    for part in re.split("[&;]", query):
        name = part.partition("=")[0]
        ai = _WORDS.get(name, name)
        if ai == key or ai in _QUALIFIERS[key]:
            raise ValueError(f'"{name}" belongs into the path of a Digital Link, not behind its ?')


def pure_identity(urn: str) -> Gs1Name | None:
    """Return the GTIN or SSCC of a URN such as ``urn:epc:id:sgtin:9506000.013435.ABC``.

    None: another scheme of ``urn:epc:id:``, or no EPC. Raise ValueError: tags, classes, patterns,
    and what breaks a rule of its scheme.
    """
    if urn[:8].lower() != "urn:epc:":
        return None
    kind, _, rest = urn[8:].partition(":")
    if kind in _OTHER_URNS:
        raise ValueError(_OTHER_URNS[kind])
    scheme, _, rest = rest.partition(":")
    if kind == "id" and scheme == "sgtin":
        return _sgtin(rest)
    if kind == "id" and scheme == "sscc":
        return _sscc(rest)
    if (kind.lower(), scheme.lower()) in (("id", "sgtin"), ("id", "sscc")):
        raise ValueError(f'"{kind}:{scheme}" is written in lower case')
    return None


def _sgtin(text: str) -> Gs1Name:
    prefix, _, rest = text.partition(".")
    item, _, serial = rest.partition(".")
    _check_prefix(prefix, "item reference", item, 13)
    if not _IN_A_URN.fullmatch(serial):
        raise ValueError('in a URN, " & / < > ? and % of a serial number are written with %')
    number = item[:1] + prefix + item[1:]
    return Gs1Name("01", number + check_digit(number), {"21": text_value("21", unescaped(serial))})


def _sscc(text: str) -> Gs1Name:
    prefix, _, serial = text.partition(".")
    _check_prefix(prefix, "serial reference", serial, 17)
    number = serial[:1] + prefix + serial[1:]
    return Gs1Name("00", number + check_digit(number), {})


def _check_prefix(prefix: str, what: str, reference: str, together: int) -> None:
    """Raise ValueError if a company prefix and what stands behind its dot are not as they must."""
    if not (_DIGITS.fullmatch(prefix) and _DIGITS.fullmatch(reference)):
        raise ValueError(f"it has digits, a dot, and digits: company prefix and {what}")
    if len(prefix + reference) != together:
        raise ValueError(f"company prefix and {what} have {together} digits together")
    if not 6 <= len(prefix) <= 12:
        raise ValueError("a company prefix has 6 to 12 digits")


def gtin(digits: str) -> str:
    """Return a GTIN of 8, 12, 13 or 14 digits with 14. Raise ValueError for any other text."""
    if not _DIGITS.fullmatch(digits) or len(digits) not in (8, 12, 13, 14):
        raise ValueError(f"a GTIN has 8, 12, 13 or 14 digits, not {len(digits)}")
    return _checked("GTIN", digits).zfill(14)


def sscc(digits: str) -> str:
    """Return an SSCC of 18 digits. Raise ValueError for any other text."""
    if not _DIGITS.fullmatch(digits) or len(digits) != 18:
        raise ValueError(f"an SSCC has 18 digits, not {len(digits)}")
    return _checked("SSCC", digits)


def _checked(what: str, digits: str) -> str:
    right = check_digit(digits[:-1])
    if digits[-1] != right:
        raise ValueError(f"the check digit of the {what} is {digits[-1]} and must be {right}")
    return digits


@lru_cache(4096)  # a line makes few products
def check_digit(digits: str) -> str:
    """Return the check digit of digits without one (GS1 General Specifications, 7.9)."""
    # The weights are 3 and 1 from the right.
    total = 3 * sum(map(int, digits[::-2])) + sum(map(int, digits[-2::-2]))
    return str(-total % 10)


def text_value(ai: str, text: str) -> str:
    """Return the text of application identifier 10, 21, 22 or 235. Raise ValueError if it is none.

    It has one to 20 (235: 28) of the characters that the General Specifications allow (7.11).
    """
    what = _NAMES.get(ai, f"value of ({ai})")
    if not text:
        raise ValueError(f"the {what} is empty")
    if len(text) > _LONGEST[ai]:
        raise ValueError(f"a {what} has at most {_LONGEST[ai]} characters, not {len(text)}")
    if not _CHARACTERS.fullmatch(text):
        raise ValueError(f"a {what} holds only the characters that GS1 allows (no blank, no #)")
    return text


def unescaped(text: str) -> str:
    """Return a text of a URL or URN without its %-escapes. Raise ValueError for wrong ones."""
    if "%" not in text:
        return text
    if _LOST_PERCENT.search(text):
        raise ValueError("its %-escapes are not two hexadecimal digits each")
    try:
        return unquote(text, errors="strict")
    except UnicodeDecodeError:
        raise ValueError("its %-escapes are no text") from None


def plain_url(text: str) -> str:
    """Return a URL with scheme and host in lower case (RFC 3986, 6.2.2.1); other text as it is."""
    found = _URL.match(text)
    return text if found is None else found[1].lower() + text[found.end(1) :]


def hint(text: str) -> str | None:
    """Return what a name looks like for which there is no rule; None: nothing known."""
    if _DIGITS.fullmatch(text):
        what = {8: "GTIN", 12: "GTIN", 13: "GTIN", 14: "GTIN", 18: "SSCC"}.get(len(text))
        return what and f"it looks like a bare {what}: publish it as a Digital Link or URN"
    if _ELEMENT_STRING.match(text):
        return "it looks like a GS1 element string: publish a Digital Link or URN"
    if _COMPRESSED.fullmatch(text):
        return "if it is a compressed Digital Link: those are not read, publish it uncompressed"
    return None
