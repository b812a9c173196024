"""Find the troubles of a snapshot: a pure function."""

from __future__ import annotations

from collections.abc import Sequence

from consumer.ops.status import Snapshot, Trouble
from consumer.ops.troubles.causes import CAUSES, EXPLAINING, NO_PROGRESS, Cause
from consumer.ops.troubles.evidence import STUCK, Found, Seen
from consumer.ops.troubles.of_events import no_progress


def find(snapshot: Snapshot, seen: Seen) -> list[Trouble]:
    """Return the troubles, the worst first: those that need a person, then as in the table."""
    found: list[Trouble] = []
    for cause in CAUSES:
        one = cause.rule(snapshot, seen)
        if one is not None:
            found.append(_trouble(cause, one))
    if not snapshot.api.circuit and any(trouble.cause == "row_stuck" for trouble in found):
        # That requests fail is the stuck row's doing alone.
        found = [trouble for trouble in found if trouble.cause != "api_failing"]
    if any(trouble.cause in EXPLAINING for trouble in found):
        # What holds the rows up explains that more come than go.
        found = [trouble for trouble in found if trouble.cause != "lag_growing"]
    else:
        still = no_progress(snapshot, seen)
        if still is not None:
            found.append(_trouble(NO_PROGRESS, still))
    return sorted(found, key=lambda trouble: trouble.severity != STUCK)


def state_of(phase: str, troubles: Sequence[Trouble]) -> str:
    """Return one word for all of it: stuck or degraded, else the phase; a stop comes first."""
    if phase.startswith("stop") or not troubles:
        return phase
    return troubles[0].severity


def advice_of(troubles: Sequence[Trouble]) -> str:
    """Return what to do about the foremost trouble; empty: there is none."""
    return troubles[0].advice if troubles else ""


def _trouble(cause: Cause, found: Found) -> Trouble:
    return Trouble(
        cause.name,
        found.severity or cause.severity,
        found.where,
        round(found.seconds, 3),
        found.message,
        found.advice or cause.advice,
        cause.name.replace("_", "-"),
    )
