"""The judge of a chaos run: by the contract, from evidence that is not the consumer's own word.

The package says the rules.
"""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Iterator, Sequence

from tests.chaos.case import Case, Sent, Verdict, key_of, place_of
from tests.chaos.epochs import Epoch
from tests.chaos.evidence import CommitEntry, Evidence
from tests.chaos.load import NUMBER, UNIT, UNIT_NUMBER
from tests.chaos.order import judge_late_sends, judge_order
from tests.chaos.repeats import judge_repeats
from tests.chaos.wanted import Key, Place, deserved, sent_of

#: The client sends a commit once more so long after a connection is back, at most.
SENT_AGAIN_SECONDS = 2.0
#: A commit that put the group back is followed by another within this.
MENDED_SECONDS = 5.0


def judge(evidence: Evidence) -> Verdict:
    """Return everything that can be held against the run."""
    case = Case(evidence)
    case.found.records_of_several_rows = sum(len(want.rows) > 1 for want in case.wanted.values())
    case.found.tasks = sum(bool(request.task) for request in case.evidence.requests)
    sent = list(_sent(case))
    _judge_letters(case)
    _judge_loss(case, sent)
    _find_times(case, sent)
    judge_order(case, sent)
    judge_repeats(case, sent)
    judge_late_sends(case, sent)
    _judge_commits(case)
    _judge_state(case)
    for rule, count in case.evidence.broken_rules.items():
        if rule != "unknown_key":  # only the API knows which keys there are
            case.found.find(f"rules: {count} requests broke the API's rule {rule}")
    return case.found


def _sent(case: Case) -> Iterator[Sent]:
    requests = {request.number: request for request in case.evidence.requests}
    for row in case.evidence.applications:
        record = case.records.get(row.fields.get(NUMBER) or row.fields.get(UNIT_NUMBER) or "")
        if record is None:
            case.found.find(f"foreign: a row was applied that nobody published: {row}")
            continue
        want = case.wanted[(record.partition, record.offset)]
        if not any(
            (row.data_key, row.key_value, dict(row.fields))
            == (one.data_key, one.key_value, sent_of(one))
            for one in want.rows
        ):
            case.found.find(f"foreign: {row} is not what was published: {want}")
            continue
        request = requests[row.request]
        epoch = case.ownership.epoch(record.partition, request.life, request.received)
        if epoch is None:
            case.found.find(
                f"ownership: {request.life} sent a row of [{record.partition}], "
                f"which it never had: {row}"
            )
            continue
        yield Sent(row, request, record, epoch)


def _judge_letters(case: Case) -> None:
    originals = {(record.partition, record.offset): record for record in case.evidence.records}
    for letter in case.evidence.letters:
        headers = {name: value.decode() for name, value in letter.headers}
        place = (
            int(headers["__connect.errors.partition"]),
            int(headers["__connect.errors.offset"]),
        )
        key = (headers.get("scm.data_key", ""), headers.get("scm.key_value", ""))
        reason = headers["scm.reason"]
        case.found.letters += 1
        case.found.letters_repeated += (place, key) in case.letters
        case.letters.setdefault((place, key), letter.at)
        original = originals.get(place)
        if original is None or (letter.key, letter.value) != (original.key, original.value):
            case.found.find(f"letters: the letter of {place} is not its record, byte for byte")
            continue
        want = case.wanted[place]
        row = next((row for row in want.rows if (row.data_key, row.key_value) == key), None)
        wrong = reason not in deserved(row.reason if row else want.reason)
        if wrong and not (reason == "rejected_by_api" and key in case.evidence.failed):
            text = headers["scm.message"]
            case.found.find(
                f"letters: {place} {key} {original.value!r} was dead-lettered as {reason}: {text}"
            )


def _judge_loss(case: Case, sent: list[Sent]) -> None:
    case.applied = {(place_of(one), key_of(one)) for one in sent}
    for place, want in case.wanted.items():
        if want.reason and (place, ("", "")) not in case.letters:
            case.lose(f"{place} {want}")
        for row in want.rows:
            applied = (place, (row.data_key, row.key_value)) in case.applied
            if row.reason and applied:
                case.found.find(f"rules: {place} {row} was applied, and is to be dead-lettered")
            if not case.dead_lettered(place, row) and (row.reason or not applied):
                case.lose(f"{place} {row}")
    ends = {partition: end for partition, end in case.evidence.ends.items() if end}
    committed = {partition: case.evidence.committed.get(partition) for partition in ends}
    if committed != ends:
        case.found.find(f"committed: {committed} in the end, and the topic ends at {ends}")


def _find_times(case: Case, sent: list[Sent]) -> None:
    """Find when each record can have been settled, and in which epoch it must have been.

    The commits' times follow.
    """
    first: dict[tuple[Place, Key], float] = {}
    clean: dict[tuple[Place, Key, Epoch], float] = {}
    for one in sent:
        which = (place_of(one), key_of(one))
        first[which] = min(first.get(which, math.inf), one.row.at)
        if not case.answer_lost(one):
            at = one.request.answered
            clean[(*which, one.epoch)] = min(clean.get((*which, one.epoch), math.inf), at)
    case.clean = clean
    could: dict[Place, float] = {}
    for place, want in case.wanted.items():
        keys = [(row.data_key, row.key_value) for row in want.rows]
        could[place] = max(
            (
                min(first.get((place, key), math.inf), case.letters.get((place, key), math.inf))
                for key in keys
            ),
            default=0.0,
        )
    known = {place: at for place, at in could.items() if at < math.inf}
    case.ownership.date(lambda partition, offset: known.get((partition, offset), 0.0))


def _judge_commits(case: Case) -> None:
    """Find where the group goes back.

    Excused is a commit that the client sends once more after a cut, until the next.
    """
    for partition in {commit.partition for commit in case.evidence.commits}:
        entries = case.ownership.entries(partition)
        furthest = 0
        for number, entry in enumerate(entries):
            if entry.offset < furthest and not _sent_once_more(
                case, entry, furthest, entries[number + 1 :]
            ):
                case.found.find(f"committed: went back in [{partition}] from {furthest}: {entry}")
            furthest = max(furthest, entry.offset)


def _sent_once_more(
    case: Case, entry: CommitEntry, furthest: int, later: Sequence[CommitEntry]
) -> bool:
    """Return whether the client sent this commit anew behind a later one, and all was mended.

    The member mends it, if it lives.
    """
    holder = case.ownership.holder(entry)
    if holder is None or "kafka" not in case.touching(
        holder.life, entry.at - SENT_AGAIN_SECONDS, entry.at
    ):
        return False
    case.found.sent_once_more += 1
    own = list(itertools.takewhile(lambda other: _held_by(case, holder.member, other), later))
    mended = any(other.offset >= furthest for other in own)
    life = case.lives[holder.life]
    ends = life.ended if life.end == "kill" else None
    return mended or (ends is not None and ends < entry.at + MENDED_SECONDS)


def _held_by(case: Case, member: str, entry: CommitEntry) -> bool:
    holder = case.ownership.holder(entry)
    return holder is not None and holder.member == member


def _judge_state(case: Case) -> None:
    """Compare what the API holds with a replay of the topic.

    Left out are keys that a dead member's late request hit.
    """
    state: dict[str, dict[str, str]] = defaultdict(dict)
    children: dict[str, dict[str, None]] = defaultdict(dict)
    for place, want in case.wanted.items():
        for row in want.rows:
            key = (row.data_key, row.key_value)
            if row.reason or (case.dead_lettered(place, row) and (place, key) not in case.applied):
                continue
            if UNIT in row.fields:
                children[row.fields[UNIT]][row.key_value] = None
            for code in children[row.key_value] if row.data_key == UNIT else (row.key_value,):
                state[code].update(row.fields)
    wrong = 0
    for code in state.keys() | case.evidence.state.keys():
        should = {name: value for name, value in state.get(code, {}).items() if value}
        unit = should.get(UNIT, "")
        if {("extended_id", code), (UNIT, unit)} & case.late_keys:
            continue
        has = dict(case.evidence.state.get(code, {}))
        if has != should:
            wrong += 1
            if wrong <= 5:
                case.found.find(f"state: {code} is {has}, and should be {should}")
    case.found.wrong_states = wrong
    if wrong > 5:
        case.found.find(f"state: {wrong} codes are not what they should be")
