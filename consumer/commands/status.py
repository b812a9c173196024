"""``scm-consumer status --group``: the whole group, from Kafka alone."""

from __future__ import annotations

import click

from consumer.commands.options import Options, pass_options


@click.command("status", short_help="The whole group: members, partitions, lag.")
@click.option("--group", is_flag=True, required=True, help="The whole group, from Kafka alone.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@pass_options
def command(options: Options, *, group: bool, as_json: bool) -> None:  # noqa: ARG001 - there is no other yet
    """Show the group: its members, its partitions, what is committed, and how far it is behind.

    It asks Kafka only, so it works when nobody runs. It joins no group and commits nothing. BEHIND
    counts what is not settled; OLDEST is the age of the oldest such record, by its own time;
    SETTLED BEYOND counts records behind the committed offset that are settled already.

    \b
    Examples:
      scm-consumer status --group
      scm-consumer status --group --json | jq .desired_members
    """
    show_group(options, as_json=as_json)


def show_group(options: Options, *, as_json: bool) -> None:
    """Print the group's report."""
    settings = options.settings(uploads=False)
    from consumer.group import report, view

    found = report.read(settings)
    click.echo(view.as_json(found) if as_json else view.as_text(found))
