"""A simulated group coordinator: members, sessions, generations, and who owns which partition.

What a member can notice of Kafka's protocols is modelled, their requests are not. A rebalance waits
for members that are silent or still in a callback. A partition is given on only when its owner gave
it up or was thrown out. Each rebalance has a new generation, and a commit of another one is
refused. A commit of a partition that another member owns is not: the broker does not fence by
partition.
"""

from __future__ import annotations

import random

from tests.simulation.group_member import Client, Member
from tests.simulation.scheduler import Event, Scheduler


class Group:
    """The coordinator; times in seconds.

    ``eager``: a rebalance takes all partitions from all members first.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        partitions: int,
        rng: random.Random,
        *,
        session: float,
        heartbeat: float,
        eager: bool = False,
    ) -> None:
        self._scheduler = scheduler
        self._partitions = partitions
        self._rng = rng
        self.session = session
        self.heartbeat = heartbeat
        self.eager = eager
        self.members: dict[str, Member] = {}  #: in the order they joined
        self.generation = 0
        self.rebalances = 0
        self.away = False
        self._due: Event | None = None
        self._waits = False  # a rebalance is wanted, and waits for a member
        self._joined = 0
        self._fenced: set[str] = set()  # ids of static members that were replaced

    # -- what clients do -------------------------------------------------------------------------

    def join(self, client: Client, instance: str = "") -> str:
        """Let a member join; return its id.

        One with the ``instance`` of an earlier one takes its place, without a rebalance.
        """
        self._joined += 1
        member = Member(f"m{self._joined}", client, instance)
        before = next(
            (m for m in self.members.values() if instance and m.instance == instance), None
        )
        self.members[member.id] = member
        if before is None:
            self._soon()
            return member.id
        self._fenced.add(before.id)
        before.client.replaced()
        self._forget(before)
        member.owned = before.owned
        self._tell(member, "assign", sorted(member.owned))
        if before.revoking or self._waits:
            self._soon()
        return member.id

    def leave(self, member_id: str) -> None:
        """Let a member leave; a static one only falls silent."""
        member = self.members.get(member_id)
        if member is None:
            return
        if member.instance:
            self.silent(member_id)
        else:
            self._forget(member)
            self._soon()

    def silent(self, member_id: str, since: float = 0.0) -> None:
        """Take in that no heartbeat comes any more.

        The member is thrown out a session time-out after the last, ``since`` seconds ago.
        """
        member = self.members.get(member_id)
        if member is not None and not member.silent:
            member.silent = True
            self._expect(member, self.session - since)

    def _expect(self, member: Member, seconds: float) -> None:
        if not self.away:
            member.expires = self._scheduler.after(seconds, lambda: self._expire(member))

    def heard(self, member_id: str) -> bool:
        """Take in that a heartbeat comes again; return whether it is a member still."""
        member = self.members.get(member_id)
        if member is None:
            return False
        member.silent = False
        if member.expires is not None:
            member.expires.cancel()
            member.expires = None
        if self._waits:
            self._soon()
        return True

    def gave_up(self, member_id: str, numbers: list[int]) -> None:
        """Take in that a member has given up partitions, as it was told."""
        member = self.members.get(member_id)
        if member is None:
            return
        member.owned.difference_update(numbers)
        member.revoking.difference_update(numbers)
        self._given_up(member, numbers)

    def _given_up(self, member: Member, numbers: list[int]) -> None:
        """Make a member's partitions free for others."""
        self._soon()

    def refuses(self, member_id: str, generation: int) -> str | None:
        """Return why a commit is refused, or None: then it counts as a heartbeat, too."""
        if member_id in self._fenced:
            return "FENCED_INSTANCE_ID"
        member = self.members.get(member_id)
        if member is None:
            return "UNKNOWN_MEMBER_ID"
        if generation != self.generation:
            return "ILLEGAL_GENERATION"
        if member.expires is not None:
            member.expires.cancel()
            self._expect(member, self.session)
        return None

    def fenced(self, member_id: str) -> bool:
        """Return whether another member has come with its instance id."""
        return member_id in self._fenced

    def joining(self, member_id: str) -> bool:
        """Return whether a member waits for the answer to its joining.

        A broker answers the requests of a connection in their order. So what the member sends
        meanwhile waits, too.
        """
        member = self.members.get(member_id)
        return (
            self._waits
            and not self.away
            and member is not None
            and not (member.silent or member.revoking)
        )

    def grow(self) -> None:
        """Add one more partition."""
        self._partitions += 1
        self._soon()

    def owner(self, number: int) -> str | None:
        """Return the id of the member that owns a partition."""
        return next((m.id for m in self.members.values() if number in m.owned), None)

    # -- what happens to the group ---------------------------------------------------------------

    def shuffle(self) -> bool:
        """Take some partitions from their owners, to be given on or back; return whether there were
        any.
        """
        owners = [m for m in self.members.values() if m.owned and not m.revoking and not m.silent]
        if not owners or self._held_up():
            return False
        for member in self._rng.sample(owners, self._rng.randint(1, len(owners))):
            owned = sorted(member.owned)
            self._revoke(member, self._rng.sample(owned, self._rng.randint(1, len(owned))))
        return True

    def go_away(self) -> None:
        """Be away: nobody is thrown out, nothing is rebalanced."""
        self.away = True
        for member in self.members.values():
            if member.expires is not None:
                member.expires.cancel()
                member.expires = None

    def come_back(self) -> None:
        """Be there again: every member has a whole session time-out to be heard of."""
        self.away = False
        for member in self.members.values():
            if member.silent:
                self._expect(member, self.session)
        self._soon()

    def expire(self, member_id: str) -> None:
        """Put a member out of the group."""
        self._expire(self.members[member_id])

    def _expire(self, member: Member) -> None:
        if self.members.get(member.id) is member:
            self._forget(member)
            self._soon()

    def _forget(self, member: Member) -> None:
        del self.members[member.id]
        if member.expires is not None:
            member.expires.cancel()

    # -- rebalances ------------------------------------------------------------------------------

    def _soon(self) -> None:
        if self._due is None:
            self._due = self._scheduler.after(
                self._rng.uniform(0.02, self.heartbeat), self._rebalance
            )

    def _held_up(self) -> bool:
        """Return whether a member cannot take part yet."""
        return self.away or any(m.silent or m.revoking for m in self.members.values())

    def _rebalance(self) -> None:
        self._due = None
        self._waits = True
        if self._held_up():
            return  # whatever ends that comes back here
        if self.eager and any(m.owned for m in self.members.values()):
            wanted = self._targets()
            if any(wanted[m.id] != m.owned for m in self.members.values()):
                for member in self.members.values():
                    if member.owned:
                        self._revoke(member, sorted(member.owned))
                return
        self._waits = False
        self.generation += 1
        self.rebalances += 1
        for member in self.members.values():
            member.client.joined()
        wanted = self._targets()
        owned = set().union(*(m.owned for m in self.members.values()))
        for member in self.members.values():
            surplus = member.owned - wanted[member.id]
            fresh = wanted[member.id] - owned
            member.owned |= fresh
            self._tell(member, "assign", sorted(fresh))
            if surplus:
                self._revoke(member, sorted(surplus))

    def _targets(self) -> dict[str, set[int]]:
        """Return who is to own what: balanced, and sticky up to each member's share."""
        # stable: else as they joined
        members = sorted(self.members.values(), key=lambda m: -len(m.owned))
        if not members:
            return {}
        share, more = divmod(self._partitions, len(members))
        wanted: dict[str, set[int]] = {}
        room: list[str] = []
        for place, member in enumerate(members):
            quota = share + (place < more)
            wanted[member.id] = set(sorted(member.owned)[:quota])
            room += [member.id] * (quota - len(wanted[member.id]))
        free = [
            n for n in range(self._partitions) if not any(n in kept for kept in wanted.values())
        ]
        self._rng.shuffle(room)
        for number, member_id in zip(free, room, strict=True):
            wanted[member_id].add(number)
        return wanted

    def _revoke(self, member: Member, numbers: list[int]) -> None:
        member.revoking.update(numbers)
        self._tell(member, "revoke", sorted(numbers))

    def _tell(self, member: Member, what: str, numbers: list[int]) -> None:
        """Tell a member something: it arrives a little later, in the order in which it was said."""
        generation = self.generation
        at = max(member.told_at, self._scheduler.now + self._rng.uniform(0.001, self.heartbeat / 2))
        member.told_at = at
        self._scheduler.at(at, lambda: member.client.told(member.id, what, numbers, generation))
