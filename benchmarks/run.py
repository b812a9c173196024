"""Product and floor in turn over one backlog on a real Kafka: ``python -m benchmarks.run``."""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from benchmarks import report
from benchmarks.backlog import PARTITIONS, Backlog, produce
from benchmarks.measure import Cost, measure
from benchmarks.standin import StandIn, Stats
from tests.support.kafka_broker import JvmBroker
from tests.support.kafka_jars import BrokerUnavailable
from tests.support.kafka_witness import Kafka, unique

PROJECT = Path(__file__).parents[1]
PARTS = ("ceiling", "floor", "product")
CEILING_SECONDS = 4.0
CEILING_CONNECTIONS = (1, 2, 4, 8)
#: At 0 ms: posting inline costs least, a few threads are fastest; the better one counts.
FLOOR_THREADS = 1, 4

#: A command, and its variables.
Program = tuple[list[str], dict[str, str]]


class BenchmarkError(Exception):
    """A run that does not count: it failed, or what it sent is not what it should have sent."""


@dataclass(frozen=True)
class Bench:
    """The parts that are running, and the backlog."""

    kafka: Kafka
    standin: StandIn
    topic: str
    backlog: Backlog
    folder: Path


def run_floor(bench: Bench, latency_ms: int, threads: int) -> report.Run:
    """Run the floor once; ``threads`` as floor.py understands it."""
    bench.standin.reset(latency_ms)
    where = [
        "--bootstrap",
        bench.kafka.bootstrap,
        "--topic",
        bench.topic,
        "--url",
        bench.standin.url,
    ]
    command = [sys.executable, "-m", "benchmarks.floor", *where, "--threads", str(threads)]
    log = bench.folder / "floor.log"
    cost = measure(command, PROJECT, os.environ, log)
    stats = bench.standin.stats()
    _check("the floor", cost, stats, bench.backlog, log)
    return report.Run("floor", latency_ms, threads, cost, stats)


def run_product(
    bench: Bench, latency_ms: int, concurrency: int, program: Program | None = None
) -> report.Run:
    """Run the product once, with a group of its own, and check that its run is whole.

    ``program``: another one than what is installed.
    """
    group, letters = unique("benchmark"), bench.kafka.create_topic(unique("benchmark.dlq"))
    configuration = bench.folder / "scm-consumer.toml"
    configuration.write_text(
        f"""[kafka]
bootstrap_servers = "{bench.kafka.bootstrap}"
group_id = "{group}"
topics = ["{bench.topic}"]
[api]
base_url = "{bench.standin.url}"
token = "benchmark"
concurrency = {concurrency}
requests_per_second = 0
[dead_letter]
topic = "{letters}"
"""
    )
    bench.standin.reset(latency_ms)
    log = bench.folder / "product.log"
    command, environment = program or ([str(product())], own_variables())
    cost = measure(
        [*command, "-c", str(configuration), "run", "--until-end"], bench.folder, environment, log
    )
    stats = bench.standin.stats()
    _check("the product", cost, stats, bench.backlog, log)
    if stats.repeated_in_request:
        raise BenchmarkError(
            f"the product sent {stats.repeated_in_request} keys twice in one request"
        )
    if any(bench.kafka.end_offsets(letters).values()):
        raise BenchmarkError("the product dead-lettered events, and all of them were good")
    committed, ends = (
        bench.kafka.committed(group, bench.topic),
        bench.kafka.end_offsets(bench.topic),
    )
    if committed != ends:
        raise BenchmarkError(f"the product committed {committed}, and the topic ends at {ends}")
    return report.Run("product", latency_ms, concurrency, cost, stats)


def own_variables() -> dict[str, str]:
    """Return this process's variables without settings of the product."""
    return {name: value for name, value in os.environ.items() if not name.startswith("SCM_")}


def product() -> Path:
    """Return the installed command, beside this interpreter."""
    return Path(sys.executable).with_name("scm-consumer")


def _check(name: str, cost: Cost, stats: Stats, backlog: Backlog, log: Path) -> None:
    """Raise unless the program ended well and every key of the backlog was accepted."""
    if cost.exit_code != 0:
        end = log.read_text(errors="replace")[-2000:]
        raise BenchmarkError(f"{name} ended with {cost.exit_code}:\n{end}")
    if stats.refused:
        raise BenchmarkError(f"{name} sent {stats.refused} requests the API would refuse")
    seen = (stats.distinct_keys, stats.keys_hash)
    if stats.rows < backlog.events or seen != (backlog.distinct_keys, backlog.keys_hash):
        raise BenchmarkError(
            f"{name} had {stats.rows} rows of {stats.distinct_keys} keys accepted; "
            f"the backlog has {backlog.events} of {backlog.distinct_keys}"
        )


def rounds(bench: Bench, options: argparse.Namespace) -> list[report.Run]:
    """Yield every wanted program at every latency, ``--rounds`` times; who begins alternates."""
    turns: list[Callable[[], report.Run]] = []
    for latency in options.latency_ms:
        if "floor" in options.only:
            # With latency the floor has to wait as the product does: with as many requests in
            # flight.
            numbers = [options.concurrency] if latency else options.floor_threads
            turns += [partial(run_floor, bench, latency, threads) for threads in numbers]
        if "product" in options.only:
            turns.append(partial(run_product, bench, latency, options.concurrency))
    done: list[report.Run] = []
    for number in range(options.rounds if turns else 0):
        for turn in turns if number % 2 == 0 else reversed(turns):
            done.append(turn())
            print(report.line(done[-1], number + 1), file=sys.stderr)
    return done


def prepare(stack: ExitStack, options: argparse.Namespace) -> Bench:
    """Start Kafka and the stand-in, produce the backlog, and run the floor once to warm both."""
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="benchmark-")))
    broker = stack.enter_context(closing(JvmBroker(optimised=True))).start()
    standin = stack.enter_context(closing(StandIn()))
    kafka = Kafka(broker.bootstrap, "benchmark")
    topic = kafka.create_topic(unique("benchmark"), PARTITIONS)
    print(f"producing {options.events} events", file=sys.stderr)
    backlog = produce(broker.bootstrap, topic, options.events, options.seed, options.repeats)
    bench = Bench(kafka, standin, topic, backlog, folder)
    run_floor(bench, 0, 1)
    return bench


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run", description=__doc__)
    parser.add_argument("--events", type=int, default=300_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--repeats", type=float, default=0.0, help="share of events with an earlier key (0)"
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--latency-ms", type=int, nargs="+", default=[0], help="of every upload (0)"
    )
    parser.add_argument(
        "--concurrency", type=int, default=8, help="the product's requests in flight (8)"
    )
    parser.add_argument(
        "--floor-threads", type=int, nargs="+", default=FLOOR_THREADS, help="at 0 ms; 1: inline"
    )
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument(
        "--output", type=Path, default=PROJECT / ".cache" / "benchmarks" / "latest.json"
    )
    return parser.parse_args(arguments)


def main() -> None:
    options = parse()
    if "product" in options.only and not product().exists():
        sys.exit(f"{product()} is not there: install the project, or measure with --only floor")
    try:
        with ExitStack() as stack:
            bench = prepare(stack, options)
            ceilings = [
                bench.standin.ceiling(CEILING_SECONDS, connections)
                for connections in (CEILING_CONNECTIONS if "ceiling" in options.only else ())
            ]
            runs = rounds(bench, options)
    except (BenchmarkError, BrokerUnavailable) as reason:
        sys.exit(str(reason))
    asked = {
        name: str(value) if isinstance(value, Path) else value
        for name, value in vars(options).items()
    }
    result = {"machine": report.machine(), "options": asked, "backlog": asdict(bench.backlog)}
    result |= report.figures(runs, ceilings)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(result, indent=2) + "\n")
    print(report.table(runs, ceilings))
    print(f"every figure: {options.output}")


if __name__ == "__main__":
    main()
