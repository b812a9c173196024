"""Report on stderr: refused and doubtful lines by their number, and progress."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from types import TracebackType
from typing import Self

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from consumer.core.model import InvalidEvent
from consumer.formats.epcis import EPC_MEMBERS
from consumer.publish.doubts import Doubt
from consumer.publish.lines import NOT_UTF8, SAVE_AS_UTF8

#: So many refused lines are listed; the others are counted.
MAX_LISTED = 100
PLAIN_SECONDS = 5.0


class Reporter:
    """Shows a bar on a terminal, else a plain line every few seconds.

    ``size``: the file's bytes, None if not known. ``show_keys``: messages may quote key values.
    """

    def __init__(self, size: int | None, *, show_keys: bool) -> None:
        self._size = size
        self._show_keys = show_keys
        self._next = time.monotonic() + PLAIN_SECONDS
        self._bar: Progress | None = None
        self._task = TaskID(0)
        self.refused: Counter[str] = Counter()  #: lines, by reason
        self._advised = False  # how to save a file as UTF-8
        self.doubts: Counter[str] = Counter()  #: by their kind
        self._told: dict[str, int] = {}  # doubts that were told one by one, by their kind
        self.unit = "line"  #: of the file: what a number counts
        self.place: Callable[[int], str] = lambda number: f"{self.unit} {number}"

    def __enter__(self) -> Self:
        console = Console(stderr=True)
        if console.is_terminal:
            columns = [TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn()]
            self._bar = Progress(*columns, console=console, transient=True).__enter__()
            self._task = self._bar.add_task("publishing ...", total=self._size)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.__exit__(kind, error, trace)
            self._bar = None
        more = sum(self.refused.values()) - MAX_LISTED
        if more > 0:
            self.say(f"... and {more:,} more refused {self.unit}s")
        for doubt, count in self.doubts.items():
            if count > self._told[doubt]:
                self.say(f"warning: {count:,} {self.unit}s in all: {doubt}")

    def say(self, text: str) -> None:
        """Write a line, above the bar if there is one."""
        if self._bar is not None:
            self._bar.console.print(text, markup=False, highlight=False, soft_wrap=True)
        else:
            click.echo(text, err=True)

    def refuse(self, line: int, bad: InvalidEvent) -> None:
        """Count a refused line, and list it if there were not too many already."""
        self.refused[bad.reason] += 1
        if sum(self.refused.values()) <= MAX_LISTED:
            message = bad.message
            if bad.reason == "key_conflict" and not self._show_keys:
                message = "the data key stands among the fields, too, with another value"
            if bad.field in EPC_MEMBERS and not self._show_keys:
                message = (
                    f'"{bad.field}" is not as the rules of [epcis] need it; '
                    "log.keys = true shows why"
                )
            if message.startswith(NOT_UTF8) and not self._advised:
                self._advised = True
                message += f"; {SAVE_AS_UTF8}"
            self.say(f"{self.place(line)}: {bad.reason}: {message}")

    def warn(self, line: int, doubt: Doubt) -> None:
        """Count a doubt about a line, and tell it if there were not too many of its kind."""
        self.doubts[doubt.kind] += 1
        told = self._told.get(doubt.kind, 0)
        if told < doubt.listed:
            self._told[doubt.kind] = told + 1
            self.say(f"{self.place(line)}: warning: {doubt.message}")

    def progress(self, lines: int, at: int) -> None:
        """Show that so many lines were taken, up to byte ``at`` of the file."""
        if self._bar is not None:
            self._bar.update(self._task, completed=at, description=self._line(lines))
        elif time.monotonic() >= self._next:
            self._next = time.monotonic() + PLAIN_SECONDS
            share = f", {100 * at // self._size} % of the file" if self._size else ""
            self.say(f"publish: {self._line(lines)}{share}")

    def _line(self, lines: int) -> str:
        return f"{lines:,} {self.unit}s, {sum(self.refused.values()):,} refused"
