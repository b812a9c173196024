"""A dry run on a real Kafka: it prints what the consumer then does, and nobody else notices it."""

from __future__ import annotations

import json
import os
import queue
import select
import shlex
import signal
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest
from confluent_kafka.admin import AdminClient

from consumer.adapters.kafka import standalone_reader
from consumer.adapters.kafka.reader import ReadFrom
from consumer.adapters.kafka.standalone_reader import StandaloneReader
from consumer.core.offsets.settled_map import decode
from consumer.errors import UserError
from consumer.sandbox import Sandbox
from tests.support.job import Job, line_events
from tests.support.kafka_broker import free_port
from tests.support.kafka_witness import Kafka, unique
from tests.support.process import ConsumerProcess, toml, wait_until

RUN_SECONDS = 60.0
#: Records that validation rejects, each with its reason.
BAD: list[tuple[bytes | None, bytes, str]] = [
    (b"N1", b"neither JSON nor Avro", "undecodable"),
    (b"N2", b'{"note": "no key"}', "key_missing"),
    (b"N3", b'{"extended_id": "N3", "date_consumed": "2026-01-01"}', "forbidden_field"),
    (b"N4", b'{"extended_id": "N4", "line": "' + b"x" * 51 + b'"}', "value_too_long"),
    (None, b'{"extended_id": "N5"}', "no_fields"),
]

Updates = dict[tuple[str, str], list[dict[str, str]]]


class Printed:
    """The output of a dry run, read back."""

    def __init__(self, out: str) -> None:
        lines = [json.loads(line) for line in out.splitlines()]
        *told, last = lines
        self.summary: str = last["summary"]
        self.windows: list[dict[str, Any]] = [line["upload"] for line in told if "upload" in line]
        self.letters: list[dict[str, Any]] = [
            line["dead_letter"] for line in told if "dead_letter" in line
        ]
        assert len(told) == len(self.windows) + len(self.letters)

    @property
    def rows(self) -> int:
        return sum(len(window["items"]) for window in self.windows)

    def updates(self) -> Updates:
        """Return the updates of each code, in their order."""
        codes: Updates = defaultdict(list)
        for window in self.windows:
            key = window["data_key"]
            for item in window["items"]:
                codes[(key, item[key])].append(
                    {name: value for name, value in item.items() if name != key}
                )
        return codes

    def assert_windows_are_requests(self) -> None:
        for window in self.windows:
            values = [item[window["data_key"]] for item in window["items"]]
            assert 1 <= len(values) == len(set(values)) <= 100
            assert len({tuple(sorted(item)) for item in window["items"]}) == 1


def uploaded(rows: Iterable[Mapping[str, Any]]) -> Updates:
    """Return the updates of each code that the API applied, in their order."""
    codes: Updates = defaultdict(list)
    for row in rows:
        codes[(row["data_key"], row["key_value"])].append(row["fields"])
    return codes


def letters_of(job: Job) -> list[tuple[int, int, str]]:
    """Return partition, offset and reason of each dead letter."""
    found = []
    for letter in job.kafka.read_all(job.letters):
        headers = {name: value.decode() for name, value in letter.headers}
        place = headers["__connect.errors.partition"], headers["__connect.errors.offset"]
        found.append((int(place[0]), int(place[1]), headers["scm.reason"]))
    return sorted(found)


def places(printed: Printed) -> list[tuple[int, int, str]]:
    return sorted(
        (letter["partition"], letter["offset"], letter["reason"]) for letter in printed.letters
    )


def produce_with_bad_ones(job: Job, events: list[dict[str, str]]) -> None:
    """Produce events, then a bad record of each kind and tombstones, then events again."""
    middle = len(events) // 2
    job.produce(events[:middle])
    job.kafka.produce(job.topic, [(key, value, None, None) for key, value, _ in BAD])
    job.kafka.produce(job.topic, [(b"GONE1", None, 0, None), (b"GONE2", None, 1, None)])
    job.produce(events[middle:])


@contextmanager
def dry_run(job: Job, *arguments: str, **sections: dict[str, Any]) -> Iterator[ConsumerProcess]:
    """Yield ``run --dry-run`` with an API of its own, which must not get a single request."""
    with Sandbox() as api:
        own = {
            "api": {"base_url": api.url, "token": api.token, "requests_per_second": 1},
            "kafka": {
                "commit_interval_seconds": 0.01,
                **sections.pop("kafka", {}),
            },  # a commit would come soon
        }
        settings = job.settings(**sections, **own)
        with ConsumerProcess(
            job.folder, settings, "run", "--dry-run", *arguments, name=unique("dry")
        ) as process:
            yield process
        assert api.stats()["arrived"] == 0


def printed_to_end(job: Job, **sections: dict[str, Any]) -> Printed:
    with dry_run(job, "--until-end", **sections) as process:
        assert process.wait(RUN_SECONDS) == 0, process.err
    assert "Traceback" not in process.err
    return Printed(process.out)


def members_of(job: Job) -> tuple[str, dict[str, list[int]]]:
    """Return the group's state, and each member's partitions."""
    admin = AdminClient({"bootstrap.servers": job.kafka.bootstrap, "log_level": 0})
    found = admin.describe_consumer_groups([job.group], request_timeout=10)[job.group].result()
    members = {
        m.member_id: sorted(tp.partition for tp in m.assignment.topic_partitions)
        for m in found.members
    }
    return found.state.name, members


def groups(kafka: Kafka) -> set[str]:
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap, "log_level": 0})
    return {
        group.group_id for group in admin.list_consumer_groups(request_timeout=10).result().valid
    }


def settled_beyond(job: Job) -> int:
    """Return how many records the commits name as settled beyond their offsets."""
    commits = job.kafka.commits(job.group, job.topic)
    return sum(
        decode(commit.metadata.rstrip("\0"), number, commit.offset).count
        for number, commit in commits.items()
    )


def test_beside_a_running_group_it_changes_nothing_and_prints_what_the_group_then_does(
    job: Job,
) -> None:
    quick = {"retry": {"base_seconds": 0.1, "cap_seconds": 0.5}}
    job.produce(line_events(2000, seed=1, unknown=0))
    with (
        ConsumerProcess(job.folder, job.settings(**quick), "run", name="first") as first,
        ConsumerProcess(job.folder, job.settings(**quick), "run", name="second") as second,
    ):
        both = (first, second)
        wait_until(
            lambda: (
                sum(job.kafka.committed(job.group, job.topic).values()) == 2000
                and len(members_of(job)[1]) == 2
            ),
            RUN_SECONDS,
            lambda: first.err + second.err,
        )
        wait_until(lambda: all(len(owned) == 4 for owned in members_of(job)[1].values()), 30)
        # From here on the API fails, so that the group stands still in the middle: one good row
        # heads each partition.
        job.sandbox.faults.add("status", code=503)
        for number in range(8):
            job.produce([{"extended_id": f"HEAD{number}", "line": "1"}], partition=number)
        produce_with_bad_ones(job, line_events(3000, seed=2, unknown=0))
        wait_until(
            lambda: len(job.kafka.read_all(job.letters)) == len(BAD),
            30,
            lambda: first.err + second.err,
        )
        # The bad ones and two tombstones are settled, and the commits say so: they are not told
        # again.
        wait_until(
            lambda: settled_beyond(job) == len(BAD) + 2,
            30,
            lambda: f"{job.kafka.commits(job.group, job.topic)}",
        )
        before = members_of(job), job.kafka.commits(job.group, job.topic), letters_of(job)
        assert before[0][0] == "STABLE"
        told = [process.err.count("assigned") + process.err.count("revoked") for process in both]
        applied = job.sandbox.stats()["rows_applied"]

        with dry_run(job, "--until-end") as process:
            while process.running.poll() is None:
                assert members_of(job) == before[0]
            assert process.wait(RUN_SECONDS) == 0, process.err
        printed = Printed(process.out)

        assert (members_of(job), job.kafka.commits(job.group, job.topic), letters_of(job)) == before
        assert [
            process.err.count("assigned") + process.err.count("revoked") for process in both
        ] == told
        assert job.sandbox.stats()["rows_applied"] == applied == 2000
        job.sandbox.faults.clear()
        wait_until(
            lambda: job.sandbox.stats()["rows_applied"] == 5008,
            RUN_SECONDS,
            lambda: first.err + second.err,
        )
        for member in both:
            member.signal(signal.SIGTERM)
            assert member.wait(30) == 0, member.err
    assert printed.updates() == uploaded(job.sandbox.journal()["rows"][2000:])
    assert printed.letters == []
    assert len(letters_of(job)) == len(BAD)
    assert (
        f"would upload 3008 rows in {len(printed.windows)} requests; would dead-letter 0"
        in printed.summary
    )
    assert printed.summary.startswith("dry run: 3015 records read; ")
    assert "accepted" not in printed.summary
    printed.assert_windows_are_requests()


def test_without_committed_offsets_it_begins_where_the_group_would_and_leaves_no_trace_of_it(
    job: Job,
) -> None:
    produce_with_bad_ones(job, line_events(3000, seed=3, unknown=0))
    pattern = {"topics": [f"^{job.topic[:-1]}."]}

    nothing = printed_to_end(job, kafka={"start_from": "latest"})
    printed = printed_to_end(job, kafka=pattern)

    assert job.group not in groups(job.kafka)
    assert job.kafka.committed(job.group, job.topic) == {}
    assert job.kafka.read_all(job.letters) == []
    assert job.sandbox.stats()["arrived"] == 0
    assert nothing.windows == nothing.letters == []
    job.run_to_end()
    assert printed.updates() == uploaded(job.sandbox.journal()["rows"])
    assert places(printed) == letters_of(job)
    assert sorted(letter["reason"] for letter in printed.letters) == sorted(
        reason for _, _, reason in BAD
    )
    printed.assert_windows_are_requests()


def test_it_reads_on_from_committed_offsets_in_the_middle_and_says_the_same_each_time(
    job: Job,
) -> None:
    job.produce(line_events(500, seed=4, unknown=0))
    job.run_to_end()
    later = [{"extended_id": f"LATER{number}", "line": "1"} for number in range(250)]
    job.produce(later)
    committed = job.kafka.committed(job.group, job.topic)

    once, again = printed_to_end(job), printed_to_end(job)

    assert once.updates() == again.updates()
    assert once.updates().keys() == {("extended_id", item["extended_id"]) for item in later}
    assert [len(window["items"]) for window in once.windows] == [100, 100, 50]
    assert job.kafka.committed(job.group, job.topic) == committed


def test_an_end_behind_aborted_transactions_is_reached(job: Job) -> None:
    job.kafka.produce_transaction(
        job.topic, [(b"k", b'{"extended_id":"REAL","line":"1"}', 0, None)]
    )
    job.kafka.produce_transaction(
        job.topic, [(b"k", b'{"extended_id":"GHOST","line":"1"}', 0, None)], abort=True
    )
    assert printed_to_end(job).updates().keys() == {("extended_id", "REAL")}


def test_without_an_end_it_goes_on_with_what_comes_until_a_signal(job: Job) -> None:
    """The topic itself comes later, too."""
    job.topic = unique("later")
    with dry_run(job) as process:
        process.wait_for_line("create it", 30)
        job.kafka.create_topic(job.topic, 2)
        for number in range(3):
            job.produce([{"extended_id": f"CODE{number}", "line": "1"}])
            wait_until(lambda: process.out.count("upload") == number + 1, 30, lambda: process.err)  # noqa: B023
        process.signal(signal.SIGTERM)
        assert process.wait(20) == 0, process.err
    printed = Printed(process.out)
    assert [window["items"][0]["extended_id"] for window in printed.windows] == [
        "CODE0",
        "CODE1",
        "CODE2",
    ]
    assert job.kafka.committed(job.group, job.topic) == {}
    assert "would upload 3 rows in 3 requests; would dead-letter 0" in printed.summary


def test_a_signal_before_the_end_is_told_as_a_shell_expects(job: Job) -> None:
    settings = {"kafka": {"bootstrap_servers": f"127.0.0.1:{free_port()}"}}
    with dry_run(job, "--until-end", **settings) as process:
        process.wait_for_line("kafka.bootstrap_servers", 30)
        process.signal(signal.SIGINT)
        assert process.wait(20) == 130
        assert "Traceback" not in process.err


def test_records_deleted_before_they_were_read_fail_it_as_they_do_the_real_run(job: Job) -> None:
    job.produce([{"extended_id": f"CODE{n}", "line": "1"} for n in range(10)], partition=3)
    job.run_to_end()
    job.produce([{"extended_id": f"LATER{n}", "line": "1"} for n in range(10)], partition=3)
    job.kafka.delete_records(job.topic, {3: 15})

    with dry_run(job, "--until-end") as process:
        assert process.wait(RUN_SECONDS) == 1
        assert "out_of_range" in process.err
    printed = printed_to_end(job, kafka={"on_out_of_range": "earliest"})

    assert printed.rows == 5
    assert job.kafka.committed(job.group, job.topic)[3] == 10


@pytest.mark.parametrize(
    ("redirection", "code", "words"),
    [
        ("| head -1", 141, ""),
        ("> /dev/full", 1, "the output cannot be written: No space left on device"),
    ],
)
def test_an_output_that_ends_early_ends_it_without_a_traceback(
    job: Job, redirection: str, code: int, words: str
) -> None:
    job.produce(line_events(20_000, seed=5))
    file = job.folder / "dry.toml"
    file.write_text(toml(job.settings()), encoding="utf-8")
    command = shlex.join(
        [sys.executable, "-m", "consumer.cli", "-c", str(file), "run", "--dry-run"]
    )
    done = subprocess.run(
        ["bash", "-c", f"{command} {redirection}; exit ${{PIPESTATUS[0]}}"],
        capture_output=True,
        text=True,
        timeout=RUN_SECONDS,
        check=False,
        env=os.environ | {"PYTHONUNBUFFERED": ""},
    )
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    assert "Exception" not in done.stderr
    assert words in done.stderr
    lines = done.stdout.splitlines()
    assert all(len(json.loads(line)["upload"]["items"]) == 100 for line in lines)
    assert len(lines) == (1 if "head" in redirection else 0)


def test_a_second_signal_ends_it_though_nobody_reads_its_output(job: Job) -> None:
    job.produce(line_events(20_000, seed=6))
    file = job.folder / "dry.toml"
    file.write_text(toml(job.settings()), encoding="utf-8")
    command = [sys.executable, "-m", "consumer.cli", "-c", str(file), "run", "--dry-run"]
    reader, writer = os.pipe()
    try:
        with subprocess.Popen(command, stdout=writer, stderr=subprocess.DEVNULL) as process:
            try:
                # the pipe is full
                wait_until(lambda: not select.select([], [writer], [], 0)[1], RUN_SECONDS)
                process.send_signal(signal.SIGTERM)
                process.send_signal(signal.SIGINT)
                assert process.wait(20) == 1
            finally:
                process.kill()
    finally:
        os.close(reader)
        os.close(writer)


class _Listener:
    stopping = False
    leaves_at_once = False

    def __init__(self) -> None:
        self.assigned: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def on_assigned(self, partitions: Any) -> None:
        self.assigned.put(partitions)

    def on_revoked(self, partitions: Any, *, lost: bool) -> None:
        raise AssertionError("nothing is taken away from who is no member")

    def on_committed(self, commits: Any, error: str | None, *, too_large: bool = False) -> None:
        raise AssertionError("nothing is committed")

    def on_begun(self, partitions: Any) -> None:
        pass

    def on_joined(self) -> None:
        pass

    def on_counted(self, counts: Any) -> None:
        raise AssertionError("the share of a group is no matter of who is no member")

    def on_waiting(self) -> None:
        """Take note: a look-up takes its time."""


@pytest.mark.parametrize("there", [True, False])
def test_with_an_end_to_reach_it_fails_when_topic_or_broker_do_not_come(
    kafka: Kafka, monkeypatch: pytest.MonkeyPatch, there: bool
) -> None:
    monkeypatch.setattr(standalone_reader, "PATIENCE_SECONDS", 1.0)
    bootstrap = kafka.bootstrap if there else f"127.0.0.1:{free_port()}"
    listener = _Listener()
    reading = ReadFrom(bootstrap, "nobody", ["not.there"], "earliest", "stop", {})
    source = StandaloneReader(
        listener, reading, reached=lambda: pytest.fail("there is no end to reach")
    )
    source.subscribe()

    def polled() -> str:
        try:
            source.poll(10)
        except UserError as error:
            return str(error)
        return ""

    told = wait_until(polled, 30)
    assert (
        "the topic not.there is not there" in told
        if there
        else "check kafka.bootstrap_servers" in told
    )
    assert listener.assigned.empty()
    assert source.close(10)
