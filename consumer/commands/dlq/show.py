"""``scm-consumer dlq show``: one letter, and what became of its code since."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from consumer.commands.dlq.common import Progress, scan_of
from consumer.commands.options import Options, pass_options

if TYPE_CHECKING:
    from consumer.adapters.kafka.scan import Scan
    from consumer.config.settings import Settings
    from consumer.dead_letters.showing import Shown
    from consumer.where.outcome import RowOutcome


@click.command("show", short_help="One letter, and what became of its code since.")
@click.argument("place", metavar="TOPIC[PARTITION]@OFFSET")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@pass_options
def command(options: Options, *, place: str, as_json: bool) -> None:
    """Show one letter: its state, the reason, the row as it was sent, the record, all its headers.

    Then what became of the events of its code since, as scm-consumer where tells it. PLACE is in
    the dead-letter topic, as dlq list shows it; quote it, as shells know brackets, too.

    \b
    Examples:
      scm-consumer dlq show 'scm.events.dlq[3]@512'
      scm-consumer dlq show 'scm.events.dlq[3]@512' --json | jq .row
    """
    from consumer.dead_letters.letter import Place

    found = Place.parse(place)
    if found is None:
        raise click.BadParameter(
            f"{place!r} is no place: allowed is such as 'scm.events.dlq[3]@512'",
            param_hint="TOPIC[PARTITION]@OFFSET",
        )
    settings = options.settings(uploads=False)
    from consumer.dead_letters import showing

    progress = Progress()
    with scan_of(settings) as scan:
        try:
            shown = showing.find(scan, settings, found, progress)
            outcomes = _outcomes(scan, settings, shown, progress)
        finally:
            progress.clear()
    if as_json:
        click.echo(showing.as_json(shown, [_members(outcome) for outcome in outcomes]))
        return
    for line in showing.lines(shown):
        click.echo(line)
    click.echo()
    for line in _since(shown, outcomes):
        click.echo(line)


def _outcomes(scan: Scan, settings: Settings, shown: Shown, progress: Progress) -> list[RowOutcome]:
    """Return what became of the code's events since the one of the letter, itself included."""
    from consumer.where.search import CodeSearch

    letter = shown.letter
    if letter.key_value is None:
        return []
    at = letter.at if shown.event_at is None else shown.event_at
    search = CodeSearch(settings, scan, letter.key_value, lambda count: progress("events", count))
    return list(search.outcomes(at / 1000 if at > 0 else None))


def _members(outcome: RowOutcome) -> dict[str, Any]:
    import msgspec

    return msgspec.structs.asdict(outcome)


def _since(shown: Shown, outcomes: list[RowOutcome]) -> list[str]:
    from consumer.commands.where import line_of
    from consumer.dead_letters.texts import printable

    if shown.letter.key_value is None:
        return ["what became of the code since: the letter names no code"]
    told = [f"  {printable(line_of(outcome))}" for outcome in outcomes]
    return ["what became of the code since", *(told or ["  nothing was found"])]
