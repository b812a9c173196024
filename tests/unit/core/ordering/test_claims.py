"""Who waits for whom: claims are granted in arrival order and held until they are freed."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.core.model import Record, Rejection, Row, Stage
from consumer.core.offsets.partition import Partition
from consumer.core.ordering.claims import Claims
from tests.unit.builders import row_of, rows_of

pytestmark = pytest.mark.promise("I2", "I4")


def _partition(number: int = 0) -> Partition:
    return Partition("events", number, 0, 0)


def test_rows_of_different_keys_are_ready_at_once() -> None:
    claims = Claims()
    rows = rows_of(_partition(), "A", "B", "C")
    assert claims.acquire(rows) == (rows, [])
    assert len(claims) == 3


def test_one_value_under_two_data_keys_is_two_claims() -> None:
    claims = Claims()
    first, second = (
        row_of(Record(_partition(), 0, None, 1), "A", key=key)
        for key in ("extended_id", "serial_number")
    )
    assert claims.acquire([first, second])[0] == [first, second]


def test_a_later_row_of_a_key_waits_and_the_holder_is_awaited() -> None:
    claims = Claims()
    first, second = rows_of(_partition(), "A", "A")
    assert claims.acquire([first]) == ([first], [])
    assert claims.acquire([second]) == ([], [first])
    assert (first.awaited, second.awaited) == (True, False)
    assert list(claims.waiting()) == [second]


def test_claims_are_granted_in_arrival_order_over_all_partitions() -> None:
    claims = Claims()
    line = [rows_of(_partition(number), "A")[0] for number in range(4)]
    claims.acquire(line)
    granted = [line[0]]
    while len(granted) < 4:
        granted += claims.release([granted[-1]])
    assert granted == line
    assert claims.release([line[-1]]) == []
    assert len(claims) == 0


def test_a_granted_row_is_awaited_only_while_others_stand_behind_it() -> None:
    claims = Claims()
    first, second, third = rows_of(_partition(), "A", "A", "A")
    claims.acquire([first, second, third])
    claims.release([first])
    assert (second.awaited, third.awaited) == (True, False)
    claims.release([second])
    assert third.awaited is False


def test_a_row_without_a_key_claims_nothing() -> None:
    claims = Claims()
    row = Row(
        Record(_partition(), 0, None, 1),
        None,
        None,
        {},
        (),
        0,
        rejection=Rejection("key_missing", "no key"),
    )
    assert claims.acquire([row]) == ([row], [])
    assert len(claims) == 0
    assert claims.release([row]) == []


def test_withdrawn_rows_leave_the_line_and_the_order_of_the_others_stays() -> None:
    claims = Claims()
    kept, going = _partition(0), _partition(1)
    holder = rows_of(kept, "A")[0]
    gone = rows_of(going, "A", "A")
    last = rows_of(kept, "A", start=1)[0]
    claims.acquire([holder, gone[0], last, gone[1]])
    for row in gone:
        row.stage = Stage.DONE
    claims.withdraw(gone)
    assert list(claims.waiting()) == [last]
    assert claims.release([holder]) == [last]
    assert claims.release([last]) == []
    assert len(claims) == 0


def test_a_holder_whose_followers_are_withdrawn_is_awaited_no_more() -> None:
    claims = Claims()
    holder = rows_of(_partition(0), "A")[0]
    (gone,) = rows_of(_partition(1), "A")
    claims.acquire([holder, gone])
    gone.stage = Stage.DONE
    claims.withdraw([gone])
    assert not holder.awaited
    assert claims.release([holder]) == []


@given(st.lists(st.sampled_from("ABC"), max_size=40), st.randoms(use_true_random=False))
def test_any_order_of_freeing_grants_each_key_first_come_first_served(
    values: list[str], pick: random.Random
) -> None:
    """I2 on the claims alone.

    Whatever is freed when, a key's rows become ready in the order they were queued.
    """
    claims = Claims()
    rows = rows_of(_partition(), *values)
    ready, _ = claims.acquire(rows)
    granted = list(ready)
    while ready:
        row = pick.choice(ready)
        ready.remove(row)
        fresh = claims.release([row])
        ready += fresh
        granted += fresh
    assert len(granted) == len(rows)
    for value in "ABC":
        assert [r for r in granted if r.value == value] == [r for r in rows if r.value == value]
    assert len(claims) == 0


# -- joins ---------------------------------------------------------------------------------------


def _packed(value: str, *cases: str) -> Row:
    row = row_of(Record(_partition(), 0, None, 1), value, case_code=cases[0])
    row.joins = tuple(("case_code", case) for case in cases)
    return row


def _unit(value: str, pallet: str = "") -> Row:
    """An update by a case or, if it is called so, by a pallet.

    One of a case may put it onto a pallet.
    """
    row = row_of(
        Record(_partition(), 0, None, 1),
        value,
        key="pallet_code" if value[0] == "P" else "case_code",
    )
    row.joins = (("pallet_code", pallet),) if pallet else ()
    return row


@pytest.mark.promise("I8")
def test_children_are_packed_into_one_case_side_by_side() -> None:
    claims = Claims()
    children = [_packed(value, "C1") for value in "ABC"]
    assert claims.acquire(children) == (children, []), (
        "I8: children of one case wait for each other"
    )


def test_an_update_by_the_case_waits_for_all_its_children_and_they_for_it() -> None:
    claims = Claims()
    first, second, late = _packed("A", "C1"), _packed("B", "C1"), _packed("C", "C1")
    update = _unit("C1")
    claims.acquire([first, second])
    assert claims.acquire([update, late]) == ([], [first, second])
    assert claims.release([second]) == []
    assert claims.release([first]) == [update]
    assert claims.release([update]) == [late]
    assert claims.release([late]) == []
    assert len(claims) == 0


def test_a_child_that_waits_for_its_code_holds_its_place_in_the_case() -> None:
    """All claims are queued at arrival: what comes later cannot get between."""
    claims = Claims()
    before, child, update = rows_of(_partition(), "A")[0], _packed("A", "C1"), _unit("C1")
    assert claims.acquire([before, child, update])[0] == [before]
    assert claims.release([before]) == [child]
    assert claims.release([child]) == [update]


def test_a_case_goes_onto_its_pallet_after_its_children_and_before_an_update_by_the_pallet() -> (
    None
):
    claims = Claims()
    child, onto, other, shipped = (
        _packed("A", "C1"),
        _unit("C1", "P1"),
        _unit("C2", "P1"),
        _unit("P1"),
    )
    assert claims.acquire([child, onto, other, shipped])[0] == [child, other]
    assert claims.release([other]) == []
    assert claims.release([child]) == [onto]
    assert claims.release([onto]) == [shipped]
    assert claims.release([shipped]) == []
    assert len(claims) == 0


def test_another_case_is_not_waited_for() -> None:
    claims = Claims()
    child, update = _packed("A", "C1"), _unit("C2")
    assert claims.acquire([child, update])[0] == [child, update]


def test_a_waiting_child_that_is_withdrawn_gives_back_the_case() -> None:
    claims = Claims()
    before, child, update = rows_of(_partition(), "A")[0], _packed("A", "C1"), _unit("C1")
    claims.acquire([before, child, update])
    child.stage = Stage.DONE
    assert claims.withdraw([child]) == [update]
    assert not before.awaited
    assert claims.release([before, update]) == []
    assert len(claims) == 0


_PACKING = st.tuples(
    st.sampled_from("AB"), st.lists(st.sampled_from(("C1", "C2")), max_size=2, unique=True)
)
#: An update by a case, which may put the case onto a pallet; an update by a pallet.
_UNITS = st.sampled_from(
    (("C1", ""), ("C2", ""), ("C1", "P1"), ("C2", "P1"), ("C2", "P2"), ("P1", ""), ("P2", ""))
)


@given(st.lists(st.one_of(_PACKING, _UNITS), max_size=40), st.randoms(use_true_random=False))
def test_conflicting_rows_become_ready_in_the_order_of_their_arrival_whatever_is_freed_or_withdrawn(
    wanted: list[tuple[str, list[str] | str]], pick: random.Random
) -> None:
    """I2 on the claims alone, with joins: against a model that knows nothing but pairs of rows."""
    claims = Claims()
    rows = [
        _unit(value, unit) if isinstance(unit, str) else _packed(value, *(unit or ["C3"]))
        for value, unit in wanted
    ]
    open_rows: list[Row] = []
    ready: list[Row] = []
    for row in rows:
        open_rows.append(row)
        ready += claims.acquire([row])[0]
        if ready and pick.random() < 0.5:
            _end(claims, ready.pop(pick.randrange(len(ready))), open_rows, ready)
        waiting = [row for row in open_rows if row.blocked]
        if waiting and pick.random() < 0.2:
            going = pick.sample(waiting, pick.randint(1, len(waiting)))
            for gone in going:
                gone.stage = Stage.DONE
                open_rows.remove(gone)
            ready += claims.withdraw(going)
        assert set(map(id, claims.waiting())) == {id(row) for row in open_rows if row.blocked}
        assert {id(row) for row in ready} == {id(row) for row in _may_go(open_rows)}
    while ready:
        _end(claims, ready.pop(pick.randrange(len(ready))), open_rows, ready)
        assert {id(row) for row in ready} == {id(row) for row in _may_go(open_rows)}
    assert not open_rows
    assert len(claims) == 0


def _end(claims: Claims, row: Row, open_rows: list[Row], ready: list[Row]) -> None:
    open_rows.remove(row)
    ready += claims.release([row])


def _may_go(rows: list[Row]) -> list[Row]:
    """The rows that no earlier one has an order with; ``rows`` in the order of their arrival."""
    return [
        row
        for place, row in enumerate(rows)
        if not any(_in_order(row, earlier) for earlier in rows[:place])
    ]


def _in_order(one: Row, other: Row) -> bool:
    key, other_key = (one.data_key, one.value), (other.data_key, other.value)
    return key == other_key or key in other.joins or other_key in one.joins
