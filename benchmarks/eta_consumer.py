"""The product, but that it tells the end of a backlog after ten seconds: drains are short here."""

from __future__ import annotations

from functools import partial

from consumer.cli import main
from consumer.ops import lag_monitor
from consumer.ops.backlog import Backlog

MINIMUM_SECONDS = 10.0

if __name__ == "__main__":
    vars(lag_monitor)["Backlog"] = partial(Backlog, MINIMUM_SECONDS)
    main()
