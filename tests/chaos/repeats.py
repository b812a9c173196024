"""Repeats: each row that was applied again has an explanation."""

from __future__ import annotations

import math
from collections import defaultdict
from itertools import pairwise

from tests.chaos.case import SLACK_SECONDS, Case, Sent, key_of, place_of
from tests.chaos.epochs import Epoch
from tests.chaos.order import WAITED_SECONDS
from tests.chaos.settled_map import names
from tests.chaos.wanted import Key, Place

#: A member that stops or hands over waits for its answers: no time passes, but that of two clocks'
#: readings.
HANDOVER_SECONDS = 0.25
#: A member that nothing happened to gets an answer into a commit within this, whatever the group is
#: at.
UNCOMMITTED_SECONDS = 30.0
LOST_ANSWER = "answer lost"
IN_FLIGHT = "in flight at the end"
OTHER_ROW = "another row of its record was not settled"


def judge_repeats(case: Case, sent: list[Sent]) -> None:
    rows: dict[tuple[Place, Key], list[Sent]] = defaultdict(list)
    for one in sent:
        rows[(place_of(one), key_of(one))].append(one)
    case.found.repeats_by_kill = {
        life.name: 0 for life in case.evidence.lives if life.end == "kill"
    }
    for many in rows.values():
        many.sort(key=lambda one: one.request.received)
        for one, again in pairwise(many):
            _judge_repeat(case, one, again)


def _judge_repeat(case: Case, one: Sent, again: Sent) -> None:
    why = _why_repeated(case, one, again)
    if one.epoch != again.epoch:
        how = case.end_of(one.epoch, one, again.epoch)
        counts = why not in (LOST_ANSWER, OTHER_ROW) and not why.startswith(IN_FLIGHT)
        case.found.repeats_of_end[how] += counts
        if how == "kill":
            case.found.repeats_by_kill[one.epoch.life] += 1
    if why:
        case.found.repeats[why] += 1
    else:
        base = case.ownership.base(again.record.partition, again.epoch.place)
        case.found.unexplained += 1
        case.found.find(
            f"repeat: {one}\n  again as {again}\n  [{one.epoch} / {again.epoch}, from {base}]"
        )


def _why_repeated(case: Case, one: Sent, again: Sent) -> str:
    """Return the explanation; empty: there is none."""
    lost = case.answer_lost(one)
    if one.epoch == again.epoch:
        return LOST_ANSWER if lost else ""
    epoch = again.epoch
    base = case.ownership.base(again.record.partition, epoch.place)
    if base is not None and names(base, one.record.offset) and epoch.place > one.epoch.place:
        return ""  # the commit said that it is settled
    if lost:
        return LOST_ANSWER
    settled = case.settled_in(one)
    if settled == math.inf:
        return OTHER_ROW
    if _left_out(case, one, epoch, settled):
        return ""
    how = case.end_of(one.epoch, one, epoch)
    if how in ("stop", "rebalance"):
        outlasted = one.request.task and settled - one.request.received >= WAITED_SECONDS
        return (
            f"{IN_FLIGHT} ({how})" if outlasted or settled >= epoch.begin - HANDOVER_SECONDS else ""
        )
    ended = case.lives[one.epoch.life].ended if how == "kill" else None
    until = epoch.begin if ended is None else min(ended, epoch.begin)
    if settled >= until:
        return f"{IN_FLIGHT} ({how})"
    if how == "kill":
        if until - settled > UNCOMMITTED_SECONDS and not case.touching(
            one.epoch.life, settled, until
        ):
            return ""
        case.found.oldest_repeat = max(case.found.oldest_repeat, until - settled)
    return f"answered since the last commit ({how})"


def _left_out(case: Case, one: Sent, until: Epoch, settled: float) -> bool:
    """Return whether a commit was taken that should name a record and does not.

    It is one of its member, built when the record was settled.
    """
    partition, offset = place_of(one)
    # A later epoch of the same member began with what was committed, and knows of nothing else.
    end = min(until.place, case.ownership.end_of(partition, one.epoch))
    for commit in case.ownership.commits_of(one.epoch.member, one.epoch.place, end):
        if commit.built < settled + SLACK_SECONDS:
            continue
        entry = commit.entries.get(partition)
        if entry is None and commit.whole and case.ownership.holds(commit, partition):
            entry = case.ownership.base(partition, commit.place)  # nothing new was to be said of it
            if entry is None:
                return True
        if entry is not None and not names(entry, offset):
            return True
    return False
