"""Watch for troubles: a line in the log when one begins, and one when it is over.

Every few seconds the owner's thread takes a snapshot here and looks for troubles (``troubles``); so
does whoever asks for ``/status`` or ``/metrics``. What is no trouble by itself, but by how it grows
(fields that are not confirmed, rows that settle), is remembered from look to look, in bounded
memory.

All troubles of one cause are one line. A trouble that comes and goes is logged at most once a
minute, and its end only if its beginning was. A cause whose beginning another module logs, at once
and with more detail, has its end logged here if it has lasted for a while.
"""

from __future__ import annotations

import logging
from collections import Counter, deque
from collections.abc import Callable, Mapping

import msgspec

from consumer.loop.ports import RecordSource
from consumer.loop.recent_rejections import WINDOW_SECONDS
from consumer.loop.runner import Runner
from consumer.ops.lag_monitor import LagMonitor
from consumer.ops.snapshot import take
from consumer.ops.status import Snapshot, Trouble
from consumer.ops.troubles.causes import BY_NAME
from consumer.ops.troubles.evidence import STUCK, Seen, duration, name_of
from consumer.ops.troubles.finding import advice_of, find, state_of

log = logging.getLogger(__name__)

#: A trouble of a cause is logged as begun at most this often.
LOG_AGAIN_SECONDS = 60.0
#: A trouble whose beginning is logged elsewhere, and that was shorter, is not logged as over.
SHORT_SECONDS = 30.0
#: How exactly it is known when something was counted.
STEP_SECONDS = 60.0


class Lately:
    """Growth of counts in the last fifteen minutes, to a minute."""

    def __init__(self) -> None:
        self._before: deque[tuple[float, Counter[str]]] = deque()

    def grown(self, counts: Mapping[str, int], now: float) -> dict[str, int]:
        """Return by how much each count has grown; those that have not are left out."""
        before = self._before
        if not before:
            before.append((now, Counter()))  # at the start all were zero
        if now - before[-1][0] >= STEP_SECONDS:
            before.append((now, Counter(counts)))
        while len(before) > 1 and now - before[1][0] >= WINDOW_SECONDS:
            before.popleft()
        first = before[0][1]
        return {name: count - first[name] for name, count in counts.items() if count > first[name]}


class _Open(msgspec.Struct):
    """A trouble that lasts, as of the last look; ``logged``: its beginning was."""

    trouble: Trouble
    since: float
    logged: bool = False


class Watch:
    """Finds the troubles of one process; for the owner's thread only.

    ``clock``: the owner's. ``show_keys``: as ``log.keys`` says.
    """

    def __init__(
        self,
        runner: Runner,
        source: RecordSource,
        clock: Callable[[], float],
        lag: LagMonitor,
        *,
        dead_letter_topic: str = "",
        receipts_topic: str = "",
        show_keys: bool = False,
    ) -> None:
        self._runner = runner
        self._source = source
        self._clock = clock
        self._lag = lag
        self._dead_letter_topic = dead_letter_topic
        self._receipts_topic = receipts_topic
        self._show_keys = show_keys
        self._fields, self._unconfirmed = Lately(), Lately()
        self._since: dict[str, float] = {}  # of the troubles in the last snapshot
        self._open: dict[str, _Open] = {}  # the troubles at the last look
        self._begun_at: dict[str, float] = {}  # when a cause was logged as begun last
        self._fields_logged: set[str] = set()
        self._settled = -1  # records that were settled when it was looked last
        self._settled_at = 0.0  # when one was settled last, or nothing was behind

    def snapshot(self) -> Snapshot:
        """Return a snapshot with its troubles."""
        now = self._clock()
        snapshot = take(self._runner, self._source, now, self._lag, show_keys=self._show_keys)
        troubles = self._dated(find(snapshot, self._seen(snapshot, now)), now)
        return msgspec.structs.replace(
            snapshot,
            troubles=troubles,
            state=state_of(snapshot.phase, troubles),
            advice=advice_of(troubles),
        )

    def look(self) -> None:
        """Look for troubles, and log those that have begun, and those that are over."""
        snapshot = self.snapshot()
        now = self._clock()
        before, self._open = self._open, {}
        for trouble in snapshot.troubles:
            known = before.pop(trouble.cause, None) or _Open(trouble, now - trouble.seconds)
            known.trouble = trouble
            known.logged = known.logged or self._log_begun(trouble, now)
            self._open[trouble.cause] = known
        for over in before.values():
            self._log_over(over, now)
        self._log_fields(snapshot)

    # -- what is seen besides the snapshot -------------------------------------------------------

    def _seen(self, snapshot: Snapshot, now: float) -> Seen:
        runner, source = self._runner, self._source
        waiting = runner.intake.waiting.items()
        return Seen(
            kafka=self._kafka(now),
            schemas=[
                (str(partition), now - pending.since, pending.schema_id)
                for partition, pending in waiting
                if pending.schema_id is not None
            ],
            starts=[
                (f"{topic}[{number}]", now - since)
                for (topic, number), since in source.awaiting.items()
            ],
            dead_letters=runner.dead_letters.trouble,
            receipts=None if runner.receipts is None else runner.receipts.trouble,
            dead_letter_topic=self._dead_letter_topic,
            receipts_topic=self._receipts_topic,
            fields=self._fields.grown(snapshot.rows.fields_not_confirmed, now),
            unconfirmed=sum(
                self._unconfirmed.grown({"rows": snapshot.rows.unconfirmed}, now).values()
            ),
            idle=self._idle(snapshot, now),
            lag={name_of(p): p.lag_seconds for p in snapshot.partitions},
            retention=snapshot.lag.retention_seconds,
            growing=snapshot.lag.growing,
        )

    def _kafka(self, now: float) -> list[tuple[float, str]]:
        found = [(now - since, text) for since, text in self._source.lasting]
        if self._source.away is not None:
            since, text = self._source.away
            found.append((now - since, f"no broker answers ({text})"))
        if self._runner.committing.failing is not None:
            since, text = self._runner.committing.failing
            found.append((now - since, f"commits fail ({text})"))
        return found

    def _idle(self, snapshot: Snapshot, now: float) -> float:
        ledger = snapshot.ledger
        settled = ledger.accepted + ledger.rejected + ledger.skipped
        behind = ledger.unsettled or any(p.lag for p in snapshot.partitions)
        if settled != self._settled or not behind:
            self._settled, self._settled_at = settled, now
        return now - self._settled_at

    def _dated(self, troubles: list[Trouble], now: float) -> list[Trouble]:
        """Return the troubles, each with the time since when it has been seen, at least."""
        before = self._since
        self._since = {
            found.cause: min(before.get(found.cause, now), now - found.seconds)
            for found in troubles
        }
        return [
            msgspec.structs.replace(found, seconds=round(now - self._since[found.cause], 3))
            for found in troubles
        ]

    # -- the log ---------------------------------------------------------------------------------

    def _log_begun(self, trouble: Trouble, now: float) -> bool:
        """Log a trouble that begins; return whether it need not be done later."""
        cause = trouble.cause
        if not BY_NAME[cause].begins:
            return True
        if now - self._begun_at.get(cause, -LOG_AGAIN_SECONDS) < LOG_AGAIN_SECONDS:
            return False
        self._begun_at[cause] = now
        level = logging.ERROR if trouble.severity == STUCK else logging.WARNING
        where = f"{trouble.where}: " if trouble.where else ""
        text = "%s: %s%s; %s (docs/runbook.md#%s)"
        values = (cause, where, trouble.message, trouble.advice, trouble.runbook)
        log.log(level, text, *values, extra={"data": _data(trouble, "begun")})
        return True

    def _log_over(self, known: _Open, now: float) -> None:
        lasted = now - known.since
        cause = known.trouble.cause
        declared = BY_NAME[cause]
        if not known.logged or not declared.ends:
            return
        if not declared.begins and lasted < SHORT_SECONDS:
            return
        where = f" of {known.trouble.where}" if known.trouble.where else ""
        text = "over: %s%s, after %s"
        values = (cause, where, duration(lasted))
        log.info(text, *values, extra={"data": _data(known.trouble, "over")})

    def _log_fields(self, snapshot: Snapshot) -> None:
        """Warn once of each field that responses do not list; the core tells 50 names apart."""
        for name in snapshot.rows.fields_not_confirmed.keys() - self._fields_logged:
            self._fields_logged.add(name)
            log.warning(
                'fields_not_confirmed: a response did not list the field "%s" of an accepted row: '
                "the API may discard it; %s (docs/runbook.md#fields-not-confirmed)",
                name,
                BY_NAME["fields_not_confirmed"].advice,
            )


def _data(trouble: Trouble, event: str) -> dict[str, object]:
    return {"trouble": trouble.cause, "event": event, "where": trouble.where}
