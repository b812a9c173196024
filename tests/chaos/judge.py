"""Judges a run by the contract, from evidence that is not the consumer's own word; the package says the rules."""

from __future__ import annotations

import itertools
import json
import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

from tests.chaos.epochs import Epoch, Ownership
from tests.chaos.evidence import Application, CommitEntry, Evidence, Life, Record, Request, Trouble
from tests.chaos.load import NUMBER, UNIT, UNIT_NUMBER
from tests.chaos.offsets_topic import names

#: An answer may reach the member so much later than another that the API gave after it: answers travel.
SLACK_SECONDS = 1.0
#: A member that stops or hands over waits for its answers: no time passes, but that of two clocks' readings.
HANDOVER_SECONDS = 0.25
#: A hand-over waits so long for what is in flight (api.timeout_seconds and five more); a task may take longer.
WAITED_SECONDS = 8.0
#: A member that nothing happened to gets an answer into a commit within this, whatever the group is at.
UNCOMMITTED_SECONDS = 30.0
#: Faults after which the client cannot know what became of its call.
LOST = frozenset(
    ("late", "timeout_after", "reset_after", "reset_midway", "trickle", "garbage", "empty", "huge", "reset_unread")
)
UNKNOWN = "UNKNOWN"
LOST_ANSWER = "answer lost"
IN_FLIGHT = "in flight at the end"
OTHER_ROW = "another row of its record was not settled"
#: The client sends a commit once more so long after a connection is back, at most.
SENT_AGAIN_SECONDS = 2.0
#: A commit that put the group back is followed by another within this.
MENDED_SECONDS = 5.0
#: How an epoch can end without the member's doing.
VIOLENT = ("kill", "suspended", "kafka")

Place = tuple[int, int]  #: partition and offset
Key = tuple[str, str]  #: data key and key value


class Row(NamedTuple):
    """A row that a record asks for: what is to be applied, or the reason for which it is dead-lettered."""

    data_key: str
    key_value: str
    fields: Mapping[str, str]
    reason: str = ""


class Wanted(NamedTuple):
    """What is to become of a record: its rows, or a letter with this reason; neither: skipped by rule."""

    number: str = ""
    rows: tuple[Row, ...] = ()
    reason: str = ""


@dataclass
class Verdict:
    """What was found; any finding is a failure."""

    findings: list[str] = field(default_factory=list)
    lost: int = 0
    inversions: int = 0
    wrong_states: int = 0
    late: Counter[str] = field(default_factory=Counter)  #: inversions that §7 explains, by what they are
    late_sends: Counter[str] = field(default_factory=Counter)  #: applied rows sent after the partition was lost
    sent_once_more: int = 0  #: commits that put the group back for a moment
    older_for_a_while: int = 0  #: rows that a new owner repeated over newer ones, and then those, too
    records_of_several_rows: int = 0
    tasks: int = 0
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
    if "epcisBody" in event:
        (event,) = event["epcisBody"]["eventList"]
        fields = {NUMBER: event[NUMBER]}
        if "parentID" in event:
            fields[UNIT] = event["parentID"]
        codes = event.get("epcList") or event["childEPCs"]
        return Wanted(event[NUMBER], tuple(_row("extended_id", code, fields) for code in codes))
    if "scm_data" in event:
        fields = event["scm_data"]
        rows = [_row(event["data_key"], event["key_value"], fields)]
        if also := event.get("also_update"):
            rows.append(_row(also["data_key"], also["key_value"], fields))
        return Wanted(fields[UNIT_NUMBER], tuple(rows))
    key = event.pop("extended_id")
    number = event.get(NUMBER) or event[UNIT_NUMBER]
    return Wanted(number, (_row("extended_id", key, event),))


def _row(data_key: str, key_value: str, fields: Mapping[str, str]) -> Row:
    reason = (
        "unknown_key" if key_value.startswith(UNKNOWN) else "invalid_value" if "activation_status" in fields else ""
    )
    return Row(data_key, key_value, fields, reason)


def deserved(reason: str) -> tuple[str, ...]:
    """The reasons with which it may be dead-lettered: a 400 that names no row does not tell of an unknown key."""
    return (reason, "rejected_by_api") if reason == "unknown_key" else (reason,)


class _Judge:
    def __init__(self, evidence: Evidence) -> None:
        self._evidence = evidence
        self._found = Verdict(findings=list(evidence.seen))
        self._ownership = Ownership(evidence.generations, evidence.commits, self._away)
        self._lives: dict[str, Life] = {life.name: life for life in evidence.lives}
        self._wanted: dict[Place, Wanted] = {
            (record.partition, record.offset): wanted(record) for record in evidence.records
        }
        self._records = {
            want.number: record
            for record in evidence.records
            if (want := self._wanted[(record.partition, record.offset)]).number
        }
        self._late_keys: set[Key] = set()
        self._over: dict[Trouble, dict[str, float]] = defaultdict(dict)

    def _away(self, life: str, begin: float, end: float) -> bool:
        kinds = ("kafka", "suspended")
        return any(t.kind in kinds and t.touches(life, begin, end) for t in self._evidence.troubles)

    def verdict(self) -> Verdict:
        self._found.records_of_several_rows = sum(len(want.rows) > 1 for want in self._wanted.values())
        self._found.tasks = sum(bool(request.task) for request in self._evidence.requests)
        sent = list(self._sent())
        self._judge_letters()
        self._judge_loss(sent)
        self._find_times(sent)
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
            if not any(
                (row.data_key, row.key_value, dict(row.fields)) == (one.data_key, one.key_value, sent_of(one))
                for one in want.rows
            ):
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
        #: By place and key, "" where the record gave no row: when the first one was written.
        self._letters: dict[tuple[Place, Key], float] = {}
        for letter in self._evidence.letters:
            headers = {name: value.decode() for name, value in letter.headers}
            place = (int(headers["__connect.errors.partition"]), int(headers["__connect.errors.offset"]))
            key = (headers.get("scm.data_key", ""), headers.get("scm.key_value", ""))
            reason = headers["scm.reason"]
            self._found.letters += 1
            self._found.letters_repeated += (place, key) in self._letters
            self._letters.setdefault((place, key), letter.at)
            original = originals.get(place)
            if original is None or (letter.key, letter.value) != (original.key, original.value):
                self._found.find(f"letters: the letter of {place} is not its record, byte for byte")
                continue
            want = self._wanted[place]
            row = next((row for row in want.rows if (row.data_key, row.key_value) == key), None)
            wrong = reason not in deserved(row.reason if row else want.reason)
            if wrong and not (reason == "rejected_by_api" and key in self._evidence.failed):
                text = headers["scm.message"]
                self._found.find(f"letters: {place} {key} {original.value!r} was dead-lettered as {reason}: {text}")

    def _lettered(self, place: Place, row: Row) -> bool:
        return (place, (row.data_key, row.key_value)) in self._letters

    def _judge_loss(self, sent: list[Sent]) -> None:
        self._applied = {(place_of(one), key_of(one)) for one in sent}
        for place, want in self._wanted.items():
            if want.reason and (place, ("", "")) not in self._letters:
                self._lose(f"{place} {want}")
            for row in want.rows:
                applied = (place, (row.data_key, row.key_value)) in self._applied
                if row.reason and applied:
                    self._found.find(f"rules: {place} {row} was applied, and is to be dead-lettered")
                if not self._lettered(place, row) and (row.reason or not applied):
                    self._lose(f"{place} {row}")
        ends = {partition: end for partition, end in self._evidence.ends.items() if end}
        committed = {partition: self._evidence.committed.get(partition) for partition in ends}
        if committed != ends:
            self._found.find(f"committed: {committed} in the end, and the topic ends at {ends}")

    def _lose(self, what: str) -> None:
        self._found.lost += 1
        self._found.find(f"lost: {what}")

    # -- when ----------------------------------------------------------------------------------------------------

    def _find_times(self, sent: list[Sent]) -> None:
        """When each record can have been settled, and in which epoch it must have been; the commits' times follow."""
        first: dict[tuple[Place, Key], float] = {}
        clean: dict[tuple[Place, Key, Epoch], float] = {}
        for one in sent:
            which = (place_of(one), key_of(one))
            first[which] = min(first.get(which, math.inf), one.row.at)
            if not self._answer_lost(one):
                at = one.request.answered
                clean[(*which, one.epoch)] = min(clean.get((*which, one.epoch), math.inf), at)
        self._clean = clean
        could: dict[Place, float] = {}
        for place, want in self._wanted.items():
            keys = [(row.data_key, row.key_value) for row in want.rows]
            could[place] = max(
                (min(first.get((place, key), math.inf), self._letters.get((place, key), math.inf)) for key in keys),
                default=0.0,
            )
        known = {place: at for place, at in could.items() if at < math.inf}
        self._ownership.date(lambda partition, offset: known.get((partition, offset), 0.0))

    def _settled_in(self, one: Sent) -> float:
        """When the whole record was settled in this epoch, at the latest; for ever, if not by answers that arrived."""
        place = place_of(one)
        keys = [(row.data_key, row.key_value) for row in self._wanted[place].rows]
        return max(self._clean.get((place, key, one.epoch), math.inf) for key in keys)

    # -- order ---------------------------------------------------------------------------------------------------

    def _judge_order(self, sent: list[Sent]) -> None:
        groups: dict[tuple[int, str, str], list[tuple[Sent, bool]]] = defaultdict(list)
        for one in sent:
            groups[(one.record.partition, *key_of(one))].append((one, True))
            if UNIT in one.row.fields:
                groups[(one.record.partition, UNIT, one.row.fields[UNIT])].append((one, False))
        for group in groups.values():
            self._judge_group(group)

    def _judge_group(self, group: list[tuple[Sent, bool]]) -> None:
        """Rows in the order in which they were applied; ``True``: exclusive, ``False``: shared (joins)."""
        furthest: dict[tuple[Epoch, bool], Sent] = {}
        before: set[tuple[int, Key]] = set()
        #: From each row on: the furthest that is still applied, exclusive and shared.
        after = self._still_to_come(group)
        for number, (one, exclusive) in enumerate(group):
            which = (one.record.offset, key_of(one))
            for (epoch, other), far in furthest.items():
                if (exclusive or other) and far.record.offset > one.record.offset:
                    again = after[number][other] >= far.record.offset
                    if self._judge_pair(one, far, epoch, repeated=which in before, again=again):
                        break  # one is enough of each row
            place = (one.epoch, exclusive)
            if place not in furthest or furthest[place].record.offset < one.record.offset:
                furthest[place] = one
            before.add(which)

    @staticmethod
    def _still_to_come(group: list[tuple[Sent, bool]]) -> list[dict[bool, int]]:
        found: list[dict[bool, int]] = []
        furthest = {True: -1, False: -1}
        for one, exclusive in reversed(group):
            found.append(dict(furthest))
            furthest[exclusive] = max(furthest[exclusive], one.record.offset)
        return found[::-1]

    def _judge_pair(self, one: Sent, far: Sent, epoch: Epoch, *, repeated: bool, again: bool) -> bool:
        """``one`` was applied after ``far``, which stands behind it in the partition; whether that is an inversion.

        ``again``: ``far``, or a later one, was applied after it once more.
        """
        own = one.epoch
        if own.place > epoch.place and repeated and again:
            self._found.older_for_a_while += 1
            return False  # a new owner repeats, and catches up; whether it should is another question
        what = ""
        if not one.request.task and one.row.at - one.request.received > self._evidence.max_processing:
            what = "applied later than max_processing_seconds allows"
        elif own.place < epoch.place and one.request.received < epoch.begin:
            how = self._end_of(own, one, epoch)
            if how in VIOLENT:
                what = f"already sent before its member's partition was given away ({how})"
            elif one.request.task and one.row.at - one.request.received > WAITED_SECONDS:
                what = f"a task that outlasted a hand-over ({how})"
        if what:
            self._found.late[what] += 1
            self._late_keys.add(key_of(one))
        else:
            self._found.inversions += 1
            left = ", once more, and no newer one after it" if own.place > epoch.place and repeated else ""
            self._found.find(f"order: {one}\n  was applied after {far}{left}\n  [{own} / {epoch}]")
        return not what

    def _judge_late_sends(self, sent: list[Sent]) -> None:
        for one in sent:
            newest = self._ownership.newest(one.record.partition, one.request.received)
            if newest is not None and newest.place > one.epoch.place:
                how = self._end_of(one.epoch, one, newest)
                self._found.late_sends[f"{how}, {one.request.received - newest.begin:.0f} s late"] += 1
                if how not in VIOLENT:
                    self._found.find(f"fencing: {one}\n  was sent when the partition was {newest.life}'s")

    # -- repeats -------------------------------------------------------------------------------------------------

    def _judge_repeats(self, sent: list[Sent]) -> None:
        rows: dict[tuple[Place, Key], list[Sent]] = defaultdict(list)
        for one in sent:
            rows[(place_of(one), key_of(one))].append(one)
        self._found.repeats_by_kill = {life.name: 0 for life in self._evidence.lives if life.end == "kill"}
        for many in rows.values():
            many.sort(key=lambda one: one.request.received)
            for one, again in pairwise(many):
                self._judge_repeat(one, again)

    def _judge_repeat(self, one: Sent, again: Sent) -> None:
        why = self._why_repeated(one, again)
        if one.epoch != again.epoch:
            how = self._end_of(one.epoch, one, again.epoch)
            counts = why not in (LOST_ANSWER, OTHER_ROW) and not why.startswith(IN_FLIGHT)
            self._found.repeats_of_end[how] += counts
            if how == "kill":
                self._found.repeats_by_kill[one.epoch.life] += 1
        if why:
            self._found.repeats[why] += 1
        else:
            base = self._ownership.base(again.record.partition, again.epoch.place)
            self._found.unexplained += 1
            self._found.find(f"repeat: {one}\n  again as {again}\n  [{one.epoch} / {again.epoch}, from {base}]")

    def _why_repeated(self, one: Sent, again: Sent) -> str:
        """The explanation; empty: there is none."""
        lost = self._answer_lost(one)
        if one.epoch == again.epoch:
            return LOST_ANSWER if lost else ""
        epoch = again.epoch
        base = self._ownership.base(again.record.partition, epoch.place)
        if base is not None and names(base, one.record.offset) and epoch.place > one.epoch.place:
            return ""  # the commit said that it is settled
        if lost:
            return LOST_ANSWER
        settled = self._settled_in(one)
        if settled == math.inf:
            return OTHER_ROW
        if self._left_out(one, epoch, settled):
            return ""
        how = self._end_of(one.epoch, one, epoch)
        if how in ("stop", "rebalance"):
            outlasted = one.request.task and settled - one.request.received >= WAITED_SECONDS
            return f"{IN_FLIGHT} ({how})" if outlasted or settled >= epoch.begin - HANDOVER_SECONDS else ""
        ended = self._lives[one.epoch.life].ended if how == "kill" else None
        until = epoch.begin if ended is None else min(ended, epoch.begin)
        if settled >= until:
            return f"{IN_FLIGHT} ({how})"
        if how == "kill":
            if until - settled > UNCOMMITTED_SECONDS and not self._touching(one.epoch.life, settled, until):
                return ""
            self._found.oldest_repeat = max(self._found.oldest_repeat, until - settled)
        return f"answered since the last commit ({how})"

    def _left_out(self, one: Sent, until: Epoch, settled: float) -> bool:
        """Whether a commit of its member was built when the record was settled, was taken, and does not say so."""
        partition, offset = place_of(one)
        # A later epoch of the same member began with what was committed, and knows of nothing else.
        end = min(until.place, self._ownership.end_of(partition, one.epoch))
        for commit in self._ownership.commits_of(one.epoch.member, one.epoch.place, end):
            if commit.built < settled + SLACK_SECONDS:
                continue
            entry = commit.entries.get(partition)
            if entry is None and commit.whole and self._ownership.holds(commit, partition):
                entry = self._ownership.base(partition, commit.place)  # nothing new was to be said of it
                if entry is None:
                    return True
            if entry is not None and not names(entry, offset):
                return True
        return False

    def _answer_lost(self, one: Sent) -> bool:
        request = one.request
        if request.status is None or LOST & set(request.fault.split("+")):
            return True
        asked = request.asked or request.received
        if request.answered - asked > self._evidence.request_timeout - 0.1:
            return True
        return any(
            trouble.kind in ("api", "suspended") and trouble.touches(request.life, asked - 0.1, request.answered + 0.3)
            for trouble in self._evidence.troubles
        )

    def _end_of(self, epoch: Epoch, one: Sent, after: Epoch) -> str:
        """How an epoch ended, from a request in it on: kill, stop, suspended, kafka, or rebalance and nothing else.

        "thrown out": the group did that to the member, and nothing is known to have happened to it.
        """
        life = self._lives[epoch.life]
        begin, end = one.request.received - SLACK_SECONDS, after.begin
        touched = self._touching(life.name, begin, end)
        if life.ended is not None and life.ended <= end and life.end == "kill":
            return "kill"
        if "suspended" in touched:
            return "suspended"
        if "kafka" in touched:
            return "kafka"
        if life.ended is not None and life.ended <= end:
            return "stop"
        return "rebalance" if self._ownership.stayed(epoch, after.place) else "thrown out"

    def _touching(self, life: str, begin: float, end: float) -> set[str]:
        """What happened to a life in that time; being cut off from Kafka lasts until it is seen to be over."""
        return {
            trouble.kind
            for trouble in self._evidence.troubles
            if trouble.where in ("", life) and trouble.begin <= end and begin <= self._over_at(trouble, life)
        }

    def _over_at(self, trouble: Trouble, life: str) -> float:
        """When a life was seen to be over it: when a commit was taken that it built after the end.

        What was cut is back then, but the client waits before it connects again, up to ten seconds and more; commits
        that it kept meanwhile come first, and may be all that the group takes before it throws the member out.
        """
        if trouble.kind != "kafka":
            return trouble.end
        known = self._over[trouble]
        if life not in known:
            commits = self._ownership.of_life(life)
            known[life] = next((c.at for c in commits if c.at >= trouble.end and c.built >= trouble.end), math.inf)
        return known[life]

    # -- the end -------------------------------------------------------------------------------------------------

    def _judge_commits(self) -> None:
        """The group never goes back, but for a commit that the client sends once more after a cut, until the next."""
        for partition in {commit.partition for commit in self._evidence.commits}:
            entries = self._ownership.entries(partition)
            furthest = 0
            for number, entry in enumerate(entries):
                if entry.offset < furthest and not self._sent_once_more(entry, furthest, entries[number + 1 :]):
                    self._found.find(f"committed: went back in [{partition}] from {furthest}: {entry}")
                furthest = max(furthest, entry.offset)

    def _sent_once_more(self, entry: CommitEntry, furthest: int, later: Sequence[CommitEntry]) -> bool:
        """Whether the client sent this commit anew behind a later one, and the member mended that, if it lived."""
        holder = self._ownership.holder(entry)
        if holder is None or "kafka" not in self._touching(holder.life, entry.at - SENT_AGAIN_SECONDS, entry.at):
            return False
        self._found.sent_once_more += 1
        own = list(itertools.takewhile(lambda other: self._held_by(holder.member, other), later))
        mended = any(other.offset >= furthest for other in own)
        life = self._lives[holder.life]
        ends = life.ended if life.end == "kill" else None
        return mended or (ends is not None and ends < entry.at + MENDED_SECONDS)

    def _held_by(self, member: str, entry: CommitEntry) -> bool:
        holder = self._ownership.holder(entry)
        return holder is not None and holder.member == member

    def _judge_state(self) -> None:
        """The API holds what a replay of the topic gives, but for keys that a dead member's late request hit."""
        state: dict[str, dict[str, str]] = defaultdict(dict)
        children: dict[str, dict[str, None]] = defaultdict(dict)
        for place, want in self._wanted.items():
            for row in want.rows:
                key = (row.data_key, row.key_value)
                if row.reason or (self._lettered(place, row) and (place, key) not in self._applied):
                    continue
                if UNIT in row.fields:
                    children[row.fields[UNIT]][row.key_value] = None
                for code in children[row.key_value] if row.data_key == UNIT else (row.key_value,):
                    state[code].update(row.fields)
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
        self._found.wrong_states = wrong
        if wrong > 5:
            self._found.find(f"state: {wrong} codes are not what they should be")


def place_of(one: Sent) -> Place:
    """Where its record stands."""
    return one.record.partition, one.record.offset


def key_of(one: Sent) -> Key:
    """What its row updates."""
    return one.row.data_key, one.row.key_value


def sent_of(row: Row) -> dict[str, str]:
    """The fields of a row as they are sent."""
    return {name: value for name, value in row.fields.items() if value is not None}
