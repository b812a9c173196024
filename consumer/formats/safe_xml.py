"""Parse XML piece by piece with expat, and refuse what no event needs and what could do harm.

A document type declaration is refused where it begins, so no entity is ever declared, expanded or
fetched. Bounded are the depth, the length of a tag or comment, the number of attributes of an
element, and the number of different names. Memory is that of one piece and of what the handlers
keep. What is no XML at all is ``undecodable``, with line and column; what is XML and refused is
``invalid_event``.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Iterator
from typing import NoReturn
from xml.parsers import expat

from consumer.core.model import InvalidEvent
from consumer.core.rows.validation import quoted

#: Elements in one another. Events have about ten; extensions may have more.
MAX_DEPTH = 100
MAX_ATTRIBUTES = 100
#: Different names of elements in one document; expat keeps each of them.
MAX_NAMES = 5000
#: Bytes that are parsed at a time.
PIECE = 64 * 1024
#: Bytes of one tag, comment or processing instruction: a longer one is parsed anew with each piece.
MAX_TOKEN = 2 * PIECE
#: The encodings that expat knows by itself.
ENCODINGS = frozenset({"utf-8", "utf-16", "utf-16le", "utf-16be", "us-ascii", "iso-8859-1"})

_SPACE = " \t\r\n"
_XML = re.compile(
    rb"(?:%s)?[ \t\r\n]*<|%s(?:[ \t\r\n]\0)*<\0|%s(?:\0[ \t\r\n])*\0<"
    % (BOM_UTF8, BOM_UTF16_LE, BOM_UTF16_BE)
)


def is_xml(raw: bytes) -> bool:
    """Return whether a record begins as XML does, in UTF-8 or in UTF-16 with its mark."""
    return _XML.match(raw) is not None


class SafeXml(ABC):
    """One document, fed in pieces. Subclasses say what elements and text are.

    Names are ``NAMESPACE LOCAL``, or the local name alone where there is no namespace. Raises
    InvalidEvent from ``feed`` and ``close``.
    """

    def __init__(self) -> None:
        # Without its table of names, which only grows.
        parser = expat.ParserCreate(None, " ", None)
        parser.SetParamEntityParsing(expat.XML_PARAM_ENTITY_PARSING_NEVER)
        parser.XmlDeclHandler = self._declared
        parser.StartDoctypeDeclHandler = self._doctype
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self.on_text
        self._parser = parser
        self._depth = 0
        self._names: set[str] = set()
        self._fed = 0

    @property
    def line(self) -> int:
        """Return the line of what is being handled."""
        return self._parser.CurrentLineNumber

    @property
    def offset(self) -> int:
        """Return the byte of the document at which stands what is being handled."""
        return self._parser.CurrentByteIndex

    def feed(self, piece: bytes) -> None:
        """Parse the next piece."""
        self._fed += len(piece)
        self._parse(piece, final=False)
        if self._fed - self._parser.CurrentByteIndex > MAX_TOKEN:
            raise self.refused(f"a tag or comment is longer than {MAX_TOKEN:,} bytes")

    def close(self) -> None:
        """Parse the end."""
        self._parse(b"", final=True)

    # -- for subclasses --------------------------------------------------------------------------

    @abstractmethod
    def on_start(self, name: str, attributes: dict[str, str]) -> None:
        """Take in the beginning of an element."""

    @abstractmethod
    def on_end(self) -> None:
        """Take in the end of an element."""

    @abstractmethod
    def on_text(self, text: str) -> None:
        """Take in text, in any number of parts."""

    def refused(self, why: str, reason: str = "invalid_event") -> InvalidEvent:
        """Return the error of a document that is not read on from here."""
        at = f"line {self._parser.CurrentLineNumber}, column {self._parser.CurrentColumnNumber + 1}"
        return InvalidEvent(reason, f"the XML is refused at {at}: {why}")

    # -- handlers --------------------------------------------------------------------------------

    def _parse(self, piece: bytes, *, final: bool) -> None:
        try:
            self._parser.Parse(piece, final)
        except expat.ExpatError as error:
            raise _malformed(error) from None

    def _declared(self, _: str, encoding: str | None, _standalone: int) -> None:
        if encoding is not None and encoding.lower() not in ENCODINGS:
            raise self.refused(
                f"its encoding is {quoted(encoding)}; save it as UTF-8", "undecodable"
            )

    def _doctype(self, *_: object) -> NoReturn:
        raise self.refused(
            "it has a document type declaration (DTD), which can declare entities; "
            "no event needs one, so publish it without"
        )

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise self.refused(f"elements are nested more than {MAX_DEPTH} deep")
        if len(attributes) > MAX_ATTRIBUTES:
            raise self.refused(f"an element has more than {MAX_ATTRIBUTES} attributes")
        self._names.add(name)
        if len(self._names) > MAX_NAMES:
            raise self.refused(f"it has more than {MAX_NAMES:,} different names of elements")
        self.on_start(name, attributes)

    def _end(self, _: str) -> None:
        self._depth -= 1
        self.on_end()


def pieces(raw: bytes) -> Iterator[bytes]:
    """Yield the bytes of a record in pieces."""
    for start in range(0, len(raw), PIECE):
        yield raw[start : start + PIECE]


def is_blank(text: str) -> bool:
    """Return whether text is only what XML takes for white space."""
    return not text.strip(_SPACE)


def _malformed(error: expat.ExpatError) -> InvalidEvent:
    what = expat.ErrorString(error.code)
    # Letters of another encoding than the one that the document has, or says that it has.
    more = (
        "; is it in the encoding that its first line says?"
        if error.code
        in (
            expat.errors.codes[expat.errors.XML_ERROR_INVALID_TOKEN],
            expat.errors.codes[expat.errors.XML_ERROR_INCORRECT_ENCODING],
        )
        else ""
    )
    return InvalidEvent(
        "undecodable", f"not XML: {what} at line {error.lineno}, column {error.offset + 1}{more}"
    )
