"""Take records in Kafka's place and show the first of them."""

from __future__ import annotations

from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Callable

import msgspec

from consumer.formats.avro import decode_avro
from consumer.formats.safe_xml import is_xml

SHOWN = 3


class Preview:
    """A ``Sink`` for a dry run: takes everything, keeps the first records, writes nothing."""

    unacknowledged_from: int | None = None
    broken = ""

    def __init__(self) -> None:
        self.acknowledged = 0
        self.shown: list[str] = []
        self.unit = "line"  #: of the file: what a number counts
        self.text_of: Callable[[bytes], str] = _text

    def connect(self) -> None:
        """Do nothing: there is nothing to connect to."""

    def send(self, line: int, key: str, value: bytes) -> None:
        """Count a record."""
        self.acknowledged += 1
        if len(self.shown) < SHOWN:
            self.shown.append(f"{self.unit} {line}, key {key}: {self.text_of(value)}")

    def poll(self) -> None:
        """Do nothing: nothing can fail."""

    def finish(self) -> None:
        """Do nothing: nothing is under way."""


def scan_text(value: bytes) -> str:
    """Return a scan as it is shown, control characters escaped."""
    return ascii(value.decode(errors="replace"))


def _text(value: bytes) -> str:
    if value.startswith(b"{"):
        return value.decode()
    if is_xml(value):
        utf_16 = value.startswith((BOM_UTF16_LE, BOM_UTF16_BE))
        return value.decode("utf-16" if utf_16 else "utf-8", errors="replace")
    event = msgspec.structs.asdict(decode_avro(value))
    return f"{len(value)} bytes of Avro: {msgspec.json.encode(event).decode()}"
