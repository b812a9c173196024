"""Every example body of the provider's two guides, from the events that ask for it to the bytes of
the request.

The path is the real one: a record's bytes are decoded, made into rows, gathered by the pipeline,
and sent by the client to a server that keeps what it got. Bodies are compared as parsed JSON; what
the guides leave out with dots is filled in. The guides' values are kept, so that an example can be
found there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import orjson
import pytest

from consumer.core.effects import Attempt
from consumer.core.rows.by_task import TaskRowMaker
from consumer.core.rows.maker import RowMaker
from consumer.formats import decoder
from consumer.formats.encode import encoder
from consumer.loop.intake import Intake
from consumer.sandbox import Sandbox, SandboxPace
from tests.component.wire import TOKEN, Request, Wire, answer, client_to, saying
from tests.support.sandbox_client import Client
from tests.unit.builders import Bench, values
from tests.unit.runner_fakes import Message

Members = dict[str, Any]
Body = dict[str, Any]
UNITS = ("case_code", "pallet_code")


def event(value: str, fields: Members, data_key: str = "extended_id", **members: Any) -> Members:
    """An event as its publisher has it."""
    return {"data_key": data_key, "key_value": value, "scm_data": fields, **members}


@dataclass(frozen=True)
class Example:
    """Events, and the bodies that the guides show for them.

    Several where it takes several calls, in any order.

    ``sync`` or ``asynchronous`` is empty where the guides show no such body for these events.
    ``codes``: what the API has to know beforehand.
    """

    name: str
    events: list[Members]
    sync: list[Body] = field(default_factory=list)
    asynchronous: list[Body] = field(default_factory=list)
    codes: dict[str, dict[str, str]] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.name


PRODUCED = {"product": "prod_1", "production_date": "01/12/2016", "production_line": "13A"}
GENERIC, ANOTHER = "0A705681370410MRP0410DAF47A8A7C", "0A705681370410MRP0410DAF47A8A7D"
FIRST, SECOND = "HGDTQD54D5SD86EEDFS", "AGDTQD54D5SD86EEDFX"
SHIPPED = {"ship_date": "2021-04-22"}
LOAD = {
    f"{number}a": {"serial_number": f"{number}a", "case_code": case, "pallet_code": "p001"}
    for number, case in ((1, "789"), (2, "456"), (3, "123"))
}
CASE = {f"HGDTQD54D5SD86EEDF{number}": {"case_code": "12345678"} for number in (1, 2, 3)} | {
    "LABEL": {"serial_number": "12345678"}
}

EXAMPLES = [
    Example(
        "Assign Products",
        [event(GENERIC, PRODUCED)],
        sync=[{"data_key": "extended_id", "items": [{"extended_id": GENERIC, **PRODUCED}]}],
        asynchronous=[{"constraints": {"extended_id": [GENERIC]}, "scm_data": PRODUCED}],
    ),
    Example(
        "Assign Products, more items where the guide has dots",
        [event(GENERIC, PRODUCED), event(ANOTHER, PRODUCED)],
        sync=[
            {
                "data_key": "extended_id",
                "items": [{"extended_id": code, **PRODUCED} for code in (GENERIC, ANOTHER)],
            }
        ],
    ),
    Example(
        "Assign Logistic Units, a pallet",
        [event("p001", {"production_date": "2021-04-01"}, "pallet_code")],
        sync=[
            {
                "data_key": "pallet_code",
                "items": [{"pallet_code": "p001", "production_date": "2021-04-01"}],
            }
        ],
        asynchronous=[
            {
                "constraints": {"pallet_code": ["p001"]},
                "scm_data": {"production_date": "2021-04-01"},
            }
        ],
        codes=LOAD,
    ),
    Example(
        "Assign Logistic Units, three cases",
        [event(case, SHIPPED, "case_code") for case in ("123", "456", "789")],
        sync=[
            {
                "data_key": "case_code",
                "items": [
                    {"case_code": "123", "ship_date": "2021-04-22"},
                    {"case_code": "456", "ship_date": "2021-04-22"},
                    {"case_code": "789", "ship_date": "2021-04-22"},
                ],
            }
        ],
        codes=LOAD,
    ),
    Example(
        "Assign Logistic Units, two cases",
        [event(case, SHIPPED, "case_code") for case in ("123", "456")],
        asynchronous=[
            {"constraints": {"case_code": ["123", "456"]}, "scm_data": {"ship_date": "2021-04-22"}}
        ],
        codes=LOAD,
    ),
    Example(
        "Assigning data to LU's which are Scantrust codes",
        [
            event(
                "12345678",
                SHIPPED,
                "case_code",
                also_update={"data_key": "serial_number", "key_value": "12345678"},
            )
        ],
        sync=[
            {
                "data_key": "case_code",
                "items": [{"case_code": "12345678", "ship_date": "2021-04-22"}],
            },
            {
                "data_key": "serial_number",
                "items": [{"serial_number": "12345678", "ship_date": "2021-04-22"}],
            },
        ],
        asynchronous=[
            {"constraints": {"case_code": ["12345678"]}, "scm_data": {"ship_date": "2021-04-22"}},
            {
                "constraints": {"serial_number": ["12345678"]},
                "scm_data": {"ship_date": "2021-04-22"},
            },
        ],
        codes=CASE,
    ),
    Example(
        # the guide's second item has a "status" beside it: it is dropped, as the API would override
        # it
        "Activate Codes",
        [
            event(FIRST, {"activation_status": 1, "product": "P1"}),
            event(SECOND, {"activation_status": 1, "status": 0, "product": "P1"}),
        ],
        sync=[
            {
                "data_key": "extended_id",
                "items": [
                    {"extended_id": FIRST, "activation_status": "1", "product": "P1"},
                    {"extended_id": SECOND, "activation_status": "1", "product": "P1"},
                ],
            }
        ],
        asynchronous=[
            {
                "constraints": {"extended_id": [FIRST, SECOND]},
                "scm_data": {"activation_status": 1, "product": "P1"},
            }
        ],
    ),
    Example(
        "Upload SCM Data (SYNC), body parameters",
        [
            event(FIRST, {"intended_market": "cn", "rfid": "E2001"}),
            event("JF5FPO58DFITE4EDXD2", {"intended_market": "de", "rfid": "E2002"}),
        ],
        sync=[
            {
                "data_key": "extended_id",
                "items": [
                    {"extended_id": FIRST, "intended_market": "cn", "rfid": "E2001"},
                    {
                        "extended_id": "JF5FPO58DFITE4EDXD2",
                        "intended_market": "de",
                        "rfid": "E2002",
                    },
                ],
            }
        ],
    ),
]
SYNC = [example for example in EXAMPLES if example.sync]
ASYNC = [example for example in EXAMPLES if example.asynchronous]


def gathered(
    events: list[Members], form: str, *, by_task: bool = False
) -> tuple[Bench, list[Attempt]]:
    """The requests that a consumer would make of these events, and the pipeline that made them."""
    bench = Bench()
    partition = bench.partition()
    maker = RowMaker("extended_id", logistic_units=UNITS)
    if by_task:
        maker = TaskRowMaker("extended_id", logistic_units=UNITS, every=True)
    intake = Intake(decoder("auto"), maker, None)
    messages = [Message(offset, encoder(form)(members)) for offset, members in enumerate(events)]
    records, rows, position = intake.take(partition, messages, bench.now)
    bench.pipeline.add_records(partition, records, rows, position, bench.now)
    bench.tick()
    return bench, list(bench.open)


def sent(attempts: list[Attempt]) -> list[Request]:
    """Return what the client puts on the wire for them."""
    with Wire(saying(answer())) as wire, client_to(wire.url) as client:
        for attempt in attempts:
            send = client.start if attempt.by_task else client.upload
            assert send(attempt.data_key, attempt.items).status == 200
    return wire.requests


def in_any_order(bodies: list[Body]) -> list[bytes]:
    return sorted(orjson.dumps(body, option=orjson.OPT_SORT_KEYS) for body in bodies)


def forms(examples: list[Example]) -> Iterator[tuple[str, Example]]:
    """Each example in every format that has room for its events.

    A flat record knows one data key.
    """
    for example in examples:
        yield "json", example
        yield "avro", example
        if all(members["data_key"] == "extended_id" for members in example.events):
            yield "flat", example


@pytest.mark.parametrize(("form", "example"), list(forms(SYNC)), ids=str)
def test_a_synchronous_example_is_what_is_sent_for_its_events(form: str, example: Example) -> None:
    bench, attempts = gathered(example.events, form)
    requests = sent(attempts)
    assert in_any_order([orjson.loads(request.body) for request in requests]) == in_any_order(
        example.sync
    )
    for request in requests:
        assert request.line == "POST /api/v2/scm/upload/ HTTP/1.1"
        assert request.headers["authorization"] == f"UAT {TOKEN}"
        assert request.headers["content-type"] == "application/json"
    assert bench.dead_letters == []


@pytest.mark.parametrize(("form", "example"), list(forms(ASYNC)), ids=str)
def test_an_asynchronous_example_is_what_is_sent_for_its_events(
    form: str, example: Example
) -> None:
    _, attempts = gathered(example.events, form, by_task=True)
    requests = sent(attempts)
    assert in_any_order([orjson.loads(request.body) for request in requests]) == in_any_order(
        example.asynchronous
    )
    assert {request.line for request in requests} == {"POST /api/v2/scm/upload/async/ HTTP/1.1"}


def test_a_lone_status_goes_asynchronously_as_the_activation_status_it_means() -> None:
    _, attempts = gathered(
        [event(FIRST, {"status": "2", "blacklist_reason": "4"})], "json", by_task=True
    )
    (request,) = sent(attempts)
    data = {"activation_status": 2, "blacklist_reason": "4"}
    assert orjson.loads(request.body) == {"constraints": {"extended_id": [FIRST]}, "scm_data": data}


@pytest.mark.parametrize("example", ASYNC, ids=str)
def test_an_asynchronous_example_does_what_is_sent_synchronously_for_its_events(
    example: Example,
) -> None:
    """So the sandbox reads both forms as the guides do: strictly, with no rule broken."""
    synchronous = [
        orjson.loads(request.body) for request in sent(gathered(example.events, "json")[1])
    ]
    states = []
    for path, bodies in (("", synchronous), ("async/", example.asynchronous)):
        with Sandbox(codes=example.codes or None) as sandbox, Client(sandbox) as client:
            sandbox.pace = SandboxPace(task_seconds=0.0)
            for body in bodies:
                assert client.post(body, path=f"/api/v2/scm/upload/{path}").status_code == 200
            assert sandbox.rules() == {"broken": {}, "advice": {}}
            states.append(sandbox.state())
            assert states[-1]["codes"] != example.codes
    assert states[0] == states[1]


def test_after_the_pallet_and_the_cases_an_item_has_what_the_guide_lists() -> None:
    pallet, cases = (example for example in SYNC if example.codes is LOAD)
    with Sandbox(codes=LOAD) as sandbox, Client(sandbox) as client:
        for body in (*pallet.sync, *cases.sync):
            assert client.post(body).status_code == 200
        assert sandbox.state()["codes"]["1a"] == {
            "serial_number": "1a",
            "pallet_code": "p001",
            "case_code": "789",
            "production_date": "2021-04-01",
            "ship_date": "2021-04-22",
        }


# the answers that the upload guide shows


def answered(document: Body, *codes: str, status: str = "200 OK") -> Bench:
    """The pipeline after one request for these codes was answered so, on the wire."""
    bench, (attempt,) = gathered([event(code, {"product": "P1"}) for code in codes], "json")
    with (
        Wire(saying(answer(status, orjson.dumps(document)))) as wire,
        client_to(wire.url) as client,
    ):
        bench.answer(attempt, client.upload(attempt.data_key, attempt.items))
    return bench


def test_the_answer_to_a_good_upload_settles_its_rows() -> None:
    document = {
        "total_updates": 0,
        "changes": [{"test_text": "hhh", "test_case": "5412166701007", "test_boolean": "true"}],
        "items": {FIRST: ["scm_data", "more_data", "data3"], "JF5FPO58DFITE4EDXD2": ["scm_data"]},
        "codes_affected": 1,
    }
    assert answered(document, FIRST, "JF5FPO58DFITE4EDXD2").settled()


@pytest.mark.parametrize(
    ("message", "field_name", "reason"),
    [
        (
            "Invalid value passed for extended_id: '2AFEDB9A420410MRP041044F47CE86E'",
            "extended_id",
            "unknown_key",
        ),
        ("Invalid Product", "product", "rejected_by_api"),
    ],
)
def test_the_answer_that_names_a_row_rejects_it_and_the_others_are_sent_again(
    message: str, field_name: str, reason: str
) -> None:
    bad = "2AFEDB9A420410MRP041044F47CE86E"
    error = {"message": message, "line": "1", "field": field_name, "key_value": bad}
    bench = answered({"errors": [error]}, bad, FIRST, status="400 Bad Request")
    assert bench.reasons() == {bad: reason}
    assert bench.dead_letters[0].rejection.message == message
    assert values(bench.only) == [FIRST]
