"""Live progress on stderr: one line that changes on a terminal, else a plain line about every second."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click
from rich.console import Console
from rich.live import Live
from rich.text import Text

from consumer.demo.stage import Progress

EVERY_SECONDS = 1.0


@contextmanager
def shown() -> Iterator[Callable[[Progress], None]]:
    """Something to tell progress to, as long as the context is open."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _Plain()
        return
    with Live(Text("starting Kafka, the API and the consumer ..."), console=console, transient=True) as live:
        yield lambda progress: live.update(Text(line(progress)))


class _Plain:
    def __init__(self) -> None:
        self._next = 0.0

    def __call__(self, progress: Progress) -> None:
        if progress.seconds >= self._next:
            self._next = progress.seconds + EVERY_SECONDS
            click.echo(line(progress), err=True)


def line(progress: Progress) -> str:
    """How far it is, in a line."""
    answers = ", ".join(f"{status} {count}" for status, count in sorted(progress.requests.items()))
    return (
        f"{progress.seconds:4.1f} s: {progress.committed:,} of {progress.published:,} records committed, "
        f"{progress.applied:,} rows applied, {progress.letters:,} dead letters; answers: {answers or 'none yet'}"
    )
