"""``scm-consumer publish``: publish a table, lines of JSON, or EPCIS XML, as events in Kafka."""

from __future__ import annotations

import signal
import sys
from typing import TYPE_CHECKING

import click

from consumer.commands.options import SIGNAL_EXIT, Options, pass_options
from consumer.errors import UserError

if TYPE_CHECKING:
    from consumer.config.settings import Settings
    from consumer.publish.job import PublishOutcome
    from consumer.publish.making import Making
    from consumer.publish.reporting import Reporter


@click.command("publish", short_help="A CSV table, JSON lines or EPCIS XML to events in Kafka.")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, allow_dash=True))
@click.option("--topic", default="", help="Where to; default: the first of kafka.topics.")
@click.option(
    "--data-key", default="", metavar="NAME", help="Column of the codes; default: events.data_key."
)
@click.option(
    "--key",
    "order_by",
    default="",
    metavar="FIELD",
    help="Field that is the record's key; default: the code.",
)
@click.option(
    "--set",
    "constants",
    multiple=True,
    metavar="FIELD=VALUE",
    callback=lambda _, __, given: _constants(given),
    help="A field of every line of a table; may be given several times.",
)
@click.option("--strict", is_flag=True, help="Refuse the lines that are else warned of.")
@click.option(
    "--empty-erases", is_flag=True, help="An empty cell erases its field; else it says nothing."
)
@click.option(
    "--from-line",
    type=click.IntRange(min=1),
    default=1,
    metavar="N",
    help="Leave out the lines (of XML: the events) before N.",
)
@click.option(
    "--dry-run", is_flag=True, help="Check every line, show the first events, publish nothing."
)
@pass_options
def command(
    options: Options,
    *,
    file: str,
    topic: str,
    data_key: str,
    order_by: str,
    constants: dict[str, str],
    strict: bool,
    empty_erases: bool,
    from_line: int,
    dry_run: bool,
) -> None:
    """Publish the lines of FILE as events (- reads standard input).

    CSV as the portal's template: a header with the data key and the field names, then a code a
    line; UTF-8, separated by comma, semicolon or tab. Cells are kept exactly ("001" stays "001");
    an empty one says nothing about its field. NDJSON: an event a line (an envelope, a flat object,
    EPCIS 2.0, or a CloudEvent around one); it is published as it stands if it has the format of
    events.format. EPCIS XML: each event of the document becomes a document of its own. The file's
    ending tells which (.csv, .tsv, .ndjson, .jsonl, .xml), else its first character: { or [ is
    NDJSON, < is XML. With events.format = "scan" every file holds a scan a line.

    Every line is checked by the consumer's rules. One that would become a dead letter is listed
    with its number and not published; the others are. The topic must exist; no API token is needed.

    What is most likely a mistake is warned of, and published: in tables what looks like a date and
    is not YYYY-MM-DD, a long number that may have lost digits, a code that comes twice; in any file
    a code with white space at an end. With --strict these lines are refused.

    The record's key is the code, so a code's events stay in order. Where codes are packed into
    units, give all of them the same key with --key, such as --key pallet_code.

    Exit code 1: a line was refused or not acknowledged. After Ctrl-C the last line says where to go
    on.

    \b
    Examples:
      scm-consumer publish codes.csv --dry-run
      scm-consumer publish codes.csv
      scm-consumer publish codes.csv --set product=prod_1 --set activation_status=1
      scm-consumer publish shipped.csv --data-key case_code --key pallet_code
      jq -c '.events[]' shift.json | scm-consumer publish - --topic scm.events
    """
    if not empty_erases and "" in constants.values():
        raise click.UsageError("--set with nothing behind the = erases: it needs --empty-erases")
    settings = options.settings(uploads=False)
    topic = topic or _first_topic(settings, needed=not dry_run)
    from consumer.adapters.kafka.publisher import TopicPublisher  # heavy: the clients
    from consumer.publish.doubts import refuse_doubt
    from consumer.publish.job import Stop, StoppedError, publish
    from consumer.publish.opening import opened, reading
    from consumer.publish.preview import Preview, scan_text
    from consumer.publish.reporting import Reporter
    from consumer.publish.xml_file import XmlFile

    stop = Stop()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    making = _making(settings, file, topic, data_key, order_by, constants)
    with opened(file) as found:
        reporter = Reporter(found.size, show_keys=settings.log.keys or options.log_level == "debug")
        warn = refuse_doubt if strict else reporter.warn
        try:
            with stop.while_reading():
                lines, make = reading(found, making, warn, empty_erases=empty_erases)
        except StoppedError:
            sys.exit(SIGNAL_EXIT + stop.number)
        preview = Preview()
        if making.scans is not None:
            preview.text_of = scan_text
        if isinstance(lines, XmlFile):
            reporter.unit, reporter.place, preview.unit = "event", lines.place, "event"
        publisher = None
        if not dry_run:
            publisher = TopicPublisher(
                topic,
                bootstrap_servers=settings.kafka.bootstrap_servers,
                properties=settings.kafka.client,
                refused=reporter.refuse,
                cancelled=lambda: stop.count > 0,
                hurry=lambda: stop.count > 1,
                say=reporter.say,
            )
        with reporter:
            sink = publisher or preview
            outcome = publish(
                lines, make, sink, reporter, stop, from_line=from_line, position=found.position
            )
        for text in preview.shown:
            click.echo(text)
        click.echo(_summary(outcome, reporter, topic, dry_run=dry_run))
        _raise_problem(outcome, found.name, sink.broken)
    if stop.count and outcome.next_line is not None:
        click.echo(f"stopped: go on with --from-line {outcome.next_line}", err=True)
        sys.exit(SIGNAL_EXIT + stop.number)
    if outcome.refused or outcome.unknown:
        sys.exit(1)


def _constants(given: tuple[str, ...]) -> dict[str, str]:
    """Return the fields given with --set. Raise UsageError for one without a name, or twice."""
    constants: dict[str, str] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not name or name != name.strip():
            raise click.UsageError(f"--set {text}: FIELD=VALUE is needed, such as product=prod_1")
        if name in constants:
            raise click.UsageError(f"--set names {name} twice")
        constants[name] = value
    return constants


def _making(
    settings: Settings,
    file: str,
    topic: str,
    data_key: str,
    order_by: str,
    constants: dict[str, str],
) -> Making:
    from consumer.formats import EpcisRules
    from consumer.publish.making import Making
    from consumer.publish.opening import source_of

    events = settings.events
    scans = None
    if events.format == "scan":
        from consumer.decoding import scan_decoder  # heavy: the clients

        if data_key:
            raise click.UsageError("scan.code says of which field a scan is a value: no --data-key")
        scans = scan_decoder(settings)
    return Making(
        format=events.format,
        configured_key=events.data_key,
        data_key=data_key or events.data_key,
        date_fields=events.date_fields,
        source=source_of(file),
        order_by=order_by,
        known=(*events.date_fields, *events.logistic_units),
        constants=constants,
        epcis=EpcisRules(events.logistic_units, **settings.epcis.model_dump()),
        scans=scans,
        topic=topic,
    )


def _first_topic(settings: Settings, *, needed: bool) -> str:
    from consumer.adapters.kafka.patterns import is_pattern

    name = settings.kafka.topics[0]
    if not is_pattern(name):
        return name
    if needed:
        raise click.UsageError(
            f"kafka.topics begins with the pattern {name}: say where to publish with --topic"
        )
    return ""


def _summary(outcome: PublishOutcome, reporter: Reporter, topic: str, *, dry_run: bool) -> str:
    to = f" to {topic}" if topic else ""
    lines = f"{outcome.acknowledged:,} of {outcome.taken:,} {reporter.unit}s"
    if dry_run:
        text = f"dry run: {lines} would be published{to}"
    else:
        rate = outcome.acknowledged / max(outcome.seconds, 0.001)
        text = f"published {lines}{to} in {outcome.seconds:.1f} s ({rate:,.0f} {reporter.unit}s/s)"
    reasons = ", ".join(f"{reason} {count:,}" for reason, count in reporter.refused.most_common())
    text += f"; {outcome.refused:,} refused" + (f" ({reasons})" if reasons else "")
    if reporter.doubts:
        text += f"; {reporter.doubts.total():,} warnings"
    return text + (f"; {outcome.unknown:,} not acknowledged" if outcome.unknown else "")


def _raise_problem(outcome: PublishOutcome, name: str, broken: str) -> None:
    """Raise UserError for what ended the work before the file's end, if it was no signal."""
    on = f"go on with --from-line {outcome.next_line}"
    if broken:
        raise UserError(f"Kafka takes no more: {broken}; {on}")
    if outcome.problem:
        raise UserError(f"{name}: {outcome.problem}; mend it, and {on}")
