"""Codes that are put into cases, and updates by the case, on the real broker and a flaky API: they keep their order."""

from __future__ import annotations

import json
from typing import Any

from tests.support.job import Job

CASES = 60
CHILDREN = 20


def test_an_update_by_the_case_reaches_every_code_that_was_packed_before_it(job: Job) -> None:
    job.sandbox.faults.add("latency", seconds=0.03)
    job.sandbox.faults.add("status", code=503, every=5)
    events: list[tuple[bytes, dict[str, Any]]] = []
    for case in range(CASES):
        name = f"case-{case}"
        key = name.encode()  # one order group for a case and its children
        packed = [{"extended_id": f"{name}-{child}", "case_code": name} for child in range(CHILDREN)]
        events += [(key, {"extended_id": item["extended_id"], "line": "L1"}) for item in packed[:3]]
        events += [(key, {**item}) for item in packed]
        shipped = {"data_key": "case_code", "key_value": name, "scm_data": {"ship_date": "2026-11-22"}}
        events.append((key, shipped))
        events.append((key, {"data_key": "case_code", "key_value": name, "scm_data": {"pallet_code": f"p{case % 5}"}}))
    job.kafka.produce(job.topic, [(key, json.dumps(event).encode(), None, None) for key, event in events])

    out = job.run_to_end()

    assert "dead letters: 0" in out
    codes = job.sandbox.state()["codes"]
    wrong = {
        code: fields
        for code, fields in codes.items()
        if fields.get("ship_date") != "2026-11-22" or fields.get("pallet_code") is None
    }
    assert not wrong, f"{len(wrong)} of {len(codes)} codes missed an update by their case, such as {list(wrong)[:3]}"
    assert len(codes) == CASES * CHILDREN
