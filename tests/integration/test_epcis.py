"""Documents of EPCIS, on a flaky API: the rows of one record keep their order, within
the limits.
"""

from __future__ import annotations

import json
from typing import Any

from tests.support.job import Job
from tests.unit.epcis import aggregation, document, object_event

CASES = 40
CHILDREN = 20


def _unit(digit: int, number: int) -> str:
    """Return an SSCC: its last digit checks the others."""
    digits = f"{digit}{number:016d}"
    total = sum(int(one) * (1 if place % 2 else 3) for place, one in enumerate(digits))
    return f"{digits}{-total % 10}"


def _sscc(digit: int, number: int) -> str:
    return f"https://id.gs1.org/00/{_unit(digit, number)}"


def _shift(case: int) -> dict[str, Any]:
    """Return a case's life in one record.

    It is two events for each code, then three that reach them by their units.
    """
    items = [f"CODE-{case}-{child}" for child in range(CHILDREN)]
    pallet = _sscc(2, case % 4)
    return document(
        object_event(*items, action="ADD", bizStep="commissioning"),
        aggregation(_sscc(1, case), *items, bizStep="packing"),
        object_event(_sscc(1, case), bizStep="receiving"),
        object_event(items[0], type="TransactionEvent", eventID=f"urn:uuid:{case}"),
        aggregation(pallet, _sscc(1, case)),
        object_event(
            _sscc(1, case), bizStep="shipping", eventTime=f"2026-11-{case % 20 + 1:02d}T12:00:00Z"
        ),
        object_event(items[-1], action="DELETE", bizStep="destroying"),
    )


def test_a_document_that_commissions_packs_and_ships_reaches_every_code_in_order(job: Job) -> None:
    job.sandbox.faults.add("latency", seconds=0.03)
    job.sandbox.faults.add("status", code=503, every=5)
    records = [
        (f"case-{case}".encode(), json.dumps(_shift(case)).encode(), None, None)
        for case in range(CASES)
    ]
    job.kafka.produce(job.topic, records)

    codes = [r"case_code = 00/(1\d{17})", r"pallet_code = 00/(2\d{17})", r"extended_id = (CODE-.+)"]
    limits = {"max_unsettled_rows": 200}  # four records: most of them wait for room
    out = job.run_to_end(epcis={"codes": codes}, limits=limits)

    assert f"dead letters: {CASES}" in out
    state = job.sandbox.state()["codes"]
    assert len(state) == CASES * CHILDREN
    for code, fields in state.items():
        case, child = map(int, code.split("-")[1:])
        assert fields["case_code"] == _unit(1, case)
        assert fields["pallet_code"] == _unit(2, case % 4)
        assert fields["ship_date"] == f"2026-11-{case % 20 + 1:02d}"
        assert fields["receive_date"] == "2026-11-23"
        assert fields["activation_status"] == ("2" if child == CHILDREN - 1 else "1")
    job.assert_committed_to_the_end()
    letters = job.kafka.read_all(job.letters)
    assert len(letters) == CASES
    for letter in letters:
        headers = dict(letter.headers)
        assert headers["scm.reason"] == b"invalid_event"
        assert headers["scm.message"].startswith(b'event 4 of 7 ("urn:uuid:')
        assert letter.value == _value(records, letter.key)


def _value(records: list[tuple[bytes, bytes, None, None]], key: bytes | None) -> bytes:
    return next(value for name, value, *_ in records if name == key)
