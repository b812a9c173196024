"""A member of the simulated group, and its client as the coordinator reaches it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from tests.simulation.scheduler import Event


class Client(Protocol):
    """A member's client, as the coordinator reaches it."""

    def told(self, member: str, what: str, numbers: list[int], generation: int) -> None:
        """Tell ``what`` (assign, revoke, epoch or lost) of these partitions, as of a generation."""

    def replaced(self) -> None:
        """Tell that another member has come with its instance id."""

    def joined(self) -> None:
        """Answer its joining, and what had to wait behind that on the same connection."""


@dataclass(eq=False)
class Member:
    """One member as the coordinator sees it."""

    id: str
    client: Client
    instance: str
    owned: set[int] = field(default_factory=set)
    #: It was told to give these up and has not done so yet.
    revoking: set[int] = field(default_factory=set)
    silent: bool = False  #: no heartbeat comes from it
    expires: Event | None = None
    told_at: float = 0.0  #: when what it was told last arrives
    epoch: int = 0  #: of the consumer protocol: as of which state of the group it owns what it owns
    target: set[int] = field(default_factory=set)  #: of the consumer protocol: what it is to own
    left: bool = False  #: a static member of the consumer protocol that has left: its id is free
