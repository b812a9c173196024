"""A seeded backlog: events as a packaging line would leave them; the same seed, the same bytes."""

from __future__ import annotations

import random
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from confluent_kafka import KafkaError, Producer

PARTITIONS = 8
FLUSH_SECONDS = 60.0
ALPHABET = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"
MARKETS = ("cn", "de", "fr", "gb", "jp", "nl", "us", "za")


@dataclass(frozen=True)
class Backlog:
    """The events that were produced.

    ``keys_hash``: the stand-in's hash of the set of distinct keys, hexadecimal.
    """

    events: int
    distinct_keys: int
    keys_hash: str
    mean_bytes: float


def events(count: int, seed: int, repeats: float = 0.0) -> Iterator[tuple[bytes, bytes]]:
    """Yield record key and value of each event: flat JSON of about 230 bytes, a key and four
    fields.

    ``repeats``: the share of events (0..1) that update the key of an earlier one; other keys are
    distinct.
    """
    rng = random.Random(seed)
    keys: list[str] = []
    for number in range(count):
        if keys and rng.random() < repeats:
            key = keys[rng.randrange(len(keys))]
        else:
            # The number makes it distinct, the rest spreads it over the partitions.
            key = f"{_letters(rng, 12)}{number:08d}"
            if repeats:
                keys.append(key)
        day = rng.randrange(28) + 1
        value = (
            f'{{"extended_id": "{key}", "intended_market": "{rng.choice(MARKETS)}", '
            f'"production_date": "2026-{rng.randrange(12) + 1:02d}-{day:02d}", '
            f'"production_lot": "LOT-{_letters(rng, 40)}", '
            f'"packaging_line": "plant-{rng.randrange(90) + 10}/hall-{rng.randrange(9)}/'
            f'line-{_letters(rng, 24)}"}}'
        )
        yield key.encode(), value.encode()


def produce(bootstrap: str, topic: str, count: int, seed: int, repeats: float = 0.0) -> Backlog:
    """Produce the events to an existing topic, by the hash of their key, until all are
    acknowledged.
    """
    failed: list[KafkaError] = []

    def acknowledged(error: KafkaError | None, _: object) -> None:
        if error is not None:
            failed.append(error)

    producer = Producer(
        {
            "bootstrap.servers": bootstrap,
            "enable.idempotence": True,
            "partitioner": "murmur2_random",
            "linger.ms": 20,
            "log_level": 3,  # a coordinator that is still loading is no news
        }
    )
    seen: set[int] = set()
    size = 0
    for key, value in events(count, seed, repeats):
        seen.add(key_hash(key))
        size += len(value)
        while True:
            try:
                producer.produce(topic, value, key, on_delivery=acknowledged)
                break
            except BufferError:  # the local queue is full: make room
                producer.poll(0.1)
        producer.poll(0)
    left = producer.flush(FLUSH_SECONDS)
    if left or failed:
        raise RuntimeError(f"{left} events unacknowledged, {len(failed)} failed: {failed[:1]}")
    return Backlog(count, len(seen), f"{sum(seen) % 2**64:x}", size / count)


def key_hash(key: bytes) -> int:
    """Return the stand-in's 64-bit hash of a key: CRC-32, then Adler-32."""
    return zlib.crc32(key) << 32 | zlib.adler32(key)


def _letters(rng: random.Random, count: int) -> str:
    bits = rng.getrandbits(5 * count)
    return "".join(ALPHABET[bits >> 5 * i & 31] for i in range(count))
