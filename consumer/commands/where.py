"""``scm-consumer where``: list a code's events, each with its fate."""

from __future__ import annotations

import re
import sys
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import click

from consumer.commands.options import Options, pass_options

if TYPE_CHECKING:
    from consumer.where.outcome import RowOutcome

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


class Since(click.ParamType):  # type: ignore[type-arg]  # generic for its stub only
    """A duration back from now, or a day or time."""

    name = "time"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        if isinstance(value, float):
            return value
        text = str(value)
        if found := re.fullmatch(r"(\d{1,6})([smhd])", text):
            return time.time() - timedelta(**{_UNITS[found[2]]: int(found[1])}).total_seconds()
        try:
            at = datetime.fromisoformat(text)
        except ValueError:
            self.fail(
                f"{text!r} is none: allowed is 90m, 12h, 7d, 2026-11-22, or 2026-11-22T06:00:00Z",
                param,
                ctx,
            )
        return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()


@click.command("where", short_help="What became of a code's events.")
@click.argument("key")
@click.option(
    "--since",
    type=Since(),
    help="Only events since then: 90m, 12h, 7d, a day, or an RFC 3339 time (UTC).",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@pass_options
def command(options: Options, *, key: str, since: float | None, as_json: bool) -> None:
    """List the events of KEY, a code or a logistic unit, and what became of each.

    KEY is its exact value, under whatever data key.

    A line for each: when it was published, where it is, what it sets, and its fate. accepted: its
    receipt says so. dead_lettered: its dead letter says so, with the reason. unsettled: there is
    neither, and the group has not committed that it is done. unknown: it is settled, but nothing
    records whether it was accepted (that takes receipts.topic). skipped: settled while receipts
    were kept, without one, and by today's rules it sets nothing. What today's rules would make of
    an event stands beside its fate; when it was read, they may have been others.

    All of kafka.topics, the dead-letter topic and the receipts topic are read, so on long topics
    --since saves time. It disturbs nothing: it joins no group and commits nothing.

    \b
    Examples:
      scm-consumer where HGDTQD54D5SD86EEDFS
      scm-consumer where case-4711 --since 12h
      scm-consumer where case-4711 --json | jq -r 'select(.fate == "dead_lettered") | .told'
    """
    settings = options.settings(uploads=False)
    import msgspec

    from consumer.adapters.kafka.scan import Scan
    from consumer.where.search import CodeSearch

    scan = Scan(settings.kafka.bootstrap_servers, settings.kafka.group_id, settings.kafka.client)
    show_progress = sys.stderr.isatty()

    def progress(count: int) -> None:
        if show_progress:
            click.echo(f"\r{count:,} records searched", err=True, nl=False)

    try:
        search = CodeSearch(settings, scan, key, progress)
        outcomes = list(search.outcomes(since))
    finally:
        scan.close()
    if show_progress and search.searched >= 10_000:
        click.echo(err=True)
    for outcome in outcomes:
        click.echo(msgspec.json.encode(outcome).decode() if as_json else _line(outcome))
    if not outcomes:
        click.echo(
            f"{key}: not seen in {search.searched:,} records of {', '.join(settings.kafka.topics)}",
            err=as_json,
        )


def _line(outcome: RowOutcome) -> str:
    fields = "cannot be read"
    if outcome.fields is not None:
        fields = " ".join(f"{name}={value!r}" for name, value in outcome.fields.items())
    where = f"{outcome.topic}[{outcome.partition}]@{outcome.offset}"
    row = f"{outcome.data_key or '?'}={outcome.key_value}"
    return f"{outcome.at}  {where}  {row}  {fields}  {outcome.fate}: {outcome.told}"
