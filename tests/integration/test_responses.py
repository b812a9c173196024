"""Each line of the contract's table of responses, over HTTP: the rows' outcome, and the
process's.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from consumer.sandbox import Sandbox
from tests.support.job import Job
from tests.support.kafka_witness import Witnessed
from tests.support.process import wait_until

GOOD = 150
QUICK: dict[str, dict[str, Any]] = {
    "retry": {"base_seconds": 0.05, "cap_seconds": 0.3},
    "api": {"max_processing_seconds": 1, "timeout_seconds": 3, "concurrency": 4},
}


def events(count: int = GOOD, *bad: str) -> list[dict[str, str]]:
    """Return good codes, with ``bad`` ones in the middle."""
    codes = [f"CODE{number:04d}" for number in range(count)]
    codes[count // 2 : count // 2] = bad
    return [{"extended_id": code, "line": "L1", "note": f"of {code}"} for code in codes]


def letters(job: Job) -> dict[str, dict[str, str]]:
    """Return key value → headers of its dead letter; each once."""
    found: list[Witnessed] = job.kafka.read_all(job.letters)
    by_key = {
        letter.key.decode(): {n: v.decode() for n, v in letter.headers}
        for letter in found
        if letter.key
    }
    assert len(by_key) == len(found), "a row was dead-lettered twice"
    return by_key


def good_codes(count: int = GOOD) -> set[str]:
    return {f"CODE{number:04d}" for number in range(count)}


def uploads(sandbox: Sandbox) -> list[dict[str, Any]]:
    return [entry for entry in sandbox.journal()["requests"] if "upload" in entry["path"]]


PASSING: dict[str, tuple[str, dict[str, Any]]] = {
    "429, wait in seconds": ("throttle", {"first": 2, "retry_after": 1, "form": "seconds"}),
    "429, wait until a date": ("throttle", {"first": 1, "retry_after": 2, "form": "date"}),
    "429, wait in the body's text": ("throttle", {"first": 2, "retry_after": 1, "form": "body"}),
    "429, no wait told": ("throttle", {"first": 3, "form": "none"}),
    "408": ("status", {"code": 408, "first": 2}),
    "500": ("status", {"code": 500, "first": 2}),
    "501": ("status", {"code": 501, "first": 2}),
    "502": ("status", {"code": 502, "first": 2}),
    "503 with Retry-After": ("status", {"code": 503, "first": 2, "retry_after": 1}),
    "504 with nothing updated": ("status", {"code": 504, "first": 2, "seconds": 0.2}),
    "outage of every window: circuit": ("status", {"code": 503, "first": 12}),
    "connection lost before anything was applied": ("reset_before", {"first": 2}),
    "connection lost before the body was read": ("reset_unread", {"first": 2}),
    "connection lost after applying": ("reset_after", {"first": 2}),
    "answer broken off in the middle": ("reset_midway", {"first": 2}),
    "time-out before applying": ("timeout_before", {"first": 1, "seconds": 10}),
    "time-out after applying": ("timeout_after", {"first": 1, "seconds": 10}),
    "answer that trickles in": ("trickle", {"first": 1}),
    "applied late, after the answer was lost": ("late", {"first": 2, "seconds": 0.4}),
    "401 for a while": ("status", {"code": 401, "first": 3}),
    "403 for a while": ("status", {"code": 403, "first": 3}),
    "404 for a while": ("status", {"code": 404, "first": 3}),
    "405 for a while": ("status", {"code": 405, "first": 3}),
    "406 for a while": ("status", {"code": 406, "first": 3}),
    "301": ("redirect", {"code": 301, "first": 2}),
    "302": ("redirect", {"code": 302, "first": 2}),
    "307": ("redirect", {"code": 307, "first": 2}),
    "200 with garbage": ("garbage", {"first": 2}),
    "200 without a body": ("empty", {"first": 2}),
    "a status nobody knows": ("status", {"code": 418, "first": 2}),
    "413 over 60 rows": ("too_large", {"max_rows": 60}),
    "200 without some items": ("omit_rows", {"first": 1, "rows": 3}),
}


@pytest.mark.promise("I1", "I9")
@pytest.mark.parametrize("case", PASSING)
def test_what_passes_costs_no_row_and_no_order(job: Job, case: str) -> None:
    kind, parameters = PASSING[case]
    first, second = events(), [{**event, "line": "L2"} for event in events()]
    job.produce(first + second)
    job.sandbox.faults.add(kind, **parameters)

    out = job.run_to_end(**QUICK)

    assert job.sandbox.faults.listed()[0]["fired"] >= 1, "the fault did not strike"
    assert {
        code: fields["line"] for code, fields in job.sandbox.state()["codes"].items()
    } == dict.fromkeys(good_codes(), "L2"), "each code ends with its later update"
    assert letters(job) == {}
    assert f"{2 * GOOD} consumed = {2 * GOOD} accepted" in out
    job.assert_committed_to_the_end()


@pytest.mark.promise("budget")
@pytest.mark.parametrize("seconds", [1, 2])
def test_what_the_api_asks_to_wait_holds_back_the_whole_process(job: Job, seconds: int) -> None:
    job.produce(events(1000))
    job.sandbox.faults.add("throttle", first=1, retry_after=seconds)

    job.run_to_end(**QUICK)

    requests = uploads(job.sandbox)
    throttled = next(entry["at"] for entry in requests if entry["status"] == 429)
    # Those that were under way already may still arrive; no other for as long as asked.
    after = [entry["at"] - throttled for entry in requests if entry["at"] > throttled + 0.5]
    assert after
    assert min(after) >= seconds - 0.05


@pytest.mark.parametrize("style", ["all", "first", "line", "key"])
def test_a_400_that_names_rows_costs_only_them(job: Job, style: str) -> None:
    job.produce(events(GOOD, "UNKNOWN1", "UNKNOWN2"), partition=0)
    job.sandbox.faults.add("bad_request", style=style)

    job.run_to_end(**QUICK)

    found = letters(job)
    assert found.keys() == {"UNKNOWN1", "UNKNOWN2"}
    assert {headers["scm.reason"] for headers in found.values()} == {"unknown_key"}
    assert job.sandbox.state()["codes"].keys() == good_codes()


@pytest.mark.parametrize("style", ["none", "foreign", "html"])
def test_a_400_that_names_no_row_of_the_window_is_sought_down_to_the_row(
    job: Job, style: str
) -> None:
    job.produce(events(99, "UNKNOWN1"), partition=0)
    job.sandbox.faults.add("bad_request", style=style)

    job.run_to_end(**QUICK)

    found = letters(job)
    assert found.keys() == {"UNKNOWN1"}
    assert found["UNKNOWN1"]["scm.reason"] == "rejected_by_api"
    assert found["UNKNOWN1"]["scm.http_status"] == "400"
    assert found["UNKNOWN1"]["scm.message"]
    assert job.sandbox.state()["codes"].keys() == good_codes(99)
    assert len(uploads(job.sandbox)) <= 14, "at most 2 log2(100) + 1 calls"


def test_a_400_that_applied_some_rows_is_no_reason_to_lose_the_others(job: Job) -> None:
    job.produce(events(GOOD, "UNKNOWN1"), partition=0)
    job.sandbox.faults.add("bad_request", style="first", partial=True)

    job.run_to_end(**QUICK)

    assert letters(job).keys() == {"UNKNOWN1"}
    assert job.sandbox.state()["codes"].keys() == good_codes()


def test_a_product_that_the_api_does_not_know_is_rejected_with_its_words(job: Job) -> None:
    job.produce(
        [
            {"extended_id": "CODE0001", "product": "UNKNOWN-P"},
            {"extended_id": "CODE0002", "product": "P1"},
        ]
    )

    job.run_to_end(**QUICK)

    headers = letters(job)["CODE0001"]
    assert headers["scm.reason"] == "rejected_by_api"
    assert headers["scm.message"] == "Invalid Product"
    assert headers["scm.field"] == "product"
    assert job.sandbox.state()["codes"]["CODE0002"] == {"product": "P1"}


@pytest.mark.parametrize("code", [400, 403])
def test_a_firewall_that_dislikes_one_row_costs_that_row(job: Job, code: int) -> None:
    rows = events(300)
    rows[150]["note"] = "<script>"
    job.produce(rows)
    job.sandbox.faults.add("firewall", text="<script>", code=code)

    job.run_to_end(**QUICK)

    found = letters(job)
    assert found.keys() == {rows[150]["extended_id"]}
    assert found[rows[150]["extended_id"]]["scm.http_status"] == str(code)
    assert job.sandbox.state()["codes"].keys() == good_codes(300) - found.keys()


def test_a_single_row_that_is_too_large_is_rejected(job: Job) -> None:
    job.produce(events(20, "CODE-TOO-LARGE"))
    job.sandbox.faults.add("too_large", max_bytes=1, key="CODE-TOO-LARGE")

    job.run_to_end(**QUICK)

    assert letters(job)["CODE-TOO-LARGE"]["scm.http_status"] == "413"
    assert job.sandbox.state()["codes"].keys() == good_codes(20)


def given_up(job: Job) -> bool:
    return any((job.kafka.end_offsets(job.letters) or {}).values())


def wait_for_code_or_letter(job: Job, code: str) -> None:
    wait_until(lambda: code in job.sandbox.state()["codes"] or given_up(job), 20)


def test_a_window_that_keeps_failing_while_others_pass_shrinks_to_the_row_at_fault(
    job: Job,
) -> None:
    job.produce(events(200, "CODE-POISON"))
    job.sandbox.faults.add("status", code=500, key="CODE-POISON")
    settings = {**QUICK, "retry": {"base_seconds": 0.02, "cap_seconds": 0.1, "give_up_seconds": 1}}
    with job.process("--until-end", **settings) as consumer:
        # give_up_seconds counts time in which others are accepted: so others come.
        for number in range(60):
            job.produce([{"extended_id": f"LATER{number}", "line": "L1", "note": "x"}])
            # Once the row is given up the process ends, and may do so before it has read the
            # latest.
            wait_for_code_or_letter(job, f"LATER{number}")
            if given_up(job):
                break
        assert consumer.wait(30) == 0, consumer.err
    found = letters(job)
    assert found.keys() == {"CODE-POISON"}
    assert found["CODE-POISON"]["scm.reason"] == "api_error"
    assert good_codes(200) <= job.sandbox.state()["codes"].keys()


def test_when_everything_is_rejected_uploading_pauses_before_all_is_dead_lettered(job: Job) -> None:
    job.produce([{"extended_id": f"UNKNOWN{number:04d}", "line": "L1"} for number in range(1000)])
    settings = {**QUICK, "dead_letter": {"topic": job.letters, "pause_after_rejections": 200}}
    with job.process(**settings) as consumer:
        line = consumer.wait_for_line("uploading is paused", 30)
        assert "nothing accepted" in line
        before = len(uploads(job.sandbox))
        wait_until(lambda: len(uploads(job.sandbox)) > before + 2, 20)
        assert sum(job.kafka.end_offsets(job.letters).values()) < 1000
        job.produce([{"extended_id": "CODE0001", "line": "L1"}])
        consumer.wait_for_line("uploading goes on", 60)
        consumer.running.terminate()
        assert consumer.wait(30) == 0


def test_fields_that_the_campaign_discards_are_no_reason_to_fail(job: Job) -> None:
    job.produce(events())
    job.sandbox.faults.add("campaign_fields", fields=["line"])

    job.run_to_end(**QUICK)

    assert letters(job) == {}
    assert job.sandbox.state()["codes"]["CODE0001"] == {"line": "L1"}


BAD = {
    "undecodable": b"{not json",
    "invalid_event": b'["a list"]',
    "key_missing": b'{"line": "L1"}',
    "key_blank": '{"extended_id": "\u2003 ", "line": "L1"}'.encode(),
    "value_too_long": json.dumps({"extended_id": "BAD-LONG", "line": "x" * 51}).encode(),
    "forbidden_field": b'{"extended_id": "BAD-CONSUMED", "date_consumed": "2026-01-01"}',
    "invalid_value": b'{"extended_id": "BAD-STATUS", "activation_status": 3}',
    "key_conflict": b'{"key_value": "BAD-KEY", "scm_data": {"extended_id": "OTHER", "line": "1"}}',
    "no_fields": b'{"extended_id": "BAD-EMPTY", "line": null}',
}
MORE_INVALID = {
    b'{"extended_id": "BAD-V1", "status": "x"}',
    b'{"extended_id": "BAD-V2", "activation_status": ""}',
    b'{"extended_id": "BAD-V3", "product": ""}',
    b'{"extended_id": "BAD-V4", "blacklist_reason": 11}',
    b'{"extended_id": "BAD-V5", "after_sell_by": "2026-02-30"}',
    b'{"extended_id": "BAD-V6", "packed_on": "01/12/2016"}',
}


def test_a_row_that_fails_a_rule_is_never_sent_and_its_letter_says_which(job: Job) -> None:
    records = [(b"bad", raw, None, None) for raw in [*BAD.values(), *sorted(MORE_INVALID)]]
    job.kafka.produce(job.topic, [*records, (b"t", None, None, None)])
    job.produce(events(50))

    out = job.run_to_end(**QUICK, events={"date_fields": ["packed_on"]})

    found = job.kafka.read_all(job.letters)
    told = {(dict(letter.headers)["scm.reason"].decode(), letter.value) for letter in found}
    assert told == {*BAD.items(), *(("invalid_value", raw) for raw in MORE_INVALID)}
    assert len(found) == len(records)
    sent = {key for entry in uploads(job.sandbox) for key in entry["keys"]}
    assert sent == good_codes(50)
    assert job.sandbox.rules()["broken"] == {}
    assert (
        f"{50 + len(records) + 1} consumed = 50 accepted + {len(records)} rejected + 1 skipped"
        in out
    )
