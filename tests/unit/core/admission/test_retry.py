"""Back-off: full jitter under a doubling bound, as a function of the try and a draw."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from consumer.core.admission.retry import RetryPolicy


def test_the_bound_doubles_from_the_base() -> None:
    policy = RetryPolicy(base=0.5, cap=60)
    assert [policy.delay(attempt, 1.0) for attempt in range(1, 7)] == [0.5, 1, 2, 4, 8, 16]


def test_the_bound_ends_at_the_cap() -> None:
    policy = RetryPolicy(base=0.5, cap=60)
    assert policy.delay(8, 1.0) == 60
    assert policy.delay(100_000, 1.0) == 60


def test_the_jitter_is_full() -> None:
    policy = RetryPolicy(base=4, cap=60)
    assert [policy.delay(1, draw) for draw in (0.0, 0.25, 0.5)] == [0, 1, 2]


@given(
    st.integers(1, 10_000),
    st.floats(0, 1, exclude_max=True),
    st.floats(0.01, 10),
    st.floats(0.01, 600),
)
def test_no_delay_is_negative_or_beyond_the_cap(
    attempt: int, draw: float, base: float, cap: float
) -> None:
    assert 0 <= RetryPolicy(base=base, cap=cap).delay(attempt, draw) <= cap
