"""``scm-consumer run``: the consumer itself."""

from __future__ import annotations

import gc
import logging
import os
import signal
import sys

import click

from consumer.commands.options import Options, pass_options

#: 128 + the signal's number: what a shell sees of a program that a signal ended.
SIGNAL_EXIT = 128
#: Allocations between two collections of the youngest objects; Python's 700 is made for scripts.
GC_THRESHOLD = 20_000
#: How long a busy thread keeps the interpreter: with Python's 5 ms, hand-overs between the owner loop and the upload
#: workers cost a little more under load (about 5 % in four noisy runs each).
SWITCH_SECONDS = 0.02


@click.command("run")
@click.option(
    "--until-end", is_flag=True, help="Stop when the group has reached the topics' end as it was at the start."
)
@click.option("--accept-rejections", is_flag=True, help="Do not pause, however many rows in a row the API rejects.")
@pass_options
def command(options: Options, *, until_end: bool, accept_rejections: bool) -> None:
    """Bring events from Kafka to the Scantrust SCM API.

    Runs until SIGTERM or Ctrl-C: reads no more, lets requests in flight end, commits, leaves the group, and prints the
    ledger. A second signal leaves at once.

    \b
    Examples:
      scm-consumer run
      scm-consumer -c line7.toml run --until-end
      SCM_API__TOKEN_FILE=/run/secrets/token scm-consumer run
    """
    settings = options.settings()
    if accept_rejections:
        letters = settings.dead_letter.model_copy(update={"pause_after_rejections": 0})
        settings = settings.model_copy(update={"dead_letter": letters})
    from consumer.app import App  # heavy: the clients

    log = logging.getLogger("consumer")
    app = App(settings, until_end=until_end)

    def stop(number: int, _: object) -> None:
        app.runner.signal(SIGNAL_EXIT + number if until_end else 0)

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    # What is alive now stays alive, and rows form no cycles: the collector need not look at them so often.
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD)
    sys.setswitchinterval(SWITCH_SECONDS)
    try:
        code = app.run()
    finally:
        runner = app.runner
        ledger = runner.final_ledger or runner.ledger()
        counts = ledger.as_dict()
        total, rest = counts.pop("consumed"), counts
        letters_told = ", ".join(f"{reason} {n}" for reason, n in runner.pipeline.rows_rejected.most_common())
        line = (
            f"records: {total} consumed = {' + '.join(f'{n} {name}' for name, n in rest.items())}; "
            f"dead letters: {sum(runner.pipeline.rows_rejected.values())}{f' ({letters_told})' if letters_told else ''}"
        )
        log.info("%s", line, extra={"data": {"ledger": ledger.as_dict()}})
        click.echo(line)
    if code or not app.runner.left:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)  # a client that cannot be closed in time must not keep the process
