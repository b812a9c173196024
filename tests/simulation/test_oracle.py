"""The oracle itself: what it must find, and what it must let pass."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from consumer.core.offsets.settled_map import encode
from tests.simulation.documents import UNIT, Key, PublishedRow
from tests.simulation.oracle import Limits, Oracle, Violation
from tests.simulation.process import Process
from tests.simulation.progress import independent
from tests.simulation.published import PublishedRecord
from tests.simulation.scheduler import Scheduler
from tests.simulation.witness import Call, Tag

LIMITS = Limits(1000, 1e9, 5.0, 4000, 500, 60.0, revoke=10.0, stop=10.0, give_up=10.0)
NONE_NAMED = {"detail": "no"}


def code(value: str) -> Key:
    return ("extended_id", value)


def unit(value: str) -> Key:
    return (UNIT, value)


def rows_at(offset: int, *keys: Key, joins: tuple[Key, ...] = ()) -> list[PublishedRow]:
    return [
        PublishedRow((0, offset, n), key, joins, "", {"tag": f"0.{offset}.1"})
        for n, key in enumerate(keys)
    ]


class Site:
    """A partition with records, each a list of rows, and processes that read it.

    Time passes when it is told to.
    """

    def __init__(
        self,
        *records: list[PublishedRow],
        limits: Limits = LIMITS,
        kinds: dict[Tag, str] | None = None,
        first_line: int = 1,
    ) -> None:
        self.scheduler = Scheduler()
        self.records = {
            (0, n): PublishedRecord(0, n, tuple(rows), 10) for n, rows in enumerate(records)
        }
        self.seen: Counter[str] = Counter()
        self.oracle = Oracle(
            self.scheduler,
            self.records,
            limits,
            self.seen,
            lambda *_: True,
            None,
            kinds,
            first_line,
        )
        for record in self.records.values():
            self.oracle.published(record)
        self.calls = 0

    def process(self, name: str) -> Process:
        process = Process(self.scheduler, name, lambda: None)
        ledger = dict.fromkeys(
            ("consumed", "accepted", "rejected", "skipped", "released", "unsettled"), 0
        )
        self.oracle.began(process, lambda: ledger)
        return process

    def owner(
        self, name: str, start: int = 0, settled: Sequence[tuple[int, int]] = ()
    ) -> tuple[Process, object]:
        """A process that has read everything from ``start`` on.

        ``settled``: what a map says beyond it.
        """
        process, epoch = self.process(name), object()
        committed = (start, encode(0, start, list(settled), 4000) if settled else "")
        self.oracle.assigned(process, epoch, 0, start, committed)
        self.oracle.polled(process)
        self.oracle.read(process, epoch, [offset for _, offset in self.records if offset >= start])
        return process, epoch

    def send(self, owner: tuple[Process, object], *rows: PublishedRow) -> Call:
        process, epoch = owner
        self.calls += 1
        key = rows[0].key[0]
        items = [{key: row.key[1], **row.fields} for row in rows]
        tags = [row.tag for row in rows]
        call = Call(
            self.calls,
            process,
            key,
            items,
            [epoch] * len(rows),
            self.scheduler.now,
            tags,
            by_task=False,
        )
        self.oracle.sent(call)
        return call

    def apply(self, call: Call) -> None:
        self.oracle.applied(call, range(len(call.tags)))

    def accept(self, owner: tuple[Process, object], *rows: PublishedRow) -> None:
        call = self.send(owner, *rows)
        self.apply(call)
        self.oracle.answered(
            call, 200, {"items": {row.key[1]: ["tag"] for row in rows}, "codes_affected": len(rows)}
        )

    def answer(self, call: Call, status: int | None, document: Any = None) -> None:
        self.oracle.answered(call, status, document)

    def pass_time(self, seconds: float) -> None:
        self.scheduler.run(lambda: False, self.scheduler.now + seconds)


# -- order over all that took effect -------------------------------------------------------------


def test_a_repeat_that_undoes_a_row_which_is_settled_for_its_owner_is_found() -> None:
    old, new = rows_at(0, code("A"), unit("U")), rows_at(1, code("A"))
    site = Site(old, new)
    first = site.owner("A1")
    site.accept(first, old[0])
    site.accept(first, old[1])
    site.accept(first, new[0])
    site.oracle.ended(first[0])
    second = site.owner("A2", settled=[(1, 2)])
    with pytest.raises(
        Violation, match=r"I9: .* takes effect once more, .* which is settled for it"
    ):
        site.apply(site.send(second, old[0]))


def test_a_repeat_that_will_catch_up_is_excused() -> None:
    old, new = rows_at(0, code("A")), rows_at(1, code("A"))
    site = Site(old, new)
    first = site.owner("A1")
    site.accept(first, old[0])
    site.accept(first, new[0])
    site.oracle.ended(first[0])
    second = site.owner("A2")
    site.accept(second, old[0])
    site.accept(second, new[0])
    site.oracle.judge({0: (2, "")}, [2])
    assert site.seen["set back by a repeat"] == 1


def test_a_row_that_is_sent_while_the_record_of_an_earlier_one_is_half_settled_is_found() -> None:
    old, new = rows_at(0, code("A"), unit("U")), rows_at(1, code("A"))
    site = Site(old, new)
    owner = site.owner("A1")
    site.accept(owner, old[0])
    with pytest.raises(Violation, match=r"I2: .* before the record of .* is settled"):
        site.send(owner, new[0])


@pytest.mark.parametrize(("waited", "excused"), [(1.0, False), (10.0, True)])
def test_a_late_effect_after_a_hand_over_is_excused_only_if_all_of_the_wait_was_used(
    waited: float, excused: bool
) -> None:
    old, new = rows_at(0, code("A")), rows_at(1, code("A"))
    site = Site(old, new)
    first = site.owner("A1")
    late = site.send(first, old[0])
    site.oracle.leaving(first[0], [first[1]], lost=False)
    site.pass_time(waited)
    site.oracle.gone(first[0], [first[1]])
    second = site.owner("B1")
    site.accept(second, old[0])
    site.accept(second, new[0])
    if not excused:
        with pytest.raises(
            Violation, match=r"I9: .* was handed over meanwhile, .* time left to wait"
        ):
            site.apply(late)
        return
    site.apply(late)
    site.oracle.judge({0: (2, "")}, [2])
    assert site.seen["final state by a late call"] == 1


def test_a_late_effect_of_a_killed_owner_is_excused_and_counted() -> None:
    old, new = rows_at(0, code("A")), rows_at(1, code("A"))
    site = Site(old, new)
    first = site.owner("A1")
    late = site.send(first, old[0])
    site.oracle.ended(first[0])
    second = site.owner("A2")
    site.accept(second, old[0])
    site.accept(second, new[0])
    site.apply(late)
    assert site.seen["applied late: its owner was killed"] == 1


# -- receipts ------------------------------------------------------------------------------------


def test_a_row_with_a_receipt_to_come_is_not_settled_and_each_accepted_row_has_one() -> None:
    first, second = rows_at(0, code("A")), rows_at(1, code("A"))
    site = Site(first, second, limits=replace(LIMITS, receipts=True))
    process, epoch = owner = site.owner("A1")
    with pytest.raises(Violation, match=r"I1: .* writes a receipt of .* which was not accepted"):
        site.oracle.receipted(process, epoch, first[0].tag)
    site.accept(owner, first[0])
    with pytest.raises(Violation, match="I2"):
        site.send(owner, second[0])
    with pytest.raises(Violation, match=r"I7: .* only its receipt is due"):
        site.send(owner, first[0])
    site.oracle.receipted(process, epoch, first[0].tag)
    site.oracle.acknowledged(process, [(first[0].tag, epoch)])
    site.accept(owner, second[0])
    with pytest.raises(Violation, match=r"I1: .* was accepted and has no receipt"):
        site.oracle.judge({0: (2, "")}, [2])


# -- what speaks for a dead letter ---------------------------------------------------------------


def test_a_good_row_that_a_wrong_line_names_has_no_reason_for_a_letter() -> None:
    rows = [rows_at(0, code("A"))[0], rows_at(1, code("B"))[0]]
    site = Site([rows[0]], [rows[1]], kinds={rows[0].tag: "refused"}, first_line=2)
    owner = site.owner("A1")
    # it counts from 2, and means the first
    error = {"line": 2, "field": "intended_market", "message": "no"}
    site.answer(site.send(owner, *rows), 400, {"errors": [error]})
    with pytest.raises(Violation, match=r"I1: .* lines are not counted from 1"):
        site.oracle.dead_lettered(owner[0], rows[1].tag, "rejected_by_api")


def test_while_paused_by_a_401_an_older_call_gives_reason_only_for_what_it_names() -> None:
    rows = [rows_at(n, code(str(n)))[0] for n in range(4)]
    site = Site(*([row] for row in rows), kinds={rows[2].tag: "refused"})
    owner = site.owner("A1")
    first, unnamed, named, late = (site.send(owner, row) for row in rows)
    site.answer(first, 401)
    site.answer(unnamed, 400, NONE_NAMED)
    site.answer(
        named, 400, {"errors": [{"key_value": "2", "field": "intended_market", "message": "no"}]}
    )
    site.oracle.dead_lettered(owner[0], rows[2].tag, "rejected_by_api")
    with pytest.raises(Violation, match=r"I1: .*uploading is paused"):
        site.oracle.dead_lettered(owner[0], rows[1].tag, "rejected_by_api")
    site.pass_time(1.0)
    site.accept(owner, rows[0])  # the trial: uploading goes on
    site.answer(late, 413)
    site.oracle.dead_lettered(owner[0], rows[3].tag, "rejected_by_api")


def test_a_row_that_tells_nothing_is_given_up_only_after_the_time_that_is_set() -> None:
    (row,) = rows_at(0, code("A"))
    site = Site([row])
    owner = site.owner("A1")
    site.answer(site.send(owner, row), 422)
    site.pass_time(9.0)
    with pytest.raises(
        Violation, match=r"I1: .* api_error after 9.0 s of failing by itself, 10 s are set"
    ):
        site.oracle.dead_lettered(owner[0], row.tag, "api_error")
    site.pass_time(1.0)
    site.oracle.dead_lettered(owner[0], row.tag, "api_error")


# -- who waits for whom --------------------------------------------------------------------------


def test_a_row_waits_for_those_before_it_of_its_key_and_its_unit_and_for_the_records_of_such() -> (
    None
):
    records = {
        n: PublishedRecord(0, n, tuple(rows), 10)
        for n, rows in enumerate(
            [
                rows_at(0, code("before")),
                rows_at(1, code("bad"), code("beside")),
                rows_at(2, code("beside")),  # the record that holds it is not settled
                rows_at(3, code("packed"), joins=(unit("U"),)),
                rows_at(4, code("beside"), code("U's"), joins=(unit("U"),)),
                rows_at(5, unit("U")),
                rows_at(6, code("free"), joins=(unit("U"),)),
                rows_at(7, code("alone")),
                rows_at(8, code("before")),
            ]
        )
    }
    found = independent({(0, n): record for n, record in records.items()}, [(0, 1, 0)])
    assert [(offset, place) for _, offset, place in found] == [
        (0, 0),
        (1, 1),
        (3, 0),
        (4, 1),
        (7, 0),
        (8, 0),
    ]
