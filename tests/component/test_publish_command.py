"""``scm-consumer publish`` without a broker: what it prints, refuses, and how it ends."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.unit.epcis import ITEM, object_event

COMMAND = [sys.executable, "-m", "consumer.cli"]
TABLE = "extended_id,activation_status,product\n"


def run(
    folder: Path, *arguments: str, stdin: str = "", env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run the command in a folder of its own, with no settings but those given."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("SCM_")}
    return subprocess.run(
        [*COMMAND, "publish", *arguments],
        cwd=folder,
        env=clean | dict(env or {}),
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_dry_run_shows_the_first_events_and_needs_no_broker_token_or_file_of_settings(
    tmp_path: Path,
) -> None:
    rows = "".join(f"CODE{n},1,p\n" for n in range(5))
    (tmp_path / "codes.csv").write_text(TABLE + rows, encoding="utf-8")
    done = run(tmp_path, "codes.csv", "--dry-run")
    assert (done.returncode, done.stderr) == (0, "")
    *shown, summary = done.stdout.splitlines()
    assert summary == "dry run: 5 of 5 lines would be published to scm.events; 0 refused"
    assert [line.partition(": ")[0] for line in shown] == [
        f"line {n + 2}, key CODE{n}" for n in range(3)
    ]
    event = json.loads(shown[0].partition(": ")[2])
    assert (event["source"], event["key_value"]) == ("codes.csv", "CODE0")
    assert event["scm_data"] == {"activation_status": "1", "product": "p"}


def test_bad_lines_are_told_by_number_and_reason_and_the_exit_code_is_1(tmp_path: Path) -> None:
    (tmp_path / "codes.csv").write_text(
        f'{TABLE}A1,"1",p\nA2,7,p\n\n ,1,p\nA4,1\nA5,1,"p', encoding="utf-8"
    )
    done = run(tmp_path, "codes.csv", "--dry-run")
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        'line 3: invalid_value: "activation_status" is "7"; '
        "allowed: 0 (inactive), 1 (active) or 2 (blacklisted)",
        'line 5: key_blank: the key "extended_id" is empty or only white space',
        "line 6: undecodable: the line has 2 cells, but the header has 3",
        "line 7: undecodable: a quotation mark opens a cell and is never closed",
    ]
    assert done.stdout.splitlines()[-1] == (
        "dry run: 1 of 5 lines would be published to scm.events; "
        "4 refused (undecodable 2, invalid_value 1, key_blank 1)"
    )


def test_of_very_many_bad_lines_the_first_hundred_are_told_and_the_others_counted(
    tmp_path: Path,
) -> None:
    (tmp_path / "codes.csv").write_text(TABLE + "A,7,p\n" * 2000, encoding="utf-8")
    done = run(tmp_path, "codes.csv", "--dry-run")
    lines = done.stderr.splitlines()
    assert [line.split(":")[0] for line in lines[:-1]] == [f"line {n}" for n in range(2, 102)]
    assert lines[-1] == "... and 1,900 more refused lines"
    assert "0 of 2,000 lines" in done.stdout
    assert "2,000 refused (invalid_value 2,000)" in done.stdout


def test_standard_input_is_read_and_avro_is_shown_readably(tmp_path: Path) -> None:
    done = run(
        tmp_path,
        *("-", "--dry-run"),
        stdin='{"extended_id": "A1", "a": 1}\n{"extended_id": "A2"}\n',
        env={"SCM_EVENTS__FORMAT": "avro", "SCM_KAFKA__TOPICS": '["other"]'},
    )
    assert done.returncode == 1
    first, summary = done.stdout.splitlines()
    assert first.startswith("line 1, key A1: ")
    assert '"key_value":"A1"' in first
    assert summary.startswith(
        "dry run: 1 of 2 lines would be published to other; 1 refused (no_fields 1)"
    )
    assert (
        done.stderr == "line 2: no_fields: the event sets no field: "
        "apart from the key, all are missing or null\n"
    )


def test_text_that_is_not_utf_8_far_behind_is_told_by_line_and_the_cure_once(
    tmp_path: Path,
) -> None:
    good = "".join(f"A{n},1,p\n" for n in range(10_000))
    (tmp_path / "codes.csv").write_bytes((TABLE + good).encode() + b"B1,1,\xfc\nB2,1,\xfc\n")
    done = run(tmp_path, "codes.csv", "--dry-run")
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "line 10002: undecodable: the text is not UTF-8; save it as UTF-8 (in Excel: CSV UTF-8)",
        "line 10003: undecodable: the text is not UTF-8",
    ]


def test_white_space_at_an_end_of_keys_is_warned_of_once_and_counted(tmp_path: Path) -> None:
    (tmp_path / "codes.csv").write_text(TABLE + "A1,1,p\nA2 ,1,p\n A3,1,p\n", encoding="utf-8")
    done = run(tmp_path, "codes.csv", "--dry-run")
    assert done.returncode == 0
    first, last = done.stderr.splitlines()
    assert first.startswith(
        "line 3: warning: the key begins or ends with white space; it is published as it stands"
    )
    assert last == "warning: 2 lines in all: the key begins or ends with white space"
    assert "3 of 3 lines would be published" in done.stdout


def test_a_key_that_conflicts_is_quoted_only_where_keys_may_be_shown(tmp_path: Path) -> None:
    line = '{"key_value": "SECRET1", "scm_data": {"extended_id": "SECRET2", "a": "x"}}'
    quiet = run(tmp_path, "-", "--dry-run", stdin=line)
    assert quiet.stderr.startswith("line 1: key_conflict: ")
    assert "SECRET" not in quiet.stderr + quiet.stdout
    assert (
        "SECRET2"
        in run(tmp_path, "-", "--dry-run", stdin=line, env={"SCM_LOG__KEYS": "true"}).stderr
    )


def test_events_of_epcis_are_published_and_a_table_is_not_made_of_them(tmp_path: Path) -> None:
    epcis = {"SCM_EVENTS__FORMAT": "epcis"}
    good, bad = (
        json.dumps(object_event(ITEM, bizStep="shipping")),
        json.dumps(object_event("?", bizStep="shipping")),
    )
    done = run(tmp_path, "-", "--dry-run", stdin=f"{good}\n{bad}\n", env=epcis)
    assert done.stdout.splitlines()[0] == f"line 1, key HGDTQD54D5SD86EEDFS: {good}"
    assert done.stderr.splitlines() == [
        'line 2: invalid_event: "epcList" is not as the rules of [epcis] need it; '
        "log.keys = true shows why"
    ]
    done = run(tmp_path, "-", "--dry-run", stdin=bad, env=epcis | {"SCM_LOG__KEYS": "true"})
    assert 'invalid_event: "?": no rule of epcis.codes fits it' in done.stderr
    (tmp_path / "codes.csv").write_text(f"{TABLE}A1,1,p\n", encoding="utf-8")
    done = run(tmp_path, "codes.csv", "--dry-run", env=epcis)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: codes.csv: a table tells fields, not what happened")
    assert "SCM_EVENTS__FORMAT=json" in done.stderr


def test_lines_before_the_one_to_go_on_with_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "codes.csv").write_text(
        f'{TABLE}A1,1,p\nA2,7,p\nA3,1,"p\nq"\nA4,1,p\n', encoding="utf-8"
    )
    done = run(tmp_path, "codes.csv", "--dry-run", "--from-line", "4")
    assert done.returncode == 0, done.stderr
    assert [line.partition(",")[0] for line in done.stdout.splitlines()[:-1]] == [
        "line 4",
        "line 6",
    ]
    assert "2 of 2 lines" in done.stdout


@pytest.mark.parametrize(
    ("content", "arguments", "words"),
    [
        ("", (), "error: codes.csv: the file is empty"),
        ("code,market\nA,cn\n", (), 'error: codes.csv: the header has no column "extended_id"'),
        ("code,market\nA,cn\n", ("--data-key", "rfid"), 'no column "rfid"'),
        (
            "extended_id,market\nA,cn\n",
            ("--key", "case"),
            'error: codes.csv: the header has no column "case"',
        ),
        ("extended_id,market\nA,cn\n" + "x" * 2**20, (), "line 3 is longer than 1,048,576 bytes"),
    ],
)
def test_a_file_that_is_of_no_use_is_one_line_and_exit_code_1(
    tmp_path: Path, content: str, arguments: tuple[str, ...], words: str
) -> None:
    (tmp_path / "codes.csv").write_text(content, encoding="utf-8")
    done = run(tmp_path, "codes.csv", "--dry-run", *arguments)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert words in done.stderr


def test_a_file_that_breaks_off_in_the_middle_says_where_to_go_on(tmp_path: Path) -> None:
    (tmp_path / "codes.csv").write_text(TABLE + "A1,1,p\nA2,1,p\n" + "x" * 2**20, encoding="utf-8")
    done = run(tmp_path, "codes.csv", "--dry-run")
    assert done.returncode == 1
    assert done.stderr.endswith("mend it, and go on with --from-line 4\n")
    assert "2 of 2 lines" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "env", "words"),
    [
        (("missing.csv",), {}, "'missing.csv' does not exist"),
        ((".",), {}, "is a directory"),
        (("codes.csv", "--from-line", "0"), {}, "--from-line"),
        (
            ("codes.csv",),
            {"SCM_KAFKA__TOPICS": '["^scm.*"]', "SCM_DEAD_LETTER__TOPIC": "dlq"},
            "--topic",
        ),
        (("codes.csv",), {"SCM_KAFKA__CLIENT__ACKS": "0"}, "SCM_KAFKA__CLIENT__ACKS"),
        (("codes.csv",), {"SCM_KAFKA__TOPIC": "x"}, "SCM_KAFKA__TOPIC"),
    ],
)
def test_wrong_usage_or_configuration_is_exit_code_2(
    tmp_path: Path, arguments: tuple[str, ...], env: dict[str, str], words: str
) -> None:
    (tmp_path / "codes.csv").write_text(TABLE + "A1,1,p\n", encoding="utf-8")
    done = run(tmp_path, *arguments, env=env)
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_a_pattern_of_topics_is_no_hindrance_to_a_dry_run(tmp_path: Path) -> None:
    (tmp_path / "codes.csv").write_text(TABLE + "A1,1,p\n", encoding="utf-8")
    env = {"SCM_KAFKA__TOPICS": '["^scm.*"]', "SCM_DEAD_LETTER__TOPIC": "dlq"}
    assert (
        "1 of 1 lines would be published; 0 refused"
        in run(tmp_path, "codes.csv", "--dry-run", env=env).stdout
    )


def test_a_terminal_sees_a_bar_and_bad_lines_and_results_stay_clean(tmp_path: Path) -> None:
    """A pseudo-terminal is stderr: the bar is there, and stdout holds no control character."""
    (tmp_path / "codes.csv").write_text(TABLE + "A1,1,p\n" * 20_000 + "A2,7,p\n", encoding="utf-8")
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [*COMMAND, "publish", "codes.csv", "--dry-run"],
        cwd=tmp_path,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "120"},
        stdout=subprocess.PIPE,
        stderr=theirs,
    ) as process:
        os.close(theirs)
        seen = b""
        while True:
            try:
                chunk = os.read(ours, 65536)
            except OSError:  # the other end is closed
                break
            seen += chunk
        out, _ = process.communicate(timeout=30)
    os.close(ours)
    assert process.returncode == 1
    assert b"\x1b[" in seen
    assert b"line 20002: invalid_value" in seen
    assert b"\x1b" not in out
    assert out.decode().splitlines()[-1].startswith("dry run: 20,000 of 20,001 lines")
