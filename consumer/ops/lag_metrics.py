"""The metrics of lag, backlog and members; a part of the table in ``metrics``. See docs/lag.md."""

from __future__ import annotations

import math

from consumer.ops.metric import Declared, read_lag, read_lag_seconds, worst

LAG_METRICS = (
    Declared(
        "lag_records",
        "gauge",
        "Offsets from the committed one to the partition's end, which is asked for every 10 s, "
        "read or not. NaN: not known: Kafka does not tell it, the topic may not be read, or this "
        "member is out of its group.",
        read_lag,
        ("topic", "partition"),
        "records",
    ),
    Declared(
        "lag_seconds",
        "gauge",
        "Age of the oldest record that is not settled, read or not, by its own Kafka timestamp; 0: "
        "there is none; NaN: not known.",
        read_lag_seconds,
        ("topic", "partition"),
        "seconds",
        fold=worst,
    ),
    Declared(
        "backlog_eta_seconds",
        "gauge",
        "Until what is behind now is settled, at the pace of the last five minutes; +Inf: it "
        "grows, or does not move; NaN: not known, as in the first minute. The group's is the "
        "largest of its members'.",
        lambda s: s.lag.backlog_eta_seconds,
        unit="seconds",
    ),
    Declared(
        "desired_members",
        "gauge",
        "Least number of members that clears the whole group's lag within ops.target_lag_seconds, "
        "as far as its partitions and api.requests_per_second allow; follow the largest of all "
        "members'. NaN: not known yet.",
        lambda s: math.nan if s.lag.desired_members is None else s.lag.desired_members,
        unit="members",
    ),
    Declared(
        "retention_seconds",
        "gauge",
        "How long the topic keeps records (retention.ms); +Inf: for ever; NaN: not told.",
        lambda s: s.lag.retention_seconds,
        ("topic",),
        "seconds",
        fold=min,
    ),
)
