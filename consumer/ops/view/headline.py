"""The first thing that is seen: one word of state, what is the matter, and what to do.

The tone is green only if nothing at all is wrong: the state says so, and no trouble, stopped
partition or upload pause says otherwise.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from consumer.ops.view.document import Lag, Status, Trouble
from consumer.ops.view.text import duration, number, plural, words


class Tone(StrEnum):
    """Severity for the eye; the word beside it says the same."""

    GOOD = "good"
    QUIET = "quiet"  #: neither good nor bad: it joins, it stops
    WARN = "warn"  #: something is wrong and comes back by itself
    BAD = "bad"  #: something needs a person


#: What each trouble is, in a few words. One that is not here is called by its cause.
TITLES = {
    "api_unauthorized": "The API refuses the token",
    "api_refused": "The API refuses the requests",
    "api_unexpected": "What answers is not the API",
    "everything_rejected": "The API rejects every row",
    "dead_letter_topic_failing": "Dead letters cannot be written",
    "receipts_topic_failing": "Receipts cannot be written",
    "partition_out_of_range": "A partition is stopped: its offset is gone",
    "row_stuck": "A row is stuck, and its partition with it",
    "retention_near": "Kafka will soon delete what is not done",
    "schema_missing": "A schema is missing",
    "start_unknown": "It is not known where a partition begins",
    "kafka_away": "Kafka does not answer",
    "no_progress": "Nothing gets done",
    "api_failing": "The API fails",
    "throttled": "The API asks to wait",
    "map_full": "A partition waits for its oldest record",
    "over_quota": "A partition waits: its rows cannot be sent yet",
    "fields_not_confirmed": "The API does not confirm some fields",
    "rows_unconfirmed": "The API does not confirm some rows",
    "rejections": "Rows were rejected",
    "lag_growing": "More arrives than gets done",
}
_QUIET = {
    "joining": (
        "Waiting for its partitions",
        "The group has not given this member an assignment yet.",
    ),
    "stopping": ("Stopping", "What is under way is finished and committed; then it ends."),
    "stopped": ("Stopped", "It has ended, and does nothing any more."),
}
#: What is called a backlog, in seconds: a time lag where no target is told, and a time to be gone.
LATE_SECONDS, BACKLOG_SECONDS = 300.0, 60.0
_TONES = {"running": Tone.GOOD, "degraded": Tone.WARN, "stuck": Tone.BAD}


class Notice(msgspec.Struct, frozen=True):
    """One thing that is wrong."""

    title: str
    tone: Tone
    since: str
    where: str
    message: str
    advice: str
    runbook: str


class Headline(msgspec.Struct, frozen=True):
    """The state in a word, and the foremost trouble, or why there is none."""

    word: str
    tone: Tone
    title: str
    message: str = ""
    advice: str = ""
    since: str = ""
    where: str = ""
    runbook: str = ""


def headline(status: Status) -> Headline:
    """Return what stands at the top."""
    tone = _tone(status)
    if status.troubles:
        first = notice(status.troubles[0])
        return Headline(
            status.state,
            tone,
            first.title,
            first.message,
            status.advice or first.advice,
            first.since,
            first.where,
            first.runbook,
        )
    if status.state in _QUIET:
        return Headline(status.state, tone, *_QUIET[status.state], advice=status.advice)
    if tone is not Tone.GOOD:
        return Headline(status.state, tone, "Something is wrong", "", status.advice)
    if not status.partitions:
        return Headline(
            status.state,
            Tone.QUIET,
            "This member has no partitions",
            "Other members of the group have them all.",
        )
    if _has_backlog(status.lag):
        return Headline(
            status.state,
            Tone.QUIET,
            "Falling behind" if status.lag.growing else "Working off a backlog",
            f"{number(status.lag.records)} records behind. {gone_in(status.lag)}",
        )
    return Headline(status.state, tone, "All is well", "Nothing needs you.")


def _has_backlog(lag: Lag) -> bool:
    # Either may be unknown: how old the oldest record is, or when the backlog will be gone.
    late = (lag.seconds or 0.0) > (lag.target_seconds or LATE_SECONDS)
    return late or lag.growing or (lag.backlog_eta_seconds or 0.0) > BACKLOG_SECONDS


def gone_in(lag: Lag) -> str:
    """Return when what is behind will be done, as a sentence."""
    if lag.growing:
        return "More arrives than gets done: it does not keep up."
    if lag.backlog_eta_seconds is None:
        return "There is no pace yet to tell by when it will be done."
    return f"At this pace it will be gone in about {duration(lag.backlog_eta_seconds)}."


def notices(status: Status) -> list[Notice]:
    """Return the troubles behind the foremost."""
    return [notice(trouble) for trouble in status.troubles[1:]]


def notice(trouble: Trouble) -> Notice:
    """Return a trouble in words."""
    return Notice(
        TITLES.get(trouble.cause, words(trouble.cause).capitalize()),
        Tone.BAD if trouble.severity == "stuck" else Tone.WARN,
        f"for {duration(trouble.seconds)}" if trouble.seconds is not None else "",
        trouble.where,
        trouble.message,
        trouble.advice,
        f"docs/runbook.md#{trouble.runbook}" if trouble.runbook else "",
    )


def _tone(status: Status) -> Tone:
    needs_person = (
        any(trouble.severity == "stuck" for trouble in status.troubles)
        or any(partition.stopped for partition in status.partitions)
        or status.api.blocked is not None
    )
    if status.state == "stuck" or needs_person:
        return Tone.BAD
    if status.troubles:
        return Tone.WARN
    return _TONES.get(status.state, Tone.QUIET)


def summary(status: Status) -> str:
    """Return how many partitions and troubles there are."""
    parts = [plural(len(status.partitions), "partition")]
    if status.troubles:
        parts.append(plural(len(status.troubles), "trouble"))
    return ", ".join(parts)
