"""The make-up of the group, and what will befall it and the cluster, decided by a seed."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import msgspec

from tests.simulation.happening import Happening

if TYPE_CHECKING:
    from tests.simulation.plan import Scenario


#: What befalls a log; one of them in a run.
LOGS = ("retention", "anew", "lagging copy", "lagging copy")
#: The share of the seeds with each.
SHARES = {
    "consumer protocol": 0.25,
    "static": 0.25,
    "replaced": 0.2,
    "long interval": 0.14,
    "stood still": 0.3,
    "log": 0.6,
    "partitions": 0.3,
    "several members": 0.33,
    "fault": 0.25,
    "no start": 0.22,
    "until end": 0.42,
    "broken line": 0.25,
    "forgotten": 0.25,
}
#: The session that the program assumes for the consumer protocol, seconds.
CONSUMER_SESSION = 45.0
#: How long an API refuses connections where a run has an end: longer than that run waits, seconds.
REFUSES = 400.0


def shape(plan: Scenario, rng: random.Random) -> None:
    """Decide the make-up of the group, and what befalls it and the cluster."""
    troubles = [name for name, share in SHARES.items() if rng.random() < share]
    plan.troubles += troubles
    if "static" in troubles or "replaced" in troubles:
        plan.static = True
    if "long interval" in troubles:
        plan.commit_interval = rng.choice((15.0, 30.0, 60.0))
        plan.session = rng.choice((10.0, 20.0, 45.0))
    if "consumer protocol" in troubles:
        plan.protocol, plan.eager = "consumer", False
        plan.session = CONSUMER_SESSION
        plan.static = plan.static or rng.random() < 0.5
    if "several members" in troubles:
        _several(plan, rng)
    if plan.session > 20.0:
        plan.trouble_for = 2.0 * plan.session
    _befall(plan, rng, troubles)
    if "log" in troubles:
        _log(plan, rng)
    if "until end" in troubles and plan.log_trouble in ("", "retention"):
        _until_end(plan, rng)


def _befall(plan: Scenario, rng: random.Random, troubles: list[str]) -> None:
    plan.on_out_of_range = rng.choice(("stop", "earliest", "latest"))
    if "replaced" in troubles:
        seconds = rng.uniform(6.0, min(30.0, 2.5 * plan.session))
        _happen(plan, rng.uniform(2.0, plan.trouble_for - seconds), "replaced", seconds, rng)
    if "stood still" in troubles:
        plan.link.commit_latency = rng.choice(((0.5, 2.0), (1.0, 3.0)))
        for _ in range(3):
            _happen(plan, rng.uniform(1.0, 20.0), "freeze", rng.uniform(10.5, 20.0), rng)
    if "fault" in troubles:
        plan.fault_at = {life: rng.randint(1, 2) for life in range(4)}
        for _ in range(4):
            _happen(plan, rng.uniform(1.0, 25.0), "shuffle", None, rng)
    if plan.protocol == "consumer" and plan.static:
        _happen(plan, rng.uniform(3.0, 20.0), "kill", None, rng)
    if "broken line" in troubles:
        plan.link.commit_latency = rng.choice(((0.1, 1.0), (0.5, 2.0)))
        for _ in range(4):
            _happen(
                plan,
                rng.uniform(1.0, 25.0),
                rng.choice(("cut", "broker away")),
                rng.uniform(0.1, 3.0),
                rng,
            )
    if "forgotten" in troubles:
        plan.link.commits_forgotten = rng.choice((0.05, 0.2))
    if "partitions" in troubles:
        what = rng.choice(("partition added", "topic added"))
        _happen(plan, rng.uniform(3.0, max(4.0, plan.publish_for)), what, None, rng)
        plan.start_from = rng.choice(("latest", "latest", "earliest"))
    if "no start" in troubles:
        _happen(plan, 0.0, "no start", rng.uniform(20.0, 60.0), rng)
        _happen(plan, rng.uniform(5.0, 20.0), "no commit", rng.uniform(20.0, 60.0), rng)


def _happen(plan: Scenario, at: float, what: str, more: object, rng: random.Random) -> None:
    plan.happenings.append(Happening(at, what, rng.randrange(plan.members), more))


def _several(plan: Scenario, rng: random.Random) -> None:
    """Let several members share a rate; for a while the partitions cannot be counted."""
    plan.members = rng.choice((2, 3))
    plan.partitions = max(plan.partitions, plan.members)
    plan.rules = msgspec.structs.replace(
        plan.rules, rate=rng.choice((5.0, 10.0, 20.0)), max_rows=rng.choice((1, 3))
    )
    if rng.random() < 0.85:
        _happen(
            plan,
            rng.choice((0.0, rng.uniform(0.0, 20.0))),
            "no count",
            rng.uniform(10.0, 40.0),
            rng,
        )


def _log(plan: Scenario, rng: random.Random) -> None:
    plan.log_trouble = rng.choice(LOGS)
    if plan.log_trouble != "retention":
        plan.stride, plan.mix.gaps = 2, 0.0
    while_running = rng.random() < 0.5
    _happen(plan, rng.uniform(2.0, 25.0), plan.log_trouble, while_running, rng)
    if plan.publish_for < 5.0 and "map" not in plan.troubles:
        plan.publish_for = 20.0


def _until_end(plan: Scenario, rng: random.Random) -> None:
    plan.until_end = True
    # it would end at once, and be started again, until somebody sets the offsets
    if plan.on_out_of_range == "stop":
        plan.on_out_of_range = "earliest"
    if rng.random() < 0.6:
        plan.members = 1
        for happening in plan.happenings:
            happening.member = 0
        at = rng.uniform(0.5, 5.0)
        _happen(plan, at, "refuse", REFUSES, rng)
        plan.refuses = True
