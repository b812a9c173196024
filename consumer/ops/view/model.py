"""The view: everything that page and terminal show, in words, made from a ``/status`` document.

Pure: the same document gives the same view. Nothing in it is longer than a screen or two, however
many partitions, lanes and messages there are.
"""

from __future__ import annotations

import msgspec

from consumer.ops.view import tables
from consumer.ops.view.curves import Curve, curves
from consumer.ops.view.document import Api, Lag, Status
from consumer.ops.view.headline import Headline, Notice, Tone, headline, notices, summary
from consumer.ops.view.tables import MAX_PARTITIONS, Table
from consumer.ops.view.text import UNKNOWN, duration, number, plural, words

#: What is called failing: no call to the API has been answered for so long, in seconds.
FAILING_SECONDS = 2.0
#: A time lag that is more than a moment, in seconds.
LATE_SECONDS = 60.0
#: Parts of the ledger, in the order of the bar.
RESULTS = ("accepted", "rejected", "skipped", "released", "unsettled")


class Figure(msgspec.Struct, frozen=True):
    """A number that is read from afar, and what it means."""

    name: str
    value: str
    note: str
    tone: Tone = Tone.QUIET


class Fact(msgspec.Struct, frozen=True):
    """A line of a name and its value."""

    name: str
    value: str
    tone: Tone = Tone.QUIET


class Share(msgspec.Struct, frozen=True):
    """A part of a bar: where it begins and how wide it is, in percent."""

    name: str
    count: str
    begin: float
    width: float


class View(msgspec.Struct, frozen=True):
    """The view of ``/status``, from the top."""

    version: str
    headline: Headline
    summary: str
    notices: list[Notice]
    figures: list[Figure]
    curves: list[Curve]
    partitions: Table
    rejected: str  #: how many rows were rejected of late, and where to look
    rejections: list[Table]
    api: list[Fact]
    outcomes: Table
    work: list[Fact]
    windows: list[Table]
    ledger: list[Share]
    consumed: str
    offsets: Table


def view_of(status: Status, *, most_partitions: int = MAX_PARTITIONS) -> View:
    """Return the view of a document."""
    return View(
        version=status.version,
        headline=headline(status),
        summary=summary(status),
        notices=notices(status),
        figures=_figures(status),
        curves=curves(status.history),
        partitions=tables.partitions(status, most_partitions),
        rejected=_rejected(status),
        rejections=[
            table
            for table in (tables.reasons(status), tables.messages(status), tables.latest(status))
            if table.rows
        ],
        api=_api(status),
        outcomes=tables.outcomes(status),
        work=_work(status),
        windows=[tables.lanes(status), tables.in_flight(status)],
        ledger=_ledger(status),
        consumed=number(status.ledger.consumed),
        offsets=tables.offsets(status, most_partitions),
    )


def _gone(lag: Lag) -> Figure:
    """Return when the backlog will be gone, at the pace of the last minutes."""
    name, seconds = "Gone in", lag.backlog_eta_seconds
    if lag.growing:
        return Figure(name, "growing", "more arrives than gets done: not keeping up", Tone.WARN)
    if lag.records is None:
        return Figure(name, UNKNOWN, "")
    if lag.records == 0 or (seconds is not None and seconds < 1 and not _late(lag)):
        return Figure("Backlog", "none", "what arrives gets done at once")
    if seconds is not None and seconds < 1:
        return Figure(name, "not known", "what is behind waits for its oldest record", Tone.WARN)
    if seconds is None:
        return Figure(name, "not known", "no pace to tell by")
    return Figure(name, f"about {duration(seconds)}", "until what is behind is done, at this pace")


def _figures(status: Status) -> list[Figure]:
    lag = status.lag
    members = lag.desired_members
    target = f"to get it done within {duration(lag.target_seconds)}" if lag.target_seconds else ""
    return [
        _time_lag(status),
        _behind(status),
        _gone(lag),
        Figure("Pace", number(lag.rows_per_second), "rows done a second"),
        Figure("Members wanted", UNKNOWN if members is None else number(members), target),
        _uploading(status.api),
    ]


def _late(lag: Lag) -> bool:
    return (lag.seconds or 0.0) >= LATE_SECONDS


def _time_lag(status: Status) -> Figure:
    name, lag = "Time lag", status.lag
    known = [p.lag_seconds for p in status.partitions if p.lag_seconds is not None]
    if lag.seconds is None and any(known):
        unknown = plural(len(status.partitions) - len(known), "partition")
        note = f"at least: in {unknown} it is not known"
        return Figure(name, duration(max(known)), note, Tone.WARN)
    over = lag.target_seconds is not None and (lag.seconds or 0.0) > lag.target_seconds
    tone = Tone.WARN if over else Tone.QUIET
    return Figure(name, duration(lag.seconds), "age of the oldest record that is not done", tone)


def _behind(status: Status) -> Figure:
    known = [p.lag for p in status.partitions if p.lag is not None and not _blind(p.stopped, p.lag)]
    unknown = len(status.partitions) - len(known)
    records = status.lag.records
    if records is None:
        records = sum(known) if known or not status.partitions else None
    if unknown:
        note = f"records, and what is in {plural(unknown, 'partition')} where it is not known"
        return Figure("Behind", number(records) if known else UNKNOWN, note, Tone.WARN)
    return Figure("Behind", number(records), "records that arrived and are not done")


def _blind(stopped: str | None, lag: int) -> bool:
    """Return whether a lag says nothing: of a stopped partition, whose place in the log is gone."""
    return stopped is not None and lag == 0


def _uploading(api: Api) -> Figure:
    if api.blocked:
        since = f"{words(api.blocked)}, for {duration(api.blocked_seconds)}"
        return Figure("Uploading", "paused", since, Tone.BAD)
    if _fails(api):
        since = f"for {duration(api.failing_seconds)}: {api.last_error or 'no answer'}"
        return Figure("Uploading", "failing", since, Tone.WARN)
    if api.circuit:
        return Figure("Uploading", "probing", "one request at a time", Tone.WARN)
    if api.throttled_for_seconds > 0:
        wait = f"no request for {duration(api.throttled_for_seconds)}"
        return Figure("Uploading", "throttled", wait, Tone.WARN)
    return Figure("Uploading", "yes", _budget(api))


def _fails(api: Api) -> bool:
    return (api.failing_seconds or 0.0) >= FAILING_SECONDS


def _budget(api: Api) -> str:
    if api.budget is None:
        return "no limit of requests a second"
    return f"at most {number(api.budget)} requests a second"


def _api(status: Status) -> list[Fact]:
    api, requests = status.api, status.requests
    uploading = _uploading(api)
    facts = [Fact("Uploading", uploading.value, uploading.tone)]
    if api.last_error:
        tone = Tone.BAD if api.blocked or _fails(api) else Tone.QUIET
        facts.append(Fact("It said last", api.last_error, tone))
    else:
        facts.append(Fact("It said last", "the latest call was answered as documented"))
    if api.failing_seconds is not None:
        facts.append(Fact("Not answered for", duration(api.failing_seconds)))
    if api.blocked:
        facts.append(Fact("Paused for", duration(api.blocked_seconds)))
    facts.append(Fact("Budget", _budget(api)))
    if api.throttled_for_seconds > 0:
        facts.append(Fact("Throttled for", duration(api.throttled_for_seconds)))
    if api.circuit:
        facts.append(Fact("Circuit", "open: one request at a time tries it", Tone.WARN))
    if requests.seconds.count:
        half, most = duration(requests.seconds.p50), duration(requests.seconds.p95)
        facts.append(Fact("A request takes", f"{half}; 95 of 100 at most {most}"))
    if requests.tasks:
        facts.append(Fact("Tasks at work", number(requests.tasks)))
    return facts


def _work(status: Status) -> list[Fact]:
    rows = status.rows
    facts = [
        Fact("Ready, in windows that fill", number(rows.ready)),
        Fact("In flight", number(rows.in_flight)),
    ]
    facts += [
        Fact(f"Waiting: {words(cause)}", number(count))
        for cause, count in rows.parked.items()
        if count
    ]
    facts.append(Fact("Dead letters to be written", number(rows.dead_letters_pending)))
    if rows.receipts_pending:
        facts.append(Fact("Receipts to be written", number(rows.receipts_pending)))
    if rows.unconfirmed:
        facts.append(Fact("Accepted and not confirmed", number(rows.unconfirmed), Tone.WARN))
    unconfirmed = rows.fields_not_confirmed.items()
    for name, count in sorted(unconfirmed, key=lambda item: -item[1])[: tables.MAX_ITEMS]:
        facts.append(Fact(f"Field not confirmed: {name}", number(count), Tone.WARN))
    settled = status.event_to_settled
    if settled.count:
        half, most = duration(settled.p50), duration(settled.p95)
        facts.append(Fact("From event to done", f"{half}; 95 of 100 at most {most}"))
    facts += [Fact("Awaits its start", where, Tone.WARN) for where in _first(status.awaiting_start)]
    return facts


def _first(names: list[str]) -> list[str]:
    left = len(names) - tables.MAX_ITEMS
    return names[: tables.MAX_ITEMS] + ([f"and {left:,} more"] if left > 0 else [])


def _rejected(status: Status) -> str:
    span = duration(status.rejections.since_seconds)
    count = sum(status.rejections.by_reason.values())
    if not count:
        return f"None in the last {span}."
    return f"{plural(count, 'row')} in the last {span}."


def _ledger(status: Status) -> list[Share]:
    consumed = status.ledger.consumed
    shares: list[Share] = []
    begin = 0.0
    for name in RESULTS:
        count = getattr(status.ledger, name)
        width = 100.0 * count / consumed if consumed else 0.0
        shares.append(Share(name, number(count), round(begin, 3), round(width, 3)))
        begin += width
    return shares
