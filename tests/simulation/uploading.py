"""The seed's decisions about the API and uploads, beyond the usual troubles; drawn apart from
those.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from tests.simulation.api_faults import TELLING_NOTHING
from tests.simulation.happening import Happening

if TYPE_CHECKING:
    from tests.simulation.plan import Scenario

#: The share of the seeds in which each is so.
SHARES = {
    "documents": 0.25,
    "pairs": 0.15,
    "receipts": 0.25,
    "telling nothing": 0.35,
    "quiet": 0.35,
    "turmoil": 0.45,
    "narrow": 0.7,
    "odd": 0.2,
    "lines": 0.2,
    "me": 0.25,
}
#: Of those with tasks.
SHARES_OF_TASKS = {
    "long tasks": 0.6,
    "broken tasks": 0.9,
    "contradictory tasks": 0.6,
    "stuck tasks": 0.8,
}


@dataclass(frozen=True)
class Ending:
    """The end of a run, once nothing goes wrong any more."""

    quiet: bool = False  #: nothing else arrives
    poison: str = ""  #: but one last window, with a row of this kind in it
    stuck: bool = False  #: tasks do not end at first
    #: so many good rows arrive at once, after the API has taken small windows only for a while
    burst: int = 0


def plan_uploading(plan: Scenario) -> None:
    """Decide what the API and the uploads are like."""
    rng = random.Random(f"uploading {plan.seed}")
    chosen = {name for name, share in SHARES.items() if rng.random() < share}
    if plan.tasks:
        chosen |= {name for name, share in SHARES_OF_TASKS.items() if rng.random() < share}
    plan.troubles += sorted(chosen)
    # Without room for other rows, nothing shows whose fault it is that some fail
    # (docs/simulation.md).
    roomy = not {"tight", "map"} & set(plan.troubles)
    _records(plan, rng, chosen)
    _rows(plan, rng, chosen, roomy=roomy)
    _times(plan, rng, chosen, roomy=roomy)
    stuck = "stuck tasks" in chosen and roomy
    burst = 0
    if "narrow" in chosen and "turmoil" not in chosen and plan.rules.max_rows < 5:
        plan.rules = msgspec.structs.replace(plan.rules, max_rows=10)
    if "narrow" in chosen and roomy and plan.rules.max_rows >= 5:
        for _ in range(2):
            _for_a_while(plan, rng, "most rows", 1, longest=30.0)
        burst = 0 if stuck else 30 * plan.rules.max_rows
    if plan.tasks:
        _tasks(plan, chosen, stuck=stuck)
    quiet = "quiet" in chosen
    poison = rng.choice((*TELLING_NOTHING, *2 * ("cursed", "timed out"))) if quiet and roomy else ""
    if poison:
        _give_up(plan, rng)
    plan.ending = Ending(quiet, poison, stuck, burst)


def _records(plan: Scenario, rng: random.Random, chosen: set[str]) -> None:
    """Decide on records of several rows, and a receipt for each row."""
    mix = plan.mix
    if "documents" in chosen:
        mix.documents = rng.choice((0.1, 0.3, 0.6))
    if "pairs" in chosen:
        mix.pairs = max(mix.pairs, rng.choice((0.1, 0.3)))
    if "receipts" in chosen:
        plan.rules = msgspec.structs.replace(plan.rules, receipts=True)
        if rng.random() < 0.6:
            away = rng.uniform(0.5, 15.0)
            plan.happenings.append(Happening(rng.uniform(0.0, 20.0), "receipts away", more=away))


def _rows(plan: Scenario, rng: random.Random, chosen: set[str], *, roomy: bool) -> None:
    """Decide what the API has against rows, and how it counts lines."""
    mix, rules = plan.mix, plan.rules
    if "telling nothing" in chosen and roomy and mix.codes >= 10:
        # Only few: were there one in each window, nothing would tell them from an outage.
        few = rng.sample(TELLING_NOTHING, rng.randint(1, 3))
        mix.kinds = dict(mix.kinds) | {kind: rng.choice((0.005, 0.01)) for kind in few}
        _give_up(plan, rng)
    if "odd" in chosen and rules.max_rows > 1:
        mix.kinds = dict(mix.kinds) | {"odd": 0.03}
    if "lines" in chosen and rules.pause_after_rejections != 10:
        mix.kinds = dict(mix.kinds) | {rng.choice(("unknown", "refused")): 0.05}
        plan.faults.naming, plan.faults.first_line = ("line",), rng.choice((0, 2))


def _give_up(plan: Scenario, rng: random.Random) -> None:
    """Let rows that tell nothing be given up some time: else they would be tried for ever."""
    retry = plan.rules.retry
    if not retry.give_up:
        retry = msgspec.structs.replace(retry, give_up=rng.choice((10.0, 20.0)))
        plan.rules = msgspec.structs.replace(plan.rules, retry=retry)


def _times(plan: Scenario, rng: random.Random, chosen: set[str], *, roomy: bool) -> None:
    """Decide what the API is like for a while, or ``GET /me`` for ever."""
    if "turmoil" in chosen:
        for _ in range(rng.randint(2, 4)):
            _for_a_while(plan, rng, "api", "turmoil", longest=6.0)
        # many windows of one row in flight when a 401 comes
        if "odd" not in chosen and rng.random() < 0.7:
            plan.rules = msgspec.structs.replace(
                plan.rules, max_rows=1, concurrency=rng.choice((4, 8)), rate=0.0
            )
            plan.faults.latency = (0.2, 2.0)
    if "me" in chosen:
        plan.me_status = rng.choice((403, 404, 500))
        _for_a_while(plan, rng, "api", "unauthorized", longest=10.0)
        # rows that tell nothing fill the limits, and nothing else can show that the API is there
        if not roomy:
            plan.mix.kinds = {
                kind: share for kind, share in plan.mix.kinds.items() if kind != "cursed"
            }
    if "broken tasks" in chosen:
        for _ in range(2):
            _for_a_while(plan, rng, "tasks broken", True, longest=30.0)


def _tasks(plan: Scenario, chosen: set[str], *, stuck: bool) -> None:
    faults = plan.faults
    if "long tasks" in chosen:
        faults.task_seconds, faults.task_deadline = 40.0, 60.0
    if "contradictory tasks" in chosen:
        faults.contradict = 0.5
    if stuck:
        faults.task_deadline = 3600.0
        faults.task_ends = dict(faults.task_ends) | {"endless": 0.0}
    plan.rules = msgspec.structs.replace(plan.rules, task_deadline=faults.task_deadline)


def _for_a_while(plan: Scenario, rng: random.Random, what: str, how: Any, longest: float) -> None:
    more = (how, rng.uniform(longest / 6, longest))
    plan.happenings.append(
        Happening(rng.uniform(0.3, max(12.0, plan.publish_for)), what, more=more)
    )
