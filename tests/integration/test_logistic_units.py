"""Logistic units on a flaky API: items in cases, cases on pallets, some of which are codes."""

from __future__ import annotations

import json
import signal
from collections import Counter
from typing import Any

import pytest

from tests.support.job import Job
from tests.support.process import wait_until

CASES = 60
CHILDREN = 20

Events = list[tuple[bytes, dict[str, Any]]]


def test_an_update_by_the_case_reaches_every_code_that_was_packed_before_it(job: Job) -> None:
    job.sandbox.faults.add("latency", seconds=0.03)
    job.sandbox.faults.add("status", code=503, every=5)
    events: Events = []
    for case in range(CASES):
        name = f"case-{case}"
        key = name.encode()  # one order group for a case and its children
        packed = [
            {"extended_id": f"{name}-{child}", "case_code": name} for child in range(CHILDREN)
        ]
        events += [(key, {"extended_id": item["extended_id"], "line": "L1"}) for item in packed[:3]]
        events += [(key, {**item}) for item in packed]
        shipped = {
            "data_key": "case_code",
            "key_value": name,
            "scm_data": {"ship_date": "2026-11-22"},
        }
        events.append((key, shipped))
        events.append(
            (
                key,
                {
                    "data_key": "case_code",
                    "key_value": name,
                    "scm_data": {"pallet_code": f"p{case % 5}"},
                },
            )
        )
    _produce(job, events)

    out = job.run_to_end()

    assert "dead letters: 0" in out
    codes = job.sandbox.state()["codes"]
    wrong = {
        code: fields
        for code, fields in codes.items()
        if fields.get("ship_date") != "2026-11-22" or fields.get("pallet_code") is None
    }
    assert not wrong, (
        f"{len(wrong)} of {len(codes)} codes missed an update by their case, "
        f"such as {list(wrong)[:3]}"
    )
    assert len(codes) == CASES * CHILDREN


def _produce(job: Job, events: Events) -> None:
    job.kafka.produce(
        job.topic, [(key, json.dumps(event).encode(), None, None) for key, event in events]
    )


def _by_unit(data_key: str, value: str, fields: dict[str, str], *, is_code: bool) -> dict[str, Any]:
    """Return an update by a unit, and of the unit's own code where it has one."""
    event = {"data_key": data_key, "key_value": value, "scm_data": fields}
    return (
        event | {"also_update": {"data_key": "serial_number", "key_value": value}}
        if is_code
        else event
    )


def _load_pallets(job: Job, pallets: int, cases: int, children: int) -> dict[str, dict[str, str]]:
    """Publish how pallets are loaded and shipped; return what must come of it.

    The API learns the units' own codes. Every other case is a code, and every third pallet. A
    pallet, its cases and their items are one order group.
    """
    events: Events = []
    labels: dict[str, dict[str, str]] = {}
    wanted: dict[str, dict[str, str]] = {}
    for number in range(pallets):
        pallet, ship = f"pallet-{number}", {"ship_date": f"2026-11-{number + 1:02d}"}
        key = pallet.encode()
        for place in range(cases):
            case = f"{pallet}-{place}"
            items = [f"{case}-{child}" for child in range(children)]
            events += [
                (key, {"extended_id": item, "activation_status": 1, "product": "P1"})
                for item in items
            ]
            events += [(key, {"extended_id": item, "case_code": case}) for item in items]
            events.append(
                (key, _by_unit("case_code", case, {"pallet_code": pallet}, is_code=place % 2 == 0))
            )
            made = {
                "activation_status": "1",
                "product": "P1",
                "case_code": case,
                "pallet_code": pallet,
                **ship,
            }
            wanted |= dict.fromkeys(items, made)
            if place % 2 == 0:
                labels[f"LABEL-{case}"] = {"serial_number": case}
                wanted[f"LABEL-{case}"] = {"serial_number": case, "pallet_code": pallet, **ship}
        events.append((key, _by_unit("pallet_code", pallet, ship, is_code=number % 3 == 0)))
        if number % 3 == 0:
            labels[f"LABEL-{pallet}"] = {"serial_number": pallet}
            wanted[f"LABEL-{pallet}"] = {"serial_number": pallet, **ship}
    job.sandbox.load(labels, only=False)
    _produce(job, events)
    return wanted


def _differences(job: Job, wanted: dict[str, dict[str, str]]) -> dict[str, Any]:
    """Return codes that are not as they must be, a few of them, each with both."""
    found = job.sandbox.state()["codes"]
    wrong = [code for code in wanted.keys() | found.keys() if wanted.get(code) != found.get(code)]
    return {code: (wanted.get(code), found.get(code)) for code in sorted(wrong)[:5]}


def test_items_in_cases_on_pallets_are_shipped_by_the_pallet_and_units_that_are_codes_with_them(
    job: Job,
) -> None:
    wanted = _load_pallets(job, pallets=12, cases=4, children=12)
    job.sandbox.faults.add("latency", seconds=0.02)
    # so that the units' own codes are late, and a pallet that did not wait for them would be
    # noticed
    job.sandbox.faults.add("status", code=503, text='"data_key":"serial_number"', first=3)
    job.sandbox.faults.add("status", code=503, every=6)

    out = job.run_to_end()

    assert "dead letters: 0" in out
    assert _differences(job, wanted) == {}
    assert job.sandbox.rules()["broken"] == {}
    job.assert_committed_to_the_end()


@pytest.mark.promise("I1", "I9")
def test_after_kill_9_among_pallets_everything_is_as_without_it(job: Job) -> None:
    wanted = _load_pallets(job, pallets=12, cases=4, children=12)
    job.sandbox.faults.add("latency", seconds=0.1)
    job.sandbox.faults.add("status", code=503, every=6)
    with job.process() as consumer:
        wait_until(lambda: job.sandbox.stats()["rows_applied"] > 600, 60, lambda: consumer.err)
        consumer.signal(signal.SIGKILL)
        consumer.wait(10)
    job.sandbox.faults.clear()

    job.run_to_end()

    assert _differences(job, wanted) == {}
    job.assert_committed_to_the_end()


def test_each_rejected_row_of_a_unit_and_its_code_is_one_dead_letter(job: Job) -> None:
    """One code is unknown to the API, beside a unit that it knows; and a field rejects
    both rows.
    """
    job.sandbox.load({"A": {"case_code": "C1"}, "LABEL": {"serial_number": "C2"}}, only=False)
    ship = {"ship_date": "2026-11-22"}
    wrong = {"after_sell_by": "22/11/2026"}
    events = [_by_unit("case_code", "C1", fields, is_code=True) for fields in (ship, wrong)]
    _produce(job, [(b"C1", event) for event in events])

    out = job.run_to_end()

    letters: Counter[tuple[str, str, str]] = Counter()
    for letter in job.kafka.read_all(job.letters):
        headers = {name: value.decode() for name, value in letter.headers}
        offset = headers["__connect.errors.offset"]
        assert letter.value == json.dumps(events[int(offset)]).encode()
        letters[offset, headers["scm.reason"], headers["scm.data_key"]] += 1
    assert letters == {
        ("0", "unknown_key", "serial_number"): 1,
        ("1", "invalid_value", "case_code"): 1,
        ("1", "invalid_value", "serial_number"): 1,
    }
    assert job.sandbox.state()["codes"]["A"] == {"case_code": "C1", **ship}
    assert "2 consumed = 0 accepted + 2 rejected" in out
    job.assert_committed_to_the_end()
