"""Order: rows of a key are applied as published, and sent by the owner of their partition."""

from __future__ import annotations

from collections import defaultdict

from tests.chaos.case import VIOLENT, Case, Sent, key_of
from tests.chaos.epochs import Epoch
from tests.chaos.load import UNIT
from tests.chaos.wanted import Key

#: A hand-over waits so long for what is in flight (api.timeout_seconds and five more); a task may
#: take longer.
WAITED_SECONDS = 8.0


def judge_order(case: Case, sent: list[Sent]) -> None:
    groups: dict[tuple[int, str, str], list[tuple[Sent, bool]]] = defaultdict(list)
    for one in sent:
        groups[(one.record.partition, *key_of(one))].append((one, True))
        if UNIT in one.row.fields:
            groups[(one.record.partition, UNIT, one.row.fields[UNIT])].append((one, False))
    for group in groups.values():
        _judge_group(case, group)


def _judge_group(case: Case, group: list[tuple[Sent, bool]]) -> None:
    """Judge rows in the order in which they were applied: exclusive (True) or shared (joins)."""
    furthest: dict[tuple[Epoch, bool], Sent] = {}
    before: set[tuple[int, Key]] = set()
    #: From each row on: the furthest that is still applied, exclusive and shared.
    after = _still_to_come(group)
    for number, (one, exclusive) in enumerate(group):
        which = (one.record.offset, key_of(one))
        for (epoch, other), far in furthest.items():
            if (exclusive or other) and far.record.offset > one.record.offset:
                again = after[number][other] >= far.record.offset
                if _judge_pair(case, one, far, epoch, repeated=which in before, again=again):
                    break  # one is enough of each row
        place = (one.epoch, exclusive)
        if place not in furthest or furthest[place].record.offset < one.record.offset:
            furthest[place] = one
        before.add(which)


def _still_to_come(group: list[tuple[Sent, bool]]) -> list[dict[bool, int]]:
    found: list[dict[bool, int]] = []
    furthest = {True: -1, False: -1}
    for one, exclusive in reversed(group):
        found.append(dict(furthest))
        furthest[exclusive] = max(furthest[exclusive], one.record.offset)
    return found[::-1]


def _judge_pair(
    case: Case, one: Sent, far: Sent, epoch: Epoch, *, repeated: bool, again: bool
) -> bool:
    """Judge ``one``, applied after ``far``, which stands behind it in the partition.

    Return whether that is an inversion. ``again``: ``far``, or a later one, was applied after it
    once more.
    """
    own = one.epoch
    if own.place > epoch.place and repeated and again:
        case.found.older_for_a_while += 1
        return False  # a new owner repeats, and catches up; whether it should is another question
    what = ""
    if not one.request.task and one.row.at - one.request.received > case.evidence.max_processing:
        what = "applied later than max_processing_seconds allows"
    elif own.place < epoch.place and one.request.received < epoch.begin:
        how = case.end_of(own, one, epoch)
        if how in VIOLENT:
            what = f"already sent before its member's partition was given away ({how})"
        elif one.request.task and one.row.at - one.request.received > WAITED_SECONDS:
            what = f"a task that outlasted a hand-over ({how})"
    if what:
        case.found.late[what] += 1
        case.late_keys.add(key_of(one))
    else:
        case.found.inversions += 1
        left = (
            ", once more, and no newer one after it" if own.place > epoch.place and repeated else ""
        )
        case.found.find(f"order: {one}\n  was applied after {far}{left}\n  [{own} / {epoch}]")
    return not what


def judge_late_sends(case: Case, sent: list[Sent]) -> None:
    for one in sent:
        newest = case.ownership.newest(one.record.partition, one.request.received)
        if newest is not None and newest.place > one.epoch.place:
            how = case.end_of(one.epoch, one, newest)
            case.found.late_sends[f"{how}, {one.request.received - newest.begin:.0f} s late"] += 1
            if how not in VIOLENT:
                case.found.find(
                    f"fencing: {one}\n  was sent when the partition was {newest.life}'s"
                )
