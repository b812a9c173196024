"""What would be published, without a broker."""

from __future__ import annotations

import msgspec

from consumer.formats.avro import decode_avro

SHOWN = 3


class Preview:
    """Stands where ``kafka.publisher.TopicPublisher`` would.

    Takes everything, keeps the first records, writes nothing.
    """

    unacknowledged_from: int | None = None
    broken = ""

    def __init__(self) -> None:
        self.acknowledged = 0
        self.shown: list[str] = []

    def connect(self) -> None:
        """There is nothing to connect to."""

    def send(self, line: int, key: str, value: bytes) -> None:
        """Count a record."""
        self.acknowledged += 1
        if len(self.shown) < SHOWN:
            self.shown.append(f"line {line}, key {key}: {_text(value)}")

    def poll(self) -> None:
        """Nothing fails."""

    def finish(self) -> None:
        """Nothing is under way."""


def _text(value: bytes) -> str:
    if value.startswith(b"{"):
        return value.decode()
    event = msgspec.structs.asdict(decode_avro(value))
    return f"{len(value)} bytes of Avro: {msgspec.json.encode(event).decode()}"
