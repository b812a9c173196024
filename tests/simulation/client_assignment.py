"""Assignment of a simulated client: where partitions begin, and how they are given up."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress

from consumer.core.offsets.partition import Partition
from consumer.core.offsets.settled_map import (
    NOTHING,
    MapError,
    Origin,
    SettledMap,
    decode,
    origin_of,
)
from consumer.loop.ports import Listener
from tests.simulation.client_membership import Membership
from tests.simulation.client_reading import Fetch, Reading
from tests.simulation.client_state import ClientPart, ClientState

log = logging.getLogger("consumer.adapters.kafka.source")

#: Between two look-ups, as the real source, seconds: the first pause, and the longest.
LOOK_UP_PAUSE = (0.05, 2.0)
#: How often it is looked at whether partitions must be counted anew, and the pause when that
#: failed, seconds.
COUNT = 1.0
COUNT_PAUSE = 10.0


class Assignment(ClientPart):
    """Gives partitions to the owner and takes them away, inside its polls.

    ``broken``: called when the owner's callback raises.
    """

    def __init__(
        self,
        client: ClientState,
        listener: Listener,
        reading: Reading,
        membership: Membership,
        start_from: str,
        broken: Callable[[], object],
    ) -> None:
        super().__init__(client)
        self._listener = listener
        self._reading = reading
        self._membership = membership
        self._start_from = start_from
        self._broken = broken
        self.revoking = False
        self._starts_awaited: set[int] = set()
        self._counted_in: object = None
        self._count_at = 0.0

    def count_due(self) -> None:
        """Count the group's partitions, if it is time to look and it has rebalanced since."""
        if self._membership.polled_at >= self._count_at:
            self._count()

    def on_assign(self, numbers: list[int], *, begun: bool = False) -> None:
        """Take in partitions that the group gives.

        ``begun``: it gave them before, and it was not known where they begin.
        """
        self._counted_in, self._count_at = None, 0.0
        if not numbers:
            self._listener.on_assigned([])
            return
        # what is new to the client
        numbers = [number for number in numbers if number not in self._reading.owned]
        found = self._look_up(numbers)
        if found is None:
            return  # the process is about to end
        self._assigned(found, begun=begun)
        waiting = [number for number in numbers if number not in found]
        if waiting:
            if self._watch is not None:
                self._watch.held_up(self._process, waiting, numbers, 0.0)  # the others have begun
            self._starts_awaited.update(waiting)
            self._process.thread(
                LOOK_UP_PAUSE[1],
                lambda: self._client.queue("start", (self._membership.member, waiting)),
            )
        self._process.step("assigned")

    def ask_starts(self, numbers: list[int]) -> None:
        """Ask again where partitions begin that are owned and are not read yet."""
        awaited = self._starts_awaited
        numbers = [
            n for n in numbers if n in awaited and self._group.owner(n) == self._membership.member
        ]
        self._starts_awaited.difference_update(numbers)
        if numbers:
            self.on_assign(numbers, begun=True)

    def _assigned(self, found: dict[int, tuple[int, str] | None], *, begun: bool) -> None:
        partitions = [self._partition(number, committed) for number, committed in found.items()]
        for partition in partitions:
            self._own(partition, found[partition.number])
        self._process.thread(self._link.resume, self._process.wake)
        if begun:
            self._begun(partitions)
            return
        if self._watch is not None:
            self._watch.asked(self._process)
        self._listener.on_assigned(partitions)

    def _own(self, partition: Partition, committed: tuple[int, str] | None) -> None:
        number = partition.number
        held = self._broker.logs[number]
        self._reading.owned[number] = partition
        ready_at = self._scheduler.now + self._link.resume
        self._reading.fetches[number] = Fetch(partition.position, ready_at, held.end, held.topic_id)
        self._witness.assigned(self._process, partition, number, partition.position, committed)
        if self._watch is not None:
            self._watch.map_cut(
                partition, held.end if partition.already_settled else partition.position
            )

    def _look_up(self, numbers: list[int]) -> dict[int, tuple[int, str] | None] | None:
        """Return what is committed, as it was when the broker answered; None: the process stops
        first.
        """
        pause, longest = LOOK_UP_PAUSE
        while not self._listener.stopping:
            self._process.step("look-up")
            self._listener.on_waiting()
            self._process.sleep(self._client.latency())
            if self._client.reachable:
                unknown = [number for number in numbers if self._unknown(number)]
                if len(unknown) < len(numbers):
                    found = {n: self._broker.committed.get(n) for n in numbers if n not in unknown}
                    self._process.sleep(self._client.latency())
                    return found
                return {}
            self._process.sleep(pause)
            pause = min(2 * pause, longest)
        return None

    def _unknown(self, number: int) -> bool:
        """Return whether the broker cannot say where a partition is to begin."""
        now, link = self._scheduler.now, self._link
        if number in self._broker.deleted or now < link.no_commit_until.get(number, 0.0):
            return True
        return number not in self._broker.committed and now < link.no_start_until.get(number, 0.0)

    def _partition(self, number: int, committed: tuple[int, str] | None) -> Partition:
        held = self._broker.logs[number]
        if committed is None:
            later = any(other != number for other in self._broker.committed)
            start = held.begin if self._start_from == "earliest" or later else held.end
            return Partition(held.topic, number, start, None)
        offset, metadata = committed
        if self._broker.committed_of.get(number, 0) != held.topic_id:
            return Partition(held.topic, number, held.begin, None)
        already_settled: SettledMap = NOTHING
        with suppress(MapError):
            already_settled = decode(metadata, number, offset)
        if already_settled.end > held.end:
            runs = [
                (start, min(end, held.end))
                for start, end in already_settled.beyond(offset)
                if start < held.end
            ]
            already_settled = SettledMap(runs)
        origin = Origin(epoch=origin_of(metadata).epoch)
        return Partition(held.topic, number, offset, offset, already_settled, metadata, origin)

    def on_revoke(self, member: str, numbers: list[int]) -> None:
        """Give up partitions: the owner first, then tell the coordinator."""
        self.gone(numbers, lost=member != self._membership.member)  # thrown out since it was told
        self._give_up(member, numbers)

    def _give_up(self, member: str, numbers: list[int]) -> None:
        """Tell the coordinator; while it cannot be reached, again and again."""
        if self._client.reachable:
            self._group.gave_up(member, numbers)
        elif member == self._membership.member:
            self._process.thread(0.5, lambda: self._give_up(member, numbers))

    def gone(self, numbers: list[int], *, lost: bool) -> None:
        """Take partitions from the owner; ``lost``: the group has taken them already."""
        partitions = [
            self._reading.owned[number] for number in numbers if number in self._reading.owned
        ]
        self._starts_awaited.difference_update(range(len(self._broker.logs)) if lost else numbers)
        self._process.step("revoke")
        self._witness.leaving(self._process, partitions, lost=lost)
        self.revoking = True
        try:
            self._listener.on_revoked(partitions, lost=lost)
        except Exception as error:
            log.info("a fault in a revocation: %s", error)
            for partition in partitions:
                partition.owned = False
            self._broken()
        self.revoking = False
        self._process.step("revoked")
        for partition in partitions:
            self._reading.forget(partition)
        self._witness.gone(self._process, partitions)

    def begin_anew(self, partition: Partition, start: int) -> None:
        """Lose a partition and get it again at an offset: what was read cannot be committed any
        more.
        """
        number = partition.number
        awaited = set(self._starts_awaited)
        self.gone([number], lost=True)
        self._starts_awaited |= awaited - {number}
        fresh = Partition(partition.topic, number, start, None)
        self._own(fresh, None)
        self._begun([fresh])

    def _begun(self, partitions: list[Partition]) -> None:
        """Tell that partitions of the group begin now, which it gave before.

        The share of the requests has changed; it is no sign of the group.
        """
        self._listener.on_begun(partitions)
        self._counted_in, self._count_at = None, 0.0

    def _count(self) -> None:
        """Count the group's partitions, if it has rebalanced since they were counted."""
        self._count_at = self._scheduler.now + COUNT
        if (
            not self._membership.member
            or not self._reading.owned
            or self._counted_in == self._membership.generation
        ):
            return
        if not self._client.reachable or self._scheduler.now < self._link.no_count_until:
            self._count_at = self._scheduler.now + COUNT_PAUSE
            self._listener.on_counted({})
            return
        counts: dict[str, int] = {}
        for number, held in enumerate(self._broker.logs):
            counts[held.topic] = number + 1
        self._counted_in = self._membership.generation
        self._listener.on_counted(counts)
