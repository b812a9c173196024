"""The settled map: what it tells comes back exactly, it always fits, and nothing foreign is ever
believed.
"""

from __future__ import annotations

import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.core.offsets.run_codec import Runs, most_bytes
from consumer.core.offsets.settled_map import (
    HEADER,
    NOTHING,
    NOWHERE,
    Began,
    MapError,
    Origin,
    SettledMap,
    characters,
    cluster_name,
    content,
    decode,
    encode,
    numbered,
    origin_of,
)

pytestmark = pytest.mark.promise("I7")

PLENTY = 10**9

bases = st.integers(0, 2**62)
#: Lengths of what is alternately unsettled and settled, beginning with unsettled at the base.
lengths = st.lists(st.one_of(st.integers(1, 3), st.integers(1, 500)), min_size=0, max_size=200).map(
    lambda found: found[: len(found) // 2 * 2]
)


def _runs(base: int, parts: list[int]) -> Runs:
    ends = [base, *itertools.accumulate(parts, initial=base)][1:]
    return [(ends[place], ends[place + 1]) for place in range(1, len(parts), 2)]


@given(bases, st.integers(0, 100_000), lengths)
def test_what_was_settled_comes_back_exactly(base: int, partition: int, parts: list[int]) -> None:
    runs = _runs(base, parts)
    found = decode(encode(partition, base, runs, PLENTY), partition, base)
    end = base + sum(parts)
    settled = {position for start, stop in runs for position in range(start, stop)}
    assert {
        position for position in range(base, min(end + 20, base + 20_000)) if position in found
    } == {position for position in settled if position < base + 20_000}
    assert found.count == len(settled)
    assert found.end == (runs[-1][1] if runs else 0)


@given(bases, lengths, st.integers(0, 400))
def test_a_map_without_enough_room_tells_of_the_first_runs_only(
    base: int, parts: list[int], room: int
) -> None:
    runs = _runs(base, parts)
    text = encode(0, base, runs, room)
    assert len(text) <= room
    found = decode(text, 0, base)
    settled = SettledMap(runs)
    assert all(
        position in settled
        for position in range(base, base + min(sum(parts), 20_000))
        if position in found
    )


@given(st.integers(0, 2**32), st.integers(0, 10**14))
def test_a_map_never_takes_more_than_was_foreseen_whatever_settles(seed: int, base: int) -> None:
    draw = random.Random(seed)
    count = draw.randrange(1, 3000)
    shares = [draw.choice((0.001, 0.01, 0.3, 0.9)) for _ in range(5)]
    unsettled = [place for place in range(1, count) if draw.random() < shares[place * 5 // count]]
    foreseen = characters(most_bytes([base + place for place in [0, *unsettled]], base + count))
    for share in (0.0, 0.5, 0.9, 1.0):
        left = [0, *(place for place in unsettled if draw.random() >= share), count]
        runs = [
            (base + place + 1, base + after)
            for place, after in itertools.pairwise(left)
            if place + 1 < after
        ]
        assert len(encode(7, base, runs, PLENTY)) <= foreseen, (
            "I7: a map takes more than was foreseen"
        )


def test_a_row_that_is_stuck_costs_a_few_characters_however_much_is_settled_behind_it() -> None:
    assert len(encode(3, 10**12, [(10**12 + 1, 10**12 + 10_000_000)], PLENTY)) < 50


def test_old_rows_far_apart_and_a_busy_end_fit_together() -> None:
    """A hundred rows stuck over a million positions, and a busy end.

    Neither runs nor bits alone would do.
    """
    stuck = [(place * 10_000 + 1, place * 10_000 + 10_000) for place in range(100)]
    busy = [(1_000_000 + place, 1_000_001 + place) for place in range(1, 3000, 2)]
    text = encode(0, 0, [*stuck, *busy], PLENTY)
    assert len(text) < 1200
    assert decode(text, 0, 0).count == 100 * 9_999 + 1500


def test_nothing_settled_is_no_text_and_no_text_is_nothing_settled() -> None:
    assert encode(0, 5, [], PLENTY) == ""
    assert decode("", 0, 5) is NOTHING


def _refusal(text: str, partition: int, base: int) -> str:
    """Why a text is no map of this commit; empty: it is trusted."""
    try:
        decode(text, partition, base)
    except MapError as error:
        return str(error)
    return ""


TEXT = encode(2, 40, [(41, 45), (50, 60)], PLENTY)
ORIGIN = Origin(
    "u2Tm1tdHQd6mLtcEX7/o5g", cluster_name("91db284a-2d85"), Began(1_790_000_000_000, 12)
)
WITH_ORIGIN = encode(2, 40, [(41, 45), (50, 60)], PLENTY, ORIGIN)


@pytest.mark.promise("I1")
@pytest.mark.parametrize(
    ("text", "partition", "base", "why"),
    [
        (TEXT, 3, 40, "partition 2 at offset 40"),
        (TEXT, 2, 41, "partition 2 at offset 40"),
        (TEXT[:-1], 2, 40, "damaged"),
        (TEXT.replace("v1", "v2"), 2, 40, "not of this program"),
        (WITH_ORIGIN.replace("v2", "v3"), 2, 40, "not of this program"),
        (WITH_ORIGIN.replace("u2Tm", "u2Tn"), 2, 40, "damaged"),
        (WITH_ORIGIN, 3, 40, "partition 2 at offset 40"),
        (WITH_ORIGIN, 2, 41, "partition 2 at offset 40"),
        ("NO_METADATA", 2, 40, "not of this program"),
        ("v1 2 40 x", 2, 40, "not of this program"),
        ('{"offset": 40}', 2, 40, "not of this program"),
    ],
)
def test_what_cannot_be_trusted_is_refused(text: str, partition: int, base: int, why: str) -> None:
    assert why in _refusal(text, partition, base), (
        "I1: a foreign map is trusted: what it names would be skipped"
    )


@pytest.mark.promise("I1")
@given(st.integers(0, len(TEXT) - 1), st.characters(max_codepoint=127))
def test_a_damaged_character_is_noticed(place: int, character: str) -> None:
    damaged = TEXT[:place] + character + TEXT[place + 1 :]
    if damaged == TEXT:
        return
    assert _refusal(damaged, 2, 40), "I1: a damaged map is trusted: what it names would be skipped"


@given(st.text(max_size=80))
def test_any_text_is_a_map_or_refused(text: str) -> None:
    try:
        decode(text, 0, 0)
    except MapError:
        return
    assert not text


@pytest.mark.promise("I1")
def test_a_commit_names_the_log_that_it_is_of_with_a_map_and_without_one() -> None:
    assert origin_of(WITH_ORIGIN) == ORIGIN, "I1: it is not told which log a map is of"
    assert decode(WITH_ORIGIN, 2, 40).beyond(0) == [(41, 45), (50, 60)], "I7: the map is not read"
    bare = encode(2, 40, [], PLENTY, ORIGIN)
    assert (origin_of(bare), decode(bare, 2, 40)) == (ORIGIN, NOTHING), (
        "I1: an offset alone names no log"
    )
    some = encode(2, 40, [(41, 45)], PLENTY, Origin(cluster=ORIGIN.cluster))
    assert origin_of(some) == Origin("-", ORIGIN.cluster, None)
    for origin in (ORIGIN._replace(epoch=7), Origin(epoch=0)):
        assert origin_of(encode(2, 40, [(41, 45)], PLENTY, origin)) == origin, (
            "I1: the leader's epoch is lost"
        )


def test_what_names_no_origin_has_none() -> None:
    for text in ("", TEXT, "of another program", WITH_ORIGIN[:-1], WITH_ORIGIN.replace("v2", "v3")):
        assert origin_of(text) == NOWHERE


@pytest.mark.promise("I1")
def test_a_program_that_knows_only_the_first_version_takes_the_second_for_a_foreign_text() -> None:
    parts = WITH_ORIGIN.split(" ")
    assert parts[0] != "v1", "I1: an older program reads the topic's id as a map"
    assert len(parts) != 5


def test_an_origin_that_finds_no_room_is_left_out_with_the_map() -> None:
    assert encode(2, 40, [(41, 45)], 20, ORIGIN) == ""
    longest = ORIGIN._replace(began=Began(10**13, 2**31 - 1), epoch=2**31 - 1)
    assert len(encode(2**31 - 1, 2**63 - 1, [], PLENTY, longest)) <= HEADER


@pytest.mark.promise("I1")
@given(st.lists(st.integers(1, 30), min_size=2, max_size=20), st.integers(0, 400))
def test_a_map_that_is_cut_names_nothing_from_there_on(lengths: list[int], end: int) -> None:
    at, runs = 0, []
    for skipped, length in zip(lengths[::2], lengths[1::2], strict=False):
        runs.append((at + skipped, at + skipped + length))
        at += skipped + length
    whole, cut = SettledMap(runs), SettledMap(runs).until(end)
    for position in range(at + 2):
        assert (position in cut) == (position in whole and position < end), (
            "I1: a new record is skipped"
        )


@pytest.mark.promise("fencing")
@pytest.mark.parametrize("runs", [[], [(12, 15), (20, 21)]])
@pytest.mark.parametrize("origin", [NOWHERE, Origin("an-id", "a-cluster", Began(5, 3))])
def test_a_number_makes_a_commit_another_one_and_changes_nothing_that_it_says(
    runs: Runs, origin: Origin
) -> None:
    text = encode(3, 10, runs, 4000, origin)
    first, second = (numbered(text, 3, 10, number) for number in (1, 2))
    assert len({text, first, second}) == 3, (
        "fencing: the answer to one commit may be taken for that to another"
    )
    for told in (first, second):
        assert decode(told, 3, 10).beyond(10) == decode(text, 3, 10).beyond(10)
        assert origin_of(told) == origin
        assert len(told) <= len(text) + 40
        assert content(told) == content(text)
    assert numbered(first, 3, 10, 2) == second
