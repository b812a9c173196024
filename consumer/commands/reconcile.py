"""``scm-consumer reconcile``: compare what the API holds with what the events say."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from consumer.commands.options import Options, Time, pass_options
from consumer.errors import ConfigError, UserError

if TYPE_CHECKING:
    from consumer.reconcile.comparison import Difference
    from consumer.reconcile.job import Outcome

#: Differences that are shown.
SHOWN = 20
#: Differences in the object of ``--json``.
IN_JSON = 1_000


class _UnreadableError(UserError):
    """The API's document or a topic cannot be read."""

    exit_code = 3


@click.command("reconcile", short_help="Does the API hold what Kafka said?")
@click.option("--since", type=Time(), help="Only events since then: 90m, 7d, a day or a time.")
@click.option("--until", type=Time(), help="Events after it are taken for not uploaded yet.")
@click.option("--campaign", "campaigns", multiple=True, help="Only codes of this campaign (ID).")
@click.option(
    "--download",
    "document",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="A document of codes downloaded from the portal, instead of the API.",
)
@click.option("--rate", type=click.FloatRange(0.01, 10.0), default=1.0, help="Calls a second.")
@click.option("--report", type=click.Path(path_type=Path), help="Write all differences, as CSV.")
@click.option("--repair", type=click.Path(path_type=Path), help="Write events for publish.")
@click.option("--push", type=click.Path(path_type=Path), help="Write metrics (textfile collector).")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@pass_options
def command(
    options: Options,
    *,
    since: float | None,
    until: float | None,
    campaigns: tuple[str, ...],
    document: Path | None,
    rate: float,
    report: Path | None,
    repair: Path | None,
    push: Path | None,
    as_json: bool,
) -> None:
    """Compare what the API holds for each code with what the topics' events say.

    All events of kafka.topics are folded, in their order, into what each code should hold. Rows in
    the dead-letter topic do not count. Updates by unit count for the codes that were put into it.
    What the API holds is fetched from it (permission codes_view), or given as --download.

    equal: as the events say. missing: the API has no such code. different: a field holds something
    else, an older event's value (stale) or nobody's (foreign). discarded: the campaign does not
    have the field. undecided: an event was not uploaded before, or events are gone from the topic.

    Nothing is changed: it joins no group, commits nothing and uploads nothing. --repair writes
    events that set what is stale; look at them, then publish them.

    Exit codes: 0 equal, 1 differences, 2 wrong usage, 3 the API or a topic cannot be read.

    \b
    Examples:
      scm-consumer reconcile
      scm-consumer reconcile --campaign 17 --report differences.csv
      scm-consumer reconcile --repair repair.ndjson; scm-consumer publish repair.ndjson
      scm-consumer reconcile --download codes.csv --json | jq .counts
    """
    settings = options.settings(uploads=document is None)
    from consumer.reconcile import report as writing
    from consumer.reconcile.job import Question, Reconcile

    began = time.monotonic()
    progress = _Progress()
    job: Reconcile | None = None
    try:
        question = Question(since, until, campaigns, document, rate)
        job = Reconcile(settings, question, progress.show)
        outcome = job.run()
    except UserError as error:
        progress.end()
        if job is not None:
            job.close()
        if isinstance(error, ConfigError):
            raise
        raise _UnreadableError(str(error)) from None
    progress.end()
    try:
        findings, partitions = outcome.findings, outcome.partitions
        counts = findings.counts()
        written = []
        if report is not None:
            count = writing.write_csv(report, findings, partitions)
            written.append(f"{report}: {count:,} differences")
        if repair is not None:
            count = writing.write_repair(repair, findings, partitions)
            written.append(f"{repair}: {count:,} events; look at them, then: publish {repair}")
        if push is not None:
            seconds = time.monotonic() - began
            group = settings.kafka.group_id
            writing.write_metrics(push, group, counts, seconds=seconds, now=time.time())
        if as_json:
            _tell_json(outcome, counts)
        else:
            _tell(outcome, counts, written)
    finally:
        job.close()
    differ = counts["missing"] + counts["different"] + counts["discarded"]
    sys.exit(1 if differ else 0)


class _Progress:
    """Shows how far it is on a terminal; else nothing."""

    def __init__(self) -> None:
        self._shown = False

    def show(self, what: str, count: int) -> None:
        if sys.stderr.isatty():
            self._shown = True
            click.echo(f"\r{count:,} {what}   ", err=True, nl=False)

    def end(self) -> None:
        if self._shown:
            click.echo(err=True)


def _tell_json(outcome: Outcome, counts: dict[str, int]) -> None:
    import orjson

    from consumer.reconcile.report import as_object

    told = {
        "counts": counts,
        "differences": [as_object(found) for found in outcome.findings.differences(IN_JSON)],
        "not_compared": outcome.not_compared,
        "records": outcome.records,
        "gone": outcome.gone,
        "temporary_bytes": outcome.temporary_bytes,
    }
    click.echo(orjson.dumps(told).decode())


def _tell(outcome: Outcome, counts: dict[str, int], written: list[str]) -> None:
    for found in outcome.findings.differences(SHOWN):
        click.echo(_line(found))
    differences = sum(counts.values()) - counts["equal"]
    if differences > SHOWN:
        click.echo(f"... all of them: --report FILE ({differences:,} codes)")
    for name, why in outcome.not_compared.items():
        click.echo(f"not compared: {name}: {why}")
    if outcome.gone:
        click.echo(
            f"the first events of {', '.join(outcome.gone[:5])} are gone or were not read: what "
            "only they said is not known"
        )
    for line in written:
        click.echo(line)
    parts = [f"{count:,} {kind}" for kind, count in counts.items() if count or kind == "equal"]
    click.echo(f"reconcile: {_codes(sum(counts.values()))}: {', '.join(parts)}")


def _codes(count: int) -> str:
    return f"{count:,} code{'' if count == 1 else 's'}"


def _line(found: Difference) -> str:
    key = f"{found.data_key}={found.key_value}"
    if not found.field:
        return f"{found.kind.value:9}  {key}  {found.cause}"
    values = f"{found.field} should be {found.expected!r}, is {found.held!r}"
    return f"{found.kind.value:9}  {key}  {values} ({found.cause})"
