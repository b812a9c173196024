"""``scm-consumer status``: how a running consumer is, in the terminal."""

from __future__ import annotations

import sys
from contextlib import suppress

import click

from consumer.commands.options import Options, pass_options


@click.command("status", short_help="How a running consumer is: state, lag, troubles, what to do.")
@click.option("--url", help="The consumer's ops address, http://HOST:PORT; default: ops.listen.")
@click.option(
    "--watch/--once",
    default=None,
    help="Look again every two seconds until Ctrl-C, or once. Default: watch in a terminal.",
)
@click.option(
    "--json", "as_json", is_flag=True, help="The /status document; with --watch a line each."
)
@click.option("--group", is_flag=True, help="The whole group, from Kafka alone.")
@pass_options
def command(
    options: Options, *, url: str | None, watch: bool | None, as_json: bool, group: bool
) -> None:
    """Show how a running consumer is: the same as the page at its ops address.

    One word of state with what to do, troubles, time lag and when the backlog will be gone,
    the last fifteen minutes, partitions, rejected rows, the API.

    The consumer is found by ops.listen of the settings, on this host; with --url no settings are
    needed. Exit code 1: nobody answers there.

    --group asks Kafka only, so it works when nobody runs: the group's members, its partitions, what
    is committed, and how far it is behind. BEHIND counts what is not settled; OLDEST is the age of
    the oldest such record, by its own time; SETTLED BEYOND counts records behind the committed
    offset that are settled already. It joins no group and commits nothing.

    \b
    Examples:
      scm-consumer status
      scm-consumer status --once --url http://10.0.0.7:9464
      scm-consumer status --json | jq -r '.state, .advice'
      scm-consumer status --group
    """
    if group:
        _show_group(options, as_json=as_json)
        return
    from consumer.ops.view.fetch import url_of
    from consumer.ops.view.shell import Shell

    shell = Shell(url or url_of(options.settings(uploads=False).ops.listen))
    with suppress(KeyboardInterrupt):  # the way to leave it
        if as_json:
            shell.show_json(watch=bool(watch))
        else:
            shell.show(watch=sys.stdout.isatty() if watch is None else watch)


def _show_group(options: Options, *, as_json: bool) -> None:
    """Print the group's report."""
    settings = options.settings(uploads=False)
    from consumer.group import report, view

    found = report.read(settings)
    click.echo(view.as_json(found) if as_json else view.as_text(found))
