"""``scm-consumer dlq replay``: bring letters back."""

from __future__ import annotations

import signal
import sys
from typing import TYPE_CHECKING

import click

from consumer.commands.dlq.common import Progress, agreed, filters, scan_of
from consumer.commands.options import SIGNAL_EXIT, Options, pass_options

if TYPE_CHECKING:
    from consumer.config.settings import Settings
    from consumer.dead_letters.filters import Filter
    from consumer.dead_letters.replaying import Prepared, Replay
    from consumer.dead_letters.watching import Kind


@click.command("replay", short_help="Bring letters back, without undoing anything.")
@filters
@click.option("--set", "sets", multiple=True, metavar="F=V", help="Set a field of what is sent.")
@click.option("--rename", "renames", multiple=True, metavar="A=B", help="Rename a field.")
@click.option("--unset", "unsets", multiple=True, metavar="F", help="Leave a field out.")
@click.option("--to-data-key", metavar="K", help="What the key's value is a value of.")
@click.option("--only-missing", is_flag=True, help="Leave out fields that were set since.")
@click.option("--rate", type=click.FloatRange(min=0, min_open=True), help="Letters a second.")
@click.option("--max", "most", type=click.IntRange(min=1), metavar="N", help="Send N at most.")
@click.option("--force", is_flag=True, help="Send superseded, unknown and looping ones, too.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--dry-run", is_flag=True, help="Say what would be done, and send nothing.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a letter.")
@pass_options
def command(
    options: Options,
    *,
    wanted: Filter,
    sets: tuple[str, ...],
    renames: tuple[str, ...],
    unsets: tuple[str, ...],
    to_data_key: str | None,
    only_missing: bool,
    rate: float | None,
    most: int | None,
    force: bool,
    yes: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Publish the records of the letters that match again, to the topic that they came from.

    First it says what it would do, and asks. A letter goes only if nothing newer would be
    overwritten: superseded are those of which a newer event has set a field since, unknown those
    of which nobody can tell. Letters of one code go in the order of their events. What is not
    mended goes byte for byte.

    Run again, or after it was killed, it sends nothing that went before.

    Exit code 0: all that matched went, or was done before. 1: some did not.

    \b
    Examples:
      scm-consumer dlq replay --reason rejected_by_api --message SKU --dry-run
      scm-consumer dlq replay --reason rejected_by_api --set product=SKU-2
      scm-consumer dlq replay --field Product --rename Product=product --yes
      scm-consumer dlq replay --since 12h --only-missing --rate 50
    """
    settings = options.settings(uploads=False)
    from consumer.dead_letters import telling
    from consumer.dead_letters.mending import Mend
    from consumer.dead_letters.plan import FORCED
    from consumer.dead_letters.replaying import prepare
    from consumer.dead_letters.watching import Kind

    mend = Mend.parse(sets, renames, unsets, to_data_key)
    goes = {Kind.REPLAY} | (FORCED if force else frozenset())
    progress = Progress()
    with scan_of(settings) as scan:
        try:
            prepared = prepare(scan, settings, wanted, mend, progress, only_missing=only_missing)
        finally:
            progress.clear()
        try:
            _tell(prepared, goes, settings, err=as_json)
            code = _replay(
                prepared,
                settings,
                goes,
                progress,
                rate=rate,
                most=most,
                yes=yes,
                dry_run=dry_run,
                err=as_json,
            )
            if as_json:
                for handled in prepared.store.handled():
                    click.echo(telling.as_json(handled))
        finally:
            prepared.close()
    sys.exit(code)


def _tell(prepared: Prepared, goes: set[Kind], settings: Settings, *, err: bool) -> None:
    """Say what would be done."""
    from consumer.dead_letters import telling

    topic = settings.dead_letter.topic
    click.echo(f"{prepared.store.count:,} letters of {topic} match", err=err)
    for line in telling.summary(prepared, goes):
        click.echo(line, err=err)
    if prepared.store.count:
        click.echo("such as", err=err)
        for line in telling.examples(prepared):
            click.echo(line, err=err)


def _replay(
    prepared: Prepared,
    settings: Settings,
    goes: set[Kind],
    progress: Progress,
    *,
    rate: float | None,
    most: int | None,
    yes: bool,
    dry_run: bool,
    err: bool,
) -> int:
    """Publish what may go, if somebody agrees; return the exit code."""
    from consumer.dead_letters.replaying import DONE

    count = prepared.of_kind(goes)
    going = min(count, most or count)
    if dry_run:
        click.echo(f"would send {going:,} letters", err=err)
        return 0
    if going and not agreed(f"Send {going:,} letters?", yes=yes):
        click.echo("nothing was sent; --yes for scripts", err=True)
        return 1
    stop = _Stop()
    sent = done = 0
    if going:
        replay = _run(prepared, settings, goes, progress, stop, rate=rate, most=most)
        sent, done = replay.sent, replay.done_meanwhile
    left = prepared.store.count - sent - done - prepared.of_kind(DONE)
    click.echo(f"sent {sent:,} letters{_stayed(prepared) if left else ''}", err=err)
    if stop.number:
        click.echo("stopped; run it again: what went does not go twice", err=True)
        return SIGNAL_EXIT + stop.number
    return 1 if left else 0


class _Stop:
    """Takes in a signal; the batch that is on its way is finished."""

    def __init__(self) -> None:
        self.number = 0

    def __call__(self, number: int, _: object) -> None:
        self.number = number


def _run(
    prepared: Prepared,
    settings: Settings,
    goes: set[Kind],
    progress: Progress,
    stop: _Stop,
    *,
    rate: float | None,
    most: int | None,
) -> Replay:
    from consumer.adapters.kafka.batch_writer import BatchWriter
    from consumer.dead_letters import resolving
    from consumer.dead_letters.replaying import Replay

    writer = BatchWriter(settings.kafka.bootstrap_servers, settings.kafka.client)
    replay = Replay(
        prepared,
        writer,
        force=goes,
        rate=rate or 0.0,
        most=most,
        stopped=lambda: stop.number > 0,
    )
    handlers = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        try:
            replay.run(progress)
        finally:
            progress.clear()
            # Copies go with retention; that these letters were brought back is known then, too.
            offsets = prepared.store.sent_offsets()
            topic = settings.dead_letter.topic
            resolving.write(writer, resolving.markers(topic, offsets, "replayed", replayed=True))
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        writer.close()
    return replay


def _stayed(prepared: Prepared) -> str:
    """Return the letters that did not go, by verdict."""
    from collections import Counter

    from consumer.dead_letters.replaying import DONE

    done = {kind.word for kind in DONE}
    verdicts = Counter(
        handled.verdict
        for handled in prepared.store.handled()
        if handled.sent is None and handled.verdict not in done
    )
    told = ", ".join(f"{count:,} {verdict}" for verdict, count in verdicts.most_common())
    return f"; not sent: {told}"
