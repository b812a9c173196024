"""The benchmark measures what it says: its backlog, its API stand-in and its floor."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import requests

import consumer
from benchmarks import compare, report
from benchmarks.backlog import Backlog, events, key_hash, produce
from benchmarks.measure import Cost, measure
from benchmarks.run import PROJECT, Bench, BenchmarkError, run_floor
from benchmarks.standin import StandIn, Stats
from tests.support.kafka_witness import Kafka, unique

HEADERS = {"Authorization": "UAT test"}


@pytest.fixture(scope="module")
def standin() -> Iterator[StandIn]:
    with closing(StandIn()) as running:
        yield running


def upload(standin: StandIn, body: object) -> requests.Response:
    return requests.post(
        f"{standin.url}/api/v2/scm/upload/", json=body, headers=HEADERS, timeout=10
    )


def test_the_same_seed_gives_the_same_bytes_and_another_seed_does_not() -> None:
    once, again, other = (list(events(1_000, seed)) for seed in (7, 7, 8))
    assert once == again
    assert once != other
    assert len({key for key, _ in once}) == 1_000
    assert 220 <= sum(len(value) for _, value in once) / 1_000 <= 240


def test_a_share_of_the_events_repeats_an_earlier_key() -> None:
    keys = [key for key, _ in events(10_000, 1, repeats=0.05)]
    assert 0.04 < 1 - len(set(keys)) / len(keys) < 0.06


def test_the_standin_answers_as_documented_and_counts(standin: StandIn) -> None:
    standin.reset()
    items = [
        {"extended_id": 'a"é', "market": "cn", "line": "1"},
        {"extended_id": "b"},
        {"extended_id": "b"},
    ]
    answer = upload(standin, {"data_key": "extended_id", "items": items})
    assert answer.status_code == 200
    assert answer.json() == {
        "total_updates": 3,
        "changes": [],
        "items": {'a"é': ["market", "line"], "b": []},
        "codes_affected": 3,
    }
    stats = standin.stats()
    assert (stats.requests, stats.rows, stats.refused) == (1, 3, 0)
    assert (stats.distinct_keys, stats.repeated_in_request) == (2, 1)


def test_the_standin_and_the_backlog_agree_on_the_hash_of_a_set_of_keys(standin: StandIn) -> None:
    standin.reset()
    keys = [key.decode() for key, _ in events(150, 3)]
    for part in (keys[:100], keys[50:]):
        assert upload(standin, {"items": [{"extended_id": key, "x": "1"} for key in part]}).ok
    assert standin.stats().distinct_keys == 150
    assert standin.stats().keys_hash == f"{sum(key_hash(key.encode()) for key in keys) % 2**64:x}"


@pytest.mark.parametrize(
    "body",
    [
        {"items": [{"extended_id": str(i)} for i in range(101)]},
        {"items": [{"extended_id": "a", "x": 1}]},
        {"items": [{"extended_id": "a", "x": None}]},
        {"items": [{"extended_id": ""}]},
        {"items": [{"market": "cn"}]},
        {"data_key": "rfid", "items": [{"extended_id": "a"}]},
        {"data_key": "extended_id"},
        [],
    ],
)
def test_the_standin_refuses_what_the_api_would(standin: StandIn, body: object) -> None:
    standin.reset()
    assert upload(standin, body).status_code == 400
    assert (standin.stats().refused, standin.stats().rows) == (1, 0)


@pytest.mark.parametrize(
    "text", ["", "{", '{"items":[]} {}', '{"items":[],}', '{"items":[{"a":"\\q"}]}', "01"]
)
def test_the_standin_refuses_what_is_not_json(standin: StandIn, text: str) -> None:
    url = f"{standin.url}/api/v2/scm/upload/"
    assert requests.post(url, data=text, headers=HEADERS, timeout=10).status_code == 400


def test_the_standin_wants_a_token(standin: StandIn) -> None:
    assert requests.get(f"{standin.url}/api/v2/me/", timeout=10).status_code == 401
    assert requests.get(f"{standin.url}/api/v2/me/", headers=HEADERS, timeout=10).status_code == 200


def test_the_standin_takes_as_long_as_it_was_told(standin: StandIn) -> None:
    standin.reset(latency_ms=120)
    assert upload(standin, {"items": [{"extended_id": "a"}]}).elapsed.total_seconds() >= 0.12
    assert standin.stats().busy_seconds >= 0.12
    standin.reset()


def test_the_native_client_shows_the_ceiling(standin: StandIn) -> None:
    found = standin.ceiling(seconds=0.5, connections=2)
    assert found.requests_per_second > 100
    assert found.cpu_us_per_request > 0
    assert standin.stats().refused == 0


@pytest.mark.parametrize("threads", [1, 3])
def test_the_floor_sends_every_event_of_the_backlog(
    kafka: Kafka, standin: StandIn, tmp_path: Path, threads: int
) -> None:
    topic = kafka.create_topic(unique("floor"), 8)
    backlog = produce(kafka.bootstrap, topic, 2_050, seed=5)
    assert len(kafka.read_all(topic)) == 2_050
    run = run_floor(Bench(kafka, standin, topic, backlog, tmp_path), 0, threads)
    assert (run.stats.rows, run.stats.requests) == (2_050, 21)
    assert run.figures["cpu_us_per_row"] > 0
    assert "floor" in report.table([run], [])


def test_a_run_that_did_not_send_the_backlog_does_not_count(
    kafka: Kafka, standin: StandIn, tmp_path: Path
) -> None:
    topic = kafka.create_topic(unique("floor"), 1)
    produce(kafka.bootstrap, topic, 300, seed=5)
    with pytest.raises(BenchmarkError, match="300 rows of 300 keys"):
        run_floor(Bench(kafka, standin, topic, Backlog(300, 300, "another", 230.0), tmp_path), 0, 1)


def test_cost_is_that_of_the_program_alone_with_its_exit_code(tmp_path: Path) -> None:
    held = bytearray(200 * 2**20)  # of this process: no part of the program's peak
    held[:: 2**12] = b"x" * len(held[:: 2**12])
    spin = "import sys, time\nwhile time.process_time() < 0.3: pass\nprint('said'); sys.exit(3)"
    cost = measure([sys.executable, "-c", spin], tmp_path, {}, tmp_path / "log")
    assert cost.exit_code == 3
    assert 0.3 <= cost.user_seconds + cost.system_seconds <= cost.wall_seconds + 0.1
    assert cost.peak_mib < 100
    assert (tmp_path / "log").read_text() == "said\n"


def test_the_product_is_compared_with_the_better_floor_for_each_figure() -> None:
    def run(program: str, threads: int, busy: float, cpu: float) -> report.Run:
        stats = Stats(10, 1_000, 0, 0, 1, 1_000, "", busy, 0.1)
        return report.Run(program, 0, threads, Cost(0, cpu, 0.0, busy + 1, 50.0), stats)

    floors = [run("floor", 1, busy=2.0, cpu=0.5), run("floor", 4, busy=1.0, cpu=1.0)]
    assert report.ratios([*floors, run("product", 8, busy=2.0, cpu=1.0)]) == [
        "product / floor at 0 ms: 0.50 x the rows/s, 2.00 x the CPU per row"
    ]


def test_the_median_of_the_rounds_is_shown() -> None:
    rounds = [
        report.Run(
            "floor",
            0,
            1,
            Cost(0, 1.0, 0.0, 2.0, peak),
            Stats(10, 1_000, 0, 0, 1, 1_000, "", 1.0, 0.1),
        )
        for peak in (10.0, 99.0, 20.0)
    ]
    assert report.medians(rounds)["floor", 0, 1]["peak_mib"] == 20.0


def test_the_other_checkouts_code_is_what_runs(tmp_path: Path) -> None:
    shutil.copytree(
        PROJECT / "consumer", tmp_path / "consumer", ignore=shutil.ignore_patterns("__pycache__")
    )
    module = tmp_path / "consumer" / "__init__.py"
    module.write_text(module.read_text().replace(consumer.__version__, "99.9"))
    command, variables = compare.code_of(tmp_path)
    done = subprocess.run(
        [*command, "--version"], cwd="/", env=variables, capture_output=True, text=True, check=True
    )
    assert done.stdout.split()[-1] == "99.9"


def test_two_checkouts_are_compared_round_by_round() -> None:
    def run(cpu: float, busy: float) -> report.Run:
        stats = Stats(10, 1_000, 0, 0, 1, 1_000, "", busy, 0.1)
        return report.Run("product", 0, 8, Cost(0, cpu, 0.0, busy + 1, 50.0), stats)

    # The machine was half as quick in the second round, for both.
    assert compare.summary(
        [(run(1.1, 1.0), run(1.0, 1.0)), (run(2.2, 2.0), run(2.0, 2.0)), (run(1.0, 1.0),) * 2]
    ) == [
        "CPU us/row: 1.100 of the other's (1.000 to 1.100)",
        "rows/s: 1.000 of the other's (1.000 to 1.000)",
        "peak MiB: 1.000 of the other's (1.000 to 1.000)",
    ]
