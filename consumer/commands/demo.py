"""``scm-consumer demo``: run the whole system on one machine, with nothing to install or start."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from consumer.commands.options import SIGNAL_EXIT
from consumer.demo.signals import ENDING, handling

if TYPE_CHECKING:
    from consumer.demo.evidence import DemoEvidence


@click.command(
    "demo", short_help="See it work: everything on this machine, nothing to install or start."
)
@click.option(
    "--stay",
    is_flag=True,
    help="Afterwards keep everything running, to look at, until Ctrl-C or SIGTERM.",
)
def command(*, stay: bool) -> None:
    """See it work: Kafka, the API, a packaging line and the consumer, all on this machine.

    Starts an embedded Kafka and a sandbox of the Scantrust API that throttles, fails and loses
    answers; lets a simulated packaging line publish a shift with bad rows in it while the real
    consumer works; and, when everything is settled, compares what the API holds with an independent
    replay of what was published. Uses free ports and a temporary folder, and leaves nothing behind.

    Exit code 0: equal. 1: any difference.

    \b
    Examples:
      scm-consumer demo
      scm-consumer demo --stay
    """
    from consumer.demo import progress, stage, staying  # heavy: the clients
    from consumer.demo.shift import Size

    stopped = "stopped; nothing is left behind"
    try:
        with handling(ENDING, _leave), stage.set_up(Size()) as running:
            with progress.shown() as tell:
                evidence = running.play(tell, stay=stay)
            equal = _judged(evidence) and _reconciled(running.configuration)
            if stay:
                staying.stay(running)
    except (KeyboardInterrupt, SystemExit):
        click.echo(stopped, err=True)
        raise
    if stay:
        click.echo(stopped, err=True)
    if not equal:
        sys.exit(1)


def _judged(evidence: DemoEvidence) -> bool:
    """Judge and report. Return whether all is as it must be."""
    from consumer.demo import report
    from consumer.demo.judge import judge

    verdict = judge(evidence)
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else 0
    for line in report.lines(evidence, verdict, width):
        click.echo(line)
    return verdict.equal


def _reconciled(configuration: Path) -> bool:
    """Let the program itself compare. Return whether all codes are equal."""
    from consumer.demo import reconciling

    equal, line = reconciling.line(configuration)
    click.echo(line)
    return equal


def _leave(number: int, _: object) -> None:
    """End the demo: what it started is stopped and removed."""
    sys.exit(SIGNAL_EXIT + number)
