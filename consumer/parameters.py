"""Parameters of the core and the loop, as the settings say them."""

from __future__ import annotations

from typing import Any

from consumer.adapters.kafka.group_commits import COMMIT_WAIT_SECONDS
from consumer.config.settings import Settings
from consumer.core.admission.retry import RetryPolicy
from consumer.core.pipeline import Rules
from consumer.core.rows.by_task import TaskRowMaker
from consumer.core.rows.maker import RowMaker

#: A revocation may hold up the group this much less than max.poll.interval.ms, or the member is
#: thrown out.
POLL_MARGIN_SECONDS = 30.0
MAX_POLL_INTERVAL_MS = "300000"
SESSION_TIMEOUT = "session.timeout.ms"
#: Also what brokers come with for group_protocol consumer, where a client has no say.
SESSION_TIMEOUT_MS = "45000"


def revoke_seconds(settings: Settings) -> float:
    """Return how long a revocation may wait for what is in flight."""
    client = settings.kafka.client
    poll_interval = int(client.get("max.poll.interval.ms", MAX_POLL_INTERVAL_MS)) / 1000
    longest = poll_interval - POLL_MARGIN_SECONDS - COMMIT_WAIT_SECONDS
    return max(0.0, min(settings.api.timeout_seconds + 5.0, longest))


def session_seconds(settings: Settings) -> float:
    """Return the session time-out of a member of the group."""
    return int(settings.kafka.client.get(SESSION_TIMEOUT, SESSION_TIMEOUT_MS)) / 1000


def row_maker(settings: Settings) -> RowMaker:
    """Return what makes rows of events."""
    events, mode = settings.events, settings.api.mode
    how: dict[str, Any] = {
        "date_fields": events.date_fields,
        "uniform_fields": settings.windows.uniform_fields,
        "logistic_units": events.logistic_units,
    }
    if mode == "sync":
        return RowMaker(events.data_key, **how)
    return TaskRowMaker(events.data_key, every=mode == "async", **how)


def rules(settings: Settings) -> Rules:
    """Return what the core decides by."""
    retry = settings.retry
    return Rules(
        max_rows=settings.windows.max_rows,
        linger=settings.windows.linger_seconds,
        concurrency=settings.api.concurrency,
        rate=settings.api.requests_per_second,
        max_processing=settings.api.max_processing_seconds,
        task_deadline=settings.api.task_deadline_seconds,
        receipts=bool(settings.receipts.topic),
        single_rows_by_task=settings.api.mode == "auto",
        pause_after_rejections=settings.dead_letter.pause_after_rejections,
        max_unsettled_rows=settings.limits.max_unsettled_rows,
        max_unsettled_bytes=settings.limits.max_unsettled_mib * 1024 * 1024,
        retry=RetryPolicy(
            base=retry.base_seconds,
            cap=retry.cap_seconds,
            max_retry_after=retry.max_retry_after_seconds,
            give_up=retry.give_up_seconds,
            unknown_key_grace=retry.unknown_key_grace_seconds,
        ),
    )
