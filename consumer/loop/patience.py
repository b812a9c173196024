"""In a run with an end, what has been away for minutes is a failure: somebody waits for the end."""

from __future__ import annotations

import math
from collections.abc import Iterator

from consumer.core.pipeline import Pipeline
from consumer.errors import UserError
from consumer.loop.intake import Intake
from consumer.loop.ports import RecordSource

#: A pause this long is a failure.
BLOCKED_SECONDS = 300.0


class Patience:
    """Watches what keeps the end from being reached."""

    def __init__(self, pipeline: Pipeline, intake: Intake, source: RecordSource) -> None:
        self._pipeline = pipeline
        self._intake = intake
        self._source = source
        self._failing_from = math.inf  # since when the API fails for rows that wait

    def lost(self, now: float) -> UserError | None:
        """Return why the end cannot be reached; None: it still may be."""
        return next(
            (UserError(text) for since, text in self._obstacles(now) if _long(since, now)), None
        )

    def _obstacles(self, now: float) -> Iterator[tuple[float, str]]:
        """Yield what is in the way: since when, and in words."""
        gate, api = self._pipeline.gate, self._pipeline.uploads.api
        for_long = f"for {BLOCKED_SECONDS:g} s"
        # Since the first failure that no response came after, and since there is something to
        # resend.
        if api.failing_since is None or not self._pipeline.unsettled:
            self._failing_from = math.inf
        else:
            self._failing_from = min(self._failing_from, now)
        if gate.pause is not None:
            yield (
                gate.upload_pause.since,
                f"uploading is paused ({gate.pause.value}) {for_long}; see the log above",
            )
        if api.failing_since is not None and self._failing_from < math.inf:
            yield (
                max(api.failing_since, self._failing_from),
                f"no call of the API has succeeded {for_long} ({api.last_error}); "
                "check api.base_url, and that the API is up",
            )
        for (topic, number), since in self._source.awaiting.items():
            yield (
                since,
                f"{topic}[{number}]: where it begins cannot be looked up {for_long}; "
                "see the log above",
            )
        for since, why in self._source.lasting:
            yield since, f"Kafka: {for_long}: {why}"
        for partition, pending in self._intake.waiting.items():
            if pending.schema_id is not None:
                yield (
                    pending.since,
                    f"{partition} waits for schema {pending.schema_id} {for_long}; "
                    "see the log above, and check schema_registry.url",
                )


def _long(since: float, now: float) -> bool:
    return now - since >= BLOCKED_SECONDS
