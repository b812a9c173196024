"""The judge of chaos is judged: a good run passes, and each thing that it is there for is seen when it is done."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from typing import Any

import pytest

from consumer.core.settled_map import encode
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
from tests.chaos.judge import Verdict, judge
from tests.chaos.offsets_topic import names, settled_beyond

A, B = ("a", "a-1"), ("b", "b-1")
HANDOVER = 20.0  #: when b takes over from a


class Run:
    """A run of one partition, written down step by step; ``a`` owns it from 10.0 on, ``b`` from HANDOVER on."""

    def __init__(self, end: str = "kill", ended: float = HANDOVER - 1) -> None:
        self.evidence = Evidence(0, max_processing=9, request_timeout=3, max_unsettled_rows=100)
        self.evidence.lives = [Life("a", 0, 9.0, ended, end, 0), Life("b", 1, 9.0, 40.0, "stop", 0)]
        self.evidence.generations = [Generation(0, 10.0, 1, 1, {0: A}), Generation(50, HANDOVER, 2, 1, {0: B})]
        self._place = 0

    def publish(self, **event: Any) -> int:
        """Publish a flat event; its offset, which is also its number."""
        return self.publish_value(lambda offset: json.dumps(event | {"step": str(offset)}).encode())

    def publish_unit(self, unit: str) -> int:
        """Publish an update of a unit."""

        def value(offset: int) -> bytes:
            fields = {"unit_step": str(offset)}
            return json.dumps({"data_key": "case_code", "key_value": unit, "scm_data": fields}).encode()

        return self.publish_value(value)

    def publish_value(self, value: Any) -> int:
        """Publish whatever this gives for the offset."""
        offset = len(self.evidence.records)
        self.evidence.records.append(Record(0, offset, b"key", value(offset), []))
        self.evidence.ends = self.evidence.committed = {0: offset + 1}
        return offset

    def send(
        self, life: str, at: float, *offsets: int, status: int | None = 200, fault: str = "", applied: float = 0.0
    ) -> None:
        """A request with these records, and its application."""
        number = len(self.evidence.requests) + 1
        self.evidence.requests.append(Request(number, life, at, at + 0.1, status, fault, len(offsets)))
        for offset in offsets:
            event = json.loads(self.evidence.records[offset].value or b"")
            if "scm_data" in event:
                row = (event["data_key"], event["key_value"], event["scm_data"])
            else:
                row = ("extended_id", event.pop("extended_id"), event)
            self.evidence.applications.append(Application(0, number, *row, applied or at + 0.1))
        self.evidence.applications.sort(key=lambda row: row.at)

    def commit(self, at: float, offset: int, metadata: str = "") -> None:
        """The broker writes a commit down."""
        self._place += 1
        place = self._place + (50 if at > HANDOVER else 0)
        self.evidence.commits.append(CommitEntry(place, at, 0, offset, metadata))

    def verdict(self) -> Verdict:
        """The judge's, over the state that the applications left."""
        codes: dict[str, dict[str, str]] = {}
        for row in self.evidence.applications:
            for code in [row.key_value] if row.data_key == "extended_id" else list(codes):
                if row.data_key == "extended_id" or codes[code].get("case_code") == row.key_value:
                    codes.setdefault(code, {}).update(row.fields)
        self.evidence.state = codes
        return judge(self.evidence)


def kinds(verdict: Verdict) -> set[str]:
    """What was found, by the word before the colon."""
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
        headers = [("__connect.errors.partition", b"0"), ("__connect.errors.offset", str(offset).encode())]
        headers += [("scm.reason", b"undecodable"), ("scm.message", b"no")]
        run.evidence.letters.append(Record(0, 0, b"key", value, headers))
    assert [finding.partition(":")[0] for finding in run.verdict().findings if "letters" in finding] == ["letters"] * 2


def test_committed_has_to_be_the_end_and_never_to_go_back() -> None:
    run = Run()
    run.send("a", 12, run.publish(extended_id="C", line="1"))
    run.commit(13, 1)
    run.commit(14, 0)
    run.evidence.committed = {0: 0}
    assert [finding.partition(":")[0] for finding in run.verdict().findings] == ["committed"] * 2


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


def test_a_row_that_a_new_owner_applies_for_the_first_time_after_a_later_one_is_an_inversion() -> None:
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
    """A record that ``a`` has applied, answered at that time, and ``b`` applies again."""
    offset = run.publish(extended_id="C", line="1")
    run.send("a", answered - 0.1, offset, **first)
    run.send("b", HANDOVER + 1, offset)
    return run.verdict()


def test_a_repeat_in_one_epoch_needs_a_lost_answer() -> None:
    for status, fault, unexplained in ((200, "", 1), (None, "reset_after", 0), (200, "latency+garbage", 0)):
        run = Run()
        offset = run.publish(extended_id="C", line="1")
        run.send("a", 11, offset, status=status, fault=fault)
        run.send("a", 12, offset)
        assert run.verdict().unexplained == unexplained, fault


def test_after_a_kill_only_what_was_answered_since_the_last_commit_was_built_is_explained() -> None:
    for commits, unexplained in (((), 0), ((15,), 0), ((11, 15), 0), ((14, 15), 1), ((11, 14, 15), 1)):
        run = Run()
        for at in commits:
            run.commit(at, 0)
        verdict = repeated(run, 12)
        assert verdict.unexplained == unexplained, commits
        assert kinds(verdict) == ({"repeat"} if unexplained else set())


def test_the_entries_of_one_commit_are_one() -> None:
    run = Run()
    run.evidence.generations = [replace_owners(run.evidence.generations[0], {0: A, 1: A}), run.evidence.generations[1]]
    run.commit(15, 0)
    run.evidence.commits.append(CommitEntry(1, 15, 1, 7, ""))
    assert repeated(run, 12).unexplained == 0


def test_a_commit_of_another_partition_counts_as_it_holds_all_that_is_due() -> None:
    run = Run()
    run.evidence.generations = [replace_owners(run.evidence.generations[0], {0: A, 1: A}), run.evidence.generations[1]]
    run.evidence.commits += [CommitEntry(1, 14, 1, 7, ""), CommitEntry(2, 15, 1, 8, "")]
    assert repeated(run, 12).unexplained == 1


def replace_owners(generation: Generation, owners: dict[int, tuple[str, str]]) -> Generation:
    return generation._replace(owners=owners)


def test_what_a_commit_named_is_never_explained() -> None:
    for offset, metadata in ((1, ""), (0, encode(0, 0, [(1, 2)], 4000))):
        run = Run()
        before = run.publish(extended_id="B", line="1")
        run.commit(HANDOVER - 1.05, offset + (offset > 0), metadata)
        verdict = repeated(run, 18.9, status=None, fault="reset_after")
        assert before == 0
        assert verdict.unexplained == 1, metadata


@pytest.mark.parametrize(("answered", "unexplained"), [(19.9, 0), (19.0, 1)])
def test_after_a_stop_or_a_handover_only_what_was_unanswered_is_explained(answered: float, unexplained: int) -> None:
    for end, ended in (("stop", HANDOVER - 0.05), ("stop", 40.0)):
        run = Run(end=end, ended=ended)
        assert repeated(run, answered).unexplained == unexplained


def test_a_member_that_was_cut_from_kafka_may_have_answers_that_it_could_not_commit() -> None:
    run = Run(end="stop", ended=40)
    run.commit(12.5, 0)
    run.commit(13, 0)
    run.evidence.troubles = [Trouble("kafka", "a", 13, 19, "down")]
    assert repeated(run, 18).findings == []
    run = Run(end="stop", ended=40)
    run.commit(16, 0)
    run.commit(17, 0)
    run.evidence.troubles = [Trouble("kafka", "a", 17.5, 19, "down")]
    assert repeated(run, 14).unexplained == 1


def test_repeats_of_answered_calls_are_counted_by_how_the_epoch_ended() -> None:
    lost = {"status": None, "fault": "reset_after"}
    for answered, first, counted in ((15, {}, 1), (15, lost, 0), (HANDOVER - 0.1, {}, 0)):
        verdict = repeated(Run(end="stop", ended=HANDOVER - 0.05), answered, **first)
        assert verdict.repeats_of_end["stop"] == counted


def test_rows_sent_by_a_member_that_was_told_in_order_that_the_partition_goes_are_found() -> None:
    run = Run(end="stop", ended=40)
    run.send("a", HANDOVER + 0.5, run.publish(extended_id="C", line="1"))
    assert kinds(run.verdict()) == {"fencing"}


def test_a_row_by_a_life_that_never_had_the_partition_and_one_that_nobody_published_are_found() -> None:
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


def test_the_maps_in_the_metadata_are_read_as_they_were_written() -> None:
    draw = random.Random(1)
    for _ in range(300):
        base = draw.randrange(1000)
        settled = sorted(draw.sample(range(base + 1, base + 400), draw.randrange(1, 200)))
        runs: list[tuple[int, int]] = []
        for offset in settled:
            if runs and runs[-1][1] == offset:
                runs[-1] = (runs[-1][0], offset + 1)
            else:
                runs.append((offset, offset + 1))
        commit = CommitEntry(0, 0.0, 3, base, encode(3, base, runs, 4000))
        assert [offset for begin, end in settled_beyond(commit) for offset in range(begin, end)] == settled
        assert names(commit, base - 1)
        assert not names(commit, base)
        assert not names(commit._replace(partition=4), settled[0])
