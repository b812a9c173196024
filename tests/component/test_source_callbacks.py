"""The client inside its callbacks, and while the broker is away: the loop must go on."""

from __future__ import annotations

import subprocess
import sys

#: A commit's response that arrives while an assignment is taken in is served by the same poll,
#: right after it. In a process of its own, as the library ends the process on a mistake here.
PROGRAM = """
import os, sys, time
from confluent_kafka import TopicPartition
from consumer.core.offsets.commits import Commit
from consumer.adapters.kafka.embedded import EmbeddedKafka
from consumer.adapters.kafka.reader import ReadFrom
from consumer.adapters.kafka.source import Source

class Listener:
    stopping = leaves_at_once = False
    counted = committed = None
    def on_assigned(self, partitions):
        if partitions:
            source.commit([Commit(partition, 1, "") for partition in partitions])
            # The response is here before the callback ends, as that to a later request on the same
            # connection is.
            names = [TopicPartition(partition.topic, partition.number) for partition in partitions]
            while any(found.offset != 1 for found in source._consumer.committed(names, timeout=5)):
                time.sleep(0.01)
    def on_committed(self, commits, error, *, too_large=False):
        self.committed = error or "acknowledged"
    def on_counted(self, counts):
        self.counted = dict(counts)
    def on_revoked(self, partitions, *, lost):
        pass
    def on_begun(self, partitions):
        pass
    def on_joined(self):
        pass
    def on_waiting(self):
        pass

listener = Listener()
with EmbeddedKafka() as kafka:
    kafka.create_topic("events")
    read_from = ReadFrom(kafka.bootstrap_servers, "group", ["events"], "earliest", "stop", {})
    source = Source(listener, read_from)
    source.subscribe()
    until = time.monotonic() + 30
    while not (listener.committed and listener.counted) and time.monotonic() < until:
        source.poll(10)
        time.sleep(0.01)
    print(listener.committed, listener.counted)
    kafka.close()
    # The group has rebalanced; then the broker went.
    source._counted_in, source._count_at = "another generation", 0.0
    longest = polls = 0
    until = time.monotonic() + 5
    while time.monotonic() < until:
        began = time.monotonic()
        source.poll(10)
        longest, polls = max(longest, time.monotonic() - began), polls + 1
        time.sleep(0.05)
    print(longest < 4, polls > 20, longest, polls)
    print("then", listener.counted)
    sys.stdout.flush()
    source.close(0.1)
    os._exit(0)
"""


def test_a_commits_answer_behind_an_assignment_in_one_poll_is_taken_in() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False, timeout=90
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("acknowledged {'events': "), done.stdout + done.stderr
    assert "\nTrue True " in done.stdout, (
        "the broker is away, and the loop stands still with it: " + done.stdout
    )
    assert "\nthen {}" in done.stdout, (
        "that the partitions cannot be counted is not told: " + done.stdout
    )


#: What the client raises in C leaves a callback without its type; a client that was closed raises
#: so at any time.
REFUSED = """
import sys, threading, time
from confluent_kafka import Consumer
from consumer.errors import UserError
from consumer.adapters.kafka.embedded import EmbeddedKafka
from consumer.adapters.kafka.reader import ReadFrom
from consumer.adapters.kafka.source import Source

def refuse(*_, **__):
    gone.memberid()

class Closing:  # answers no question about its group any more, and does all the rest
    def __init__(self, client):
        self._client = client
    def __getattr__(self, name):
        if name in ("consumer_group_metadata", "memberid"):
            return refuse
        return getattr(self._client, name)

class Listener:
    stopping = leaves_at_once = False
    assigned = revoked = 0
    def on_assigned(self, partitions):
        self.assigned += len(partitions)
        if sys.argv[1] == "assigned" and partitions:
            refuse()
    def on_committed(self, commits, error, *, too_large=False):
        pass
    def on_counted(self, counts):
        pass
    def on_revoked(self, partitions, *, lost):
        self.revoked += len(partitions)
    def on_begun(self, partitions):
        pass
    def on_joined(self):
        pass
    def on_waiting(self):
        pass

gone = Consumer({"bootstrap.servers": "127.0.0.1:1", "group.id": "gone"})
gone.close()
listener = Listener()
threading.excepthook = lambda told: print("in a thread:", told.exc_value)
with EmbeddedKafka() as kafka:
    kafka.create_topic("events")
    read_from = ReadFrom(kafka.bootstrap_servers, "group", ["events"], "earliest", "stop", {})
    source = Source(listener, read_from)
    source.subscribe()
    until = time.monotonic() + 30
    try:
        while not listener.assigned and time.monotonic() < until:
            source.poll(10)
            time.sleep(0.01)
        source.poll(10)
    except UserError as error:
        print(error)
    source._consumer = Closing(source._consumer)
    print(source.close(20), listener.assigned == listener.revoked > 0)
"""


def _refused(where: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", REFUSED, where]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=90)


def test_a_client_that_is_closing_is_asked_nothing_and_what_it_revokes_is_taken_in() -> None:
    done = _refused("revoked")
    assert done.stdout == "True True\n", done.stdout + done.stderr


def test_what_is_raised_in_a_callback_does_not_cross_the_client_but_ends_the_reading() -> None:
    done = _refused("assigned")
    first, _, rest = done.stdout.partition("\n")
    assert first == "Kafka: a fault in the program (RuntimeError); see the log above", (
        done.stdout + done.stderr
    )
    assert rest.startswith("True "), done.stdout + done.stderr
