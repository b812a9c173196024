"""The nouns of the core.

event (one thing that happened) → row (one item of an upload) → window (the rows of one request) →
outcome (accepted or rejected) → settled (nothing is left to do for the record).

Rows and records are mutable and slotted: one object carries a row's position, claims and state from
arrival to settlement, so that the accepted path allocates nothing else for it. They are msgspec
structs for the price of their construction, and untracked by the garbage collector (they form no
cycles), because tens of thousands of them are alive at a time.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from consumer.core.offsets.partition import Partition

#: Data keys that name one code each (upload guide, "Data key"). Any other may select thousands, or
#: none: for those a response confirms nothing, and a synchronous call may take too long.
KEYS_OF_ONE_CODE = frozenset({"extended_id", "serial_number"})


class InvalidEvent(Exception):  # noqa: N818 - it names what the record is, not a fault of the program
    """A record that cannot become rows.

    Its reason is one of the contract's words for dead letters. ``undecodable``: not the format at
    all. ``invalid_event``: readable, but not an event. ``key_missing``: an object without the key.
    The message is for the person who reads the dead letter.
    """

    def __init__(self, reason: str, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.field = field


class Event(msgspec.Struct, gc=False):
    """One event as a format reads it, values still as the format gave them.

    ``fields`` maps a field's name to a str, bool, int, float, Decimal, date, datetime or None.
    ``data_key`` is None where the event names none (then the configured default holds);
    ``key_value`` is None where it has no key.
    """

    fields: dict[str, Any]
    data_key: str | None = None
    key_value: Any = None
    event_id: str | None = None
    occurred_at: str | int | None = None  #: RFC 3339 text, or milliseconds since the epoch
    also_update: tuple[str, Any] | None = None  #: a second code that gets the same: (key, value)
    plain: bool = False  #: the format has seen that every field is a text of at most 50 characters
    source: str | None = None  #: the line, scanner or system, where the event names it


class EventBatch(Event, gc=False):
    """A record of more than one row as a format reads it: several codes, or several events.

    ``parts``, in their order: of an event about several codes one for each; of a document its
    events. A part that is no event stands there as the InvalidEvent that says why: it costs the
    others nothing. ``fields`` are those that every part sets, with one value. So a fault in them is
    the event's, not a row's: no part of it can be sent.
    """

    parts: tuple[Event | InvalidEvent, ...] = ()
    called: str = ""  #: how messages about the whole of it begin, where it is one of several events


class Rejection(msgspec.Struct, frozen=True, gc=False):
    """Why a row is not (or cannot be) accepted: what its dead letter will say."""

    reason: str
    message: str
    field: str | None = None
    stage: str = "validate"  #: decode, validate or upload
    http_status: int | None = None


class Record(msgspec.Struct, eq=False, gc=False):
    """One Kafka record between being read and being settled."""

    partition: Partition  #: the assignment epoch it was read in
    offset: int
    raw: Any  #: the client's message, kept for the dead letter; dropped at settlement
    #: bytes for the memory bound: of its value, what is ``beside`` it, and what several rows of it
    #: hold
    size: int
    #: its time in Kafka, milliseconds since the epoch; not positive: it has none. (No None: Kafka
    #: says -1, too, and such times are sorted out of a whole batch at once, not one by one.)
    timestamp: int = -1
    read_at: float = 0.0  #: when it was read (the owner's clock, seconds)
    event_id: str | None = None
    open: int = 0  #: rows not settled yet
    rejected: bool = False  #: at least one row was dead-lettered
    settled: bool = False
    #: of its ``size``, what is not its value: key, headers, what is decoded, objects
    beside: int = 0


class Stage(IntEnum):
    """Where a row is. Exactly one place holds it at any time."""

    WAITING = 0  #: for an earlier row's claim
    READY = 1  #: in a lane, waiting for a window
    WINDOWED = 2  #: in a closed window: in flight, or parked for a retry
    PARKED = 3  #: alone, until a time (unknown key's grace)
    DEAD_LETTER = 4  #: on its way to the dead-letter topic
    RECEIPT = 5  #: accepted; its receipt is on its way to the receipts topic
    #: settled or released, but a lost call of it may still take effect: its claim is held
    CLAIM_HELD = 6
    DONE = 7  #: settled or released


class Row(msgspec.Struct, eq=False, gc=False):
    """One item of an upload.

    ``item`` is what is sent: the key field first, every value a string.
    """

    record: Record
    data_key: str | None
    value: str | None
    item: dict[str, str]
    #: rows of one shape may share a window: its sorted field names (see ``by_task``)
    shape: tuple[str, ...]
    size: int  #: about the bytes it takes in a request: those of its record
    #: the logistic units it puts codes into: (field, value)
    joins: tuple[tuple[str, str], ...] = ()
    blocked: int = 0  #: claims that are not granted yet
    arrived: float = 0.0  #: when it was read (the owner's clock, seconds)
    ready_at: float = 0.0  #: the sendable-time reading when it became ready (see windows)
    stage: int = 0
    awaited: bool = False  #: a later row waits for this one's claim
    suspect: bool = False  #: failed before by itself: kept in windows of its own kind
    by_task: bool = False  #: goes asynchronously, with rows of the same data only
    left_out_once: bool = False  #: a response that accepted it has left it out of its items once
    attempts: int = 0
    hold_until: float = 0.0  #: a lost call of this row may take effect until then: its claim stays
    unknown_since: float = 0.0  #: when the API first said that it does not know the key
    unknown_tries: int = 0  #: how often it said so and the row waits
    rejection: Rejection | None = None


class Notice(msgspec.Struct, frozen=True):
    """A change of the process's state that is logged for people."""

    level: str
    text: str
