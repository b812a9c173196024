"""``scm-consumer dlq stats``: what a person looks at first."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from consumer.commands.dlq.common import filters, letters
from consumer.commands.options import Options, pass_options

if TYPE_CHECKING:
    from consumer.dead_letters.filters import Filter


@click.command("stats", short_help="How many letters there are, of what kind.")
@filters
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@pass_options
def command(options: Options, *, wanted: Filter, as_json: bool) -> None:
    """Count the dead letters: by state, reason, field, data key, source and hour.

    The commonest messages are told with <key> for the code and # for words with digits, so that the
    same complaint about many codes is one line.

    \b
    Examples:
      scm-consumer dlq stats
      scm-consumer dlq stats --since 1h --reason rejected_by_api
      scm-consumer dlq stats --json | jq .states.open
    """
    settings = options.settings(uploads=False)
    from consumer.dead_letters import counting

    with letters(settings, wanted) as store:
        stats = counting.stats_of(store, settings.dead_letter.topic)
    if as_json:
        click.echo(counting.as_json(stats))
        return
    for line in counting.lines(stats):
        click.echo(line)
