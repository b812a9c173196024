"""Reconcile a million codes on a real Kafka: ``python -m benchmarks.reconcile``.

Three million events: each code is made, put into a case, and the cases are put on pallets and
pallets into trucks; updates by each of these reach the codes in them. A model of its own folds them
while they are published. Then losses are put into what the API is said to hold.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, Producer, TopicPartition

from tests.support.kafka_broker import JvmBroker
from tests.support.kafka_witness import Kafka, unique

PER_CASE, CASES_PER_PALLET, PALLETS_PER_TRUCK = 20, 50, 20
PARTITIONS = 8
FIELDS = ("case_code", "pallet_code", "truck_code", "batch", "line", "ship_date", "gate", "route")

Fields = dict[str, str]


def events(codes: int) -> Iterator[tuple[int, str, str, Fields]]:
    """Yield (code's number, data key, value, fields) in order; a truck's codes stand together."""
    per_truck = PER_CASE * CASES_PER_PALLET * PALLETS_PER_TRUCK
    for first in range(0, codes, per_truck):
        numbers = range(first, min(codes, first + per_truck))
        truck = f"T{first}"
        for number in numbers:
            yield first, "extended_id", code(number), {"batch": f"B{number % 97}", "line": "L1"}
        for number in numbers:
            into = {"case_code": f"C{number - number % PER_CASE}"}
            yield first, "extended_id", code(number), into
        for first_in_case in range(numbers.start, numbers.stop, PER_CASE):
            pallet = f"P{first_in_case - first_in_case % (PER_CASE * CASES_PER_PALLET)}"
            fields = {"pallet_code": pallet, "gate": f"G{first_in_case % 7}"}
            yield first, "case_code", f"C{first_in_case}", fields
        for first_on_pallet in range(numbers.start, numbers.stop, PER_CASE * CASES_PER_PALLET):
            yield (
                first,
                "pallet_code",
                f"P{first_on_pallet}",
                {"truck_code": truck, "ship_date": "2026-12-01"},
            )
        yield first, "truck_code", truck, {"route": f"R{first}"}
        for number in numbers:
            yield first, "extended_id", code(number), {"line": f"L{number % 5}"}


def code(number: int) -> str:
    """Return the code of a number."""
    return f"CODE-{number:08d}"


def held(number: int) -> Fields:
    """Return what a code holds after all events: computed, not folded."""
    per_pallet = PER_CASE * CASES_PER_PALLET
    truck = number - number % (per_pallet * PALLETS_PER_TRUCK)
    case = number - number % PER_CASE
    return {
        "case_code": f"C{case}",
        "pallet_code": f"P{number - number % per_pallet}",
        "truck_code": f"T{truck}",
        "batch": f"B{number % 97}",
        "line": f"L{number % 5}",
        "ship_date": "2026-12-01",
        "gate": f"G{case % 7}",
        "route": f"R{truck}",
    }


def publish(kafka: Kafka, topic: str, codes: int) -> int:
    """Publish all events; return how many."""
    producer = Producer(
        {
            "bootstrap.servers": kafka.bootstrap,
            "linger.ms": 20,
            "queue.buffering.max.messages": 1_000_000,
        }
    )
    count = 0
    for group, data_key, value, fields in events(codes):
        body = json.dumps({"data_key": data_key, "key_value": value, "scm_data": fields}).encode()
        partition = group // (PER_CASE * CASES_PER_PALLET * PALLETS_PER_TRUCK) % PARTITIONS
        while True:
            try:
                producer.produce(topic, body, partition=partition)
                break
            except BufferError:
                producer.poll(0.5)
        count += 1
        if count % 10_000 == 0:
            producer.poll(0)
    producer.flush()
    return count


def commit_all(kafka: Kafka, group: str, topic: str) -> None:
    """Commit the ends, as a consumer that has uploaded all."""
    consumer = Consumer({"bootstrap.servers": kafka.bootstrap, "group.id": group})
    with closing(consumer):
        ends = kafka.end_offsets(topic)
        offsets = [TopicPartition(topic, number, end) for number, end in ends.items()]
        consumer.commit(offsets=offsets, asynchronous=False)


def write_document(path: Path, codes: int, losses: int) -> dict[str, str]:
    """Write what the API is said to hold; return the codes that were damaged, and how."""
    rng = random.Random(7)
    damaged = {
        number: rng.choice(("missing", "foreign", "stale"))
        for number in rng.sample(range(codes), losses)
    }
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["extended_id", "serial_number", *(f"scm_{name}" for name in FIELDS)])
        for number in range(codes):
            fields = held(number)
            how = damaged.get(number)
            if how == "missing":
                continue
            if how == "foreign":
                fields["batch"] = "by hand"
            elif how == "stale":
                fields["line"] = "L1" if fields["line"] != "L1" else ""
            writer.writerow([code(number), "", *(fields[name] for name in FIELDS)])
    return {code(number): how for number, how in damaged.items()}


def reconcile(folder: Path, kafka: Kafka, topic: str, group: str, document: Path) -> dict[str, Any]:
    """Run the command; return what it told, with its time and memory."""
    letters = kafka.create_topic(unique("letters"), 1)
    settings = folder / "scm-consumer.toml"
    settings.write_text(
        f'[kafka]\nbootstrap_servers = "{kafka.bootstrap}"\ngroup_id = "{group}"\n'
        f'topics = ["{topic}"]\n[events]\nlogistic_units = ["case_code", "pallet_code", '
        f'"truck_code"]\n[dead_letter]\ntopic = "{letters}"\n[api]\ntoken = "none"\n'
    )
    began = time.monotonic()
    program = [sys.executable, "-m", "consumer.cli", "-c", str(settings)]
    done = subprocess.run(
        [*program, "reconcile", "--json", "--download", str(document)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode not in (0, 1):
        raise SystemExit(done.stderr)
    told: dict[str, Any] = json.loads(done.stdout)
    told["seconds"] = time.monotonic() - began
    told["peak_mib"] = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    return told


def main() -> None:
    """Publish, damage, reconcile, compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--codes", type=int, default=1_000_000)
    parser.add_argument("--losses", type=int, default=500)
    options = parser.parse_args()
    with closing(JvmBroker(optimised=True)) as broker, tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        kafka = Kafka(broker.start().bootstrap, "benchmark")
        topic, group = kafka.create_topic(unique("events"), PARTITIONS), unique("group")
        count = publish(kafka, topic, options.codes)
        commit_all(kafka, group, topic)
        document = folder / "codes.csv"
        damaged = write_document(document, options.codes, options.losses)
        told = reconcile(folder, kafka, topic, group, document)
        found = {
            d["key_value"]: "missing" if d["kind"] == "missing" else d["cause"]
            for d in told["differences"]
        }
        print(f"{count:,} events, {options.codes:,} codes: {told['counts']}")
        print(f"found as damaged: {found == damaged}, of {len(damaged)}")
        print(
            f"{told['seconds']:.0f} s, {told['peak_mib']:.0f} MiB resident at most, "
            f"temporary file {told['temporary_bytes'] / 2**20:.0f} MiB"
        )
        if found != damaged:
            raise SystemExit(1)


if __name__ == "__main__":
    main()
