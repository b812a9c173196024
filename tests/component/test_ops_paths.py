"""Health, readiness, metrics and status of an owner loop that turns, stalls, waits and stops."""

from __future__ import annotations

import json
import logging
import queue
import threading
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from consumer.config.masking import masked
from consumer.config.settings import Settings
from consumer.loop.ports import Result
from consumer.ops import snapshot_request
from consumer.ops.health import STALLED_SECONDS
from consumer.ops.paths import paths_of
from consumer.ops.server import OpsResponse, Paths
from consumer.ops.snapshot_request import SnapshotRequester
from consumer.ops.status import Snapshot
from consumer.ops.watch import Watch
from tests.unit.builders import answered
from tests.unit.runner_fakes import World, keys_of, message


class Served:
    """A consumer over fakes, in simulated time, and its paths."""

    def __init__(self, settings: Settings | None = None) -> None:
        self.world = World()
        # Its own queue: the fakes' one is the clock, too, and is not made for other threads.
        self.requests: queue.SimpleQueue[Result] = queue.SimpleQueue()
        self.watch = Watch(
            self.world.runner, self.world.source, self.world.results.clock, self.world.lag
        )
        self.world.runner.look = self.watch.look
        requester = SnapshotRequester(self.requests.put, self.watch.snapshot)
        self.requester = requester
        self.paths: Paths = paths_of(
            self.world.runner,
            self.world.results.clock,
            requester.request,
            masked(settings or Settings()),
        )

    def get(self, path: str) -> OpsResponse:
        """Request a path from another thread while the owner responds."""
        found: queue.SimpleQueue[OpsResponse] = queue.SimpleQueue()
        thread = threading.Thread(target=lambda: found.put(self.paths[path]("")))
        thread.start()
        while thread.is_alive():
            self.answer_requests()
            thread.join(0.001)
        return found.get_nowait()

    def answer_requests(self) -> None:
        """Take the owner's turn, as far as snapshots are requested."""
        while not self.requests.empty():
            request = self.requests.get_nowait()
            assert callable(request)
            request()

    def status(self, query: str = "") -> Mapping[str, Any]:
        answer = self.get(f"/status{query}")
        assert answer.status == 200
        document: Mapping[str, Any] = json.loads(answer.body)
        return document


@pytest.fixture
def served() -> Served:
    return Served()


# -- alive ---------------------------------------------------------------------------------------


def test_a_loop_that_turns_is_healthy_whatever_the_api_does(served: Served) -> None:
    world = served.world
    world.api = lambda _: None
    world.partition(0, *keys_of("A", 50))
    world.start()
    world.turn_for(3 * STALLED_SECONDS)
    answer = served.paths["/healthz"]("")
    assert (answer.status, answer.body) == (200, b"ok: the owner loop turned 0.0 s ago\n")


def test_a_loop_that_does_not_turn_for_half_a_minute_is_not_healthy(served: Served) -> None:
    world = served.world
    world.start()
    world.turn_for(1)
    world.results.now += STALLED_SECONDS - 1
    assert served.paths["/healthz"]("").status == 200
    world.results.now += 2
    answer = served.paths["/healthz"]("")
    assert answer.status == 503
    assert answer.body.startswith(b"stalled: the owner loop has not turned for 3")
    world.turn_for(0.1)
    assert served.paths["/healthz"]("").status == 200


def test_a_long_wait_in_a_revocation_counts_as_turning(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = served.world
    monkeypatch.setattr(world.runner._hand_over, "seconds", 3 * STALLED_SECONDS)
    world.api = lambda _: None
    partition = world.partition(0, "A")
    world.start()
    world.turn_until(lambda: len(world.sent) == 1)
    seen: list[int] = []
    began = world.results.now
    for second in range(1, int(3 * STALLED_SECONDS)):
        world.results.at(second, lambda: seen.append(served.paths["/healthz"]("").status))
    world.source.inside.append(lambda: world.runner.on_revoked([partition], lost=False))
    world.runner.turn()
    assert world.results.now - began >= 3 * STALLED_SECONDS, "it waited"
    assert set(seen) == {200}


def test_waiting_for_kafka_inside_an_assignment_counts_as_turning(served: Served) -> None:
    world = served.world
    world.start()
    for _ in range(10):
        world.results.now += STALLED_SECONDS - 1
        world.runner.on_waiting()
    assert served.paths["/healthz"]("").status == 200


# -- ready ---------------------------------------------------------------------------------------


def test_readiness_begins_with_the_first_assignment_even_an_empty_one_and_ends_with_the_stop(
    served: Served,
) -> None:
    world = served.world
    answer = served.paths["/readyz"]("")
    assert answer.status == 503
    assert b"the group has not given this member an assignment yet" in answer.body
    world.runner.on_assigned([])
    assert served.paths["/readyz"]("").status == 200
    world.runner.signal()
    answer = served.paths["/readyz"]("")
    assert (answer.status, answer.body) == (503, b"not ready: stopping\n")


def test_a_paused_api_and_lost_partitions_leave_it_ready(served: Served) -> None:
    world = served.world
    partition = world.partition(0, "A")
    world.api = lambda _: None
    world.start()
    world.runner.on_revoked([partition], lost=True)
    assert served.paths["/readyz"]("").status == 200


# -- trouble is neither death nor a reason for no traffic ----------------------------------------


def _blocked(world: World) -> None:
    world.api = lambda _: answered(401)
    world.me = 401


def _circuit(world: World) -> None:
    world.api = lambda _: answered(503)


def _throttled(world: World) -> None:
    world.api = lambda _: answered(429, {}, retry_after=1000)


def _silent(world: World) -> None:
    world.api = lambda _: None


def _letters(world: World) -> None:
    world.acknowledges = False
    world.source.logs[next(iter(world.source.logs))].insert(0, message(0, ""))


def _out_of_range(world: World) -> None:
    world.source.stopped[next(iter(world.source.logs))] = "out_of_range"


def _away(world: World) -> None:
    world.source.away = (world.results.now, "Connection refused")


@pytest.mark.parametrize(
    ("begin", "cause", "state"),
    [
        (_blocked, "api_unauthorized", "stuck"),
        (_circuit, "api_failing", "degraded"),
        (_throttled, "throttled", "degraded"),
        (_silent, "no_progress", "stuck"),
        (_letters, "dead_letter_topic_failing", "stuck"),
        (_out_of_range, "partition_out_of_range", "stuck"),
        (_away, "kafka_away", "stuck"),
    ],
)
def test_whatever_is_wrong_a_loop_that_turns_is_healthy_and_ready_and_the_state_tells(
    served: Served, begin: Callable[[World], None], cause: str, state: str
) -> None:
    """Alive but not progressing is for alerts: a restart would only add repeats."""
    world = served.world
    world.partition(0, *keys_of("A", 50))
    begin(world)
    world.start()
    world.turn_for(400)
    assert served.paths["/healthz"]("").status == 200
    assert served.paths["/readyz"]("").status == 200
    told = served.status()
    assert (told["state"], told["phase"]) == (state, "running")
    assert told["troubles"][0]["cause"] == cause
    assert told["advice"] == told["troubles"][0]["advice"] != ""


def test_a_stop_that_waits_is_healthy_and_not_ready_until_its_end(served: Served) -> None:
    world = served.world
    world.api = lambda _: None
    world.partition(0, "A")
    seen: list[tuple[int, int, str]] = []

    def look() -> None:
        answers = (served.paths["/healthz"](""), served.paths["/readyz"](""))
        seen.append((answers[0].status, answers[1].status, served.watch.snapshot().state))

    world.results.at(1, world.runner.signal)
    for second in (2, 10, 20):
        world.results.at(second, look)
    world.runner.run()
    assert seen == [(200, 503, "stopping")] * 3
    assert served.watch.snapshot().state == "stopped"
    assert served.paths["/readyz"]("").status == 503


# -- when the loop does not answer ---------------------------------------------------------------


@pytest.mark.parametrize("path", ["/metrics", "/status"])
def test_without_a_snapshot_in_time_it_is_a_503_in_a_line(
    served: Served, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    monkeypatch.setattr(snapshot_request, "ANSWER_SECONDS", 0.05)
    answer = served.paths[path]("")
    assert answer.status == 503
    assert answer.body.count(b"\n") == 1
    assert b"the owner loop did not answer" in answer.body
    assert served.paths["/healthz"]("").status == 200, "health has its own rule"


def test_a_question_nobody_waits_for_any_more_costs_the_owner_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    taken: list[int] = []
    requests: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def never() -> Snapshot:
        taken.append(1)
        raise AssertionError

    monkeypatch.setattr(snapshot_request, "ANSWER_SECONDS", 0.01)
    assert SnapshotRequester(requests.put, never).request() is None
    requests.get_nowait()()
    assert taken == []


def test_a_snapshot_that_fails_does_not_harm_the_owner(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    del served.world.pipeline.gate.throttle.seconds
    with caplog.at_level(logging.ERROR, "consumer"):
        assert served.get("/status").status == 503
    assert "snapshot" in caplog.text


# -- what is told --------------------------------------------------------------------------------


def test_the_status_has_the_documented_parts(served: Served) -> None:
    world = served.world
    partition = world.partition(0, *keys_of("A", 3))
    world.source.ends[partition] = 3
    world.start()
    world.turn_until(lambda: partition.committed == 3)
    status = served.status()
    assert {
        "version",
        "state",
        "ledger",
        "partitions",
        "windows",
        "requests",
        "api",
    } <= status.keys()
    assert "settings" not in status, "they are told to who asks for them"
    assert "bounds" not in str(status), "histograms are short"
    assert status["windows"]["rows"] == {
        "count": 1,
        "sum": 3.0,
        "p50": 3.5,
        "p95": 4.85,
        "p99": 4.97,
    }
    assert status["ledger"] == {
        "consumed": 3,
        "accepted": 3,
        "rejected": 0,
        "skipped": 0,
        "released": 0,
        "unsettled": 0,
    }
    (told,) = status["partitions"]
    assert {
        name: told[name]
        for name in ("topic", "partition", "committed", "position", "end", "accepted")
    } == {
        "topic": "events",
        "partition": 0,
        "committed": 3,
        "position": 3,
        "end": 3,
        "accepted": 3,
    }
    assert told["oldest_unsettled_seconds"] == 0
    assert {name: status["api"][name] for name in ("blocked", "circuit", "budget")} == {
        "blocked": None,
        "circuit": False,
        "budget": None,
    }


def test_no_secret_is_told_anywhere() -> None:
    secret = "s3cret-Zx9"
    settings = Settings.model_validate(
        {
            "api": {"token": secret, "proxy": f"http://user:{secret}@proxy:3128"},
            "schema_registry": {"url": "http://registry", "user": "me", "password": secret},
            "kafka": {
                "client": {
                    "sasl.password": secret,
                    "ssl.key.pem": secret,
                    "security.protocol": "sasl_ssl",
                }
            },
        }
    )
    served = Served(settings)
    served.world.partition(0, "A")
    served.world.start()
    bodies = [served.get(path).body for path in served.paths]
    assert not any(secret.encode() in body for body in bodies)
    told = served.status("?settings=1")["settings"]
    assert told["kafka"]["client"]["security.protocol"] == "sasl_ssl"
    assert told["api"]["token"] == "(hidden)"


def test_no_key_value_is_told(served: Served) -> None:
    world = served.world
    world.api = lambda _: None
    world.partition(0, *keys_of("SECRETCODE", 20))
    world.start()
    world.turn_until(lambda: len(world.sent) == 2)
    assert not any(b"SECRETCODE" in served.get(path).body for path in served.paths)


def test_the_page_loads_nothing_from_elsewhere_and_runs_nothing_but_its_own_script(
    served: Served,
) -> None:
    answer = served.get("/")
    assert answer.content_type == "text/html; charset=utf-8"
    html = answer.body.decode()
    assert "http://" not in html
    assert "https://" not in html
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "script-src 'sha256-" in policy
    assert "style-src 'sha256-" in policy
    assert "innerHTML" not in html, "what is told by events is text, never markup"
