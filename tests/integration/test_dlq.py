"""``dlq list``, ``show``, ``stats`` and ``resolve``, on the real broker."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from consumer.sandbox import Sandbox
from tests.integration.dead_letters import dlq, listed, rejected, write_letter
from tests.support.job import Job
from tests.support.kafka_witness import Kafka, unique


@pytest.fixture(scope="module")
def seen(kafka: Kafka, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Job]:
    """A job of which four rows are dead letters; tests only look at it.

    Three are of the API's, one event cannot be read.
    """
    with Sandbox() as sandbox:
        job = Job(kafka, sandbox, tmp_path_factory.mktemp("seen"), partitions=8)
        job.produce([rejected(f"CODE-{number}") for number in range(3)], partition=0)
        job.produce([{"extended_id": "CODE-OK", "line": "L1"}], partition=0)
        job.kafka.produce(job.topic, [(b"k", b"{no json", 1, [("own", b"1")])])
        job.run_to_end()
        job.produce([{"extended_id": "CODE-1", "line": "L2"}], partition=0)
        job.run_to_end()
        yield job


@pytest.fixture
def letters(job: Job) -> Job:
    """A job with four letters of its own, which its tests may change."""
    for number in range(3):
        item = {"extended_id": f"CODE-{number}", "product": "UNKNOWN-SKU"}
        write_letter(job, number % 2, json.dumps(item), source=number, item=item)
    write_letter(job, 0, "{no json", source=3, reason="undecodable")
    return job


def test_a_letter_is_listed_with_when_why_whose_and_from_where(seen: Job) -> None:
    found = listed(seen)
    assert len(found) == 4
    (one,) = [letter for letter in found if letter["key_value"] == "CODE-1"]
    assert one["letter"]["topic"] == seen.letters
    assert one["source"] == {"topic": seen.topic, "partition": 0, "offset": 1}
    assert (one["reason"], one["state"], one["field"]) == ("rejected_by_api", "open", "product")
    assert "Invalid Product" in one["message"]
    assert one["data_key"] == "extended_id"
    lines = dlq(seen, "list").stdout.splitlines()
    assert len(lines) == 4
    (line,) = [line for line in lines if "CODE-1" in line]
    place = f"{seen.letters}[{one['letter']['partition']}]@{one['letter']['offset']}"
    assert line.startswith(f"{one['at']}  {place}")
    assert "  open  rejected_by_api  extended_id=CODE-1" in line
    assert f"{seen.topic}[0]@1" in line


@pytest.mark.parametrize(
    ("arguments", "count"),
    [
        (("--reason", "undecodable"), 1),
        (("--reason", "undecodable", "--reason", "rejected_by_api"), 4),
        (("--key", "CODE-1", "--key", "CODE-2"), 2),
        (("--key", "CODE-1", "--reason", "undecodable"), 0),
        (("--data-key", "extended_id"), 3),
        (("--field", "product"), 3),
        (("--message", "invalid product"), 3),
        (("--since", "1h"), 4),
        (("--until", "1h"), 0),
        (("--state", "resolved"), 0),
        (("--limit", "2"), 2),
    ],
)
def test_each_filter_narrows_and_of_a_repeated_one_any_value_does(
    seen: Job, arguments: tuple[str, ...], count: int
) -> None:
    assert len(listed(seen, *arguments)) == count


def test_letters_are_told_by_the_place_of_their_event(seen: Job) -> None:
    assert len(listed(seen, "--source", seen.topic)) == 4
    assert len(listed(seen, "--source", f"{seen.topic}:1")) == 1
    assert listed(seen, "--source", "another") == []
    dlq(seen, "list", "--source", "a topic", code=2)


def test_the_same_complaint_about_many_codes_is_counted_as_one(seen: Job) -> None:
    counts = json.loads(dlq(seen, "stats", "--json").stdout)
    assert counts["states"] == {"open": 4, "replayed": 0, "resolved": 0}
    assert counts["reasons"][0] == {
        "name": "rejected_by_api",
        "open": 3,
        "replayed": 0,
        "resolved": 0,
    }
    assert counts["messages"][0]["open"] == 3
    assert [source["open"] for source in counts["sources"]] == [3, 1]
    assert sum(hour["open"] for hour in counts["hours"]) == 4
    text = dlq(seen, "stats").stdout
    assert f"{seen.letters}: 4 dead letters" in text
    assert "4 open, 0 replayed, 0 resolved" in text


def test_a_letter_is_shown_with_its_record_its_headers_and_what_became_of_its_code(
    seen: Job,
) -> None:
    (one,) = listed(seen, "--key", "CODE-1")
    place = "{topic}[{partition}]@{offset}".format(**one["letter"])
    text = dlq(seen, "show", place).stdout
    assert "extended_id  CODE-1" in text
    assert "product      UNKNOWN-SKU" in text
    assert "scm.reason" in text
    since = text.partition("what became of the code since\n")[2].splitlines()
    assert ["dead_lettered: " in line for line in since] == [True, False]
    shown = json.loads(dlq(seen, "show", place, "--json").stdout)
    assert shown["row"] == {"extended_id": "CODE-1", "product": "UNKNOWN-SKU"}
    assert json.loads(shown["value"]) == shown["row"]
    assert ["scm.reason", "rejected_by_api"] in shown["headers"]
    assert [event["fate"] for event in shown["since"]] == ["dead_lettered", "unknown"]


def test_a_letter_that_cannot_be_read_is_shown_all_the_same(seen: Job) -> None:
    (one,) = listed(seen, "--reason", "undecodable")
    text = dlq(seen, "show", "{topic}[{partition}]@{offset}".format(**one["letter"])).stdout
    assert "value  {no json" in text
    assert "would be rejected: undecodable" in text
    assert "own" in text
    assert "the letter names no code" in text


def test_a_place_without_a_letter_is_told_as_what_it_is(letters: Job) -> None:
    name = letters.letters
    letters.kafka.delete_records(name, {0: 1})
    end = letters.kafka.end_offsets(name)[0]
    assert "retention has removed it" in dlq(letters, "show", f"{name}[0]@0", code=1).stderr
    assert "it is not there yet" in dlq(letters, "show", f"{name}[0]@{end}", code=1).stderr
    assert "partitions 0 to 1" in dlq(letters, "show", f"{name}[7]@0", code=1).stderr
    events = f"{letters.topic}[0]@0"
    assert "is not the dead-letter topic" in dlq(letters, "show", events, code=1).stderr
    assert "is no place" in dlq(letters, "show", "7", code=2).stderr


def test_a_dead_letter_topic_that_is_not_there_is_told(job: Job) -> None:
    done = dlq(job, "list", code=1, sections={"dead_letter": {"topic": "nowhere"}})
    assert "the dead-letter topic nowhere is not there" in done.stderr


# -- resolve -------------------------------------------------------------------------------------


def test_what_is_resolved_stays_and_says_why_and_twice_changes_nothing(letters: Job) -> None:
    done = dlq(letters, "resolve", "--reason", "rejected_by_api", "--because", "sold", "--yes")
    assert "resolved 3 letters" in done.stdout
    found = listed(letters)
    states = {letter["key_value"]: (letter["state"], letter["because"]) for letter in found}
    assert states == {
        "CODE-0": ("resolved", "sold"),
        "CODE-1": ("resolved", "sold"),
        "CODE-2": ("resolved", "sold"),
        None: ("open", None),
    }
    ends = letters.kafka.end_offsets(letters.letters)
    again = dlq(letters, "resolve", "--reason", "rejected_by_api", "--because", "no", "--yes")
    assert "resolved 0 letters" in again.stdout
    assert letters.kafka.end_offsets(letters.letters) == ends


def test_a_marker_is_no_letter_anywhere(letters: Job) -> None:
    before = letters.kafka.end_offsets(letters.letters)
    dlq(letters, "resolve", "--because", "all of it", "--yes")
    after = letters.kafka.end_offsets(letters.letters)
    markers = sum(after.values()) - sum(before.values())
    assert markers == sum(1 for end in before.values() if end)
    assert len(listed(letters)) == 4
    number = next(number for number, end in after.items() if end > before[number])
    place = f"{letters.letters}[{number}]@{before[number]}"
    assert "a marker of dlq resolve: it resolves" in dlq(letters, "show", place, code=1).stderr
    counts = json.loads(dlq(letters, "stats", "--json").stdout)
    assert (counts["letters"], counts["states"]["resolved"]) == (4, 4)


def test_nothing_is_resolved_unless_somebody_agrees(letters: Job) -> None:
    ask = ("resolve", "--key", "CODE-1", "--because", "sold")
    ends = letters.kafka.end_offsets(letters.letters)
    assert "--yes for scripts" in dlq(letters, *ask, code=1).stderr
    assert "Resolve 1 open letters?" in dlq(letters, *ask, code=1, said="n\n").stderr
    assert "would resolve 1 letters" in dlq(letters, *ask, "--dry-run").stdout
    assert letters.kafka.end_offsets(letters.letters) == ends
    assert "resolved 1 letters" in dlq(letters, *ask, said="y\n").stdout
    dlq(letters, "resolve", "--because", " ", code=2)


# -- what others wrote, and what was brought back ------------------------------------------------


def test_records_of_others_are_listed_as_what_they_are(job: Job) -> None:
    connect = [
        ("__connect.errors.topic", b"orders"),
        ("__connect.errors.partition", b"0"),
        ("__connect.errors.offset", b"5"),
        ("__connect.errors.exception.message", b"no\x1b[2J such column"),
    ]
    job.kafka.produce(job.letters, [(None, b"x", 0, connect), (None, None, 0, None)])
    first, second = listed(job)
    assert (first["reason"], first["source"]["topic"]) == ("connect", "orders")
    assert (second["reason"], second["source"]) == ("foreign", None)
    text = dlq(job, "list").stdout
    assert "\x1b" not in text
    assert "no\\x1b[2J such column" in text


def test_what_was_brought_back_is_replayed_and_what_came_of_it_is_told(job: Job) -> None:
    item = rejected("CODE-1")
    row = json.dumps(item)
    write_letter(job, 0, row, source=0, item=item)
    copy = [("scm.replay_of", f"{job.letters}[0]@0".encode()), ("scm.replays", b"1")]
    job.kafka.produce(job.topic, [(b"k", row.encode(), 3, copy)])
    (letter,) = listed(job)
    assert letter["state"] == "replayed"
    assert letter["replayed_to"] == {"topic": job.topic, "partition": 3, "offset": 0}
    assert letter["came_back"] is None

    job.run_to_end()

    first, second = listed(job)
    assert (first["state"], first["came_back"]) == ("replayed", second["letter"])
    assert (second["state"], second["source"]) == ("open", first["replayed_to"])
    # The copy goes with retention; that it came back still shows that it was there.
    job.kafka.delete_records(job.topic, {3: 1})
    assert [letter["state"] for letter in listed(job)] == ["replayed", "open"]


def test_a_topic_that_is_written_to_for_ever_is_read_to_its_end_as_it_was(job: Job) -> None:
    name = job.kafka.create_topic(unique("letters"))
    job.kafka.produce_transaction(name, [(None, b"x", 0, None)])
    job.kafka.produce_transaction(name, [(None, b"y", 0, None)], abort=True)
    assert len(listed(job, dead_letter={"topic": name})) == 1
