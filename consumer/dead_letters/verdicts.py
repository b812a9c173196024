"""Decide which letters may be brought back without undoing anything (replay): see docs/replay.md.

One pass over the source topics, in bounded memory: what is kept grows with the letters, not with
the events. So it is used (the caller reads the topics):

1. Read what the group has settled; then the dead-letter topic, each letter into a ``Catalogue``,
   filtered or not; then ``sort`` it. (In this order, as what is settled or rejected later then
   counts as a newer event.)
2. ``Verdicts(catalogue, logistic_units)``; ``watch(letter, copy)`` each letter that the command is
   about, with what ``Mender.copy`` made of it; then ``begin``.
3. If there are receipts, ``see_receipt`` each, and set ``receipts_from``.
4. ``see`` each record of each partition of ``kafka.topics``. Those of ``starts`` are read from that
   offset (or from the log's beginning) on. The others from the first record on whose time is not
   before ``oldest_time``, or from the committed offset, whichever is lower; from the log's
   beginning where there is no ``oldest_time``.
5. ``decide``, then ``verdicts``, and ``plan.steps``.
6. Right before the letters of a code are published: ``see`` what was appended since, and ask
   ``again``.

``see`` may be told of a record more than once. Partitions may be mixed in any way, but the records
of one come in their order.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import NamedTuple

from consumer.core.model import Row
from consumer.dead_letters.catalogue import ACCEPTED, REPLAYED, RESOLVED, Catalogue, key_code
from consumer.dead_letters.letter import Letter, Place
from consumer.dead_letters.meaning import LAST_ROW, ROW_BITS, row_numbers
from consumer.dead_letters.mending import Copy, Unusable
from consumer.dead_letters.slots import NO_TIME, Moment
from consumer.dead_letters.watching import Kind, Watched, Watchlist, Why, hash_of
from consumer.dead_letters.weighing import settle_between_partitions, weigh
from consumer.dead_letters.wording import because


class Verdict(NamedTuple):
    """The verdict on a letter, with its reason."""

    letter: Place
    kind: Kind
    because: str  #: for people; empty: nothing stands against it
    #: with ``only_missing``: the fields to leave out, as ``Mender.copy`` takes them
    without: frozenset[str] = frozenset()


class Seen(NamedTuple):
    """A record of a source topic."""

    place: Place
    at: int  #: its time in Kafka, milliseconds since the epoch; not positive: none
    key: bytes | None
    value: bytes | None
    rows: Sequence[Row] | None  #: as the consumer makes them today; None: no schema to be had
    settled: bool  #: by the group's commit, which was read before the dead letters
    replay_of: Place | None = None  #: of a copy


class Receipt(NamedTuple):
    """A receipt of an accepted row."""

    source: Place
    data_key: str
    value: str
    fields: Mapping[str, str]


class Verdicts:
    """Watches letters, sees events, and gives verdicts.

    ``only_missing``: fields that something newer sets are left out, and the others go.
    """

    def __init__(
        self, catalogue: Catalogue, logistic_units: Collection[str], *, only_missing: bool = False
    ) -> None:
        self._catalogue = catalogue
        self._only_missing = only_missing
        self.watchlist = Watchlist(catalogue, logistic_units)
        self._events, self._receipts = self.watchlist.writers(), self.watchlist.writers()
        self._came_back: set[int] = set()
        self._live: set[tuple[int, int]] = set()
        self._homes: dict[int, tuple[int, int]] = {}
        #: by partition, where receipts are kept: the offset from which each accepted row has one
        self.receipts_from: Mapping[tuple[str, int], int] = {}

    def watch(self, letter: Letter, copy: Copy | Unusable) -> None:
        """Watch a letter of the catalogue; ``copy``: what would be sent for it."""
        self.watchlist.add(letter, copy)

    def begin(self) -> None:
        """Make ready for events."""
        watchlist = self.watchlist
        watchlist.begin()
        self._events, self._receipts = watchlist.writers(), watchlist.writers()
        for each in watchlist.letters:
            before = self._letter_before(each)
            if before is not None:
                self._came_back.add(before)

    def starts(self) -> dict[tuple[str, int], int]:
        """Return of each partition that must be read the offset to begin at."""
        return self.watchlist.starts()

    def oldest_time(self) -> int | None:
        """Return the time of the oldest letter's record (ms), once the partitions of ``starts``
        were seen; None: it is not known.
        """
        times = [
            each.time
            for each in self.watchlist.letters
            if not each.unusable and (each.found or self._receipts_tell(each))
        ]
        oldest = min(times, default=0)
        return oldest if oldest > 0 else None

    # -- what became of events -------------------------------------------------------------------

    def see_receipt(self, receipt: Receipt) -> None:
        """Take in a receipt, before any event."""
        source, data_key, value = receipt.source, receipt.data_key, receipt.value
        self._catalogue.accept(source, data_key, value, receipt.fields)
        writing = self.watchlist.seen_writing(data_key, value, {data_key: value, **receipt.fields})
        moment = self._moment(source, LAST_ROW, NO_TIME)
        self._receipts.add(writing, moment)

    def see(self, record: Seen) -> None:
        """Take in a record of a source topic."""
        time = record.at if record.at > 0 else NO_TIME
        here = self._moment(record.place, LAST_ROW, time)
        if self._catalogue.has_letter(record.place):
            self._catalogue.note_rows(record.place, record.rows or ())
            self.watchlist.see_record(here.partition, record.place.offset, record.at, record.value)
        self._note_home(record, here)
        of = None if record.replay_of is None else self._catalogue.number(record.replay_of)
        if of is not None:
            self._catalogue.mark(of, REPLAYED)
        if record.rows is None:
            self._see_unreadable(record, here)
            return
        only = len(record.rows) == 1
        numbers = [1] if only else row_numbers(record.rows)
        for row, number in zip(record.rows, numbers, strict=True):
            if row.data_key is None or row.value is None:
                if row.rejection is not None and row.rejection.reason != "key_missing":
                    self._see_unreadable(record, here)
            elif row.value.strip() and not self._catalogue.rejected(record.place, row, only=only):
                self._add(record, row, of, self._moment(record.place, number, time))

    def _add(self, record: Seen, row: Row, of: int | None, moment: Moment) -> None:
        """Take in a row that set something, or will."""
        writing = self.watchlist.seen_writing(row.data_key or "", row.value or "", row.item)
        if of is not None:
            standing = self._catalogue.standing(of)
            if standing in self._came_back:
                self._live.add((standing, key_code(row.data_key, row.value)))
            event = self._as_old_as_its_event(of) or moment
            if not record.settled and event.partition != moment.partition:
                self._events.add(writing, moment._replace(time=NO_TIME))
            moment = event
        if not record.settled:
            moment = moment._replace(time=NO_TIME)
        self._events.add(writing, moment)

    def _as_old_as_its_event(self, of: int) -> Moment | None:
        """Return the moment of a copy: that of its root; None: nobody knows it."""
        root = self._catalogue.root(of)
        source = None if root is None else self._catalogue.source(root)
        if root is None or source is None:
            return None
        watched = self.watchlist.of_number(root)
        if watched is not None:
            return watched.moment
        return self._moment(source, self._catalogue.row_number(root), NO_TIME)

    def _see_unreadable(self, record: Seen, moment: Moment) -> None:
        if not self._catalogue.has_letter(record.place):
            self._events.add_unreadable(moment)

    def _note_home(self, record: Seen, moment: Moment) -> None:
        """Note where the newest record with a letter's Kafka key is."""
        key = hash_of(record.key)
        expected = self.watchlist.home(key)
        if expected is not None and record.at > 0 and moment.partition != expected:
            for_now = self._homes.get(key)
            if for_now is None or for_now[0] <= record.at:
                self._homes[key] = (record.at, moment.partition)

    def _moment(self, place: Place, row: int, time: int) -> Moment:
        partition = self._catalogue.partition_id(place.topic, place.partition)
        return Moment(partition, place.offset << ROW_BITS | row, time)

    # -- verdicts --------------------------------------------------------------------------------

    def decide(self) -> None:
        """Give each letter its verdict."""
        for each in self.watchlist.letters:
            self._judge(each)
        settle_between_partitions(self.watchlist, self.home_of, only_missing=self._only_missing)

    def verdicts(self) -> Iterator[Verdict]:
        """Yield the verdict of each watched letter, in the order in which they were watched."""
        return map(self.verdict_of, self.watchlist.letters)

    def verdict_of(self, watched: Watched) -> Verdict:
        """Return the verdict of a letter as it was decided."""
        goes = watched.kind in (Kind.REPLAY, Kind.LOOPING)
        out = watched.writings[0].fields & ~watched.left if goes else 0
        return Verdict(
            self._catalogue.place(watched.number),
            watched.kind,
            because(watched, self._catalogue, self.watchlist.fields),
            self.watchlist.fields.names(out),
        )

    def again(self, letter: Place) -> Verdict:
        """Return the verdict of a watched letter by what was seen since it was decided."""
        watched = self.watchlist.at_place(letter)
        assert watched is not None, "a letter is asked about that is not watched"
        left = watched.left
        self._judge(watched)
        watched.left &= left
        return self.verdict_of(watched)

    def home_of(self, watched: Watched) -> int:
        """Return the partition that a letter's copy belongs to: where newer records of its key are.

        A number of the catalogue's; that of its root where there are none.
        """
        time, partition = self._homes.get(self.watchlist.home_key(watched), (0, watched.partition))
        topic = self._catalogue.partition_name(partition)[0]
        same_topic = topic == self._catalogue.partition_name(watched.partition)[0]
        return partition if same_topic and time > watched.time else watched.partition

    def _judge(self, watched: Watched) -> None:
        """Set the verdict of a letter, for itself."""
        number, catalogue = watched.number, self._catalogue
        flags = catalogue.flags(number)
        if catalogue.standing(number) != number:
            watched.set(Kind.REPLAYED, Why.STANDS)
        elif flags & REPLAYED or self._is_live(watched):
            watched.set(Kind.REPLAYED)
        elif flags & RESOLVED:
            watched.set(Kind.RESOLVED)
        elif watched.unusable:
            watched.set(Kind.UNUSABLE)
        elif flags & ACCEPTED:
            watched.set(Kind.SUPERSEDED, Why.ACCEPTED)
        elif watched.rootless:
            watched.set(Kind.UNKNOWN, Why.ROOTLESS)
        elif watched.strange:
            watched.set(Kind.UNKNOWN, Why.STRANGE)
        elif watched.found:
            weigh(watched, [self._events], only_missing=self._only_missing)
        elif self._receipts_tell(watched):
            both = [self._events, self._receipts]
            weigh(watched, both, only_missing=self._only_missing)
        else:
            watched.set(Kind.UNKNOWN, Why.GONE)

    def _receipts_tell(self, watched: Watched) -> bool:
        begin = self.receipts_from.get(self._catalogue.partition_name(watched.partition))
        return begin is not None and begin <= watched.position >> ROW_BITS

    def _letter_before(self, watched: Watched) -> int | None:
        before = self._catalogue.before(watched.number)
        number = None if before is None else self._catalogue.number(before)
        return None if number is None else self._catalogue.standing(number)

    def _is_live(self, watched: Watched) -> bool:
        """Return whether another copy of the letter before it was not rejected."""
        before = self._letter_before(watched) if self._live else None
        return before is not None and (before, self._catalogue.key(watched.number)) in self._live
