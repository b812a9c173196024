"""The frames of the live view, and what stands in each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from rich.console import JustifyMethod
from rich.table import Table
from rich.text import Text

from consumer.demo.line import LOCAL
from consumer.demo.watch import Progress, SeenUpload


class Signs(NamedTuple):
    """Characters that the screen can show."""

    full: str
    empty: str
    arrow: str
    ascii_only: bool

    def clean(self, text: str) -> str:
        """Return printable text as this screen can show it."""
        return text.encode("ascii", "replace").decode() if self.ascii_only else text


SIGNS = Signs("━", "─", "→", ascii_only=False)
PLAIN_SIGNS = Signs("#", ".", "->", ascii_only=True)

COLOURS: Mapping[int | None, str] = {
    200: "green",
    400: "yellow",
    429: "magenta",
    503: "magenta",
    None: "red",
}
#: In the order in which they are counted up.
STATUSES = ("200", "400", "429", "503", "none")
LOST = "lost"
#: What rows wait for, in the consumer's words and in a person's.
WAITING = {
    "retry": "retry",
    "unknown_key": "unknown key",
    "earlier_row": "earlier row",
    "late_answer": "lost",
}
FULL = 100  #: rows of a window
#: Widths of what stands beside a bar, gaps included; and of bars.
BESIDE_PARTITION = 26
MIN_BAR, MAX_BAR, LANE_BAR = 6, 24, 10


def title(progress: Progress, signs: Signs) -> Table:
    """Return which way everything goes, how long it took so far, and what is going on."""
    way = f" {signs.arrow} ".join(("packaging line", "Kafka", "scm-consumer", "Scantrust API"))
    table = Table.grid(expand=True)
    table.add_column(no_wrap=True, overflow="crop")
    table.add_column(justify="right")
    table.add_row(Text.assemble((way, "bold")), Text(f"{progress.seconds:.1f} s", "bold"))
    table.add_row(Text(phase(progress), "dim"), "")
    return table


def phase(progress: Progress) -> str:
    """Return what is going on."""
    if progress.done:
        return (
            "all is committed; it is now compared with an independent replay of what was published"
        )
    if progress.line.finished:
        return "the line has finished; the rest is on its way"
    if not progress.requests:
        return "the line works; the consumer is starting and joins its group"
    return "the line works; the API throttles, fails and loses answers on purpose"


def stations(progress: Progress, signs: Signs) -> Table:
    """Return the line: what each station told last."""
    table = _rows((8, "left"), (5, "right"), (0, "left"))
    for name, told in progress.line.stations.items():
        table.add_row(name, Text(f"{told.events:,}", "cyan"), Text(signs.clean(told.last), "dim"))
    return table


def stations_title(progress: Progress) -> str:
    """Return where and when, by the line's own clock."""
    clock = progress.line.clock
    return f"packaging line{f', {clock.astimezone(LOCAL):%d %b %H:%M}' if clock else ''}"


def partitions(progress: Progress, width: int, signs: Signs) -> Table:
    """Return Kafka: how far each partition is published, read and committed."""
    read = {
        entry["partition"]: entry["position"]
        for entry in (progress.status or {}).get("partitions", ())
    }
    room = max(MIN_BAR, min(MAX_BAR, width - BESIDE_PARTITION))
    table = _rows((1, "left"), (room, "left"), (6, "right"), (6, "right"), (9, "right"))
    table.add_row(*(Text(name, "dim") for name in ("", "", "end", "read", "committed")))
    for number, end in sorted(progress.line.ends.items()):
        committed = progress.committed.get(number, 0)
        position = min(end, max(committed, read.get(number, 0)))
        bar = _bar(room, [(committed, "green"), (position - committed, "cyan")], end, signs)
        table.add_row(f"{number}", bar, f"{end:,}", f"{position:,}", f"{committed:,}")
    return table


def windows(progress: Progress, rows: int, width: int, signs: Signs) -> Table:
    """Return the windows that fill, and below them the rows in flight and those that wait."""
    room = max(LANE_BAR, width // 3)
    table = _rows((width - room - 6, "left"), (room, "left"), (4, "right"))
    status = progress.status or {}
    lanes = sorted(
        status.get("windows", {}).get("lanes", ()),
        key=lambda lane: (lane["data_key"], lane["fields"]),
    )
    shown = lanes[: rows - 2] if status else []
    for lane in shown:
        bar = _bar(room, [(lane["rows"], "cyan")], FULL, signs)
        table.add_row(signs.clean(", ".join(lane["fields"])), bar, f"{lane['rows']}")
    for _ in range(rows - 2 - len(shown)):
        table.add_row("", "", "")
    grid = Table.grid(expand=True)
    grid.add_column(no_wrap=True, overflow="crop")
    grid.add_row(table)
    if status:
        sent = status["windows"]["in_flight"]
        grid.add_row(
            Text(
                f"in flight: {', '.join(str(window['rows']) for window in sent) or 'none'}", "green"
            )
        )
        parked = ", ".join(
            f"{rows} {WAITING.get(cause, cause)}"
            for cause, rows in status["rows"]["parked"].items()
            if rows
        )
        grid.add_row(Text(f"wait: {parked or 'none'}", "yellow"))
    return grid


def answers(progress: Progress, rows: int) -> Table:
    """Return the API's last answers, the latest at the bottom."""
    table = _rows((4, "left"), (4, "right"), (0, "left"))
    for answer in progress.answers[-rows:]:
        colour = COLOURS.get(answer.status, "red")
        status = Text(str(answer.status or LOST), colour)
        table.add_row(status, f"{answer.rows}", _told(answer, colour))
    return table


def _told(answer: SeenUpload, colour: str) -> Text:
    again = f", {answer.again} sent again" if answer.again else ""
    return Text.assemble((answer.word, "" if answer.status == 200 else colour), (again, "dim"))


def answers_title(progress: Progress) -> str:
    """Return how often the API answered what."""
    counts = progress.requests
    told = [
        f"{LOST if status == 'none' else status}:{counts[status]}"
        for status in STATUSES
        if status in counts
    ]
    return " ".join(["API", *told])


def letters(progress: Progress, rows: int, signs: Signs) -> Table:
    """Return the dead letters, the latest at the bottom."""
    table = _rows((15, "left"), (18, "left"), (0, "left"))
    for letter in progress.last_letters[-rows:]:
        subject = letter.key if letter.key.strip() else letter.place
        table.add_row(
            Text(letter.reason, "yellow"),
            signs.clean(subject),
            Text(signs.clean(letter.message), "dim"),
        )
    return table


def letters_title(progress: Progress) -> str:
    """Return how many dead letters there are, and the most frequent reasons."""
    most = sorted(progress.reasons.items(), key=lambda pair: -pair[1])[:3]
    return f"dead letters: {progress.letters}" + "".join(
        f", {reason} {count}" for reason, count in most
    )


def totals(progress: Progress, width: int, signs: Signs) -> Table:
    """Return one bar over everything: settled, published, to come."""
    published, settled = progress.line.events, progress.settled
    parts = [(settled, "green"), (published - settled, "cyan")]
    table = Table.grid(expand=True)
    table.add_column(no_wrap=True, overflow="crop")
    table.add_row(_bar(width, parts, max(progress.total, published, 1), signs))
    table.add_row(
        Text.assemble(
            (f"{published:,}", "cyan"),
            f" of {progress.total:,} published   ",
            (f"{settled:,}", "green"),
            f" settled   {progress.applied:,} rows applied   ",
            (f"{progress.letters:,}", "yellow"),
            " dead letters",
        )
    )
    return table


def _rows(*columns: tuple[int, JustifyMethod]) -> Table:
    """Return a table without lines.

    Columns have fixed widths, so that nothing jumps; one of width 0 takes what is left.
    """
    table = Table.grid(expand=True, padding=(0, 1, 0, 0), pad_edge=False)
    for width, justify in columns:
        table.add_column(
            width=width or None,
            ratio=None if width else 1,
            justify=justify,
            no_wrap=True,
            overflow="crop",
        )
    return table


def _bar(width: int, parts: Iterable[tuple[int, str]], whole: int, signs: Signs) -> Text:
    """Return a bar of coloured parts; the rest up to the whole is empty."""
    bar = Text(no_wrap=True)
    done = 0
    for size, colour in parts:
        done += size
        bar.append(signs.full * (min(width, round(width * done / whole)) - len(bar)), colour)
    bar.append(signs.empty * (width - len(bar)), "dim")
    return bar
