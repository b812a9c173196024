"""Read as much as the core has room for, and show a sign of life while it has none.

Records come from the client, become rows (``Intake``), and go into the core; where there is no
room, some partitions are paused, or all.
"""

from __future__ import annotations

from collections.abc import Callable

from consumer.core.offsets.commits import room_of
from consumer.core.offsets.partition import Partition
from consumer.core.pipeline import Pipeline
from consumer.errors import UserError
from consumer.formats import SchemaId
from consumer.loop.intake import Intake
from consumer.loop.lifecycle import Lifecycle, Phase
from consumer.loop.partition_pauses import PartitionPauses, PauseReason
from consumer.loop.ports import RecordSource
from consumer.loop.session_lease import SessionLease

#: Records taken from the client in one turn.
BATCH = 500
#: While nothing is to be read, one record is taken this often, so that the group knows this member
#: lives; at the bounds of memory the partitions are paused instead. Pausing sooner would cost more
#: than it saves.
SIGN_OF_LIFE_SECONDS = 1.0
#: Time between two reviews of the partitions that are paused, or should be.
REVIEW_SECONDS = 0.5


class Reading:
    """Reads for one owner loop.

    ``expedite_commit``: asks for a commit with this turn, which makes the group confirm this
    member.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        intake: Intake,
        source: RecordSource,
        pauses: PartitionPauses,
        lease: SessionLease,
        lifecycle: Lifecycle,
        clock: Callable[[], float],
        *,
        until_end: bool,
        expedite_commit: Callable[[float], None],
    ) -> None:
        self._pipeline = pipeline
        self._intake = intake
        self._source = source
        self._pauses = pauses
        self._lease = lease
        self._lifecycle = lifecycle
        self._clock = clock
        self._until_end = until_end
        self._expedite_commit = expedite_commit
        self._review_at = 0.0
        self.more = False  #: the last read was full: there is more to read now

    def read(self) -> None:
        """Read what there is room for."""
        now = self._clock()
        self.more = False
        if self._lifecycle.phase >= Phase.DRAINING:
            self.serve()
            return
        self._make_rows()
        if self._pipeline.reads():
            if self._source.paused:
                self._source.resume()
            self.more = self._poll(min(BATCH, self._pipeline.flow.room_at_once))
            return
        if self._source.paused:
            self._poll(BATCH)
        elif self._lease.since_last_poll(now) >= SIGN_OF_LIFE_SECONDS:
            if self._pipeline.flow.full:  # there may be no room for even one
                self._source.pause()
            else:
                self._poll(1)

    def serve(self) -> None:
        """Serve the callbacks of a source that is paused.

        That it cannot go on ends no stop half-way.
        """
        try:
            self._poll(1)
        except UserError as error:
            self._lifecycle.fail(error)

    def polled(self) -> float:
        """Take in that the client was polled; return when.

        After a gap the group is asked at once whether it still counts this member.
        """
        now = self._clock()
        # A drain sends nothing more, and waits for its commits inside of one turn.
        if self._lifecycle.phase < Phase.DRAINING and self._lease.on_poll(now):
            self._expedite_commit(now)
        return now

    def review_pauses(self) -> None:
        """Read on where there is room again, now and then.

        On a clock of its own, as it has nothing to do with commits.
        """
        now = self._clock()
        if now < self._review_at:
            return
        self._review_at = now + REVIEW_SECONDS
        self._pauses.resume_where_possible(room_of(len(self._pipeline.partitions)))
        if self._pauses.paused_for(PauseReason.OVER_QUOTA) or self._pipeline.flow.near_limit:
            self._pause_over_quota()

    def on_schema_looked_up(self, schema_id: SchemaId) -> None:
        """Take in what waits for a schema that was looked up."""
        self._intake.on_looked_up(schema_id)
        for partition, pending in list(self._intake.waiting.items()):
            if pending.schema_id is not None:
                self._retry(partition, self._room() + len(pending.records))

    def _poll(self, count: int) -> bool:
        """Read at most ``count`` records; return whether there were as many (I6)."""
        batches = self._source.poll(count)
        now = self.polled()
        taken = 0
        map_room = room_of(len(self._pipeline.partitions))
        rows_before, most = self._pipeline.unsettled, max(count, self._pipeline.flow.room)
        for partition, messages in batches:
            if not partition.owned:
                continue
            taken += len(messages)
            room = most + rows_before - self._pipeline.unsettled
            records, rows, position = self._intake.take(partition, messages, now, room)
            self._pipeline.add_records(partition, records, rows, position, now)
            awaited = self._intake.awaits_schema(partition)
            self._pauses.on_read(partition, map_room, schema_awaited=awaited)
        if taken and self._pipeline.flow.near_limit:
            self._pause_over_quota()
        if self._until_end and self._source.stopped:
            partition, cause = next(iter(self._source.stopped.items()))
            self._lifecycle.request_stop(
                UserError(f"{partition} is stopped ({cause}): its end cannot be reached")
            )
        return taken >= count

    def _pause_over_quota(self) -> None:
        paused = self._pauses.paused_for(PauseReason.OVER_QUOTA)
        self._pauses.set_over_quota(self._pipeline.over_quota(paused, self._clock()))

    def _make_rows(self) -> None:
        """Make the rows of records that are read already, where there is room again."""
        for partition, _ in self._intake.short_of_room():
            room = self._room()
            if room > 0:
                self._retry(partition, room)

    def _room(self) -> int:
        """Return how many rows may be made now.

        What waits for room takes none itself, or it could wait for ever.
        """
        return self._pipeline.room(sum(count for _, count in self._intake.short_of_room()))

    def _retry(self, partition: Partition, room: int) -> None:
        now = self._clock()
        records, rows = self._intake.retry(partition, now, room)
        if records:
            self._pipeline.add_decoded(partition, records, rows, now)
        self._pauses.on_rows_made(partition, schema_awaited=self._intake.awaits_schema(partition))
