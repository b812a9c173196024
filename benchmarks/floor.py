"""The floor: what cannot be left out, with the product's own libraries, and nothing else.

It consumes, decodes each value, serialises a hundred rows and posts them. It keeps no order and no
offset, commits nothing, retries nothing, looks at no answer beyond its status.
"""

from __future__ import annotations

import argparse
import queue
import threading
from collections.abc import Callable

import msgspec
import orjson
import requests
from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

ROWS = 100
AT_ONCE = 1_000  #: messages of one consume call
ANSWER_SECONDS = 75.0

Post = Callable[[bytes], None]


def poster(url: str) -> Post:
    """Return a function that posts one body over a connection of its own.

    It raises unless the response is a 200.
    """
    session = requests.Session()
    session.trust_env = False
    headers = {"Authorization": "UAT benchmark", "Content-Type": "application/json"}
    prepared = session.prepare_request(requests.Request("POST", url, headers=headers, data=b""))

    def post(body: bytes) -> None:
        prepared.body = body
        prepared.headers["Content-Length"] = str(len(body))
        answer = session.send(prepared, timeout=ANSWER_SECONDS, allow_redirects=False)
        if answer.status_code != 200:
            raise RuntimeError(f"answered with {answer.status_code}: {answer.text[:200]}")

    return post


class Pool:
    """Posts with several threads.

    ``post`` waits while all are busy, ``close`` until all is sent.
    """

    def __init__(self, url: str, threads: int) -> None:
        self._bodies: queue.Queue[bytes | None] = queue.Queue(threads)
        self._failed: list[BaseException] = []
        self._threads = [threading.Thread(target=self._work, args=(url,)) for _ in range(threads)]
        for thread in self._threads:
            thread.start()

    def post(self, body: bytes) -> None:
        self._bodies.put(body)

    def close(self) -> None:
        for _ in self._threads:
            self._bodies.put(None)
        for thread in self._threads:
            thread.join()
        if self._failed:
            raise self._failed[0]

    def _work(self, url: str) -> None:
        post = poster(url)
        while (body := self._bodies.get()) is not None:
            try:
                post(body)
            except Exception as error:  # told by close; the others must not wait for this one
                self._failed.append(error)


def pump(bootstrap: str, topic: str, post: Post) -> int:
    """Send the topic from its beginning to its present end; return the number of rows."""
    consumer = Consumer(
        {"bootstrap.servers": bootstrap, "group.id": "floor", "enable.auto.commit": False}
    )
    partitions = [
        TopicPartition(topic, p) for p in consumer.list_topics(topic).topics[topic].partitions
    ]
    left = sum(high - low for low, high in map(consumer.get_watermark_offsets, partitions))
    consumer.assign([TopicPartition(topic, p.partition, OFFSET_BEGINNING) for p in partitions])
    decode = msgspec.json.Decoder().decode
    count = 0
    items = []
    while count < left:
        for message in consumer.consume(min(AT_ONCE, left - count), 1.0):
            if message.error() is not None:
                raise RuntimeError(str(message.error()))
            items.append(decode(message.value() or b""))
            count += 1
            if len(items) == ROWS:
                post(orjson.dumps({"data_key": "extended_id", "items": items}))
                items = []
    if items:
        post(orjson.dumps({"data_key": "extended_id", "items": items}))
    consumer.close()
    return count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bootstrap", required=True)
    parser.add_argument("--topic", required=True)
    parser.add_argument("--url", required=True, help="address of the stand-in")
    parser.add_argument(
        "--threads", type=int, default=1, help="1: post inline; more: that many post, one reads"
    )
    options = parser.parse_args()
    url = f"{options.url}/api/v2/scm/upload/"
    if options.threads == 1:
        pump(options.bootstrap, options.topic, poster(url))
        return
    pool = Pool(url, options.threads)
    try:
        pump(options.bootstrap, options.topic, pool.post)
    finally:
        pool.close()


if __name__ == "__main__":
    main()
