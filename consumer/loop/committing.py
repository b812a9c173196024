"""When commits are sent: at an interval, and sooner where the group must confirm this member."""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Callable, Collection

from consumer.core.offsets.commits import Commit, due_commits
from consumer.core.offsets.partition import Partition
from consumer.core.pipeline import Pipeline
from consumer.loop import fields
from consumer.loop.ports import RecordSource, Tracer
from consumer.loop.session_lease import SessionLease

log = logging.getLogger(__name__)

#: While a probe is needed, a commit goes this often at most, however long the interval between
#: commits is.
PROBE_AGAIN_SECONDS = 0.5
#: The same failure of commits is logged again after this many seconds.
LOG_AGAIN_SECONDS = 30.0


class Committing:
    """Commits of what is settled; ``interval`` in seconds of ``clock``."""

    def __init__(
        self,
        pipeline: Pipeline,
        source: RecordSource,
        lease: SessionLease,
        clock: Callable[[], float],
        interval: float,
        tracer: Tracer | None = None,
    ) -> None:
        self._pipeline = pipeline
        self._source = source
        self._lease = lease
        self._clock = clock
        self._interval = interval
        self._tracer = tracer
        self._next_at = 0.0
        self._probe_at = 0.0  # not before then is a commit sent only to be answered
        self._logged: dict[str, float] = {}  # why commits fail, and when that was logged
        self.ended: Counter[str] = Counter()  #: commits that ended, by "ok" and "failed"
        #: since when every commit fails, and how the latest did; None: the latest did not
        self.failing: tuple[float, str] | None = None

    def expedite(self, now: float) -> None:
        """Commit with the next turn."""
        self._next_at = now

    def commit_when_due(self) -> None:
        """Commit what is settled, if it is time, and no commit is on its way."""
        now = self._clock()
        # The probe is sent in time, whatever the interval: without it nothing may be uploaded.
        probe = bool(self._pipeline.unsettled) and self._lease.needs_probe(now)
        due_at = min(self._next_at, self._probe_at) if probe else self._next_at
        if now < due_at or self._source.committing:
            return
        self._next_at = now + self._interval
        self._probe_at = now + PROBE_AGAIN_SECONDS
        due = due_commits(self._pipeline.partitions, now, anew=probe)
        if due:
            self._source.commit(due)

    def commit_and_wait(self, partitions: Collection[Partition]) -> bool:
        """Commit what is settled of these; return whether the group has it."""
        return self._source.commit_and_wait(due_commits(partitions, self._clock()))

    def on_committed(self, commits: list[Commit], error: str | None, *, too_large: bool) -> None:
        """Take in how a commit ended; a failed one is never sent again.

        The next is built from what is owned then.
        """
        self.ended["ok" if error is None else "failed"] += 1
        if self._tracer is not None:
            self._tracer.on_committed(commits, error, self._clock())
        if error is None:
            self._logged.clear()
            self.failing = None
            self._lease.on_confirmed(
                max((commit.built_at for commit in commits), default=-math.inf)
            )
            for commit in commits:
                commit.partition.committed = commit.offset
                commit.partition.metadata = commit.metadata
            return
        if too_large:
            for commit in commits:
                commit.partition.metadata_refused()
        now = self._clock()
        self.failing = (self.failing[0] if self.failing is not None else now, error)
        if now - self._logged.get(error, -math.inf) >= LOG_AGAIN_SECONDS:
            self._logged[error] = now
            partitions = [commit.partition for commit in commits]
            log.warning(
                "commit failed (%s): %s; the next commit includes it",
                error,
                listed(partitions),
                extra=fields.of_all(partitions, error=error),
            )


def listed(partitions: list[Partition]) -> str:
    """Return partitions by topic, for a line of the log."""
    numbers: dict[str, list[int]] = {}
    for partition in partitions:
        numbers.setdefault(partition.topic, []).append(partition.number)
    return ", ".join(f"{topic} {sorted(n)}" for topic, n in numbers.items())
