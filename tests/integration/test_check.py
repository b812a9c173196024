"""``check`` as a user runs it, against real brokers: each trouble is one line that says
what to do.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping
from contextlib import closing
from typing import Any

import pytest
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import (
    AdminClient,
    ConfigResource,
)
from confluent_kafka.cimpl import NewTopic

from consumer.preflight.permissions import NEEDED
from tests.component.wire import Peer, Wire, free_port
from tests.integration.checking import CHECK_SECONDS, check
from tests.support.job import Job, line_events
from tests.support.kafka_broker import JvmBroker
from tests.support.kafka_witness import Kafka, unique
from tests.support.process import ConsumerProcess, wait_until

HOUR_MS, DAY_MS = 3_600_000, 86_400_000


def configuration(kafka: Kafka, topic: str) -> dict[str, str]:
    resource = ConfigResource(ConfigResource.Type.TOPIC, topic)
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap})
    (future,) = admin.describe_configs([resource]).values()
    return {name: entry.value for name, entry in future.result(30).items()}


def topics_of(bootstrap: str) -> dict[str, int]:
    admin = AdminClient({"bootstrap.servers": bootstrap})
    found = admin.list_topics(timeout=30).topics
    return {
        name: len(topic.partitions) for name, topic in found.items() if not name.startswith("__")
    }


def commit(kafka: Kafka, group: str, topic: str, offset: int) -> None:
    properties = {
        "bootstrap.servers": kafka.bootstrap,
        "group.id": group,
        "enable.auto.commit": False,
    }
    consumer = Consumer(properties)
    consumer.commit(offsets=[TopicPartition(topic, 0, offset)], asynchronous=False)
    consumer.close()


# -- the broker ----------------------------------------------------------------------------------


def test_with_everything_there_all_is_well(job: Job) -> None:
    found = check(job)
    assert (found.code, found.out.splitlines()[-1]) == (0, "all is well")
    assert [*found.lines] == [
        *("configuration", "broker", "topics", "dead letters", "rights", "group", "retention"),
        *("registry", "API", "token", "permissions", "clock"),
    ]
    assert {state for lines in found.lines.values() for state, _ in lines} == {"ok"}
    assert all(name in found.one("permissions")[1] for name in NEEDED)
    assert f"{job.topic}: 8 partitions" in found.one("topics")[1]


def test_no_broker_is_one_failure_and_the_api_is_checked_all_the_same(job: Job) -> None:
    found = check(job, kafka={"bootstrap_servers": f"127.0.0.1:{free_port()}"})
    assert found.failed == ["broker"]
    assert "Connection refused" in found.one("broker")[1]
    assert "kafka.bootstrap_servers" in found.one("broker")[1]
    assert {
        found.one(name)[0] for name in ("topics", "dead letters", "rights", "group", "retention")
    } == {"skipped"}
    assert found.one("token")[0] == "ok"


@pytest.mark.alone
def test_with_everything_silent_it_ends_in_time_and_says_all(job: Job) -> None:
    def script(peer: Peer, wire: Wire) -> None:
        peer.hold()

    with Wire(script) as silent:
        began = time.monotonic()
        found = check(
            job,
            kafka={"bootstrap_servers": f"127.0.0.1:{silent.port}"},
            api={"base_url": silent.url},
            schema_registry={"url": silent.url},
        )
        seconds = time.monotonic() - began
    assert found.failed == ["broker", "registry", "API"]
    assert seconds < 20  # 15, and the start of a process on a busy machine


def test_a_broker_that_gives_out_an_address_nobody_reaches_is_told_with_that_address(
    job: Job,
) -> None:
    good, lost, controller, elsewhere = (f"127.0.0.1:{free_port()}" for _ in range(4))
    properties = {
        "listeners": f"PLAINTEXT://{good},LOST://{lost},CONTROLLER://{controller}",
        "advertised.listeners": f"PLAINTEXT://{good},LOST://{elsewhere}",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,LOST:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "inter.broker.listener.name": "PLAINTEXT",
        "controller.quorum.voters": f"1@{controller}",
    }
    with closing(JvmBroker(properties)) as broker:
        broker.port = int(good.partition(":")[2])
        broker.start()
        found = check(job, kafka={"bootstrap_servers": lost})
    assert found.failed == ["broker"]
    assert elsewhere in found.one("broker")[1]
    assert "advertised.listeners" in found.one("broker")[1]


def test_one_broker_of_two_that_is_down_fails_only_what_it_leads(job: Job) -> None:
    one, one_inside, two, two_inside, controller, nowhere = (
        f"127.0.0.1:{free_port()}" for _ in range(6)
    )
    cluster = str(uuid.uuid4())
    shared = {
        "listener.security.protocol.map": (
            "PLAINTEXT:PLAINTEXT,INSIDE:PLAINTEXT,CONTROLLER:PLAINTEXT"
        ),
        "inter.broker.listener.name": "INSIDE",
        "controller.quorum.voters": f"1@{controller}",
    }
    first = shared | {
        "listeners": f"PLAINTEXT://{one},INSIDE://{one_inside},CONTROLLER://{controller}"
    }
    first |= {"advertised.listeners": f"PLAINTEXT://{one},INSIDE://{one_inside}"}
    second = shared | {"node.id": "2", "process.roles": "broker"}
    second |= {"listeners": f"PLAINTEXT://{two},INSIDE://{two_inside}"}
    # as good as down, for clients
    second |= {"advertised.listeners": f"PLAINTEXT://{nowhere},INSIDE://{two_inside}"}
    with (
        closing(JvmBroker(first, cluster=cluster)) as reached,
        closing(JvmBroker(second, cluster=cluster)) as lost,
    ):
        reached.port, lost.port = (int(address.partition(":")[2]) for address in (one, two))
        reached.start()
        lost.start()
        admin = AdminClient({"bootstrap.servers": one_inside, "log_level": 0})
        wait_until(lambda: len(admin.list_topics(timeout=5).brokers) == 2, 30)
        well = {"retention.ms": "-1"}
        for created in admin.create_topics(
            [
                NewTopic("reached", 2, replica_assignment=[[1, 2], [1, 2]], config=well),
                NewTopic("lost", 2, replica_assignment=[[1], [2]], config=well),
                NewTopic("letters", 1, replica_assignment=[[1, 2]], config=well),
                # Wherever its name puts the group: its offsets are kept by the broker that is
                # reached.
                NewTopic(
                    "__consumer_offsets",
                    4,
                    replica_assignment=[[1]] * 4,
                    config={"cleanup.policy": "compact"},
                ),
            ]
        ).values():
            created.result(10)
        kafka = {"bootstrap_servers": f"127.0.0.1:{free_port()},{one}", "topics": ["reached"]}
        fine = check(job, kafka=kafka, dead_letter={"topic": "letters"})
        kafka["topics"] = ["reached", "lost"]
        worse = check(job, kafka=kafka, dead_letter={"topic": "letters"})
    assert fine.failed == []
    state, text = fine.one("broker")
    assert (state, "1 of 2 brokers cannot be reached" in text, nowhere in text) == (
        "warning",
        True,
        True,
    )
    assert [fine.one(name)[0] for name in ("topics", "dead letters", "rights", "retention")] == [
        "ok"
    ] * 4
    assert worse.failed == ["topics"]
    assert [state for state, _ in worse.lines["topics"]] == ["ok", "FAILED"]
    assert (
        "lost: 1 partition led by a broker that cannot be reached (1)"
        in worse.lines["topics"][1][1]
    )


# -- topics --------------------------------------------------------------------------------------


def test_a_pattern_that_matches_nothing_fails_and_one_that_matches_is_well(job: Job) -> None:
    found = check(
        job, kafka={"topics": ["^no-such-topic-[0-9]+$", f"^{job.topic.replace('.', '[.]')}$"]}
    )
    (nothing, something) = found.lines["topics"]
    assert (nothing[0], "no topic matches" in nothing[1]) == ("FAILED", True)
    assert something == ("ok", f"^{job.topic.replace('.', '[.]')}$: matches 1 topic ({job.topic})")


def test_a_missing_dead_letter_topic_fails_and_create_makes_it(job: Job) -> None:
    job.letters = unique("letters")
    found = check(job)
    assert found.failed == ["dead letters"]
    assert "scm-consumer check --create" in found.one("dead letters")[1]
    assert job.letters not in topics_of(job.kafka.bootstrap)

    made = check(job, "--create")
    assert made.code == 0
    assert f"{job.letters}: 8 partitions, 1 copy, made now" in made.one("dead letters")[1]
    assert topics_of(job.kafka.bootstrap)[job.letters] == 8
    settings = configuration(job.kafka, job.letters)
    assert (settings["retention.ms"], settings["retention.bytes"], settings["cleanup.policy"]) == (
        "-1",
        "-1",
        "delete",
    )
    events = configuration(job.kafka, job.topic)
    assert int(settings["max.message.bytes"]) > int(events["max.message.bytes"])

    again = check(job, "--create")
    assert again.code == 0
    assert "made now" not in again.out


def test_create_makes_what_a_newcomer_needs_to_run(job: Job) -> None:
    job.topic, job.letters = unique("new-events"), unique("new-letters")
    before = topics_of(job.kafka.bootstrap).keys()
    found = check(job, "--create")
    assert found.code == 0
    after = topics_of(job.kafka.bootstrap)
    assert {name: after[name] for name in after.keys() - before} == {job.topic: 6, job.letters: 6}
    settings = configuration(job.kafka, job.topic)
    assert (settings["retention.ms"], settings["cleanup.policy"]) == (str(7 * DAY_MS), "delete")

    job.produce(line_events(200, seed=1))
    job.run_to_end()
    assert sum(job.kafka.end_offsets(job.letters).values()) > 0
    job.assert_committed_to_the_end()


def test_create_makes_no_topic_for_a_pattern(job: Job) -> None:
    before = topics_of(job.kafka.bootstrap)
    found = check(job, "--create", kafka={"topics": ["^nothing-like-it$"]})
    assert found.failed == ["topics"]
    assert topics_of(job.kafka.bootstrap) == before


def test_a_broker_that_makes_topics_by_itself_is_not_led_to(job: Job) -> None:
    with closing(JvmBroker({"auto.create.topics.enable": "true"})) as broker:
        broker.start()
        found = check(job, kafka={"bootstrap_servers": broker.bootstrap})
        assert found.failed == ["topics", "dead letters"]
        assert topics_of(broker.bootstrap) == {}


# -- retention and the group's position ----------------------------------------------------------


def with_topic(job: Job, config: Mapping[str, str]) -> Job:
    job.topic = job.kafka.create_topic(unique("kept"), 1, config)
    return job


@pytest.mark.parametrize(
    ("config", "state", "words", "advice"),
    [
        ({"retention.ms": str(HOUR_MS)}, "FAILED", "for 1 hour", "retention.ms=604800000"),
        ({"retention.ms": str(2 * DAY_MS)}, "warning", "for 2 days", "retention.ms=604800000"),
        ({"cleanup.policy": "compact"}, "FAILED", "is compacted", "cleanup.policy=delete"),
        ({"cleanup.policy": "compact,delete"}, "FAILED", "is compacted", "cleanup.policy=delete"),
        (
            {"retention.bytes": str(64 << 20)},
            "warning",
            "at most 64 MiB a partition",
            "retention.bytes=-1",
        ),
        (
            {"max.message.bytes": "3000000"},
            "warning",
            "takes dead letters up to",
            "max.message.bytes=3065536",
        ),
    ],
)
def test_events_that_would_be_deleted_unread_are_told(
    job: Job, config: dict[str, str], state: str, words: str, advice: str
) -> None:
    found = check(with_topic(job, config))
    assert found.code == (3 if state == "FAILED" else 0)
    told, text = found.one("retention")
    assert (told, words in text, advice in text) == (state, True, True), text


@pytest.mark.parametrize(
    ("config", "state", "words"),
    [
        ({"retention.ms": str(DAY_MS)}, "warning", "keeps dead letters for 1 day"),
        ({"cleanup.policy": "compact"}, "FAILED", "is compacted"),
        ({"retention.ms": "-1", "min.insync.replicas": "2"}, "FAILED", "no dead letter is taken"),
    ],
)
def test_letters_that_would_be_lost_or_refused_are_told(
    job: Job, config: dict[str, str], state: str, words: str
) -> None:
    job.letters = job.kafka.create_topic(unique("letters"), 1, config)
    told, text = check(job).one("retention")
    assert (told, words in text) == (state, True), text


@pytest.mark.parametrize(
    ("policy", "state"), [("stop", "FAILED"), ("earliest", "warning"), ("latest", "warning")]
)
def test_a_committed_offset_that_retention_deleted_is_told_with_what_was_lost(
    job: Job, policy: str, state: str
) -> None:
    job.produce(
        [{"extended_id": f"CODE{number}", "line": "1"} for number in range(30)], partition=0
    )
    commit(job.kafka, job.group, job.topic, 5)
    job.kafka.delete_records(job.topic, {0: 20})
    told, text = check(job, kafka={"on_out_of_range": policy}).one("group")
    assert told == state
    assert "15 offsets were deleted unread" in text
    assert "kafka.on_out_of_range" in text


def test_a_committed_offset_behind_the_end_asks_whether_the_topic_is_a_new_one(job: Job) -> None:
    commit(job.kafka, job.group, job.topic, 500)
    told, text = check(job).one("group")
    assert (told, "which ends at 0" in text, "made again?" in text) == ("FAILED", True, True)


def test_another_program_in_the_group_is_told(job: Job) -> None:
    properties = {
        "bootstrap.servers": job.kafka.bootstrap,
        "group.id": job.group,
        "partition.assignment.strategy": "range",
    }
    other = Consumer(properties)
    other.subscribe([job.topic])
    wait_until(lambda: (other.poll(0.1), other.assignment())[1], 30)
    told, text = check(job).one("group")
    other.close()
    assert (told, "assignor is range" in text, "kafka.group_id" in text) == ("FAILED", True, True)


# -- the rest ------------------------------------------------------------------------------------


def test_an_api_that_is_down_a_wrong_token_and_a_missing_permission_exit_3(job: Job) -> None:
    down = check(job, api={"base_url": f"http://127.0.0.1:{free_port()}"})
    wrong = check(job, api={"token": "wrong-token"})
    job.sandbox.permissions = [name for name in NEEDED if name != "scm_bulk_edit"]
    lacking = check(job)
    assert (down.failed, wrong.failed, lacking.failed) == (["API"], ["token"], ["permissions"])
    assert "api.base_url" in down.one("API")[1]
    assert "api.token" in wrong.one("token")[1]
    assert "scm_bulk_edit" in lacking.one("permissions")[1].partition(" -> ")[0]


def test_a_registry_that_is_down_exits_3(job: Job) -> None:
    found = check(job, schema_registry={"url": f"http://127.0.0.1:{free_port()}"})
    assert found.failed == ["registry"]
    assert "schema_registry.url" in found.one("registry")[1]


def test_a_wrong_configuration_exits_2_before_anything_is_checked(job: Job) -> None:
    with ConsumerProcess(
        job.folder, job.settings(windows={"max_rows": 500}), "check", name="wrong"
    ) as process:
        assert process.wait(CHECK_SECONDS) == 2
        assert "windows.max_rows" in process.err
        assert process.out == ""


def test_beside_a_running_group_it_changes_nothing(job: Job) -> None:
    admin = AdminClient({"bootstrap.servers": job.kafka.bootstrap})

    def members() -> list[str]:
        (future,) = admin.describe_consumer_groups([job.group]).values()
        return sorted(member.member_id for member in future.result(30).members)

    def state() -> dict[str, Any]:
        return {
            "members": members(),
            "commits": job.kafka.commits(job.group, job.topic),
            "events": job.kafka.end_offsets(job.topic),
            "letters": job.kafka.end_offsets(job.letters),
            "uploads": sum(
                entry["path"].endswith("/upload/") for entry in job.sandbox.journal()["requests"]
            ),
            "topics": topics_of(job.kafka.bootstrap).keys() & {job.topic, job.letters},
            "settings": [configuration(job.kafka, topic) for topic in (job.topic, job.letters)],
        }

    job.produce(line_events(500, seed=2))
    ends = job.kafka.end_offsets(job.topic)
    with job.process() as consumer:
        wait_until(
            lambda: sum(job.kafka.committed(job.group, job.topic).values()) == sum(ends.values()),
            60,
            lambda: consumer.err[-3000:],
        )
        before, log = state(), consumer.err
        found = check(job)
        assert found.code == 0
        assert found.one("group") == ("ok", f"{job.group}: 1 member, 0 offsets behind the end")
        assert state() == before
        assert consumer.err == log, "the running member noticed"


def test_a_group_that_was_never_used_does_not_come_into_being(job: Job) -> None:
    check(job)
    admin = AdminClient({"bootstrap.servers": job.kafka.bootstrap})
    listed = admin.list_consumer_groups().result(30)
    assert job.group not in [group.group_id for group in listed.valid]


def test_the_receipts_topic_is_looked_at_and_made_only_where_receipts_are_written(job: Job) -> None:
    topic = unique("receipts")
    assert "receipts" not in check(job).lines
    state, text = check(job, receipts={"topic": topic}).one("receipts")
    assert (state, f"{topic}: not there, so receipts have nowhere to go" in text) == (
        "FAILED",
        True,
    )
    state, text = check(job, "--create", receipts={"topic": topic}).one("receipts")
    assert (state, "made now; receipts are kept until you delete them" in text) == ("ok", True)
    found = check(job, receipts={"topic": topic})
    assert found.one("receipts")[0] == "ok"
    assert f"write {job.letters} and 1 more" in found.one("rights")[1]
