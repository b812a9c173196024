"""Find where partitions begin: at their commits, else where ``kafka.start_from`` says.

Nothing is guessed.

A commit is of one log. Where the topic's id that it names is another's, the topic was made anew
since: the commit is void. Where the cluster's is, a tool brought the commit along: its offset
stands, as the tool chose it; its map does not. A map is cut where the log ends: what is written
there from now on is not what it names.

``latest`` means: what is published from the moment on at which the group began. Each commit names
that moment, and how many partitions the topic had then. So of a partition without a commit it is
known where it begins, whoever owned it and whatever became of that owner: at its beginning, if it
was added since; else with the first record that is not older than the moment. A topic that comes
later has no older record. Where the commits of others name no moment (an earlier version wrote
them, or another program), the group had begun before: what has no commit came later.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from confluent_kafka import OFFSET_BEGINNING, OFFSET_END, Consumer, KafkaException

from consumer.adapters.kafka.client import PartitionId
from consumer.adapters.kafka.offsets import LookUpError, committed_of, offsets_of
from consumer.adapters.kafka.topic_ids import TopicIds
from consumer.core.offsets.settled_map import (
    NO_EPOCH,
    NOTHING,
    NOWHERE,
    UNKNOWN,
    Began,
    MapError,
    Origin,
    SettledMap,
    decode,
    origin_of,
)


class Start(NamedTuple):
    """Where one partition begins."""

    offset: int
    metadata: str | None  #: of its commit; None: the group has none
    already_settled: SettledMap  #: what is settled already
    complaint: str  #: why the metadata, or a part of it, is no map to go by
    origin: Origin  #: of the log that is there
    named: Origin  #: of the log that the commit is of

    @property
    def anew(self) -> bool:
        """Return whether the topic was made anew since the commit.

        ``offset`` is the committed one all the same.
        """
        return another_log(self.named, self.origin)


class Extent(NamedTuple):
    """The begin and the end of a log now."""

    begin: int
    end: int
    origin: Origin


def another_log(before: Origin, now: Origin) -> bool:
    """Return whether a topic of that name was made anew, as far as it is known."""
    return _differ(before.topic_id, now.topic_id) and not _differ(before.cluster, now.cluster)


def _of_another(named: Origin, now: Origin) -> bool:
    """Return whether a commit is of another cluster's topic, or of one that was deleted since."""
    return _differ(named.cluster, now.cluster) or another_log(named, now)


def _differ(one: str, other: str) -> bool:
    return UNKNOWN not in (one, other) and one != other


class Starts:
    """Looks starts up with the client it is given, in any thread that has one (starts)."""

    def __init__(self, topics: Sequence[str], start_from: str, ids: TopicIds) -> None:
        self._topics = topics
        self._latest = start_from == "latest"
        self._ids = ids
        # As this process knows it: its first commits may not be there yet.
        self._began: dict[str, Began] = {}
        self.seen: dict[str, str] = {}  #: the ids of topics that this process has read

    def find(
        self, client: Consumer, keys: Sequence[PartitionId], seconds: float
    ) -> tuple[dict[PartitionId, Start], dict[PartitionId, str]]:
        """Return where these begin, and why it is not known of the others.

        Each look-up may take so many seconds.
        """
        problems: dict[PartitionId, str] = {}
        try:
            commits = committed_of(client, keys, seconds, problems)
            lacking = [key for key in keys if key not in commits and key not in problems]
            named = {key: origin_of(metadata) for key, (_, metadata) in commits.items()}
            now = self._now(keys, named, lacking, seconds, problems)
            maps = {
                key: _map(metadata, key[1], offset) for key, (offset, metadata) in commits.items()
            }
            began: dict[str, Began] = {}
            wanted = {
                key: OFFSET_END
                for key, (already_settled, _) in maps.items()
                if already_settled and key not in problems
            }
            lacking = [key for key in lacking if key not in problems]
            if lacking:
                begins, began = self._begin(client, lacking, commits, now, seconds)
                wanted |= begins
            offsets = offsets_of(client, wanted, seconds, problems)
        except LookUpError as error:
            return {}, dict.fromkeys(keys, str(error)) | problems
        starts: dict[PartitionId, Start] = {}
        for key in keys:
            if key in problems:
                continue
            origin = now.get(key[0], NOWHERE)
            if key in commits:
                offset, metadata = commits[key]
                epoch = NO_EPOCH if _of_another(named[key], origin) else named[key].epoch
                origin = origin._replace(began=named[key].began, epoch=epoch)
                starts[key] = _start(
                    offset, metadata, maps[key], offsets.get(key), origin, named[key]
                )
            else:
                starts[key] = Start(
                    offsets[key],
                    None,
                    NOTHING,
                    "",
                    origin._replace(began=began.get(key[0])),
                    NOWHERE,
                )
        return starts, problems

    def extent(self, client: Consumer, key: PartitionId, before: Origin, seconds: float) -> Extent:
        """Return what a log holds now; raise LookUpError."""
        problems: dict[PartitionId, str] = {}
        begin = offsets_of(client, {key: OFFSET_BEGINNING}, seconds, problems)
        end = offsets_of(client, {key: OFFSET_END}, seconds, problems)
        origin = NOWHERE
        if before.topic_id != UNKNOWN and not problems:  # else there is nothing to compare with
            origins = self._ids.wait([key[0]], seconds)
            if key[0] not in origins:
                raise LookUpError("the topic's id is not told")
            origin = origins[key[0]]
        if problems:
            raise LookUpError(problems[key])
        return Extent(begin[key], end[key], origin._replace(began=before.began))

    def _now(
        self,
        keys: Sequence[PartitionId],
        named: dict[PartitionId, Origin],
        lacking: Iterable[PartitionId],
        seconds: float,
        problems: dict[PartitionId, str],
    ) -> dict[str, Origin]:
        """Return the origins of those topics whose origin must be known before they begin."""
        compared = {key[0] for key, origin in named.items() if origin.topic_id != UNKNOWN}
        if self._latest:
            compared |= {topic for topic, _ in lacking if topic in self.seen}
        now = self._ids.wait(compared, seconds)
        problems.update(
            {key: "the topic's id is not told" for key in keys if key[0] in compared - now.keys()}
        )
        return now

    def _begin(
        self,
        client: Consumer,
        lacking: Sequence[PartitionId],
        commits: dict[PartitionId, tuple[int, str]],
        now: dict[str, Origin],
        seconds: float,
    ) -> tuple[dict[PartitionId, int], dict[str, Began]]:
        """Return where partitions without a commit begin, and when their topics began.

        Where: OFFSET_BEGINNING, OFFSET_END or a time from which on they are read.
        """
        if not self._latest:
            return dict.fromkeys(lacking, OFFSET_BEGINNING), {}
        moment = int(time.time() * 1000)
        counts = self._counts(lacking, seconds)
        every = [(topic, number) for topic, count in counts.items() for number in range(count)]
        problems: dict[PartitionId, str] = {}
        all_commits = commits | committed_of(
            client, [k for k in every if k not in commits], seconds, problems
        )
        if problems:
            raise LookUpError(next(iter(problems.values())))
        if not all_commits and not self._began:  # the group begins now
            self._began = {topic: Began(moment, count) for topic, count in counts.items()}
            return dict.fromkeys(lacking, OFFSET_END), self._began
        known: dict[str, list[Began]] = {topic: [began] for topic, began in self._began.items()}
        for (topic, _), (_, metadata) in all_commits.items():
            if (began := origin_of(metadata).began) is not None:
                known.setdefault(topic, []).append(began)
        first = min((began.at for all_of in known.values() for began in all_of), default=None)
        begun = {topic for topic, _ in all_commits}
        begins: dict[PartitionId, int] = {}
        for key in lacking:
            topic, number = key
            if topic not in known and topic not in begun and first is not None:
                known[topic] = [Began(first, counts[topic])]
            began = min(known[topic]) if topic in known else None
            anew = topic in self.seen and _differ(
                self.seen[topic], now.get(topic, NOWHERE).topic_id
            )
            later = began is None or number >= began.partitions or anew
            begins[key] = OFFSET_BEGINNING if began is None or later else began.at
        self._began |= {topic: min(known[topic]) for topic, _ in lacking if topic in known}
        return begins, self._began

    def _counts(self, lacking: Sequence[PartitionId], seconds: float) -> Counter[str]:
        try:
            counts = self._ids.partitions(self._topics, seconds)
        except KafkaException as error:
            raise LookUpError(error.args[0].str()) from None
        for topic, number in lacking:  # a broker may not know yet of one that is assigned already
            counts[topic] = max(counts[topic], number + 1)
        return counts


def _map(metadata: str, number: int, offset: int) -> tuple[SettledMap, str]:
    """Return the map in the metadata of a commit, or why there is none."""
    try:
        return decode(metadata, number, offset), ""
    except MapError as error:
        return NOTHING, str(error)


def _start(
    offset: int,
    metadata: str,
    found: tuple[SettledMap, str],
    end: int | None,
    origin: Origin,
    named: Origin,
) -> Start:
    """Return where a partition with a commit begins (I1, starts).

    With as much of its map as is of the log that is there.
    """
    already_settled, complaint = found
    if _of_another(named, origin):
        if already_settled:
            already_settled, complaint = (
                NOTHING,
                "it was made for another cluster's topic, or for one that was deleted since",
            )
    elif end is not None and already_settled.end > end:
        complaint = (
            f"it reaches to {already_settled.end}, and the partition ends at {end}: it is cut there"
        )
        already_settled = already_settled.until(end)
    return Start(offset, metadata, already_settled, complaint, origin, named)
