"""Ask the brokers which topic a name stands for now: its id, its cluster's, its partitions.

A topic that is deleted and made anew keeps its name and begins its offsets again; only its id tells
it from the one before. Brokers before 2.8 tell none, nor does one to a user that may not describe
the topic: then nothing is known.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import Future
from typing import Any

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient

from consumer.adapters.kafka.client import create_client
from consumer.adapters.kafka.patterns import is_pattern, matching
from consumer.core.offsets.settled_map import UNKNOWN, Origin, cluster_name

#: The id of no topic, as brokers give it that know none.
_ZERO = "A" * 22
#: No answer: it is asked again.
_NOT_ANSWERED = (
    KafkaError._TIMED_OUT,
    KafkaError._TIMED_OUT_QUEUE,
    KafkaError._TRANSPORT,
    KafkaError._ALL_BROKERS_DOWN,
    KafkaError._RESOLVE,
    KafkaError._MSG_TIMED_OUT,
    KafkaError.REQUEST_TIMED_OUT,
    KafkaError.NETWORK_EXCEPTION,
    KafkaError.NOT_CONTROLLER,
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.BROKER_NOT_AVAILABLE,
    KafkaError.UNKNOWN_TOPIC_OR_PART,  # it is being made, or made anew
)


class TopicIds:
    """Asks the brokers, with a client of its own that is made with the first request."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self._config = dict(config)
        self._admin: AdminClient | None = None
        self._asked: _Request | None = None

    def ask(self, topics: Collection[str], seconds: float) -> None:
        """Ask, without waiting, unless a request is under way.

        It is given up after so many seconds.
        """
        if self._asked is None:
            self._asked = _Request(self._client(), topics, seconds)

    def answer(self) -> dict[str, Origin] | None:
        """Return what was asked, of those topics for which it was answered; never wait.

        None: nothing was asked, or it is not answered yet.
        """
        if self._asked is None or not self._asked.done:
            return None
        asked, self._asked = self._asked, None
        self._client().poll(0)  # the client's own callbacks, such as errors: they would pile up
        return asked.result(0.0)

    def wait(self, topics: Collection[str], seconds: float) -> dict[str, Origin]:
        """Ask and wait, from any thread; return what is known of the topics answered for."""
        return _Request(self._client(), topics, seconds).result(seconds) if topics else {}

    def partitions(self, topics: Sequence[str], seconds: float) -> Counter[str]:
        """Return how many partitions the topics of these names and patterns have.

        Raise KafkaException.
        """
        found = self._client().list_topics(timeout=seconds).topics
        names = {
            name
            for wanted in topics
            for name in (matching(wanted, found) if is_pattern(wanted) else [wanted])
        }
        return Counter({name: len(found[name].partitions) for name in names if name in found})

    def _client(self) -> AdminClient:
        if self._admin is None:
            self._admin = create_client(AdminClient, self._config)
        return self._admin


class _Request:
    """Topics and the cluster, asked about at once."""

    def __init__(self, admin: AdminClient, topics: Collection[str], seconds: float) -> None:
        self._topics: dict[str, Future[Any]] = admin.describe_topics(
            TopicCollection(sorted(topics)), request_timeout=seconds
        )
        self._cluster: Future[Any] = admin.describe_cluster(request_timeout=seconds)

    @property
    def done(self) -> bool:
        """Return whether every answer is there."""
        return self._cluster.done() and all(future.done() for future in self._topics.values())

    def result(self, seconds: float) -> dict[str, Origin]:
        """Return what is known of each topic that was answered for."""
        try:
            cluster = cluster_name(self._cluster.result(seconds).cluster_id)
        except (KafkaException, TimeoutError):
            cluster = UNKNOWN
        found: dict[str, Origin] = {}
        for topic, future in self._topics.items():
            try:
                topic_id = str(future.result(seconds).topic_id)
            except KafkaException as error:
                if error.args[0].code() in _NOT_ANSWERED:
                    continue
                topic_id = UNKNOWN  # this user may not know it, or the broker does not tell
            except TimeoutError:
                continue
            found[topic] = Origin(UNKNOWN if topic_id in (_ZERO, "None", "") else topic_id, cluster)
        return found
