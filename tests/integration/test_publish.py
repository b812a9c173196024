"""``scm-consumer publish`` on a real Kafka: what arrives, where, in which order, and the rest."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

from consumer.formats import decoder
from tests.integration.publishing import (
    HEADER,
    READ_EVENT,
    Publish,
    in_java_s_partitions,
    steps,
    table,
)
from tests.support.job import Job
from tests.support.kafka_broker import JvmBroker, free_port
from tests.support.kafka_secure import USER, SecureBroker, secure_broker
from tests.support.kafka_witness import Kafka, unique
from tests.support.process import wait_until

#: A sixth of what two quiet cores do, broker included: a floor that busy ones still hold.
FLOOR_LINES_PER_SECOND = 10_000


@pytest.fixture
def topic(kafka: Kafka) -> str:
    return kafka.create_topic(unique("published"), 8)


@pytest.fixture
def publish(kafka: Kafka, topic: str, tmp_path: Path) -> Publish:
    return Publish(tmp_path, kafka.bootstrap, topic)


def test_a_table_arrives_in_order_by_code_in_the_partitions_that_java_would_choose(
    publish: Publish, kafka: Kafka, topic: str
) -> None:
    publish.file("codes.csv", table(5000))
    done = publish("codes.csv")
    assert done.returncode == 0
    assert done.stderr.endswith("warning: 4,900 lines in all: the code comes more than once\n")
    assert re.fullmatch(
        rf"published 5,000 of 5,000 lines to {re.escape(topic)} in [\d.]+ s "
        r"\([\d,]+ lines/s\); 0 refused; 4,900 warnings\n",
        done.stdout,
    )
    records = kafka.read_all(topic)
    assert len(records) == 5000
    assert in_java_s_partitions(records, 8)
    assert len({record.partition for record in records}) == 8
    assert all(
        record.key == READ_EVENT(record.value or b"").key_value.encode() for record in records
    )
    assert steps(records) == {f"CODE{n:03d}": list(range(n, 5000, 100)) for n in range(100)}


def test_bad_lines_are_told_by_number_and_the_others_published(
    publish: Publish, kafka: Kafka, topic: str
) -> None:
    bad = {3: "A,1", 10: f"B,{'x' * 51},C", 11: " ,1,C", 50: 'C,"1"2,C'}
    lines = table(100).splitlines()
    publish.file(
        "codes.csv", "\n".join(bad.get(number, line) for number, line in enumerate(lines, 1))
    )
    done = publish("codes.csv")
    assert done.returncode == 1
    told = dict(re.findall(r"^line (\d+): (\w+): .+$", done.stderr, re.MULTILINE))
    assert told == {
        "3": "undecodable",
        "10": "value_too_long",
        "11": "key_blank",
        "50": "undecodable",
    }
    assert "96 of 100 lines" in done.stdout
    assert "4 refused (undecodable 2, value_too_long 1, key_blank 1)" in done.stdout
    found = {
        int(READ_EVENT(record.value or b"").fields["step"]) for record in kafka.read_all(topic)
    }
    assert found == set(range(100)) - {number - 2 for number in bad}


def test_lines_of_json_from_a_pipe_arrive_as_they_stand(
    publish: Publish, kafka: Kafka, topic: str
) -> None:
    lines = [
        b'{"market": "cn",  "extended_id": "A1", "weight": 1.10}',
        b'{"event_id": "e-1", "key_value": "A1", "scm_data": {"step": 2, "note": "\xc3\xa4"}}',
        b'{"extended_id": "A1"}',
        b'{"extended_id": "A1", "step": "3"}',
    ]
    done = publish("-", stdin=b"\n\n".join(lines))
    assert done.returncode == 1
    assert done.stderr.startswith("line 5: no_fields: ")
    records = kafka.read_all(topic)
    assert [record.value for record in records] == [lines[0], lines[1], lines[3]]
    assert {record.key for record in records} == {b"A1"}


def test_a_unit_and_its_children_share_a_partition_with_key(
    publish: Publish, kafka: Kafka, topic: str
) -> None:
    children = [{"extended_id": f"A{n}", "case_code": f"C{n % 5}"} for n in range(100)]
    units: list[dict[str, Any]] = [
        {"data_key": "case_code", "key_value": f"C{n}", "scm_data": {"pallet_code": "P"}}
        for n in range(5)
    ]
    content = "".join(
        json.dumps(event) + "\n"
        for event in [*children, *units, {"extended_id": "loose", "a": "1"}]
    )
    publish.file("shift.ndjson", content)
    done = publish("shift.ndjson", "--key", "case_code")
    assert done.returncode == 1
    assert done.stderr == (
        'line 106: key_missing: "case_code" is missing or empty, '
        "which is to be the record's key (--key)\n"
    )
    records = kafka.read_all(topic)
    assert in_java_s_partitions(records, 8)
    by_key = defaultdict(list)
    for record in records:
        by_key[record.key].append(READ_EVENT(record.value or b""))
    assert set(by_key) == {f"C{n}".encode() for n in range(5)}
    assert all(
        len(events) == 21 and events[-1].data_key == "case_code" for events in by_key.values()
    )


@pytest.mark.parametrize("form", ["json", "flat", "avro"])
def test_events_are_written_in_the_configured_format(
    publish: Publish, kafka: Kafka, topic: str, form: str
) -> None:
    publish.events["format"] = form
    publish.file("codes.csv", table(10))
    assert publish("codes.csv").returncode == 0
    values = [record.value or b"" for record in kafka.read_all(topic)]
    assert len(values) == 10
    assert all(decoder(form)(value).fields["step"].isdigit() for value in values)
    assert {value.startswith(b"{") for value in values} == {form != "avro"}


def test_another_topic_can_be_named_and_one_that_is_not_there_is_told(
    publish: Publish, kafka: Kafka, topic: str
) -> None:
    other, missing = kafka.create_topic(unique("other")), unique("missing")
    publish.file("codes.csv", table(10))
    assert publish("codes.csv", "--topic", other).returncode == 0
    assert len(kafka.read_all(other)) == 10
    done = publish("codes.csv", "--topic", missing)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith(
        f"error: the topic {missing} is not there: create it (scm-consumer check --create "
    )
    assert done.stdout == ""
    assert sum(kafka.end_offsets(topic).values()) == 0
    assert (
        missing
        not in AdminClient({"bootstrap.servers": kafka.bootstrap}).list_topics(timeout=30).topics
    )


def test_a_broker_that_is_not_there_is_waited_for_and_told_within_half_a_minute(
    publish: Publish,
) -> None:
    publish.kafka["bootstrap_servers"] = f"127.0.0.1:{free_port()}"
    publish.file("codes.csv", table(10))
    begin = time.monotonic()
    done = publish("codes.csv")
    assert time.monotonic() - begin < 30
    assert done.returncode == 1
    waits, line = done.stderr.splitlines()
    assert waits == f"waiting for Kafka at {publish.kafka['bootstrap_servers']}, up to 20 s ..."
    assert line.startswith(f"error: Kafka at {publish.kafka['bootstrap_servers']}: ")
    assert line.endswith("check kafka.bootstrap_servers and that Kafka is up")


def test_a_dry_run_publishes_nothing(publish: Publish, kafka: Kafka, topic: str) -> None:
    publish.file("codes.csv", table(100))
    done = publish("codes.csv", "--dry-run")
    assert done.returncode == 0
    assert f"100 of 100 lines would be published to {topic}" in done.stdout
    assert sum(kafka.end_offsets(topic).values()) == 0


def test_a_record_that_the_topic_has_no_room_for_is_told_by_its_line(
    kafka: Kafka, publish: Publish
) -> None:
    """Both by the client (over its own limit) and by the broker (over the topic's)."""
    small = kafka.create_topic(unique("small"), config={"max.message.bytes": "2000"})
    publish.client["batch.num.messages"] = 1
    many, more = (
        ",".join(f'"f{n}": "{"x" * 40}"' for n in range(count)) for count in (100, 19_500)
    )
    assert 1_000_000 < len(more) < 2**20
    lines = [
        '{"extended_id": "A1", "a": "1"}',
        f'{{"extended_id": "A2", {many}}}',
        f'{{"extended_id": "A3", {more}}}',
    ]
    publish.file("events.ndjson", "\n".join([*lines, '{"extended_id": "A4", "a": "1"}']))
    done = publish("events.ndjson", "--topic", small)
    assert done.returncode == 1
    assert "2 of 4 lines" in done.stdout
    told = sorted(done.stderr.splitlines())
    assert [line.partition(": ")[0] for line in told] == ["line 2", "line 3"]
    assert all("too large" in line for line in told)
    assert [record.key for record in kafka.read_all(small)] == [b"A1", b"A4"]


def test_ctrl_c_keeps_what_was_read_and_says_where_to_go_on(
    publish: Publish, kafka: Kafka, topic: str
) -> None:
    lines = table(3000).splitlines(keepends=True)
    with publish.fed() as fed:
        fed.feed(lines[:1501])
        fed.wait_for_records(kafka, topic, 1500)
        fed.signal(signal.SIGINT)
        assert fed.exit_code() == 130
    assert "published 1,500 of 1,500 lines" in fed.out
    assert fed.err.splitlines()[-1] == "stopped: go on with --from-line 1502"

    publish.file("codes.csv", "".join(lines))
    assert publish("codes.csv", "--from-line", "1502").returncode == 0
    assert steps(kafka.read_all(topic)) == {
        f"CODE{n:03d}": list(range(n, 3000, 100)) for n in range(100)
    }


def test_a_signal_before_the_first_line_ends_it_too(
    publish: Publish, kafka: Kafka, topic: str
) -> None:
    with publish.fed() as fed:
        fed.feed([HEADER])
        fed.signal(signal.SIGTERM)
        assert fed.exit_code() == 143
    assert "Traceback" not in fed.err
    assert sum(kafka.end_offsets(topic).values()) == 0


def test_a_second_signal_waits_no_longer_for_a_broker_that_does_not_answer(
    own_broker: JvmBroker, tmp_path: Path
) -> None:
    kafka = Kafka(own_broker.bootstrap, "own")
    topic = kafka.create_topic("published", 4)
    publish = Publish(tmp_path, own_broker.bootstrap, topic)
    lines = table(200).splitlines(keepends=True)
    with publish.fed() as fed:
        fed.feed(lines[:101])
        fed.wait_for_records(kafka, topic, 100)
        own_broker.pause()
        fed.feed(lines[101:])
        fed.signal(signal.SIGINT)
        wait_until(lambda: "a second signal leaves at once" in fed.err, 30)
        fed.signal(signal.SIGINT)
        assert fed.exit_code(15) == 130
    assert "published 100 of " in fed.out
    assert fed.err.splitlines()[-1] == "stopped: go on with --from-line 102"


def test_a_broker_that_goes_away_ends_it_with_the_line_to_go_on_with(
    own_broker: JvmBroker, tmp_path: Path
) -> None:
    kafka = Kafka(own_broker.bootstrap, "own")
    topic = kafka.create_topic("published", 4)
    publish = Publish(tmp_path, own_broker.bootstrap, topic)
    publish.patience_ms = 10_000
    lines = table(4000).splitlines(keepends=True)
    with publish.fed() as fed:
        fed.feed(lines[:2001])
        fed.wait_for_records(kafka, topic, 2000)
        own_broker.kill()
        fed.feed(lines[2001:])
        fed.end()
        assert fed.exit_code() == 1
    assert "Traceback" not in fed.err
    assert "published 2,000 of " in fed.out
    assert "not acknowledged" in fed.out
    last = fed.err.splitlines()[-1]
    assert last.startswith("error: Kafka takes no more: ")
    assert last.endswith("; go on with --from-line 2002")

    own_broker.restart()
    publish.file("codes.csv", "".join(lines))
    done = publish("codes.csv", "--from-line", "2002")
    assert done.returncode == 0, done.stderr
    assert steps(kafka.read_all(topic)) == {
        f"CODE{n:03d}": list(range(n, 4000, 100)) for n in range(100)
    }


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecureBroker]:
    with secure_broker(tmp_path_factory.mktemp("secure")) as broker:
        yield broker


def allow(broker: SecureBroker, topic: str, *operations: AclOperation) -> None:
    admin = AdminClient({"bootstrap.servers": broker.broker.bootstrap, "log_level": 0})
    everywhere, yes = "*", AclPermissionType.ALLOW
    wanted = [
        AclBinding(
            ResourceType.TOPIC,
            topic,
            ResourcePatternType.LITERAL,
            f"User:{USER}",
            everywhere,
            operation,
            yes,
        )
        for operation in operations
    ]
    for answer in admin.create_acls(wanted).values():
        answer.result(30)


@pytest.mark.parametrize(
    ("properties", "words"),
    [
        (
            {"sasl.password": "wrong-secret"},
            "the broker refused the log-in; check sasl.* in kafka.client",
        ),
        ({"ssl.ca.location": None}, "the TLS handshake failed; check ssl.ca.location"),
    ],
    ids=["wrong password", "CA not known"],
)
def test_a_refused_log_in_is_told_with_its_cause_and_without_the_password(
    secured: SecureBroker, tmp_path: Path, properties: dict[str, str | None], words: str
) -> None:
    publish = Publish(tmp_path, secured.bootstrap, "published")
    publish.client |= {
        name: value for name, value in (secured.client() | properties).items() if value is not None
    }
    publish.file("codes.csv", table(10))
    done = publish("codes.csv")
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert words in line
    assert "secret" not in line


def test_a_user_who_may_not_write_is_told_which_right_is_missing(
    secured: SecureBroker, tmp_path: Path
) -> None:
    kafka = Kafka(secured.broker.bootstrap, "secure")
    topic = kafka.create_topic(unique("read-only"))
    allow(secured, topic, AclOperation.DESCRIBE)
    publish = Publish(tmp_path, secured.bootstrap, topic)
    publish.client |= secured.client()
    publish.file("codes.csv", table(10))
    done = publish("codes.csv")
    assert done.returncode == 1
    assert re.search(
        r"give this user the right to write to the topic; go on with --from-line [12]$", done.stderr
    )
    assert done.stdout.startswith("published 0 of ")

    allow(secured, topic, AclOperation.WRITE)
    assert publish("codes.csv").returncode == 0
    assert len(kafka.read_all(topic)) == 10


def test_what_is_published_is_what_the_consumer_brings_to_the_api(job: Job, tmp_path: Path) -> None:
    publish = Publish(tmp_path / "publish", job.kafka.bootstrap, job.topic)
    publish.client.clear()  # with the usual compression
    publish.folder.mkdir()
    rows = [
        f"CODE{n:04d};{n % 3};2026-11-{1 + n % 28:02d};{'' if n % 2 else '001'}"
        for n in range(1000)
    ]
    publish.file(
        "codes.csv",
        "\ufeff" + "\r\n".join(["extended_id;activation_status;made;batch", *rows, "BAD;9;x;y"]),
    )
    assert publish("codes.csv").returncode == 1

    out = job.run_to_end()

    assert "1000 consumed = 1000 accepted + 0 rejected" in out
    codes = job.sandbox.state()["codes"]
    assert len(codes) == 1000
    assert {name: codes["CODE0004"][name] for name in ("activation_status", "made", "batch")} == {
        "activation_status": "1",
        "made": "2026-11-05",
        "batch": "001",
    }
    assert "batch" not in codes["CODE0005"]


def measured(
    publish: Publish, *arguments: str
) -> tuple[subprocess.CompletedProcess[str], list[float]]:
    """Return the command's end, and its resident memory in MiB, looked at all along."""
    sizes = []
    with subprocess.Popen(
        publish.command(*arguments),
        cwd=publish.folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        while process.poll() is None:
            found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{process.pid}/status").read_text())
            sizes += [int(found[1]) / 1024] if found else []
            time.sleep(0.05)
        out, err = process.communicate()
    return subprocess.CompletedProcess(process.args, process.returncode, out, err), sizes


@pytest.mark.alone
def test_two_hundred_thousand_lines_go_quickly_and_in_flat_memory(
    publish: Publish, kafka: Kafka, topic: str
) -> None:
    publish.client.clear()
    rows = [
        f"CODE{n:016d}MRP,{9 if n % 20_000 == 77 else 1},prod_1,C-{n // 50:07d}\n"
        for n in range(200_000)
    ]
    content = "extended_id,activation_status,product,case_code\n" + "".join(rows)
    publish.file("codes.csv", content)
    done, sizes = measured(publish, "codes.csv")
    assert done.returncode == 1
    assert re.findall(r"^line (\d+): invalid_value", done.stderr, re.MULTILINE) == [
        str(2 + n) for n in range(77, 200_000, 20_000)
    ]
    assert "published 199,990 of 200,000 lines" in done.stdout
    assert sum(kafka.end_offsets(topic).values()) == 199_990
    rate = re.search(r"\(([\d,]+) lines/s\)", done.stdout)
    assert rate is not None
    assert int(rate[1].replace(",", "")) >= FLOOR_LINES_PER_SECOND
    begin, end = sizes[: len(sizes) // 2], sizes[len(sizes) // 2 :]
    assert max(end) <= max(begin) + 8
    assert max(end) < 150
