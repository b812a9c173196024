"""Judges a run by the contract, from evidence that is not the consumer's own word; the package says the rules."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

from tests.chaos.epochs import Epoch, Ownership
from tests.chaos.evidence import Application, Evidence, Life, Record, Request
from tests.chaos.load import NUMBER, UNIT, UNIT_NUMBER
from tests.chaos.offsets_topic import names

#: Between the API's answer and the commit that can hold it: answers travel.
SLACK_SECONDS = 1.0
#: A member that stops or hands over waits for its answers: no time passes, but that of two clocks' readings.
HANDOVER_SECONDS = 0.25
#: Faults after which the client cannot know what became of its call.
LOST = frozenset(
    ("late", "timeout_after", "reset_after", "reset_midway", "trickle", "garbage", "empty", "huge", "reset_unread")
)
UNKNOWN = "UNKNOWN"
LOST_ANSWER = "answer lost"
IN_FLIGHT = "in flight at the end"


class Wanted(NamedTuple):
    """What is to become of a record: a row, or a letter with this reason; neither: skipped by rule."""

    data_key: str = ""
    key_value: str = ""
    number: str = ""
    fields: dict[str, str] = {}  # noqa: RUF012 - never changed
    reason: str = ""


@dataclass
class Verdict:
    """What was found; any finding is a failure."""

    findings: list[str] = field(default_factory=list)
    lost: int = 0
    inversions: int = 0
    late: Counter[str] = field(default_factory=Counter)  #: inversions that §7 explains, by what they are
    late_sends: Counter[str] = field(default_factory=Counter)  #: applied rows sent after the partition was lost
    repeats: Counter[str] = field(default_factory=Counter)  #: explained, by cause
    repeats_of_end: Counter[str] = field(default_factory=Counter)  #: of answered calls, by how their epoch ended
    unexplained: int = 0
    repeats_by_kill: dict[str, int] = field(default_factory=dict)
    oldest_repeat: float = 0.0  #: seconds from an answer to the kill that lost it, or to the next epoch
    letters: int = 0
    letters_repeated: int = 0

    def find(self, what: str) -> None:
        """Add a finding."""
        self.findings.append(what)


class Sent(NamedTuple):
    """An application with all that is known of it."""

    row: Application
    request: Request
    record: Record
    epoch: Epoch

    def __str__(self) -> str:
        row, request = self.row, self.request
        return (
            f"{row.data_key}={row.key_value} of [{self.record.partition}]@{self.record.offset} by {self.epoch.life}, "
            f"request {request.number} received {request.received:.3f}, answered {request.answered:.3f} "
            f"({request.status} {request.fault}), applied {row.at:.3f}"
        )


def judge(evidence: Evidence) -> Verdict:
    """Everything that can be held against the run."""
    return _Judge(evidence).verdict()


def wanted(record: Record) -> Wanted:
    """What is to become of a record, by the events page."""
    if record.value is None:
        return Wanted()
    try:
        event = json.loads(record.value)
    except ValueError:
        return Wanted(reason="undecodable")
    if "scm_data" in event:
        fields = event["scm_data"]
        return Wanted(event["data_key"], event["key_value"], fields[UNIT_NUMBER], fields)
    key = event.pop("extended_id")
    reason = "unknown_key" if key.startswith(UNKNOWN) else "invalid_value" if "activation_status" in event else ""
    return Wanted("extended_id", key, event[NUMBER], event, reason)


def deserved(want: Wanted) -> tuple[str, ...]:
    """The reasons with which a record may be dead-lettered: a 400 that names no row does not tell of an unknown key."""
    return (want.reason, "rejected_by_api") if want.reason == "unknown_key" else (want.reason,)


class _Judge:
    def __init__(self, evidence: Evidence) -> None:
        self._evidence = evidence
        self._found = Verdict(findings=list(evidence.seen))
        self._ownership = Ownership(evidence.generations, evidence.commits, self._away)
        self._lives: dict[str, Life] = {life.name: life for life in evidence.lives}
        self._wanted = {(record.partition, record.offset): wanted(record) for record in evidence.records}
        self._records = {self._wanted[(record.partition, record.offset)].number: record for record in evidence.records}
        self._late_keys: set[tuple[str, str]] = set()
        self._last_builts: dict[tuple[str, float], float] = {}

    def _away(self, life: str, begin: float, end: float) -> bool:
        kinds = ("kafka", "suspended")
        return any(t.kind in kinds and t.touches(life, begin, end) for t in self._evidence.troubles)

    def verdict(self) -> Verdict:
        sent = list(self._sent())
        self._judge_letters()
        self._judge_loss(sent)
        self._judge_order(sent)
        self._judge_repeats(sent)
        self._judge_late_sends(sent)
        self._judge_commits()
        self._judge_state()
        for rule, count in self._evidence.broken_rules.items():
            if rule != "unknown_key":  # only the API knows which keys there are
                self._found.find(f"rules: {count} requests broke the API's rule {rule}")
        return self._found

    # -- lost ----------------------------------------------------------------------------------------------------

    def _sent(self) -> Iterator[Sent]:
        requests = {request.number: request for request in self._evidence.requests}
        for row in self._evidence.applications:
            record = self._records.get(row.fields.get(NUMBER) or row.fields.get(UNIT_NUMBER) or "")
            if record is None:
                self._found.find(f"foreign: a row was applied that nobody published: {row}")
                continue
            want = self._wanted[(record.partition, record.offset)]
            if (row.data_key, row.key_value, dict(row.fields)) != (want.data_key, want.key_value, sent_of(want)):
                self._found.find(f"foreign: {row} is not what was published: {want}")
                continue
            request = requests[row.request]
            epoch = self._ownership.epoch(record.partition, request.life, request.received)
            if epoch is None:
                self._found.find(
                    f"ownership: {request.life} sent a row of [{record.partition}], which it never had: {row}"
                )
                continue
            yield Sent(row, request, record, epoch)

    def _judge_letters(self) -> None:
        originals = {(record.partition, record.offset): record for record in self._evidence.records}
        self._letters: dict[tuple[int, int], str] = {}
        for letter in self._evidence.letters:
            headers = dict(letter.headers)
            place = (
                int(headers["__connect.errors.partition"]),
                int(headers["__connect.errors.offset"]),
            )
            reason = headers["scm.reason"].decode()
            self._found.letters += 1
            self._found.letters_repeated += place in self._letters
            self._letters[place] = reason
            original = originals.get(place)
            if original is None or (letter.key, letter.value) != (original.key, original.value):
                self._found.find(f"letters: the letter of {place} is not its record, byte for byte")
            elif reason not in deserved(self._wanted[place]):
                text = headers["scm.message"].decode()
                self._found.find(f"letters: {place} {original.value!r} was dead-lettered as {reason}: {text}")

    def _judge_loss(self, sent: list[Sent]) -> None:
        applied = {(one.record.partition, one.record.offset) for one in sent}
        for place, want in self._wanted.items():
            if want.reason:
                done = place in self._letters
                if place in applied:
                    self._found.find(f"rules: {place} was applied, and is to be dead-lettered as {want.reason}")
            else:
                done = place in applied or not want.number or place in self._letters
            if not done:
                self._found.lost += 1
                self._found.find(f"lost: {place} {want}")
        ends = {partition: end for partition, end in self._evidence.ends.items() if end}
        committed = {partition: self._evidence.committed.get(partition) for partition in ends}
        if committed != ends:
            self._found.find(f"committed: {committed} in the end, and the topic ends at {ends}")

    # -- order ---------------------------------------------------------------------------------------------------

    def _judge_order(self, sent: list[Sent]) -> None:
        groups: dict[tuple[int, str, str], list[tuple[Sent, bool]]] = defaultdict(list)
        for one in sent:
            groups[(one.record.partition, one.row.data_key, one.row.key_value)].append((one, True))
            if UNIT in one.row.fields:
                groups[(one.record.partition, UNIT, one.row.fields[UNIT])].append((one, False))
        for group in groups.values():
            self._judge_group(group)

    def _judge_group(self, group: list[tuple[Sent, bool]]) -> None:
        """Rows in the order in which they were applied; ``True``: exclusive, ``False``: shared (joins)."""
        furthest: dict[tuple[Epoch, bool], Sent] = {}
        before: set[int] = set()
        for one, exclusive in group:
            for (epoch, other), far in furthest.items():
                if (exclusive or other) and far.record.offset > one.record.offset:
                    self._judge_pair(one, far, epoch, repeated=one.record.offset in before)
            place = (one.epoch, exclusive)
            if place not in furthest or furthest[place].record.offset < one.record.offset:
                furthest[place] = one
            before.add(one.record.offset)

    def _judge_pair(self, one: Sent, far: Sent, epoch: Epoch, *, repeated: bool) -> None:
        """``one`` was applied after ``far``, which stands behind it in the partition."""
        own = one.epoch
        if own.place > epoch.place and repeated:
            return  # a new owner repeats; whether it should is another question
        what = ""
        if one.row.at - one.request.received > self._evidence.max_processing:
            what = "applied later than max_processing_seconds allows"
        elif own.place < epoch.place and one.request.received < epoch.begin:
            how = self._end_of(own, one, epoch)
            if how in ("kill", "suspended", "kafka"):
                what = f"already sent before its member's partition was given away ({how})"
        if what:
            self._found.late[what] += 1
            self._late_keys.add((one.row.data_key, one.row.key_value))
        else:
            self._found.inversions += 1
            self._found.find(f"order: {one}\n  was applied after {far}\n  [{own} / {epoch}]")

    def _judge_late_sends(self, sent: list[Sent]) -> None:
        for one in sent:
            newest = self._ownership.newest(one.record.partition, one.request.received)
            if newest is not None and newest.place > one.epoch.place:
                how = self._end_of(one.epoch, one, newest)
                self._found.late_sends[f"{how}, {one.request.received - newest.begin:.0f} s late"] += 1
                if how not in ("suspended", "kafka", "kill"):
                    self._found.find(f"fencing: {one}\n  was sent when the partition was {newest.life}'s")

    # -- repeats -------------------------------------------------------------------------------------------------

    def _judge_repeats(self, sent: list[Sent]) -> None:
        rows: dict[tuple[int, int], list[Sent]] = defaultdict(list)
        for one in sent:
            rows[(one.record.partition, one.record.offset)].append(one)
        self._found.repeats_by_kill = {life.name: 0 for life in self._evidence.lives if life.end == "kill"}
        for many in rows.values():
            many.sort(key=lambda one: one.request.received)
            for one, again in pairwise(many):
                self._judge_repeat(one, again)

    def _judge_repeat(self, one: Sent, again: Sent) -> None:
        why = self._why_repeated(one, again)
        if one.epoch != again.epoch:
            how = self._end_of(one.epoch, one, again.epoch)
            self._found.repeats_of_end[how] += why != LOST_ANSWER and not why.startswith(IN_FLIGHT)
            if how == "kill":
                self._found.repeats_by_kill[one.epoch.life] += 1
        if why:
            self._found.repeats[why] += 1
        else:
            base = self._ownership.base(again.record.partition, again.epoch)
            self._found.unexplained += 1
            self._found.find(f"repeat: {one}\n  again as {again}\n  [{one.epoch} / {again.epoch}, from {base}]")

    def _why_repeated(self, one: Sent, again: Sent) -> str:
        """The explanation; empty: there is none."""
        lost = self._answer_lost(one)
        if one.epoch == again.epoch:
            return LOST_ANSWER if lost else ""
        epoch = again.epoch
        base = self._ownership.base(again.record.partition, epoch)
        if base is not None and names(base, one.record.offset) and epoch.place > one.epoch.place:
            return ""  # the commit said that it is settled
        if lost:
            return LOST_ANSWER
        how = self._end_of(one.epoch, one, epoch)
        answered = one.request.answered
        if how in ("stop", "rebalance"):
            return f"{IN_FLIGHT} ({how})" if answered >= epoch.begin - HANDOVER_SECONDS else ""
        ended = self._lives[one.epoch.life].ended if how == "kill" else None
        until = epoch.begin if ended is None else min(ended, epoch.begin)
        if answered >= until:
            return f"{IN_FLIGHT} ({how})"
        closed = min(epoch.begin, self._ownership.closed(one.record.partition, one.epoch))
        if answered >= self._last_built(one.epoch.member, closed) - SLACK_SECONDS:
            if how == "kill":
                self._found.oldest_repeat = max(self._found.oldest_repeat, min(until, closed) - answered)
            return f"answered since the last commit ({how})"
        return ""

    def _answer_lost(self, one: Sent) -> bool:
        request = one.request
        if request.status is None or LOST & set(request.fault.split("+")):
            return True
        if request.answered - request.received > self._evidence.request_timeout - 0.1:
            return True
        return any(
            trouble.kind in ("api", "suspended")
            and trouble.touches(request.life, request.received - 0.1, request.answered + 0.3)
            for trouble in self._evidence.troubles
        )

    def _end_of(self, epoch: Epoch, one: Sent, after: Epoch) -> str:
        """How an epoch ended, from a request in it on: kill, stop, suspended, kafka, or rebalance and nothing else."""
        life = self._lives[epoch.life]
        begin, end = one.request.received - SLACK_SECONDS, after.begin
        touched = {t.kind for t in self._evidence.troubles if t.touches(life.name, begin, end)}
        if life.ended is not None and life.ended <= end and life.end == "kill":
            return "kill"
        if "suspended" in touched:
            return "suspended"
        if "kafka" in touched:
            return "kafka"
        return "stop" if life.ended is not None and life.ended <= end else "rebalance"

    def _last_built(self, member: str, before: float) -> float:
        key = (member, before)
        if key not in self._last_builts:
            self._last_builts[key] = self._ownership.last_built_of(member, before)
        return self._last_builts[key]

    # -- the end -------------------------------------------------------------------------------------------------

    def _judge_commits(self) -> None:
        furthest: dict[int, int] = {}
        for commit in self._evidence.commits:
            if commit.offset < furthest.get(commit.partition, 0):
                self._found.find(
                    f"committed: went back in [{commit.partition}] from {furthest[commit.partition]}: {commit}"
                )
            furthest[commit.partition] = max(commit.offset, furthest.get(commit.partition, 0))

    def _judge_state(self) -> None:
        """The API holds what a replay of the topic gives, but for keys that a dead member's late request hit."""
        state: dict[str, dict[str, str]] = defaultdict(dict)
        children: dict[str, dict[str, None]] = defaultdict(dict)
        for want in self._wanted.values():
            if want.reason or not want.number:
                continue
            if UNIT in want.fields:
                children[want.fields[UNIT]][want.key_value] = None
            for code in children[want.key_value] if want.data_key == UNIT else (want.key_value,):
                state[code].update(want.fields)
        wrong = 0
        for code in state.keys() | self._evidence.state.keys():
            should = {name: value for name, value in state.get(code, {}).items() if value}
            unit = should.get(UNIT, "")
            if {("extended_id", code), (UNIT, unit)} & self._late_keys:
                continue
            has = dict(self._evidence.state.get(code, {}))
            if has != should:
                wrong += 1
                if wrong <= 5:
                    self._found.find(f"state: {code} is {has}, and should be {should}")
        if wrong > 5:
            self._found.find(f"state: {wrong} codes are not what they should be")


def sent_of(want: Wanted) -> dict[str, str]:
    """The fields of a row as they are sent."""
    return {name: value for name, value in want.fields.items() if value is not None}
