"""The last fifteen minutes as small curves: points for a drawing, and a line of blocks."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import msgspec

from consumer.ops.view.document import Sample
from consumer.ops.view.text import duration, number

#: The time that a curve shows, in seconds, and the size of its drawing, in units.
SPAN_SECONDS = 900.0
WIDTH, HEIGHT = 240.0, 48.0
#: Room above the highest point and below the lowest, so that no line is cut.
MARGIN = 2.0
_BLOCKS = "▁▂▃▄▅▆▇█"


class Curve(msgspec.Struct, frozen=True):
    """One curve: its name, and what it says in words; lines are parted where nothing is known."""

    name: str
    now: str
    most: str
    lines: list[list[tuple[float, float]]]
    shares: list[float | None]  #: of the highest value, from the oldest; None: not known

    @property
    def areas(self) -> list[str]:
        """Return the lines as areas down to the ground, for SVG's ``points``."""
        return [
            _points([(line[0][0], HEIGHT), *line, (line[-1][0], HEIGHT)]) for line in self.lines
        ]

    @property
    def strokes(self) -> list[str]:
        """Return the lines for SVG's ``points``."""
        return [_points(line) for line in self.lines]

    def blocks(self, width: int) -> str:
        """Return the curve as at most so many characters: of several values the highest shows."""
        each = max(1, math.ceil(len(self.shares) / width))
        parts = (self.shares[at : at + each] for at in range(0, len(self.shares), each))
        return "".join(_block([share for share in part if share is not None]) for part in parts)


def curves(history: Sequence[Sample]) -> list[Curve]:
    """Return the four curves of a history, in any order of time."""
    samples = sorted(history, key=lambda sample: -sample.seconds)
    return [
        _curve("rows a second", samples, lambda sample: sample.rows_per_second, number),
        _curve("records behind", samples, lambda sample: sample.records_behind, number),
        _curve("time lag", samples, lambda sample: sample.lag_seconds, duration),
        _curve("rejected a second", samples, lambda sample: sample.rejected_per_second, number),
    ]


def _curve(
    name: str,
    samples: Sequence[Sample],
    value_of: Callable[[Sample], float | None],
    shown: Callable[[float | None], str],
) -> Curve:
    values = [_finite(value_of(sample)) for sample in samples]
    known = [value for value in values if value is not None]
    most = max(known, default=0.0)
    lines: list[list[tuple[float, float]]] = [[]]
    for sample, value in zip(samples, values, strict=True):
        if value is None:
            lines.append([])
        else:
            lines[-1].append((_x(sample.seconds), _y(value, most)))
    return Curve(
        name,
        now=shown(values[-1] if values else None),
        most=shown(most if known else None),
        lines=[line for line in lines if line],
        shares=[None if value is None else _share(value, most) for value in values],
    )


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _x(seconds_ago: float) -> float:
    return round(WIDTH * (1 - min(1.0, max(0.0, seconds_ago / SPAN_SECONDS))), 1)


def _y(value: float, most: float) -> float:
    return round(HEIGHT - MARGIN - (HEIGHT - 2 * MARGIN) * _share(value, most), 1)


def _share(value: float, most: float) -> float:
    return value / most if most > 0 else 0.0


def _block(shares: Sequence[float]) -> str:
    return _BLOCKS[round((len(_BLOCKS) - 1) * max(shares))] if shares else " "


def _points(line: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x:g},{y:g}" for x, y in line)
