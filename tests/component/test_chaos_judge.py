"""The judge of chaos: it passes a good run, and finds each kind of damage that it is there for."""

from __future__ import annotations

import json
import random
import struct
from dataclasses import replace
from typing import Any

import pytest

from consumer.core.offsets.settled_map import encode
from tests.chaos.case import Verdict
from tests.chaos.evidence import (
    Application,
    CommitEntry,
    Evidence,
    Generation,
    Life,
    Record,
    Request,
    Trouble,
)
from tests.chaos.judge import judge
from tests.chaos.offsets_topic import decode
from tests.chaos.repeats import OTHER_ROW
from tests.chaos.settled_map import names, settled_beyond
from tests.chaos.wanted import wanted
from tests.support.kafka_witness import Witnessed

A, B = ("a", "a-1"), ("b", "b-1")
HANDOVER = 20.0  #: when b takes over from a


class Run:
    """A run of one partition, recorded step by step.

    ``a`` owns it from 10.0 on, ``b`` from HANDOVER on.
    """

    def __init__(self, end: str = "kill", ended: float = HANDOVER - 1) -> None:
        self.evidence = Evidence(0, max_processing=9, request_timeout=3, max_unsettled_rows=100)
        self.evidence.lives = [Life("a", 0, 9.0, ended, end, 0), Life("b", 1, 9.0, 40.0, "stop", 0)]
        self.evidence.generations = [
            Generation(0, 10.0, 1, 1, {0: A}),
            Generation(50, HANDOVER, 2, 1, {0: B}),
        ]
        self._place = 0

    def publish(self, partition: int = 0, **event: Any) -> int:
        """Publish a flat event. Return its number, which in partition 0 alone is its offset."""
        return self.publish_value(
            lambda number: json.dumps(event | {"step": str(number)}).encode(), partition
        )

    def publish_unit(self, unit: str, **also: Any) -> int:
        """Publish an update of a unit."""

        def value(number: int) -> bytes:
            fields = {"unit_step": str(number)}
            return json.dumps(
                {"data_key": "case_code", "key_value": unit, "scm_data": fields} | also
            ).encode()

        return self.publish_value(value)

    def publish_pair(self, label: str, unit: str) -> int:
        """Publish an update of a code together with that of a unit."""
        also = {"data_key": "case_code", "key_value": unit}
        return self.publish_unit("", data_key="extended_id", key_value=label, also_update=also)

    def publish_value(self, value: Any, partition: int = 0) -> int:
        """Publish the value that ``value`` makes of the number."""
        number = len(self.evidence.records)
        offset = sum(record.partition == partition for record in self.evidence.records)
        self.evidence.records.append(Record(partition, offset, b"key", value(number), []))
        self.evidence.ends = self.evidence.committed = {**self.evidence.ends, partition: offset + 1}
        return number

    def send(
        self,
        life: str,
        at: float,
        *numbers: int,
        status: int | None = 200,
        fault: str = "",
        applied: float = 0.0,
        row: int = 0,
        task: str = "",
        answered: float = 0.0,
    ) -> None:
        """Send a request with these records, or the row of that number of each, and apply it."""
        number = len(self.evidence.requests) + 1
        answered = answered or at + 0.1
        asked = answered - 0.1 if task else 0.0
        self.evidence.requests.append(
            Request(number, life, at, answered, status, fault, len(numbers), task, asked)
        )
        for record in numbers:
            want = wanted(self.evidence.records[record]).rows[row]
            self.evidence.applications.append(
                Application(
                    0, number, want.data_key, want.key_value, want.fields, applied or at + 0.1
                )
            )
        self.evidence.applications.sort(key=lambda row: row.at)

    def commit(self, at: float, offset: int, metadata: str = "") -> None:
        """Have the broker write a commit."""
        self._place += 1
        place = self._place + (50 if at > HANDOVER else 0)
        self.evidence.commits.append(CommitEntry(place, at, 0, offset, metadata))

    def verdict(self) -> Verdict:
        """Return the judge's verdict over the state that the applications left."""
        codes: dict[str, dict[str, str]] = {}
        for row in self.evidence.applications:
            for code in [row.key_value] if row.data_key == "extended_id" else list(codes):
                if row.data_key == "extended_id" or codes[code].get("case_code") == row.key_value:
                    codes.setdefault(code, {}).update(
                        {name: value for name, value in row.fields.items() if value}
                    )
        self.evidence.state = codes
        return judge(self.evidence)


def kinds(verdict: Verdict) -> set[str]:
    """Return the findings, by the word before the colon."""
    return {finding.partition(":")[0] for finding in verdict.findings}


def test_a_good_run_passes() -> None:
    run = Run()
    first, second = run.publish(extended_id="C", line="1"), run.publish(extended_id="C", line="2")
    run.send("a", 12, first)
    run.send("b", 22, second)
    run.commit(13, 1)
    assert run.verdict().findings == []


def test_a_record_that_nobody_applied_is_lost() -> None:
    run = Run()
    run.publish(extended_id="C", line="1")
    verdict = run.verdict()
    assert verdict.lost == 1
    assert kinds(verdict) >= {"lost"}


def test_a_letter_has_to_be_its_record_byte_for_byte_and_to_be_deserved() -> None:
    run = Run()
    bad = run.publish_value(lambda _: b"\xff")
    good = run.publish(extended_id="C", line="1")
    for offset, value in ((bad, b"\xfe"), (good, run.evidence.records[good].value)):
        headers = [
            ("__connect.errors.partition", b"0"),
            ("__connect.errors.offset", str(offset).encode()),
        ]
        headers += [("scm.reason", b"undecodable"), ("scm.message", b"no")]
        run.evidence.letters.append(Record(0, 0, b"key", value, headers))
    assert [
        finding.partition(":")[0] for finding in run.verdict().findings if "letters" in finding
    ] == ["letters"] * 2


def test_committed_has_to_be_the_end_and_never_to_go_back() -> None:
    run = Run()
    run.send("a", 12, run.publish(extended_id="C", line="1"))
    run.commit(13, 1)
    run.commit(14, 0)
    run.evidence.committed = {0: 0}
    assert [finding.partition(":")[0] for finding in run.verdict().findings] == ["committed"] * 2


@pytest.mark.parametrize(("then", "ended", "found"), [(2, 40, 0), (1, 40, 1), (1, 16, 0)])
def test_a_commit_that_the_client_sends_once_more_after_a_cut_is_excused_if_the_next_one_mends_it(
    then: int, ended: float, found: int
) -> None:
    run = Run(end="kill", ended=ended)
    run.evidence.troubles = [Trouble("kafka", "", 12, 14, "broker killed")]
    rows = [run.publish(extended_id=code, line="1") for code in "CD"]
    run.send("a", 10.5, *rows)
    for at, offset in ((14.1, 2), (14.2, 1), (15, then)):
        run.commit(at, offset)
    findings = [finding for finding in run.verdict().findings if "went back" in finding]
    assert bool(findings) == found


def test_an_inversion_in_one_epoch_is_found_whatever_happened() -> None:
    run = Run()
    run.evidence.troubles = [Trouble("api", "a", 0, 100, ""), Trouble("suspended", "a", 0, 100, "")]
    first, second = run.publish(extended_id="C", line="1"), run.publish(extended_id="C", line="2")
    run.send("a", 11, first, status=None, fault="late", applied=13)
    run.send("a", 12, second)
    verdict = run.verdict()
    assert verdict.inversions == 1
    assert kinds(verdict) == {"order", "state"}


def test_a_join_and_an_update_of_its_unit_keep_their_order_and_two_joins_need_not() -> None:
    run = Run()
    joins = [run.publish(extended_id=code, case_code="U") for code in "CD"]
    update = run.publish_unit("U")
    run.send("a", 11, joins[1])
    run.send("a", 12, joins[0])
    run.send("a", 13, update)
    assert run.verdict().findings == []
    run = Run()
    join, update = run.publish(extended_id="C", case_code="U"), run.publish_unit("U")
    run.send("a", 12, update)
    run.send("a", 13, join)
    assert run.verdict().inversions == 1


def test_a_row_that_a_new_owner_applies_for_the_first_time_after_a_later_one_is_an_inversion() -> (
    None
):
    run = Run()
    first, second = run.publish(extended_id="C", line="1"), run.publish(extended_id="C", line="2")
    run.send("a", 12, second)
    run.send("b", 22, first)
    assert run.verdict().inversions == 1


@pytest.mark.parametrize(("received", "inversions"), [(19.9, 0), (20.1, 1)])
def test_a_late_application_is_counted_apart_only_if_it_was_sent_before_the_partition_went(
    received: float, inversions: int
) -> None:
    run = Run(ended=received)
    first, second = run.publish(extended_id="C", line="1"), run.publish(extended_id="C", line="2")
    run.send("a", received, first, applied=24)
    run.send("b", 21, first)
    run.send("b", 22, second)
    verdict = run.verdict()
    assert verdict.inversions == inversions
    assert sum(verdict.late.values()) == 1 - inversions


def test_a_late_application_of_a_member_that_nothing_happened_to_is_an_inversion() -> None:
    run = Run(end="stop", ended=HANDOVER - 0.05)
    first, second = run.publish(extended_id="C", line="1"), run.publish(extended_id="C", line="2")
    run.send("a", 19.9, first, applied=24)
    run.send("b", 21, first)
    run.send("b", 22, second)
    assert run.verdict().inversions == 1


def repeated(run: Run, answered: float, **first: Any) -> Verdict:
    """Let ``b`` apply a record again that ``a`` has applied, answered at that time."""
    offset = run.publish(extended_id="C", line="1")
    run.send("a", answered - 0.1, offset, **first)
    run.send("b", HANDOVER + 1, offset)
    return run.verdict()


def test_a_repeat_in_one_epoch_needs_a_lost_answer() -> None:
    for status, fault, unexplained in (
        (200, "", 1),
        (None, "reset_after", 0),
        (200, "latency+garbage", 0),
    ):
        run = Run()
        offset = run.publish(extended_id="C", line="1")
        run.send("a", 11, offset, status=status, fault=fault)
        run.send("a", 12, offset)
        assert run.verdict().unexplained == unexplained, fault


def commit_that_names(run: Run, answered: float, at: float, number: int = 1) -> None:
    """Judge a commit over a first record that is not settled, beside one that was answered then."""
    other = run.publish(extended_id="D", line="1")
    assert other == number
    run.send("a", answered - 0.1, other)
    run.commit(at, 0, encode(0, 0, [(1, number + 1)], 4000))


@pytest.mark.parametrize(("answered", "unexplained"), [(11, 0), (12.5, 0), (13.5, 1)])
def test_after_a_kill_only_what_was_answered_since_the_last_commit_was_built_is_explained(
    answered: float, unexplained: int
) -> None:
    """It was made when the newest row in it had been answered, or later; its time says nothing."""
    run = Run()
    first = run.publish(extended_id="C", line="1")
    run.send("a", 11.9, first)
    commit_that_names(run, answered, 18.5)
    run.send("b", HANDOVER + 1, first)
    verdict = run.verdict()
    assert verdict.unexplained == unexplained
    assert kinds(verdict) == ({"repeat"} if unexplained else set())


def test_a_commit_of_another_partition_counts_as_it_holds_all_that_is_due() -> None:
    """But one whose partitions are all given away next may be of that rebalance, and be empty."""
    for later, unexplained in (({0: B, 1: A}, 1), ({0: B, 1: B}, 0)):
        run = Run()
        run.evidence.generations = [
            run.evidence.generations[0]._replace(owners={0: A, 1: A}),
            run.evidence.generations[1]._replace(owners=later),
        ]
        first, other = (
            run.publish(extended_id="C", line="1"),
            run.publish(1, extended_id="D", line="1"),
        )
        run.send("a", 11.9, first)
        run.send("a", 14, other)
        run.evidence.commits.append(CommitEntry(1, 18.5, 1, 1, ""))
        run.send("b", HANDOVER + 1, first)
        assert run.verdict().unexplained == unexplained


def test_a_commit_says_nothing_of_a_partition_that_its_member_has_not_got_any_more() -> None:
    run = Run(end="stop", ended=40)
    run.evidence.generations = [
        run.evidence.generations[0]._replace(owners={0: A, 1: A}),
        Generation(2, 15.0, 2, 2, {0: ("c", "c-1"), 1: A}),
        run.evidence.generations[1],
    ]
    run.evidence.lives.append(Life("c", 2, 9.0, 40.0, "stop", 0))
    run.evidence.troubles = [Trouble("kafka", "a", 12, 14, "down")]
    first, other = run.publish(extended_id="C", line="1"), run.publish(1, extended_id="D", line="1")
    run.send("a", 12, first)
    run.send("a", 17, other)
    run.evidence.commits.append(CommitEntry(3, 17.5, 1, 1, ""))
    run.send("b", HANDOVER + 1, first)
    assert run.verdict().unexplained == 0


def test_a_member_that_gets_a_partition_back_knows_of_what_is_committed_only() -> None:
    """Its last commit of it was lost with the broker: what it commits later shows nothing."""
    run = Run(end="stop", ended=40)
    between = Generation(2, 14.0, 2, 2, {})
    run.evidence.generations[1:1] = [between, Generation(3, 16.0, 3, 2, {0: A})]
    run.evidence.generations[-1] = run.evidence.generations[-1]._replace(place=50)
    run.evidence.troubles = [Trouble("kafka", "", 14.5, 15.5, "broker restarted")]
    first, other = run.publish(extended_id="C", line="1"), run.publish(extended_id="D", line="1")
    run.send("a", 13.9, first)
    run.send("a", 17, other)
    run.evidence.commits.append(
        CommitEntry(4, 18.5, 0, 0, encode(0, 0, [(other, other + 1)], 4000))
    )
    run.send("b", HANDOVER + 1, first)
    assert run.verdict().unexplained == 0


def test_an_answer_that_no_commit_held_for_half_a_minute_though_nothing_happened_is_a_finding() -> (
    None
):
    for answered, unexplained in ((60.0, 0), (20.0, 1)):
        run = Run(ended=61)
        run.evidence.generations[1] = Generation(50, 62.0, 2, 1, {0: B})
        first = run.publish(extended_id="C", line="1")
        run.send("a", answered - 0.1, first)
        run.send("b", 63, first)
        assert run.verdict().unexplained == unexplained


def test_a_late_commit_after_a_broker_restart_says_nothing_of_what_was_answered_since() -> None:
    """Nineteen rows were called unexplained: the commit came 9 ms after their response."""
    run = Run(end="stop", ended=40)
    run.evidence.generations[1] = run.evidence.generations[1]._replace(ids=frozenset({"b-1"}))
    run.evidence.troubles = [Trouble("kafka", "", 11, 13, "broker restarted")]
    rows = [run.publish(extended_id=f"C{number}", line="1") for number in range(19)]
    run.send("a", 14.9, *rows)
    before = run.publish(extended_id="D", line="1")
    run.send("a", 10.5, before)
    run.commit(15.009, 0, encode(0, 0, [(before, before + 1)], 4000))
    run.send("b", HANDOVER + 1, *rows)
    verdict = run.verdict()
    assert verdict.findings == []
    assert verdict.repeats == {"answered since the last commit (kafka)": 19}


def test_a_cut_from_kafka_is_over_when_a_commit_is_taken_that_was_built_after_it() -> None:
    run = Run(end="stop", ended=40)
    run.evidence.troubles = [Trouble("kafka", "a", 11, 12, "down")]
    first, other = run.publish(extended_id="C", line="1"), run.publish(extended_id="D", line="1")
    run.send("a", 13, other)
    run.commit(13.5, 0, encode(0, 0, [(1, 2)], 4000))
    run.send("a", 15, first)
    run.send("b", HANDOVER + 1, first)
    assert run.verdict().unexplained == 1


def test_a_member_that_the_group_threw_out_could_not_commit_its_last_answers() -> None:
    for ids, unexplained in ((frozenset({"a-1", "b-1"}), 1), (frozenset({"b-1"}), 0)):
        run = Run(end="stop", ended=40)
        run.evidence.generations[1] = run.evidence.generations[1]._replace(ids=ids)
        assert repeated(run, 18).unexplained == unexplained


def test_what_a_commit_named_is_never_explained() -> None:
    for offset, metadata in ((1, ""), (0, encode(0, 0, [(1, 2)], 4000))):
        run = Run()
        before = run.publish(extended_id="B", line="1")
        run.commit(HANDOVER - 1.05, offset + (offset > 0), metadata)
        verdict = repeated(run, 18.9, status=None, fault="reset_after")
        assert before == 0
        assert verdict.unexplained == 1, metadata


@pytest.mark.parametrize(("answered", "unexplained"), [(19.9, 0), (19.0, 1)])
def test_after_a_stop_or_a_handover_only_what_was_unanswered_is_explained(
    answered: float, unexplained: int
) -> None:
    for end, ended in (("stop", HANDOVER - 0.05), ("stop", 40.0)):
        run = Run(end=end, ended=ended)
        assert repeated(run, answered).unexplained == unexplained


@pytest.mark.parametrize(("named", "unexplained"), [(12.5, 0), (16, 1)])
def test_a_member_that_was_cut_from_kafka_may_have_answers_that_it_could_not_commit(
    named: float, unexplained: int
) -> None:
    run = Run(end="stop", ended=40)
    first = run.publish(extended_id="C", line="1")
    run.send("a", 13.9, first)
    commit_that_names(run, named, 17)
    run.evidence.troubles = [Trouble("kafka", "a", 17.5, 19, "down")]
    run.send("b", HANDOVER + 1, first)
    assert run.verdict().unexplained == unexplained


# -- records of several rows, and tasks ----------------------------------------------------------


def test_each_row_of_a_record_has_its_own_fate() -> None:
    run = Run()
    codes = ["CODE-1234", "UNKNOWN-1"]
    event = {"type": "ObjectEvent", "epcList": codes, "step": "0"}
    document = run.publish_value(
        lambda _: json.dumps({"epcisBody": {"eventList": [event]}}).encode()
    )
    run.send("a", 12, document)
    assert run.verdict().lost == 1
    headers = [
        ("__connect.errors.partition", b"0"),
        ("__connect.errors.offset", b"0"),
        ("scm.message", b"no"),
    ]
    headers += [
        ("scm.reason", b"unknown_key"),
        ("scm.data_key", b"extended_id"),
        ("scm.key_value", b"UNKNOWN-1"),
    ]
    run.evidence.letters.append(Record(0, 0, b"key", run.evidence.records[0].value, headers))
    assert run.verdict().findings == []
    run.evidence.letters[0] = run.evidence.letters[0]._replace(
        headers=[*headers[:-1], ("scm.key_value", b"CODE-1234")]
    )
    assert kinds(run.verdict()) == {"letters", "lost"}


def test_a_record_goes_again_whole_as_long_as_one_of_its_rows_is_not_settled() -> None:
    for other, why in ((False, OTHER_ROW), (True, "")):
        run = Run(end="stop", ended=HANDOVER - 0.05)
        run.publish_unit("U")
        pair = run.publish_pair("LABEL", "U")
        run.send("a", 12, pair)
        if other:
            run.send("a", 13, pair, row=1)
        for row in (0, 1):
            run.send("b", HANDOVER + 1 + row, pair, row=row)
        assert run.verdict().repeats == ({why: 1} if why else {})


def test_an_older_row_repeated_over_a_newer_one_for_good_is_an_inversion_and_a_wrong_state() -> (
    None
):
    """The worst of all: the older record is half settled, the newer in the map, and not resent."""
    for again, found in ((False, {"order", "state"}), (True, set())):
        run = Run()
        pair, newer = (
            run.publish_pair("LABEL", "U"),
            run.publish(extended_id="LABEL", unit_step="9"),
        )
        run.send("a", 12, pair)
        run.send("a", 18.5, newer)
        run.send("b", HANDOVER + 1, pair)
        run.send("b", HANDOVER + 1, pair, row=1)
        if again:
            run.send("b", HANDOVER + 2, newer)
        verdict = run.verdict()
        assert kinds(verdict) == found
        assert (verdict.inversions, verdict.wrong_states) == ((1, 1) if found else (0, 0))
        assert verdict.older_for_a_while == again


def test_what_a_task_did_is_known_when_its_end_was_told() -> None:
    for told, unexplained in ((HANDOVER - 1, 1), (HANDOVER - 0.1, 0)):
        run = Run(end="stop", ended=HANDOVER - 0.05)
        unit = run.publish_unit("U")
        run.send("a", 18, unit, task="t", answered=told)
        run.send("b", HANDOVER + 1, unit)
        assert run.verdict().unexplained == unexplained


def test_a_task_that_outlasts_a_handover_goes_again_and_may_end_late() -> None:
    run = Run(end="stop", ended=HANDOVER - 0.05)
    unit, newer = run.publish_unit("U"), run.publish_unit("U")
    run.send("a", 11, unit, task="t", status=None, applied=24)
    run.send("b", HANDOVER + 1, unit)
    run.send("b", HANDOVER + 2, newer)
    verdict = run.verdict()
    assert verdict.findings == []
    assert verdict.late == {"a task that outlasted a hand-over (stop)": 1}


def test_a_dead_letter_of_a_row_whose_task_failed_is_no_fault_and_the_row_is_not_awaited() -> None:
    run = Run()
    unit = run.publish_unit("U")
    headers = [
        ("__connect.errors.partition", b"0"),
        ("__connect.errors.offset", b"0"),
        ("scm.message", b"no"),
    ]
    headers += [
        ("scm.reason", b"rejected_by_api"),
        ("scm.data_key", b"case_code"),
        ("scm.key_value", b"U"),
    ]
    run.evidence.letters.append(Record(0, 0, b"key", run.evidence.records[unit].value, headers))
    assert kinds(run.verdict()) == {"letters"}
    run.evidence.failed = frozenset({("case_code", "U")})
    assert run.verdict().findings == []


def test_repeats_of_answered_calls_are_counted_by_how_the_epoch_ended() -> None:
    lost = {"status": None, "fault": "reset_after"}
    for answered, first, counted in ((15, {}, 1), (15, lost, 0), (HANDOVER - 0.1, {}, 0)):
        verdict = repeated(Run(end="stop", ended=HANDOVER - 0.05), answered, **first)
        assert verdict.repeats_of_end["stop"] == counted


def test_rows_sent_by_a_member_that_was_told_in_order_that_the_partition_goes_are_found() -> None:
    run = Run(end="stop", ended=40)
    run.send("a", HANDOVER + 0.5, run.publish(extended_id="C", line="1"))
    assert kinds(run.verdict()) == {"fencing"}


def test_a_row_by_a_life_that_never_had_the_partition_and_one_that_nobody_published_are_found() -> (
    None
):
    run = Run()
    offset = run.publish(extended_id="C", line="1")
    run.send("b", 12, offset)
    run.send("a", 12, offset)
    run.evidence.applications[0] = run.evidence.applications[0]._replace(fields={"step": "99"})
    assert kinds(run.verdict()) >= {"foreign"}
    run = Run()
    run.send("b", 12, run.publish(extended_id="C", line="1"))
    assert kinds(run.verdict()) >= {"ownership"}


def test_what_the_api_holds_in_the_end_is_compared_with_a_replay() -> None:
    run = Run()
    run.send("a", 12, run.publish(extended_id="C", line="1"))
    assert run.verdict().findings == []
    judged = judge(replace(run.evidence, state={"C": {"step": "0", "line": "2"}}))
    assert kinds(judged) == {"state"}


# -- what the coordinator writes down ------------------------------------------------------------


def text(value: str) -> bytes:
    """Return a string of the older formats."""
    return struct.pack(">h", len(value)) + value.encode()


def compact(value: bytes | str) -> bytes:
    """Return a string of the flexible formats."""
    value = value.encode() if isinstance(value, str) else value
    return bytes([len(value) + 1]) + value


def of_a_member(kind: int, member: str, value: bytes | None) -> tuple[bytes, bytes | None]:
    """Return a record about a member of a group of the ``consumer`` protocol."""
    return struct.pack(">h", kind) + text("g") + text(
        member
    ), None if value is None else b"\0\0" + value


def owns(*lists: list[int]) -> bytes:
    """Return its assigned partitions, and those that it is to give up."""
    found = struct.pack(">iib", 7, 6, 0)
    for numbers in lists:
        topic = (
            bytes(16)
            + bytes([len(numbers) + 1])
            + b"".join(struct.pack(">i", n) for n in numbers)
            + b"\0"
        )
        found += b"\x02" + topic if numbers else b"\x01"
    return found + b"\0"


def witnessed(records: list[tuple[bytes, bytes | None]]) -> list[Witnessed]:
    """Return the witness of records read a second apart."""
    return [
        Witnessed(0, place, key, value, [], 1000 * place)
        for place, (key, value) in enumerate(records)
    ]


def test_members_of_the_consumer_protocol_are_known_by_what_is_written_of_each() -> None:
    about = [
        compact(""),
        compact(""),
        compact("m0.1"),
        compact("host"),
        b"\x01\0",
        struct.pack(">i", 1),
        b"\0\0",
    ]
    records = [
        of_a_member(5, "A", b"".join(about)),
        of_a_member(8, "A", owns([0, 1, 2], [])),
        of_a_member(5, "B", b"".join(about).replace(b"m0.1", b"m1.1")),
        of_a_member(8, "B", owns([], [])),
        of_a_member(8, "A", owns([0, 1], [2])),
        of_a_member(8, "A", owns([0, 1], [])),
        of_a_member(8, "B", owns([2], [])),
        of_a_member(8, "A", None),
    ]
    _, generations = decode(witnessed(records), "g", "topic")
    a, b = ("m0.1", "A"), ("m1.1", "B")
    assert [dict(one.owners) for one in generations] == [
        {0: a, 1: a, 2: a},
        {0: a, 1: a, 2: a},
        {0: a, 1: a, 2: a},  # it is to give one up, and has not yet
        {0: a, 1: a},
        {0: a, 1: a, 2: b},
        {2: b},
    ]
    assert [one.ids for one in generations[-2:]] == [frozenset("AB"), frozenset("B")]
    assert {one.protocol for one in generations} == {"consumer"}


def test_a_static_member_is_the_newest_life_of_its_slot_whatever_name_the_group_keeps() -> None:
    assigned = (
        struct.pack(">hi", 0, 1) + text("topic") + struct.pack(">ii", 1, 0) + struct.pack(">i", -1)
    )

    def generation(member: str) -> tuple[bytes, bytes | None]:
        value = (
            struct.pack(">h", 3)
            + text("consumer")
            + struct.pack(">i", 4)
            + text("range")
            + text("A")
        )
        value += (
            struct.pack(">qi", 0, 1) + text(member) + text("slot-2") + text("m2.1") + text("host")
        )
        value += (
            struct.pack(">ii", 1, 1)
            + struct.pack(">i", 0)
            + struct.pack(">i", len(assigned))
            + assigned
        )
        return struct.pack(">h", 2) + text("g"), value

    lives = [Life("m2.1", 2, 0.0), Life("m2.2", 2, 0.5), Life("m1.7", 1, 0.5)]
    _, generations = decode(
        witnessed([generation("A"), generation("B"), generation("A")]), "g", "topic", lives
    )
    assert [dict(one.owners) for one in generations] == [
        {0: ("m2.1", "A")},
        {0: ("m2.2", "B")},
        {0: ("m2.1", "A")},  # by an id that is known
    ]


def test_the_maps_in_the_metadata_are_read_as_they_were_written() -> None:
    rng = random.Random(1)
    for _ in range(300):
        base = rng.randrange(1000)
        settled = sorted(rng.sample(range(base + 1, base + 400), rng.randrange(1, 200)))
        runs: list[tuple[int, int]] = []
        for offset in settled:
            if runs and runs[-1][1] == offset:
                runs[-1] = (runs[-1][0], offset + 1)
            else:
                runs.append((offset, offset + 1))
        commit = CommitEntry(0, 0.0, 3, base, encode(3, base, runs, 4000))
        assert [
            offset for begin, end in settled_beyond(commit) for offset in range(begin, end)
        ] == settled
        assert names(commit, base - 1)
        assert not names(commit, base)
        assert not names(commit._replace(partition=4), settled[0])
