"""Shared parts of the subcommands of ``dlq``: filters, reading with progress, and asking."""

from __future__ import annotations

import functools
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from consumer.commands.options import Time

if TYPE_CHECKING:
    from consumer.adapters.kafka.scan import Scan
    from consumer.config.settings import Settings
    from consumer.dead_letters.filters import Filter


class _Source(click.ParamType):  # type: ignore[type-arg]  # generic for its stub only
    """A topic, or one partition of it."""

    name = "topic[:partition]"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, int | None]:
        if isinstance(value, tuple):
            return value
        found = re.fullmatch(r"([A-Za-z0-9._-]{1,249})(?::(\d{1,9}))?", str(value))
        if found is None:
            self.fail(f"{value!r} is none: allowed is scm.events, or scm.events:3", param, ctx)
        return found[1], None if found[2] is None else int(found[2])


_FILTERS = (
    click.option("--reason", "reasons", multiple=True, metavar="REASON", help="scm.reason."),
    click.option("--data-key", "data_keys", multiple=True, metavar="NAME", help="scm.data_key."),
    click.option("--key", "keys", multiple=True, metavar="KEY", help="The code or unit, exactly."),
    click.option("--field", "fields", multiple=True, metavar="FIELD", help="The field at fault."),
    click.option(
        "--message", "messages", multiple=True, metavar="TEXT", help="Text in the message."
    ),
    click.option(
        "--source",
        "sources",
        multiple=True,
        type=_Source(),
        metavar="TOPIC[:PARTITION]",
        help="Where the event stands.",
    ),
    click.option(
        "--since",
        type=Time(),
        help="Rejected since then: 90m, 12h, 7d, a day, or an RFC 3339 time.",
    ),
    click.option("--until", type=Time(), help="Rejected before then."),
)


def filters(function: Callable[..., None]) -> Callable[..., None]:
    """Give a command the filters; it gets them as one argument, ``wanted``."""

    def command(*arguments: Any, **options: Any) -> None:
        from consumer.dead_letters.filters import Filter

        names = Filter.__struct_fields__
        wanted = Filter(**{name: options.pop(name) for name in names})
        function(*arguments, wanted=wanted, **options)

    functools.update_wrapper(command, function)
    decorated: Callable[..., None] = command
    for option in reversed(_FILTERS):
        decorated = option(decorated)
    return decorated


class Progress:
    """Shows on a terminal what is read; says nothing elsewhere."""

    def __init__(self) -> None:
        self._shown = False

    def __call__(self, what: str, count: int) -> None:
        if sys.stderr.isatty():
            self._shown = True
            click.echo(f"\r\x1b[K{what}: {count:,} records read", err=True, nl=False)

    def clear(self) -> None:
        """Take the line away, before anything else is written."""
        if self._shown:
            click.echo("\r\x1b[K", err=True, nl=False)
            self._shown = False


@contextmanager
def scan_of(settings: Settings) -> Iterator[Scan]:
    """Give a reader of topics, for as long as it is needed."""
    from consumer.adapters.kafka.scan import Scan

    kafka = settings.kafka
    scan = Scan(kafka.bootstrap_servers, kafka.group_id, kafka.client)
    try:
        yield scan
    finally:
        scan.close()


@contextmanager
def letters(settings: Settings, wanted: Filter) -> Iterator[Any]:
    """Give the letters that match, with their states."""
    from consumer.dead_letters.gathering import gather

    progress = Progress()
    with scan_of(settings) as scan:
        try:
            store = gather(
                scan, settings.dead_letter.topic, settings.kafka.topics, wanted, progress
            )
        finally:
            progress.clear()
    try:
        yield store
    finally:
        store.close()


def agreed(question: str, *, yes: bool) -> bool:
    """Return whether a person agrees; ``yes``: it was said already. Nobody there: not agreed."""
    if yes:
        return True
    try:
        return click.confirm(question, err=True)
    except click.Abort:
        click.echo(err=True)
        return False
