"""A case: the evidence, what follows from it, and what was found; all judgements read it."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import NamedTuple

from tests.chaos.epochs import Epoch, Ownership
from tests.chaos.evidence import Application, Evidence, Life, Record, Request, Trouble
from tests.chaos.wanted import Key, Place, Row, Wanted, wanted

#: An answer may reach the member so much later than another that the API gave after it: answers
#: travel.
SLACK_SECONDS = 1.0
#: Faults after which the client cannot know what became of its call.
LOST = frozenset(
    (
        "late",
        "timeout_after",
        "reset_after",
        "reset_midway",
        "trickle",
        "garbage",
        "empty",
        "huge",
        "reset_unread",
    )
)
#: How an epoch can end without the member's doing.
VIOLENT = ("kill", "suspended", "kafka")


@dataclass
class Verdict:
    """The findings; any is a failure."""

    findings: list[str] = field(default_factory=list)
    lost: int = 0
    inversions: int = 0
    wrong_states: int = 0
    #: Inversions that §7 explains, by what they are.
    late: Counter[str] = field(default_factory=Counter)
    #: Applied rows sent after the partition was lost.
    late_sends: Counter[str] = field(default_factory=Counter)
    sent_once_more: int = 0  #: commits that put the group back for a moment
    #: Rows that a new owner repeated over newer ones, and then those, too.
    older_for_a_while: int = 0
    records_of_several_rows: int = 0
    tasks: int = 0
    repeats: Counter[str] = field(default_factory=Counter)  #: explained, by cause
    #: Of answered calls, by how their epoch ended.
    repeats_of_end: Counter[str] = field(default_factory=Counter)
    unexplained: int = 0
    repeats_by_kill: dict[str, int] = field(default_factory=dict)
    #: Seconds from an answer to the kill that lost it, or to the next epoch.
    oldest_repeat: float = 0.0
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
            f"{row.data_key}={row.key_value} of [{self.record.partition}]@{self.record.offset} by "
            f"{self.epoch.life}, "
            f"request {request.number} received {request.received:.3f}, "
            f"answered {request.answered:.3f} "
            f"({request.status} {request.fault}), applied {row.at:.3f}"
        )


def place_of(one: Sent) -> Place:
    """Return where its record stands."""
    return one.record.partition, one.record.offset


def key_of(one: Sent) -> Key:
    """Return what its row updates."""
    return one.row.data_key, one.row.key_value


class Case:
    """One run, as it is known from outside."""

    def __init__(self, evidence: Evidence) -> None:
        self.evidence = evidence
        self.found = Verdict(findings=list(evidence.seen))
        self.ownership = Ownership(evidence.generations, evidence.commits, self._away)
        self.lives: dict[str, Life] = {life.name: life for life in evidence.lives}
        self.wanted: dict[Place, Wanted] = {
            (record.partition, record.offset): wanted(record) for record in evidence.records
        }
        self.records = {
            want.number: record
            for record in evidence.records
            if (want := self.wanted[(record.partition, record.offset)]).number
        }
        #: By place and key, "" where the record gave no row: when the first letter was written.
        self.letters: dict[tuple[Place, Key], float] = {}
        self.applied: set[tuple[Place, Key]] = set()
        #: When a row was first answered in an epoch, by an answer that arrived.
        self.clean: dict[tuple[Place, Key, Epoch], float] = {}
        #: Keys that a dead member's late request hit.
        self.late_keys: set[Key] = set()
        self._over: dict[Trouble, dict[str, float]] = defaultdict(dict)

    def _away(self, life: str, begin: float, end: float) -> bool:
        kinds = ("kafka", "suspended")
        return any(t.kind in kinds and t.touches(life, begin, end) for t in self.evidence.troubles)

    def dead_lettered(self, place: Place, row: Row) -> bool:
        return (place, (row.data_key, row.key_value)) in self.letters

    def lose(self, what: str) -> None:
        self.found.lost += 1
        self.found.find(f"lost: {what}")

    def settled_in(self, one: Sent) -> float:
        """Return when the whole record was settled in this epoch, at the latest.

        Never (infinity), if not by answers that arrived.
        """
        place = place_of(one)
        keys = [(row.data_key, row.key_value) for row in self.wanted[place].rows]
        return max(self.clean.get((place, key, one.epoch), math.inf) for key in keys)

    def answer_lost(self, one: Sent) -> bool:
        request = one.request
        if request.status is None or LOST & set(request.fault.split("+")):
            return True
        asked = request.asked or request.received
        if request.answered - asked > self.evidence.request_timeout - 0.1:
            return True
        return any(
            trouble.kind in ("api", "suspended")
            and trouble.touches(request.life, asked - 0.1, request.answered + 0.3)
            for trouble in self.evidence.troubles
        )

    def end_of(self, epoch: Epoch, one: Sent, after: Epoch) -> str:
        """Return how an epoch ended, from a request in it on.

        It is kill, stop, fenced, suspended, kafka, or rebalance and nothing else. "thrown out": the
        group did that to the member, and nothing is known to have happened to it.
        """
        life = self.lives[epoch.life]
        begin, end = one.request.received - SLACK_SECONDS, after.begin
        touched = self.touching(life.name, begin, end)
        if life.ended is not None and life.ended <= end and life.end in ("kill", "fenced"):
            return life.end  # neither can commit any more what was answered last
        if "suspended" in touched:
            return "suspended"
        if "kafka" in touched:
            return "kafka"
        if life.ended is not None and life.ended <= end:
            return "stop"
        return "rebalance" if self.ownership.stayed(epoch, after.place) else "thrown out"

    def touching(self, life: str, begin: float, end: float) -> set[str]:
        """Return what happened to a life in that time.

        Being cut off from Kafka lasts until it is seen to be over.
        """
        return {
            trouble.kind
            for trouble in self.evidence.troubles
            if trouble.where in ("", life)
            and trouble.begin <= end
            and begin <= self._over_at(trouble, life)
        }

    def _over_at(self, trouble: Trouble, life: str) -> float:
        """Return when a life was seen to be over it: a commit was taken that it built after the
        end.

        What was cut is back then, but the client waits before it connects again, up to ten seconds
        and more. Commits that it kept meanwhile come first, and may be all that the group takes
        before it throws the member out.
        """
        if trouble.kind != "kafka":
            return trouble.end
        known = self._over[trouble]
        if life not in known:
            commits = self.ownership.of_life(life)
            known[life] = next(
                (c.at for c in commits if c.at >= trouble.end and c.built >= trouble.end), math.inf
            )
        return known[life]
