"""The demo after its report: everything keeps running, to look at, until a signal."""

from __future__ import annotations

import shlex
import shutil
import sys
import threading
from collections.abc import Iterator
from contextlib import nullcontext

import click
from rich.console import Console
from rich.live import Live
from rich.text import Text

from consumer.demo import stage
from consumer.demo.signals import ENDING, handling
from consumer.demo.stage import DemoStage
from consumer.demo.watch import Progress

LOOK_EVERY_SECONDS = 1.0
OUTAGE = '{"kind": "status", "code": 503, "first": 20}'


def stay(running: DemoStage) -> None:
    """Tell the addresses and let the line go on, slowly, until SIGINT, SIGTERM or SIGHUP."""
    console = Console(stderr=True)
    on_screen = console.is_terminal and not console.is_dumb_terminal
    ended = threading.Event()
    with handling(ENDING, lambda *_: ended.set()), running.trickle() as publisher:
        for text in addresses(running):
            click.echo(text)
        sys.stdout.flush()
        with (
            Live(console=console, transient=True, auto_refresh=False)
            if on_screen
            else nullcontext() as live
        ):
            told = False
            while not ended.wait(LOOK_EVERY_SECONDS):
                line = publisher.progress()
                code = running.consumer.ended
                if code is not None and not told:
                    told = True
                    console.print(
                        f"The consumer ended with exit code {code}; {_another(running)}",
                        soft_wrap=True,
                    )
                if live is not None:
                    live.update(Text(since(running.watch.look(line, 0))), refresh=True)


def since(progress: Progress) -> str:
    """Return how far the line and the consumer are, in a line, while everything stays."""
    behind = sum(
        end - progress.committed.get(number, 0) for number, end in progress.line.ends.items()
    )
    return (
        f"{progress.line.events:,} more published, {behind:,} not committed yet; "
        f"{progress.applied:,} rows applied, {progress.letters:,} dead letters"
    )


def addresses(running: DemoStage) -> Iterator[str]:
    """Yield where everything is, and what to try."""
    file = shlex.quote(str(running.configuration))
    page, api = f"http://{running.ops}", running.api.url
    own = _own_command()
    code = next(iter(running.shift.world.codes))
    yield ""
    yield (
        "Everything keeps running, and the line goes on: "
        f"{stage.TRICKLE_PER_SECOND:g} events a second."
    )
    yield ""
    yield (
        f"  Kafka        {running.kafka.bootstrap_servers}   "
        f"topics {stage.TOPIC}, {stage.DEAD_LETTERS}"
    )
    yield f"  page         {page}/"
    yield f"  API          {api}/sandbox/state"
    yield f"  settings     {running.configuration}"
    yield f"  log          {running.consumer.log}"
    yield ""
    yield "To try in another terminal:"
    yield ""
    yield f"  curl -s {page}/status"
    yield f"  curl -s {page}/metrics"
    yield f"  curl -s {api}/sandbox/stats"
    yield "  # an outage:"
    yield f"  curl -s {api}/sandbox/faults -d '{OUTAGE}'"
    yield f"  settings={file}"
    yield f"  {own} -c $settings config show"
    yield f"""  echo '{{"extended_id": "{code}", "intended_market": "de"}}' |"""
    yield f"    {own} -c $settings publish -"
    yield ""
    yield "Ctrl-C or SIGTERM stops and removes all of it."


def _own_command() -> str:
    return (
        "scm-consumer"
        if shutil.which("scm-consumer")
        else f"{shlex.quote(sys.executable)} -m consumer.cli"
    )


def _another(running: DemoStage) -> str:
    return (
        f"to start another one: {_own_command()} -c {shlex.quote(str(running.configuration))} run"
    )
