"""The evidence for the judge: what was published, and what became of it.

Plain data, from any source.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Headers = tuple[tuple[str, bytes | None], ...]
Fields = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class TopicRecord:
    """A Kafka record as it lies in its topic."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Headers = ()


@dataclass(frozen=True, slots=True)
class FactoryWorld:
    """The world before anything is published, and how events are to be read."""

    #: Every code by its extended_id, with the fields that it has already.
    codes: Mapping[str, Fields]
    products: Collection[str]
    schema: Mapping[str, Any]  #: the Avro schema of an event
    data_key: str  #: of events that name none
    date_fields: Collection[str]


@dataclass(frozen=True, slots=True)
class AppliedRow:
    """A row that the API applied; ``fields`` as sent, without the key."""

    data_key: str
    key_value: str
    fields: Fields


@dataclass(frozen=True, slots=True)
class UploadRequest:
    """An upload as the API saw it; ``status`` None: the sender never got an answer."""

    status: int | None
    data_key: str | None
    keys: Sequence[str]
    applied: int  #: rows


@dataclass(frozen=True, slots=True)
class DemoEvidence:
    """All of it, read back from the topics and from the API after everything was committed."""

    world: FactoryWorld
    published: Sequence[TopicRecord]
    letters: Sequence[TopicRecord]  #: the dead-letter topic
    state: Mapping[str, Fields]  #: extended_id → fields, at the API
    applied: Sequence[AppliedRow]  #: in the order in which the API applied them
    requests: Sequence[UploadRequest]  #: uploads, in the order in which they were answered
    #: Rules of the API that could have been kept, and how often they were not.
    broken_rules: Mapping[str, int]
    ledger: Mapping[str, int]  #: the consumer's own counts of records, "consumed" first
    seconds: float  #: from the consumer's start until everything was committed
