"""From a dead letter to its copy: the record that a replay publishes (docs/replay.md, "What goes").

``Mender.copy`` takes the letter and its value as the consumer's decoder reads it, and returns the
copy's value with the rows that the consumer will make of it, or ``Unusable`` with the reason. What
is not mended goes byte for byte. All else is written anew in the configured format, and read back
and checked by the rules of the consumer before it counts as usable.

The key and the headers of a copy: ``plan.headers_of``.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from consumer.core.model import Event, EventBatch, InvalidEvent, Record, Row
from consumer.core.offsets.partition import Partition
from consumer.core.rows.maker import RowMaker
from consumer.core.rows.validation import quoted
from consumer.dead_letters.letter import Letter
from consumer.dead_letters.meaning import field_of
from consumer.errors import UserError
from consumer.formats import decoder
from consumer.formats.encode import encoder

#: The rows of a copy belong to no partition.
_RECORD = Record(Partition("copies", 0, 0, None), 0, None, 0)


class Mend(NamedTuple):
    """The options of a replay that change what is sent, in the order in which they are applied."""

    rename: tuple[tuple[str, str], ...] = ()
    unset: frozenset[str] = frozenset()
    set: tuple[tuple[str, str], ...] = ()
    data_key: str | None = None

    @classmethod
    def parse(
        cls,
        sets: Sequence[str] = (),
        renames: Sequence[str] = (),
        unsets: Sequence[str] = (),
        data_key: str | None = None,
    ) -> Mend:
        """Return the options as they are given: ``F=V``, ``A=B``, ``F``. Raise UserError."""
        pairs = tuple(_pair("--set", "F=V", text) for text in sets)
        renamed = tuple(_pair("--rename", "A=B", text) for text in renames)
        for option, names in (
            ("--set", [name for name, _ in pairs]),
            ("--rename", [name for name, _ in renamed]),
            ("--rename", [new for _, new in renamed]),
        ):
            if len(set(names)) < len(names):
                raise UserError(f"{option} names a field twice: which of them is meant?")
        if any(not new for _, new in renamed) or (data_key is not None and not data_key.strip()):
            raise UserError("--rename A=B and --to-data-key K need the name of a field")
        return cls(renamed, frozenset(unsets), pairs, data_key)

    def fields(self, fields: dict[str, Any]) -> dict[str, Any]:
        """Return the fields as they are mended. Raise InvalidEvent where two get one name."""
        names = dict(self.rename)
        mended: dict[str, Any] = {}
        for name, value in fields.items():
            new = names.get(name, name)
            if new in mended or (new != name and new in fields and new not in names):
                raise InvalidEvent(
                    "invalid_event",
                    f"--rename {name}={new}: it has {quoted(new)} already; drop one with --unset",
                    new,
                )
            mended[new] = value
        kept = {name: value for name, value in mended.items() if name not in self.unset}
        return kept | dict(self.set)


class Copy(NamedTuple):
    """The record that a replay publishes for a letter."""

    value: bytes
    rows: list[Row]  #: that the consumer will make of it, none of them rejected
    mended: bool  #: False: the value is the letter's, byte for byte


class Unusable(NamedTuple):
    """Why nothing can be sent for a letter."""

    because: str


class _Base(NamedTuple):
    """The values that are to be written anew."""

    event: Event
    fields: dict[str, Any]
    data_key: str
    value: Any


class Mender:
    """Makes copies, as the options and the consumer's settings say.

    ``format``: ``events.format``. ``default_key``: ``events.data_key``. ``maker``: the consumer's
    rules, with its logistic units. ``is_read``: whether the consumer reads a topic.
    """

    def __init__(
        self,
        mend: Mend,
        format: str,  # noqa: A002 - the setting's own name
        default_key: str,
        maker: RowMaker,
        is_read: Callable[[str], bool],
    ) -> None:
        self._mend = mend
        self._format = format
        self._default_key = default_key
        self._rows = maker.rows
        self._is_read = is_read
        self._encode = encoder(format, default_key)
        self._decode = decoder(format)

    def copy(
        self, letter: Letter, event: Event | InvalidEvent, without: Collection[str] = ()
    ) -> Copy | Unusable:
        """Return the copy of a letter.

        ``event``: what the consumer's decoder makes of ``letter.value``, or raises about it.
        ``without``: fields to leave out, as ``meaning.field_of`` names them (``--only-missing``).
        """
        try:
            self._refuse_strange(letter)
            if isinstance(event, InvalidEvent):
                raise event
            whole = self._whole(letter, event)
            if whole is not None:
                return whole if not without else _several("--only-missing leaves out fields of")
            return self._of_one_row(letter, event, without)
        except InvalidEvent as bad:
            return Unusable(f"{bad.reason}: {bad.message}")

    def _refuse_strange(self, letter: Letter) -> None:
        if letter.source is None:
            raise InvalidEvent("unreadable", "it does not say which record it was")
        if letter.value is None:
            raise InvalidEvent("unreadable", "its record has no value")
        if not self._is_read(letter.source.topic):
            raise InvalidEvent(
                "another topic", f"{letter.source.topic} is not among kafka.topics: nobody reads it"
            )

    def _whole(self, letter: Letter, event: Event) -> Copy | Unusable | None:
        """Return the copy of a letter that is about all of its record; None: of one row alone.

        A record of several rows is one letter if it was refused as a whole: then it has no key.
        """
        if not isinstance(event, EventBatch) and event.also_update is None:
            return None
        if letter.data_key is not None and letter.key_value is not None:
            return None
        if _several_events(event):
            return Unusable(
                "it is a part of a document that could not be read: publish that part anew"
            )
        if self._mend != Mend():
            return _several("the options mend")
        return self._checked(Copy(letter.value or b"", self._rows(event, _RECORD), mended=False))

    def _of_one_row(
        self, letter: Letter, event: Event, without: Collection[str]
    ) -> Copy | Unusable:
        base, written_anew = self._base(letter, event)
        fields = self._mend.fields(base.fields)
        fields = {name: value for name, value in fields.items() if field_of(name) not in without}
        data_key, value = self._mend.data_key or base.data_key, base.value
        if value is None and data_key in fields:
            value = fields.pop(data_key)
        same = fields == base.fields and (data_key, value) == (base.data_key, base.value)
        if same and not written_anew:
            copy = Copy(letter.value or b"", self._rows(event, _RECORD), mended=False)
            return self._checked(copy)
        mended = Event(fields, data_key, value)
        rows = self._rows(mended, _RECORD)
        problem = self._checked(Copy(b"", rows, mended=True))
        if isinstance(problem, Unusable):
            return problem
        return self._written(letter, base.event, rows[0])

    def _base(self, letter: Letter, event: Event) -> tuple[_Base, bool]:
        """Return the row that a letter is about, and whether it must be written anew in any case.

        It must where its record has other rows: they may have been accepted.
        """
        if not isinstance(event, EventBatch) and event.also_update is None:
            data_key, value = event.data_key or self._default_key, event.key_value
            fields = dict(event.fields)
            if value is None:
                value = fields.pop(data_key, None)
            return _Base(event, fields, data_key, value), False
        rows = self._rows(event, _RECORD)
        mine = [
            row for row in rows if (row.data_key, row.value) == (letter.data_key, letter.key_value)
        ]
        item = letter.item
        if item is None and len(mine) == 1:
            item = mine[0].item
        if item is None or letter.data_key is None:
            raise InvalidEvent(
                "invalid_event", "its record has several rows, and the letter does not say which"
            )
        fields = {name: text for name, text in item.items() if name != letter.data_key}
        about = _part_about(event, letter.data_key, letter.key_value)
        if len(rows) == 1 and mine and mine[0].item == item:
            return _Base(about, fields, letter.data_key, letter.key_value), False
        return _Base(about, fields, letter.data_key, letter.key_value), True

    def _written(self, letter: Letter, event: Event, row: Row) -> Copy | Unusable:
        """Return the copy of a row that is written anew, once it is read back as that row."""
        members = {
            "event_id": event.event_id or _event_id(letter),
            "occurred_at": _time_text(event.occurred_at) or self._stand_in(letter),
            "source": event.source,
            "data_key": row.data_key,
            "key_value": row.value,
            "scm_data": {name: text for name, text in row.item.items() if name != row.data_key},
        }
        value = self._encode(members)
        rows = self._rows(self._decode(value), _RECORD)
        if [read.item for read in rows] != [row.item]:
            return Unusable(f"as {self._format} it would be read as something else")
        return self._checked(Copy(value, rows, mended=True))

    def _stand_in(self, letter: Letter) -> str | None:
        """Return a time for a format that must have one: about when the event was rejected."""
        return _time_text(letter.at) if self._format == "avro" and letter.at > 0 else None

    @staticmethod
    def _checked(copy: Copy) -> Copy | Unusable:
        if not copy.rows:
            return Unusable("by today's rules it sets nothing: the consumer would skip it")
        for row in copy.rows:
            if row.rejection is not None:
                why = row.rejection
                return Unusable(f"it would be rejected again: {why.reason}: {why.message}")
        return copy


def _several(what: str) -> Unusable:
    return Unusable(f"{what} single rows; this is a record of several that was refused as a whole")


def _several_events(event: Event) -> bool:
    parts = event.parts if isinstance(event, EventBatch) else ()
    return len(parts) > 1 and any(isinstance(p, EventBatch | InvalidEvent) for p in parts)


def _part_about(event: Event, data_key: str, value: str | None) -> Event:
    """Return the part of a batch that is about a key: it may have an id and a time of its own."""
    for part in event.parts if isinstance(event, EventBatch) else ():
        if isinstance(part, EventBatch):
            found = _part_about(part, data_key, value)
            if found is not part:
                return found
        elif isinstance(part, Event) and (data_key, value) in (
            (part.data_key, part.key_value),
            part.also_update,
        ):
            return part
    return event


def _event_id(letter: Letter) -> str | None:
    if letter.event_id or letter.source is None:
        return letter.event_id
    return "-".join(map(str, letter.source))


def _time_text(at: str | int | None) -> str | None:
    if not isinstance(at, int):
        return at
    try:
        moment = datetime.fromtimestamp(at / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return None  # out of any calendar
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _pair(option: str, form: str, text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise UserError(f"{option} {text!r}: write {option} {form}")
    return name, value
