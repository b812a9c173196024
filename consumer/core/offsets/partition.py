"""Selective acknowledgement of a partition: records settle in any order, one offset is committable.

Four positions are told apart, all of them offsets in the Kafka sense (of the next record):

* ``position``: where reading goes on. It can pass offsets that hold no record (control records,
  compaction).
* ``committable_offset``: the lowest unsettled position; with nothing unsettled it is ``position``.
* ``committed``: what the group last acknowledged.
* ``settled`` beyond the committable offset: records that are done, but stand behind one that is
  not.

A commit takes the committable offset and nothing else, so it never passes an unsettled position
(I3). What is settled beyond it goes into the commit's metadata (``settled_map``), so that the next
owner of the partition does not send it again (I7).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from consumer.core.model import Record, Row, Stage
from consumer.core.offsets.ledger import Ledger
from consumer.core.offsets.run_codec import Runs, most_bytes
from consumer.core.offsets.settled_map import (
    NO_EPOCH,
    NOTHING,
    NOWHERE,
    Origin,
    SettledMap,
    characters,
)

DONE = Stage.DONE

#: Characters of metadata that a broker takes for a partition as it comes, with some to spare (it
#: refuses 4,096).
MAX_METADATA = 4000
#: With less room than this there is no map: it could not tell of what one read brings.
MIN_METADATA = 500
#: Settled records of a partition that are kept behind one that is not, beyond as many as are
#: unsettled.
MAX_SETTLED_KEPT = 1000
#: Records of a partition that one more read can bring before it is paused.
MAX_READ = 500


class Partition:
    """One assignment epoch of one partition (I3).

    A partition that is revoked and comes back is a new object: what belongs to the old epoch can
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
        self.owned = True  #: False: revoked; nothing of it is sent, settled or committed any more
        self.position = start
        self.started_at = start
        self.committed = committed  #: None: the group has no committed offset for it
        self.metadata = metadata  #: of the commit that the group last acknowledged
        self.origin = origin  #: the log that is read, as every commit names it
        #: settled before, as the metadata of the offset where it begins says
        self.already_settled = already_settled
        #: characters that the broker takes as metadata, as far as it has told
        self.room = MAX_METADATA
        #: from the committable offset on, in the order of their offsets
        self.records: deque[Record] = deque()
        self.ledger = Ledger()
        self._map_most = 0  # bytes that the map of what is unsettled before _map_end can take
        self._map_end = start
        self.undecoded = 0  #: records whose rows are not made yet
        #: a call with rows of it whose response was lost may take effect until then
        self.lost_until = 0.0
        if already_settled:
            self._unsettled_offsets()

    def __repr__(self) -> str:
        return f"{self.topic}[{self.number}]"

    @property
    def committable_offset(self) -> int:
        """Return the next offset to commit: the lowest unsettled position (I3)."""
        records = self.records
        while records and records[0].settled:
            records.popleft()
        return records[0].offset if records else self.position

    @property
    def unsettled_since(self) -> float | None:
        """Return when the oldest unsettled record was read (the owner's clock, seconds).

        None: there is none.
        """
        unsettled = self.committable_offset < self.position and self.records
        return self.records[0].read_at if unsettled else None

    def settled_runs(self) -> Runs:
        """Return what is settled beyond the committable offset, as half-open ranges (I7).

        What the last map says of positions that are not read yet is among them: the next owner must
        know of these, too.
        """
        offsets = self._unsettled_offsets()
        behind = zip(offsets, [*offsets[1:], self.position], strict=False)
        runs = [(offset + 1, after) for offset, after in behind if offset + 1 < after]
        unread = self.already_settled.beyond(self.position)
        if runs and unread and runs[-1][1] == unread[0][0]:
            unread[0] = (runs.pop()[0], unread[0][1])
        return runs + unread

    def outgrows(self, room: int) -> bool:
        """Return whether one more read may make the settled map longer than ``room`` characters.

        Then reading pauses (I7). It is judged by what can become of the positions that are
        unsettled, whichever of them settle until then.
        """
        room = min(room, self.room)
        if not room or characters(self._map_may_take()) <= room:
            return False
        self._unsettled_offsets()
        return characters(self._map_may_take()) > room

    def fits_alone(self, room: int) -> bool:
        """Return whether the map of what was read here has room.

        What an earlier owner settled beyond that is left out.
        """
        offsets = self._unsettled_offsets()
        most = most_bytes(offsets, self.position) + MAX_READ // 8 + 1
        return characters(most) <= min(room, self.room)

    def _map_may_take(self) -> int:
        return self._map_most + max(0, self.position + MAX_READ - self._map_end) // 8 + 1

    def _unsettled_offsets(self) -> list[int]:
        """Return the offsets of what is unsettled; drop settled records, measure the map anew."""
        unsettled = [record for record in self.records if not record.settled]
        self.records = deque(unsettled)
        offsets = [record.offset for record in unsettled]
        end = self.position
        unsettled_or_unread = list(offsets)
        for start, after in self.already_settled.beyond(end):  # not read yet, and settled before
            unsettled_or_unread += range(end, start)
            end = after
        self._map_most, self._map_end = most_bytes(unsettled_or_unread, end), end
        return offsets

    def metadata_refused(self) -> None:
        """Halve the room, as the broker takes less metadata than was sent; in the end use none."""
        self.room = self.room // 2 if self.room // 2 >= MIN_METADATA else 0

    def read(self, records: list[Record], position: int) -> None:
        """Take in records that were read, in order; ``position`` is where reading goes on.

        Records without rows are skipped at once and not kept. Nor are settled ones where they are
        most of what is kept: behind one that is stuck they would be memory that nobody counts.
        """
        assert self.owned, "records are read of a partition that was revoked"
        self.records.extend(record for record in records if record.open)
        self.position = max(self.position, position)
        self.ledger.consumed += len(records)
        self.ledger.unsettled += len(records)
        if len(self.records) > 2 * self.ledger.unsettled + MAX_SETTLED_KEPT:
            self.records = deque(record for record in self.records if not record.settled)

    def led(self, offset: int, epoch: int | None) -> None:
        """Take in the leader epoch of the record at an offset, the next that is read.

        None: not known. A record of a later leader than any before was not there when the map was
        made, and nor was anything behind it: a replica that lagged took over, and other records
        stand where those that the map names stood.
        """
        if epoch is None or epoch <= self.origin.epoch:
            return
        if self.origin.epoch != NO_EPOCH:
            self.already_settled = self.already_settled.until(offset)
        self.origin = self.origin._replace(epoch=epoch)

    def skip(self, record: Record) -> None:
        """Settle a record by rule: there is nothing to upload."""
        assert not record.settled, "a record is settled twice"
        record.settled = True
        record.raw = None
        self.ledger.unsettled -= 1
        self.ledger.skipped += 1

    def forget(self) -> int:
        """Release what is unsettled, as the partition was revoked; return its bytes (I5)."""
        self.owned = False
        self.ledger.released += self.ledger.unsettled
        self.ledger.unsettled = 0
        size = sum(record.size for record in self.records if not record.settled)
        self.records.clear()
        return size


def settle(rows: Iterable[Row], timestamps: list[int]) -> int:
    """Settle rows, and records none of whose rows is open any more; return their bytes (I1, I5).

    The records' times in Kafka are added to ``timestamps``. This is the one place where a record is
    settled, in one pass, as every row comes through here.
    """
    size = accepted = 0
    partition: Partition | None = None  # of the records accepted last, which are counted together
    for row in rows:
        assert row.stage is not DONE, "a row is settled twice"
        row.stage = DONE
        record = row.record
        record.open -= 1
        if record.open:
            assert record.open > 0, "a record has more settled rows than rows"
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
        assert partition.ledger.unsettled >= 0, "more records settle than were read"
