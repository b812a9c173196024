"""``scm-consumer sandbox`` as a process of its own: flags, output, end, and mistakes."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests
from click.testing import CliRunner

from consumer.commands.sandbox import command
from consumer.sandbox.kinds import KINDS

COMMAND = [sys.executable, "-c", "from consumer.commands.sandbox import command; command()"]


@contextmanager
def running(*flags: str) -> Iterator[tuple[subprocess.Popen[str], str, requests.Session]]:
    """Run the command on a free port; yield it, its address, and a session with the usual token."""
    with (
        subprocess.Popen(
            [*COMMAND, "--listen", "127.0.0.1:0", *flags],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process,
        requests.Session() as session,
    ):
        try:
            assert process.stdout is not None
            first = process.stdout.readline()
            assert first.startswith("Sandbox on http://127.0.0.1:"), first
            session.trust_env = False
            session.headers["Authorization"] = "UAT sandbox-token"
            yield process, first.split()[2], session
        finally:
            process.kill()


def upload(session: requests.Session, url: str, *items: dict[str, str]) -> requests.Response:
    return session.post(
        f"{url}/api/v2/scm/upload/", json={"items": items}, timeout=10, allow_redirects=False
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_serves_until_a_signal_and_then_ends_with_a_summary(number: signal.Signals) -> None:
    with running() as (process, url, session):
        assert upload(session, url, {"extended_id": "A", "x": "1"}).status_code == 200
        process.send_signal(number)
        out, err = process.communicate(timeout=10)
        assert process.returncode == 0
        assert (out, err) == ("", "Stopped: 1 requests, 1 rows applied.\n")


def test_a_signal_ends_it_while_a_call_is_held() -> None:
    with running("--fault", "timeout_after:seconds=600") as (process, url, session):
        with pytest.raises(requests.ReadTimeout):
            session.post(
                f"{url}/api/v2/scm/upload/",
                json={"items": [{"extended_id": "A", "x": "1"}]},
                timeout=(10, 1),
            )
        process.terminate()
        _, err = process.communicate(timeout=10)
        assert (process.returncode, err) == (0, "Stopped: 1 requests, 1 rows applied.\n")


def test_faults_from_flags_are_switched_on_in_either_notation() -> None:
    flags = [
        "throttle:first=1,retry_after=2,form=date",
        '{"kind": "status", "code": 503, "key": "A,B"}',
        "campaign_fields:fields=x|y",
    ]
    with running(*(part for flag in flags for part in ("--fault", flag))) as (_, url, session):
        assert upload(session, url, {"extended_id": "A", "x": "1"}).status_code == 429
        assert upload(session, url, {"extended_id": "A,B", "x": "1"}).status_code == 503
        items = upload(session, url, {"extended_id": "A", "x": "1", "y": "2", "z": "3"}).json()[
            "items"
        ]
        assert items == {"A": ["x", "y"]}
        listed = session.get(f"{url}/sandbox/faults", timeout=10).json()
        assert [fault["kind"] for fault in listed] == ["throttle", "status", "campaign_fields"]


def test_a_token_from_the_flag_is_the_one_that_counts_and_is_not_shown() -> None:
    with running("--token", "other-token") as (process, url, session):
        assert session.get(f"{url}/api/v2/me/", timeout=10).status_code == 401
        session.headers["Authorization"] = "UAT other-token"
        assert session.get(f"{url}/api/v2/me/", timeout=10).status_code == 200
        process.terminate()
        out, err = process.communicate(timeout=10)
        assert "other-token" not in out + err


def test_codes_come_from_a_file_of_ids_and_objects(tmp_path: Path) -> None:
    codes = tmp_path / "codes.txt"
    codes.write_text('A\n\n{"extended_id": "B", "serial_number": "1b"}\n', encoding="utf-8")
    with running("--codes", str(codes)) as (_, url, session):
        assert upload(session, url, {"extended_id": "A", "x": "1"}).status_code == 200
        assert upload(session, url, {"extended_id": "C", "x": "1"}).status_code == 400
        state = session.get(f"{url}/sandbox/state", timeout=10).json()
        assert state == {"codes": {"A": {"x": "1"}, "B": {"serial_number": "1b"}}}


def test_prefixes_products_and_empty_units_are_flags() -> None:
    flags = [
        "--known-prefix",
        "L1-",
        "--known-prefix",
        "L2-",
        "--product",
        "p1",
        "--accept-empty-units",
    ]
    with running(*flags) as (_, url, session):
        assert upload(session, url, {"extended_id": "L2-A", "product": "p1"}).status_code == 200
        assert upload(session, url, {"extended_id": "L3-A", "product": "p1"}).status_code == 400
        assert upload(session, url, {"extended_id": "L1-A", "product": "p2"}).status_code == 400
        unit = {"data_key": "case_code", "items": [{"case_code": "L1-C", "x": "1"}]}
        assert session.post(f"{url}/api/v2/scm/upload/", json=unit, timeout=10).status_code == 200


def test_the_pace_is_flags() -> None:
    flags = ["--sync-codes", "1", "--sync-seconds", "0", "--task-seconds", "3600"]
    with running(*flags) as (_, url, session):
        assert upload(session, url, {"extended_id": "A", "x": "1"}).status_code == 200
        assert (
            upload(
                session, url, {"extended_id": "A", "x": "1"}, {"extended_id": "B", "x": "1"}
            ).status_code
            == 504
        )
        begin = {"constraints": {"extended_id": ["A"]}, "scm_data": {"x": "2"}}
        task_id = session.post(f"{url}/api/v2/scm/upload/async/", json=begin, timeout=10).json()[
            "task_id"
        ]
        told = session.get(f"{url}/api/v2/scm/tasks/{task_id}/", timeout=10).json()
        assert told == {"task_id": task_id, "status": "pending"}


def test_an_address_in_use_is_one_line_that_says_what_to_do() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        ended = subprocess.run(
            [*COMMAND, "--listen", address], capture_output=True, text=True, timeout=20, check=False
        )
    assert ended.returncode == 1
    assert ended.stdout == ""
    (line,) = ended.stderr.splitlines()
    assert address in line
    assert "in use" in line
    assert "--listen" in line


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--fault", "nonsense"], "unknown fault 'nonsense'"),
        (["--fault", "throttle:first"], "not name=value"),
        (["--fault", "status:code=99"], "400 to 599"),
        (["--fault", '{"kind": '], "not JSON"),
        (["--fault", '{"code": 503}'], "with a kind"),
        (["--listen", "8080"], "HOST:PORT"),
        (["--listen", "127.0.0.1:99999"], "HOST:PORT"),
        (["--codes", "no-such-file"], "does not exist"),
        (["--codes", __file__, "--known-prefix", "A"], "use one of them"),
    ],
)
def test_a_wrong_flag_ends_with_2_and_says_what_is_wrong(flags: list[str], told: str) -> None:
    ended = CliRunner().invoke(command, flags, terminal_width=200)
    assert ended.exit_code == 2
    assert told in ended.output
    assert "Traceback" not in ended.output


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('{"extended_id": ', "line 2"),
        ('{"id": "B"}', "code 2"),
        ('{"extended_id": "B", "x": 1}', "B"),
    ],
)
def test_a_wrong_file_of_codes_ends_with_2_and_names_the_place(
    tmp_path: Path, text: str, told: str
) -> None:
    codes = tmp_path / "codes.txt"
    codes.write_text(f"A\n{text}\n", encoding="utf-8")
    ended = CliRunner().invoke(command, ["--codes", str(codes)])
    assert ended.exit_code == 2
    assert told in ended.output


def test_help_names_every_kind_of_fault_and_has_examples() -> None:
    text = CliRunner().invoke(command, ["--help"]).output
    assert [kind for kind in KINDS if kind not in text] == []
    assert "Examples:" in text
