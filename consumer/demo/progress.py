"""Live progress on stderr: a view on a terminal, else a line about every second."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click
from rich.console import Console
from rich.live import Live

from consumer.demo.view import frame
from consumer.demo.watch import Progress

EVERY_SECONDS = 1.0


@contextmanager
def shown() -> Iterator[Callable[[Progress], None]]:
    """Something to tell progress to, as long as the context is open."""
    console = Console(stderr=True)
    if not console.is_terminal or console.is_dumb_terminal:
        yield Plain()
        return
    # On the alternate screen a frame is drawn over the one before it: nothing is erased, so nothing
    # flickers.
    with Live(
        console=console,
        screen=True,
        auto_refresh=False,
        redirect_stdout=False,
        redirect_stderr=False,
    ) as live:
        yield lambda progress: live.update(frame(progress, console), refresh=True)


class Plain:
    """Writes a log."""

    def __init__(self) -> None:
        self._next = 0.0
        self._told = 0

    def __call__(self, progress: Progress) -> None:
        """Tell how far it is, if that was not just told, and what happened for the first time."""
        for text in progress.notable[self._told :]:
            click.echo(f"{progress.seconds:4.1f} s: {text}", err=True)
        self._told = len(progress.notable)
        if progress.seconds >= self._next or progress.done:
            self._next = progress.seconds + EVERY_SECONDS
            click.echo(line(progress), err=True)


def line(progress: Progress) -> str:
    """Return how far it is, in a line."""
    answers = ", ".join(f"{status} {count}" for status, count in sorted(progress.requests.items()))
    of = f" of {progress.total:,}" if progress.total else ""
    return (
        f"{progress.seconds:4.1f} s: {progress.line.events:,}{of} events published, "
        f"{sum(progress.committed.values()):,} committed, {progress.applied:,} rows applied, "
        f"{progress.letters:,} dead letters; answers: {answers or 'none yet'}"
    )
