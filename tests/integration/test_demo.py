"""``scm-consumer demo`` as it is run: real processes, real damage, and nothing left behind."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from consumer.adapters.kafka.embedded import EmbeddedKafka
from consumer.cli import group
from consumer.demo import stage
from consumer.demo.shift import Size
from consumer.errors import UserError
from tests.support.process import wait_until

COMMAND = [sys.executable, "-m", "consumer.cli", "demo"]
SMALL = Size(cases=20, per_case=10, loose=100, seed=3)


def environment(folder: Path) -> dict[str, str]:
    return os.environ | {
        "TMPDIR": str(folder),
        "SCM_API__BASE_URL": "https://production.invalid",
        "SCM_X": "1",
    }


def left_over(folder: Path) -> list[str]:
    """Return files in the folder, and processes that work with it."""
    processes = subprocess.run(
        ["ps", "-A", "-o", "args="], capture_output=True, text=True, check=True
    ).stdout
    return [
        *map(str, folder.iterdir()),
        *(line for line in processes.splitlines() if str(folder) in line),
    ]


def test_it_ends_equal_and_in_time_whatever_the_environment_says(tmp_path: Path) -> None:
    done = subprocess.run(
        COMMAND, capture_output=True, text=True, env=environment(tmp_path), timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    judged, reconciled = done.stdout.splitlines()[-2:]
    assert judged == "EQUAL: nothing lost, altered, reordered or doubled."
    assert re.fullmatch(r"reconcile: [1-9][0-9,]* codes equal", reconciled)
    for word in (
        "published",
        "windows accepted",
        "throttled (429)",
        "unavailable (503)",
        "answer lost",
        "unknown_key",
    ):
        assert word in done.stdout
    assert_numbers_add_up(done.stdout)
    assert "stopped" not in done.stderr
    assert "\x1b" not in done.stdout + done.stderr, "colours, although nothing is a terminal"
    assert_log_of_a_whole_run(done.stderr)
    assert left_over(tmp_path) == []


def assert_numbers_add_up(report: str) -> None:
    """Assert that records add up with records, rows with rows."""
    told = report.replace(",", "")
    records = re.search(
        r"^published +(\d+) records .+ = (\d+) tombstones \+ (\d+) events which make (\d+) rows$",
        told,
        re.M,
    )
    rows = re.search(r"^rows +(\d+) = (\d+) good ones .+ \+ (\d+) bad ones$", told, re.M)
    assert records, report
    assert rows, report
    assert int(records[1]) == int(records[2]) + int(records[3])
    assert int(rows[1]) == int(rows[2]) + int(rows[3]) == int(records[4])
    windows = re.search(
        r"^uploaded +(\d+) windows accepted = (\d+) answered \+ (\d+) whose answer was lost",
        told,
        re.M,
    )
    assert windows, report
    answered = re.search(r"accepted \(200\) (\d+)", told)
    assert answered, report
    assert int(windows[1]) == int(windows[2]) + int(windows[3])
    assert int(windows[2]) == int(answered[1])
    applied = re.search(r"; (\d+) rows applied = (\d+) good ones \+ (\d+) applied once more", told)
    assert applied, report
    assert int(applied[1]) == int(applied[2]) + int(applied[3])
    assert applied[2] == rows[2]


def assert_log_of_a_whole_run(log: str) -> None:
    """Assert that there is about a line a second.

    The line publishes while the consumer works; what happens first of its kind is told once.
    """
    steps = [
        tuple(int(number.replace(",", "")) for number in match.groups())
        for match in re.finditer(
            r"([\d,]+) of 5,125 events published, ([\d,]+) committed, ([\d,]+) rows applied", log
        )
    ]
    assert 5 < len(steps) < 60
    assert any(0 < published < 5125 and applied for published, _, applied in steps), log
    assert steps[-1][:2] == (5125, 5125)
    for first in (
        "429, throttled",
        "503, unavailable",
        "400, bad rows",
        "applied, answer lost",
        "sent again",
    ):
        assert log.count(first) == 1, log
    for reason in ("unknown_key", "rejected_by_api", "undecodable", "invalid_value"):
        assert log.count(f"dead letter, {reason}: scm.events[") == 1


@pytest.mark.parametrize(
    ("ignored", "number", "code"),
    [
        ("", signal.SIGINT, 130),
        ("", signal.SIGTERM, 143),
        ("", signal.SIGHUP, 129),
        ("INT", signal.SIGINT, 130),
    ],
)
def test_a_signal_stops_and_removes_everything(
    tmp_path: Path, ignored: str, number: signal.Signals, code: int
) -> None:
    """SIGINT, too, in a script's background job: a shell starts that with SIGINT ignored."""
    started_by = ["sh", "-c", f"trap '' {ignored}; exec \"$@\"", "sh"] if ignored else []
    with subprocess.Popen(
        [*started_by, *COMMAND],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(tmp_path),
    ) as process:
        assert process.stderr is not None
        assert "events published" in process.stderr.readline(), (
            "the consumer runs when progress is told"
        )
        assert left_over(tmp_path)
        process.send_signal(number)
        out, err = process.communicate(timeout=20)
    assert process.returncode == code
    assert err.splitlines().count("stopped; nothing is left behind") == 1
    assert "Traceback" not in out + err
    assert left_over(tmp_path) == []


def test_killed_at_once_it_leaves_nothing_either(tmp_path: Path) -> None:
    with subprocess.Popen(
        COMMAND,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(tmp_path),
    ) as process:
        assert process.stderr is not None
        assert "events published" in process.stderr.readline()
        process.kill()
        process.communicate(timeout=20)
    wait_until(lambda: left_over(tmp_path) == [], 20, lambda: str(left_over(tmp_path)))


def damaged(monkeypatch: pytest.MonkeyPatch, *faults: dict[str, object]) -> tuple[int, str]:
    """Run the whole demo, small, at an API that does this and nothing else wrong."""
    set_up = stage.set_up
    monkeypatch.setattr(stage, "FAULTS", faults)
    monkeypatch.setattr(stage, "set_up", lambda _: set_up(SMALL))
    result = CliRunner().invoke(group, ["demo"])
    return result.exit_code, result.stdout


def test_a_row_that_the_api_accepts_and_drops_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The consumer repeats it once, as promised, and cannot know more; the judge sees what is
    there.
    """
    code, out = damaged(monkeypatch, {"kind": "omit_rows", "every": 1, "min_rows": 2})
    assert code == 1
    assert "lost, in the API's journal: " in out


def test_a_field_that_the_api_discards_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = [
        "product",
        "production_date",
        "line",
        "weight_g",
        "moisture",
        "sealed",
        "intended_market",
    ]
    kept += ["after_sell_by", "ship_date", "carrier"]
    code, out = damaged(monkeypatch, {"kind": "campaign_fields", "fields": kept})
    assert code == 1
    assert "lost, in the API's state: " in out
    assert " lot\n" in out


def test_rows_that_really_overtake_each_other_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lost answers take effect late, and this consumer was told that they never do."""
    trusting = stage.CONFIGURATION.replace(
        "max_processing_seconds = 2", "max_processing_seconds = 0"
    )
    assert trusting != stage.CONFIGURATION
    monkeypatch.setattr(stage, "CONFIGURATION", trusting)
    late: dict[str, object] = {"kind": "late", "every": 2, "seconds": 0.7}
    code, out = damaged(monkeypatch, late, {"kind": "latency", "seconds": 0.1})
    assert code == 1
    assert "reordered, in the API's journal: extended_id=" in out


def test_a_consumer_that_fails_is_told_with_its_own_words_and_nothing_is_left(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(stage, "CONFIGURATION", stage.CONFIGURATION + "\nno_such_key = 1\n")
    with (
        pytest.raises(UserError, match=r"exit code 2; .*\n.*ops\.no_such_key: unknown key"),
        stage.set_up(SMALL) as running,
    ):
        running.play(lambda _: None)
    assert left_over(tmp_path) == []


def test_a_consumer_that_does_not_end_is_stopped(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(stage, "PATIENCE_SECONDS", 1.0)
    with (
        pytest.raises(UserError, match="did not bring everything to its end within 1 s"),
        stage.set_up(SMALL) as running,
    ):
        running.play(lambda _: None)
    assert left_over(tmp_path) == []


def test_the_embedded_kafka_serves_other_clients_and_ends_when_it_is_closed() -> None:
    with EmbeddedKafka() as kafka:
        assert kafka.create_topic("some.topic") == kafka.create_topic("some.topic") == 4
        admin = AdminClient({"bootstrap.servers": kafka.bootstrap_servers, "log_level": 0})
        assert "some.topic" in admin.list_topics(timeout=10).topics
    late = AdminClient({"bootstrap.servers": kafka.bootstrap_servers, "log_level": 0})
    with pytest.raises(KafkaException):
        late.list_topics(timeout=2)
    with pytest.raises(RuntimeError):
        kafka.create_topic("another.topic")
