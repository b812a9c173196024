"""Asynchronous uploads in the sandbox: rules, tasks and their effect, faults, very large units."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from consumer.sandbox import Sandbox, SandboxPace
from consumer.sandbox.async_rules import AsyncUpload
from consumer.sandbox.tasks import SandboxTasks, TaskOutcome
from tests.support.sandbox_client import ASYNC, Client, StandingClock, rows, wait_until

GOOD: dict[str, Any] = {"constraints": {"extended_id": ["A", "B"]}, "scm_data": {"market": "cn"}}
IDS = {"extended_id": ["A"]}
LONG = 3600.0  # seconds: a task that does not end within a test


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox() as running:
        running.pace = SandboxPace(task_seconds=0.0)
        yield running


def codes(sandbox: Sandbox) -> Any:
    return sandbox.state()["codes"]


# what a good one does


def test_a_task_takes_effect_and_is_complete(sandbox: Sandbox, client: Client) -> None:
    answer = client.begin(GOOD)
    assert answer.status_code == 200
    (task_id,) = answer.json().values()
    assert list(answer.json()) == ["task_id"]
    assert client.poll(task_id).json() == {
        "task_id": task_id,
        "status": "complete",
        "total_updates": 2,
        "codes_affected": 2,
    }
    assert codes(sandbox) == {"A": {"market": "cn"}, "B": {"market": "cn"}}


def test_a_task_waits_then_runs_and_nothing_is_changed_before_it_is_complete(
    sandbox: Sandbox, client: Client
) -> None:
    sandbox.pace = SandboxPace(task_seconds=0.3)
    begun = time.monotonic()
    task_id = client.began({"extended_id": ["A"]}, market="cn")
    seen: list[str] = []
    while "complete" not in seen:
        assert time.monotonic() < begun + 5
        applied = bool(sandbox.journal()["rows"])
        seen.append(client.poll(task_id).json()["status"])
        assert not applied or seen[-1] == "complete"
    assert time.monotonic() - begun >= 0.3
    assert seen == sorted(seen, key=["pending", "running", "complete"].index)
    assert codes(sandbox) == {"A": {"market": "cn"}}


def test_a_task_is_told_as_waiting_for_the_first_half_of_its_time_and_then_as_running() -> None:
    task = SandboxTasks().begin(
        1, AsyncUpload(IDS, {"x": "1"}), None, TaskOutcome(), now=100.0, seconds=10.0
    )
    assert [task.state(now) for now in (100.0, 104.9, 105.0, 109.9)] == [
        "pending",
        "pending",
        "running",
        "running",
    ]


def test_the_effect_is_in_the_journal_with_the_task_and_the_time_at_which_it_was_due(
    sandbox: Sandbox, client: Client
) -> None:
    sandbox.pace = SandboxPace(task_seconds=0.2)
    begun = time.time()
    task_id = client.began({"case_code": ["C1", "C2"]}, activation_status=1, product="P1")
    answered = time.time()
    wait_until(lambda: sandbox.tasks()[0]["ended"], "the task ends without anybody asking the API")
    journal = client.look("journal")
    assert [
        (r["data_key"], r["key_value"], r["fields"], r["codes"], r["task"]) for r in journal["rows"]
    ] == [
        ("case_code", "C1", {"activation_status": "1", "product": "P1"}, 0, task_id),
        ("case_code", "C2", {"activation_status": "1", "product": "P1"}, 0, task_id),
    ]
    assert begun + 0.19 <= journal["rows"][0]["at"] <= answered + 0.21
    (request,) = journal["requests"]
    members = ("path", "data_key", "keys", "task", "applied")
    assert tuple(request[name] for name in members) == (
        ASYNC, "case_code", ["C1", "C2"], task_id, 0,
    )  # fmt: skip
    assert journal["rows"][0]["request"] == request["request"]


def test_a_task_that_is_quicker_overtakes_an_earlier_one(sandbox: Sandbox, client: Client) -> None:
    sandbox.faults.add("task_slow", seconds=0.2, first=1)
    slow = client.began({"extended_id": ["A"]}, market="first")
    quick = client.began({"extended_id": ["A"]}, market="second")
    assert client.poll(quick).json()["status"] == "complete"
    client.ended(slow)
    assert codes(sandbox) == {"A": {"market": "first"}}
    assert [row["task"] for row in sandbox.journal()["rows"]] == [quick, slow]


def test_a_synchronous_upload_after_a_tasks_time_comes_after_it(
    sandbox: Sandbox, client: Client
) -> None:
    client.began({"extended_id": ["A"]}, market="first")
    client.upload({"extended_id": "A", "market": "second"})
    assert codes(sandbox) == {"A": {"market": "second"}}


def test_values_that_select_nothing_are_passed_over_in_silence(
    sandbox: Sandbox, client: Client
) -> None:
    client.upload(*rows(3, case_code="C1"))
    told = client.ended(client.began({"case_code": ["C1", "NOBODY"]}, ship_date="2026-11-22"))
    assert (told["status"], told["codes_affected"], told["total_updates"]) == ("complete", 3, 3)
    told = client.ended(client.began({"extended_id": ["UNKNOWN1"]}, market="cn"))
    assert (told["status"], told["codes_affected"]) == ("complete", 0)
    assert "UNKNOWN1" not in codes(sandbox)
    assert [row["codes"] for row in sandbox.journal()["rows"][3:]] == [3, 0, 0]


def test_of_several_constraints_all_must_hold(sandbox: Sandbox, client: Client) -> None:
    client.upload(*rows(3, case_code="C1"), {"extended_id": "OTHER", "case_code": "C2"})
    told = client.ended(
        client.began({"case_code": ["C1"], "extended_id": ["CODE1", "OTHER", "NEW"]}, x="1")
    )
    assert told["codes_affected"] == 1
    assert [code for code, data in codes(sandbox).items() if "x" in data] == ["CODE1"]
    row = sandbox.journal()["rows"][-1]
    assert (row["data_key"], row["codes"]) == ("case_code+extended_id", 1)


def test_an_unknown_product_fails_the_task_with_nothing_applied(
    sandbox: Sandbox, client: Client
) -> None:
    told = client.ended(client.began({"extended_id": ["A"]}, product="UNKNOWN9"))
    assert (told["status"], told["message"]) == ("failed", "Invalid Product")
    assert codes(sandbox) == {}
    assert sandbox.rules()["broken"] == {}


def test_an_empty_value_erases_and_other_fields_stay(sandbox: Sandbox, client: Client) -> None:
    client.upload({"extended_id": "A", "market": "cn", "lot": "L"})
    client.ended(client.began({"extended_id": ["A"]}, market=""))
    assert codes(sandbox) == {"A": {"lot": "L"}}


def test_fields_that_the_campaign_does_not_have_are_discarded_in_silence(
    sandbox: Sandbox, client: Client
) -> None:
    sandbox.faults.add("campaign_fields", fields=["market"])
    task_id = client.began({"extended_id": ["A"]}, market="cn", remark="x", activation_status=1)
    assert client.ended(task_id)["total_updates"] == 2
    assert codes(sandbox) == {"A": {"market": "cn", "activation_status": "1"}}


def test_a_synchronous_upload_lists_neither_discarded_fields_nor_if_so_wanted_unchanged_ones(
    sandbox: Sandbox, client: Client
) -> None:
    sandbox.faults.add("campaign_fields", fields=["market", "lot"])
    row = {"extended_id": "A", "market": "cn", "lot": "L", "remark": "x"}
    assert client.upload(row).json()["items"] == {"A": ["market", "lot"]}
    sandbox.faults.add("only_changed")
    assert client.upload({**row, "lot": "M"}).json()["items"] == {"A": ["lot"]}
    again = client.upload({**row, "lot": "M"}).json()
    assert (again["items"], again["codes_affected"]) == ({}, 1)


def test_tasks_and_their_true_ends_are_listed(sandbox: Sandbox, client: Client) -> None:
    sandbox.faults.add("task_lost", first=1, applied=True)
    sandbox.faults.add("task_slow", seconds=LONG, key="LATE")
    ids = [client.began({"extended_id": [key]}, market="cn") for key in ("A", "LATE", "B")]
    listed = client.look("tasks")
    assert [(task["task_id"], task["state"], task["ended"], task["codes"]) for task in listed] == [
        (ids[0], None, True, 1),
        (ids[1], "pending", False, 0),
        (ids[2], "complete", True, 1),
    ]
    assert client.look("stats")["tasks"] == {"open": 1, "complete": 2, "failed": 0}


def test_tasks_go_on_while_the_api_is_away_and_a_reset_forgets_them(
    sandbox: Sandbox, client: Client
) -> None:
    sandbox.pace = SandboxPace(task_seconds=0.05)
    task_id = client.began({"extended_id": ["A"]}, market="cn")
    sandbox.stop()
    wait_until(lambda: bool(sandbox.state()["codes"]), "the task has its effect")
    sandbox.start()
    with Client(sandbox) as again:
        assert again.poll(task_id).json()["status"] == "complete"
        late = again.began({"extended_id": ["B"]}, market="cn")
        sandbox.reset()
        assert [again.poll(one).status_code for one in (task_id, late)] == [404, 404]
    assert sandbox.state() == {"codes": {}}


# access and rules


def test_a_wrong_token_and_a_missing_permission_begin_and_tell_nothing(
    sandbox: Sandbox, client: Client
) -> None:
    task_id = client.began({"extended_id": ["A"]}, market="cn")
    with Client(sandbox, token="wrong") as stranger:
        assert (stranger.begin(GOOD).status_code, stranger.poll(task_id).status_code) == (401, 401)
    sandbox.permissions = ["codes_view"]
    assert (client.begin(GOOD).status_code, client.poll(task_id).status_code) == (403, 403)
    assert len(sandbox.tasks()) == 1


def test_wrong_methods_unknown_tasks_and_other_media_types(
    sandbox: Sandbox, client: Client
) -> None:
    assert (client.call("GET", ASYNC).status_code, client.call("GET", ASYNC).headers["Allow"]) == (
        405,
        "POST",
    )
    task_id = client.began({"extended_id": ["A"]}, market="cn")
    assert client.post({}, path=f"/api/v2/scm/tasks/{task_id}/").status_code == 405
    answer = client.poll("no-such-task")
    assert (answer.status_code, answer.json()) == (404, {"detail": "Not found."})
    assert client.call("GET", "/api/v2/scm/tasks/").status_code == 404
    assert client.begin(GOOD, headers={"Content-Type": "text/plain"}).status_code == 415
    assert set(sandbox.rules()["broken"]) == {"wrong_content_type"}


def body(constraints: Any, **data: Any) -> dict[str, Any]:
    return {"constraints": constraints, "scm_data": data or {"market": "cn"}}


@pytest.mark.parametrize(
    ("rule", "wrong"),
    [
        ("not_json", b"{"),
        ("not_an_object", [GOOD]),
        ("unknown_body_field", {**GOOD, "data_key": "extended_id"}),
        ("no_constraints", {"scm_data": {"x": "1"}}),
        ("no_constraints", body({})),
        ("no_constraints", body(["A"])),
        ("invalid_data_key", body({"": ["A"]})),
        ("values_not_a_list", body({"extended_id": "A"})),
        ("values_not_a_list", body({"extended_id": []})),
        ("values_not_a_list", body({"extended_id": None})),
        ("value_not_a_string", body({"extended_id": ["A", 7]})),
        ("value_not_a_string", body({"extended_id": [None]})),
        ("key_blank", body({"extended_id": ["A", " \t"]})),
        ("key_blank", body({"extended_id": ["A", "\u3000"]})),
        ("key_repeated", body({"extended_id": ["A", "B", "A"]})),
        ("no_data", {"constraints": IDS}),
        ("no_data", {"constraints": IDS, "scm_data": {}}),
        ("no_data", {"constraints": IDS, "scm_data": [{"x": "1"}]}),
        ("value_not_a_string", body(IDS, x=1)),
        ("value_not_a_string", body(IDS, x=None)),
        ("value_not_a_string", body(IDS, x=True)),
        ("value_too_long", body(IDS, x="é" * 51)),
        ("forbidden_field", body(IDS, date_consumed="2026-01-01")),
        ("status_in_async", body(IDS, status="1")),
        ("status_in_async", body(IDS, status=1, activation_status=1)),
        ("status_not_a_number", body(IDS, activation_status="1")),
        ("status_not_a_number", body(IDS, activation_status=True)),
        ("status_not_a_number", body(IDS, activation_status=1.0)),
        ("invalid_value", body(IDS, activation_status=3)),
        ("invalid_value", body(IDS, activation_status=-1)),
        ("invalid_value", body(IDS, blacklist_reason="11")),
        ("value_not_a_string", body(IDS, blacklist_reason=4)),
        ("invalid_value", body(IDS, after_sell_by="01/12/2026")),
        ("invalid_value", body(IDS, after_sell_by="2026-02-30")),
        ("invalid_value", body(IDS, product="")),
    ],
)
def test_a_malformed_upload_is_a_400_that_begins_no_task_and_is_remembered(
    sandbox: Sandbox, client: Client, rule: str, wrong: object
) -> None:
    answer = client.begin(wrong)
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["message"]
    assert sandbox.tasks() == []
    assert set(sandbox.rules()["broken"]) == {rule}


@pytest.mark.parametrize(
    "good",
    [
        body({"extended_id": ["K" * 200]}, x="é" * 50),
        body({"extended_id": [f"K{number}" for number in range(2_000)]}),
        body(IDS, activation_status=0),
        body(IDS, activation_status=2, blacklist_reason="10"),
        body(IDS, after_sell_by="2028-02-29", production_date="01/12/2016"),
        body(IDS, after_sell_by="", blacklist_reason=""),
        body({"case_code": [" C1 "]}, pallet_code="p001"),
    ],
)
def test_an_upload_at_the_edge_of_a_rule_passes(
    sandbox: Sandbox, client: Client, good: object
) -> None:
    assert client.begin(good).status_code == 200
    assert sandbox.rules() == {"broken": {}, "advice": {}}


def test_a_field_that_selects_and_is_set_as_well_passes_as_advice(
    sandbox: Sandbox, client: Client
) -> None:
    assert client.begin(body({"case_code": ["C1"]}, case_code="C2")).status_code == 200
    assert set(sandbox.rules()["advice"]) == {"key_in_data"}


# faults


def test_a_task_can_fail_with_a_message_and_nothing_applied(
    sandbox: Sandbox, client: Client
) -> None:
    sandbox.faults.add("task_fails", message="Database is busy.", key="A")
    told = client.ended(client.began({"extended_id": ["A", "B"]}, market="cn"))
    assert (told["status"], told["message"]) == ("failed", "Database is busy.")
    assert client.ended(client.began({"extended_id": ["B"]}, market="cn"))["status"] == "complete"
    assert codes(sandbox) == {"B": {"market": "cn"}}
    assert sandbox.stats()["tasks"] == {"open": 0, "complete": 1, "failed": 1}
    assert [
        request["fault"] for request in sandbox.journal()["requests"] if request["method"] == "POST"
    ] == [
        "task_fails",
        None,
    ]


def test_a_task_can_be_told_failed_though_it_took_effect(sandbox: Sandbox, client: Client) -> None:
    sandbox.faults.add("task_fails", applied=True)
    assert client.ended(client.began({"extended_id": ["A"]}, market="cn"))["status"] == "failed"
    assert codes(sandbox) == {"A": {"market": "cn"}}


@pytest.mark.parametrize("applied", [False, True])
@pytest.mark.parametrize("told", ["404", "pending", "running"])
def test_a_task_can_be_lost(sandbox: Sandbox, client: Client, told: str, applied: bool) -> None:
    sandbox.faults.add("task_lost", answer=told, applied=applied)
    task_id = client.began({"extended_id": ["A"]}, market="cn")
    answer = client.poll(task_id)
    assert (answer.json().get("status", "404"), answer.status_code) == (
        told,
        404 if told == "404" else 200,
    )
    assert bool(codes(sandbox)) is applied


def test_a_task_can_take_longer(sandbox: Sandbox, client: Client) -> None:
    sandbox.faults.add("task_slow", seconds=LONG, every=2)
    ids = [client.began({"extended_id": [key]}, market="cn") for key in "ABCD"]
    assert [client.poll(one).json()["status"] for one in ids] == [
        "complete",
        "pending",
        "complete",
        "pending",
    ]


def test_what_a_poll_is_told_can_have_another_form(sandbox: Sandbox, client: Client) -> None:
    sandbox.faults.add(
        "task_shape",
        field="state",
        waiting="in-progress",
        done="SUCCESS",
        failed="error",
        inside="data",
    )
    sandbox.faults.add("task_fails", key="BAD", message="No.")
    sandbox.faults.add("task_slow", key="LATE", seconds=LONG)
    ids = [client.began({"extended_id": [key]}, market="cn") for key in ("A", "BAD", "LATE")]
    assert [client.poll(one).json() for one in ids] == [
        {"data": {"task_id": ids[0], "state": "SUCCESS", "total_updates": 1, "codes_affected": 1}},
        {"data": {"task_id": ids[1], "state": "error", "message": "No."}},
        {"data": {"task_id": ids[2], "state": "in-progress"}},
    ]


def test_a_rate_limit_counts_every_kind_of_call(
    sandbox: Sandbox, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    StandingClock(monkeypatch)
    task_id = client.began({"extended_id": ["A"]}, market="cn")
    sandbox.faults.add("rate_limit", per_second=4)
    calls = [
        client.me(),
        client.begin(GOOD),
        client.poll(task_id),
        client.upload(*rows(1)),
        client.poll(task_id),
    ]
    calls += [client.begin(GOOD), client.upload(*rows(1))]
    assert [call.status_code for call in calls] == [200] * 4 + [429] * 3
    assert len(sandbox.tasks()) == 2


@pytest.mark.parametrize(
    ("path", "struck"), [("async", "x.."), ("task", ".x."), ("upload", "..x"), ("any", "xxx")]
)
def test_other_faults_strike_the_kind_of_call_that_is_named(
    sandbox: Sandbox, client: Client, path: str, struck: str
) -> None:
    task_id = client.began({"extended_id": ["A"]}, market="cn")
    sandbox.faults.add("status", code=503, path=path, key="A")
    calls = [
        client.begin(GOOD),
        client.poll(task_id),
        client.upload({"extended_id": "A", "x": "1"}),
    ]
    assert "".join("x" if call.status_code == 503 else "." for call in calls) == struck


def test_an_answer_that_is_lost_leaves_a_task_of_which_nobody_knows(
    sandbox: Sandbox, client: Client
) -> None:
    sandbox.faults.add("reset_after", path="async")
    with pytest.raises(requests.ConnectionError):
        client.begin(GOOD)
    assert [task["state"] for task in sandbox.tasks()] == ["complete"]
    assert codes(sandbox).keys() == {"A", "B"}


def test_a_call_that_never_arrived_begins_no_task(sandbox: Sandbox, client: Client) -> None:
    sandbox.faults.add("reset_before", path="async")
    with pytest.raises(requests.ConnectionError):
        client.begin(GOOD)
    assert sandbox.tasks() == []


# very large units


def pallets(client: Client, count: int, each: int) -> list[str]:
    names = [f"P{number}" for number in range(count)]
    filled = client.call(
        "POST", "/sandbox/units", json={"field": "pallet_code", "units": names, "codes": each}
    )
    assert filled.json() == {"codes": count * each}
    return names


def test_a_synchronous_call_that_selects_too_many_codes_is_a_504_after_its_time_and_changes_nothing(
    sandbox: Sandbox, client: Client
) -> None:
    sandbox.pace = SandboxPace(sync_codes=99, sync_seconds=0.3)
    first, second = pallets(client, 2, 50)
    begun = time.monotonic()
    both = [{"pallet_code": name, "ship_date": "2026-11-22"} for name in (first, second)]
    answer = client.upload(*both, data_key="pallet_code")
    assert (answer.status_code, answer.headers["Content-Type"]) == (504, "text/html")
    assert time.monotonic() - begun >= 0.3
    assert not any("ship_date" in data for data in codes(sandbox).values())
    assert sandbox.journal()["rows"] == []
    assert client.upload(both[0], data_key="pallet_code").json()["codes_affected"] == 50


def test_other_calls_are_served_while_a_large_one_is_on_its_way_to_a_504(
    sandbox: Sandbox, client: Client
) -> None:
    sandbox.pace = SandboxPace(sync_codes=1, sync_seconds=LONG)
    pallets(client, 1, 2)
    with Client(sandbox, timeout=0.2) as slow, pytest.raises(requests.ReadTimeout):
        slow.upload({"pallet_code": "P0", "x": "1"}, data_key="pallet_code")
    assert client.upload(*rows(1)).status_code == 200


def test_ten_pallets_of_five_thousand_codes_are_too_many_at_once_and_none_for_a_task(
    sandbox: Sandbox, client: Client
) -> None:
    """At the pace of the real API, but for the sixty seconds."""
    sandbox.pace = SandboxPace(sync_seconds=0.0, task_seconds=0.0)
    begun = time.monotonic()
    names = pallets(client, 10, 5_000)
    assert client.upload({"pallet_code": "P3", "x": "1"}, data_key="pallet_code").status_code == 504
    told = client.ended(client.began({"pallet_code": names}, ship_date="2026-11-22"))
    assert (told["codes_affected"], told["total_updates"]) == (50_000, 50_000)
    assert all(data["ship_date"] == "2026-11-22" for data in codes(sandbox).values())
    assert [row["codes"] for row in sandbox.journal()["rows"]] == [5_000] * 10
    assert time.monotonic() - begun < 20, (
        "generous for a busy machine; the square of it would still break it"
    )


def test_units_are_filled_beside_what_is_there_with_fields_of_their_own(
    sandbox: Sandbox, client: Client
) -> None:
    sandbox.load({"A": {"lot": "L"}})
    wanted = {"field": "case_code", "units": ["C1"], "codes": 2, "fields": {"product": "P"}}
    assert client.call("POST", "/sandbox/units", json=wanted).json() == {"codes": 3}
    assert codes(sandbox) == {
        "A": {"lot": "L"},
        "C1-1": {"case_code": "C1", "product": "P"},
        "C1-2": {"case_code": "C1", "product": "P"},
    }
    assert client.upload({"extended_id": "B", "x": "1"}).status_code == 400, (
        "still no other codes exist"
    )


@pytest.mark.parametrize(
    "wrong",
    [
        [],
        {"field": "case_code", "units": ["C1"]},
        {"field": "", "units": ["C1"], "codes": 1},
        {"field": "case_code", "units": [], "codes": 1},
        {"field": "case_code", "units": ["C1", 2], "codes": 1},
        {"field": "case_code", "units": "C1", "codes": 1},
        {"field": "case_code", "units": ["C1"], "codes": 0},
        {"field": "case_code", "units": ["C1"], "codes": "1"},
        {"field": "case_code", "units": ["C1"], "codes": 1, "fields": {"x": 1}},
        {"field": "case_code", "units": ["C1"], "codes": 1, "fields": []},
        {"field": "case_code", "units": ["C1"], "codes": 1, "other": 1},
        {"field": "case_code", "units": ["C1"], "codes": 10**9},
    ],
)
def test_units_that_are_described_wrongly_are_refused(
    sandbox: Sandbox, client: Client, wrong: object
) -> None:
    answer = client.call("POST", "/sandbox/units", json=wrong)
    assert answer.status_code == 400
    assert answer.json()["detail"]
    assert codes(sandbox) == {}
