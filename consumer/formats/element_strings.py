"""Read GS1 element strings, as a scanner sends them from a GS1 DataMatrix, GS1-128 or GS1 QR code.

An element is an application identifier (AI) and its value. Values of predefined length end by
themselves; any other ends with a group separator (GS, 0x1D) or with the string. What the module
offers:

* ``elements``: the values by AI, each verified by its format.
* ``bracketed``: the same for the form for people, ``(01)09506000134352(21)ABC``.
* ``names``: the GTIN and the SSCC that the elements name.
* ``doubtful_names``: those that they would name, had a separator got lost. For a string without it
  may still be read, and wrongly: in ``21ABC17261231`` the serial number is ``ABC17261231``, or
  ``ABC`` with a date behind it.

Rules: GS1 General Specifications 3.2 (application identifiers and their formats), 7.8.5
(predefined lengths), 7.11 (characters). Every function raises ValueError with what is wrong.
"""

from __future__ import annotations

import re
from functools import lru_cache

from consumer.formats import gs1

GS = "\x1d"

#: One of the 82 characters; of texts that may have %-escapes no more is asked for.
_X = r"""[!"%&'()*+,\-./0-9:;<=>?A-Z_a-z]"""
_DAY = r"\d{2}(?:0\d|1[0-2])(?:[0-2]\d|3[01])"

#: Elements of predefined length: AI, and the format of the value.
_PREDEFINED = {
    "00": r"\d{18}",
    "0[123]": r"\d{14}",
    "1[123567]": _DAY,
    "20": r"\d{2}",
    r"3(?:1[0-6]|[246]\d|[35][0-7])[0-5]": r"\d{6}",
    "41[0-7]": r"\d{13}",
}
#: All others that the General Specifications define.
_ENDED = {
    "10|2[12]": f"{_X}{{1,20}}",
    "235": f"{_X}{{1,28}}",
    "24[01]|25[01]|40[013]": f"{_X}{{1,30}}",
    "242": r"\d{1,6}",
    "243|254|420|71[0-7]": f"{_X}{{1,20}}",
    "253": rf"\d{{13}}{_X}{{0,17}}",
    "255": r"\d{13,25}",
    "30|37": r"\d{1,8}",
    r"39[02]\d": r"\d{1,15}",
    r"39[13]\d": r"\d{4,18}",
    "394[0-3]|8111": r"\d{4}",
    "395[0-5]|4326|7006|8005": r"\d{6}",
    "402": r"\d{17}",
    "421": rf"\d{{3}}{_X}{{1,9}}",
    "42[246]": r"\d{3}",
    "42[35]": r"(?:\d{3}){1,5}",
    "427": f"{_X}{{1,3}}",
    "43[01][01]|4320": f"{_X}{{1,35}}",
    "430[2-6]|431[2-6]": f"{_X}{{1,70}}",
    "43[01]7": "[A-Z0-9]{2}",
    "4308|4319|7002|7023|8004": f"{_X}{{1,30}}",
    "4309": r"\d{20}",
    "4318|702[0-2]|7240|8002|8012": f"{_X}{{1,20}}",
    "432[123]": "[01]",
    "432[45]|7003": r"\d{10}",
    "433[0-3]": r"\d{6}-?",
    "7001": r"\d{13}",
    "7004": r"\d{1,4}",
    "7005": f"{_X}{{1,12}}",
    "7007": r"\d{6}(?:\d{6})?",
    "7008": f"{_X}{{1,3}}",
    "7009": f"{_X}{{1,10}}",
    "7010": f"{_X}{{1,2}}",
    "7011": r"\d{6}(?:\d{4})?",
    r"703\d": rf"\d{{3}}{_X}{{1,27}}",
    "7040": rf"\d{_X}{{3}}",
    "7041": f"{_X}{{1,4}}",
    r"723\d": f"{_X}{{3,30}}",
    "7241": r"\d{2}",
    "7242|801[34]|8020": f"{_X}{{1,25}}",
    "7250": r"\d{2}" + _DAY,
    "7251": r"\d{2}" + _DAY + r"(?:[01]\d|2[0-3])[0-5]\d",
    "7252": r"\d",
    "725[349]": f"{_X}{{1,40}}",
    "7255": f"{_X}{{1,10}}",
    "7256": f"{_X}{{1,90}}",
    "7257": f"{_X}{{1,70}}",
    "7258": r"\d/\d",
    "8001": r"\d{14}",
    "8003": rf"0\d{{13}}{_X}{{0,16}}",
    "8006|8026": r"\d{18}",
    "8007": f"{_X}{{1,34}}",
    "8008": _DAY + r"(?:[01]\d|2[0-3])(?:[0-5]\d(?:[0-5]\d)?)?",
    "8009": f"{_X}{{1,50}}",
    "8010": "[A-Z0-9/#-]{5,30}",
    "8011": r"\d{1,12}",
    "801[78]": r"\d{18}",
    "8019": r"\d{1,10}",
    "8030": r"[\w-]{1,90}",
    "804[01]": r"\d{15}",
    "8042": r"\d{32}",
    "8043": r"\d{18,20}",
    "8110|8112|8200": f"{_X}{{1,70}}",
    "90": f"{_X}{{1,30}}",
    "9[1-9]": f"{_X}{{1,90}}",
}
_FIXED = re.compile("|".join(f"(?:{ai})(?:{value})" for ai, value in _PREDEFINED.items()), re.ASCII)
_VARIABLE = re.compile("|".join(f"(?:{ai})(?:{value})" for ai, value in _ENDED.items()), re.ASCII)
_AI = re.compile("|".join(f"(?:{ai})" for ai in (*_PREDEFINED, *_ENDED)), re.ASCII)
_FIXED_AI = re.compile("|".join(f"(?:{ai})" for ai in _PREDEFINED), re.ASCII)
_BRACKET = re.compile(r"\((\d{2,4})\)", re.ASCII)
#: What people and scanners write in place of the separator, in characters that a value may have.
_WRITTEN_GS = re.compile(r"<(?:GS|FNC1|F1|0?x?1D|0?29)>", re.IGNORECASE)


def elements(text: str) -> dict[str, str]:
    """Return the values of an element string by AI. Raise ValueError if it is none as a whole.

    A separator at the beginning (FNC1), at the end, and behind a value of predefined length is
    allowed. An AI that comes twice is refused: it may be two scans in one.
    """
    _refuse_written_separators(text)
    found: dict[str, str] = {}
    rest = text.removeprefix(GS)
    while rest:
        fixed = _FIXED.match(rest)
        if fixed is not None:
            element, rest = fixed[0], rest[fixed.end() :].removeprefix(GS)
        else:
            element, _, rest = rest.partition(GS)
            if _VARIABLE.fullmatch(element) is None:
                raise _no_element(element)
        _add(found, element)
    if not found:
        raise ValueError("the element string is empty")
    return found


def bracketed(text: str) -> dict[str, str]:
    """Return the values of the form for people, each AI in brackets. Raise ValueError.

    A bracket is no part of a value here: what it belongs to could not be told.
    """
    _refuse_written_separators(text)
    before, *parts = _BRACKET.split(text)
    found: dict[str, str] = {}
    for ai, value in zip(parts[::2], parts[1::2], strict=True):
        element = ai + value
        if "(" in value or ")" in value or _AI.match(element) is None or _ai_of(element) != ai:
            raise ValueError(f"what stands behind ({ai}) is no value of it")
        if (_FIXED.fullmatch(element) or _VARIABLE.fullmatch(element)) is None:
            raise _no_element(element)
        _add(found, element)
    if before or not found:
        raise ValueError("it does not begin with an application identifier in brackets")
    return found


def names(found: dict[str, str]) -> list[gs1.Gs1Name]:
    """Return what the elements name: GTIN with or without a serial number, SSCC, or both.

    Raise ValueError for a wrong check digit, and for two serial numbers.
    """
    read: list[gs1.Gs1Name] = []
    if "00" in found:
        read.append(gs1.Gs1Name("00", gs1.sscc(found["00"]), {}))
    if "01" in found:
        if "21" in found and "235" in found:
            raise ValueError("it has two serial numbers, (21) and (235)")
        serials: dict[str, str] = {ai: found[ai] for ai in ("21", "235") if ai in found}
        read.append(gs1.Gs1Name("01", gs1.gtin(found["01"]), serials))
    return read


def doubtful_names(found: dict[str, str]) -> list[gs1.Gs1Name]:
    """Return what the elements would name if a separator behind the serial number got lost."""
    return [
        name._replace(qualifiers={ai: text})
        for name in names(found)
        for ai, value in name.qualifiers.items()
        for text in _shorter(value)
    ]


def _shorter(value: str) -> list[str]:
    """Return what a value may have been before the separator behind it got lost."""
    return [value[:end] for end in range(1, len(value)) if _runs_on(value[end:])]


@lru_cache(4096)
def _runs_on(text: str) -> bool:
    """Return whether a text is one element or several, with or without separators."""
    if not text:
        return True
    fixed = _FIXED.match(text)
    if fixed is not None:
        return _runs_on(text[fixed.end() :])
    ai = _AI.match(text)
    if ai is None:
        return False
    return any(
        _VARIABLE.fullmatch(text[:end]) is not None and _runs_on(text[end:])
        for end in range(len(text), ai.end(), -1)
    )


def _add(found: dict[str, str], element: str) -> None:
    ai = _ai_of(element)
    if ai in found:
        raise ValueError(f"({ai}) comes twice: two scans in one, or a separator too few")
    found[ai] = element[len(ai) :]


def _ai_of(element: str) -> str:
    found = _AI.match(element)
    assert found is not None, "it has been matched with its value"
    return found[0]


def _no_element(text: str) -> ValueError:
    ai = _AI.match(text)
    if ai is None:
        return ValueError(
            "where an application identifier of GS1 should stand is none; "
            "characters are missing, or a separator"
        )
    ended = "" if _FIXED_AI.match(text) else ", up to its separator"
    return ValueError(
        f"what stands behind ({ai[0]}){ended} is no value of it: "
        "characters are missing, wrong or too many, or a separator (GS, 0x1D) is"
    )


def _refuse_written_separators(text: str) -> None:
    if _WRITTEN_GS.search(text):
        raise ValueError(
            "the separator stands in it as a word: let the scanner send GS (0x1D) itself"
        )
