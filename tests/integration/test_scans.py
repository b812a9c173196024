"""Scans of a line on the real broker: bare and wrapped, good and damaged, to the API's fields."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.support.job import Job

CODES = [f"SCAN{number:04d}" for number in range(200)]
RULES: dict[str, Any] = {
    "code": [
        r"extended_id = 01/\d{14}/21/(SCAN\d{4})",
        r"extended_id = https://qr\.example\.com/q/(SCAN\d{4})",
    ],
    "set": ["* = line: {header.line}, seen: {date}, gtin: {gtin}, by: {key}"],
    "time_zone": "+08:00",
}
_SPELLINGS = (
    "]d2010950600013435221{}\x1d10L-17",
    "\x02(01)09506000134352(21){}\x03",
    "HTTPS://ID.GS1.ORG/01/09506000134352/21/{}\r\n",
    "https://qr.example.com/q/{}\t",
)


def _raw(number: int, code: str) -> bytes:
    return _SPELLINGS[number % len(_SPELLINGS)].format(code).encode()


def _wrapped(number: int, code: str) -> bytes:
    raw = _raw(number, code)
    payload = base64.b64encode(raw).decode() if number % 3 else raw.decode()
    return json.dumps({"qos": 1, "message": {"payload": payload}}).encode()


@pytest.mark.parametrize("wrapped", [False, True], ids=["bare", "in a gateway's JSON"])
def test_scans_of_a_line_set_fields_from_the_record_and_damaged_ones_are_dead_letters(
    job: Job, wrapped: bool
) -> None:
    wrap = _wrapped if wrapped else _raw
    headers = [("line", b"7")]
    day = (datetime.now(UTC) + timedelta(hours=8)).date()
    records: list[tuple[bytes, bytes, None, Any]] = [
        (code.encode(), wrap(number, code), None, headers) for number, code in enumerate(CODES)
    ]
    damaged = ["SCAN000", "SCAN00011", "scan0001"]
    records += [(b"x", wrap(number, code), None, headers) for number, code in enumerate(damaged)]
    job.kafka.produce(job.topic, records)

    scan = RULES | ({"text": "message.payload"} if wrapped else {})
    out = job.run_to_end(events={"format": "scan"}, scan=scan)

    assert f"dead letters: {len(damaged)}" in out
    state = job.sandbox.state()["codes"]
    assert set(state) == set(CODES)
    for number, code in enumerate(CODES):
        fields = state[code]
        gtin = {} if number % len(_SPELLINGS) == 3 else {"gtin": "09506000134352"}
        assert fields.pop("seen") in (str(day), str(day + timedelta(days=1)))
        assert fields == {"line": "7", "by": code, **gtin}
    letters = job.kafka.read_all(job.letters)
    assert {dict(letter.headers)["scm.reason"] for letter in letters} == {b"invalid_event"}
    assert {letter.value for letter in letters} == {
        value for key, value, *_ in records if key == b"x"
    }
    job.assert_committed_to_the_end()
