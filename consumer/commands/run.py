"""``scm-consumer run``: run the consumer until a signal or the topics' end."""

from __future__ import annotations

import gc
import logging
import os
import signal
import sys
import threading
from typing import TYPE_CHECKING

import click

from consumer.commands.options import SIGNAL_EXIT, Options, pass_options

if TYPE_CHECKING:
    from consumer.app import App
    from consumer.core.offsets.ledger import Ledger
    from consumer.core.pipeline import Pipeline

#: Allocations between two collections of the youngest objects; Python's 700 is made for scripts.
GC_THRESHOLD = 20_000
#: How long a busy thread keeps the interpreter: with Python's 5 ms, hand-overs between the owner
#: loop and the upload workers cost a little more under load (about 5 % in four noisy runs each).
SWITCH_SECONDS = 0.02
#: How long the program may take to see a second signal: it may be in a call that does not end.
SECOND_SIGNAL_SECONDS = 3.0
#: How long the last line may take to be written.
LAST_LINE_SECONDS = 2.0


@click.command("run")
@click.option(
    "--until-end",
    is_flag=True,
    help="Stop when the group has reached the topics' end as it was at the start.",
)
@click.option(
    "--dry-run",
    is_flag=True,
    help="Print what would be sent; upload, dead-letter and commit nothing.",
)
@click.option(
    "--accept-rejections",
    is_flag=True,
    help="Do not pause, however many rows in a row the API rejects.",
)
@pass_options
def command(options: Options, *, until_end: bool, dry_run: bool, accept_rejections: bool) -> None:
    """Bring events from Kafka to the Scantrust SCM API.

    Runs until SIGTERM or Ctrl-C: reads no more, lets requests in flight end, commits, leaves the
    group, and prints the ledger. A second signal leaves at once.

    With --dry-run it reads on from the group's committed offsets without joining the group, so it
    may run beside the real consumer. Each line of the output is a JSON object: {"upload": the
    request's body}, {"dead_letter": where from and why}, and at the end {"summary": text}.

    \b
    Examples:
      scm-consumer run
      scm-consumer -c line7.toml run --until-end
      scm-consumer run --dry-run --until-end | grep dead_letter
      SCM_API__TOKEN_FILE=/run/secrets/token scm-consumer run
    """
    app: App | None = None
    early: list[int] = []  # signals that came before there was anything to stop

    def stop(number: int, _: object) -> None:
        if app is None:
            early.append(number)
            return
        app.runner.signal(SIGNAL_EXIT + number if until_end else 0)
        if dry_run and app.runner.leaves_at_once:
            os._exit(1)  # the loop may be stuck in writing to a pipe that nobody reads

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    settings = options.settings()
    _end_at_second_signal()  # from now on there are calls that may not end
    if accept_rejections:
        section = settings.dead_letter.model_copy(update={"pause_after_rejections": 0})
        settings = settings.model_copy(update={"dead_letter": section})
    from consumer import app as program  # heavy: the clients

    app = program.App(settings, until_end=until_end, dry=dry_run)
    for number in early:
        stop(number, None)
    _tune_interpreter()
    try:
        code = app.run()
    finally:
        _report(app, settings.log.format, dry=dry_run)
    if code or not app.runner.left:
        os._exit(code)  # a client that cannot be closed in time must not keep the process


def _tune_interpreter() -> None:
    # What is alive now stays alive, and rows form no cycles: so the collector runs less often.
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD)
    sys.setswitchinterval(SWITCH_SECONDS)


def _report(app: App, log_format: str, *, dry: bool) -> None:
    """Write the ledger: to the log, and as the last line of the output."""
    from consumer.ops import logs
    from consumer.ops.lines import write_within

    ledger = app.runner.final_ledger or app.runner.ledger()
    line = _summary(ledger, app.runner.pipeline, dry=dry)
    if not (logs.on_terminal(log_format) and sys.stdout.isatty()):  # there it would stand twice
        data = {"data": {"ledger": ledger.as_dict()}}
        logging.getLogger("consumer").info("%s", line, extra=data)
    logs.flush()
    if app.lines is not None:
        app.lines.write("summary", line)
    else:
        write_within(sys.stdout, f"{line}\n", LAST_LINE_SECONDS)


def _end_at_second_signal() -> None:
    """Make a second signal end the process, whatever its threads are doing.

    Python calls signal handlers on the main thread only, between two of its steps: not during a
    call. But the interpreter writes the signal's number to a pipe at once, and a thread reads that.
    """
    numbers, wakeup = os.pipe()
    os.set_blocking(wakeup, False)
    signal.set_wakeup_fd(wakeup, warn_on_full_buffer=False)

    def watch() -> None:
        count = 0
        while count < 2:
            count += sum(
                number in (signal.SIGTERM, signal.SIGINT) for number in os.read(numbers, 1)
            )
        threading.Event().wait(SECOND_SIGNAL_SECONDS)
        os._exit(1)

    threading.Thread(target=watch, name="signals", daemon=True).start()


def _summary(ledger: Ledger, pipeline: Pipeline, *, dry: bool) -> str:
    counts = ledger.as_dict()
    total = counts.pop("consumed")
    reasons = ", ".join(f"{reason} {n}" for reason, n in pipeline.rows_rejected.most_common())
    why = f" ({reasons})" if reasons else ""
    dead_letters = sum(pipeline.rows_rejected.values())
    if dry:
        rows = _count(sum(pipeline.rows_accepted.values()), "row")
        requests = _count(sum(pipeline.uploads.requests.values()), "request")
        return (
            f"dry run: {_count(total, 'record')} read; would upload {rows} in {requests}; "
            f"would dead-letter {dead_letters}{why}"
        )
    parts = " + ".join(f"{count} {name}" for name, count in counts.items())
    dead = _count(dead_letters, "row")
    return f"records: {total} consumed = {parts}; dead letters: {dead}{why}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
