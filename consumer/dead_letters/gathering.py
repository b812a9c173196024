"""Read the dead-letter topic, and look in the topics of events for what was brought back.

Each topic is read up to its end as it was when its reading began. No group is joined.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from confluent_kafka import Message

from consumer.adapters.kafka.client import PartitionId
from consumer.adapters.kafka.patterns import is_pattern, matching
from consumer.adapters.kafka.scan import Scan
from consumer.dead_letters.filters import Filter
from consumer.dead_letters.letter import REPLAY_OF, Header, Letter, Marker, Place, read
from consumer.dead_letters.memory import give_back
from consumer.dead_letters.store import LetterStore
from consumer.errors import UserError

#: Records between two reports of progress.
TELL_EVERY = 10_000

#: Called with what is read, and how many records were read of it so far.
Progress = Callable[[str, int], None]


def place_of(message: Message) -> Place:
    """Return where a record is."""
    return Place(message.topic() or "", message.partition() or 0, message.offset() or 0)


def headers_of(message: Message) -> list[Header]:
    """Return a record's headers; none if the client cannot give them (a name is not UTF-8)."""
    try:
        return list(message.headers() or ())  # type: ignore[arg-type]  # whatever its stub says
    except (SystemError, UnicodeDecodeError, ValueError):
        return []


def letter_of(message: Message) -> Letter | Marker | None:
    """Return the letter or the marker that a record of the dead-letter topic is."""
    return read(
        place_of(message),
        message.timestamp()[1],
        message.key(),
        message.value(),
        headers_of(message),
    )


def partitions(scan: Scan, topic: str) -> list[PartitionId]:
    """Return the partitions of the dead-letter topic; raise UserError if it is not there."""
    keys = scan.partitions([topic], missing_ok=True)
    if not keys:
        raise UserError(
            f"the dead-letter topic {topic} is not there: correct dead_letter.topic, or create it "
            "with scm-consumer check --create; where it never was, there are no dead letters"
        )
    return sorted(keys)


def dead_letters(
    scan: Scan, topic: str, since: float | None, progress: Progress
) -> Iterator[Letter | Marker]:
    """Yield the letters and markers of the dead-letter topic since a time (Unix seconds)."""
    for message in _counted(scan, partitions(scan, topic), topic, since, progress):
        letter = letter_of(message)
        if letter is not None:
            yield letter


def gather(
    scan: Scan, topic: str, events: tuple[str, ...], wanted: Filter, progress: Progress
) -> LetterStore:
    """Return the letters that a command is about, with the state of each.

    ``topic``: of dead letters; ``events``: ``kafka.topics``. Raise UserError.
    """
    store = LetterStore(topic)
    try:
        # What resolves a letter, or became of it, is written after it.
        for found in dead_letters(scan, topic, wanted.since, progress):
            if isinstance(found, Marker):
                store.resolve(found)
                continue
            store.add_return(found)
            if wanted.matches(found):
                store.add(found)
        for source, oldest, ours in store.source_topics():
            if ours or _configured(source, events):
                _find_copies(scan, source, oldest, store, progress)
        store.settle()
    except BaseException:
        store.close()
        raise
    return store


def _find_copies(
    scan: Scan, source: str, oldest: int, store: LetterStore, progress: Progress
) -> None:
    """Take in what was brought back to a topic; a copy is not older than its letter."""
    keys = scan.partitions([source], missing_ok=True)
    since = oldest / 1000 if oldest > 0 else None
    for message in _counted(scan, keys, source, since, progress):
        for name, raw in headers_of(message):
            if name == REPLAY_OF and raw is not None:
                of = Place.parse(raw.decode("utf-8", "replace"))
                if of is not None:
                    store.add_copy(of, place_of(message), message.timestamp()[1])


def _counted(
    scan: Scan, keys: list[PartitionId], topic: str, since: float | None, progress: Progress
) -> Iterator[Message]:
    count = 0
    for count, message in enumerate(scan.records(keys, since), 1):
        if count % TELL_EVERY == 0:
            progress(topic, count)
            give_back()
        yield message
    progress(topic, count)


def _configured(topic: str, events: tuple[str, ...]) -> bool:
    return any(
        topic in matching(name, [topic]) if is_pattern(name) else topic == name for name in events
    )
