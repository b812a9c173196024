"""Memory with the API away, by how well the backlog compresses: ``python -m benchmarks.memory``.

A backlog lies on a real Kafka, in batches as large as publishers make them. The product reads it
while no API answers, until its peak has stood still for a while. Each run is a process of its own,
with the defaults.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

from confluent_kafka import Producer

from benchmarks.compare import code_of
from benchmarks.run import PROJECT
from tests.support.kafka_broker import JvmBroker
from tests.support.kafka_jars import BrokerUnavailable
from tests.support.kafka_witness import Kafka, unique

#: A peak that has not grown for so long grows no more.
STILL_SECONDS = 6.0
LOOK_SECONDS = 0.1
BATCH_BYTES = 1_000_000


def values(count: int, size: int, ratio: float, seed: int = 1) -> Iterator[bytes]:
    """Yield events of about ``size`` bytes that travel at about a ``ratio``-th of it.

    A random hexadecimal digit travels as half a byte, the rest of a record as about twelve bytes.
    """
    digits = random.Random(seed)
    for number in range(count):
        event = {"key_value": f"CODE{number:07d}", "scm_data": {"activation_status": 1}, "pad": ""}
        room = size - len(json.dumps(event))
        chance = max(0, min(room, round(2 * (size / ratio - 12))))
        event["pad"] = f"{digits.getrandbits(4 * chance + 1):x}"[:chance] + "x" * (room - chance)
        yield json.dumps(event).encode()


def publish(
    bootstrap: str, topic: str, partitions: int, mib: float, size: int, ratio: float
) -> None:
    """Publish a backlog; a ratio of 1 is not compressed."""
    producer = Producer(
        {
            "bootstrap.servers": bootstrap,
            "compression.type": "none" if ratio == 1 else "zstd",
            "batch.size": BATCH_BYTES,
            "linger.ms": 500,
        }
    )
    for number, value in enumerate(values(round(mib * 2**20 / size), size, ratio)):
        while True:
            try:
                producer.produce(topic, value, partition=number % partitions)
                break
            except BufferError:
                producer.poll(0.1)
    if producer.flush(120):
        raise BrokerUnavailable("the backlog could not be published")


def peak_mib(process: subprocess.Popen[bytes]) -> float:
    """Return the largest resident set of a process so far."""
    found = re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{process.pid}/status").read_text())
    return int(found[1]) / 1024 if found else 0.0


def run(kafka: Kafka, topic: str, letters: str, folder: Path, checkout: Path) -> float:
    """Return the peak of one run with the API away."""
    configuration = folder / "scm-consumer.toml"
    configuration.write_text(
        f"""[kafka]
bootstrap_servers = "{kafka.bootstrap}"
group_id = "{unique("memory")}"
topics = ["{topic}"]
[api]
base_url = "http://127.0.0.1:1"
token = "benchmark"
[dead_letter]
topic = "{letters}"
[ops]
listen = ""
"""
    )
    command, environment = code_of(checkout)
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [*command, "-c", str(configuration), "run"],
            env=environment,
            stdout=log,
            stderr=log,
            cwd=folder,
        )
    try:
        peak, since = 0.0, time.monotonic()
        while time.monotonic() - since < STILL_SECONDS:
            if (now := peak_mib(process)) > peak:
                peak, since = now, time.monotonic()
            time.sleep(LOOK_SECONDS)
        return peak
    finally:
        process.kill()
        process.wait()


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.memory", description=__doc__)
    parser.add_argument("--ratios", type=float, nargs="+", default=[1, 10, 50])
    parser.add_argument("--partitions", type=int, nargs="+", default=[1, 8, 48])
    parser.add_argument("--bytes", type=int, nargs="+", default=[900], help="of a value")
    parser.add_argument("--mib", type=float, default=120, help="of the backlog, decompressed")
    parser.add_argument(
        "--code", type=Path, nargs="+", default=[PROJECT], help="checkouts, in turn"
    )
    return parser.parse_args()


def main() -> None:
    options = parse()
    print(
        f"| bytes | travels at 1/ | partitions | {' | '.join(map(str, options.code))} |", flush=True
    )
    try:
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="memory-")))
            broker = stack.enter_context(closing(JvmBroker(optimised=True))).start()
            kafka = Kafka(broker.bootstrap, "memory")
            letters = kafka.create_topic(unique("letters"), 1)
            for size in options.bytes:
                for ratio in options.ratios:
                    for partitions in options.partitions:
                        topic = kafka.create_topic(unique("memory"), partitions)
                        publish(broker.bootstrap, topic, partitions, options.mib, size, ratio)
                        stored = sum(
                            file.stat().st_size for file in broker.folder.rglob(f"{topic}-*/*.log")
                        )
                        peaks = [
                            run(kafka, topic, letters, folder, checkout)
                            for checkout in options.code
                        ]
                        told = " | ".join(f"{peak:.0f}" for peak in peaks)
                        travels = options.mib * 2**20 / stored
                        print(
                            f"| {size} | {travels:.0f} | {partitions} | {told} |",
                            flush=True,
                        )
    except BrokerUnavailable as reason:
        sys.exit(str(reason))


if __name__ == "__main__":
    main()
