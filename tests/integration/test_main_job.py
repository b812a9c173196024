"""The main job on a real Kafka, the sandbox over HTTP, and the consumer as a user runs it."""

from __future__ import annotations

import json
import random
import signal

import pytest

from consumer.sandbox import Sandbox
from tests.support.job import Job, line_events, unknown_codes
from tests.support.kafka_witness import unique
from tests.support.oracle import assert_delivered, published
from tests.support.process import ConsumerProcess, wait_until


def wait_for_rows(job: Job, count: int, consumer: ConsumerProcess) -> None:
    wait_until(lambda: job.sandbox.stats()["rows_applied"] > count, 60, lambda: consumer.err)


@pytest.mark.promise("I1", "I9")
def test_fifty_thousand_events_are_applied_in_order_and_bad_ones_dead_lettered_once(
    job: Job,
) -> None:
    events = line_events(50_000, seed=1)
    bad = unknown_codes(events)
    job.produce(events)

    out = job.run_to_end()

    records = job.kafka.read_all(job.topic)
    assert_delivered(published(records, skip=bad), job.sandbox.journal())
    letters = job.kafka.read_all(job.letters)
    by_place = {(record.partition, record.offset): record for record in records}
    told = set()
    for letter in letters:
        headers = {name: value.decode() for name, value in letter.headers}
        place = int(headers["__connect.errors.partition"]), int(headers["__connect.errors.offset"])
        original = by_place[place]
        told.add(place)
        assert (letter.key, letter.value) == (original.key, original.value)
        assert headers["__connect.errors.topic"] == job.topic
        assert headers["__connect.errors.stage"] == "upload"
        assert headers["scm.reason"] == "unknown_key"
        assert headers["scm.field"] == headers["scm.data_key"] == "extended_id"
        assert headers["scm.key_value"] == json.loads(original.value or b"")["extended_id"]
        assert json.loads(headers["scm.row"]) == json.loads(original.value or b"")
        assert headers["scm.http_status"] == "400"
        assert headers["scm.message"] == headers["__connect.errors.exception.message"] != ""
        assert headers["scm.event_id"] == f"{job.topic}-{place[0]}-{place[1]}"
    assert len(letters) == len(told) == len(bad)
    job.assert_committed_to_the_end()
    assert job.sandbox.rules()["broken"].keys() <= {"unknown_key"}, (
        "no rule that a client can know was broken"
    )
    assert f"50000 consumed = {50_000 - len(bad)} accepted + {len(bad)} rejected + 0 skipped" in out


@pytest.mark.promise("I1", "I9")
def test_killed_in_the_middle_several_times_nothing_is_lost_and_order_holds(job: Job) -> None:
    events = line_events(20_000, seed=2)
    job.produce(events)
    job.sandbox.faults.add("latency", seconds=0.02)
    restarts = []
    for life in range(1, 5):
        with job.process("--until-end") as consumer:
            wait_for_rows(job, life * 3500, consumer)
            consumer.signal(signal.SIGKILL)
            consumer.wait(10)
        wait_until(lambda: job.sandbox.stats()["in_progress"] == 0, 10)
        restarts.append(job.sandbox.stats()["arrived"])

    job.run_to_end()

    records = job.kafka.read_all(job.topic)
    repeats = assert_delivered(
        published(records, skip=unknown_codes(events)), job.sandbox.journal(), restarts
    )
    job.assert_committed_to_the_end()
    letters = job.kafka.read_all(job.letters)
    assert {letter.key for letter in letters} == {code.encode() for code in unknown_codes(events)}
    assert repeats < 20_000, (
        "each kill repeats at most what was answered since the last commit, and in flight"
    )


def test_a_stop_lets_requests_end_commits_and_exits_cleanly(job: Job) -> None:
    events = line_events(20_000, seed=3, unknown=0)
    job.produce(events)
    job.sandbox.faults.add("latency", seconds=0.1)
    with job.process() as consumer:
        wait_for_rows(job, 2000, consumer)
        consumer.signal(signal.SIGTERM)
        assert consumer.wait(20) == 0, consumer.err
        assert "consumed" in consumer.out
    assert job.sandbox.stats()["in_progress"] == 0
    assert sum(job.kafka.committed(job.group, job.topic).values()) > 0
    restarts = [job.sandbox.stats()["arrived"]]
    job.sandbox.faults.clear()

    job.run_to_end()

    records = job.kafka.read_all(job.topic)
    assert_delivered(published(records), job.sandbox.journal(), restarts)


def test_stopped_before_the_end_it_exits_as_a_shell_expects_of_a_signal(job: Job) -> None:
    job.produce(line_events(5000, seed=4))
    job.sandbox.faults.add("latency", seconds=0.3)
    with job.process("--until-end") as consumer:
        wait_for_rows(job, 500, consumer)
        consumer.signal(signal.SIGTERM)
        assert consumer.wait(20) == 143


@pytest.mark.promise("I1")
def test_two_members_share_the_work_and_one_leaves_without_loss(job: Job) -> None:
    events = line_events(20_000, seed=5)
    job.produce(events)
    job.sandbox.faults.add("latency", seconds=0.3)
    with job.process() as first:
        wait_for_rows(job, 1000, first)
        with ConsumerProcess(
            job.folder, job.settings(), "run", "--until-end", name="second"
        ) as second:
            second.wait_for_line("assigned", 30)
            wait_for_rows(job, 4000, second)
            first.signal(signal.SIGTERM)
            assert first.wait(30) == 0, first.err
            job.sandbox.faults.clear()
            assert second.wait(60) == 0, second.err
        for member in (first, second):
            assert "not confirmed" not in member.err, (
                "what was settled is committed before a partition goes"
            )
    records = job.kafka.read_all(job.topic)
    bad = unknown_codes(events)
    # Each hand-over of a partition may repeat what was answered and not committable yet.
    restarts = list(range(job.sandbox.stats()["arrived"]))
    assert_delivered(published(records, skip=bad), job.sandbox.journal(), restarts)
    job.assert_committed_to_the_end()


def test_an_end_behind_aborted_transactions_is_reached(job: Job) -> None:
    job.produce([{"extended_id": f"CODE{n}", "line": "1"} for n in range(20)], partition=0)
    job.kafka.produce_transaction(
        job.topic, [(b"k", b'{"extended_id":"GHOST","line":"1"}', 0, None)] * 5, abort=True
    )
    job.kafka.produce_transaction(
        job.topic, [(b"k", b'{"extended_id":"REAL","line":"1"}', 1, None)]
    )
    job.kafka.produce_transaction(
        job.topic, [(b"k", b'{"extended_id":"GHOST","line":"1"}', 2, None)], abort=True
    )

    out = job.run_to_end()

    job.assert_committed_to_the_end()
    codes = job.sandbox.state()["codes"]
    assert "GHOST" not in codes
    assert "REAL" in codes
    assert "21 consumed = 21 accepted" in out


@pytest.mark.promise("starts")
def test_records_deleted_before_they_were_read_stop_the_partition_loudly(job: Job) -> None:
    job.produce([{"extended_id": f"CODE{n}", "line": "1"} for n in range(10)], partition=3)
    job.run_to_end()
    job.produce([{"extended_id": f"LATER{n}", "line": "1"} for n in range(10)], partition=3)
    job.kafka.delete_records(job.topic, {3: 15})

    with job.process("--until-end") as consumer:
        assert consumer.wait(60) == 1
        assert "out_of_range" in consumer.err
        assert "on_out_of_range" in consumer.err
        assert "Traceback" not in consumer.err
    assert job.kafka.committed(job.group, job.topic)[3] == 10

    job.run_to_end(kafka={"on_out_of_range": "earliest"})
    assert {f"LATER{n}" for n in range(5, 10)} <= job.sandbox.state()["codes"].keys()
    job.assert_committed_to_the_end()


def test_a_row_that_waits_outlives_a_gap_that_retention_made_behind_it(job: Job) -> None:
    """Offset 0 waits for its dead-letter topic; what is deleted meanwhile must not take
    it along.
    """
    job.letters = unique("not-there-yet")
    job.produce([{"extended_id": "UNKNOWN0", "line": "1"}], partition=0)
    with job.process(
        limits={"max_unsettled_rows": 1}, kafka={"on_out_of_range": "earliest"}
    ) as consumer:
        consumer.wait_for_line("create the topic", 60)
        job.produce([{"extended_id": f"CODE{n}", "line": "1"} for n in range(1, 20)], partition=0)
        job.kafka.delete_records(job.topic, {0: 15})
        job.kafka.create_topic(job.letters, 1)
        wait_until(
            lambda: job.kafka.committed(job.group, job.topic).get(0) == 20, 60, lambda: consumer.err
        )
        consumer.signal(signal.SIGTERM)
        assert consumer.wait(30) == 0, consumer.err
        assert "0 released" in consumer.out
    assert [letter.key for letter in job.kafka.read_all(job.letters)] == [b"UNKNOWN0"]
    assert {f"CODE{n}" for n in range(15, 20)} <= job.sandbox.state()["codes"].keys()


def test_a_fenced_static_member_stops_and_says_so(job: Job) -> None:
    static = {"kafka": {"instance_id": "line-7"}}
    with job.process(**static) as first:
        first.wait_for_line("assigned", 30)
        with ConsumerProcess(job.folder, job.settings(**static), "run", name="second") as second:
            second.wait_for_line("assigned", 60)
            assert first.wait(60) == 1
            assert "fenced" in first.err
            assert "Traceback" not in first.err


def test_a_second_signal_leaves_at_once(job: Job) -> None:
    job.produce(line_events(1000, seed=8))
    job.sandbox.faults.add("latency", seconds=20)
    with job.process() as consumer:
        wait_until(lambda: job.sandbox.stats()["in_progress"] > 0, 30, lambda: consumer.err)
        consumer.signal(signal.SIGTERM)
        consumer.wait_for_line("stopping", 10)
        consumer.signal(signal.SIGTERM)
        assert consumer.wait(3) == 1
        assert "unsettled" in consumer.out
    job.sandbox.faults.clear()


@pytest.mark.promise("starts")
def test_starting_at_the_latest_survives_a_restart_before_anything_came(job: Job) -> None:
    job.produce([{"extended_id": f"OLD{n}", "line": "1"} for n in range(10)], partition=0)
    latest = {"start_from": "latest"}
    with job.process(kafka=latest) as consumer:
        wait_until(
            lambda: job.kafka.committed(job.group, job.topic).get(0) == 10, 30, lambda: consumer.err
        )
        consumer.signal(signal.SIGTERM)
        assert consumer.wait(20) == 0
    job.produce([{"extended_id": f"NEW{n}", "line": "1"} for n in range(10)], partition=0)

    job.run_to_end(kafka=latest)

    assert job.sandbox.state()["codes"].keys() == {f"NEW{n}" for n in range(10)}


def test_four_data_keys_mixed_at_ten_requests_a_second_fill_their_windows(job: Job) -> None:
    rng = random.Random(6)
    keys = ("extended_id", "serial_number", "rfid", "case_code")
    job.sandbox.store.codes.load({}, only=False)
    job.sandbox = _all_units_exist(job.sandbox)
    records = []
    for number in range(4000):
        key = rng.choice(keys)
        envelope = {
            "data_key": key,
            "key_value": f"K{number:06d}",
            "scm_data": {"line": "L1", "step": str(number)},
        }
        records.append((str(number).encode(), json.dumps(envelope).encode(), None, None))
    job.kafka.produce(job.topic, records)

    job.run_to_end(api={"requests_per_second": 10}, windows={"linger_seconds": 1.0})

    stats = job.sandbox.stats()
    uploads = [entry for entry in job.sandbox.journal()["requests"] if entry["rows"]]
    mean = sum(entry["rows"] for entry in uploads) / len(uploads)
    assert stats["rows_applied"] == 4000
    assert mean >= 95
    assert stats["peak_per_second"] <= 10


def _all_units_exist(sandbox: Sandbox) -> Sandbox:
    port, token = sandbox.port, sandbox.token
    sandbox.stop()
    return Sandbox(port=port, token=token, accept_empty_units=True).start()


def test_one_percent_bad_rows_cost_at_most_one_more_request_each(job: Job) -> None:
    events = line_events(20_000, seed=7, repeats=0, unknown=0.01)
    bad = unknown_codes(events)
    job.produce(events)

    job.run_to_end()

    requests = [entry for entry in job.sandbox.journal()["requests"] if entry["rows"]]
    with_bad = sum(1 for entry in requests if entry["status"] == 400)
    extra = len(requests) - 200
    assert extra <= 1.1 * with_bad
    assert len(job.kafka.read_all(job.letters)) == len(bad)
    assert job.sandbox.stats()["rows_applied"] == 20_000 - len(bad)
