"""A roll-out of four static members under load: nothing twice, nothing out of order, no rebalance.

The pods are those of the plain manifests, stopped and started one by one as a StatefulSet does it,
the highest number first, the next one when the last is ready again.
"""

from __future__ import annotations

import json
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from confluent_kafka import Producer

from tests.deploy import chart
from tests.deploy.dockerfile import Image
from tests.deploy.plain_manifests import BROKERS, FOLDER
from tests.deploy.pods import Pod
from tests.deploy.rehearsal import Rehearsal
from tests.support.process import wait_until

MEMBERS = 4  # as many as the topic has partitions
CODES = 200


class _Load:
    """Events published all the time: for each code one after the other, numbered."""

    def __init__(self, bootstrap: str) -> None:
        self._producer = Producer({"bootstrap.servers": bootstrap, "enable.idempotence": True})
        self._end = threading.Event()
        self.published: defaultdict[str, list[str]] = defaultdict(list)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Publish fifty events a second while the block runs."""
        thread = threading.Thread(target=self._publish)
        thread.start()
        try:
            yield
        finally:
            self._end.set()
            thread.join()
            assert self._producer.flush(30) == 0

    def _publish(self) -> None:
        number = 0
        while not self._end.wait(0.02):
            code, value = f"ROLL{number % CODES:04}", str(number)
            event = {"extended_id": code, "batch": value}
            self._producer.produce("scm.events", json.dumps(event), code)
            self._producer.poll(0)
            self.published[code].append(value)
            number += 1


def _applied(sandbox: str) -> dict[str, list[str]]:
    """Return what the API applied to each code, in its order."""
    found: defaultdict[str, list[str]] = defaultdict(list)
    with urlopen(f"{sandbox}/sandbox/journal", timeout=30) as answer:
        rows: list[dict[str, Any]] = json.load(answer)["rows"]
    for row in rows:
        found[row["key_value"]].append(row["fields"]["batch"])
    return found


def test_a_roll_out_under_load_repeats_nothing_and_moves_no_partition(
    image: Image, tmp_path: Path
) -> None:
    resources = chart.documents((FOLDER / "scm-consumer.yaml").read_text())
    member = chart.workload(resources)
    data = {
        "scm-consumer": {"scm-consumer.toml": chart.settings_file(resources)},
        "scm-consumer-token": {"token": "sandbox-token"},
    }
    with Rehearsal(tmp_path, image) as stand, ExitStack() as stack:
        stand.start_kafka()
        stand.start_from_image("sandbox")
        stand.wait_healthy("kafka")
        stand.make_topics()
        stand.wait_healthy("sandbox")
        bootstrap = f"localhost:{stand.addresses.port('kafka', 9092)}"
        sandbox = f"http://127.0.0.1:{stand.addresses.port('sandbox', 8080)}"
        replaced = {BROKERS: bootstrap, "https://api.staging.scantrust.io": sandbox}
        pods = [
            stack.enter_context(
                Pod(tmp_path, image, member, f"scm-consumer-{number}", data, replaced)
            )
            for number in range(MEMBERS)
        ]
        for pod in pods:
            pod.start()
        for pod in pods:
            pod.wait_started()
        wait_until(
            lambda: all(pod.metric("scm_consumer_assigned_partitions") == 1 for pod in pods),
            60,
            lambda: pods[0].log,
        )
        load = _Load(bootstrap)
        with load.running():
            wait_until(
                lambda: all(pod.metric("scm_consumer_rows_accepted_total") > 0 for pod in pods),
                60,
                lambda: pods[0].log,
            )
            before = {pod.name: pod.metric("scm_consumer_rebalances_total") for pod in pods}
            for pod in reversed(pods):
                code, _ = pod.stop()
                assert code == 0, pod.log
                pod.start()
                pod.wait_started()
                before[pod.name] = 1  # its own assignment
                after = {one.name: one.metric("scm_consumer_rebalances_total") for one in pods}
                assert after == before, f"after {pod.name} was replaced"
        wait_until(
            lambda: (
                sum(map(len, _applied(sandbox).values())) >= sum(map(len, load.published.values()))
            ),
            60,
            lambda: pods[0].log,
        )
        assert _applied(sandbox) == load.published
