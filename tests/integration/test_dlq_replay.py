"""``dlq replay`` on the real broker: brought back in order, and nothing is undone by it."""

from __future__ import annotations

import json
import signal
from collections import Counter
from typing import Any

import pytest

from tests.integration.dead_letters import dlq, listed, rejected, write_letter
from tests.support.job import Job
from tests.support.kafka_witness import Witnessed
from tests.support.process import ConsumerProcess, wait_until

pytestmark = pytest.mark.promise("replay")

REJECTED = 50


def copies(job: Job) -> dict[str, list[Witnessed]]:
    """Return the records that replays wrote, by the letter that they are of."""
    found: dict[str, list[Witnessed]] = {}
    for record in job.kafka.read_all(job.topic):
        of = dict(record.headers).get("scm.replay_of")
        if of is not None:
            found.setdefault(of.decode(), []).append(record)
    return found


def records(job: Job) -> int:
    """Return how many records there are of events."""
    return sum(job.kafka.end_offsets(job.topic).values())


def codes_of(job: Job) -> dict[str, dict[str, str]]:
    """Return what the API holds of each code."""
    found: dict[str, dict[str, str]] = job.sandbox.state()["codes"]
    return found


@pytest.fixture
def wrong_sku(job: Job) -> Job:
    """Fifty rows were rejected for a wrong SKU; ten of their codes have been updated since."""
    job.produce([rejected(f"CODE-{number}", line="L1") for number in range(REJECTED)])
    job.run_to_end()
    job.produce([{"extended_id": f"CODE-{number}", "product": "SKU-NEW"} for number in range(5)])
    job.produce([{"extended_id": f"CODE-{number}", "step": "later"} for number in range(5, 10)])
    job.run_to_end()
    return job


def test_no_code_is_set_back_when_rows_with_a_wrong_sku_are_brought_back(wrong_sku: Job) -> None:
    job = wrong_sku
    mend = ("replay", "--reason", "rejected_by_api", "--set", "product=SKU-2")

    planned = dlq(job, *mend, "--dry-run").stdout

    assert "50 letters of" in planned
    assert "replay             45  goes" in planned
    assert "superseded          5  stays" in planned
    assert "product set since" in planned
    assert copies(job) == {}

    done = dlq(job, *mend, "--yes", code=1)

    assert "sent 45 letters; not sent: 5 superseded" in done.stdout
    job.run_to_end()
    codes = codes_of(job)
    for number in range(REJECTED):
        product = "SKU-NEW" if number < 5 else "SKU-2"
        assert codes[f"CODE-{number}"]["product"] == product, f"CODE-{number} was set back"
    assert Counter(letter["state"] for letter in listed(job)) == {"replayed": 45, "open": 5}

    again = dlq(job, *mend, "--yes", code=1)

    assert "sent 0 letters; not sent: 5 superseded" in again.stdout
    assert sum(map(len, copies(job).values())) == 45


def test_what_no_newer_event_set_goes_alone_where_that_is_wanted(wrong_sku: Job) -> None:
    job = wrong_sku
    mend = ("replay", "--set", "product=SKU-2", "--only-missing", "--yes")
    assert "sent 50 letters" in dlq(job, *mend).stdout
    job.run_to_end()
    codes = codes_of(job)
    assert [codes[f"CODE-{number}"]["product"] for number in range(6)] == ["SKU-NEW"] * 5 + [
        "SKU-2"
    ]
    assert {codes[f"CODE-{number}"]["line"] for number in range(REJECTED)} == {"L1"}


def test_nothing_goes_unless_somebody_agrees(wrong_sku: Job) -> None:
    ask = ("replay", "--key", "CODE-20", "--set", "product=SKU-2")
    assert "--yes for scripts" in dlq(wrong_sku, *ask, code=1).stderr
    assert "Send 1 letters?" in dlq(wrong_sku, *ask, code=1, said="n\n").stderr
    assert copies(wrong_sku) == {}
    assert "sent 1 letters" in dlq(wrong_sku, *ask, said="y\n").stdout


def test_what_is_not_mended_goes_byte_for_byte_to_where_it_came_from(job: Job) -> None:
    raw = b' {"extended_id" : "CODE-1", "product": "UNKNOWN-SKU"}\n'
    own = [("traceparent", b"00-1"), ("empty", b"")]
    job.kafka.produce(job.topic, [(b"some key", raw, 5, own)])
    job.run_to_end()

    done = dlq(job, "replay", "--yes", "--json")

    (told,) = [json.loads(line) for line in done.stdout.splitlines()]
    assert (told["verdict"], told["state"]) == ("replay", "replayed")
    ((place, (copy,)),) = copies(job).items()
    assert told["sent"] == {"topic": job.topic, "partition": 5, "offset": copy.offset}
    assert (copy.partition, copy.key, copy.value) == (5, b"some key", raw)
    assert copy.headers == [*own, ("scm.replay_of", place.encode()), ("scm.replays", b"1")]

    for number in (2, 3):  # it is rejected again, and again
        job.run_to_end()
        dlq(job, "replay", "--yes")
        replays = [dict(copy.headers)["scm.replays"] for (copy,) in copies(job).values()]
        assert replays[-1] == b"%d" % number
    job.run_to_end()
    assert "looping             1  stays" in dlq(job, "replay", "--yes", code=1).stdout
    assert "looping             1  goes" in dlq(job, "replay", "--force", "--dry-run").stdout


def test_a_row_of_a_record_of_several_goes_alone(job: Job) -> None:
    event = {
        "event_id": "e-1",
        "data_key": "case_code",
        "key_value": "case-1",
        "scm_data": {"line": "L1"},
        "also_update": {"data_key": "extended_id", "key_value": "UNKNOWN-1"},
    }
    job.kafka.produce(job.topic, [(b"k", json.dumps(event).encode(), 0, None)])
    job.run_to_end()
    letters = [letter for letter in listed(job) if letter["key_value"] == "UNKNOWN-1"]
    assert len(letters) == 1
    dlq(job, "replay", "--key", "UNKNOWN-1", "--yes")
    ((copy,),) = copies(job).values()
    sent = json.loads(copy.value or b"")
    assert (sent["data_key"], sent["key_value"]) == ("extended_id", "UNKNOWN-1")
    assert (sent["scm_data"], sent["event_id"]) == ({"line": "L1"}, "e-1")
    assert "also_update" not in sent


def test_letters_of_one_code_go_in_the_order_of_their_events(job: Job) -> None:
    items = [rejected("CODE-1", step=str(number)) for number in range(5)]
    job.produce(items, partition=3)
    job.run_to_end()
    dlq(job, "replay", "--set", "product=SKU-2", "--yes")
    job.run_to_end()
    sent = sorted((copy for (copy,) in copies(job).values()), key=lambda copy: copy.offset)
    steps = [json.loads(copy.value or b"")["scm_data"]["step"] for copy in sent]
    assert steps == ["0", "1", "2", "3", "4"]
    assert codes_of(job)["CODE-1"] == {"product": "SKU-2", "step": "4"}


def test_what_nobody_can_mend_says_why(job: Job) -> None:
    job.kafka.produce(job.topic, [(b"k", b"{no json", 0, None)])
    job.run_to_end()
    write_letter(job, 0, "{}", source=7, reason="")
    done = dlq(job, "replay", "--yes", code=1)
    assert "unusable            2  stays" in done.stdout
    assert "sent 0 letters; not sent: 2 unusable" in done.stdout


def test_a_letter_of_which_events_are_gone_does_not_go(wrong_sku: Job) -> None:
    job = wrong_sku
    ends = job.kafka.end_offsets(job.topic)
    job.kafka.delete_records(job.topic, ends)
    job.produce([{"extended_id": "OTHER", "line": "L1"}])
    job.run_to_end()
    done = dlq(job, "replay", "--set", "product=SKU-2", "--yes", code=1)
    assert "unknown            50  stays" in done.stdout
    assert "sent 0 letters" in done.stdout


def test_what_was_resolved_or_brought_back_counts_as_done(wrong_sku: Job) -> None:
    job = wrong_sku
    dlq(job, "resolve", "--key", "CODE-1", "--because", "scrapped", "--yes")
    done = dlq(job, "replay", "--key", "CODE-1", "--set", "product=SKU-2", "--yes")
    assert "resolved            1  done before" in done.stdout
    dlq(job, "replay", "--key", "CODE-20", "--set", "product=SKU-2", "--yes")
    job.run_to_end()
    # The copy goes with retention; that it was there is known from the marker.
    job.kafka.delete_records(job.topic, job.kafka.end_offsets(job.topic))
    done = dlq(job, "replay", "--key", "CODE-20", "--set", "product=SKU-2", "--yes")
    assert "replayed            1  done before" in done.stdout
    (letter,) = listed(job, "--key", "CODE-20")
    assert letter["state"] == "replayed"


def test_a_replay_that_was_killed_is_run_again_and_nothing_goes_twice(job: Job) -> None:
    count = 200
    job.produce([rejected(f"CODE-{number}", line="L1") for number in range(count)])
    job.run_to_end()
    mend = ("replay", "--set", "product=SKU-2", "--yes")
    for _ in range(2):
        before = records(job)
        with ConsumerProcess(
            job.folder, job.settings(), "dlq", *mend, "--rate", "20", name="dlq"
        ) as replay:
            wait_until(lambda before=before: records(job) >= before + 40, 60)  # type: ignore[misc]
            replay.signal(signal.SIGKILL)
            assert replay.wait(10) == -signal.SIGKILL
    dlq(job, *mend)
    sent = copies(job)
    assert len(sent) == count
    twice = {place: len(found) for place, found in sent.items() if len(found) > 1}
    # What was written and not acknowledged yet when it was killed is found in the topic, too.
    assert twice == {}
    job.run_to_end()
    codes: dict[str, Any] = codes_of(job)
    assert {codes[f"CODE-{number}"]["product"] for number in range(count)} == {"SKU-2"}


def test_a_signal_ends_it_between_two_batches_and_says_how_to_go_on(job: Job) -> None:
    job.produce([rejected(f"CODE-{number}") for number in range(100)])
    job.run_to_end()
    mend = ("replay", "--set", "product=SKU-2", "--yes")
    before = records(job)
    with ConsumerProcess(
        job.folder, job.settings(), "dlq", *mend, "--rate", "10", name="dlq"
    ) as replay:
        wait_until(lambda: records(job) >= before + 10, 60)
        replay.signal(signal.SIGTERM)
        assert replay.wait(30) == 143, replay.err
        assert "stopped; run it again" in replay.err
    sent = len(copies(job))
    assert 10 <= sent < 100
    assert f"sent {100 - sent} letters" in dlq(job, *mend).stdout
