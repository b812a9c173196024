"""Is the told end of a backlog true: ``make eta``.

``python -m benchmarks.eta`` drains backlogs of different shapes with the real consumer, on a real
Kafka, against the Java stand-in or the sandbox. Every half second it asks ``/status`` when the
backlog will be gone; afterwards it compares that with when everything was committed that was there
at that moment. It exits 1 unless the error at half time is below 15 % in nine of ten.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from confluent_kafka import Producer

from benchmarks.standin import StandIn
from consumer.sandbox import Sandbox
from tests.support.kafka_broker import JvmBroker
from tests.support.kafka_witness import Kafka, unique
from tests.support.process import ConsumerProcess

SAMPLE_SECONDS = 0.5
GIVE_UP_SECONDS = 400.0
MOST_ERROR, OF_ALL = 0.15, 0.9
PARTITIONS = 8
#: Rows a second of ten requests a second, the share of them that is used, a hundred rows each.
PACED = 950


@dataclass(frozen=True)
class Shape:
    """A backlog, and what drains it."""

    name: str
    events: int
    weights: tuple[float, ...] = (1.0,) * PARTITIONS  #: of the partitions
    data_keys: tuple[str, ...] = ("extended_id",)
    bad: float = 0.0  #: share of rows that the API rejects
    hot: tuple[int, float] | None = None  #: a partition, and the share of one code in it
    latency_ms: int = 50
    rate: float = 10.0
    max_rows: int = 100
    members: int = 1
    failing: float = 0.0  #: share of requests that are answered with 503
    coming: float = 0.0  #: events a second that come meanwhile


HOT = (5.0, *(1.0,) * (PARTITIONS - 1))
SHAPES = (
    Shape("even", 50 * PACED),
    Shape("one partition has 70 %", 50 * PACED, (16.0, *(1.0,) * 7)),
    Shape("32 partitions, uneven", 50 * PACED, tuple(1 / n for n in range(1, 33))),
    Shape(
        "four data keys",
        50 * PACED,
        data_keys=("extended_id", "serial_number", "case_code", "pallet_code"),
    ),
    Shape("1 % bad rows", 25 * PACED, bad=0.01),
    Shape("10 % bad rows", 25 * PACED, bad=0.1),
    Shape("every fifth request fails", 45 * PACED, failing=0.2),
    Shape("a hot code", 4_000, hot=(0, 0.6), latency_ms=50),
    Shape("a hot code behind others", 40 * PACED, HOT, hot=(0, 0.05)),
    Shape("windows of 10 rows", 50 * PACED // 10, max_rows=10),
    Shape("two members, unequal shares", 40 * PACED, (6.0, *(1.0,) * 7), members=2),
    Shape("a third as much comes", 40 * PACED, coming=PACED / 3),
    Shape("200 ms, no limit", 160_000, latency_ms=200, rate=0.0),
    Shape("0 ms, no limit", 1_000_000, latency_ms=0, rate=0.0),
)


@dataclass
class Sample:
    """The figures told at one moment, and where the partitions were."""

    at: float
    eta: float | None
    growing: bool
    ends: dict[int, int]
    committed: dict[int, int]


@dataclass
class Drain:
    """The figures of one drain."""

    shape: Shape
    seconds: float = 0.0
    told: dict[float, float | None] = field(default_factory=dict)  #: error by the share of the time
    half: tuple[float | None, float] = (None, 0.0)  #: told and true at half time


def events(shape: Shape, count: int, seed: int) -> Iterator[tuple[int, bytes]]:
    """Yield partition and value of each event."""
    rng = random.Random(seed)
    numbers = range(len(shape.weights))
    for number in range(count):
        (partition,) = rng.choices(numbers, shape.weights)
        key = rng.choice(shape.data_keys)
        prefix = "UNKNOWN" if rng.random() < shape.bad else "CODE"
        code = f"{prefix}{seed}X{number:08d}"
        if shape.hot is not None and partition == shape.hot[0] and rng.random() < shape.hot[1]:
            code = "CODEHOT"
        fields = {"market": "cn", "step": str(number)}
        value = {"data_key": key, "key_value": code, "scm_data": fields}
        yield partition, json.dumps(value).encode()


def produce(kafka: Kafka, topic: str, shape: Shape, count: int, seed: int) -> None:
    """Publish a backlog."""
    producer = Producer(
        {"bootstrap.servers": kafka.bootstrap, "linger.ms": 20, "compression.type": "lz4"}
    )
    for partition, value in events(shape, count, seed):
        while True:
            try:
                producer.produce(topic, value, partition=partition)
                break
            except BufferError:
                producer.poll(0.1)
    if producer.flush(60):
        raise RuntimeError("the backlog could not be published")


def measure(kafka: Kafka, shape: Shape, seed: int, folder: Path) -> Drain:
    """Drain once, and compare."""
    topic = kafka.create_topic(unique("eta"), len(shape.weights))
    produce(kafka, topic, shape, shape.events, seed)
    letters = kafka.create_topic(unique("eta.dlq"))
    with ExitStack() as stack:
        url, token = _api(stack, shape)
        settings: dict[str, dict[str, Any]] = {
            "kafka": {
                "bootstrap_servers": kafka.bootstrap,
                "group_id": topic,
                "topics": [topic],
            },
            "api": {"base_url": url, "token": token, "requests_per_second": shape.rate},
            "windows": {"max_rows": shape.max_rows},
            "dead_letter": {"topic": letters, "pause_after_rejections": 0},
            "ops": {"listen": "127.0.0.1:0"},
            "log": {"level": "info"},
        }
        members = [_Consumer(folder, settings, topic, number) for number in range(shape.members)]
        urls = [stack.enter_context(member).ops(120) for member in members]
        if shape.coming:
            stack.enter_context(_Coming(kafka, topic, shape))
        samples = _sample(urls, shape)
    return _judge(shape, samples)


class _Consumer(ConsumerProcess):
    """The product with a shorter first minute."""

    def __init__(
        self, folder: Path, settings: dict[str, dict[str, Any]], topic: str, number: int
    ) -> None:
        super().__init__(folder / topic, settings, "run", name=f"member{number}")
        self._module = "benchmarks.eta_consumer"


class _Coming:
    """Publishes on while it is open."""

    def __init__(self, kafka: Kafka, topic: str, shape: Shape) -> None:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(kafka, topic, shape))

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self, kafka: Kafka, topic: str, shape: Shape) -> None:
        seed = 1000
        while not self._stop.wait(1.0):
            seed += 1
            produce(kafka, topic, shape, int(shape.coming), seed)


def _api(stack: ExitStack, shape: Shape) -> tuple[str, str]:
    if shape.bad or shape.failing:
        sandbox = stack.enter_context(Sandbox())
        sandbox.faults.add("latency", seconds=shape.latency_ms / 1000)
        if shape.failing:
            sandbox.faults.add("status", code=503, every=round(1 / shape.failing))
        return sandbox.url, sandbox.token
    standin = stack.enter_context(closing(StandIn()))
    standin.reset(shape.latency_ms)
    return standin.url, "benchmark"


def _sample(urls: list[str], shape: Shape) -> list[Sample]:
    """Ask until everything is committed that was there when the partitions had been assigned."""
    samples: list[Sample] = []
    began = time.monotonic()
    wanted: dict[int, int] = {}
    while time.monotonic() < began + GIVE_UP_SECONDS:
        time.sleep(SAMPLE_SECONDS)  # the measurement itself
        sample = _ask(urls)
        if sample is None or len(sample.ends) < len(shape.weights):
            continue
        wanted = wanted or dict(sample.ends)
        samples.append(sample)
        if not _left(sample, _half_target(samples) if shape.coming else wanted):
            return samples
    raise RuntimeError(f"{shape.name}: not drained in {GIVE_UP_SECONDS:g} s")


def _half_target(samples: list[Sample]) -> dict[int, int]:
    """Return what must be committed so that the first half of the samples can be judged."""
    return samples[len(samples) // 2].ends


def _ask(urls: list[str]) -> Sample | None:
    etas: list[float | None] = []
    ends: dict[int, int] = {}
    committed: dict[int, int] = {}
    growing = False
    for url in urls:
        try:
            with urllib.request.urlopen(f"{url}/status", timeout=10) as answer:
                told = json.load(answer)
        except OSError:
            return None
        etas.append(told["lag"]["backlog_eta_seconds"])
        growing |= told["lag"]["growing"]
        for partition in told["partitions"]:
            if partition["end"] is not None:
                ends[partition["partition"]] = partition["end"]
                committed[partition["partition"]] = partition["committed"] or 0
    known = [eta for eta in etas if eta is not None]
    eta = max(known) if len(known) == len(etas) and known else None
    return Sample(time.monotonic(), eta, growing, ends, committed)


def _left(sample: Sample, ends: dict[int, int]) -> bool:
    return any(sample.committed.get(number, 0) < end for number, end in ends.items())


def _judge(shape: Shape, samples: list[Sample]) -> Drain:
    begun = next(s for s in samples if any(s.committed.values()) or s is samples[-1])
    drain = Drain(shape, samples[-1].at - begun.at)
    for share in (0.25, 0.5, 0.75):
        at = begun.at + share * drain.seconds
        sample = min(samples, key=lambda s: abs(s.at - at))
        gone = next((s for s in samples if not _left(s, sample.ends)), None)
        true = (gone or samples[-1]).at - sample.at
        drain.told[share] = None if sample.eta is None or not true else sample.eta / true - 1
        if share == 0.5:
            drain.half = (sample.eta, true)
    return drain


def line(drain: Drain) -> str:
    """Return a row of the table."""

    def error(share: float) -> str:
        found = drain.told[share]
        return "-" if found is None else f"{found:+.0%}"

    told, true = drain.half
    cells = (
        drain.shape.name,
        f"{drain.shape.events:,}",
        f"{drain.seconds:.0f} s",
        "-" if told is None else f"{told:.1f} s",
        f"{true:.1f} s",
        error(0.5),
        error(0.25),
        error(0.75),
    )
    return f"| {' | '.join(cells)} |"


HEAD = """\
| backlog | events | drained in | told at half time | true | error | at a quarter | at three |
| --- | --- | --- | --- | --- | --- | --- | --- |"""


def main() -> int:
    """Measure, tell, judge."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.eta", description=__doc__)
    parser.add_argument("--only", nargs="+", default=[], help="words of the names of shapes")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--at-once", type=int, default=3, help="drains side by side, if paced")
    options = parser.parse_args()
    chosen = [s for s in SHAPES if not options.only or any(w in s.name for w in options.only)]
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="eta-")))
        broker = stack.enter_context(closing(JvmBroker(optimised=True))).start()
        kafka = Kafka(broker.bootstrap, "eta")

        def drain(shape: Shape) -> Drain:
            done = measure(kafka, shape, options.seed, folder)
            print(line(done), file=sys.stderr, flush=True)
            return done

        with ThreadPoolExecutor(options.at_once) as pool:
            drains = list(pool.map(drain, [s for s in chosen if s.rate]))
        drains += [drain(shape) for shape in chosen if not shape.rate]
    print(HEAD)
    print("\n".join(map(line, drains)))
    return _verdict(drains)


def _verdict(drains: list[Drain]) -> int:
    def within(drain: Drain) -> bool:
        error = drain.told[0.5]
        return error is not None and abs(error) < MOST_ERROR

    good = sum(map(within, drains))
    print(f"{good} of {len(drains)} within {MOST_ERROR:.0%} at half time")
    return 0 if good >= OF_ALL * len(drains) else 1


if __name__ == "__main__":
    sys.exit(main())
