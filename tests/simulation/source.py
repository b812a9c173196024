"""The simulated source: ``consumer.adapters.kafka.source``, as far as the owner loop can tell.

It is all in the owner's hands but what a background thread of librdkafka does, which is in the
parts: ``client_membership`` and ``client_connection``.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from consumer.core.offsets.commits import Commit
from consumer.core.offsets.partition import Partition
from consumer.errors import UserError
from consumer.loop.ports import Listener
from tests.simulation.broker import Broker, Message
from tests.simulation.client_assignment import Assignment
from tests.simulation.client_commits import Commits
from tests.simulation.client_connection import CommitConnection
from tests.simulation.client_membership import Membership
from tests.simulation.client_reading import Reading
from tests.simulation.client_state import ClientPart, ClientState, Link
from tests.simulation.group import Group
from tests.simulation.group_watch import GroupWatch
from tests.simulation.process import Process
from tests.simulation.witness import Witness


class SimSource(ClientPart):
    """One member's client."""

    def __init__(
        self,
        process: Process,
        listener: Listener,
        broker: Broker,
        group: Group,
        rng: random.Random,
        *,
        link: Link | None = None,
        start_from: str = "earliest",
        instance: str = "",
        max_poll: float = 300.0,
        witness: Witness | None = None,
        watch: GroupWatch | None = None,
        on_out_of_range: Callable[[], str] = lambda: "stop",
        fault_at: int = 0,
    ) -> None:
        client = ClientState(
            process, broker, group, rng, link or Link(), witness or Witness(), watch
        )
        super().__init__(client)
        self._listener = listener
        #: Commits inside a revocation until one of them fails with a fault of the program.
        self._fault_at = fault_at
        self._fatal: UserError | None = None
        self._raised = False
        self.paused = False
        #: Partitions whose start is not known yet: here none.
        self.awaiting: dict[tuple[str, int], float] = {}
        self.unknown: set[tuple[str, int]] = set()
        self.lasting: list[tuple[float, str]] = []
        self.away: tuple[float, str] | None = None
        self._reading = Reading(
            client, on_out_of_range, lambda *at: self._assignment.begin_anew(*at)
        )
        self.stopped = self._reading.stopped
        self._membership = Membership(
            client,
            self,
            instance,
            max_poll,
            self._fence,
            lambda: self._connection.take_in_buffered(),
        )
        self._connection = CommitConnection(client, self._membership)
        self._commits = Commits(client, listener, self._reading, self._membership, self._connection)
        self._assignment = Assignment(
            client, listener, self._reading, self._membership, start_from, self._break
        )
        process.on_thaw.append(self._membership.thawed)

    # -- what the owner loop calls ---------------------------------------------------------------

    def subscribe(self) -> None:
        """Join the group."""
        self._process.step("subscribe")
        self._membership.subscribe()

    def poll(self, count: int) -> list[tuple[Partition, list[Message]]]:
        """Serve the callbacks; then return what has arrived, at most ``count`` records.

        They come by partition and in order.
        """
        self._process.step("poll")
        self._witness.polled(self._process)
        if self._fatal is not None and not self._raised:
            self._raised = True
            raise self._fatal
        self._membership.polled_at = self._scheduler.now
        if self._watch is not None:
            asks = (
                self._client.reachable
                and bool(self._membership.member and self._reading.owned)
                and not (self._commits.committing or self._client.ops)
            )
            self._watch.polled(self._process, can_ask=asks and not self._listener.stopping)
        self._serve()
        batches = self._reading.take(count)
        self._assignment.count_due()
        return batches

    def pause(self) -> None:
        self.paused = self._reading.paused = True

    def resume(self) -> None:
        self.paused = self._reading.paused = False
        self._reading.read_later(self._reading.owned)

    def set_paused(self, partition: Partition, *, paused: bool) -> None:
        self._reading.hold(partition, held=paused)

    @property
    def committing(self) -> bool:
        return self._commits.committing

    def commit(self, commits: list[Commit]) -> None:
        """Send a commit; how it ended is told inside a poll."""
        self._process.step("commit")
        self._witness.committing(
            self._process, [(c.partition, c.offset, c.metadata) for c in commits]
        )
        self._commits.send(commits)
        self._process.step("committed")

    def commit_and_wait(self, commits: list[Commit]) -> bool:
        """Commit, and ask until the group has it, five seconds at most; return whether it has."""
        if not commits:
            return True
        client = self._client
        client.process.step("last commit")
        if self._assignment.revoking and self._fault_at:
            self._fault_at -= 1
            if not self._fault_at:
                if client.watch is not None:
                    client.watch.faulted(client.process)
                raise RuntimeError("a fault in the program, inside a revocation")
        return self._commits.send_and_wait(commits)

    def end(self, partition: Partition) -> int | None:
        fetch = self._reading.fetches.get(partition.number)
        return None if fetch is None else fetch.known_end

    def close(self, timeout: float) -> bool:
        """Leave the group."""
        self._process.step("close")
        self._membership.close()
        self._assignment.gone(list(self._reading.owned), lost=not self._membership.member)
        self._process.sleep(self._client.latency())
        if not self._client.reachable:
            self._process.sleep(timeout)
        self._membership.leave()
        return self._client.reachable

    # -- what the world and the coordinator ask and tell -----------------------------------------

    @property
    def member(self) -> str:
        """Return its id in the group; empty: it is no member."""
        return self._membership.member

    @property
    def closed(self) -> bool:
        """Return whether it has left the group, or has tried to."""
        return self._membership.closed

    def position(self, number: int) -> int | None:
        """Return where it reads a partition on; None: it does not."""
        fetch = self._reading.fetches.get(number)
        return None if fetch is None else fetch.position

    def arrived(self, number: int) -> None:
        """Let a client that waits for a partition get what was written to it."""
        if number in self._reading.fetches:
            self._process.wake(self._rng.uniform(0.0, 0.005))

    def told(self, member: str, what: str, numbers: list[int], generation: int) -> None:
        """Let librdkafka's thread hear the coordinator; the next poll serves what it says."""
        self._membership.told(member, what, numbers, generation)

    def joined(self) -> None:
        """Take in that the joining is answered."""
        self._connection.joined()

    def replaced(self) -> None:
        """Take in that another member has its instance id."""
        self._membership.replaced()

    def disconnected(self) -> None:
        """Break the connection to the coordinator."""
        self._connection.disconnected()

    def connected(self) -> None:
        """Connect to the coordinator again."""
        self._connection.connected()

    def cut(self) -> None:
        """Cut the way to the broker, from here alone."""
        if not self._client.cut and self._process.alive:
            self._client.cut = True
            self._connection.disconnected()
            self._membership.cut()

    def mend(self) -> None:
        """Mend it."""
        if self._client.cut:
            self._client.cut = False
            self._membership.mend()
            self._connection.connected()

    # -- what a poll serves ----------------------------------------------------------------------

    def _serve(self) -> None:
        while self._client.ops:
            what, more = self._client.ops.popleft()
            if what == "answer":
                self._commits.on_answer(*more)
            elif what == "lost":
                if self._reading.owned:
                    self._assignment.gone(list(self._reading.owned), lost=True)
                self._membership.join_soon()
            elif what == "revoke":
                # Also when it is no member any more: what waited is told, and the rest of the loss
                # behind it.
                self._assignment.on_revoke(*more)
            elif more[0] == self._membership.member and what == "epoch":
                self._listener.on_joined()
            elif more[0] == self._membership.member and what == "start":
                self._assignment.ask_starts(more[1])
            elif more[0] == self._membership.member:
                self._assignment.on_assign(more[1])

    def _fence(self) -> None:
        self._fatal = UserError("Kafka: FENCED_INSTANCE_ID: this member cannot go on")
        self._process.wake()

    def _break(self) -> None:
        self._fatal = UserError("Kafka: a fault in the program; see the log above")
