"""The last fifteen minutes as curves: in their frame, parted where nothing is known."""

from __future__ import annotations

import math

from consumer.ops.view.curves import HEIGHT, WIDTH, curves
from consumer.ops.view.document import Sample


def test_the_oldest_is_at_the_left_now_at_the_right_the_highest_at_the_top() -> None:
    history = [Sample(0.0, rows_per_second=10.0), Sample(900.0, rows_per_second=20.0)]
    (curve, *_) = curves(history)
    assert curve.lines == [[(0.0, 2.0), (WIDTH, 24.0)]]
    assert (curve.now, curve.most) == ("10", "20")


def test_a_curve_of_zeros_lies_on_the_ground() -> None:
    (curve, *_) = curves([Sample(15.0, rows_per_second=0.0), Sample(0.0, rows_per_second=0.0)])
    assert {y for _, y in curve.lines[0]} == {HEIGHT - 2.0}
    assert curve.blocks(60) == "▁▁"


def test_what_is_not_known_parts_the_line() -> None:
    history = [
        Sample(45.0, lag_seconds=1.0),
        Sample(30.0, lag_seconds=None),
        Sample(15.0, lag_seconds=math.nan),
        Sample(0.0, lag_seconds=2.0),
    ]
    lag = curves(history)[2]
    assert [len(line) for line in lag.lines] == [1, 1]
    assert lag.blocks(60) == "▄  █" or lag.blocks(60) == "▅  █"
    assert lag.now == "2.0 s"


def test_every_point_is_within_the_frame() -> None:
    history = [Sample(float(ago), records_behind=1e18 / (ago + 1)) for ago in range(0, 2_000, 15)]
    for x, y in curves(history)[1].lines[0]:
        assert 0 <= x <= WIDTH
        assert 0 <= y <= HEIGHT


def test_no_history_gives_curves_that_say_so() -> None:
    for curve in curves([]):
        assert (curve.now, curve.most, curve.lines) == ("–", "–", [])  # noqa: RUF001


def test_a_narrow_line_of_blocks_keeps_the_peak() -> None:
    history = [Sample(15.0 * ago, rows_per_second=100.0 if ago == 7 else 1.0) for ago in range(60)]
    blocks = curves(history)[0].blocks(10)
    assert len(blocks) == 10
    assert blocks.count("█") == 1
