"""Show a consumer's status in a shell: once, again and again, or live on the whole screen."""

from __future__ import annotations

import json
import signal
import sys
import time
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import msgspec
from rich.console import Console, RenderableType
from rich.live import Live

from consumer.ops.view.document import read
from consumer.ops.view.fetch import StatusError, fetch, shown_address
from consumer.ops.view.model import View, view_of
from consumer.ops.view.tables import MAX_PARTITIONS
from consumer.ops.view.terminal import PLAIN_WIDTH, screen

#: Time between two looks, in seconds.
EVERY_SECONDS = 2.0
#: Partitions that are shown live, where the rest has to have room, too.
LIVE_PARTITIONS = 12


class Shell:
    """Shows the consumer at ``address`` on standard output."""

    def __init__(self, address: str) -> None:
        self._address = address
        terminal = sys.stdout.isatty()
        width = None if terminal else PLAIN_WIDTH
        self._console = Console(width=width, markup=False, highlight=False, emoji=False)

    def show_json(self, *, watch: bool) -> None:
        """Write the document as it is; with ``watch`` again and again, a line each.

        Raise StatusError.
        """
        for document in self._documents(watch=watch):
            self._write(json.dumps(document, indent=None if watch else 2))

    def show(self, *, watch: bool) -> None:
        """Write what is shown; with ``watch`` in a terminal it is kept up to date there.

        Raise StatusError, unless a consumer that was seen goes away while it is watched.
        """
        if watch and self._console.is_terminal:
            self._show_live()
            return
        for document in self._documents(watch=watch):
            with self._console.capture() as captured:
                self._console.print(self._screen(self._view(document), datetime.now().astimezone()))
            # Columns are filled up to their width, which nobody needs behind the last one.
            self._write("\n".join(line.rstrip() for line in captured.get().splitlines()))
            if watch:
                self._write("")

    def _documents(self, *, watch: bool) -> Iterator[Any]:
        yield fetch(self._address)
        while watch:
            time.sleep(EVERY_SECONDS)
            yield fetch(self._address)

    def _show_live(self) -> None:
        view, at, lost = self._view(fetch(self._address)), datetime.now().astimezone(), ""
        # So that the screen is given back.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        with Live(console=self._console, screen=True, auto_refresh=False) as live:
            while True:
                live.update(self._screen(view, at, lost), refresh=True)
                time.sleep(EVERY_SECONDS)
                try:
                    view, lost = self._view(fetch(self._address), LIVE_PARTITIONS), ""
                    at = datetime.now().astimezone()
                except StatusError as error:
                    lost = f"No answer since {at:%H:%M:%S}, what stands below is old: {error}"

    def _view(self, document: Any, most_partitions: int = MAX_PARTITIONS) -> View:
        try:
            return view_of(read(document), most_partitions=most_partitions)
        except msgspec.ValidationError as error:
            raise StatusError(
                f"the consumer at {shown_address(self._address)} is of another version, and its "
                f"status cannot be shown ({error}); scm-consumer status --json gives it as it is"
            ) from error

    def _screen(self, view: View, at: datetime, lost: str = "") -> RenderableType:
        place = shown_address(self._address)
        head = f"scm-consumer {view.version} at {place}, {view.summary}, as of {at:%H:%M:%S}"
        return screen(view, self._console, head=head, lost=lost)

    def _write(self, text: str) -> None:
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()
