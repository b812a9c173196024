"""The API away for minutes with a million events behind it: ``make outage``.

``python -m benchmarks.outage`` runs the product twice over one backlog on a real Kafka, with the
same limits: once undisturbed, and once while the API refuses every connection (toxiproxy, down) for
``--seconds`` after a fifth of the backlog. It exits 1 unless

* the peak memory is within 20 % of the undisturbed run's,
* the group had one generation with members, by the broker's own log (no rebalance),
* full speed, nine tenths of the median before the outage, is reached within five seconds, and
* every key arrived, and everything is committed.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.backlog import PARTITIONS, Backlog, produce
from benchmarks.standin import StandIn
from tests.chaos.offsets_topic import history
from tests.chaos.toxiproxy import Proxy, Toxiproxy
from tests.support.kafka_broker import JvmBroker
from tests.support.kafka_witness import Kafka, unique
from tests.support.process import ConsumerProcess, wait_until

SAMPLE_SECONDS = 0.2
WINDOW = 5  #: samples that a rate is taken over
MOST_MEMORY = 1.2
FULL_SPEED = 0.9
BACK_WITHIN_SECONDS = 5.0
RUN_SECONDS = 600.0


@dataclass(frozen=True)
class Bench:
    """The parts that both runs share."""

    kafka: Kafka
    standin: StandIn
    proxy: Proxy
    topic: str
    backlog: Backlog
    folder: Path


@dataclass
class Run:
    """The figures of one run."""

    peak_mib: float
    peak_before_mib: float  #: until the outage began
    steady: float  #: rows a second, the median of a second each
    back_after: float | None  #: seconds from the API's return to full speed; None: never
    afterwards: float  #: rows a second from five seconds after its return on
    generations: int
    repeated: int  #: rows sent again
    problems: list[str]


def measure(bench: Bench, name: str, outage: float) -> Run:
    """One run over the whole backlog; ``outage``: seconds, 0 for none."""
    group = unique(name)
    settings: dict[str, dict[str, Any]] = {
        "kafka": {
            "bootstrap_servers": bench.kafka.bootstrap,
            "group_id": group,
            "topics": [bench.topic],
        },
        "api": {
            "base_url": f"http://{bench.proxy.listen}",
            "token": "benchmark",
            "requests_per_second": 0,
        },
        "dead_letter": {"topic": bench.kafka.create_topic(unique("outage.dlq"))},
        "ops": {"listen": ""},
    }
    bench.standin.reset()
    with ConsumerProcess(bench.folder, settings, "run", "--until-end", name=name) as consumer:
        pid = consumer.running.pid
        samples: list[tuple[float, int]] = []

        def rows() -> int:
            samples.append((time.monotonic(), bench.standin.stats().rows))
            time.sleep(SAMPLE_SECONDS)
            return samples[-1][1]

        before = bench.backlog.events // 5
        wait_until(lambda: rows() >= before, RUN_SECONDS, lambda: consumer.err[-3000:])
        steady = median(_rates(samples))
        peak_before = _peak_mib(pid)
        back, afterwards = None, 0.0
        if outage:
            bench.proxy.cut("down")
            print(f"{name}: the API is away, {samples[-1][1]} rows done", file=sys.stderr)
            time.sleep(outage)  # the measurement itself
            bench.proxy.mend()
            returned = time.monotonic()
            samples.clear()
            peak = _sample_to_end(consumer, rows, bench.backlog.events)
            speeds = [
                (at - returned, rate)
                for (at, _), rate in zip(samples[WINDOW:], _rates(samples), strict=True)
            ]
            back = next((at for at, rate in speeds if rate >= FULL_SPEED * steady), None)
            later = [rate for at, rate in speeds if at > BACK_WITHIN_SECONDS and rate]
            afterwards = median(later) if later else 0.0
        else:
            peak = _sample_to_end(consumer, rows, bench.backlog.events)
        problems = (
            [] if consumer.wait(RUN_SECONDS) == 0 else [f"ended with {consumer.running.returncode}"]
        )
        stats = bench.standin.stats()
    _, generations = history(bench.kafka, group, bench.topic)
    if (
        stats.distinct_keys != bench.backlog.distinct_keys
        or stats.keys_hash != bench.backlog.keys_hash
    ):
        problems.append(f"{stats.distinct_keys} keys arrived of {bench.backlog.distinct_keys}")
    if bench.kafka.committed(group, bench.topic) != bench.kafka.end_offsets(bench.topic):
        problems.append("not all is committed")
    with_members = sum(generation.members > 0 for generation in generations)
    return Run(
        peak,
        peak_before,
        steady,
        back,
        afterwards,
        with_members,
        stats.rows - bench.backlog.events,
        problems,
    )


def _sample_to_end(consumer: ConsumerProcess, rows: Callable[[], int], events: int) -> float:
    """Sample until all is done; return the peak of memory then."""
    wait_until(lambda: rows() >= events, RUN_SECONDS, lambda: consumer.err[-3000:])
    return _peak_mib(consumer.running.pid)


def _rates(samples: list[tuple[float, int]]) -> list[float]:
    """Return rows a second over each window of samples."""
    pairs = zip(samples, samples[WINDOW:], strict=False)
    return [(after - before) / (end - begin) for (begin, before), (end, after) in pairs]


def _peak_mib(pid: int) -> float:
    """Return the largest resident set of a process so far."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise LookupError("VmHWM")


def judge(plain: Run, away: Run) -> list[str]:
    """Return what is not as it has to be."""
    problems = [f"undisturbed: {problem}" for problem in plain.problems] + [
        f"outage: {p}" for p in away.problems
    ]
    if away.peak_mib > MOST_MEMORY * plain.peak_mib:
        problems.append(
            f"the peak of memory is {away.peak_mib / plain.peak_mib:.2f} of the undisturbed run's"
        )
    if away.back_after is None or away.back_after > BACK_WITHIN_SECONDS:
        problems.append(f"full speed after {away.back_after} s")
    if away.generations != 1:
        problems.append(f"{away.generations} generations of the group with members")
    return problems


def main() -> int:
    """Measure both, tell, judge."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.outage", description=__doc__)
    parser.add_argument("--events", type=int, default=1_300_000)
    parser.add_argument("--seconds", type=float, default=300.0, help="how long the API is away")
    options = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="outage-")))
        broker = stack.enter_context(closing(JvmBroker(optimised=True))).start()
        toxiproxy = stack.enter_context(closing(Toxiproxy()))
        standin = stack.enter_context(closing(StandIn()))
        kafka = Kafka(broker.bootstrap, "outage")
        topic = kafka.create_topic(unique("outage"), PARTITIONS)
        print(f"producing {options.events} events", file=sys.stderr)
        backlog = produce(broker.bootstrap, topic, options.events, 1)
        proxy = toxiproxy.proxy("api", f"127.0.0.1:{standin.port}")
        bench = Bench(kafka, standin, proxy, topic, backlog, folder)
        plain = measure(bench, "undisturbed", 0)
        away = measure(bench, "outage", options.seconds)
    print(f"{options.events} events; the API away for {options.seconds:g} s after a fifth of them")
    print(
        f"peak memory: {away.peak_mib:.1f} MiB ({away.peak_before_mib:.1f} before the outage), "
        "undisturbed ",
        end="",
    )
    print(f"{plain.peak_mib:.1f} MiB: {away.peak_mib / plain.peak_mib:.2f}")
    print(
        f"speed: {away.steady:.0f} rows/s before, nine tenths of it {away.back_after or -1:.1f} s "
        "after the API's ",
        end="",
    )
    print(f"return, {away.afterwards:.0f} rows/s later; undisturbed {plain.steady:.0f} rows/s")
    print(
        f"generations of the group with members: {away.generations}; rows sent more than once: "
        f"{away.repeated}"
    )
    problems = judge(plain, away)
    print("\n".join(f"FAILED: {problem}" for problem in problems) or "PASSED")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
