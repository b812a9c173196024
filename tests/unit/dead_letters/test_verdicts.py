"""Verdicts: each rule of docs/replay.md by an example."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from consumer.core.model import InvalidEvent
from consumer.core.rows.maker import refused_row
from consumer.dead_letters.catalogue import Catalogue
from consumer.dead_letters.letter import Letter, Marker, Place
from consumer.dead_letters.mending import Copy, Unusable
from consumer.dead_letters.plan import FORCED, headers_of, steps
from consumer.dead_letters.verdicts import Receipt, Seen, Verdict, Verdicts
from consumer.dead_letters.watching import Kind
from tests.unit.dead_letters.history import _RECORD, LETTERS, TOPIC, UNITS, Said, rows_of

pytestmark = pytest.mark.promise("replay")

A: Said = ("extended_id", "A", {"product": "old", "line": "1"})


def at(partition: int, offset: int) -> Place:
    return Place(TOPIC, partition, offset)


class Case:
    """Records and letters of a test, and what the rules make of them."""

    def __init__(self, **options: Any) -> None:
        self.options = options
        self.records: list[Seen] = []
        self.letters: list[Letter] = []
        self.copies: dict[Place, Copy | Unusable] = {}
        self.markers: list[Marker] = []
        self.receipts: list[Receipt] = []
        self.receipts_from: dict[tuple[str, int], int] = {}
        self.counts = {TOPIC: 9}

    def event(self, place: Place, *said: Said, time: int | None = None, **more: Any) -> Seen:
        """Add a record to the source topic; its time is its offset, in steps of a second."""
        seen = Seen(
            place,
            1_000_000 + place.offset * 1000 if time is None else time,
            more.pop("key", b"k%d" % place.partition),
            str(place).encode(),
            rows_of(said) if said else None,
            more.pop("settled", True),
            **more,
        )
        self.records.append(seen)
        return seen

    def letter(self, record: Seen, row: int = 0, *, gone: bool = False, **more: Any) -> Place:
        """Add the letter of a record's row; ``gone``: the record is gone from its topic."""
        assert record.rows is not None
        place = Place(LETTERS, 0, len(self.letters))
        rejected = record.rows[row]
        letter = Letter(
            place=place,
            at=place.offset + 1,
            key=record.key,
            value=record.value,
            headers=(),
            source=record.place,
            reason="rejected_by_api",
            data_key=rejected.data_key,
            key_value=rejected.value,
            item=rejected.item or None,
            replay_of=record.replay_of,
        )
        self.letters.append(msgspec.structs.replace(letter, **more))
        self.copies[place] = Copy(b"", [rejected], mended=False)
        if gone:
            self.records.remove(record)
        return place

    def rejected(self, place: Place, *said: Said, **more: Any) -> Place:
        """Add a record and the letter of its first row."""
        return self.letter(self.event(place, *said, **more))

    def verdicts(self, watched: Sequence[Place] | None = None) -> Verdicts:
        """Return the verdicts of these letters, or of all."""
        self.catalogue = Catalogue()
        for letter in self.letters:
            self.catalogue.add(letter)
        for marker in self.markers:
            self.catalogue.resolve(marker)
        self.catalogue.sort()
        verdicts = Verdicts(self.catalogue, UNITS, **self.options)
        for letter in self.letters:
            if watched is None or letter.place in watched:
                verdicts.watch(letter, self.copies[letter.place])
        verdicts.begin()
        verdicts.receipts_from = self.receipts_from
        for receipt in self.receipts:
            verdicts.see_receipt(receipt)
        for record in self.records:
            verdicts.see(record)
        verdicts.decide()
        return verdicts

    def of(self, place: Place) -> Verdict:
        """Return the verdict of a letter."""
        return {each.letter: each for each in self.verdicts().verdicts()}[place]

    def goes(self, **more: Any) -> list[Place]:
        """Return the letters that go, in order."""
        verdicts = self.verdicts()
        return [step.letter for step in steps(verdicts, self.catalogue, self.counts, **more)]


# -- what sets the same field ----------------------------------------------------------------------


def against(letter: Said, newer: Said, **options: Any) -> Verdict:
    case = Case(**options)
    place = case.rejected(at(0, 1), letter)
    case.event(at(0, 2), newer)
    return case.of(place)


@pytest.mark.parametrize(
    ("letter", "newer", "kind"),
    [
        (A, ("extended_id", "A", {"product": "new"}), Kind.SUPERSEDED),
        (A, ("extended_id", "A", {"product": ""}), Kind.SUPERSEDED),
        (A, ("extended_id", "A", {"market": "cn"}), Kind.REPLAY),
        (A, ("extended_id", "A", {"case_code": "X"}), Kind.REPLAY),
        (A, ("extended_id", "B", {"product": "new"}), Kind.REPLAY),
        (A, ("serial_number", "1", {"product": "new"}), Kind.UNKNOWN),
        (A, ("case_code", "X", {"product": "new"}), Kind.UNKNOWN),
        (A, ("case_code", "X", {"market": "cn"}), Kind.REPLAY),
        (
            ("extended_id", "A", {"status": "1"}),
            ("extended_id", "A", {"activation_status": "2"}),
            Kind.SUPERSEDED,
        ),
        (
            ("extended_id", "A", {"blacklist_reason": "4"}),
            ("extended_id", "A", {"status": "1"}),
            Kind.SUPERSEDED,
        ),
        # A unit's update: who is in it, and where it is.
        (("case_code", "X", {"d": "1"}), ("extended_id", "A", {"case_code": "X"}), Kind.SUPERSEDED),
        (("case_code", "X", {"d": "1"}), ("extended_id", "A", {"case_code": "Y"}), Kind.REPLAY),
        (("case_code", "X", {"d": "1"}), ("case_code", "X", {"pallet_code": "P"}), Kind.SUPERSEDED),
        (("case_code", "X", {"d": "1"}), ("case_code", "Y", {"d": "2"}), Kind.REPLAY),
        (("case_code", "X", {"d": "1"}), ("pallet_code", "P", {"d": "2"}), Kind.UNKNOWN),
        (
            ("pallet_code", "P", {"d": "1"}),
            ("case_code", "X", {"pallet_code": "P"}),
            Kind.SUPERSEDED,
        ),
        # A code that goes into a unit.
        (("extended_id", "A", {"case_code": "X"}), ("case_code", "X", {"d": "1"}), Kind.REPLAY),
        (
            ("extended_id", "A", {"case_code": "X"}),
            ("case_code", "X", {"pallet_code": "P"}),
            Kind.SUPERSEDED,
        ),
        (
            ("extended_id", "A", {"case_code": "X"}),
            ("extended_id", "B", {"case_code": "X"}),
            Kind.REPLAY,
        ),
        (
            ("extended_id", "A", {"case_code": "X"}),
            ("extended_id", "A", {"case_code": ""}),
            Kind.SUPERSEDED,
        ),
    ],
)
def test_a_newer_event_of_the_same_partition(letter: Said, newer: Said, kind: Kind) -> None:
    assert against(letter, newer).kind is kind


def test_an_older_event_does_not_count() -> None:
    case = Case()
    case.event(at(0, 1), A)
    place = case.rejected(at(0, 2), A)
    assert case.of(place) == Verdict(place, Kind.REPLAY, "")


def test_the_reason_names_the_field_and_the_place() -> None:
    verdict = against(A, ("extended_id", "A", {"product": "new"}))
    assert verdict.because == "product set since (events[0], up to offset 2)"


# -- only what is missing --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("letter", "newer", "without"),
    [
        (A, ("extended_id", "A", {"product": "new"}), {"product"}),
        (A, ("case_code", "X", {"line": "2"}), {"line"}),
        (
            ("extended_id", "A", {"activation_status": "2", "blacklist_reason": "4", "line": "1"}),
            ("extended_id", "A", {"status": "1"}),
            {"activation_status"},
        ),
        (
            ("extended_id", "A", {"case_code": "X", "line": "1"}),
            ("case_code", "X", {"pallet_code": "P"}),
            {"case_code"},
        ),
        (("case_code", "X", {"d": "1"}), ("case_code", "X", {"pallet_code": "P"}), set()),
    ],
)
def test_with_only_missing_the_other_fields_go(
    letter: Said, newer: Said, without: set[str]
) -> None:
    verdict = against(letter, newer, only_missing=True)
    assert (verdict.kind, set(verdict.without)) == (Kind.REPLAY, without)
    assert verdict.because


@pytest.mark.parametrize(
    ("letter", "newer"),
    [
        (A, ("extended_id", "A", {"product": "new", "line": "2"})),
        (("case_code", "X", {"d": "1", "e": "1"}), ("extended_id", "A", {"case_code": "X"})),
    ],
)
def test_with_only_missing_nothing_goes_where_nothing_is_missing(letter: Said, newer: Said) -> None:
    assert against(letter, newer, only_missing=True).kind is Kind.SUPERSEDED


# -- which events count ----------------------------------------------------------------------------


def test_a_newer_event_that_was_rejected_does_not_count_and_goes_after_the_older_one() -> None:
    case = Case()
    newer = case.event(at(0, 2), A)
    older = case.event(at(0, 1), A)
    places = [case.letter(older), case.letter(newer)]
    assert case.goes() == places


def test_a_copy_is_as_old_as_its_event() -> None:
    case = Case()
    first = case.rejected(at(0, 1), A)
    second = case.rejected(at(0, 2), A)
    case.event(at(0, 7), A, replay_of=first, settled=False)
    assert case.of(first).kind is Kind.REPLAYED
    assert case.goes() == [second], "the second is newer than the first, which came late"


def test_a_copy_of_a_newer_event_counts() -> None:
    case = Case()
    first = case.rejected(at(0, 1), A)
    case.event(at(0, 7), A, replay_of=case.rejected(at(0, 2), A))
    assert case.of(first).kind is Kind.SUPERSEDED


def test_an_event_that_is_not_settled_counts() -> None:
    case = Case()
    place = case.rejected(at(0, 1), A)
    case.event(at(0, 2), A, settled=False)
    assert case.of(place).kind is Kind.SUPERSEDED


def test_an_event_whose_letter_was_resolved_counts() -> None:
    case = Case()
    older = case.rejected(at(0, 1), A)
    newer = case.rejected(at(0, 2), A)
    case.markers.append(Marker(Place(LETTERS, 0, 9), 1, LETTERS, 0, ((1, 1),), "by hand"))
    assert case.of(older).kind is Kind.SUPERSEDED
    assert case.of(newer).kind is Kind.RESOLVED


def test_an_event_that_was_rejected_and_accepted_another_time_counts() -> None:
    case = Case()
    older = case.rejected(at(0, 1), A)
    newer = case.rejected(at(0, 2), A)
    case.receipts.append(Receipt(at(0, 2), *A))
    assert case.of(older).kind is Kind.SUPERSEDED
    assert case.of(newer).kind is Kind.SUPERSEDED
    assert "accepted another time" in case.of(newer).because


def test_a_newer_record_without_its_schema_may_be_about_any_code() -> None:
    case = Case(only_missing=True)
    place = case.rejected(at(0, 1), A)
    case.event(at(0, 2))
    assert case.of(place).kind is Kind.UNKNOWN
    assert "cannot be read" in case.of(place).because


@pytest.mark.parametrize(("has_letter", "kind"), [(True, Kind.REPLAY), (False, Kind.UNKNOWN)])
def test_a_newer_record_that_is_no_event_counts_unless_it_was_rejected(
    has_letter: bool, kind: Kind
) -> None:
    case = Case()
    place = case.rejected(at(0, 1), A)
    refused = refused_row(_RECORD, InvalidEvent("undecodable", "not JSON"))
    record = case.event(at(0, 2))._replace(rows=[refused])
    case.records[-1] = record
    if has_letter:
        case.copies[case.letter(record)] = Unusable("undecodable")
    assert case.of(place).kind is kind


# -- several rows ----------------------------------------------------------------------------------


def test_a_later_row_of_the_same_record_is_newer() -> None:
    case = Case()
    record = case.event(at(0, 1), A, ("extended_id", "A", {"product": "new"}))
    assert case.of(case.letter(record, 0)).kind is Kind.SUPERSEDED


def test_an_earlier_row_of_the_same_record_is_not() -> None:
    case = Case()
    record = case.event(at(0, 1), A, ("extended_id", "A", {"product": "new"}))
    assert case.of(case.letter(record, 1)).kind is Kind.REPLAY


def test_rows_with_equal_fields_have_no_order() -> None:
    case = Case()
    record = case.event(
        at(0, 1), ("case_code", "X", {"d": "1"}), ("serial_number", "X", {"d": "1"})
    )
    assert case.of(case.letter(record, 0)).kind is Kind.REPLAY


def test_a_record_that_was_refused_as_a_whole_is_superseded_by_any_of_its_rows() -> None:
    case = Case()
    record = case.event(at(0, 1), A, ("extended_id", "B", {"product": "b"}))
    place = case.letter(record, 0, data_key=None, key_value=None, item=None)
    assert record.rows is not None
    case.copies[place] = Copy(b"", list(record.rows), mended=False)
    assert case.of(place).kind is Kind.REPLAY
    case.event(at(0, 2), ("extended_id", "B", {"product": "new"}))
    assert case.of(place).kind is Kind.SUPERSEDED


# -- other partitions ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("time", "settled", "kind"),
    [
        (1_000_999, True, Kind.REPLAY),
        (1_001_001, True, Kind.SUPERSEDED),
        (1_001_000, True, Kind.UNKNOWN),
        (-1, True, Kind.UNKNOWN),
        (1_000_999, False, Kind.UNKNOWN),
    ],
)
@pytest.mark.parametrize("first", [0, 1])
def test_an_event_in_another_partition(time: int, settled: bool, kind: Kind, first: int) -> None:
    case = Case()
    place = case.rejected(at(0, 1), A)
    case.event(at(1, 1), A, time=time, settled=settled)
    case.records.sort(key=lambda record: record.place.partition != first)
    assert case.of(place).kind is kind, "an event of another partition is as new as its time says"


def test_of_letters_for_different_partitions_the_newest_goes() -> None:
    case = Case()
    older = case.rejected(at(0, 1), A)
    newer = case.rejected(at(1, 5), A)
    assert case.goes() == [newer]
    assert case.of(older).kind is Kind.SUPERSEDED
    assert "another partition" in case.of(older).because


def test_letters_for_different_partitions_with_nothing_in_common_all_go() -> None:
    case = Case()
    places = [
        case.rejected(at(0, 1), A),
        case.rejected(at(1, 5), ("extended_id", "A", {"market": "cn"})),
        case.rejected(at(2, 5), ("extended_id", "B", {"product": "b"})),
    ]
    assert case.goes() == places


# -- gone, strange, looping ------------------------------------------------------------------------


def test_where_the_record_is_gone_nobody_can_tell() -> None:
    case = Case(only_missing=True)
    place = case.letter(case.event(at(0, 1), A), gone=True)
    assert case.of(place).kind is Kind.UNKNOWN
    assert "gone" in case.of(place).because


@pytest.mark.parametrize(
    ("since", "accepted", "kind"),
    [
        (1, ("extended_id", "A", {"market": "cn"}), Kind.REPLAY),
        (1, ("extended_id", "A", {"product": "new"}), Kind.SUPERSEDED),
        (2, ("extended_id", "A", {"market": "cn"}), Kind.UNKNOWN),
    ],
)
def test_receipts_tell_of_what_is_gone_if_they_were_kept_by_then(
    since: int, accepted: Said, kind: Kind
) -> None:
    case = Case()
    place = case.letter(case.event(at(0, 1), A), gone=True)
    case.receipts.append(Receipt(at(0, 2), *accepted))
    case.receipts_from = {(TOPIC, 0): since}
    assert case.of(place).kind is kind


def test_another_record_at_its_place_means_another_topic() -> None:
    case = Case()
    place = case.rejected(at(0, 1), A)
    case.records[0] = case.records[0]._replace(value=b"something else")
    assert case.of(place).kind is Kind.UNKNOWN, "the letter's record is another one now"
    assert "deleted and created again" in case.of(place).because


def test_a_letter_whose_chain_has_lost_its_root_is_of_unknown_age() -> None:
    case = Case()
    place = case.letter(case.event(at(0, 5), A, replay_of=Place(LETTERS, 0, 77)))
    assert case.of(place).kind is Kind.UNKNOWN
    assert "first letter" in case.of(place).because


def test_the_last_letter_of_a_chain_stands_for_it_and_is_as_old_as_the_first() -> None:
    case = Case()
    first = case.rejected(at(0, 1), A)
    second = case.letter(case.event(at(0, 5), A, replay_of=first))
    assert case.goes() == [second]
    case.event(at(0, 2), A)
    assert case.of(second).kind is Kind.SUPERSEDED, "an event between the first and its copy"


@pytest.mark.parametrize(("replays", "kind"), [(2, Kind.REPLAY), (3, Kind.LOOPING)])
def test_what_came_back_three_times_is_looping(replays: int, kind: Kind) -> None:
    case = Case()
    place = case.letter(case.event(at(0, 1), A), replays=replays)
    assert case.of(place).kind is kind


def test_repeats_of_a_letter_go_once() -> None:
    case = Case()
    record = case.event(at(0, 1), A)
    first, second = case.letter(record), case.letter(record)
    assert case.goes() == [second]
    assert case.of(first).kind is Kind.REPLAYED
    case.event(at(0, 2), A, replay_of=first)
    assert case.goes() == []


def test_a_letter_of_which_another_copy_was_not_rejected_is_done() -> None:
    case = Case()
    first = case.rejected(at(0, 1), A)
    again = case.letter(case.event(at(0, 5), A, replay_of=first))
    case.event(at(0, 6), A, replay_of=first)
    assert case.of(again).kind is Kind.REPLAYED


# -- the plan --------------------------------------------------------------------------------------


def test_force_adds_what_is_superseded_unknown_or_looping_in_the_order_of_the_events() -> None:
    case = Case()
    looping = case.letter(case.event(at(0, 3), ("extended_id", "C", {"f": "1"})), replays=3)
    superseded = case.rejected(at(0, 1), A)
    case.event(at(0, 2), A)
    unusable = case.rejected(at(0, 4), A)
    case.copies[unusable] = Unusable("no")
    assert case.goes() == []
    assert case.goes(force=FORCED) == [superseded, looping]
    assert case.goes(force={Kind.LOOPING}) == [looping]


def test_a_copy_goes_where_newer_records_of_its_key_are() -> None:
    case = Case()
    case.rejected(at(0, 1), A, key=b"code")
    case.event(at(5, 2), ("extended_id", "Z", {"f": "1"}), key=b"code")
    [step] = steps(case.verdicts(), case.catalogue, {TOPIC: 9})
    assert (step.topic, step.partition) == (TOPIC, 5)


def test_a_copy_of_a_partition_that_is_gone_goes_where_its_key_belongs() -> None:
    case = Case()
    case.rejected(at(3, 1), A)
    [step] = steps(case.verdicts(), case.catalogue, {TOPIC: 2})
    assert step.partition is None


def test_what_comes_right_before_publishing_is_looked_at_once_more() -> None:
    case = Case()
    place = case.rejected(at(0, 1), A)
    verdicts = case.verdicts()
    assert verdicts.again(place).kind is Kind.REPLAY
    verdicts.see(case.event(at(0, 9), A, settled=False))
    assert verdicts.again(place).kind is Kind.SUPERSEDED


def test_reading_begins_at_the_roots() -> None:
    case = Case()
    first = case.rejected(at(0, 4), A)
    case.letter(case.event(at(0, 9), A, replay_of=first))
    case.rejected(at(1, 7), A)
    verdicts = case.verdicts([Place(LETTERS, 0, 1), Place(LETTERS, 0, 2)])
    assert verdicts.starts() == {(TOPIC, 0): 4, (TOPIC, 1): 7}
    assert verdicts.oldest_time() == 1_004_000


def test_the_headers_of_a_copy_are_the_records_own_and_its_letter() -> None:
    headers = (("trace", b"7"), ("scm.reason", b"x"), ("scm.replays", b"1"))
    letter = Letter(
        Place(LETTERS, 0, 5), 1, b"", b"", headers, at(0, 1), "rejected_by_api", replays=1
    )
    assert headers_of(letter) == [
        ("trace", b"7"),
        ("scm.replay_of", b"letters[0]@5"),
        ("scm.replays", b"2"),
    ]
