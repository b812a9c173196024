"""Records of several rows: what they hold until all of it is settled, and what a restart repeats.

A record is sent again whole as long as one of its rows is not settled. So nothing later of its
codes may have gone by then: the last that the API hears of a code is what the partition says last.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from consumer.core.admission.retry import RetryPolicy
from consumer.core.effects import Attempt
from consumer.core.model import Record, Rejection, Row, Stage
from consumer.core.offsets.commits import due_commits
from consumer.core.offsets.partition import Partition
from consumer.core.offsets.settled_map import decode
from consumer.core.ordering.claims import Claims
from consumer.core.uploading.response import Response
from tests.unit.builders import (
    Bench,
    accepted,
    answered,
    error_of,
    lost,
    naming,
    row_of,
    unsent,
    values,
)

pytestmark = pytest.mark.promise("I2")

Key = tuple[str, str]
#: What a row does: (data key, value, the case that it joins, its kind).
Spec = tuple[str, str, str, str]

SETS = [("extended_id", value, "", "good") for value in "ABC"]
PACKS = [("extended_id", value, case, "good") for value in "AB" for case in ("C1", "C2")]
CASES = [("case_code", value, "", "good") for value in ("C1", "C2")]
#: Named by a 400 of the API; rejected by a rule of ours, with its key and without any.
BAD = [
    ("extended_id", "A", "", "refused"),
    ("case_code", "C1", "", "refused"),
    ("extended_id", "B", "", "invalid"),
]
KEYLESS = [("", "", "", "invalid"), ("extended_id", " ", "", "invalid")]


def rows_of(record: Record, specs: Sequence[Spec]) -> list[Row]:
    """The rows of a record; each carries its place, so that the API can tell which it is."""
    rows = []
    record.open = len(specs)
    for place, (key, value, case, kind) in enumerate(specs):
        rejection = Rejection("invalid_value", "no") if kind == "invalid" else None
        if not key:
            rows.append(Row(record, None, None, {}, (), 0, rejection=rejection))
            continue
        tag = f"{record.partition.number}.{record.offset}.{place}"
        more = {"case_code": case} if case else {}
        rows.append(
            row_of(record, value, key=key, size=20, rejection=rejection, tag=tag, kind=kind, **more)
        )
        if case and kind != "invalid":
            rows[-1].joins = (("case_code", case),)
    return rows


def in_order(one: Spec, other: Spec) -> bool:
    """Return whether two rows have an order: by one key, or by a case and what joins it."""
    key, other_key = one[:2], other[:2]
    return key == other_key or other_key == ("case_code", one[2]) or key == ("case_code", other[2])


# -- single steps --------------------------------------------------------------------------------


class Line(Bench):
    """A consumer of one partition, whose records are given as their rows."""

    def __init__(self, **rules: Any) -> None:
        super().__init__(**rules)
        self.at = self.partition()

    def publish(self, *records: Sequence[Spec]) -> None:
        for specs in records:
            record = Record(self.at, self.at.position, b"raw", 100)
            rows = rows_of(record, specs)
            self.pipeline.add_records(self.at, [record], rows, record.offset + 1, self.now)
        self.tick()

    def attempt(self, value: str) -> Attempt:
        """The one open attempt with a key value."""
        (found,) = [attempt for attempt in self.open if value in values(attempt)]
        return found

    def in_flight(self) -> list[str]:
        return sorted(value for attempt in self.open for value in values(attempt))


def test_a_later_row_of_a_code_waits_for_the_whole_record_before_it() -> None:
    line = Line(max_rows=1)
    line.publish([SETS[0], SETS[1]], [SETS[0]])
    line.accept(line.attempt("A"))
    assert line.in_flight() == ["B"], (
        "I2: a later row of A is sent while the record before it is half settled"
    )
    line.accept()
    assert line.in_flight() == ["A"]
    line.accept()
    assert line.settled()


def test_within_a_record_a_code_is_handed_on_whatever_else_of_it_waits() -> None:
    line = Line(max_rows=1)
    line.publish([SETS[0], SETS[1], SETS[0]], [SETS[0]])
    line.accept(line.attempt("A"))
    assert line.in_flight() == ["A", "B"]
    assert line.attempt("A").items[0]["tag"] == "0.0.2"
    line.accept(line.attempt("A"))
    assert line.in_flight() == ["B"], "I2: a later record's row goes before the record is settled"


@pytest.mark.promise("I8")
def test_a_case_is_held_for_the_record_of_its_child_until_all_of_it_is_settled() -> None:
    line = Line(max_rows=1, concurrency=9)
    line.publish([PACKS[0], SETS[2]], [PACKS[2]], [CASES[0]])
    assert line.in_flight() == ["A", "B", "C"], "I8: children of a case wait for each other"
    line.accept(line.attempt("A"))
    line.accept(line.attempt("B"))
    assert line.in_flight() == ["C"], (
        "I2: the case is updated while a record that packs into it is half settled"
    )
    line.accept()
    assert line.in_flight() == ["C1"]


def test_what_a_record_held_alone_is_not_shared_with_others_when_its_next_row_shares_it() -> None:
    """Its update of the case may be repeated: what is packed after it must not be in by then."""
    line = Line(max_rows=1)
    line.publish([CASES[0], PACKS[2], SETS[2]], [PACKS[0]])
    line.accept(line.attempt("C1"))
    assert line.in_flight() == ["B", "C"], (
        "I2: a repeat of the update would reach what is packed after it"
    )
    line.accept(line.attempt("B"))
    assert line.in_flight() == ["C"], (
        "I2: a repeat of the update would reach what is packed after it"
    )
    line.accept()
    assert line.in_flight() == ["A"]


@pytest.mark.promise("I8")
def test_a_case_that_two_half_settled_records_share_is_updated_when_both_are_settled() -> None:
    line = Line(max_rows=1, concurrency=9)
    line.publish([PACKS[0], SETS[2]], [PACKS[2], ("serial_number", "S", "", "good"), CASES[0]])
    for value in ("A", "B"):
        line.accept(line.attempt(value))
    assert line.in_flight() == ["C", "S"], (
        "I2: the case is updated while the record before is half settled"
    )
    line.accept(line.attempt("C"))
    assert line.in_flight() == ["C1", "S"], "I8: a record waits for itself"


def test_a_row_of_several_that_was_accepted_waits_for_the_letter_of_another() -> None:
    line = Line()
    line.publish([SETS[0], BAD[2]], [SETS[0]])
    line.accept()
    assert line.in_flight() == [], "I2: a repeat of the first record would undo it"
    line.acknowledge()
    assert line.in_flight() == ["A"]


@pytest.mark.promise("I8")
def test_a_letter_without_a_key_settles_its_record_and_frees_what_that_holds() -> None:
    line = Line()
    line.publish([SETS[0], KEYLESS[0]], [SETS[0]])
    line.accept()
    line.acknowledge()
    assert line.in_flight() == ["A"], "I8: the code is held by a record that is settled"
    line.accept()
    assert len(line.pipeline.claims) == 0


@pytest.mark.promise("I8")
@pytest.mark.parametrize("first", ["A", "B"])
def test_a_lost_call_holds_its_own_code_and_not_those_of_its_record_that_is_settled(
    first: str,
) -> None:
    line = Line(max_rows=1, max_processing=65.0, retry=RetryPolicy(base=0.0))
    line.publish([SETS[0], SETS[1]], [SETS[0]], [SETS[1]])
    line.answer(line.attempt("A"), lost())
    for value in (first, "AB".replace(first, "")):
        line.accept(line.attempt(value))
    assert line.in_flight() == ["B"], "I8: a code waits for a lost call of another"
    line.pass_time(66)
    assert line.in_flight() == ["A", "B"]


def test_a_code_that_a_lost_call_lets_go_is_still_held_for_its_record() -> None:
    line = Line(max_rows=1, max_processing=5.0, retry=RetryPolicy(base=0.0))
    line.publish([SETS[0], SETS[1]], [SETS[0]])
    line.answer(line.attempt("A"), lost())
    line.accept(line.attempt("A"))
    line.pass_time(6)
    assert line.in_flight() == ["B"], (
        "I2: a later row of A is sent while the record before it is half settled"
    )


@pytest.mark.promise("I8")
def test_no_row_lingers_of_a_record_that_a_later_row_waits_for() -> None:
    """Else a hot code waits as long as its record's other row waits for company."""
    line = Line(linger=60.0)
    line.publish([SETS[0], CASES[0]])
    assert line.in_flight() == []
    line.publish([SETS[0]])
    assert line.in_flight() == ["A", "C1"], "I8: the other row of the record lingers"


@pytest.mark.promise("I8")
def test_no_row_lingers_of_a_record_in_the_middle_of_a_line() -> None:
    line = Line(linger=60.0)
    line.publish([SETS[0]], [SETS[0], CASES[0]])
    assert line.in_flight() == ["A"]
    line.publish([SETS[0]])
    assert line.in_flight() == ["A", "C1"], "I8: the other row of the record lingers"


def test_a_row_of_the_same_record_that_waits_hastens_only_the_one_before_it() -> None:
    line = Line(linger=60.0)
    line.publish([SETS[0], CASES[0], SETS[0]])
    assert line.in_flight() == ["A"]


@pytest.mark.promise("I8")
def test_what_a_half_settled_record_holds_goes_with_its_partition() -> None:
    line = Line(max_rows=1, concurrency=9)
    other = line.partition(1)
    line.publish([SETS[0], SETS[1]])
    line.accept(line.attempt("A"))
    line.read(other, "A", "B")
    assert line.in_flight() == ["B"]
    line.pipeline.remove_partitions([line.at], line.now)
    line.tick()
    assert line.in_flight() == ["A", "B"], "I8: a code is held by a record that was taken away"
    line.accept(line.open[0])
    assert line.in_flight() == ["A", "B"], (
        "what is in flight of it keeps its claim until it is answered"
    )
    for _ in range(2):
        line.accept(line.open[0])
    assert len(line.pipeline.claims) == 0


@pytest.mark.promise("I6")
def test_what_a_half_settled_record_goes_on_holding_is_counted_as_bytes() -> None:
    """I6: a record of few bytes can hold thousands of codes for as long as one row is stuck."""
    line = Line()
    line.publish([("extended_id", f"K{number}", "", "good") for number in range(90)] + [CASES[0]])
    line.accept(line.attempt("K0"))
    assert line.pipeline.flow.rows == 1
    assert line.pipeline.flow.size > 90 * 100, "I6: what a record holds is not counted"
    line.accept()
    assert (line.pipeline.flow.rows, line.pipeline.flow.size) == (0, 0)


# -- keys that name nothing ----------------------------------------------------------------------


@pytest.mark.promise("I8")
def test_rows_with_a_blank_key_wait_for_nothing() -> None:
    claims = Claims()
    partition = Partition("events", 0, 0, 0)
    rows = [
        row_of(Record(partition, at, None, 1), value, rejection=Rejection("key_blank", "blank"))
        for at, value in enumerate(["", " ", "", "\u2003", " "])
    ]
    assert claims.acquire(rows) == (rows, []), "I8: letters of blank keys are written one at a time"
    assert len(claims) == 0
    assert claims.release(rows) == []


@pytest.mark.promise("I6")
def test_no_data_key_is_remembered_once_nothing_of_it_is_held() -> None:
    """I6: events can name ever new ones."""
    claims = Claims()
    partition = Partition("events", 0, 0, 0)
    for number in range(1_000):
        record = Record(partition, number, None, 1, open=2)
        child = row_of(record, "A", key=f"field{number}")
        child.joins = ((f"unit{number}", "U"),)
        update = row_of(record, "U", key=f"unit{number}")
        claims.expect(record)
        claims.acquire([child, update])
        claims.release([child])
        record.settled = True
        claims.release([update])
    assert not claims._held, "I6: what events name fills the memory"


# -- any records, any outcomes, a crash anywhere -------------------------------------------------

some_row = st.sampled_from(SETS + PACKS + CASES + SETS + CASES + BAD + KEYLESS)
some_record = st.one_of(
    st.lists(some_row, min_size=1, max_size=5), st.lists(some_row, min_size=2, max_size=3)
)
some_log = st.lists(some_record, min_size=1, max_size=10)
steps = st.lists(
    st.tuples(
        st.sampled_from(
            ("read", "answer", "answer", "answer", "answer", "fail", "lose", "acknowledge",
             "wait", "wait long", "commit", "commit", "crash", "crash", "revoke")
        ),
        st.integers(0, 7),
    ),
    max_size=50,
)  # fmt: skip


class Life:
    """Processes one after the other, an API that remembers what it applied, the group's commits."""

    def __init__(self, logs: list[list[list[Spec]]], seed: int, rules: dict[str, Any]) -> None:
        self.logs = logs
        self.rng = random.Random(seed)
        self.rules = rules
        self.committed = [(0, "")] * len(logs)
        self.applied: list[tuple[int, int, int]] = []
        self.late: list[tuple[float, Attempt]] = []  #: lost calls that take effect at a time
        self._start()

    def _start(self) -> None:
        self.bench = Bench(retry=RetryPolicy(base=0.1, cap=1.0), max_processing=5.0, **self.rules)
        self.owned: list[Partition] = []
        for number in range(len(self.logs)):
            self.owned.append(self._assign(number))

    def _assign(self, number: int) -> Partition:
        offset, metadata = self.committed[number]
        partition = Partition(
            "events", number, offset, offset, decode(metadata, number, offset), metadata
        )
        self.bench.pipeline.add_partition(partition)
        return partition

    def read(self, index: int) -> None:
        """A few records of one partition arrive; those that the map names are skipped."""
        partition = self.owned[index % len(self.owned)]
        log = self.logs[partition.number]
        records, rows = [], []
        for offset in range(partition.position, min(len(log), partition.position + 1 + index // 2)):
            record = Record(partition, offset, b"raw", 100)
            records.append(record)
            if offset not in partition.already_settled:
                rows += rows_of(record, log[offset])
        if records:
            self.bench.pipeline.add_records(
                partition, records, rows, records[-1].offset + 1, self.bench.now
            )

    def _apply(self, attempt: Attempt) -> None:
        for item in attempt.items:
            partition, offset, place = map(int, item["tag"].split("."))
            self.applied.append((partition, offset, place))

    def answer(self, index: int) -> None:
        """The API does what it is asked, and says so."""
        if not self.bench.open:
            return
        attempt = self.bench.open[index % len(self.bench.open)]
        bad = [item[attempt.data_key] for item in attempt.items if item["kind"] == "refused"]
        if bad:
            response = naming(*(error_of(value) for value in bad))
        else:
            response = accepted(attempt)
            self._apply(attempt)
        self.bench.answer(attempt, response)

    def fail(self, index: int) -> None:
        """A call ends without effect, and that is known."""
        if self.bench.open:
            responses: list[Callable[[], Response]] = [
                lambda: answered(503),
                lambda: answered(429),
                unsent,
            ]
            self.bench.answer(self.bench.open[index % len(self.bench.open)], responses[index % 3]())

    def lose(self, index: int) -> None:
        """Lose a response; the call took effect, or does within the time allowed, or never."""
        if not self.bench.open:
            return
        attempt = self.bench.open[index % len(self.bench.open)]
        refused = any(item["kind"] == "refused" for item in attempt.items)
        late_at = attempt.window.sent_at + 4.9
        if index % 3 == 1 and not refused and late_at > self.bench.now:
            self.late.append((late_at, attempt))
        elif index % 3 < 2 and not refused:
            self._apply(attempt)
        self.bench.answer(attempt, lost())

    def acknowledge(self, _: int) -> None:
        self.bench.acknowledge()

    def wait(self, index: int) -> None:
        end = self.bench.now + index / 10
        for at, attempt in sorted(self.late, key=lambda one: one[0]):
            if at <= end:
                self.bench.pass_time(max(0.0, at - self.bench.now))
                self._apply(attempt)
                self.late.remove((at, attempt))
        self.bench.pass_time(max(0.0, end - self.bench.now))
        for _ in range(self.bench.asks_open):
            self.bench.answer_me()

    def wait_long(self, _: int) -> None:
        self.wait(60)

    def commit(self, _: int) -> None:
        for commit in due_commits(self.bench.pipeline.partitions):
            partition = commit.partition
            self.committed[partition.number] = commit.offset, commit.metadata
            partition.committed, partition.metadata = commit.offset, commit.metadata

    def crash(self, _: int) -> None:
        """The process is gone; what it had on the wire took effect or not, but not later."""
        for attempt in [*self.bench.open, *(attempt for _, attempt in self.late)]:
            if self.rng.random() < 0.5 and all(item["kind"] != "refused" for item in attempt.items):
                self._apply(attempt)
        self.late.clear()
        self._start()

    def revoke(self, index: int) -> None:
        """A partition goes and comes back: with a last commit after some answers, or at once."""
        place = index % len(self.owned)
        partition, pipeline = self.owned[place], self.bench.pipeline
        if index > 3:
            pipeline.withdraw([partition], self.bench.now)
            self.answer(index)
            self.acknowledge(index)
            pipeline.withdraw([partition], self.bench.now)
            self.commit(index)
        pipeline.remove_partitions([partition], self.bench.now)
        self.bench.dead_letters = [
            one for one in self.bench.dead_letters if one.row.record.partition.owned
        ]
        self.owned[place] = self._assign(partition.number)
        self.bench.tick()

    def finish(self) -> None:
        """All is well from now on: everything is settled soon."""
        for _ in range(400):
            for index in range(len(self.owned)):
                self.read(6 + index)
            self.bench.tick()
            for _ in range(60):
                self.answer(0)
                self.acknowledge(0)
            self.wait(10)
            self.commit(0)
            if all(self.committed[number][0] == len(log) for number, log in enumerate(self.logs)):
                break
        assert all(self.committed[number][0] == len(log) for number, log in enumerate(self.logs)), (
            "I8: records wait for each other for ever"
        )
        self.wait_long(0)

    def check(self) -> None:
        """Check that the API heard of each row in order, and that nothing is held."""
        last = {tag: at for at, tag in enumerate(self.applied)}
        for number, log in enumerate(self.logs):
            rows = [
                ((number, offset, place), spec)
                for offset, record in enumerate(log)
                for place, spec in enumerate(record)
                if spec[3] == "good"
            ]
            for tag, spec in rows:
                assert tag in last, f"I1: {tag} is lost"
                for earlier, other in rows:
                    if earlier < tag and in_order(spec, other):
                        assert last[earlier] < last[tag], (
                            f"I9: {earlier} undoes {tag}, which came later"
                        )
        claims = self.bench.pipeline.claims
        left = len(claims), len(list(claims.waiting())), len(self.bench.pipeline.lanes)
        assert left == (0, 0, 0), f"I6: claims or ready rows are left: {left}"
        assert not [name for name, held in vars(claims).items() if held], (
            "I6: something of rows that are gone is kept"
        )
        assert (self.bench.pipeline.flow.rows, self.bench.pipeline.flow.size) == (0, 0), (
            "I6: counted still"
        )
        assert self.bench.settled(), "I5"


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    logs=st.lists(some_log, min_size=1, max_size=2),
    todo=steps,
    seed=st.integers(0, 1000),
    rules=st.fixed_dictionaries(
        {
            "max_rows": st.sampled_from((1, 2, 10)),
            "linger": st.sampled_from((0.0, 0.3)),
            "concurrency": st.sampled_from((2, 8)),
        }
    ),
)
def test_in_the_end_the_api_stands_as_after_a_replay_in_order_whatever_crashes_and_whenever(
    logs: list[list[list[Spec]]], todo: list[tuple[str, int]], seed: int, rules: dict[str, Any]
) -> None:
    _live(logs, todo, seed, rules).check()


def _live(
    logs: list[list[list[Spec]]], todo: Sequence[tuple[str, int]], seed: int, rules: dict[str, Any]
) -> Life:
    life = Life(logs, seed, rules)
    for name, index in todo:
        getattr(life, name.replace(" ", "_"))(index)
        life.bench.tick()
    life.finish()
    return life


def test_in_long_lives_too() -> None:
    """By seed alone, so that each is long, with many records of several rows."""
    names = ["read"] * 4 + ["answer"] * 12 + ["commit"] * 4
    names += ["fail", "lose", "acknowledge", "wait", "wait", "wait_long", "crash", "revoke"]
    for seed in range(150):
        rng = random.Random(seed)
        some = SETS + PACKS + CASES + SETS + CASES + (BAD + KEYLESS if seed % 2 else [])
        logs = [
            [[rng.choice(some) for _ in range(rng.choice((1, 1, 2, 2, 3, 5)))] for _ in range(25)]
            for _ in range(2)
        ]
        todo = [(rng.choice(names), rng.randrange(8)) for _ in range(150)]
        rules = {
            "max_rows": rng.choice((1, 2, 10)),
            "linger": rng.choice((0.0, 0.3)),
            "concurrency": 8,
        }
        try:
            _live(logs, todo, seed, rules).check()
        except AssertionError as broken:
            raise AssertionError(f"seed {seed}: {broken}") from broken


# -- the claims alone ----------------------------------------------------------------------------


@pytest.mark.promise("I6", "I8")
@settings(max_examples=200, deadline=None)
@given(some_log, st.randoms(use_true_random=False))
def test_a_row_is_ready_when_earlier_records_of_its_codes_are_settled_and_its_own_rows_done(
    log: list[list[Spec]], pick: random.Random
) -> None:
    """I2 on the claims alone, against a model that knows nothing but pairs of rows."""
    claims = Claims()
    partitions = [Partition("events", number, 0, 0) for number in range(2)]
    rows: list[tuple[Row, Spec, Record]] = []  #: of records that are not settled
    done: set[Row] = set()
    ready: list[Row] = []

    def may_go() -> set[Row]:
        return {
            row
            for place, (row, spec, record) in enumerate(rows)
            if row not in done
            and not any(
                in_order(spec, other) and not (earlier_of is record and earlier in done)
                for earlier, other, earlier_of in rows[:place]
                if spec[1].strip() and other[1].strip()
            )
        }

    def end(row: Row) -> None:
        done.add(row)
        row.stage = Stage.DONE
        record = row.record
        record.open -= 1
        record.settled = not record.open
        if record.settled:
            rows[:] = [one for one in rows if one[2] is not record]
        ready.extend(claims.release([row]))

    def check() -> None:
        assert set(ready) == may_go(), "I2: a row is ready before its turn, or is not when it is"

    def revoke(partition: Partition) -> None:
        gone = [row for row, _, record in rows if record.partition is partition and row not in done]
        at_rest = [row for row in gone if row not in ready]
        holding = [row for row in ready if row.record.partition is partition]
        ready[:] = [row for row in ready if row.record.partition is not partition]
        records = {record for _, _, record in rows if record.partition is partition}
        rows[:] = [one for one in rows if one[2].partition is not partition]
        for row in gone:
            row.stage = Stage.DONE
        ready.extend(claims.withdraw(at_rest))
        ready.extend(claims.release(holding))
        ready.extend(claims.release_records(records))

    for offset, specs in enumerate(log):
        record = Record(pick.choice(partitions), offset, None, 1)
        made = rows_of(record, specs)
        rows += zip(made, specs, [record] * len(specs), strict=True)
        if len(made) > 1:
            claims.expect(record)
        ready += claims.acquire(made)[0]
        check()
        while ready and pick.random() < 0.6:
            end(ready.pop(pick.randrange(len(ready))))
            check()
        if pick.random() < 0.1:
            revoke(pick.choice(partitions))
            check()
    while ready:
        end(ready.pop(pick.randrange(len(ready))))
        check()
    assert not rows, "I8: rows wait for each other for ever"
    assert not [name for name, held in vars(claims).items() if held], "I6: claims are left"
