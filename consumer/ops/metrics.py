"""The metrics: one table that declares them all, reads them from a snapshot, and documents them.

A value is computed when it is requested; between two scrapes nothing but plain counts is kept.
"""

from __future__ import annotations

import math

from consumer.core.admission.upload_pause import Pause
from consumer.ops.lag_metrics import LAG_METRICS
from consumer.ops.metric import (
    DIVIDED,
    OUTCOMES,
    REASONS,
    RESULTS,
    RETRIED,
    TASK_ENDS,
    Declared,
    read_build,
    read_settled,
    read_stopped,
)
from consumer.ops.troubles.causes import NAMES

METRICS = (
    Declared(
        "records_consumed_total",
        "counter",
        "Records read.",
        lambda s: s.consumed,
        ("topic",),
        "records",
    ),
    Declared(
        "records_settled_total",
        "counter",
        "Records that are done: accepted (all rows), rejected (any row is dead-lettered), skipped "
        "by rule, or released (their partition was taken away first). With records_unsettled, the "
        "sum is what was consumed.",
        read_settled,
        ("result",),
        "records",
        RESULTS,
    ),
    Declared(
        "records_unsettled",
        "gauge",
        "Records that are read and not settled.",
        lambda s: s.ledger.unsettled,
        unit="records",
    ),
    Declared(
        "rows_accepted_total",
        "counter",
        "Rows that the API accepted.",
        lambda s: s.rows.accepted,
        ("data_key",),
        "rows",
    ),
    Declared(
        "rows_rejected_total",
        "counter",
        "Rows whose dead letter is acknowledged, by reason.",
        lambda s: s.rows.rejected,
        ("reason",),
        "rows",
        REASONS,
    ),
    Declared(
        "rows_unconfirmed_total",
        "counter",
        "Accepted rows whose key no response listed.",
        lambda s: s.rows.unconfirmed,
        unit="rows",
    ),
    Declared(
        "fields_not_confirmed_total",
        "counter",
        "Fields of accepted rows that the response did not list: the campaign may discard them.",
        lambda s: s.rows.fields_not_confirmed,
        ("field",),
        "fields",
    ),
    Declared(
        "codes_affected_total",
        "counter",
        "Codes that accepted requests changed, by the data key that selected them, as far as the "
        "API told: an update by a unit changes every code in it.",
        lambda s: s.rows.codes_affected,
        ("data_key",),
        "codes",
    ),
    Declared(
        "rows_in_flight",
        "gauge",
        "Rows in requests or tasks now.",
        lambda s: s.rows.in_flight,
        unit="rows",
    ),
    Declared(
        "rows_parked",
        "gauge",
        "Rows that wait for a retry of their request (retry), for the API to know their key "
        "(unknown_key), for an earlier row of their code (earlier_row), until a lost call can no "
        "longer take effect (late_answer), or for their schema from the registry or for room for "
        "their many rows (schema; a record counts as a row).",
        lambda s: s.rows.parked,
        ("cause",),
        "rows",
        ("retry", "unknown_key", "earlier_row", "late_answer", "schema"),
    ),
    Declared(
        "rows_resent_total",
        "counter",
        "Rows to be resent: by the outcome of their request, or because it was divided (divided, "
        "halved, trial), or the response did not confirm them.",
        lambda s: s.rows.resent,
        ("cause",),
        "rows",
        (*RETRIED, *DIVIDED),
    ),
    Declared(
        "windows_closed_total",
        "counter",
        "Windows that were closed and sent, by why: full, due (lingered or awaited), bytes, drain "
        "(for a half-open probe).",
        lambda s: s.windows.closed,
        ("reason",),
        "windows",
        ("full", "due", "bytes", "drain"),
    ),
    Declared(
        "window_rows",
        "histogram",
        "Rows of a window when it was closed.",
        lambda s: s.windows.rows,
        unit="rows",
    ),
    Declared(
        "requests_total",
        "counter",
        "Upload requests that ended, by what the response meant (started: asynchronous, as a "
        "task).",
        lambda s: s.requests.outcomes,
        ("outcome",),
        "requests",
        OUTCOMES,
    ),
    Declared(
        "tasks",
        "gauge",
        "Asynchronous uploads that are at work at the API.",
        lambda s: s.requests.tasks,
        unit="tasks",
    ),
    Declared(
        "tasks_ended_total",
        "counter",
        "Asynchronous uploads that ended: accepted, none_named (it failed), lost (the API forgot "
        "it, or it took too long).",
        lambda s: s.requests.tasks_ended,
        ("outcome",),
        "tasks",
        TASK_ENDS,
    ),
    Declared(
        "request_seconds",
        "histogram",
        "How long an upload request took, whatever its outcome.",
        lambda s: s.requests.seconds,
        unit="seconds",
    ),
    Declared(
        "event_to_settled_seconds",
        "histogram",
        "From a record's time in Kafka until it was accepted or dead-lettered.",
        lambda s: s.event_to_settled,
        unit="seconds",
    ),
    Declared(
        "oldest_unsettled_seconds",
        "gauge",
        "Since the oldest unsettled record was read; 0: there is none.",
        lambda s: s.oldest_unsettled_seconds,
        unit="seconds",
    ),
    *LAG_METRICS,
    Declared(
        "retries_total",
        "counter",
        "Requests after which the window is resent, whole or what is left of it, by outcome.",
        lambda s: s.requests.retries,
        ("cause",),
        "requests",
        RETRIED,
    ),
    Declared(
        "api_blocked",
        "gauge",
        "1 while uploading is paused, by cause.",
        lambda s: {s.api.blocked: 1} if s.api.blocked else {},
        ("cause",),
        "",
        tuple(pause.value for pause in Pause),
    ),
    Declared(
        "circuit_open",
        "gauge",
        "1 while the API fails for several windows and one request at a time probes it.",
        lambda s: int(s.api.circuit),
    ),
    Declared(
        "throttled_seconds_total",
        "counter",
        "Time for which the API asked for no requests.",
        lambda s: s.api.throttled_seconds,
        unit="seconds",
    ),
    Declared(
        "request_budget_per_second",
        "gauge",
        "Requests a second that this process may make now: its share of the group's, less while "
        "the API asks to slow down; +Inf: no limit.",
        lambda s: math.inf if s.api.budget is None else s.api.budget,
        unit="requests per second",
    ),
    Declared(
        "commits_total",
        "counter",
        "Commits that ended; one that failed for some partitions only counts as both.",
        lambda s: s.commits,
        ("result",),
        "commits",
        ("ok", "failed"),
    ),
    Declared(
        "commit_metadata_characters",
        "gauge",
        "Characters of the largest settled map among the commits of this process's partitions; a "
        "broker takes 4,095.",
        lambda s: s.commit_metadata_characters,
        unit="characters",
    ),
    Declared(
        "assigned_partitions",
        "gauge",
        "Partitions that this process owns.",
        lambda s: len(s.partitions),
        unit="partitions",
    ),
    Declared(
        "paused_partitions",
        "gauge",
        "Partitions that are not read for now: no room for rows (of all, or of its own) or in the "
        "settled map, a schema is awaited, what its log holds is looked up, or the process stops.",
        lambda s: sum(p.paused for p in s.partitions),
        unit="partitions",
    ),
    Declared(
        "rebalances_total",
        "counter",
        "Times that the group gave this member partitions, even none, or took some away.",
        lambda s: s.rebalances,
        unit="changes",
    ),
    Declared(
        "partitions_stopped",
        "gauge",
        "Partitions that are not read on until a person does something, by cause.",
        read_stopped,
        ("cause",),
        "partitions",
        ("out_of_range",),
    ),
    Declared(
        "trouble",
        "gauge",
        "1 while something is wrong, by cause: what it is, where, and what to do is in /status and "
        "in the log; docs/runbook.md has a section for each.",
        lambda s: {trouble.cause: 1 for trouble in s.troubles},
        ("cause",),
        "",
        NAMES,
    ),
    Declared(
        "dead_letters_pending",
        "gauge",
        "Rejected rows whose dead letter is not acknowledged yet.",
        lambda s: s.rows.dead_letters_pending,
        unit="rows",
    ),
    Declared(
        "receipts_pending",
        "gauge",
        "Accepted rows whose receipt is not acknowledged yet.",
        lambda s: s.rows.receipts_pending,
        unit="rows",
    ),
    Declared(
        "dead_letters_oldest_seconds",
        "gauge",
        "Since the oldest dead letter that is not acknowledged was handed in; 0: there is none.",
        lambda s: s.rows.dead_letters_oldest_seconds,
        unit="seconds",
    ),
    Declared(
        "receipts_oldest_seconds",
        "gauge",
        "Since the oldest receipt that is not acknowledged was handed in; 0: there is none.",
        lambda s: s.rows.receipts_oldest_seconds,
        unit="seconds",
    ),
    Declared(
        "start_time_seconds",
        "gauge",
        "When this process started, as Unix time.",
        lambda s: s.start_time_seconds,
        unit="seconds",
    ),
    Declared(
        "build_info",
        "gauge",
        "Always 1; the versions.",
        read_build,
        ("version", "python", "librdkafka"),
    ),
)
