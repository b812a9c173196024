"""What was read of a partition, what is settled, and what may be committed.

Four positions are told apart, all of them offsets in the Kafka sense (of the next record):

* ``position``: where reading goes on. It can pass offsets that hold no record (control records,
  compaction).
* ``committable_offset``: the lowest unsettled position; with nothing unsettled it is ``position``.
* ``committed``: what the group last acknowledged.
* ``settled`` beyond the watermark: records that are done, but stand behind one that is not.

A commit takes the watermark and nothing else, so it never passes an unsettled position (I3). What
is settled beyond it goes into the commit's metadata (``settled_map``), so that the next owner of
the partition does not send it again (I7).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable
from math import inf

import msgspec

from consumer.core.model import Record, Row, Stage
from consumer.core.offsets.ledger import Ledger
from consumer.core.offsets.settled_map import (
    NO_EPOCH,
    NOTHING,
    NOWHERE,
    Origin,
    Runs,
    SettledMap,
    characters,
    encode,
    most_bytes,
)

DONE = Stage.DONE

#: Characters of metadata that a broker takes for a partition as it comes, with some to spare (it
#: refuses 4,096).
MAX_METADATA = 4000
#: Characters of metadata of one commit, all partitions together: at about a megabyte it fails as a
#: whole.
MAX_METADATA_OF_COMMIT = 500_000
#: With less room than this there is no map: it could not tell of what one read brings.
MIN_METADATA = 500
#: Settled records of a partition that are kept behind one that is not, beyond as many as are
#: unsettled.
MAX_SETTLED_KEPT = 1000
#: Records of a partition that one more read can bring before it is held.
MAX_READ = 500


class Partition:
    """One assignment epoch of one partition (I3).

    A partition that is taken away and comes back is a new object: what belongs to the old epoch can
    then settle nothing in the new one.
    """

    __slots__ = (
        "_map_end",
        "_map_most",
        "already_settled",
        "committed",
        "ledger",
        "lost_until",
        "metadata",
        "number",
        "origin",
        "owned",
        "position",
        "records",
        "room",
        "started_at",
        "topic",
        "undecoded",
    )

    def __init__(
        self,
        topic: str,
        number: int,
        start: int,
        committed: int | None,
        already_settled: SettledMap = NOTHING,
        metadata: str = "",
        origin: Origin = NOWHERE,
    ) -> None:
        self.topic = topic
        self.number = number
        self.owned = (
            True  #: False: taken away; nothing of it is sent, settled or committed any more
        )
        self.position = start
        self.started_at = start
        self.committed = committed  #: None: the group has no committed offset for it
        self.metadata = metadata  #: of the commit that the group last acknowledged
        self.origin = origin  #: the log that is read, as every commit names it
        self.already_settled = (
            already_settled  #: settled before, as the metadata of the offset where it begins says
        )
        self.room = (
            MAX_METADATA  #: characters that the broker takes as metadata, as far as it has told
        )
        self.records: deque[Record] = (
            deque()
        )  #: from the watermark on, in the order of their offsets
        self.ledger = Ledger()
        self._map_most = 0  # bytes that the map of what is unsettled before _map_end can take
        self._map_end = start
        self.undecoded = 0  #: records whose rows are not made yet
        self.lost_until = (
            0.0  #: a call with rows of it whose answer was lost may take effect until then
        )
        if already_settled:
            self._unsettled_offsets()

    def __repr__(self) -> str:
        return f"{self.topic}[{self.number}]"

    @property
    def committable_offset(self) -> int:
        """The next offset to commit: the lowest unsettled position (I3)."""
        records = self.records
        while records and records[0].settled:
            records.popleft()
        return records[0].offset if records else self.position

    @property
    def unsettled_since(self) -> float | None:
        """When the oldest unsettled record was read (the owner's clock, seconds).

        None: there is none.
        """
        return (
            self.records[0].read_at
            if self.committable_offset < self.position and self.records
            else None
        )

    def settled_runs(self) -> Runs:
        """What is settled beyond the watermark, as half-open ranges (I7).

        With what the last map says of positions that are not read yet: the next owner must know of
        them, too.
        """
        offsets = self._unsettled_offsets()
        behind = zip(offsets, [*offsets[1:], self.position], strict=False)
        runs = [(offset + 1, after) for offset, after in behind if offset + 1 < after]
        unread = self.already_settled.beyond(self.position)
        if runs and unread and runs[-1][1] == unread[0][0]:
            unread[0] = (runs.pop()[0], unread[0][1])
        return runs + unread

    def outgrows(self, room: int) -> bool:
        """Whether, after one more read, the settled map might not fit into so many characters any
        more (I7).

        Whatever settles until then: it is judged by what can become of the positions that are
        unsettled.
        """
        room = min(room, self.room)
        if not room or characters(self._map_may_take()) <= room:
            return False
        self._unsettled_offsets()
        return characters(self._map_may_take()) > room

    def fits_alone(self, room: int) -> bool:
        """Whether the map of what was read here has room, whatever an earlier owner settled beyond
        that.
        """
        offsets = self._unsettled_offsets()
        return characters(most_bytes(offsets, self.position) + MAX_READ // 8 + 1) <= min(
            room, self.room
        )

    def _map_may_take(self) -> int:
        return self._map_most + max(0, self.position + MAX_READ - self._map_end) // 8 + 1

    def _unsettled_offsets(self) -> list[int]:
        """The offsets of what is unsettled.

        Drops the records that are settled, and measures the map anew.
        """
        unsettled = [record for record in self.records if not record.settled]
        self.records = deque(unsettled)
        offsets = [record.offset for record in unsettled]
        end = self.position
        unsettled_or_unread = list(offsets)
        for start, after in self.already_settled.beyond(
            self.position
        ):  # what is not read yet, and was settled before
            unsettled_or_unread += range(end, start)
            end = after
        self._map_most, self._map_end = most_bytes(unsettled_or_unread, end), end
        return offsets

    def metadata_refused(self) -> None:
        """The broker takes less metadata than was sent.

        Half as much is tried, and in the end none.
        """
        self.room = self.room // 2 if self.room // 2 >= MIN_METADATA else 0

    def read(self, records: list[Record], position: int) -> None:
        """Take in records that were read, in order; ``position`` is where reading goes on.

        Those without rows are skipped at once and not kept; nor are settled ones, where most of
        what is kept is: behind one that is stuck they would be memory that nobody counts.
        """
        self.records.extend(record for record in records if record.open)
        self.position = max(self.position, position)
        self.ledger.consumed += len(records)
        self.ledger.unsettled += len(records)
        if len(self.records) > 2 * self.ledger.unsettled + MAX_SETTLED_KEPT:
            self.records = deque(record for record in self.records if not record.settled)

    def led(self, offset: int, epoch: int | None) -> None:
        """Take in the leader epoch of the record at an offset, the next that is read.

        None: not known.

        One of a later leader than of any record that was read before was not there when the map was
        made, and nor was anything behind it: a copy that lagged took over, and others stand where
        what the map names stood.
        """
        if epoch is None or epoch <= self.origin.epoch:
            return
        if self.origin.epoch != NO_EPOCH:
            self.already_settled = self.already_settled.until(offset)
        self.origin = self.origin._replace(epoch=epoch)

    def skip(self, record: Record) -> None:
        """Settle a record by rule: there is nothing to upload."""
        record.settled = True
        record.raw = None
        self.ledger.unsettled -= 1
        self.ledger.skipped += 1

    def forget(self) -> int:
        """Release what is unsettled, as the partition was taken away (I5); bytes that this frees."""
        self.owned = False
        self.ledger.released += self.ledger.unsettled
        self.ledger.unsettled = 0
        size = sum(record.size for record in self.records if not record.settled)
        self.records.clear()
        return size


def settle(rows: Iterable[Row], timestamps: list[int]) -> int:
    """These rows are done, and so are the records none of whose rows is open any more (I1, I5).

    The bytes that frees.

    Adds the records' times in Kafka to ``timestamps``. The one place where a record is settled; one
    pass, as every row comes through here.
    """
    size = accepted = 0
    partition: Partition | None = None  # of the records accepted last, which are counted together
    for row in rows:
        row.stage = DONE
        record = row.record
        record.open -= 1
        if record.open:
            continue
        record.settled = True
        record.raw = None
        timestamps.append(record.timestamp)
        size += record.size
        if record.rejected:
            record.partition.ledger.unsettled -= 1
            record.partition.ledger.rejected += 1
            continue
        if record.partition is not partition:
            _accept(partition, accepted)
            partition, accepted = record.partition, 0
        accepted += 1
    _accept(partition, accepted)
    return size


def _accept(partition: Partition | None, records: int) -> None:
    if partition is not None:
        partition.ledger.unsettled -= records
        partition.ledger.accepted += records


class Commit(msgspec.Struct, frozen=True, gc=False):
    """What is committed of one partition."""

    partition: Partition
    offset: int
    metadata: str  #: the settled map; empty: nothing beyond the offset is settled
    built_at: float = (
        -inf
    )  #: right before it was sent: that the group took it says nothing of any later time


def room_of(partitions: int) -> int:
    """Characters of metadata that each of so many partitions of one commit may take.

    0: too few for a map.
    """
    room = min(MAX_METADATA, MAX_METADATA_OF_COMMIT // max(1, partitions))
    return room if room >= MIN_METADATA else 0


def due_commits(
    partitions: Collection[Partition], now: float = -inf, *, anew: bool = False
) -> list[Commit]:
    """What is to be committed of the owned partitions, where the group has not got it already (I3).

    ``anew``: even there.

    A partition without any committed offset is included as it stands: where it began ("latest",
    say) must survive a restart, or what is published meanwhile would be skipped.
    """
    room = room_of(len(partitions))
    due: list[Commit] = []
    for partition in partitions:
        if not partition.owned:
            continue
        offset = partition.committable_offset
        runs: Runs = []
        if partition.records or partition.already_settled.end > offset:
            runs = partition.settled_runs()
        metadata = encode(
            partition.number, offset, runs, min(room, partition.room), partition.origin
        )
        if anew or offset != partition.committed or metadata != partition.metadata:
            due.append(Commit(partition, offset, metadata, now))
    return due
