"""A topic pattern means the same in both protocols, to ``check`` and ``run --until-end``."""

from __future__ import annotations

import json

import pytest

from tests.support.job import RUN_SECONDS, Job
from tests.support.kafka_witness import unique
from tests.support.process import ConsumerProcess


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_a_pattern_matches_anywhere_in_a_name(job: Job, protocol: str) -> None:
    mark = unique("mark")
    begins, ends, other = f"{mark}.begins", f"ends.{mark}", f"other.{mark}.no"
    for topic in (begins, ends, other):
        job.kafka.create_topic(topic, 2, {"retention.ms": "-1"})
        job.kafka.produce(
            topic, [(b"A", json.dumps({"extended_id": topic, "line": "1"}).encode(), None, None)]
        )
    kafka = {"topics": [f"^{mark}|{mark}$"], "group_protocol": protocol}
    client = {} if protocol == "consumer" else {"session.timeout.ms": 6000}
    settings = job.settings(kafka=kafka) | {"kafka.client": client}
    with ConsumerProcess(job.folder, settings, "check", name="check") as checked:
        checked.wait(40)
        assert "matches 2 topics" in checked.out
    with ConsumerProcess(job.folder, settings, "run", "--until-end") as consumer:
        assert consumer.wait(RUN_SECONDS) == 0, consumer.err[-5000:]
    sent = {key for request in job.sandbox.journal()["requests"] for key in request["keys"]}
    assert sent == {begins, ends}
