"""The live view: line, Kafka, windows that fill, the API's answers, dead letters, on one screen.

Made for 100 columns and 30 rows. On 80 by 24 there are fewer lines of each, on a smaller terminal
the totals only.
"""

from __future__ import annotations

from rich.box import ASCII, ROUNDED
from rich.console import Console, RenderableType
from rich.layout import Layout
from rich.panel import Panel
from rich.text import Text

from consumer.demo import panels
from consumer.demo.panels import Signs
from consumer.demo.watch import Progress

MIN_WIDTH, MIN_HEIGHT = 72, 22
#: Screen rows of each part; what is left is for windows and answers.
TITLE, TOTALS, UPPER = 2, 2, 8
LETTERS, FEW_LETTERS, MANY_ROWS = 7, 5, 28
FRAME = 2


def frame(progress: Progress, console: Console) -> RenderableType:
    """Return what the screen shows at this moment."""
    width, height = console.size
    signs = panels.PLAIN_SIGNS if console.options.ascii_only else panels.SIGNS
    if width < MIN_WIDTH or height < MIN_HEIGHT:
        return panels.totals(progress, width, signs)
    half = width // 2 - 2 * FRAME
    lowest = LETTERS if height >= MANY_ROWS else FEW_LETTERS
    middle = height - TITLE - UPPER - lowest - TOTALS
    screen = Layout()
    screen.split_column(
        Layout(panels.title(progress, signs), size=TITLE),
        _pair(
            UPPER,
            _framed(panels.stations_title(progress), panels.stations(progress, signs), signs),
            _framed("Kafka", panels.partitions(progress, half, signs), signs),
        ),
        _pair(
            middle,
            _framed("windows", panels.windows(progress, middle - FRAME, half, signs), signs),
            _framed(
                panels.answers_title(progress), panels.answers(progress, middle - FRAME), signs
            ),
        ),
        Layout(
            _framed(
                panels.letters_title(progress),
                panels.letters(progress, lowest - FRAME, signs),
                signs,
            ),
            size=lowest,
        ),
        Layout(panels.totals(progress, width, signs), size=TOTALS),
    )
    return screen


def _pair(rows: int, left: Panel, right: Panel) -> Layout:
    pair = Layout(size=rows)
    pair.split_row(Layout(left), Layout(right))
    return pair


def _framed(title: str, content: RenderableType, signs: Signs) -> Panel:
    box = ASCII if signs.ascii_only else ROUNDED
    return Panel(
        content, title=Text(title, "bold not dim"), title_align="left", border_style="dim", box=box
    )
