"""Who waits for whom: claims are granted in arrival order and held until they are freed."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from consumer.core.claims import Claims
from consumer.core.model import Record, Rejection, Row, Stage
from consumer.core.offsets import Partition
from tests.core.builders import row_of, rows_of


def _partition(number: int = 0) -> Partition:
    return Partition("events", number, 0, 0)


def test_rows_of_different_keys_are_ready_at_once() -> None:
    claims = Claims()
    rows = rows_of(_partition(), "A", "B", "C")
    assert claims.queue(rows) == (rows, [])
    assert len(claims) == 3


def test_one_value_under_two_data_keys_is_two_claims() -> None:
    claims = Claims()
    first, second = (row_of(Record(_partition(), 0, None, 1), "A", key=key) for key in ("extended_id", "serial_number"))
    assert claims.queue([first, second])[0] == [first, second]


def test_a_later_row_of_a_key_waits_and_the_holder_is_awaited() -> None:
    claims = Claims()
    first, second = rows_of(_partition(), "A", "A")
    assert claims.queue([first]) == ([first], [])
    assert claims.queue([second]) == ([], [first])
    assert (first.awaited, second.awaited) == (True, False)
    assert list(claims.waiting()) == [second]


def test_claims_are_granted_in_arrival_order_over_all_partitions() -> None:
    claims = Claims()
    line = [rows_of(_partition(number), "A")[0] for number in range(4)]
    claims.queue(line)
    granted = [line[0]]
    while len(granted) < 4:
        granted += claims.free([granted[-1]])
    assert granted == line
    assert claims.free([line[-1]]) == []
    assert len(claims) == 0


def test_a_granted_row_is_awaited_only_while_others_stand_behind_it() -> None:
    claims = Claims()
    first, second, third = rows_of(_partition(), "A", "A", "A")
    claims.queue([first, second, third])
    claims.free([first])
    assert (second.awaited, third.awaited) == (True, False)
    claims.free([second])
    assert third.awaited is False


def test_a_row_without_a_key_claims_nothing() -> None:
    claims = Claims()
    row = Row(Record(_partition(), 0, None, 1), None, None, {}, (), 0, rejection=Rejection("key_missing", "no key"))
    assert claims.queue([row]) == ([row], [])
    assert len(claims) == 0
    assert claims.free([row]) == []


def test_withdrawn_rows_leave_the_line_and_the_order_of_the_others_stays() -> None:
    claims = Claims()
    kept, going = _partition(0), _partition(1)
    holder = rows_of(kept, "A")[0]
    gone = rows_of(going, "A", "A")
    last = rows_of(kept, "A", start=1)[0]
    claims.queue([holder, gone[0], last, gone[1]])
    for row in gone:
        row.stage = Stage.DONE
    claims.withdraw(gone)
    assert list(claims.waiting()) == [last]
    assert claims.free([holder]) == [last]
    assert claims.free([last]) == []
    assert len(claims) == 0


def test_a_holder_whose_followers_are_withdrawn_is_awaited_no_more() -> None:
    claims = Claims()
    holder = rows_of(_partition(0), "A")[0]
    (gone,) = rows_of(_partition(1), "A")
    claims.queue([holder, gone])
    gone.stage = Stage.DONE
    claims.withdraw([gone])
    assert not holder.awaited
    assert claims.free([holder]) == []


@given(st.lists(st.sampled_from("ABC"), max_size=40), st.randoms(use_true_random=False))
def test_any_order_of_freeing_grants_each_key_first_come_first_served(values: list[str], pick: random.Random) -> None:
    """I2 on the claims alone: whatever is freed when, a key's rows become ready in the order they were queued."""
    claims = Claims()
    rows = rows_of(_partition(), *values)
    ready, _ = claims.queue(rows)
    granted = list(ready)
    while ready:
        row = pick.choice(ready)
        ready.remove(row)
        fresh = claims.free([row])
        ready += fresh
        granted += fresh
    assert len(granted) == len(rows)
    for value in "ABC":
        assert [r for r in granted if r.value == value] == [r for r in rows if r.value == value]
    assert len(claims) == 0
