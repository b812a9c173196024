"""Declare a metric: its form, the known values of labels, and readers of more than one field."""

from __future__ import annotations

import math
import platform
from collections.abc import Callable, Mapping
from typing import Literal

import confluent_kafka
import msgspec

from consumer.core.counters import Histogram
from consumer.core.rows.validation import REASONS as VALIDATION_REASONS
from consumer.core.verdict import Verdict
from consumer.ops.status import Snapshot

PREFIX = "scm_consumer_"

#: A number, a histogram, or numbers by the label's value; by a tuple, if there are several labels.
Value = float | Histogram | Mapping[str, float] | Mapping[tuple[str, ...], float]

#: The type, as Prometheus calls it.
Kind = Literal["counter", "gauge", "histogram"]


class Declared(msgspec.Struct, frozen=True):
    """One metric.

    ``known``: the values of its one label that are there from the start, as 0.
    """

    name: str  #: without the prefix
    kind: Kind
    help: str
    read: Callable[[Snapshot], Value]
    labels: tuple[str, ...] = ()
    unit: str = ""
    known: tuple[str, ...] = ()
    fold: Callable[[list[float]], float] = sum  #: what stands for all values beyond the bound


RESULTS = ("accepted", "rejected", "skipped", "released")
REASONS = (*VALIDATION_REASONS, "rejected_by_api", "unknown_key", "api_error")
OUTCOMES = tuple(verdict.value for verdict in Verdict if verdict is not Verdict.TASK_FAILED)
#: Outcomes of a task: complete, failed, and nobody knows.
TASK_ENDS = (Verdict.ACCEPTED.value, Verdict.NONE_NAMED.value, Verdict.LOST.value)
#: Outcomes after which a window may be resent, whole or in part.
RETRIED = tuple(r.value for r in Verdict if r not in (Verdict.ACCEPTED, Verdict.STARTED))
#: Other causes for which rows are resent: their window was divided, or they were not confirmed.
DIVIDED = ("divided", "halved", "trial", "unconfirmed", "unknown_key")


def worst(values: list[float]) -> float:
    """Return the largest of those that are known; NaN if none is."""
    return max((value for value in values if not math.isnan(value)), default=math.nan)


def read_settled(snapshot: Snapshot) -> dict[str, float]:
    """Return the settled records by result."""
    counts = snapshot.ledger.as_dict()
    return {result: counts[result] for result in RESULTS}


def read_lag(snapshot: Snapshot) -> dict[tuple[str, ...], float]:
    """Return the lag by topic and partition; NaN where it is not known."""
    lags = {(p.topic, p.partition): p.lag for p in snapshot.partitions}
    lags |= {(p.topic, p.partition): p.lag for p in snapshot.lag.awaiting}
    return _by_partition(lags, snapshot)


def read_lag_seconds(snapshot: Snapshot) -> dict[tuple[str, ...], float]:
    """Return the age of what is not settled by topic and partition; NaN where it is not known."""
    lags = {(p.topic, p.partition): p.lag_seconds for p in snapshot.partitions}
    lags |= {(p.topic, p.partition): p.lag_seconds for p in snapshot.lag.awaiting}
    return _by_partition(lags, snapshot)


def _by_partition(
    lags: Mapping[tuple[str, int], float | None], snapshot: Snapshot
) -> dict[tuple[str, ...], float]:
    known = {**lags, **dict.fromkeys(snapshot.unknown)}
    return {
        (topic, str(number)): math.nan if lag is None else lag
        for (topic, number), lag in known.items()
    }


def read_stopped(snapshot: Snapshot) -> dict[str, float]:
    """Return the number of stopped partitions by cause."""
    causes = [p.stopped for p in snapshot.partitions if p.stopped is not None]
    return {cause: causes.count(cause) for cause in causes}


def read_build(snapshot: Snapshot) -> dict[tuple[str, ...], float]:
    """Return 1 by the versions of this program, Python and librdkafka."""
    librdkafka = str(confluent_kafka.libversion()[0])
    return {(snapshot.version, platform.python_version(), librdkafka): 1}
