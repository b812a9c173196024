"""The command line: ``scm-consumer``. Results on stdout, logs and progress on stderr."""

from __future__ import annotations

import errno
import importlib
import io
import os
import sys
import threading
import traceback
from contextlib import suppress
from pathlib import Path
from types import TracebackType

import click

from consumer import __version__
from consumer.commands.options import LEVELS, Options
from consumer.errors import UserError
from consumer.hiding import known

PROGRAM = "scm-consumer"
#: Errors of standard output: nobody reads it, the disk or its quota is full, or it fails.
_UNWRITABLE = (errno.EPIPE, errno.ENOSPC, errno.EDQUOT, errno.EIO)
#: How long it may take to write an error message.
COMPLAINT_SECONDS = 2.0
_EPILOG = """\b
Completion of commands and options, in ~/.bashrc (zsh, fish: the same with zsh_source, fish_source):
  eval "$(_SCM_CONSUMER_COMPLETE=bash_source scm-consumer)"
"""

#: In the order of the help; one module each in ``consumer.commands``.
COMMANDS = (
    "demo",
    "run",
    "check",
    "publish",
    "status",
    "where",
    "dlq",
    "reconcile",
    "sandbox",
    "config",
)


class _Lazy(click.Group):
    """Imports a command's module only when it is needed: ``--help`` and errors stay quick."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"consumer.commands.{cmd_name}").command
        return command


@click.group(
    cls=_Lazy,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=_EPILOG,
)
@click.option(
    "-c",
    "--config",
    type=click.Path(path_type=Path),
    help="Settings file; default: scm-consumer.toml in this folder.",
)
@click.option(
    "--log-level",
    type=LEVELS,
    help="Lowest level shown; default: log.level.",
)
@click.version_option(__version__, prog_name=PROGRAM)
@click.pass_context
def group(ctx: click.Context, config: Path | None, log_level: str | None) -> None:
    """Bring factory events from Kafka to the Scantrust SCM API.

    Batched, in order per code, nothing lost.

    \b
    Examples:
      scm-consumer demo                          see it work, nothing to install or start
      scm-consumer run                           the consumer, with scm-consumer.toml
      scm-consumer check --create                is everything there; make the topics that are not
      scm-consumer publish codes.csv             a table to events; bad lines are listed by number
      scm-consumer status                        how the running consumer is, and what to do
      scm-consumer where HGDTQD54D5SD86EEDFS     what became of a code's events
      scm-consumer dlq stats                     the dead letters, by reason
      scm-consumer reconcile                     does the API hold what Kafka said
      scm-consumer sandbox --listen 127.0.0.1:8080   a strict stand-in of the API
    """
    ctx.obj = Options(config, log_level)


def main() -> None:
    """Run the program. Exit codes: 0 done, 1 failed, 2 wrong usage or settings, 3 check failed."""
    _open_streams()
    sys.excepthook = _on_fault
    threading.excepthook = lambda fault: _on_fault(
        fault.exc_type, fault.exc_value or fault.exc_type(), fault.exc_traceback
    )
    try:
        try:
            _run()
        finally:
            # Here, so that an error of it is handled below, and is no traceback at the very end.
            sys.stdout.flush()
    except OSError as error:
        if error.errno not in _UNWRITABLE:
            raise
        with Path(os.devnull).open("wb") as nowhere:
            # What is left in the buffer goes nowhere, or it would fail again at exit.
            os.dup2(nowhere.fileno(), sys.stdout.fileno())
        if error.errno != errno.EPIPE:  # the reader of the output has enough of it
            _complain([f"error: the output cannot be written: {error.strerror}"])
        sys.exit(1)


def _open_streams() -> None:
    """Open closed streams to nowhere, and escape characters that a stream's encoding lacks."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            nowhere = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - until the end
            setattr(sys, name, nowhere)
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _run() -> None:
    try:
        group.main(prog_name=PROGRAM, standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except click.exceptions.Abort:
        sys.exit(130)
    except UserError as error:
        _complain([f"error: {line}" for line in str(error).splitlines()])
        sys.exit(error.exit_code)


def _complain(lines: list[str]) -> None:
    """Write lines to standard error, within bounds, as nobody may be reading it."""
    from consumer.ops import logs
    from consumer.ops.lines import write_within

    logs.flush()  # what was logged before is written before
    text = known.text("".join(f"{line}\n" for line in lines))
    with suppress(OSError):
        write_within(sys.stderr, text, COMPLAINT_SECONDS)


def _on_fault(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Write the traceback of a fault in the program, without a secret that it may quote."""
    lines = "".join(traceback.format_exception(kind, error, trace)).splitlines()
    _complain(lines)


if __name__ == "__main__":
    main()
