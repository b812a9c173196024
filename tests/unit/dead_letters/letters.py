"""Letters for tests, without a topic."""

from __future__ import annotations

from typing import Any

import msgspec

from consumer.dead_letters.letter import Letter, Place

TOPIC = "scm.events.dlq"


def letter(offset: int, partition: int = 0, **known: Any) -> Letter:
    """Return a letter of the API's, of the event at the same offset, with what is given changed."""
    usual = Letter(
        place=Place(TOPIC, partition, offset),
        at=1_800_000_000_000 + offset,
        key=b"k",
        value=b"{}",
        headers=(),
        source=Place("scm.events", partition, offset),
        reason="rejected_by_api",
        message="Invalid Product",
        field="product",
        data_key="extended_id",
        key_value=f"CODE-{offset}",
        consumer="0.1.0",
    )
    return msgspec.structs.replace(usual, **known)
