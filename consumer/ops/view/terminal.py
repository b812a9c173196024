"""The view in a terminal: what the page shows, in the same order and the same words."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table as Grid
from rich.text import Text

from consumer.ops.view.headline import Headline, Notice, Tone
from consumer.ops.view.model import Fact, View
from consumer.ops.view.tables import Cell, Table
from consumer.ops.view.text import UNKNOWN

#: Columns of what is written to a file or a pipe, which have no width of their own.
PLAIN_WIDTH = 120
#: Columns of a curve at least, and of what stands beside it.
MIN_CURVE, BESIDE_CURVE = 15, 54
STYLES = {Tone.GOOD: "green", Tone.QUIET: "", Tone.WARN: "yellow", Tone.BAD: "red"}
_WORDS = {Tone.GOOD: "green", Tone.QUIET: "blue", Tone.WARN: "yellow", Tone.BAD: "red"}
#: What an ASCII terminal shows instead.
_ASCII = {UNKNOWN: "-", "…": "...", "·": "|"}


def screen(view: View, console: Console, *, head: str, lost: str = "") -> RenderableType:
    """Return what is shown; ``head`` is the first line, ``lost`` tells why all below is old."""
    write = _Writer(ascii_only=console.options.ascii_only)
    parts: list[RenderableType] = [write.text(head, "dim")]
    if lost:
        parts.append(write.text(lost, "bold red"))
    parts += ["", write.headline(view.headline)]
    if view.notices:
        parts += [write.title("Also"), *(write.notice(each) for each in view.notices)]
    parts += ["", write.figures(view)]
    if view.curves:
        parts += [write.title("The last fifteen minutes"), write.curves(view, console.width)]
    parts += [write.title("Partitions"), write.table(view.partitions)]
    parts += [write.title("Rejected rows")]
    parts += [write.text(f"{view.rejected} All of them: scm-consumer dlq stats.")]
    parts += [write.table(table) for table in view.rejections]
    parts += [write.title("API"), write.facts(view.api)]
    parts += [write.title("Rows at work"), write.facts(view.work)]
    parts += [write.title("Records since the start"), write.ledger(view)]
    return Group(*parts)


class _Writer:
    """Makes texts of a view; nothing in them is taken for markup."""

    def __init__(self, *, ascii_only: bool) -> None:
        self._ascii = ascii_only

    def text(self, text: str, style: str = "") -> Text:
        if self._ascii:
            for character, plain in _ASCII.items():
                text = text.replace(character, plain)
            text = text.encode("ascii", "backslashreplace").decode()
        return Text(text, style)

    def title(self, text: str) -> RenderableType:
        return Padding(self.text(text, "bold"), (1, 0, 0, 0))

    def headline(self, it: Headline) -> Grid:
        grid = _grid(2)
        word = self.text(it.word.upper(), f"bold {_WORDS[it.tone]}")
        grid.add_row(word, Group(self.text(it.title, "bold"), *self._told(it)))
        return grid

    def notice(self, it: Notice) -> RenderableType:
        told = Group(self.text(it.title, STYLES[it.tone]), *self._told(it))
        return Padding(told, (0, 0, 0, 2))

    def _told(self, it: Headline | Notice) -> list[RenderableType]:
        lines: list[RenderableType] = [self.text(it.message)] if it.message else []
        if it.advice:
            lines.append(Text.assemble(("What to do: ", "bold"), self.text(it.advice)))
        place = " · ".join(part for part in (it.where, it.since, it.runbook) if part)
        return [*lines, self.text(place, "dim")] if place else lines

    def figures(self, view: View) -> Grid:
        grid = _grid(3)
        for it in view.figures:
            value = self.text(it.value, f"bold {STYLES[it.tone]}")
            grid.add_row(self.text(it.name), value, self.text(it.note, "dim"))
        return grid

    def curves(self, view: View, width: int) -> Grid:
        grid = _grid(3)
        room = max(MIN_CURVE, width - BESIDE_CURVE)
        for it in view.curves:
            blocks = Text("") if self._ascii else Text(it.blocks(room), "blue")
            told = self.text(f"now {it.now}, at most {it.most}", "dim")
            grid.add_row(self.text(it.name), *((told,) if self._ascii else (blocks, told)))
        return grid

    def table(self, it: Table) -> RenderableType:
        if not it.rows:
            return self.text(it.nothing, "dim")
        grid = Grid(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
        for name in it.columns:
            justify = "right" if name in it.numbers else "left"
            grid.add_column(name, justify=justify, overflow="fold")  # type: ignore[arg-type]
        for row in it.rows:
            grid.add_row(*(self._cell(cell) for cell in row))
        return Group(grid, self.text(it.more, "dim")) if it.more else grid

    def _cell(self, cell: Cell) -> RenderableType:
        text = self.text(cell.text, STYLES[cell.tone])
        return Group(text, self.text(cell.note, "dim")) if cell.note else text

    def facts(self, facts: Sequence[Fact]) -> Grid:
        grid = _grid(2)
        for it in facts:
            grid.add_row(self.text(it.name, "dim"), self.text(it.value, STYLES[it.tone]))
        return grid

    def ledger(self, view: View) -> Text:
        counts = (f"{each.count} {each.name}" for each in view.ledger)
        return self.text(f"{view.consumed} read: {', '.join(counts)}")


def _grid(columns: int) -> Grid:
    grid = Grid.grid(padding=(0, 2, 0, 0))
    for _ in range(columns):
        grid.add_column(overflow="fold")
    return grid
