"""No output holds a secret, whatever shows the request back: every output is searched.

Real parts: the program as a process on a real Kafka, over a real proxy connection, with a server
that echoes headers in nine ways, a registry that answers with what it was sent, a collector, and
librdkafka's own debug lines.
"""

from __future__ import annotations

import base64
import html
import json
import signal
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from consumer.sandbox import Sandbox
from tests.integration.test_ops import get
from tests.support.echo import MODES, Echo
from tests.support.job import Job
from tests.support.kafka_witness import Kafka, unique
from tests.support.otlp import Collector
from tests.support.process import ConsumerProcess, wait_until

TOKEN = 'S3cr3t-<"&\\>token/0123%41'
PROXY_PASSWORD = "pr0xy-s3cret-pw"
REGISTRY_PASSWORD = "reg1stry-s3cret-pw"
KAFKA_PASSWORD = "kafka-s3cret-pw"
OTLP_KEY = "otlp-s3cret-key"
SECRETS = (TOKEN, PROXY_PASSWORD, REGISTRY_PASSWORD, KAFKA_PASSWORD, OTLP_KEY)
LOG_INS = (f"proxy-user:{PROXY_PASSWORD}", f"reg-user:{REGISTRY_PASSWORD}")


def forms() -> set[str]:
    """Return every way in which a secret may stand in an output."""
    found = set(SECRETS) | {base64.b64encode(log_in.encode()).decode() for log_in in LOG_INS}
    for secret in SECRETS:
        found |= {json.dumps(secret)[1:-1], html.escape(secret), quote(secret), quote(secret, "")}
    # Cut off at either end it would still be most of it.
    return found | {TOKEN[:16], TOKEN[-16:]}


def assert_without_secrets(outputs: dict[str, str]) -> None:
    for name, text in outputs.items():
        assert text, f"{name} is empty: nothing was searched"
        for form in forms():
            assert form not in text, (name, form, text[max(0, text.index(form) - 200) :][:400])


@pytest.fixture
def settings(kafka: Kafka, sandbox: Sandbox, tmp_path: Path) -> dict[str, Any]:
    job = Job(kafka, sandbox, tmp_path, partitions=2)
    receipts = kafka.create_topic(unique("receipts"), 1)
    kafka.produce(
        job.topic,
        [
            (f"C{n}".encode(), json.dumps({"extended_id": f"C{n}", "line": "L1"}).encode(), 0, None)
            for n in range(40)
        ],
    )
    kafka.produce(job.topic, [(b"framed", b"\x00\x00\x00\x00\x07\x02A", 1, None)])
    return job.settings(
        api={
            "token": TOKEN,
            "max_processing_seconds": 1,
            "timeout_seconds": 5,
            "base_url": "http://127.0.0.1:9",
        },
        retry={"base_seconds": 0.05, "cap_seconds": 0.2, "give_up_seconds": 1},
        receipts={"topic": receipts},
        log={"level": "debug", "format": "json", "keys": True},
        schema_registry={"user": "reg-user", "password": REGISTRY_PASSWORD},
        **{"kafka.client": {"debug": "conf,security"}},
    )


@pytest.mark.parametrize("mode", MODES)
def test_no_output_of_a_run_holds_a_secret(
    kafka: Kafka,
    settings: dict[str, Any],
    tmp_path: Path,
    mode: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with Echo(mode).serving() as echo, Collector().serving() as collector:
        settings["api"]["proxy"] = f"http://proxy-user:{PROXY_PASSWORD}@127.0.0.1:{echo.port}"
        settings["schema_registry"]["url"] = echo.url
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", f"api-key={OTLP_KEY}")
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "100")
        outputs: dict[str, str] = {}
        with ConsumerProcess(tmp_path, settings, "run") as consumer:
            url = consumer.ops()
            wait_until(lambda: '"window": ' in consumer.err, 60, lambda: consumer.err)
            wait_until(lambda: "schema registry" in consumer.err, 60, lambda: consumer.err)
            wait_until(lambda: collector.bodies, 60)
            for path in ("/status", "/status?settings=1", "/metrics", "/", "/healthz"):
                outputs[path] = get(url + path)[1].decode()
            consumer.signal(signal.SIGTERM)
            assert consumer.wait(60) in (0, 1)
            outputs |= {"log": consumer.err, "stdout": consumer.out}
        for command in (["check"], ["config", "show"]):
            with ConsumerProcess(tmp_path, settings, *command, name=unique("other")) as other:
                other.wait(60)
                outputs[" ".join(command)] = other.out + other.err
        for topic in (settings["dead_letter"]["topic"], settings["receipts"]["topic"]):
            found = [repr(record) for record in kafka.read_all(topic)]
            outputs[topic] = "\n".join(found) or "(none)"
        outputs["spans"] = "\n".join(body.decode("latin-1") for body in collector.bodies)
        heads = "\n".join(echo.seen)
    # What was searched for was there to be shown.
    assert f"UAT {TOKEN}" in heads
    assert base64.b64encode(LOG_INS[0].encode()).decode() in heads
    assert base64.b64encode(LOG_INS[1].encode()).decode() in heads
    assert any(headers.get("api-key") == OTLP_KEY for headers in collector.headers)
    assert_without_secrets(outputs)
    if mode in ("401 with a detail", "503 with a request number"):
        assert "(hidden)" in outputs["log"], "the echo did not reach the log: nothing was proved"
    if mode == "400 that names a row":
        assert "(hidden)" in outputs[settings["dead_letter"]["topic"]]


def test_a_broker_that_refuses_the_log_in_is_told_without_it(
    settings: dict[str, Any], tmp_path: Path
) -> None:
    """The mechanism cannot be had: librdkafka says so with its configuration at hand."""
    settings["kafka.client"] |= {
        "security.protocol": "SASL_PLAINTEXT",
        "sasl.mechanism": "PLAIN",
        "sasl.username": "alice",
        "sasl.password": KAFKA_PASSWORD,
        "session.timeout.ms": 6000,
    }
    outputs: dict[str, str] = {}
    with ConsumerProcess(tmp_path, settings, "run") as consumer:
        url = consumer.ops()
        consumer.wait_for_line("Kafka: ", 60)
        outputs["/status"] = get(f"{url}/status")[1].decode()
        consumer.signal(signal.SIGTERM)
        consumer.wait(60)
        outputs["log"] = consumer.err
    with ConsumerProcess(tmp_path, settings, "check", name=unique("check")) as check:
        check.wait(60)
        outputs["check"] = check.out + check.err
    assert_without_secrets(outputs)
