"""The seeded driver: its plan of kills, halts, stops, restarts of the broker, and cut connections.

One thread. What is done, and to whom, follows from the seed; when exactly, from the machine. What
was done is written down with its times, for the judge.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Sequence

from tests.chaos.actions import Actions, say
from tests.chaos.decks import DECK, LONG_SESSION_DECK, SHORT, SHORT_THEN
from tests.chaos.stage import GROUP, SLOTS, Stage
from tests.support.process import wait_until

#: With something published and something alive, a row is applied at least this often.
PROGRESS_SECONDS = 120.0
PROTOCOLS = ("classic", "consumer")


class Driver(Actions):
    """Does what its plan says."""

    def __init__(self, stage: Stage, seed: int) -> None:
        super().__init__(stage, seed)
        order = random.Random(f"group {seed}")
        #: Each run has a part with each protocol, and static members beside others in both.
        self.protocols = PROTOCOLS if seed % 2 == 0 else PROTOCOLS[::-1]
        stage.protocol = self.protocols[0]
        stage.static = frozenset(order.sample(range(SLOTS), order.choice((1, 2))))

    @property
    def faults(self) -> Counter[str]:
        """Return how often each fault of the API fired."""
        return self._weather.faults

    def begin(self, count: int) -> None:
        """Start the first members, and wait for the first row."""
        self._weather.calm = False
        for slot in range(count):
            self._members[slot] = self.stage.start_member(slot)
        self._wait_for_rows(1)
        self._weather.change()

    def short(self) -> None:
        """Run one round in a fixed order; some work is done between any two actions."""
        self._round(SHORT)
        self._change_protocol()
        self._round(SHORT_THEN)

    def _round(self, actions: Sequence[str]) -> None:
        for action in actions:
            wait_until(self._somebody_stands, PROGRESS_SECONDS, lambda: "no member is up")
            self._do(action)
            self._wait_for_rows(100)

    def long(self, seconds: float) -> None:
        """Run shuffled rounds, half of the time with each protocol."""
        self._rounds(seconds / 2)
        self._change_protocol()
        self._rounds(seconds / 2)

    def _rounds(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while True:
            deck = list(DECK if self.stage.protocol == "classic" else LONG_SESSION_DECK)
            self._rng.shuffle(deck)
            for action in deck:
                if time.monotonic() > until:
                    return
                self._do(action)
                self._pass(self._rng.uniform(0.5, 7.0))

    def _change_protocol(self) -> None:
        """Stop all, and go on with the other protocol.

        Before that the group has no members any more, static ones included.
        """
        self._heal()
        count = max(2, len(self._members))
        self.dismiss()
        wait_until(
            lambda: not self.stage.kafka.members(GROUP),
            2 * self.stage.session + 30,
            lambda: "members stay",
        )
        self.stage.protocol = self.protocols[1]
        say(f"protocol {self.stage.protocol}")
        self.begin(count)

    def settle(self) -> None:
        """Switch all faults off and everything on, with at least one healthy member."""
        self._heal()
        if not self._members:
            self._members[0] = self.stage.start_member(0)

    def _heal(self) -> None:
        self._weather.calm = True
        while self._later or any(member.ending is not None for member in self._members.values()):
            self._tick()
            time.sleep(0.05)
        for proxy in self.stage.to_kafka:
            proxy.mend()
        for member in self._members.values():
            member.to_api.mend()
        self._weather.clear()

    def dismiss(self) -> None:
        """Stop every member in order, and say what did not end well."""
        for member in self.members():
            self._stop(member)
        while self._members:
            self._tick()
            time.sleep(0.05)

    def watch_over(self) -> None:
        """Act where it is time; called now and then while something else is waited for."""
        self._tick()

    def _wait_for_rows(self, more: int) -> None:
        """Wait until so many more rows are applied: what the next action disturbs is at work."""
        begin = self.applied()

        def done() -> bool:
            self._tick()
            return self.applied() >= begin + more

        wait_until(
            done, PROGRESS_SECONDS, lambda: f"{self.applied() - begin} rows applied, {more} awaited"
        )

    def applied(self) -> int:
        """Return the rows that the API has applied so far."""
        return int(self.stage.sandbox.stats()["rows_applied"])
