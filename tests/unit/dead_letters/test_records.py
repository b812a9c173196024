"""The letters of a replay with their records, in a temporary database."""

from __future__ import annotations

from contextlib import closing

from consumer.dead_letters.letter import Place
from consumer.dead_letters.records import Handled, RecordStore
from tests.unit.dead_letters.letters import TOPIC, letter


def test_letters_are_given_back_whole_in_their_order_and_by_place() -> None:
    made = [
        letter(7, partition=1, headers=(("a", b"1"), ("b", None)), value=None),
        letter(3, item={"extended_id": "A"}, replay_of=Place(TOPIC, 0, 1), replays=1),
    ]
    with closing(RecordStore()) as store:
        for each in made:
            store.add(each)
        assert list(store.letters()) == made
        assert store.letter(made[1].place) == made[1]
        assert store.count == 2


def test_what_became_of_each_is_told() -> None:
    first, second = letter(1), letter(2)
    to = Place("scm.events", 3, 9)
    with closing(RecordStore()) as store:
        for each in (second, first):
            store.add(each)
        list(store.letters())
        store.judge(first.place, "superseded", "line set since")
        store.judge(second.place, "replay", "")
        store.sent(second.place, to)
        assert list(store.handled()) == [
            Handled(first, "superseded", "line set since", None),
            Handled(second, "replay", "", to),
        ]
        assert list(store.sent_offsets()) == [(0, 2)]
