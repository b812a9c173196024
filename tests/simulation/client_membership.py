"""Membership of a simulated client: what librdkafka's thread does to be in the group."""

from __future__ import annotations

from collections.abc import Callable

from tests.simulation.client_state import ClientPart, ClientState
from tests.simulation.group_member import Client as Contact
from tests.simulation.scheduler import Event

#: Between two tries to join with an id that is not released, as the real one, seconds.
JOIN_AGAIN = 1.0


class Membership(ClientPart):
    """Joins, sends heartbeats, and learns that it is a member no more.

    ``fence``: called when another member has its instance id. ``on_thaw``: called when its process
    goes on after it stood still, or reaches the broker again.
    """

    def __init__(
        self,
        client: ClientState,
        contact: Contact,
        instance: str,
        max_poll: float,
        fence: Callable[[], object],
        on_thaw: Callable[[], object],
    ) -> None:
        super().__init__(client)
        self._contact = contact
        self._instance = instance
        self._max_poll = max_poll
        self.fence = fence
        self._on_thaw = on_thaw
        self.member = ""  #: id in the group; empty: none
        self.generation = 0
        self.closed = False
        self.polled_at = 0.0
        self._wants = False  # to be a member
        self._cut_timer: Event | None = None
        #: Said while the line was cut.
        self._unheard: list[tuple[str, str, list[int], int]] = []
        self._process.on_stop.append(
            lambda: self._group.silent(self.member, self._since_heartbeat())
        )

    def subscribe(self) -> None:
        """Be a member from now on."""
        self._wants = True
        self.polled_at = self._scheduler.now
        self.join_soon()
        self.watch_polls()

    def close(self) -> None:
        """Be one no more."""
        self._wants = False
        self.closed = True

    def told(self, member: str, what: str, numbers: list[int], generation: int) -> None:
        """Let librdkafka's thread hear the coordinator; the next poll serves what it says."""
        if self._client.cut:
            self._unheard.append((member, what, numbers, generation))
        else:
            self._process.thread(0.0, lambda: self._hear(member, what, numbers, generation))

    def _hear(self, member: str, what: str, numbers: list[int], generation: int) -> None:
        if member == self.member:
            self.generation = generation
            self._client.queue(what, (member, numbers))

    def join_soon(self) -> None:
        self._process.thread(self._rng.uniform(0.01, 0.2), self._join)

    def _join(self) -> None:
        if not self._wants or self.member:
            return
        if not self._client.reachable:
            self._process.thread(0.5, self._join)
            return
        self.member = self._group.join(self._contact, self._instance)
        if not self.member:  # its id is not released yet
            if self._watch is not None:
                self._watch.unreleased(self._process)
            self._process.thread(JOIN_AGAIN, self._join)

    def leave(self) -> None:
        if self._client.reachable:
            self._group.leave(self.member)
        else:
            self._group.silent(self.member)
        self.member = ""

    def lost(self, member: str) -> None:
        """Let the next poll tell the owner that it is this member no more, or cannot know that it
        is.
        """
        if member and member == self.member and not self.closed:
            self.member = ""
            self._client.queue("lost", None)

    def thawed(self) -> None:
        self._on_thaw()
        self._process.thread(self._rng.uniform(0.0, 0.05), self._beat)  # it is overdue

    def _beat(self) -> None:
        """Send a heartbeat after a silence; its answer says whether this is a member still."""
        if not self.member:
            return
        if not self._client.reachable:
            self._process.thread(self._group.heartbeat, self._beat)
        elif self._group.fenced(self.member):
            self._process.thread(self._client.latency(), self.fence)
        elif not self._group.heard(self.member):
            member = self.member
            self._process.thread(self._client.latency(), lambda: self.lost(member))

    def replaced(self) -> None:
        """Learn with the next heartbeat that another member has this instance id."""
        if self._watch is not None:
            self._watch.replaced(self._process)
        self._process.thread(self._rng.uniform(0.0, self._group.heartbeat), self._beat)

    def cut(self) -> None:
        """Take in that the broker cannot be reached from here."""
        since = self._since_heartbeat()
        self._group.silent(self.member, since)
        # librdkafka gives its partitions up by itself, a session time-out after the last answer to
        # a heartbeat.
        wait = self._group.session - since + self._client.latency()
        self._cut_timer = self._scheduler.after(
            wait, lambda: self._process.thread(0.0, self._silence)
        )

    def _since_heartbeat(self) -> float:
        """Draw how long ago the last heartbeat was."""
        return self._rng.uniform(0.0, self._group.heartbeat)

    def _silence(self) -> None:
        if self._client.cut:
            self.lost(self.member)

    def mend(self) -> None:
        """Take in that it can be reached again."""
        if self._cut_timer is not None:
            self._cut_timer.cancel()
        unheard, self._unheard = self._unheard, []
        for said in unheard:
            self.told(*said)
        if not self._process.frozen:
            self.thawed()

    def watch_polls(self) -> None:
        """Take an owner that does not poll for ``max_poll`` seconds out of the group."""
        if self.closed:
            return
        quiet = self._scheduler.now - self.polled_at
        if quiet >= self._max_poll and self.member:
            self._group.leave(self.member)
            self.lost(self.member)
        self._process.thread(max(0.1, self._max_poll - quiet), self.watch_polls)
