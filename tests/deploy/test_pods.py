"""The plain manifests carried out without a cluster: pods as processes, on a real Kafka.

They are what the chart renders, which ``test_chart.py`` holds.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient

from tests.deploy import chart
from tests.deploy.dockerfile import Image
from tests.deploy.plain_manifests import BROKERS, FOLDER
from tests.deploy.pods import Pod
from tests.deploy.rehearsal import Rehearsal
from tests.support.process import wait_until

NAMES = ("scm-consumer-0", "scm-consumer-1")


def _resources(file: str) -> list[chart.Resource]:
    return chart.documents((FOLDER / file).read_text())


@pytest.fixture(scope="module")
def stand(image: Image, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rehearsal]:
    """Yield a Kafka with the topics, and the sandbox in place of the API."""
    with Rehearsal(tmp_path_factory.mktemp("around"), image) as stand:
        stand.start_kafka()
        stand.start_from_image("sandbox")
        stand.wait_healthy("kafka")
        stand.make_topics()
        stand.wait_healthy("sandbox")
        yield stand


@pytest.fixture(scope="module")
def data() -> dict[str, dict[str, str]]:
    """Return what the cluster holds: the settings as applied, and the user's Secret."""
    settings = chart.settings_file(_resources("scm-consumer.yaml"))
    return {
        "scm-consumer": {"scm-consumer.toml": settings},
        "scm-consumer-token": {"token": "sandbox-token"},
    }


@pytest.fixture(scope="module")
def replaced(stand: Rehearsal) -> dict[str, str]:
    return {
        BROKERS: _bootstrap(stand),
        "https://api.staging.scantrust.io": _sandbox_address(stand),
    }


@pytest.fixture(scope="module")
def pods(
    stand: Rehearsal,
    image: Image,
    data: dict[str, dict[str, str]],
    replaced: dict[str, str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[list[Pod]]:
    """Yield two ready members of the StatefulSet."""
    folder = tmp_path_factory.mktemp("pods")
    member = chart.workload(_resources("scm-consumer.yaml"))
    first, second = (Pod(folder, image, member, name, data, replaced) for name in NAMES)
    with first, second:
        for pod in (first, second):
            pod.start()
        for pod in (first, second):
            pod.wait_started()
        yield [first, second]


def _bootstrap(stand: Rehearsal) -> str:
    return f"localhost:{stand.addresses.port('kafka', 9092)}"


def _sandbox_address(stand: Rehearsal) -> str:
    return f"http://127.0.0.1:{stand.addresses.port('sandbox', 8080)}"


def _publish(stand: Rehearsal, codes: list[str]) -> None:
    producer = Producer({"bootstrap.servers": _bootstrap(stand)})
    for code in codes:
        producer.produce(
            "scm.events", json.dumps({"extended_id": code, "intended_market": "cn"}), code
        )
    assert producer.flush(30) == 0


def _held(stand: Rehearsal) -> str:
    with urlopen(f"{_sandbox_address(stand)}/sandbox/state", timeout=10) as answer:
        return str(answer.read().decode())


def _members(stand: Rehearsal) -> dict[str, Any]:
    admin = AdminClient({"bootstrap.servers": _bootstrap(stand)})
    found = admin.describe_consumer_groups(["scm-consumer"])["scm-consumer"].result(30)
    return {member.group_instance_id: member for member in found.members}


def test_pods_become_ready_at_their_own_address_and_are_members_by_their_names(
    stand: Rehearsal, pods: list[Pod]
) -> None:
    wait_until(
        lambda: {len(one.assignment.topic_partitions) for one in _members(stand).values()} == {2},
        60,
        lambda: pods[0].log,
    )
    assert _members(stand).keys() == set(NAMES)
    for pod in pods:
        assert pod.probe("livenessProbe")


def test_events_reach_the_api_with_the_token_of_the_mounted_secret(
    stand: Rehearsal, pods: list[Pod]
) -> None:
    codes = [f"POD{number:04}" for number in range(200)]
    _publish(stand, codes)
    wait_until(lambda: all(code in _held(stand) for code in codes), 60, lambda: pods[0].log)
    assert all(pod.metric("scm_consumer_rows_accepted_total") > 0 for pod in pods)


def test_a_pod_is_replaced_within_its_grace_period_and_no_partition_moves(
    stand: Rehearsal, pods: list[Pod]
) -> None:
    before = pods[1].metric("scm_consumer_rebalances_total")
    held = _members(stand)[NAMES[0]].assignment.topic_partitions
    code, seconds = pods[0].stop()
    assert code == 0, pods[0].log
    assert seconds < pods[0].spec["terminationGracePeriodSeconds"]
    assert not pods[0].probe("readinessProbe")
    assert not pods[0].probe("livenessProbe")
    pods[0].start()
    pods[0].wait_started()
    assert pods[1].metric("scm_consumer_rebalances_total") == before
    assert _members(stand)[NAMES[0]].assignment.topic_partitions == held
    _publish(stand, ["PODAFTER"])
    wait_until(lambda: "PODAFTER" in _held(stand), 60, lambda: pods[0].log)


def test_the_commands_that_are_run_in_a_pod_find_its_settings(
    pods: list[Pod], image: Image
) -> None:
    """``kubectl exec … -- scm-consumer``: in the image's folder, where the settings are mounted."""
    assert pods[0].container["volumeMounts"][0]["mountPath"] == "/config"
    for arguments in (["status", "--once"], ["check"]):
        done = subprocess.run(
            image.command(arguments),
            cwd=pods[0].volume("settings"),
            env=image.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_the_nightly_comparison_runs_with_the_same_settings(
    stand: Rehearsal,
    pods: list[Pod],
    image: Image,
    data: dict[str, dict[str, str]],
    replaced: dict[str, str],
    tmp_path: Path,
) -> None:
    job = chart.of_kind(_resources("reconcile.yaml"), "CronJob")
    with Pod(tmp_path, image, job, "scm-consumer-reconcile-1", data, replaced) as pod:
        pod.start()
        assert pod.wait(120) == 0, pod.log
        assert "reconcile:" in pod.log
    policy = job["spec"]["jobTemplate"]["spec"]["podFailurePolicy"]["rules"]
    assert policy == [{"action": "FailJob", "onExitCodes": {"operator": "In", "values": [1, 2]}}], (
        "differences and wrong usage are told once"
    )


def test_a_setting_that_is_wrong_ends_the_pod_with_a_message(
    image: Image, data: dict[str, dict[str, str]], tmp_path: Path
) -> None:
    broken = {
        **data,
        "scm-consumer": {"scm-consumer.toml": "[retry]\nbase_seconds = 90\n"},
    }
    member = chart.workload(_resources("scm-consumer.yaml"))
    with Pod(tmp_path, image, member, NAMES[0], broken, {}) as pod:
        pod.start()
        assert pod.wait(30) == 2
        assert "retry.base_seconds" in pod.log
        assert "Traceback" not in pod.log
