"""``scm-consumer demo``: the whole system on one machine, with nothing to install or start."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import click

SIGTERM_EXIT = 128 + signal.SIGTERM


@click.command("demo", short_help="See it work: everything on this machine, nothing to install or start.")
def command() -> None:
    """See it work: Kafka, the API, a packaging line and the consumer, all on this machine.

    Starts an embedded Kafka and a sandbox of the Scantrust API that throttles, fails and loses answers;
    publishes a shift of a simulated packaging line with bad rows in it; runs the real consumer until
    everything is settled; and compares what the API holds with an independent replay of what was published.
    Uses free ports and a temporary folder, and leaves nothing behind.

    Exit code 0: equal. 1: any difference.

    \b
    Example:
      scm-consumer demo
    """
    from consumer.demo import progress, report, stage  # heavy: the clients
    from consumer.demo.judge import judge

    with _ended_by_sigterm(), progress.shown() as watch:
        evidence = stage.play(stage.Size(), watch)
    verdict = judge(evidence)
    for line in report.lines(evidence, verdict):
        click.echo(line)
    if not verdict.equal:
        sys.exit(1)


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """SIGTERM ends the demo as Ctrl-C does: what it started is stopped and removed."""

    def leave(*_: object) -> None:
        sys.exit(SIGTERM_EXIT)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
