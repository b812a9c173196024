"""Runs of seeds: one with its trace, or many beside each other, with what they covered."""

from __future__ import annotations

import gc
import logging
import multiprocessing
import os
import traceback
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.simulation.oracle import Violation
from tests.simulation.scenario import scenario
from tests.simulation.trace import Trace
from tests.simulation.world import World

#: What at least a tenth of the seeds must have been through (issue: guarantees), by what the run
#: calls it.
REQUIRED = {
    "revoke-and-return": ("revoke-and-return",),
    "crash between two effects": ("crash between effects",),
    "late result": ("late result",),
    "a map near its room": ("map near its room",),
    "bisect": ("bisect",),
    "throttle": ("throttle",),
    "lost answer": ("lost answer",),
    "async": ("async",),
    "the consumer protocol": ("the consumer protocol",),
    "static members": ("static members",),
    "an instance id that is not released": ("instance id not released",),
    "replaced while it stood still": ("replaced while it stood still",),
    "an old answer after a stand-still": ("old answer after a stand-still",),
    "a long commit interval": ("a long commit interval",),
    "a commit behind a joining": ("commit waits behind a joining",),
    "a commit sent once more": ("commit sent once more",),
    "a commit that is forgotten": ("commit forgotten",),
    "a fault in a revocation": ("fault in a revocation",),
    "a start that is not known": ("one start unknown",),
    "out of range": ("out of range",),
    "a topic made anew": ("topic made anew",),
    "a lagging copy": ("lagging copy",),
    "a partition that comes later": ("partition added",),
    "a shared pace": ("several members at one rate",),
    "a shared pace, uncounted": ("several members at one rate, uncounted",),
    "an end that is reached": ("end reached",),
    "connections refused": ("connections refused",),
    "records of several rows": ("a record of several rows",),
    "documents": ("a document of several rows",),
    "a half-settled record": ("a half-settled record at the end of a process",),
    "a repeat that sets back": ("set back by a repeat",),
    "receipts": ("receipt written",),
    "receipts late": ("receipts away",),
    "a row that tells nothing": ("a row that tells nothing",),
    "a quiet end": ("quiet end",),
    "a last window with a row at fault": ("a last window with a row at fault",),
    "contradictory tasks": ("contradictory task",),
    "broken task workers": ("task failed by the API's fault",),
    "long tasks": ("long task",),
    "tasks full": ("task held up",),
    "answers while paused": ("answer to an older call while paused",),
    "a rejection while paused": ("a single row rejected while paused",),
    "a passing 413": ("a window over a passing limit",),
    "lines not from 1": ("lines not counted from 1",),
    "GET /me fails alone": ("me fails alone",),
}
REQUIRED_SHARE = 0.1
#: Seeds that one worker takes at a time.
CHUNK = 10


@dataclass
class Outcome:
    """The outcome of one seed.

    ``failure``: what the oracle says, or where the program broke.
    """

    seed: int
    failure: str = ""
    seen: Counter[str] = field(default_factory=Counter)
    events: int = 0
    seconds: float = 0.0  #: simulated
    went_on: float = 0.0  #: seconds until all was settled that waits for no row at fault


def run_seed(seed: int, trace: Trace | None = None) -> Outcome:
    """Run one seed from beginning to end."""
    with _quiet(trace):
        world = World(scenario(seed), trace)
        outcome = Outcome(seed, seen=world.seen)
        try:
            world.run()
        except Violation as violation:
            outcome.failure = str(violation)
        except Exception:
            outcome.failure = traceback.format_exc()
        outcome.events = world.scheduler.events
        outcome.seconds = world.seconds
        outcome.went_on = world.ending.went_on
        if trace is not None and outcome.failure:
            trace.tell("", outcome.failure)
    return outcome


def run_seeds(seeds: Iterable[int], workers: int = 0) -> Iterator[Outcome]:
    """Run many seeds, over all processors; yield them as they end."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(workers or os.cpu_count(), initializer=gc.freeze) as pool:
        yield from pool.imap_unordered(run_seed, seeds, chunksize=CHUNK)


def coverage(outcomes: Iterable[Outcome]) -> dict[str, float]:
    """Return the share of seeds in which each thing was seen; what is required comes first."""
    seeds = 0
    counts: Counter[str] = Counter()
    for outcome in outcomes:
        seeds += 1
        counts.update(what for what, times in outcome.seen.items() if times)
    shares = {what: counts[what] / max(1, seeds) for what in sorted(counts)}
    required = {
        name: max(shares.get(what, 0.0) for what in whats) for name, whats in REQUIRED.items()
    }
    return required | {what: share for what, share in shares.items() if what not in required}


def told(outcome: Outcome, trace: Trace) -> str:
    """Return a failing seed for people: what broke, how to see it again, and what led to it."""
    lines = "\n".join(trace.lines)
    return (
        f"{lines}\n\nseed {outcome.seed}: {outcome.failure}\n"
        f"replay: make simulate SEED={outcome.seed}\n"
    )


@contextmanager
def _quiet(trace: Trace | None) -> Iterator[None]:
    """Let the program's own log go to the trace, or nowhere."""
    logger = logging.getLogger("consumer")
    level, propagates = logger.level, logger.propagate
    logger.propagate = False
    logger.setLevel(logging.INFO if trace is not None else logging.CRITICAL + 1)
    if trace is not None:
        logger.addHandler(trace)
    try:
        yield
    finally:
        logger.propagate = propagates
        logger.setLevel(level)
        if trace is not None:
            logger.removeHandler(trace)
