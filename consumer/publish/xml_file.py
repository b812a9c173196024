"""Divide EPCIS XML into documents of one event each, in flat memory.

A record is to be a document that any reader of EPCIS takes, as small as one event. So each event
goes, byte for byte, with the tags that are open around it: the XML declaration, the root with its
namespaces, the body, the list. The header (sender, master data) is left out.
"""

from __future__ import annotations

import re
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Iterator
from io import BufferedReader

from consumer.core.model import InvalidEvent
from consumer.errors import UserError
from consumer.formats.epcis_xml import EpcisXml
from consumer.formats.safe_xml import PIECE

#: Bytes of the longest event; Kafka's own limit for a record is 1 MiB, unless it was raised.
MAX_EVENT = 8 * 1024 * 1024

#: Bytes in which the name of an event's tag ends.
_LONGEST_NAME = 2048
_NAME = re.compile(r"<([^\s/>]+)")


class XmlFile:
    """The events of a file, by iterating over it: the number of each, and a document with it.

    Raises UserError for XML that is not read on, and for an event that is too long.
    """

    def __init__(self, stream: BufferedReader) -> None:
        self._stream = stream
        self._lines: dict[int, int] = {}  # of the events that are being handed out

    def place(self, number: int) -> str:
        """Return how messages name an event: by its number, and by its line while it is known."""
        line = self._lines.get(number)
        return f"event {number}" + ("" if line is None else f" (line {line})")

    def __iter__(self) -> Iterator[tuple[int, bytes]]:
        """Yield each event as a document."""
        divider = _Divider()
        number = 0
        while piece := self._stream.read(PIECE):
            for line, document in divider.take(piece):
                number += 1
                self._lines = {number: line}
                yield number, document
        divider.end(number)


class _Divider(EpcisXml):
    def __init__(self) -> None:
        super().__init__()
        self._kept = bytearray()  # of the file, what a document may still need
        self._kept_from = 0
        self._encoding = ""
        self._declaration = b""
        self._tags: list[tuple[int, bytes]] = []  # open around events: where, and once whole, what
        self._event_at = 0
        self._event_line = 0
        self._documents: list[tuple[int, bytes]] = []

    def take(self, piece: bytes) -> list[tuple[int, bytes]]:
        """Return the events that end in the next piece of the file: line and document."""
        if not self._encoding:
            self._encoding = _encoding(piece)
            piece = piece.lstrip(b" \t\r\n")
        self._documents = []
        self._kept += piece
        try:
            self.feed(piece)
        except InvalidEvent as bad:
            raise UserError(bad.message) from None
        self._forget()
        return self._documents

    def end(self, events: int) -> None:
        """Check the end of the file. Raise UserError if it is cut off, or has no events."""
        try:
            self.close()
        except InvalidEvent as bad:
            raise UserError(bad.message) from None
        if not events:
            raise UserError("the XML has no events: EPCISBody must have an EventList")

    # -- the tags around events ------------------------------------------------------------------

    def on_start(self, name: str, attributes: dict[str, str]) -> None:
        if not self._inside:
            self._complete_tag()
            if not self._tags:
                self._declaration = self._declared_in(self._between(0, self.offset))
            self._tags.append((self.offset, b""))
        super().on_start(name, attributes)

    def on_end(self) -> None:
        super().on_end()
        if not self._inside:
            self._tags.pop()

    def on_text(self, _: str) -> None:
        if not self._inside:
            self._complete_tag()

    def _complete_tag(self) -> None:
        """Take the last tag that was opened: it ends before what is being handled."""
        if self._tags and not self._tags[-1][1]:
            at = self._tags[-1][0]
            self._tags[-1] = (at, self._between(at, self.offset))

    def on_event(self, _: str) -> None:
        self._event_at = self.offset
        self._event_line = self.line

    def on_event_end(self) -> None:
        # Of an empty tag the end is told behind it, of any other at the beginning of its end tag.
        end = self.offset
        name = self._name(self._between(self._event_at, min(end, self._event_at + _LONGEST_NAME)))
        if self._kept.startswith(f"</{name}".encode(self._encoding), end - self._kept_from):
            last = ">".encode(self._encoding)
            found = self._kept.find(last, end - self._kept_from)
            end = found + len(last) + self._kept_from
        event = self._between(self._event_at, end)
        around = [tag for _, tag in self._tags[:-1]]  # the last one is the event's own
        closing = "".join(f"</{self._name(tag)}>" for tag in reversed(around))
        document = b"".join([self._declaration, *around, event, closing.encode(self._encoding)])
        self._documents.append((self._event_line, document))

    # -- bytes -----------------------------------------------------------------------------------

    def _between(self, start: int, end: int) -> bytes:
        return bytes(self._kept[start - self._kept_from : end - self._kept_from])

    def _name(self, tag: bytes) -> str:
        found = _NAME.search(tag.decode(self._encoding, "replace"))
        assert found is not None, "the parser has taken it for a tag"
        return found[1]

    def _declared_in(self, prolog: bytes) -> bytes:
        """Return the byte order mark and the XML declaration that a file begins with."""
        mark = next(
            (m for m in (BOM_UTF8, BOM_UTF16_LE, BOM_UTF16_BE) if prolog.startswith(m)), b""
        )
        rest = prolog[len(mark) :]
        if not rest.startswith("<?xml ".encode(self._encoding)):
            return mark
        last = "?>".encode(self._encoding)
        return mark + rest[: rest.index(last) + len(last)]

    def _forget(self) -> None:
        """Forget what no document needs any more. Raise UserError if an event is too long."""
        at = self.offset
        if self._inside:
            at = self._event_at
        elif self._tags and not self._tags[-1][1]:
            at = self._tags[-1][0]
        elif not self._tags:
            at = 0
        del self._kept[: at - self._kept_from]
        self._kept_from = at
        if len(self._kept) > MAX_EVENT:
            raise UserError(
                f"line {self._event_line}: an event is longer than {MAX_EVENT:,} bytes: "
                "divide it into several"
            )


def _encoding(begin: bytes) -> str:
    """Return an encoding in which the file's tags can be written and found."""
    if begin.startswith((BOM_UTF16_LE, b"<\0")):
        return "utf-16-le"
    if begin.startswith((BOM_UTF16_BE, b"\0<")):
        return "utf-16-be"
    # Names of tags with other letters are rare; Latin-1 gives every byte back as it was.
    return "latin-1"
