"""What the alerts, the dashboard and the runbook name, and the code does not have yet.

Delete this file once ``consumer/ops/troubles.py`` and the metrics of lag are there.
"""

from __future__ import annotations

STUCK = (
    "api_unauthorized",
    "api_refused",
    "api_unexpected",
    "everything_rejected",
    "dead_letter_topic_failing",
    "receipts_topic_failing",
    "partition_out_of_range",
    "row_stuck",
    "retention_near",
    "schema_missing",
    "start_unknown",
    "kafka_away",
    "no_progress",
)
DEGRADED = (
    "api_failing",
    "throttled",
    "map_full",
    "over_quota",
    "fields_not_confirmed",
    "rows_unconfirmed",
    "rejections",
    "lag_growing",
)
#: Gauges: name without the prefix → labels.
METRICS: dict[str, tuple[str, ...]] = {
    "lag_seconds": ("topic", "partition"),
    "backlog_eta_seconds": (),
    "desired_members": (),
    "trouble": ("cause",),
    "dead_letters_oldest_seconds": (),
    "receipts_oldest_seconds": (),
    "retention_seconds": ("topic",),
    "start_time_seconds": (),
}
COMMANDS = ("status", "dlq")
