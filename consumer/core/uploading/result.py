"""The result of a window's response for its rows, and the state while it is concluded."""

from __future__ import annotations

import msgspec

from consumer.core.batching.window import Window
from consumer.core.model import Rejection, Row
from consumer.core.uploading.classification import Outcome
from consumer.core.uploading.decision import Mode
from consumer.core.uploading.response import Response


class Result(msgspec.Struct, gc=False):
    """The result of a response for rows; windows that are resent stay inside."""

    accepted: list[Row] = []
    unconfirmed: list[Row] = []  #: of the accepted ones: no response listed them
    #: by the id of an accepted row, its fields that the response did not list
    unlisted: dict[int, list[str]] = {}
    #: codes that the request changed, all its rows together, if the API told
    affected: int | None = None
    task_id: str = ""  #: of the task by which the rows were accepted
    rejected: list[tuple[Row, Rejection]] = []
    resend: list[Row] = []  #: ready once more, for a later window
    retry_at: list[tuple[float, Row]] = []  #: ready once more from a time on
    revoked: list[Row] = []  #: their partition was revoked meanwhile: only their claims are freed
    data_key: str = ""  #: of the window


class Conclusion(msgspec.Struct, gc=False):
    """A window whose request or task has ended, on the way to its result."""

    window: Window
    outcome: Outcome
    response: Response
    now: float
    mode: Mode
    reduced: bool  #: rows of it were revoked since it was sent
    result: Result

    @property
    def probe(self) -> bool:
        """Return whether the window is the pause's probe."""
        return self.mode is Mode.PROBING
