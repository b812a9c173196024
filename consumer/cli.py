"""The command line: ``scm-consumer``. Results on stdout, logs and progress on stderr."""

from __future__ import annotations

import errno
import importlib
import io
import os
import sys
from contextlib import suppress
from pathlib import Path

import click

from consumer import __version__
from consumer.commands.options import LEVELS, Options
from consumer.errors import UserError

PROGRAM = "scm-consumer"
#: Of standard output: nobody reads it, the disk or its quota is full, or it fails.
_UNWRITABLE = (errno.EPIPE, errno.ENOSPC, errno.EDQUOT, errno.EIO)
#: How long it may take to write what has gone wrong.
COMPLAINT_SECONDS = 2.0
_EPILOG = """\b
Completion of commands and options, in ~/.bashrc (zsh, fish: the same with zsh_source, fish_source):
  eval "$(_SCM_CONSUMER_COMPLETE=bash_source scm-consumer)"
"""

#: In the order of the help; one module each in ``consumer.commands``.
COMMANDS = ("demo", "run", "check", "publish", "where", "sandbox", "config")


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
    """Brings factory events from Kafka to the Scantrust SCM API.

    Batched, in order per code, nothing lost.

    \b
    Examples:
      scm-consumer demo                          see it work, nothing to install or start
      scm-consumer run                           the consumer, with scm-consumer.toml
      scm-consumer check --create                is everything there; make the topics that are not
      scm-consumer publish codes.csv             a table to events; bad lines are told by number
      scm-consumer where HGDTQD54D5SD86EEDFS     what became of a code's events
      scm-consumer sandbox --listen 127.0.0.1:8080   a strict stand-in of the API
    """
    ctx.obj = Options(config, log_level)


def main() -> None:
    """The entry point. Exit codes.

    0 done, 1 failed, 2 wrong usage or configuration, 3 a check failed.
    """
    _open_streams()
    try:
        try:
            _run()
        finally:
            # what cannot be written is told, and not by a traceback at the very end
            sys.stdout.flush()
    except OSError as error:
        if error.errno not in _UNWRITABLE:
            raise
        with Path(os.devnull).open("wb") as nowhere:
            os.dup2(
                nowhere.fileno(), sys.stdout.fileno()
            )  # the rest of it, or it fails again at exit
        if error.errno != errno.EPIPE:  # who read the output has enough of it
            _complain([f"error: the output cannot be written: {error.strerror}"])
        sys.exit(1)


def _open_streams() -> None:
    """Streams that who started it has closed swallow everything.

    What an encoding lacks is escaped.
    """
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115 - for the life of the process
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
    """Write lines to standard error.

    Nobody may be reading it, and the process ends all the same.
    """
    from consumer.ops import logs
    from consumer.ops.lines import write_within

    logs.flush()  # what was logged before comes before it
    with suppress(OSError):
        write_within(sys.stderr, "".join(f"{line}\n" for line in lines), COMPLAINT_SECONDS)


if __name__ == "__main__":
    main()
