"""The cases: a fault, the alerts that it must bring, and how it ends.

Each is a generator: up to its first ``yield`` it makes a site in which all is well, then it
switches the fault on, and after the second ``yield`` off.
"""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import NamedTuple

from confluent_kafka.schema_registry import SchemaRegistryClient, topic_subject_name_strategy
from confluent_kafka.schema_registry.avro import AvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext

from consumer.formats.schemas import read_schema
from tests.alerts.clusters import broker_that_can_be_frozen, two_brokers
from tests.alerts.site import Site
from tests.support.apicurio import Apicurio
from tests.support.kafka_witness import unique

Play = Callable[[Site], Iterator[None]]


class Case(NamedTuple):
    """A case: what is done, in words, and which alerts it must bring."""

    fault: str
    alerts: tuple[str, ...]  #: name, with the cause in parentheses
    play: Play
    quiet_seconds: float = 0.0  #: how long nothing may come, if no alert is to

    @property
    def name(self) -> str:
        """Return its name, for jobs and folders."""
        return self.play.__name__.replace("_", "-")


CASES: list[Case] = []


def case(fault: str, *alerts: str, quiet_seconds: float = 0.0) -> Callable[[Play], Play]:
    """Enter a case into the list."""

    def enter(play: Play) -> Play:
        CASES.append(Case(fault, alerts, play, quiet_seconds))
        return play

    return enter


# -- the longest first: what begins last should be short -----------------------------------------


@case(
    "the API answers 503 for a while, then settles what is late",
    "ScmConsumerEventsLateSlow",
)
def late_for_long(site: Site) -> Iterator[None]:
    site.begin()
    yield
    number = site.sandbox.faults.add("status", code=503, path="any")
    site.wait_late(20)
    site.sandbox.faults.remove(number)
    yield


@case(
    "ten times as much is published as the request limit allows",
    "ScmConsumerTimeLag",
    "ScmConsumerBacklogOutlivesRetention",
)
def too_slow(site: Site) -> Iterator[None]:
    site.kafka.configure_topic(site.job.topic, {"retention.ms": "600000"})
    site.settings["api"] = {"requests_per_second": 2}
    site.begin()
    yield
    site.feed(2000)
    yield
    site.hush()
    # The limit is raised, as whoever runs it would have it done.
    site.stop()
    site.settings["api"] = {"requests_per_second": 0}
    site.start()


@case(
    "a normal day: one bad row in a hundred, a roll-out, the API away for a second",
    quiet_seconds=180,
)
def normal_day(site: Site) -> Iterator[None]:
    site.item = lambda number: {
        "extended_id": f"{'UNKNOWN' if number % 100 == 0 else 'CODE'}{number}",
        "line": "1",
    }
    site.begin("a", "b")
    yield
    site.wait_applied(600)
    for member, other in (("a", "b"), ("b", "a")):
        # As a cluster does it: a process that is taken away is scraped no more. A start takes
        # seconds, which here are as many half minutes.
        site.watch(other)
        site.stop(member)
        site.start(member)
        site.wait_ready(member)
        site.watch()
    site.wait_applied(400)
    number = site.sandbox.faults.add("status", code=503, path="any")
    site.wait_late(1)
    site.sandbox.faults.remove(number)
    yield


# -- the API -------------------------------------------------------------------------------------


@case("the API answers 401", "ScmConsumerApiBlocked (api_unauthorized)")
def unauthorized(site: Site) -> Iterator[None]:
    site.begin()
    yield
    site.sandbox.faults.add("status", code=401, path="any")
    yield
    site.sandbox.faults.clear()


@case("the API answers 403", "ScmConsumerApiBlocked (api_refused)")
def refused(site: Site) -> Iterator[None]:
    site.begin()
    yield
    site.sandbox.faults.add("status", code=403, path="any")
    yield
    site.sandbox.faults.clear()


@case("the API's address redirects to a login page", "ScmConsumerApiBlocked (api_unexpected)")
def unexpected(site: Site) -> Iterator[None]:
    site.begin()
    yield
    site.sandbox.faults.add("redirect", path="any")
    yield
    site.sandbox.faults.clear()


@case("the API knows none of the codes", "ScmConsumerApiBlocked (everything_rejected)")
def everything(site: Site) -> Iterator[None]:
    site.settings["dead_letter"] = {"pause_after_rejections": 50}
    site.begin()
    yield
    site.sandbox.load({}, only=True)
    yield
    site.sandbox.load({}, only=False)


@case("the API answers 503", "ScmConsumerApiFailing", "ScmConsumerTimeLag")
def failing(site: Site) -> Iterator[None]:
    site.begin()
    yield
    site.sandbox.faults.add("status", code=503, path="any")
    yield
    site.sandbox.faults.clear()


@case("the API answers 429 to every other request", "ScmConsumerThrottled")
def throttled(site: Site) -> Iterator[None]:
    site.begin()
    yield
    site.sandbox.faults.add("throttle", every=2, retry_after=2)
    yield
    site.sandbox.faults.clear()


@case("the API answers 500 for one code", "ScmConsumerRowStuck")
def poison(site: Site) -> Iterator[None]:
    site.begin()
    yield
    site.sandbox.faults.add("status", code=500, key="POISON")
    site.job.produce([{"extended_id": "POISON", "line": "1"}], partition=0)
    yield
    site.sandbox.faults.clear()


@case("the API is away for 15 seconds, then settles what is late", "ScmConsumerEventsLateFast")
def late(site: Site) -> Iterator[None]:
    site.begin()
    yield
    number = site.sandbox.faults.add("status", code=503, path="any")
    site.wait_late(15)
    site.sandbox.faults.remove(number)
    yield


@case("asynchronous tasks do not end", "ScmConsumerNoProgress")
def no_progress(site: Site) -> Iterator[None]:
    site.settings["api"] = {"mode": "async"}
    site.begin()
    yield
    site.sandbox.faults.add("task_slow", seconds=60)
    yield
    site.sandbox.faults.clear()


# -- Kafka ---------------------------------------------------------------------------------------


@case("the broker is frozen", "ScmConsumerKafkaAway")
def frozen(site: Site) -> Iterator[None]:
    broker = broker_that_can_be_frozen(site)
    site.begin()
    yield
    broker.pause()
    yield
    broker.resume()


@case("a partition's leader is down at the start", "ScmConsumerNotReading (start_unknown)")
def leaderless(site: Site) -> Iterator[None]:
    two = two_brokers(site)
    two.kill()
    site.begin()
    yield
    yield
    two.start()


@case("records are deleted before they are read", "ScmConsumerPartitionStopped (out_of_range)")
def out_of_range(site: Site) -> Iterator[None]:
    site.begin()
    yield
    site.hush()
    site.stop()
    ends = site.kafka.end_offsets(site.job.topic)
    site.job.produce([{"extended_id": f"GONE{n}", "line": "1"} for n in range(5)], partition=0)
    site.kafka.delete_records(site.job.topic, {0: ends[0] + 5})
    site.start()
    yield
    site.stop()
    site.settings["kafka"] = {"on_out_of_range": "earliest"}
    site.start()


@case("events wait longer than 80 % of what their topic keeps", "ScmConsumerRetentionNear")
def retention(site: Site) -> Iterator[None]:
    site.kafka.configure_topic(site.job.topic, {"retention.ms": "60000"})
    site.begin()
    yield
    site.sandbox.faults.add("status", code=503, path="any")
    yield
    site.sandbox.faults.clear()


@case("the schema registry is away", "ScmConsumerNotReading (schema_missing)")
def schema(site: Site) -> Iterator[None]:
    registry = Apicurio()
    site.stack.callback(registry.close)
    registry.start()
    value = avro_event(registry.url, site.job.topic)
    registry.stop()
    site.settings["schema_registry"] = {"url": registry.url}
    site.begin()
    yield
    site.kafka.produce(site.job.topic, [(b"AVRO1", value, 0, None)])
    yield
    registry.start()


def avro_event(url: str, topic: str) -> bytes:
    """Return an event in Avro, whose schema is registered there."""
    event = {
        "event_id": "1",
        "occurred_at": datetime(2026, 11, 22, 9, 30, tzinfo=UTC),
        "key_value": "AVRO1",
        "scm_data": {"line": "1"},
    }
    # By the topic's name: other strategies ask the registry for what it may not know.
    names = {"subject.name.strategy": topic_subject_name_strategy}
    with SchemaRegistryClient({"url": url, "timeout": 30}) as client:
        encode = AvroSerializer(client, json.dumps(read_schema("scm_event.avsc")), conf=names)
        value = encode(event, SerializationContext(topic, MessageField.VALUE))
    assert isinstance(value, bytes)
    return value


# -- our own topics, and the rows ----------------------------------------------------------------


@case("the dead-letter topic is not there", "ScmConsumerDeadLetterTopicFailing")
def letters(site: Site) -> Iterator[None]:
    site.job.letters = unique("no-letters")
    site.begin()
    yield
    site.job.produce([{"extended_id": "UNKNOWN1", "line": "1"}])
    yield
    site.kafka.create_topic(site.job.letters, 1)


@case("the receipts topic is not there", "ScmConsumerReceiptsTopicFailing")
def receipts(site: Site) -> Iterator[None]:
    topic = unique("no-receipts")
    site.settings["receipts"] = {"topic": topic}
    site.begin()
    yield
    yield
    site.kafka.create_topic(topic, 1)


@case("every other row of many waits for its dead letter", "ScmConsumerSettledMapNearFull")
def map_full(site: Site) -> Iterator[None]:
    site.job.letters = unique("no-letters")
    site.begin()
    yield
    rows = [
        {"extended_id": f"{'UNKNOWN' if number % 2 else 'SPLIT'}{number}", "line": "1"}
        for number in range(30_000)
    ]
    site.job.produce(rows, partition=0)
    yield
    site.kafka.create_topic(site.job.letters, 1)


@case("one row in ten is of an unknown code", "ScmConsumerRejections")
def rejected(site: Site) -> Iterator[None]:
    usual = site.item
    site.begin()
    yield
    site.item = lambda number: {
        "extended_id": f"{'UNKNOWN' if number % 10 == 0 else 'CODE'}{number}",
        "line": "1",
    }
    yield
    site.item = usual


@case("answers leave out rows", "ScmConsumerRowsUnconfirmed")
def unconfirmed(site: Site) -> Iterator[None]:
    site.begin()
    yield
    site.sandbox.faults.add("omit_rows", rows=1)
    yield
    site.sandbox.faults.clear()


@case("the campaign has no field of that name", "ScmConsumerFieldsNotConfirmed")
def fields(site: Site) -> Iterator[None]:
    site.begin()
    yield
    site.sandbox.faults.add("campaign_fields", fields=["product"])
    yield
    site.sandbox.faults.clear()


# -- the processes -------------------------------------------------------------------------------


@case("the only process is stopped", "ScmConsumerNobodyReads")
def stopped(site: Site) -> Iterator[None]:
    site.begin()
    yield
    site.stop()
    yield
    site.start()


@case("one of two processes is frozen", "ScmConsumerMemberDown")
def member_down(site: Site) -> Iterator[None]:
    site.begin("a", "b")
    yield
    site.signal(signal.SIGSTOP, "b")
    yield
    site.signal(signal.SIGCONT, "b")


@case("one of two processes is killed three times", "ScmConsumerMemberRestarts")
def restarts(site: Site) -> Iterator[None]:
    site.begin("a", "b")
    yield
    for _ in range(3):
        site.restart("b")
    yield
