"""A simulated coordinator of the ``consumer`` group protocol (KIP-848).

The coordinator says what each member is to own and brings the members there one by one, with the
answers to their heartbeats: a member first gives up what it is not to own any more, then it is at
the group's epoch, and then it is given what others have given up. Nobody waits for the others. A
commit that carries another epoch than the member has is refused. A static member that was killed
keeps its id until its session has ended.
"""

from __future__ import annotations

from tests.simulation.group import Group
from tests.simulation.group_member import Client, Member

#: How long an answer to a heartbeat is on its way, seconds.
ANSWER = (0.001, 0.05)


class ConsumerGroup(Group):
    """The coordinator; ``generation`` is the group's epoch."""

    def join(self, client: Client, instance: str = "") -> str:
        """Let a member join; return its id.

        Empty: another one has its instance id, and that is not released.
        """
        before = next(
            (m for m in self.members.values() if instance and m.instance == instance), None
        )
        if before is not None and not before.left:
            return ""
        self._joined += 1
        member = Member(f"m{self._joined}", client, instance)
        self.members[member.id] = member
        if before is None:
            self._changed()
            return member.id
        self._forget(before)
        member.target = before.target
        self._heartbeat(member)
        return member.id

    def leave(self, member_id: str) -> None:
        """Let a member leave.

        The partitions of a static one are kept for a session, for who comes with its id.
        """
        member = self.members.get(member_id)
        if member is None:
            return
        if member.instance:
            member.left = True
            member.owned.clear()
            member.revoking.clear()
            self.silent(member_id)
        else:
            self._forget(member)
            self._changed()

    def heard(self, member_id: str) -> bool:
        """Take in that a heartbeat comes again; return whether it is a member still."""
        known = super().heard(member_id)
        if known:
            self._heartbeat(self.members[member_id])
        return known

    def _given_up(self, member: Member, numbers: list[int]) -> None:
        self._heartbeat(member)
        for other in self.members.values():
            if other is not member and other.target & set(numbers):
                self._heartbeat(other)

    def refuses(self, member_id: str, generation: int) -> str | None:
        """Return why a commit is refused, or None."""
        member = self.members.get(member_id)
        if member is None:
            return "UNKNOWN_MEMBER_ID"
        return None if generation == member.epoch else "STALE_MEMBER_EPOCH"

    def joining(self, member_id: str) -> bool:
        """Return False: no request of this protocol waits for other members."""
        return False

    def shuffle(self) -> bool:
        """Let owners give up some partitions, to be given on or back; return whether there were
        any.
        """
        owners = [m for m in self.members.values() if m.owned and not m.revoking and not m.silent]
        if not owners or self.away:
            return False
        self.generation += 1
        for member in self._rng.sample(owners, self._rng.randint(1, len(owners))):
            owned = sorted(member.owned)
            member.target -= set(self._rng.sample(owned, self._rng.randint(1, len(owned))))
            self._heartbeat(member)
        self._scheduler.after(self._rng.uniform(0.5, 3.0), self._changed)
        return True

    # -- bringing the members to where they are to be --------------------------------------------

    def _soon(self) -> None:
        self._changed()

    def _changed(self) -> None:
        """Decide anew who is to own what."""
        if self.away:
            return  # when it is back, that comes back here
        self.generation += 1
        self.rebalances += 1
        wanted = self._targets()
        for member in list(self.members.values()):
            member.target = wanted[member.id]
            self._heartbeat(member)

    def _heartbeat(self, member: Member) -> None:
        wait = self._rng.uniform(0.02, self.heartbeat)
        self._scheduler.after(wait, lambda: self._reconcile(member))

    def _reconcile(self, member: Member) -> None:
        """Answer a member's heartbeat."""
        if (
            self.members.get(member.id) is not member
            or self.away
            or member.silent
            or member.revoking
        ):
            return
        surplus = member.owned - member.target
        if surplus:
            self._revoke(member, sorted(surplus))
            return
        fresh = member.target - set().union(*(m.owned for m in self.members.values()))
        moved, member.epoch = member.epoch != self.generation, self.generation
        member.owned |= fresh
        if fresh:
            self._tell(member, "assign", sorted(fresh))
        elif moved:
            self._tell(member, "epoch", [])

    def _tell(self, member: Member, what: str, numbers: list[int]) -> None:
        epoch = member.epoch
        at = max(member.told_at, self._scheduler.now + self._rng.uniform(*ANSWER))
        member.told_at = at
        self._scheduler.at(at, lambda: member.client.told(member.id, what, numbers, epoch))
