"""Trouble that a user can cause: one clear line that says what to do, no traceback,
nothing lost.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import requests

from tests.support.job import Job, line_events
from tests.support.kafka_broker import JvmBroker, free_port
from tests.support.kafka_witness import Kafka, unique
from tests.support.oracle import assert_delivered, published
from tests.support.process import ConsumerProcess, wait_until


def items(count: int, start: int = 0) -> list[dict[str, str]]:
    return [{"extended_id": f"CODE{number}", "line": "1"} for number in range(start, start + count)]


def stop(consumer: ConsumerProcess) -> None:
    consumer.signal(signal.SIGTERM)
    assert consumer.wait(30) == 0, consumer.err
    assert "Traceback" not in consumer.err + consumer.out


def test_a_broker_that_is_not_there_is_one_line_and_then_tried_on(job: Job) -> None:
    nowhere = {"bootstrap_servers": f"127.0.0.1:{free_port()}"}
    with job.process(kafka=nowhere) as consumer:
        line = consumer.wait_for_line("kafka.bootstrap_servers", 20)
        assert "trying on" in line
        stop(consumer)


def test_with_an_end_a_broker_that_is_not_there_fails_after_half_a_minute(job: Job) -> None:
    nowhere = {"bootstrap_servers": f"127.0.0.1:{free_port()}"}
    with job.process("--until-end", kafka=nowhere) as consumer:
        consumer.wait_for_line(
            r"joining the group .+ at 127\.0\.0\.1:\d+; giving up if Kafka .+ for 30 s", 20
        )
        assert consumer.wait(60) == 1
        assert "error: Kafka at 127.0.0.1" in consumer.err
        assert "kafka.bootstrap_servers" in consumer.err
        assert "Traceback" not in consumer.err


def test_with_an_end_a_topic_that_is_not_there_is_told_at_once_with_how_long_it_is_waited_for(
    job: Job,
) -> None:
    job.topic = unique("never")
    with job.process("--until-end") as consumer:
        line = consumer.wait_for_line(f"the topic {job.topic} is not there", 20)
        assert "create it (scm-consumer check --create)" in line
        assert "giving up if that lasts for 30 s" in line
        consumer.signal(signal.SIGTERM)
        assert consumer.wait(30) == 128 + signal.SIGTERM, consumer.err


def test_a_topic_that_is_not_there_is_one_line_and_is_read_once_it_is(job: Job) -> None:
    job.topic = unique("later")
    with job.process(**{"kafka.client": {"topic.metadata.refresh.interval.ms": 1000}}) as consumer:
        line = consumer.wait_for_line("create the topic", 30)
        assert job.topic in line
        job.kafka.create_topic(job.topic, 2)
        job.produce(items(5))
        wait_until(lambda: job.sandbox.stats()["rows_applied"] == 5, 60, lambda: consumer.err)
        stop(consumer)


def test_a_wrong_token_pauses_and_a_new_token_file_ends_the_pause(job: Job, tmp_path: Path) -> None:
    job.produce(items(50))
    token_file = tmp_path / "token"
    token_file.write_text("wrong-token")
    quick = {"retry": {"base_seconds": 0.1, "cap_seconds": 0.5}}
    with job.process(
        "--until-end", api={"token": "", "token_file": str(token_file)}, **quick
    ) as consumer:
        line = consumer.wait_for_line("uploading is paused", 30)
        assert "401" in line
        assert "token" in line
        assert "wrong-token" not in consumer.err
        assert job.sandbox.stats()["rows_applied"] == 0
        token_file.write_text(job.sandbox.token + "\n")
        assert consumer.wait(30) == 0, consumer.err
        assert job.sandbox.token not in consumer.err
    assert job.sandbox.stats()["rows_applied"] == 50
    assert job.kafka.read_all(job.letters) == []
    assert consumer.err.count("uploading is paused") == 1


def test_a_dead_letter_topic_that_is_not_there_holds_only_its_rows_until_it_is(job: Job) -> None:
    job.letters = unique("letters-later")
    events = [*items(50), {"extended_id": "UNKNOWN1", "line": "1"}, *items(50, start=50)]
    job.produce(events, partition=0)
    with job.process() as consumer:
        line = consumer.wait_for_line(f"create the topic {job.letters}", 60)
        assert "nothing is lost" in line
        wait_until(lambda: job.sandbox.stats()["rows_applied"] == 100, 20)
        wait_until(lambda: job.kafka.committed(job.group, job.topic).get(0) == 50, 20)
        job.kafka.create_topic(job.letters, 1)
        wait_until(
            lambda: job.kafka.committed(job.group, job.topic).get(0) == 101,
            60,
            lambda: consumer.err,
        )
        stop(consumer)
    letters = job.kafka.read_all(job.letters)
    assert [json.loads(letter.value or b"")["extended_id"] for letter in letters] == ["UNKNOWN1"]


def test_a_letter_that_is_too_large_is_written_without_its_row(job: Job) -> None:
    job.letters = job.kafka.create_topic(unique("small-letters"), 1, {"max.message.bytes": "2000"})
    fields = {f"field{number:02d}": "x" * 40 for number in range(16)}
    job.produce([{"extended_id": "UNKNOWN1", **fields}, {"extended_id": "CODE1", **fields}])

    job.run_to_end()

    (letter,) = job.kafka.read_all(job.letters)
    headers = dict(letter.headers)
    assert letter.key == b"UNKNOWN1"
    assert json.loads(letter.value or b"") == {"extended_id": "UNKNOWN1", **fields}
    assert "scm.row" not in headers
    assert headers["scm.reason"] == b"unknown_key"
    assert job.sandbox.state()["codes"].keys() == {"CODE1"}


def test_headers_of_the_original_stay_and_earlier_copies_of_ours_are_replaced(job: Job) -> None:
    own = [
        ("trace", b"abc"),
        ("scm.reason", b"old"),
        ("__connect.errors.topic", b"old"),
        ("trace", b"def"),
    ]
    job.kafka.produce(job.topic, [(b"k", b'{"extended_id":"UNKNOWN1","line":"1"}', 0, own)])

    job.run_to_end()

    (letter,) = job.kafka.read_all(job.letters)
    names = [name for name, _ in letter.headers]
    assert letter.headers[:2] == [("trace", b"abc"), ("trace", b"def")]
    assert names.count("scm.reason") == names.count("__connect.errors.topic") == 1
    assert dict(letter.headers)["scm.reason"] == b"unknown_key"


def test_an_api_that_is_not_there_is_waited_for(job: Job) -> None:
    job.produce(items(200))
    job.sandbox.stop()
    quick = {"retry": {"base_seconds": 0.1, "cap_seconds": 0.5}}
    with job.process("--until-end", **quick) as consumer:
        line = consumer.wait_for_line("a request failed", 30)
        assert "no connection to the API" in line
        job.sandbox.start()
        assert consumer.wait(60) == 0, consumer.err
    assert job.sandbox.stats()["rows_applied"] == 200


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[kafka\n", "not valid TOML"),
        (
            "[kafka]\ntopix = ['a']\n",
            "kafka.topix: unknown key; did you mean kafka.topics? allowed are",
        ),
        ("[windows]\nmax_rows = 500\n", "windows.max_rows = 500"),
        ("", "api.token"),
        (
            "[api]\ntoken='t'\n[kafka.client]\n'no.such.property'='1'\n",
            "no.such.property: librdkafka knows no such property",
        ),
        (
            "[api]\ntoken='t'\n[kafka.client]\n'session.timeout.ms'='abc'\n",
            "whole number of milliseconds",
        ),
        (
            "[api]\ntoken='t'\n[kafka.client]\n'ssl.ca.location'='/nowhere'\n'security.protocol'='ssl'\n",
            "kafka.client",
        ),
        ("[api]\ntoken='t'\nbase_url='http://[::1'\n", "api.base_url"),
        ("[api]\ntoken='t'\nbase_url='https://user:hunter2@host?x=1'\n", "no user or password"),
        ("[api]\ntoken='t'\nproxy='socks5://host:1'\n", "api.proxy"),
        ("[api]\ntoken='t'\nca_file='/etc/hostname'\n", "api.ca_file"),
        ("[api]\ntoken='t'\n[kafka]\ntopics=['^(?:a|b)$']\n", "kafka.topics"),
    ],
)
def test_a_wrong_configuration_exits_2_at_once_with_a_line_that_says_what_to_do(
    tmp_path: Path, text: str, told: str
) -> None:
    (tmp_path / "consumer.toml").write_text(text)
    done = subprocess.run(
        [sys.executable, "-m", "consumer.cli", "-c", str(tmp_path / "consumer.toml"), "run"],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert done.returncode == 2
    assert told in done.stderr
    assert "hunter2" not in done.stderr
    assert "Traceback" not in done.stderr


def test_a_broker_that_restarts_within_the_session_costs_nothing(
    own_broker: JvmBroker, job: Job
) -> None:
    job = Job(Kafka(own_broker.bootstrap, "own"), job.sandbox, job.folder, partitions=4)
    job.produce(line_events(10_000, seed=11, unknown=0))
    job.sandbox.faults.add("latency", seconds=0.2)
    with job.process("--until-end", **{"kafka.client": {"session.timeout.ms": 90_000}}) as consumer:
        wait_until(lambda: job.sandbox.stats()["rows_applied"] > 2000, 60, lambda: consumer.err)
        own_broker.kill()
        own_broker.restart()
        assert consumer.wait(120) == 0, consumer.err
    assert "lost: " not in consumer.err
    job.assert_committed_to_the_end()
    assert assert_delivered(published(job.kafka.read_all(job.topic)), job.sandbox.journal()) == 0


def test_a_broker_that_is_away_for_longer_repeats_in_order_what_was_not_committed(
    own_broker: JvmBroker, job: Job
) -> None:
    job = Job(Kafka(own_broker.bootstrap, "own"), job.sandbox, job.folder, partitions=4)
    job.produce(line_events(10_000, seed=11, unknown=0))
    job.sandbox.faults.add("latency", seconds=0.2)
    with job.process("--until-end") as consumer:
        wait_until(lambda: job.sandbox.stats()["rows_applied"] > 2000, 60, lambda: consumer.err)
        own_broker.kill()
        # Without a broker the session runs out, and nothing is sent of partitions that are lost: so
        # what was sent in one life and what in the next is known to the request.
        consumer.wait_for_line("lost: ", 60)
        status = f"{consumer.ops()}/status"
        wait_until(lambda: not requests.get(status, timeout=5).json()["windows"]["in_flight"], 30)
        before = job.sandbox.stats()["arrived"]
        own_broker.restart()
        assert consumer.wait(120) == 0, consumer.err
    assert consumer.err.count("lost: ") == 1
    job.assert_committed_to_the_end()
    assert_delivered(published(job.kafka.read_all(job.topic)), job.sandbox.journal(), [before])
