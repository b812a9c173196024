"""``scm-consumer dlq``: look at dead letters, and bring them back. A file for each subcommand."""

from __future__ import annotations

import importlib

import click

#: In the order of the help; each with its module beside this one.
SUBCOMMANDS = {
    "stats": "stats",
    "list": "listing",
    "show": "show",
    "replay": "replay",
    "resolve": "resolve",
}


class _Lazy(click.Group):
    """Imports a subcommand's module only when it is needed."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(SUBCOMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in SUBCOMMANDS:
            return None
        module = importlib.import_module(f"{__name__}.{SUBCOMMANDS[cmd_name]}")
        command: click.Command = module.command
        return command


@click.group("dlq", cls=_Lazy, short_help="Dead letters: list, count, show, resolve.")
def command() -> None:
    """Look at the dead letters: the rows that were rejected, each with the reason.

    A letter is open until it was replayed (published again, as its event's topic shows), or until
    somebody has resolved it. All subcommands take the same filters; of a repeated one any value
    does. They read the dead-letter topic, and for the states the topics of events since the oldest
    letter that matches; --since saves time. They join no group and commit nothing.

    \b
    Examples:
      scm-consumer dlq stats                              what a person looks at first
      scm-consumer dlq list --since 12h --reason rejected_by_api
      scm-consumer dlq show 'scm.events.dlq[3]@512'       one letter, and what became of its code
      scm-consumer dlq resolve --reason unknown_key --because "codes of a test print"
    """
