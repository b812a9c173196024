"""The letters of a command: states, chains, order and counts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing

import pytest

from consumer.dead_letters import counting
from consumer.dead_letters.letter import Marker, Place
from consumer.dead_letters.listing import Lines, as_json
from consumer.dead_letters.resolving import MOST, markers
from consumer.dead_letters.store import LetterStore, Listed
from tests.unit.dead_letters.letters import TOPIC, letter

COPY = Place("scm.events", 3, 99)


@pytest.fixture
def store() -> Iterator[LetterStore]:
    with closing(LetterStore(TOPIC)) as made:
        yield made


def settled(store: LetterStore) -> list[Listed]:
    store.settle()
    return list(store.listed())


def marker(*ranges: tuple[int, int], topic: str = TOPIC, because: str = "sold") -> Marker:
    return Marker(Place(TOPIC, 0, 500), 5, topic, 0, ranges, because)


def test_a_letter_is_open_until_something_became_of_it(store: LetterStore) -> None:
    for offset in range(4):
        store.add(letter(offset))
    store.resolve(marker((1, 2)))
    store.add_copy(Place(TOPIC, 0, 2), COPY, 7)
    store.add_copy(Place(TOPIC, 0, 3), COPY, 8)
    found = settled(store)
    assert [one.state for one in found] == ["open", "resolved", "replayed", "replayed"]
    assert (found[1].because, found[3].replayed_to, found[3].replayed_at) == ("sold", COPY, 8)
    assert store.counts() == {"open": 1, "replayed": 2, "resolved": 1}
    assert list(store.open_offsets()) == [(0, 0)]


def test_a_marker_or_a_copy_of_another_topics_letters_is_not_of_these(store: LetterStore) -> None:
    store.add(letter(0))
    store.resolve(marker((0, 9), topic="other.dlq"))
    store.add_copy(Place("other.dlq", 0, 0), COPY, 7)
    store.add_return(letter(8, replay_of=Place("other.dlq", 0, 0), replays=1))
    assert [one.state for one in settled(store)] == ["open"]


def test_what_a_replay_marked_was_replayed_though_its_copy_is_gone(store: LetterStore) -> None:
    store.add(letter(0))
    store.resolve(Marker(Place(TOPIC, 0, 500), 5, TOPIC, 0, ((0, 0),), "replayed", replayed=True))
    (one,) = settled(store)
    assert (one.state, one.replayed_to) == ("replayed", None)
    assert "replayed" in Lines(store, TOPIC).line(one)


def test_the_first_reason_stays(store: LetterStore) -> None:
    store.add(letter(0))
    store.resolve(marker((0, 0)))
    store.resolve(marker((0, 0), because="again"))
    assert settled(store)[0].because == "sold"


def test_a_letter_that_came_back_was_replayed_though_its_copy_is_gone(store: LetterStore) -> None:
    store.add(letter(0))
    came_back = letter(5, replay_of=Place(TOPIC, 0, 0), replays=1)
    store.add_return(came_back)
    store.add(came_back)
    first, second = settled(store)
    assert (first.state, first.replayed_to, first.came_back) == ("replayed", None, second.letter)
    assert second.state == "open"


def test_a_letter_that_names_itself_as_the_one_before_is_not_replayed(store: LetterStore) -> None:
    damaged = letter(0, replay_of=Place(TOPIC, 0, 0), replays=1)
    store.add(damaged)
    store.add_return(damaged)
    assert settled(store)[0].state == "open"


def test_letters_are_told_by_their_time_and_the_newest_of_a_state(store: LetterStore) -> None:
    for offset in (3, 1, 2):
        store.add(letter(offset, partition=offset))
    store.resolve(Marker(Place(TOPIC, 3, 9), 5, TOPIC, 3, ((3, 3),), "x"))
    assert [one.letter.offset for one in settled(store)] == [1, 2, 3]
    assert [one.letter.offset for one in store.listed(newest=2)] == [2, 3]
    assert [one.letter.offset for one in store.listed(state="open", newest=1)] == [2]


def test_a_line_stays_one_and_json_has_everything(store: LetterStore) -> None:
    store.add(letter(0, message="first\nsecond", key_value="K" * 100))
    store.add(letter(1, source=None, data_key=None, key_value=None, reason="foreign", message=""))
    store.settle()
    lines = Lines(store, TOPIC)
    first, second = store.listed()
    assert "\n" not in lines.line(first)
    assert lines.line(second).split() == [
        "2027-01-15T08:00:00.001Z",
        f"{TOPIC}[0]@1",
        "open",
        "foreign",
        "-",
        "-",
    ]
    assert json.loads(as_json(first))["key_value"] == "K" * 100
    assert json.loads(as_json(second))["source"] is None


# -- markers -------------------------------------------------------------------------------------


def test_a_marker_names_so_many_letters_of_one_partition_and_no_more() -> None:
    offsets = [(0, number) for number in range(0, 2 * MOST + 2, 2)] + [(4, 8)]
    made = list(markers(TOPIC, offsets, "sold"))
    assert [record.partition for record in made] == [0, 0, 4]
    assert all(record.value is None and record.key is not None for record in made)
    assert max(len(dict(record.headers)["scm.resolves"] or b"") for record in made) < 20_000


# -- stats ---------------------------------------------------------------------------------------


def test_letters_are_counted_by_what_they_have_in_common(store: LetterStore) -> None:
    for offset in range(20):
        store.add(letter(offset, message=f"No SKU {offset} for CODE-{offset}"))
    store.add(letter(20, reason="undecodable", field=None, data_key=None, key_value=None))
    store.resolve(marker((0, 4)))
    store.settle()
    stats = counting.stats_of(store, TOPIC)
    assert stats.states == {"open": 16, "replayed": 0, "resolved": 5}
    assert stats.kinds["reasons"][0] == counting.Group("rejected_by_api", 15, 0, 5)
    assert [group.name for group in stats.kinds["fields"]] == ["product", None]
    assert stats.kinds["hours"] == [counting.Group("2027-01-15T08:00Z", 16, 0, 5)]
    (said, other) = stats.messages
    assert (said.message, said.open, said.resolved) == ("No SKU # for <key>", 15, 5)
    assert other.reason == "undecodable"
    text = list(counting.lines(stats))
    assert text[0].startswith(f"{TOPIC}: 21 dead letters, 2027-01-15T08:00:00.000Z to ")
    assert "rejected_by_api         15          0          5" in text


def test_what_is_told_is_bounded_and_says_what_it_leaves_out(store: LetterStore) -> None:
    for offset in range(300):
        word = "".join(chr(97 + int(digit)) for digit in str(offset))
        at = 1_800_000_000_000 + offset * 3_600_000
        store.add(letter(offset, at=at, field=f"f{offset}", message=f"about {word}"))
    store.settle()
    stats = counting.stats_of(store, TOPIC)
    assert len(stats.kinds["fields"]) == counting.MOST == len(stats.messages)
    assert stats.kinds["hours"][-1].name == "2027-01-27T19:00Z"
    lines = list(counting.lines(stats))
    assert len(lines) < 80
    assert "... and 290 more" in lines
    assert "... and 276 earlier" in lines
    assert len(json.loads(counting.as_json(stats))["hours"]) == counting.MOST


def test_without_letters_that_is_what_is_told(store: LetterStore) -> None:
    store.settle()
    stats = counting.stats_of(store, TOPIC)
    assert list(counting.lines(stats)) == [f"{TOPIC}: no dead letters"]
    assert json.loads(counting.as_json(stats))["oldest"] is None
