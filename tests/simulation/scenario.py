"""Scenarios: from one integer to settings, what is published and when, and what goes wrong."""

from __future__ import annotations

import random

import msgspec

from consumer.core.admission.retry import RetryPolicy
from consumer.core.pipeline import Rules
from tests.simulation.api_faults import MODES, Faults
from tests.simulation.happening import Happening
from tests.simulation.plan import Scenario
from tests.simulation.process import Strike
from tests.simulation.shape import shape
from tests.simulation.uploading import plan_uploading

#: What a process does between two effects, where it can be struck, with how often that happens in a
#: life, about.
STEPS = {
    "get": 300,
    "poll": 300,
    "send": 60,
    "sent": 60,
    "commit": 40,
    "committed": 40,
    "letter": 15,
    "ask": 2,
    "look-up": 2,
    "assigned": 2,
    "revoke": 2,
    "revoked": 2,
    "last commit": 2,
    "last committed": 2,
    "has committed": 2,
    "close": 1,
}
#: Everything that can go wrong, with its share of the seeds.
TROUBLES = {
    "kill": 0.35,
    "strike": 0.5,
    "stop": 0.25,
    "freeze": 0.3,
    "members": 0.3,
    "shuffle": 0.35,
    "cut": 0.15,
    "broker away": 0.15,
    "letters": 0.25,
    "api mode": 0.3,
    "busy": 0.35,
    "throttle": 0.3,
    "reset": 0.25,
    "answer lost": 0.3,
    "late": 0.35,
    "slow": 0.25,
    "garbage": 0.1,
    "odd 400": 0.12,
    "partial": 0.2,
    "unsent": 0.15,
    "twice": 0.3,
    "commits": 0.25,
    "kinds": 0.5,
    "map": 0.35,
    "tight": 0.2,
    "units": 0.35,
}
#: The share of the seeds in which updates by unit go as asynchronous tasks.
TASKS = 0.35


def scenario(seed: int) -> Scenario:
    """Return the scenario of a seed."""
    rng = random.Random(f"scenario {seed}")
    troubles = [name for name, share in TROUBLES.items() if rng.random() < share]
    max_processing = rng.choice((4.0, 7.0, 12.0))
    plan = Scenario(
        seed,
        partitions=rng.randint(1, 5),
        members=rng.choice((1, 1, 2, 2, 3)),
        eager=rng.random() < 0.2,
        static=rng.random() < 0.1,
        timeout=rng.choice((5.0, 8.0, 10.0)),
        revoke_seconds=rng.choice((0.2, 1.0, 15.0)),
        records=rng.randint(100, 400),
        publish_for=rng.choice((0.1, 5.0, 20.0, 30.0)),
        stretch=0.0 if seed % 100 == 50 else rng.choice((0.3, 1.0, 1.0)),
        troubles=troubles,
        rules=Rules(
            max_rows=rng.choice((1, 3, 5, 10, 20)),
            linger=rng.choice((0.0, 0.2, 1.0)),
            concurrency=rng.choice((1, 2, 4, 8)),
            rate=rng.choice((0.0, 0.0, 5.0, 20.0)),
            max_processing=max_processing,
            pause_after_rejections=rng.choice((0, 0, 10, 1000)),
            max_unsettled_rows=rng.choice((40, 150)) if "tight" in troubles else 20_000,
            max_unsettled_bytes=rng.choice((40_000.0, 200_000.0)) if "tight" in troubles else 1e8,
            retry=RetryPolicy(
                base=0.2,
                cap=rng.choice((1.0, 5.0)),
                max_retry_after=10.0,
                give_up=rng.choice((0.0, 10.0, 20.0)),
                unknown_key_grace=rng.choice((0.0, 0.0, 3.0, 20.0)),
            ),
        ),
    )
    _publishing(plan, rng)
    _network(plan, rng)
    _api(plan, rng, max_processing)
    shape(plan, random.Random(f"cluster {seed}"))
    _life(plan, rng)
    _tasks(plan, random.Random(f"tasks {seed}"))
    plan_uploading(plan)
    plan.happenings.sort(key=lambda happening: happening.at)
    return plan


def _publishing(plan: Scenario, rng: random.Random) -> None:
    mix = plan.mix
    mix.codes = rng.choice((3, 10, 30, 100))
    mix.shared = rng.choice((0.0, 0.1, 0.5))
    mix.shapes = rng.choice((1, 2))
    mix.gaps = rng.choice((0.0, 0.05, 0.3))
    if "units" in plan.troubles:
        mix.units, mix.joins, mix.pairs = rng.choice(
            ((0.1, 0.3, 0.0), (0.05, 0.2, 0.1), (0.2, 0.2, 0.2))
        )
    if "kinds" in plan.troubles:
        kinds = rng.sample(
            ("forbidden", "huge", "odd", "unknown", "refused", "cursed"), rng.randint(1, 3)
        )
        # Without room for other rows, nothing shows whose fault it is that these fail
        # (docs/simulation.md).
        if {"tight", "map"} & set(plan.troubles):
            kinds = [kind for kind in kinds if kind != "forbidden"]
        # The same, where all that there is room for may wait behind the one row that fails.
        if "map" in plan.troubles or ("tight" in plan.troubles and mix.codes < 10):
            kinds = [kind for kind in kinds if kind != "cursed"]
        if not plan.rules.retry.give_up and "cursed" in kinds:
            kinds.remove("cursed")  # it would be tried for ever
        # Few rows fail with a 500: were there one in each window, nothing would tell them from an
        # outage.
        mix.kinds = {kind: 0.01 if kind == "cursed" else rng.choice((0.01, 0.05)) for kind in kinds}
    if "map" in plan.troubles:
        # A map thirty times smaller, and reading in pieces that fit to it; at times a topic with
        # large gaps.
        plan.map_room, plan.batch = rng.choice((131, 171)), 40
        mix.gaps, mix.gap = rng.choice(((0.0, 1), (0.0, 1), (1.0, 30)))
        mix.codes = 100
        plan.publish_for = 0.1
        plan.partitions, plan.records = rng.choice((1, 2)), rng.randint(250, 400)
    if rng.random() < 0.2:
        mix.padding = 200


def _network(plan: Scenario, rng: random.Random) -> None:
    link, pace, writing = plan.link, plan.pace, plan.writing
    pace.timeout = plan.timeout
    link.resume = rng.choice((0.02, 0.2, 1.0))
    if rng.random() < 0.2:
        plan.start_from = "latest"
    if "commits" in plan.troubles:
        link.commit_latency = rng.choice(((0.001, 0.02), (0.1, 2.0), (0.5, 6.0)))
        link.commits_fail, link.commits_vanish, link.answers_vanish = (
            rng.choice((0.0, 0.2)) for _ in range(3)
        )
    if rng.random() < 0.1:
        plan.max_metadata = rng.choice((0, 100, 300))
    if "letters" in plan.troubles:
        writing.latency = rng.choice(((0.002, 0.05), (0.1, 3.0)))
        writing.acks_lost = rng.choice((0.0, 0.3))
        plan.happenings.append(
            Happening(rng.uniform(0.0, 20.0), "letters away", more=rng.uniform(1.0, 20.0))
        )
    if "twice" in plan.troubles:
        pace.twice = writing.twice = 0.2
    if "unsent" in plan.troubles:
        pace.unsent = 0.1
    if rng.random() < 0.2:
        pace.start = (0.0, rng.choice((0.01, 0.05)))


def _api(plan: Scenario, rng: random.Random, max_processing: float) -> None:
    shares: dict[str, float] = {}
    for fault in ("busy", "throttle", "reset", "answer lost", "late", "slow", "garbage", "odd 400"):
        if fault in plan.troubles:
            shares[fault] = rng.choice((0.02, 0.1, 0.2))
    if "partial" in plan.troubles:
        shares[rng.choice(("partial", "partial, not applied"))] = rng.choice((0.1, 0.3))
    plan.faults = Faults(
        latency=rng.choice(((0.02, 0.3), (0.2, 2.0))),
        shares=shares,
        max_processing=max_processing,
        naming=rng.choice(
            (("all",), ("first",), ("line",), ("none",), ("all", "first", "line", "none"))
        ),
    )
    if "api mode" in plan.troubles:
        for _ in range(rng.randint(1, 2)):
            mode = rng.choice([mode for mode in MODES if mode != "turmoil"])
            plan.happenings.append(
                Happening(rng.uniform(0.0, 25.0), "api", more=(mode, rng.uniform(0.5, 15.0)))
            )


def _life(plan: Scenario, rng: random.Random) -> None:
    def happen(what: str, count: tuple[int, int], longest: float = 0.0) -> None:
        for _ in range(rng.randint(*count)):
            at = rng.uniform(0.5, plan.trouble_for)
            plan.happenings.append(
                Happening(at, what, rng.randrange(plan.members), rng.uniform(0.0, longest))
            )

    if "kill" in plan.troubles:
        happen("kill", (1, 4))
    if "stop" in plan.troubles:
        happen("stop", (1, 3))
    if "freeze" in plan.troubles:
        happen("freeze", (1, 3), 2.5 * plan.session)
    if "members" in plan.troubles:
        happen("another", (1, 2), 15.0)
    if "shuffle" in plan.troubles:
        happen("shuffle", (1, 6))
    if "cut" in plan.troubles:
        happen("cut", (1, 2), 2.0 * plan.session)
    if "broker away" in plan.troubles:
        happen("broker away", (1, 2), 2.0 * plan.session)
    if "strike" in plan.troubles:
        for life in rng.sample(range(4), rng.randint(1, 3)):
            step = rng.choice(list(STEPS))
            frozen = rng.choice((0.0, 0.0, rng.uniform(0.01, 2.0 * plan.session)))
            plan.strikes[life] = [Strike(step, rng.randint(1, STEPS[step]), frozen)]


def _tasks(plan: Scenario, rng: random.Random) -> None:
    if rng.random() >= TASKS:
        return
    plan.tasks = True
    plan.troubles.append("tasks")
    plan.mix.bare_units = True
    # Without room for other tasks, nothing shows whose fault it is that some fail
    # (docs/simulation.md).
    plan.mix.good_units = bool({"tight", "map"} & set(plan.troubles))
    if not plan.mix.units:
        plan.mix.units, plan.mix.joins, plan.mix.pairs = rng.choice(
            ((0.3, 0.3, 0.0), (0.2, 0.2, 0.1))
        )
    deadline = rng.choice((5.0, 15.0, 60.0))
    plan.rules = msgspec.structs.replace(
        plan.rules, task_deadline=deadline, single_rows_by_task=True
    )
    plan.faults.task_deadline = deadline
    plan.faults.task_seconds = rng.choice((0.1, 2.0, 8.0))
    ends = {end: rng.choice((0.0, 0.05, 0.2)) for end in ("failed", "forgotten", "endless")}
    plan.faults.task_ends = ends
    if rng.random() < 0.3:  # killed with tasks at work, between two questions
        plan.strikes[0] = [*plan.strikes.get(0, []), Strike("question", rng.randint(1, 10), 0.0)]
