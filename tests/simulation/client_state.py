"""The state that the parts of one simulated client share: its way to the broker, and its polls."""

from __future__ import annotations

import random
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from tests.simulation.broker import Broker
from tests.simulation.group import Group
from tests.simulation.group_watch import GroupWatch
from tests.simulation.process import Process
from tests.simulation.witness import Witness


@dataclass
class Link:
    """The way to the broker, decided by a seed; times in seconds, shares from 0 to 1."""

    latency: tuple[float, float] = (0.001, 0.02)
    commit_latency: tuple[float, float] = (0.001, 0.02)
    commits_fail: float = 0.0  #: commits that the broker refuses with a passing error
    commits_vanish: float = 0.0  #: commits that never arrive
    answers_vanish: float = 0.0  #: commits that are taken, and whose answer is lost
    #: Commits that never arrive, and of which the client never tells.
    commits_forgotten: float = 0.0
    resume: float = 0.2  #: before a partition is read (on) after it was assigned or resumed
    no_count_until: float = 0.0  #: the partitions cannot be counted until then
    #: Where it begins and ends is not told until then.
    no_start_until: dict[int, float] = field(default_factory=dict)
    no_commit_until: dict[int, float] = field(default_factory=dict)  #: nor what is committed of it


@dataclass(eq=False)
class ClientState:
    """The surroundings of one client, and whether it reaches the broker."""

    process: Process
    broker: Broker
    group: Group
    rng: random.Random
    link: Link
    witness: Witness
    watch: GroupWatch | None
    cut: bool = False  #: the broker cannot be reached from here
    #: What the next poll serves.
    ops: deque[tuple[str, Any]] = field(default_factory=deque)

    @property
    def reachable(self) -> bool:
        """Return whether the broker can be reached."""
        return not self.cut and not self.broker.away

    def latency(self) -> float:
        """Draw how long a request takes, seconds."""
        return self.rng.uniform(*self.link.latency)

    def queue(self, what: str, more: Any) -> None:
        """Let the next poll serve something, and the owner poll soon."""
        self.ops.append((what, more))
        self.process.wake(self.rng.uniform(0.0, 0.005))


class ClientPart:
    """One concern of a client, with the client's surroundings at hand."""

    def __init__(self, client: ClientState) -> None:
        self._client = client
        self._process = client.process
        self._scheduler = client.process.scheduler
        self._broker = client.broker
        self._group = client.group
        self._rng = client.rng
        self._link = client.link
        self._witness = client.witness
        self._watch = client.watch
