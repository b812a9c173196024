"""Rules for troubles with the API."""

from __future__ import annotations

from consumer.core.admission.upload_pause import Pause
from consumer.hiding import HIDDEN
from consumer.ops.status import Snapshot
from consumer.ops.troubles.evidence import Found, Rule, Seen, oldest_records, place_of, places

#: When a wait becomes a trouble, seconds.
API_FAILING_SECONDS = 5.0
THROTTLED_SECONDS = 1.0
ROW_STUCK_SECONDS = 10.0
#: A row that failed so often, while others were accepted, is stuck.
ROW_STUCK_ATTEMPTS = 3


def paused(pause: Pause) -> Rule:
    def rule(snapshot: Snapshot, _: Seen) -> Found | None:
        api = snapshot.api
        if api.blocked != pause.value:
            return None
        said = f" ({api.blocked_why})" if api.blocked_why else ""
        message = f"uploading is paused: {_PAUSED[pause]}{said}"
        where = places(place_of(*pair) for pair in oldest_records(snapshot))
        return Found(f"{message}; nothing is lost", where, api.blocked_seconds)

    return rule


_PAUSED = {
    Pause.UNAUTHORIZED: "the API refuses the token",
    Pause.REFUSED: "the API refuses every request",
    Pause.UNEXPECTED: "what answers is not the API",
    Pause.EVERYTHING_REJECTED: "the API rejects every row",
}


def api_failing(snapshot: Snapshot, _: Seen) -> Found | None:
    api = snapshot.api
    seconds = api.failing_seconds or 0.0
    if api.blocked is not None or not (api.circuit or seconds >= API_FAILING_SECONDS):
        return None
    waiting = [place_of(*pair) for pair in oldest_records(snapshot) if pair[1].last_response]
    said = f" ({api.last_error})" if api.last_error else ""
    message = f"requests to the API fail{said}; rows are sent again, nothing is lost"
    return Found(message, places(waiting), seconds)


def throttled(snapshot: Snapshot, _: Seen) -> Found | None:
    seconds = snapshot.api.throttled_for_seconds
    if seconds < THROTTLED_SECONDS:
        return None
    return Found(f"the API asks to slow down: no request for {seconds:.0f} s")


def row_stuck(snapshot: Snapshot, _: Seen) -> Found | None:
    if snapshot.api.blocked is not None:
        return None
    stuck = [
        (partition, oldest)
        for partition, oldest in oldest_records(snapshot)
        if oldest.suspect
        and oldest.attempts >= ROW_STUCK_ATTEMPTS
        and oldest.unsettled_seconds >= ROW_STUCK_SECONDS
    ]
    if not stuck:
        return None
    partition, oldest = stuck[0]
    place = place_of(partition, oldest)
    shown = oldest.key_value not in (None, HIDDEN)
    key = f", key {oldest.data_key}={oldest.key_value}," if shown else ""
    message = (
        f"the request with {place}{key} fails while others are accepted "
        f"({oldest.last_response}); it was sent {oldest.attempts} times"
    )
    return Found(message, places(place_of(*pair) for pair in stuck), oldest.unsettled_seconds)
