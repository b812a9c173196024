"""``scm-consumer dlq resolve``: say that letters need nothing more."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from consumer.commands.dlq.common import agreed, filters, letters
from consumer.commands.options import Options, pass_options

if TYPE_CHECKING:
    from consumer.dead_letters.filters import Filter

#: The reason stands in each marker.
MOST_CHARACTERS = 1000


@click.command("resolve", short_help="Say that letters need nothing more.")
@filters
@click.option("--because", required=True, metavar="TEXT", help="Why; it is kept with the letters.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--dry-run", is_flag=True, help="Say how many, and write nothing.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object of the counts.")
@pass_options
def command(
    options: Options, *, wanted: Filter, because: str, yes: bool, dry_run: bool, as_json: bool
) -> None:
    """Resolve the open letters that match: nobody needs to look at them again.

    Nothing is deleted: a marker in the dead-letter topic says so, and why. Resolved letters are
    still listed, and are not replayed. Letters that were replayed or resolved before stay as they
    are. Without a filter it is about all letters.

    \b
    Examples:
      scm-consumer dlq resolve --key HGDTQD54D5SD86EEDFS --because "scrapped" --yes
      scm-consumer dlq resolve --reason unknown_key --until 2026-11-22 --because "a test print"
    """
    if not because.strip() or len(because) > MOST_CHARACTERS:
        raise click.BadParameter(
            f"it must say why, in at most {MOST_CHARACTERS} characters", param_hint="--because"
        )
    settings = options.settings(uploads=False)
    from consumer.adapters.kafka.batch_writer import BatchWriter
    from consumer.dead_letters import resolving
    from consumer.dead_letters.store import OPEN

    topic = settings.dead_letter.topic
    with letters(settings, wanted) as store:
        counts = store.counts()
        count, matching = counts[OPEN], sum(counts.values())
        done = f"{matching - count:,} of them are replayed or resolved already"
        click.echo(f"{matching:,} letters of {topic} match; {done}", err=True)
        resolved = 0
        if count and not dry_run:
            if not agreed(f"Resolve {count:,} open letters?", yes=yes):
                click.echo("nothing was resolved; --yes for scripts", err=True)
                sys.exit(1)
            writer = BatchWriter(settings.kafka.bootstrap_servers, settings.kafka.client)
            try:
                resolving.write(writer, resolving.markers(topic, store.open_offsets(), because))
            finally:
                writer.close()
            resolved = count
    if as_json:
        import orjson

        members = {"matching": matching, "open": count, "resolved": resolved, "dry_run": dry_run}
        click.echo(orjson.dumps(members))
        return
    would = "would resolve" if dry_run else "resolved"
    click.echo(f"{would} {count if dry_run else resolved:,} letters")
