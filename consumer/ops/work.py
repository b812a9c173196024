"""Evidence on a backlog, and the findings: see ``backlog``."""

from __future__ import annotations

import msgspec


class Work(msgspec.Struct, frozen=True, gc=False):
    """One partition, as it is now."""

    done: int  #: offsets that are settled, or hold nothing: the position, less what is unsettled
    end: int | None  #: None: not known
    #: where most of what is unsettled waits for earlier rows: how many of it can go at once
    abreast: float | None = None
    stopped: bool = False  #: only a person can have it read on

    @property
    def held(self) -> bool:
        """Return whether it holds itself back."""
        return self.abreast is not None

    @property
    def behind(self) -> int:
        """Return the offsets that are not settled, as far as the end is known."""
        return 0 if self.end is None else max(0, self.end - self.done)


class Totals(msgspec.Struct, frozen=True, gc=False):
    """The work of this process since its start, and what bounds it now."""

    rows: int = 0  #: settled
    requests: int = 0  #: that ended
    request_seconds: float = 0.0  #: that these took together
    share: float | None = None  #: requests a second that are this member's; None: no limit
    blocked: bool = False  #: the API refuses or fails: what is not done now says nothing


class Estimate(msgspec.Struct, frozen=True):
    """The backlog as it is known."""

    records: int  #: offsets behind
    eta: float  #: seconds; +Inf: it grows, or does not move; NaN: not known
    growing: bool
    records_per_second: float
    rows_per_second: float


class Measured(msgspec.Struct, frozen=True):
    """The work that was seen while there was more to do than was done."""

    rows_per_request: float
    request_seconds: float
    rows_per_record: float
    #: None: requests were the bound, or rows that wait for each other; what else it can do is not
    #: known
    rows_per_second: float | None
