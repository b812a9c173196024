"""The final state is compared with what was published, whatever was rejected or left out."""

from __future__ import annotations

from collections.abc import Sequence

from tests.simulation.documents import PublishedRow
from tests.simulation.final_state import Fate, FinalState
from tests.simulation.test_oracle import code, rows_at, unit
from tests.simulation.witness import Tag


def fate(*, rejected: Sequence[Tag] = (), unsure: Sequence[Tag] = ()) -> Fate:
    return Fate(lambda _: 0, lambda tag: tag in rejected, lambda tag: tag not in unsure)


def differences(
    applied: Sequence[PublishedRow], published: Sequence[PublishedRow], how: Fate
) -> list[str]:
    state = FinalState()
    for row in applied:
        state.applied(row, late=False)
    return [str(difference) for difference in state.differences(published, how)]


def test_a_field_that_stands_as_an_older_row_said_is_a_difference() -> None:
    (old,), (new,) = rows_at(0, code("A")), rows_at(1, code("A"))
    assert not differences([old, new], [old, new], fate())
    assert len(differences([old, new, old], [old, new], fate())) == 1
    assert len(differences([new, old], [old, new], fate())) == 1


def test_a_rejected_row_does_not_count_and_an_unconfirmed_one_may_or_may_not() -> None:
    (old,), (new,) = rows_at(0, code("A")), rows_at(1, code("A"))
    for how in (fate(rejected=[new.tag]), fate(unsure=[new.tag])):
        assert not differences([old], [old, new], how)
        assert not differences([old, new], [old, new], how)
    assert not differences([old, new], [old, new], fate(rejected=[old.tag]))
    assert differences([old], [old, new], fate(rejected=[old.tag]))


def test_an_update_by_a_unit_reaches_the_codes_that_were_put_into_it() -> None:
    (pack,), (ship,) = rows_at(0, code("A"), joins=(unit("U"),)), rows_at(1, unit("U"))
    assert not differences([pack, ship], [pack, ship], fate())
    assert any(
        "which was put into" in text for text in differences([ship, pack], [pack, ship], fate())
    )
    # An update from before the packing that is repeated behind it reaches that code, too: nobody
    # can help it.
    (early,), (pack_later,), (again,) = (
        rows_at(0, unit("U")),
        rows_at(1, code("A"), joins=(unit("U"),)),
        rows_at(2, unit("U")),
    )
    assert not differences([early, pack_later, early, pack_later], [early, pack_later], fate())
    assert not differences([pack, ship, again, ship, again], [pack, ship, again], fate())
    assert differences([pack, ship, again, ship], [pack, ship, again], fate())
