"""Dead letters as they are read: this program's, Kafka Connect's, foreign and damaged ones."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.adapters.kafka.dead_letter import headers_of
from consumer.core.effects import DeadLetter
from consumer.core.model import Record, Rejection, Row
from consumer.core.offsets.partition import Partition
from consumer.dead_letters.letter import (
    ADDED_HEADERS,
    Header,
    Letter,
    Marker,
    Place,
    read,
    resolves_text,
)
from consumer.dead_letters.resolving import markers

AT = Place("scm.events.dlq", 1, 7)


def letter_of(*headers: Header, value: bytes | None = b"{}", key: bytes | None = b"k") -> Letter:
    letter = read(AT, 1_800_000_000_000, key, value, headers)
    assert isinstance(letter, Letter)
    return letter


def written(own: list[Header]) -> list[Header]:
    """The headers that the consumer writes, every one of them."""
    record = Record(Partition("scm.events", 3, 0, None), 512, b"raw", 1, event_id="e-1")
    row = Row(record, "extended_id", "A", {"extended_id": "A", "line": "L1"}, (), 0, attempts=2)
    why = Rejection("rejected_by_api", "No SKU", "product", "upload", 400)
    return headers_of(DeadLetter(row, why), own, "1.2.3")  # type: ignore[return-value, arg-type]


def test_what_the_consumer_writes_is_read_back_whole() -> None:
    letter = letter_of(*written([("traceparent", b"00-1")]))
    assert (letter.source, letter.reason, letter.message) == (
        Place("scm.events", 3, 512),
        "rejected_by_api",
        "No SKU",
    )
    assert (letter.field, letter.data_key, letter.key_value) == ("product", "extended_id", "A")
    assert letter.item == {"extended_id": "A", "line": "L1"}
    assert (letter.stage, letter.http_status, letter.attempts) == ("upload", 400, 2)
    assert (letter.event_id, letter.consumer, letter.ours) == ("e-1", "1.2.3", True)
    assert (letter.replay_of, letter.replays) == (None, 0)


def test_the_added_headers_are_those_that_the_consumer_adds() -> None:
    assert {name for name, _ in written([])} == ADDED_HEADERS


def test_the_headers_of_the_original_record_are_what_nobody_added() -> None:
    own: list[Header] = [("traceparent", b"00-1"), ("x", None), ("__connect.errors.task.id", b"1")]
    came_back: list[Header] = [("scm.replay_of", str(AT).encode()), ("scm.replays", b"1")]
    letter = letter_of(*written(own + came_back))
    assert list(letter.original_headers) == own
    assert (letter.replay_of, letter.replays) == (AT, 1)


def test_a_letter_of_kafka_connect_is_listed_as_what_it_is() -> None:
    letter = letter_of(
        ("own", b"1"),
        ("__connect.errors.topic", b"orders"),
        ("__connect.errors.partition", b"2"),
        ("__connect.errors.offset", b"9"),
        ("__connect.errors.connector.name", b"sink"),
        ("__connect.errors.exception.message", b"no such column"),
    )
    assert (letter.reason, letter.message, letter.ours) == ("connect", "no such column", False)
    assert letter.source == Place("orders", 2, 9)
    assert letter.original_headers == (("own", b"1"),)


def test_a_foreign_record_is_a_letter_of_which_little_is_known() -> None:
    letter = letter_of(value=None, key=None)
    assert (letter.reason, letter.source, letter.item) == ("foreign", None, None)


@pytest.mark.parametrize(
    ("name", "raw"),
    [
        ("__connect.errors.partition", b"two"),
        ("__connect.errors.offset", b"-1"),
        ("__connect.errors.topic", "größe".encode()),
        ("__connect.errors.topic", None),
    ],
)
def test_a_source_that_is_damaged_is_no_source(name: str, raw: bytes | None) -> None:
    headers = [(n, v) for n, v in written([]) if n != name] + [(name, raw)]
    assert letter_of(*headers).source is None


@pytest.mark.parametrize("raw", [b"", b"[", b"[]", b"{}", b'{"a":1}', b"\xff", None])
def test_a_row_that_is_damaged_is_not_known(raw: bytes | None) -> None:
    assert letter_of(("scm.reason", b"unknown_key"), ("scm.row", raw)).item is None


@given(
    st.lists(
        st.tuples(
            st.sampled_from([*sorted(ADDED_HEADERS), "scm.resolves", "scm.replay_of", "x"]),
            st.none() | st.binary(max_size=20),
        )
    ),
    st.none() | st.binary(max_size=5),
)
def test_no_record_raises_anything(headers: list[Header], value: bytes | None) -> None:
    read(AT, -1, None, value, headers)


# -- markers -------------------------------------------------------------------------------------


def test_a_marker_names_the_letters_of_one_partition_and_is_no_letter() -> None:
    text = resolves_text("scm.events.dlq", 3, [7, 9, 10, 11, 20])
    assert text == "scm.events.dlq[3]@7,9-11,20"
    headers = [("scm.resolves", text.encode()), ("scm.because", b"sold")]
    marker = read(AT, 5, b"scm.resolves", None, headers)
    ranges = ((7, 7), (9, 11), (20, 20))
    assert marker == Marker(AT, 5, "scm.events.dlq", 3, ranges, "sold")


def test_a_marker_of_a_replay_says_that_its_letters_were_brought_back() -> None:
    (record,) = markers("scm.events.dlq", [(3, 7)], "replayed", replayed=True)
    marker = read(AT, 5, record.key, record.value, record.headers)
    assert isinstance(marker, Marker)
    assert (marker.replayed, marker.ranges) == (True, ((7, 7),))


@pytest.mark.parametrize("text", [b"", b"all", b"t[1]@", b"t[1]@5,", b"t[1]@5-", b"t[x]@1"])
def test_a_marker_that_names_nothing_readably_is_nothing(text: bytes) -> None:
    assert read(AT, 5, None, None, [("scm.resolves", text)]) is None


def test_a_record_with_a_value_is_a_letter_whatever_its_headers() -> None:
    assert letter_of(("scm.resolves", b"t[1]@5"), value=b"x").place == AT


@given(st.sets(st.integers(0, 200), min_size=1))
def test_the_offsets_of_a_marker_are_read_back(offsets: set[int]) -> None:
    text = resolves_text("t", 0, sorted(offsets)).encode()
    marker = read(AT, 5, None, None, [("scm.resolves", text)])
    assert isinstance(marker, Marker)
    named = {n for low, high in marker.ranges for n in range(low, high + 1)}
    assert named == offsets
