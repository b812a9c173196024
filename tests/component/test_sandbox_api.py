"""The sandbox's API over HTTP: access, every rule of an upload, and what a good upload does."""

from __future__ import annotations

from typing import Any

import pytest
import requests

from consumer.sandbox import Sandbox
from tests.support.sandbox_client import ME, UPLOAD, Client, rows


def code(sandbox: Sandbox, extended_id: str) -> Any:
    return sandbox.state()["codes"].get(extended_id)


# access


def test_me_answers_with_the_permissions_of_the_token(client: Client) -> None:
    answer = client.me()
    assert answer.status_code == 200
    assert set(answer.json()["permissions"]) == {
        "codes_view",
        "scm_bulk_edit",
        "scm_code_edit",
        "product_view",
    }


@pytest.mark.parametrize(
    "authorization", ["UAT wrong", "Bearer sandbox-token", "UAT", "sandbox-token", "UAT é"]
)
def test_a_wrong_token_is_a_401_and_applies_nothing(
    sandbox: Sandbox, client: Client, authorization: str
) -> None:
    headers = {"Authorization": authorization.encode()}
    answer = client.upload({"extended_id": "A", "x": "1"}, headers=headers)
    assert (answer.status_code, answer.json()) == (401, {"detail": "Invalid token."})
    assert client.call("GET", ME, headers=headers).status_code == 401
    assert sandbox.state() == {"codes": {}}


def test_a_token_that_lacks_a_permission_is_accepted_and_may_not_upload(
    sandbox: Sandbox, client: Client
) -> None:
    sandbox.permissions = ["codes_view", "scm_code_edit", "product_view"]
    assert client.me().json()["permissions"] == sandbox.permissions
    answer = client.upload({"extended_id": "A", "x": "1"})
    assert (answer.status_code, answer.json()) == (
        403,
        {"detail": "You do not have permission to perform this action."},
    )
    assert sandbox.state() == {"codes": {}}


def test_no_token_is_a_401_that_asks_for_one(sandbox: Sandbox) -> None:
    answer = requests.post(sandbox.url + UPLOAD, json={"items": rows(1)}, timeout=10)
    assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, "UAT")
    assert answer.json() == {"detail": "Authentication credentials were not provided."}


def test_a_token_assigned_later_is_the_one_that_counts(sandbox: Sandbox, client: Client) -> None:
    sandbox.token = "renewed"
    assert client.me().status_code == 401
    with Client(sandbox, token="renewed") as renewed:
        assert renewed.me().status_code == 200


def test_an_unknown_address_is_a_404_and_a_wrong_method_a_405(client: Client) -> None:
    assert client.call("GET", "/api/v2/elsewhere/").status_code == 404
    assert client.call("POST", UPLOAD.rstrip("/"), json={}).status_code == 404
    answer = client.call("GET", UPLOAD)
    assert (answer.status_code, answer.headers["Allow"]) == (405, "POST")
    assert client.call("POST", ME).status_code == 405


def test_many_calls_share_one_connection(sandbox: Sandbox, client: Client) -> None:
    for _ in range(20):
        assert client.upload(*rows(2)).status_code == 200
    assert sandbox.stats()["connections"] == 1


# refusals: the request as a whole


@pytest.mark.parametrize(
    ("rule", "body"),
    [
        ("not_json", b"{"),
        ("not_json", b""),
        ("not_json", b'{"items": [{"extended_id": "A", "x": "\xff"}]}'),
        ("not_json", b'{"items": [{"extended_id": "A", "x": NaN}]}'),
        ("not_an_object", [{"extended_id": "A"}]),
        ("unknown_body_field", {"items": rows(1), "datakey": "rfid"}),
        ("invalid_data_key", {"items": rows(1), "data_key": ""}),
        ("invalid_data_key", {"items": rows(1), "data_key": 1}),
        ("invalid_data_key", {"items": rows(1), "data_key": None}),
        ("no_items", {}),
        ("no_items", {"items": []}),
        ("no_items", {"items": {"extended_id": "A"}}),
        ("too_many_items", {"items": rows(101)}),
        ("item_not_an_object", {"items": [*rows(1), "CODE1"]}),
        ("value_not_a_string", {"items": [*rows(1), {"extended_id": "B", "x": 1}]}),
        ("value_not_a_string", {"items": [{"extended_id": "B", "x": None}]}),
        ("value_not_a_string", {"items": [{"extended_id": "B", "x": True}]}),
        ("value_not_a_string", {"items": [{"extended_id": "B", "x": ["1"]}]}),
        ("value_not_a_string", {"items": [{"extended_id": 7, "x": "1"}]}),
        ("key_repeated", {"items": [*rows(2), {"extended_id": "CODE0", "market": "de"}]}),
    ],
)
def test_a_malformed_request_is_a_400_that_applies_nothing_and_is_remembered(
    sandbox: Sandbox, client: Client, rule: str, body: object
) -> None:
    answer = client.post(body)
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["message"]
    assert sandbox.state() == {"codes": {}}
    broken = client.look("rules")["broken"]
    assert set(broken) == {rule}
    assert broken[rule]["count"] == 1
    assert broken[rule]["example"]["request"] == 1


def test_a_body_that_does_not_say_it_is_json_is_a_415(sandbox: Sandbox, client: Client) -> None:
    answer = client.post({"items": rows(1)}, headers={"Content-Type": "text/plain"})
    assert answer.status_code == 415
    assert set(sandbox.rules()["broken"]) == {"wrong_content_type"}
    assert sandbox.state() == {"codes": {}}


def test_json_with_a_charset_is_json(client: Client) -> None:
    headers = {"Content-Type": "application/json; charset=utf-8"}
    assert client.post({"items": rows(1)}, headers=headers).status_code == 200


# mistakes: one row


@pytest.mark.parametrize(
    ("rule", "row", "field"),
    [
        ("key_missing", {"x": "1"}, "extended_id"),
        ("key_missing", {"Extended_ID": "A"}, "extended_id"),
        ("key_blank", {"extended_id": "", "x": "1"}, "extended_id"),
        ("key_blank", {"extended_id": " \t\n", "x": "1"}, "extended_id"),
        ("key_blank", {"extended_id": "\u00a0\u3000\u2028", "x": "1"}, "extended_id"),
        ("value_too_long", {"extended_id": "A", "x": "é" * 51}, "x"),
        ("forbidden_field", {"extended_id": "A", "date_consumed": "2026-01-01"}, "date_consumed"),
        ("forbidden_field", {"extended_id": "A", "date_consumed": ""}, "date_consumed"),
        ("invalid_value", {"extended_id": "A", "activation_status": "3"}, "activation_status"),
        ("invalid_value", {"extended_id": "A", "activation_status": ""}, "activation_status"),
        ("invalid_value", {"extended_id": "A", "activation_status": "01"}, "activation_status"),
        ("invalid_value", {"extended_id": "A", "status": "active"}, "status"),
        ("invalid_value", {"extended_id": "A", "status": ""}, "status"),
        ("invalid_value", {"extended_id": "A", "blacklist_reason": "11"}, "blacklist_reason"),
        ("invalid_value", {"extended_id": "A", "blacklist_reason": "-1"}, "blacklist_reason"),
        ("invalid_value", {"extended_id": "A", "after_sell_by": "01/12/2026"}, "after_sell_by"),
        ("invalid_value", {"extended_id": "A", "after_sell_by": "2026-02-30"}, "after_sell_by"),
        ("invalid_value", {"extended_id": "A", "after_sell_by": "20260228"}, "after_sell_by"),
        (
            "invalid_value",
            {
                "extended_id": "A",
                "after_sell_by": "\u0662\u0660\u0662\u0666-\u0660\u0661-\u0660\u0661",
            },
            "after_sell_by",
        ),
        ("invalid_value", {"extended_id": "A", "product": ""}, "product"),
    ],
)
def test_a_bad_row_is_a_400_that_names_it_applies_nothing_and_is_remembered(
    sandbox: Sandbox, client: Client, rule: str, row: dict[str, str], field: str
) -> None:
    answer = client.upload(*rows(2), row)
    assert answer.status_code == 400
    (error,) = answer.json()["errors"]
    assert (error["line"], error["field"]) == ("3", field)
    assert error.get("key_value") == row.get("extended_id")
    assert sandbox.state() == {"codes": {}}
    assert client.look("journal")["rows"] == []
    assert set(client.look("rules")["broken"]) == {rule}


@pytest.mark.parametrize(
    "row",
    [
        {"extended_id": "K" * 200, "x": "1"},
        {"extended_id": "A", "x": "é" * 50},
        {"extended_id": "A", "x": ""},
        {"extended_id": "A", "activation_status": "2", "blacklist_reason": "10"},
        {"extended_id": "A", "blacklist_reason": ""},
        {"extended_id": "A", "activation_status": "1", "status": "whatever"},
        {"extended_id": "A", "after_sell_by": "2028-02-29"},
        {"extended_id": "A", "after_sell_by": ""},
        {"extended_id": "A", "production_date": "01/12/2016"},
        {"extended_id": "A", "product": "gen_1"},
        {"extended_id": " A ", "x": "1"},
    ],
)
def test_a_row_at_the_edge_of_a_rule_passes(
    sandbox: Sandbox, client: Client, row: dict[str, str]
) -> None:
    assert client.upload(row).status_code == 200
    assert sandbox.rules()["broken"] == {}


def test_a_hundred_items_pass(client: Client) -> None:
    assert client.upload(*rows(100)).json()["codes_affected"] == 100


def test_all_bad_rows_are_listed_in_their_order(client: Client) -> None:
    answer = client.upload(
        {"extended_id": "A", "product": "UNKNOWN-7"},
        {"extended_id": "B", "x": "1"},
        {"extended_id": "UNKNOWN-C", "x": "1"},
        {"extended_id": "D", "x": "1" * 51, "status": "9"},
    )
    assert [
        (error["line"], error["field"], error["key_value"]) for error in answer.json()["errors"]
    ] == [
        ("1", "product", "A"),
        ("3", "extended_id", "UNKNOWN-C"),
        ("4", "x", "D"),
        ("4", "status", "D"),
    ]


def test_an_unknown_key_and_an_unknown_product_are_told_in_the_guides_words_and_break_no_rule(
    sandbox: Sandbox, client: Client
) -> None:
    answer = client.upload(
        {"extended_id": "UNKNOWN1", "x": "1"}, {"extended_id": "A", "product": "UNKNOWN2"}
    )
    assert answer.json() == {
        "errors": [
            {
                "message": "Invalid value passed for extended_id: 'UNKNOWN1'",
                "line": "1",
                "field": "extended_id",
                "key_value": "UNKNOWN1",
            },
            {"message": "Invalid Product", "line": "2", "field": "product", "key_value": "A"},
        ]
    }
    assert sandbox.rules() == {
        "broken": {},
        "advice": {"uneven_fields": sandbox.rules()["advice"]["uneven_fields"]},
    }


def test_rows_with_different_fields_and_rows_without_fields_pass_as_advice(
    sandbox: Sandbox, client: Client
) -> None:
    assert client.upload({"extended_id": "A", "x": "1"}, {"extended_id": "B"}).status_code == 200
    rules = client.look("rules")
    assert rules["broken"] == {}
    assert {rule: about["count"] for rule, about in rules["advice"].items()} == {
        "uneven_fields": 1,
        "no_fields": 1,
    }
    assert rules["advice"]["uneven_fields"]["example"]["line"] == 2


# what a good upload does


def test_an_upload_stores_the_fields_and_lists_them_by_key(
    sandbox: Sandbox, client: Client
) -> None:
    answer = client.post(
        {
            "items": [
                {"extended_id": "A", "market": "cn", "line": "7"},
                {"extended_id": "B", "line": "8"},
            ]
        }
    )
    assert answer.status_code == 200
    assert answer.json() == {
        "total_updates": 3,
        "changes": [{"market": "cn", "line": "7"}, {"line": "8"}],
        "items": {"A": ["market", "line"], "B": ["line"]},
        "codes_affected": 2,
    }
    assert client.look("state") == {
        "codes": {"A": {"market": "cn", "line": "7"}, "B": {"line": "8"}}
    }


def test_a_later_upload_overwrites_an_empty_value_erases_and_other_fields_stay(
    sandbox: Sandbox, client: Client
) -> None:
    client.upload({"extended_id": "A", "market": "cn", "line": "7", "lot": "L"})
    client.upload({"extended_id": "A", "market": "de", "line": ""})
    assert code(sandbox, "A") == {"market": "de", "lot": "L"}


def test_status_is_stored_as_activation_status_unless_that_is_there_too(
    sandbox: Sandbox, client: Client
) -> None:
    answer = client.upload({"extended_id": "A", "status": "1"})
    assert answer.json()["items"] == {"A": ["status"]}
    client.upload({"extended_id": "B", "status": "0", "activation_status": "2"})
    assert (code(sandbox, "A"), code(sandbox, "B")) == (
        {"activation_status": "1"},
        {"activation_status": "2"},
    )


def test_keys_are_exact_and_case_sensitive(sandbox: Sandbox, client: Client) -> None:
    client.upload(
        {"extended_id": "abc", "x": "1"},
        {"extended_id": "ABC", "x": "2"},
        {"extended_id": "abc ", "x": "3"},
    )
    assert sandbox.state()["codes"] == {"abc": {"x": "1"}, "ABC": {"x": "2"}, "abc ": {"x": "3"}}


def test_a_logistic_unit_selects_all_its_members(sandbox: Sandbox, client: Client) -> None:
    client.upload(*rows(3, case_code="C1"), {"extended_id": "OTHER", "case_code": "C2"})
    answer = client.upload({"case_code": "C1", "ship_date": "2026-01-01"}, data_key="case_code")
    assert (answer.json()["codes_affected"], answer.json()["total_updates"]) == (3, 3)
    assert answer.json()["items"] == {"C1": ["ship_date"]}
    assert [code(sandbox, f"CODE{n}").get("ship_date") for n in range(3)] == ["2026-01-01"] * 3
    assert "ship_date" not in code(sandbox, "OTHER")
    assert [row["codes"] for row in sandbox.journal()["rows"]] == [1, 1, 1, 1, 3]


def test_membership_follows_joins_moves_and_erasures(sandbox: Sandbox, client: Client) -> None:
    def members(case: str) -> int:
        answer = client.upload({"case_code": case, "seen": case}, data_key="case_code")
        return int(answer.json()["codes_affected"]) if answer.status_code == 200 else 0

    client.upload({"extended_id": "A", "case_code": "C1"}, {"extended_id": "B", "case_code": "C1"})
    assert (members("C1"), members("C2")) == (2, 0)
    client.upload({"extended_id": "A", "case_code": "C2"}, {"extended_id": "B", "case_code": ""})
    assert (members("C1"), members("C2")) == (0, 1)


def test_a_case_joins_a_pallet_and_the_pallet_then_selects_the_items(
    sandbox: Sandbox, client: Client
) -> None:
    client.upload(*rows(2, case_code="C1"))
    client.upload({"case_code": "C1", "pallet_code": "P1"}, data_key="case_code")
    assert (
        client.upload({"pallet_code": "P1", "x": "1"}, data_key="pallet_code").json()[
            "codes_affected"
        ]
        == 2
    )
    assert code(sandbox, "CODE1") == {"case_code": "C1", "pallet_code": "P1", "x": "1"}


@pytest.mark.parametrize("data_key", ["case_code", "serial_number", "rfid"])
def test_a_value_that_no_code_has_is_an_unknown_key(client: Client, data_key: str) -> None:
    answer = client.upload({data_key: "NOBODY", "x": "1"}, data_key=data_key)
    assert answer.status_code == 400
    (error,) = answer.json()["errors"]
    assert (error["field"], error["key_value"], error["line"]) == (data_key, "NOBODY", "1")


def test_empty_units_are_accepted_where_that_is_configured() -> None:
    with Sandbox(accept_empty_units=True) as sandbox, Client(sandbox) as client:
        answer = client.upload({"case_code": "EMPTY", "x": "1"}, data_key="case_code")
        assert (answer.status_code, answer.json()["codes_affected"]) == (200, 0)
        assert answer.json()["items"] == {"EMPTY": ["x"]}
        assert sandbox.state() == {"codes": {}}
        assert (
            client.upload({"case_code": "UNKNOWN1", "x": "1"}, data_key="case_code").status_code
            == 400
        )


def test_serial_numbers_and_tags_of_loaded_codes_select_them() -> None:
    with (
        Sandbox(codes={"A": {"serial_number": "1a"}, "B": {"rfid": "E200"}}) as sandbox,
        Client(sandbox) as client,
    ):
        assert (
            client.upload({"serial_number": "1a", "x": "1"}, data_key="serial_number").status_code
            == 200
        )
        assert client.upload({"rfid": "E200", "x": "2"}, data_key="rfid").status_code == 200
        assert client.upload({"rfid": "e200", "x": "2"}, data_key="rfid").status_code == 400
        assert sandbox.state()["codes"] == {
            "A": {"serial_number": "1a", "x": "1"},
            "B": {"rfid": "E200", "x": "2"},
        }


def test_with_an_explicit_set_no_other_code_exists() -> None:
    with Sandbox(codes={"A": {}, "UNKNOWN1": {}}) as sandbox, Client(sandbox) as client:
        assert (
            client.upload(
                {"extended_id": "A", "x": "1"}, {"extended_id": "UNKNOWN1", "x": "1"}
            ).status_code
            == 200
        )
        assert client.upload({"extended_id": "B", "x": "1"}).status_code == 400


def test_with_known_prefixes_and_products_only_those_exist() -> None:
    with (
        Sandbox(known_prefixes=["LINE1-", "LINE2-"], products=["p1"]) as sandbox,
        Client(sandbox) as client,
    ):
        assert client.upload({"extended_id": "LINE2-A", "product": "p1"}).status_code == 200
        assert (
            client.upload({"extended_id": "LINE3-A", "product": "p1"}).json()["errors"][0]["field"]
            == "extended_id"
        )
        assert (
            client.upload({"extended_id": "LINE1-A", "product": "p2"}).json()["errors"][0]["field"]
            == "product"
        )
