"""Bring letters back: read, judge, then publish what may go (docs/replay.md).

``prepare`` reads everything and gives each letter its verdict; nothing is written by it. ``Replay``
publishes. It writes a batch at a time and waits for its acknowledgements. Right before a batch it
reads what was appended to the topics of events since, and asks again for the verdicts of the
batch. It keeps no state: what went is found by ``scm.replay_of``.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from itertools import islice

import msgspec

from consumer.adapters.kafka.batch_writer import BatchWriter, ToWrite
from consumer.adapters.kafka.scan import Scan
from consumer.config.settings import Settings
from consumer.core.rows.maker import RowMaker
from consumer.dead_letters.catalogue import Catalogue
from consumer.dead_letters.filters import Filter
from consumer.dead_letters.following import Events
from consumer.dead_letters.gathering import TELL_EVERY, Progress, dead_letters
from consumer.dead_letters.letter import Letter, Marker, Place
from consumer.dead_letters.memory import give_back
from consumer.dead_letters.mending import Copy, Mend, Mender, Unusable
from consumer.dead_letters.plan import Step, headers_of, steps
from consumer.dead_letters.records import RecordStore
from consumer.dead_letters.verdicts import Verdicts
from consumer.dead_letters.watching import Kind
from consumer.decoding import EventReader

#: Letters between two looks at the ends of the topics: few, so that the look is a moment ago.
BATCH = 100

#: Verdicts that mean that nothing is left to do.
DONE = frozenset({Kind.REPLAYED, Kind.RESOLVED})


class Prepared(msgspec.Struct):
    """A replay that is ready: all letters with their verdicts."""

    store: RecordStore
    catalogue: Catalogue
    verdicts: Verdicts
    events: Events
    mender: Mender
    reader: EventReader
    counts: Counter[tuple[Kind, str]]  #: letters by verdict and reason

    def of_kind(self, kinds: Collection[Kind]) -> int:
        """Return how many letters have one of these verdicts."""
        return sum(count for (kind, _), count in self.counts.items() if kind in kinds)

    def copy(self, letter: Letter, without: Collection[str] = ()) -> Copy | Unusable:
        """Return what would be sent for a letter."""
        return self.mender.copy(letter, self.reader.event(letter.value or b""), without)

    def close(self) -> None:
        """Remove the letters, and look no schema up any more."""
        self.store.close()
        self.events.close()
        self.reader.close()


def prepare(
    scan: Scan,
    settings: Settings,
    wanted: Filter,
    mend: Mend,
    progress: Progress,
    *,
    only_missing: bool,
) -> Prepared:
    """Read the topics, and give each letter that matches its verdict. Raise UserError."""
    events = settings.events
    # The offsets first: what is settled or rejected later counts as a newer event then.
    keys = scan.partitions(settings.kafka.topics)
    settled = scan.settled(keys)
    topics = {topic for topic, _ in keys}
    maker = RowMaker(
        events.data_key, date_fields=events.date_fields, logistic_units=events.logistic_units
    )
    mender = Mender(mend, events.format, events.data_key, maker, topics.__contains__)
    catalogue, store = Catalogue(), RecordStore()
    try:
        _read(scan, settings.dead_letter.topic, wanted, catalogue, store, progress)
    except BaseException:
        store.close()
        raise
    prepared = Prepared(
        store,
        catalogue,
        Verdicts(catalogue, events.logistic_units, only_missing=only_missing),
        Events(scan, settings, settled, progress),
        mender,
        EventReader(settings),
        Counter(),
    )
    try:
        _judge(prepared)
    except BaseException:
        prepared.close()
        raise
    return prepared


def _read(
    scan: Scan,
    topic: str,
    wanted: Filter,
    catalogue: Catalogue,
    store: RecordStore,
    progress: Progress,
) -> None:
    """Take in the letters: all of them, as chains and repeats may lie outside the filter."""
    for found in dead_letters(scan, topic, None, progress):
        if isinstance(found, Marker):
            catalogue.resolve(found)
            continue
        catalogue.add(found)
        if wanted.matches(found):
            store.add(found)
    catalogue.sort()
    give_back()


def _judge(prepared: Prepared) -> None:
    """Read the topics of events, and give the letters their verdicts."""
    verdicts, store = prepared.verdicts, prepared.store
    for count, letter in enumerate(store.letters(), 1):
        verdicts.watch(letter, prepared.copy(letter))
        if count % TELL_EVERY == 0:
            give_back()
    verdicts.begin()
    prepared.events.read(verdicts)
    verdicts.decide()
    give_back()
    for letter, verdict in zip(store.letters(), verdicts.verdicts(), strict=True):
        prepared.counts[verdict.kind, letter.reason] += 1
        store.judge(letter.place, verdict.kind.word, verdict.because)


class Replay:
    """Publishes the letters that may go.

    ``force``: verdicts that go all the same. ``rate``: letters a second at most, 0: no bound.
    ``most``: letters at most, None: no bound. ``stopped``: asked between two batches.
    """

    def __init__(
        self,
        prepared: Prepared,
        writer: BatchWriter,
        *,
        force: Collection[Kind] = (),
        rate: float = 0.0,
        most: int | None = None,
        stopped: Callable[[], bool] = lambda: False,
    ) -> None:
        self._prepared = prepared
        self._writer = writer
        self._goes = {Kind.REPLAY, *force}
        self._rate = rate
        self._most = most
        self._stopped = stopped
        self.sent = 0
        self.stayed = 0  #: that the verdict let go at first, and did not when their turn came
        self.done_meanwhile = 0  #: that somebody else has brought back or resolved meanwhile

    def run(self, progress: Progress) -> None:
        """Publish; raise UserError when Kafka takes no more. What went is counted all the same."""
        size = BATCH if not self._rate else max(1, min(BATCH, int(self._rate)))
        begin, taken = time.monotonic(), 0
        planned = islice(self._steps(), self._most)
        while batch := list(islice(planned, size)):
            if self._rate:
                time.sleep(max(0.0, begin + taken / self._rate - time.monotonic()))
            if self._stopped():
                return
            self._publish(batch)
            taken += len(batch)
            progress("replayed", self.sent)

    def _steps(self) -> Iterator[Step]:
        prepared = self._prepared
        return steps(
            prepared.verdicts,
            prepared.catalogue,
            prepared.events.partition_counts,
            force=self._goes,
        )

    def _publish(self, batch: list[Step]) -> None:
        prepared = self._prepared
        letters = {step.letter: prepared.store.letter(step.letter) for step in batch}
        prepared.events.catch_up(prepared.verdicts)
        going: list[tuple[Place, ToWrite]] = []
        for step in batch:
            record = self._record(step, letters[step.letter])
            if record is not None:
                going.append((step.letter, record))
        outcomes = self._writer.write([record for _, record in going])
        for (place, record), outcome in zip(going, outcomes, strict=True):
            if outcome.refused:
                self._stays(place, Kind.UNUSABLE, outcome.refused)
                continue
            to = Place(record.topic, outcome.partition, outcome.offset)
            prepared.store.sent(place, to)
            prepared.events.written(to)
            self.sent += 1

    def _record(self, step: Step, letter: Letter) -> ToWrite | None:
        """Return the copy of a letter; None: it must not go any more."""
        prepared = self._prepared
        verdict = prepared.verdicts.again(step.letter)
        if verdict.kind not in self._goes:
            self._stays(step.letter, verdict.kind, verdict.because)
            return None
        copy = prepared.copy(letter, verdict.without)
        if isinstance(copy, Unusable):
            self._stays(step.letter, Kind.UNUSABLE, copy.because)
            return None
        headers = headers_of(letter)
        return ToWrite(step.topic, step.partition, letter.key, copy.value, headers)

    def _stays(self, place: Place, kind: Kind, because: str) -> None:
        if kind in DONE:
            self.done_meanwhile += 1
        else:
            self.stayed += 1
        self._prepared.store.judge(place, kind.word, because)
