"""``scm-consumer dlq list``: a line a letter."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from consumer.commands.dlq.common import filters, letters
from consumer.commands.options import Options, pass_options

if TYPE_CHECKING:
    from consumer.dead_letters.filters import Filter


@click.command("list", short_help="A line a letter.")
@filters
@click.option(
    "--state",
    type=click.Choice(["open", "replayed", "resolved"]),
    default=None,
    help="Only letters in this state.",
)
@click.option(
    "--limit", type=click.IntRange(min=1), metavar="N", help="The newest N; default: all of them."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@pass_options
def command(
    options: Options, *, wanted: Filter, state: str | None, limit: int | None, as_json: bool
) -> None:
    """List dead letters, the newest last.

    A line for each: when it was rejected, its place in the dead-letter topic, its state, the
    reason, the code, the place of its event, and the message. Behind the message stands what became
    of a letter that is not open.

    \b
    Examples:
      scm-consumer dlq list --limit 20
      scm-consumer dlq list --state open --reason rejected_by_api --message SKU
      scm-consumer dlq list --source scm.events:3 --since 2026-11-22 --json | jq -r .key_value
    """
    settings = options.settings(uploads=False)
    from consumer.dead_letters.listing import Lines
    from consumer.dead_letters.listing import as_json as object_of

    topic = settings.dead_letter.topic
    with letters(settings, wanted) as store:
        lines = Lines(store, topic)
        for letter in store.listed(state=state or "", newest=limit):
            click.echo(object_of(letter) if as_json else lines.line(letter))
        counts = store.counts()
    told = ", ".join(f"{count:,} {name}" for name, count in counts.items())
    total = sum(counts.values())
    click.echo(f"{total:,} letters: {told}" if total else f"{topic}: no dead letters", err=True)
