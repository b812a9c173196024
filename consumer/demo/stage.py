"""The stage: an embedded Kafka, the sandbox API with faults, the line, and the real consumer.

The consumer is a process of its own, started as a user starts it. Everything is on free ports of
this machine and in a temporary folder, and is gone when the stage is closed, however that happens.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from consumer.adapters.kafka.embedded import EmbeddedKafka
from consumer.demo.evidence import AppliedRow, DemoEvidence, FactoryWorld, UploadRequest
from consumer.demo.process import ConsumerProcess, free_address
from consumer.demo.publishing import LinePublisher
from consumer.demo.shift import Shift, Size
from consumer.demo.topics import Tail, TopicReader
from consumer.demo.watch import Progress, Watch
from consumer.errors import UserError
from consumer.sandbox import Sandbox

TOPIC = "scm.events"
DEAD_LETTERS = "scm.events.dlq"
GROUP = "scm-consumer-demo"
TOKEN = "demo-token"  # noqa: S105 - it opens the sandbox only

#: The line's pace: a shift of two hours in nine seconds; and afterwards, when all is kept running
#: to look at.
EVENTS_PER_SECOND = 570.0
TRICKLE_PER_SECOND = 3.0
#: So many events come afterwards at most (nine hours' worth): the sandbox keeps its journal in
#: memory.
TRICKLE_EVENTS = 100_000
#: The consumer has this long to bring everything to its end.
PATIENCE_SECONDS = 120.0
LOOK_EVERY_SECONDS = 0.2

#: How the API misbehaves: each entry is a fault of the sandbox, in the order in which they are
#: asked.
FAULTS: tuple[Mapping[str, Any], ...] = (
    {"kind": "latency", "seconds": 0.05},
    {"kind": "throttle", "every": 23, "retry_after": 1},
    {"kind": "status", "code": 503, "every": 11},
    {
        "kind": "late",
        "first": 1,
        "seconds": 0.6,
        "min_rows": 40,
    },  # no answer, and applied when all seems over
    {"kind": "reset_after", "every": 13},  # applied, but the answer is lost
    {"kind": "bad_request", "style": "none", "first": 2, "min_rows": 20},  # 400 that names no row
    {"kind": "bad_request", "style": "line", "first": 3},  # 400 that names rows by their line only
)

#: A user's settings, but quick: lost answers and retries are waited for in seconds instead of a
#: minute.
CONFIGURATION = """\
[kafka]
bootstrap_servers = "{bootstrap_servers}"
group_id = "{group}"
topics = ["{topic}"]
commit_interval_seconds = 0.2

[events]
data_key = "{data_key}"
date_fields = [{date_fields}]

[api]
base_url = "{url}"
token = "{token}"
requests_per_second = 25
timeout_seconds = 5
max_processing_seconds = 2

[retry]
base_seconds = 0.1
cap_seconds = 1

[dead_letter]
topic = "{dead_letters}"

[ops]
listen = "{ops}"
"""


@dataclass(frozen=True, slots=True)
class DemoStage:
    """Everything that runs; see ``set_up``."""

    shift: Shift
    kafka: EmbeddedKafka
    api: Sandbox
    topics: TopicReader
    consumer: ConsumerProcess
    watch: Watch
    configuration: Path
    ops: str  #: address of the consumer's page, host:port

    def play(self, tell: Callable[[Progress], None], *, stay: bool = False) -> DemoEvidence:
        """Let the line publish a shift while the consumer works; return what there is to judge.

        It ends when all is committed. ``tell`` is called about five times a second. The consumer is
        stopped then, unless everything is to ``stay``. Raises UserError when the consumer fails or
        does not get there.
        """
        seconds = self._bring_to_end(tell)
        ledger = self.consumer.ledger()
        if not stay:
            self.consumer.stop()
        return self._evidence(ledger, seconds)

    def _bring_to_end(self, tell: Callable[[Progress], None]) -> float:
        messages = self.shift.messages()
        with LinePublisher(
            self.kafka.bootstrap_servers, TOPIC, messages, EVENTS_PER_SECOND
        ) as publisher:
            while True:
                progress = self.watch.look(publisher.progress(), len(messages))
                tell(progress)
                if progress.done:
                    return progress.seconds
                self.consumer.check()
                if progress.seconds > PATIENCE_SECONDS:
                    text = (
                        "the consumer did not bring everything to its end "
                        f"within {PATIENCE_SECONDS:g} s"
                    )
                    raise UserError(self.consumer.failure(text))
                time.sleep(LOOK_EVERY_SECONDS)

    def trickle(self) -> AbstractContextManager[LinePublisher]:
        """Let the line go on, slowly, as long as the context is open."""
        messages = islice(self.shift.on_and_on(), TRICKLE_EVENTS)
        return LinePublisher(self.kafka.bootstrap_servers, TOPIC, messages, TRICKLE_PER_SECOND)

    def _evidence(self, ledger: Mapping[str, int], seconds: float) -> DemoEvidence:
        journal = self.api.journal()
        return DemoEvidence(
            world=self.shift.world,
            published=self.topics.read(TOPIC),
            letters=self.topics.read(DEAD_LETTERS),
            state=self.api.state()["codes"],
            applied=[
                AppliedRow(row["data_key"], row["key_value"], row["fields"])
                for row in journal["rows"]
            ],
            requests=[
                UploadRequest(entry["status"], entry["data_key"], entry["keys"], entry["applied"])
                for entry in journal["requests"]
                if entry["method"] == "POST"
            ],
            broken_rules={
                rule: about["count"] for rule, about in self.api.rules()["broken"].items()
            },
            ledger=ledger,
            seconds=seconds,
        )


@contextmanager
def set_up(size: Size) -> Iterator[DemoStage]:
    """Start Kafka, the API and the consumer; all of it is stopped and removed at the end."""
    shift = Shift(size)
    world = shift.world
    with (
        TemporaryDirectory(prefix="scm-consumer-demo-") as folder,
        EmbeddedKafka() as kafka,
        Sandbox(token=TOKEN, codes=world.codes, products=world.products) as api,
        TopicReader(kafka.bootstrap_servers, GROUP) as topics,
    ):
        for fault in FAULTS:
            api.faults.add(**fault)
        kafka.create_topic(TOPIC)
        ops = free_address()
        file = Path(folder, "scm-consumer.toml")
        file.write_text(
            _configuration(world, kafka.bootstrap_servers, api.url, ops), encoding="utf-8"
        )
        with (
            Tail(
                kafka.bootstrap_servers, DEAD_LETTERS, kafka.create_topic(DEAD_LETTERS)
            ) as letters,
            ConsumerProcess(file, ops) as consumer,
        ):
            watch = Watch(TOPIC, topics, letters, api, consumer.status)
            yield DemoStage(shift, kafka, api, topics, consumer, watch, file, ops)


def _configuration(world: FactoryWorld, bootstrap_servers: str, url: str, ops: str) -> str:
    return CONFIGURATION.format(
        bootstrap_servers=bootstrap_servers,
        group=GROUP,
        topic=TOPIC,
        dead_letters=DEAD_LETTERS,
        data_key=world.data_key,
        date_fields=", ".join(f'"{name}"' for name in world.date_fields),
        url=url,
        token=TOKEN,
        ops=ops,
    )
