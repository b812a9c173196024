"""The worker threads: every job comes back once, whatever happens to it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from queue import Queue
from typing import Any

import pytest

from consumer.adapters.scantrust.client import Client, Job
from consumer.adapters.scantrust.loop import Loop, Steps
from consumer.adapters.scantrust.pool import Pool
from consumer.adapters.scantrust.token import TokenSource
from consumer.core.uploading.response import Response
from consumer.errors import ConfigError
from tests.component.wire import (
    ITEMS,
    TOKEN,
    Peer,
    Wire,
    answer,
    free_port,
    saying,
    upload_body,
    wait_until,
)

Results = Queue[tuple[Job, Response]]


@contextmanager
def pool_to(url: str, size: int = 4, timeout: float = 5.0) -> Iterator[tuple[Pool, Results]]:
    results: Results = Queue()
    token = TokenSource(TOKEN)
    pool = Pool(lambda: Client(url, token, connect_timeout=2, timeout=timeout), size, results)
    try:
        yield pool, results
    finally:
        assert pool.close(10)


def upload(**fields: Any) -> Job:
    return Job("upload", data_key="extended_id", items=ITEMS, **fields)


def workers() -> int:
    return sum(thread.name.startswith("upload-") for thread in threading.enumerate())


def test_a_job_comes_back_with_its_reply() -> None:
    with (
        Wire(saying(answer(body=b'{"codes_affected": 2}'))) as wire,
        pool_to(wire.url) as (pool, results),
    ):
        job = upload(subject="window 1")
        pool.submit(job)
        returned, response = results.get(timeout=5)
        assert returned is job
        assert (response.status, response.document) == (200, {"codes_affected": 2})
        me = Job("me")
        pool.submit(me)
        assert results.get(timeout=5)[0] is me
    assert [request.line.split()[:2] for request in wire.requests] == [
        ["POST", "/api/v2/scm/upload/"],
        ["GET", "/api/v2/me/"],
    ]
    assert wire.requests[0].body == upload_body()


def test_an_idle_pool_has_no_thread_and_few_jobs_start_few() -> None:
    before = workers()
    with Wire(saying(answer())) as wire, pool_to(wire.url, size=64) as (pool, results):
        assert workers() == before
        for _ in range(20):
            pool.submit(upload())
            results.get(timeout=5)
        assert workers() - before == 1
        assert wire.connections == 1
    assert workers() == before


def test_as_many_calls_as_the_pool_has_workers_run_at_once() -> None:
    together = threading.Barrier(16)

    def script(peer: Peer, wire: Wire) -> None:
        while wire.take(peer) is not None:
            together.wait(10)  # only when all are in flight does any get its response
            peer.send(answer())

    with Wire(script) as wire, pool_to(wire.url, size=16, timeout=20) as (pool, results):
        for _ in range(32):
            pool.submit(upload())
        assert [results.get(timeout=20)[1].status for _ in range(32)] == [200] * 32
        assert wire.connections == 16


def test_many_threads_return_every_job_exactly_once() -> None:
    with Wire(saying(answer())) as wire, pool_to(wire.url, size=64) as (pool, results):
        jobs = [upload(subject=number) for number in range(1000)]
        for job in jobs:
            pool.submit(job)
        returned = [results.get(timeout=20) for _ in jobs]
        assert sorted(job.subject for job, _ in returned) == list(range(1000))
        assert all(response.status == 200 for _, response in returned)
        assert results.empty()
    assert len(wire.requests) == 1000
    assert wire.connections <= 64


@pytest.mark.promise("fencing")
def test_a_job_whose_time_to_start_passed_while_it_waited_is_dropped_unsent() -> None:
    release = threading.Event()

    def script(peer: Peer, wire: Wire) -> None:
        while wire.take(peer) is not None:
            assert release.wait(10)
            peer.send(answer())

    with Wire(script) as wire, pool_to(wire.url, size=1) as (pool, results):
        pool.submit(upload(subject="in flight"))
        pool.submit(upload(subject="late", start_by=time.monotonic() + 0.05))
        pool.submit(upload(subject="in time", start_by=time.monotonic() + 60))
        deadline = time.monotonic() + 0.06
        wait_until(lambda: len(wire.requests) == 1 and time.monotonic() > deadline)
        release.set()
        responses = {
            job.subject: response for job, response in (results.get(timeout=5) for _ in range(3))
        }
    assert responses["in flight"].status == responses["in time"].status == 200
    assert (responses["late"].status, responses["late"].sent) == (None, False)
    assert "time to start" in responses["late"].error
    assert len(wire.requests) == 2


def test_a_call_that_fails_comes_back_too() -> None:
    with pool_to(f"http://127.0.0.1:{free_port()}") as (pool, results):
        for _ in range(5):
            pool.submit(upload())
        responses = [results.get(timeout=5)[1] for _ in range(5)]
    assert all((response.status, response.sent) == (None, False) for response in responses)


class _Faulty(Client):
    """A client with a bug: every second call raises, with what must not be logged in its text."""

    calls = 0

    def steps(self, job: Job) -> Steps[Response]:
        self.calls += 1
        if self.calls % 2:
            raise KeyError(f"{TOKEN} {job.items[0]['extended_id']}-value")
        return (yield from super().steps(job))


def test_a_bug_in_a_worker_costs_neither_the_job_nor_the_worker_and_is_logged_without_values(
    caplog: pytest.LogCaptureFixture,
) -> None:
    results: Results = Queue()
    with Wire(saying(answer())) as wire:
        pool = Pool(
            lambda: _Faulty(wire.url, TokenSource(TOKEN), connect_timeout=2, timeout=5), 1, results
        )
        for number in range(4):
            pool.submit(upload(subject=number))
        responses = [results.get(timeout=5) for _ in range(4)]
        assert pool.close(5)
    assert [job.subject for job, _ in responses] == [0, 1, 2, 3]
    assert [response.status for _, response in responses] == [None, 200, None, 200]
    assert all(response.sent for _, response in responses), (
        "a bug proves nothing about what was sent"
    )
    assert "KeyError" in responses[0][1].error
    errors = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert len(errors) == 2
    assert "KeyError" in caplog.text
    assert "in steps" in caplog.text
    for secret in (TOKEN, "A1-value"):
        assert secret not in caplog.text
        assert secret not in responses[0][1].error


def test_a_bug_in_the_loop_costs_the_calls_under_way_and_not_the_thread(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    results: Results = Queue()
    turn, turns = Loop.turn, count()

    def once_wrong(loop: Loop) -> None:
        if next(turns) == 1:
            raise KeyError("a bug")
        turn(loop)

    monkeypatch.setattr(Loop, "turn", once_wrong)
    with Wire(saying(answer())) as wire:
        pool = Pool(
            lambda: Client(wire.url, TokenSource(TOKEN), connect_timeout=2, timeout=5), 2, results
        )
        pool.submit(upload(subject=0))
        first = results.get(timeout=5)
        pool.submit(upload(subject=1))
        second = results.get(timeout=5)
        assert pool.close(5)
    assert (first[0].subject, first[1].status) == (0, None)
    assert "a fault in the program: RuntimeError" in first[1].error
    assert first[1].sent, "a bug proves nothing about what was sent"
    assert (second[0].subject, second[1].status) == (1, 200)


def test_a_thread_that_cannot_be_started_is_an_unsent_job_and_leaves_nothing_open(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refused(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    results: Results = Queue()
    before = len(list(Path("/proc/self/fd").iterdir()))
    with Wire(saying(answer())) as wire:
        pool = Pool(
            lambda: Client(wire.url, TokenSource(TOKEN), connect_timeout=2, timeout=5), 1, results
        )
        with monkeypatch.context() as patched:
            patched.setattr(threading.Thread, "start", refused)
            pool.submit(upload(subject=0))
        job, response = results.get_nowait()
        assert (job.subject, response.status, response.sent) == (0, None, False)
        assert "can't start new thread" in response.error
        pool.submit(upload(subject=1))
        job, response = results.get(timeout=5)
        assert (job.subject, response.status) == (1, 200), (
            "it is tried again, and the first is over"
        )
        assert results.empty()
        assert pool.close(5)
    assert len(list(Path("/proc/self/fd").iterdir())) <= before


def test_a_client_that_cannot_be_made_is_an_unsent_job_each_time_and_tried_again() -> None:
    results: Results = Queue()
    made: list[int] = []

    def factory() -> Client:
        made.append(1)
        if len(made) < 3:
            raise ConfigError(["api.ca_file: gone"])
        return Client(wire.url, TokenSource(TOKEN), connect_timeout=2, timeout=5)

    with Wire(saying(answer())) as wire:
        pool = Pool(factory, 1, results)
        for _ in range(3):
            pool.submit(upload())
        responses = [results.get(timeout=5)[1] for _ in range(3)]
        assert pool.close(5)
    assert [(response.status, response.sent) for response in responses] == [
        (None, False),
        (None, False),
        (200, True),
    ]


def test_closing_returns_waiting_jobs_unsent_and_waits_for_those_in_flight() -> None:
    release = threading.Event()

    def script(peer: Peer, wire: Wire) -> None:
        while wire.take(peer) is not None:
            assert release.wait(10)
            peer.send(answer())

    with Wire(script) as wire, pool_to(wire.url, size=2) as (pool, results):
        for number in range(6):
            pool.submit(upload(subject=number))
        wait_until(lambda: len(wire.requests) == 2)
        assert pool.close(0.05) is False
        unsent = [results.get(timeout=5) for _ in range(4)]
        assert sorted(job.subject for job, _ in unsent) == [2, 3, 4, 5]
        assert all((response.status, response.sent) == (None, False) for _, response in unsent)
        pool.submit(upload(subject="after"))
        job, response = results.get(timeout=5)
        assert (job.subject, response.status, response.sent) == ("after", None, False)
        release.set()
        assert pool.close(5) is True
        answered = [results.get(timeout=5) for _ in range(2)]
        assert [response.status for _, response in answered] == [200, 200]
        assert results.empty()
    assert len(wire.requests) == 2
    assert wire.closed == 2


def test_workers_do_not_keep_the_process_alive() -> None:
    with Wire(saying(answer())) as wire, pool_to(wire.url) as (pool, results):
        pool.submit(upload())
        results.get(timeout=5)
        assert all(
            thread.daemon for thread in threading.enumerate() if thread.name.startswith("upload-")
        )
        assert workers() == 1


@pytest.mark.alone
def test_an_idle_pool_uses_no_processor_time() -> None:
    with Wire(saying(answer())) as wire, pool_to(wire.url, size=8) as (pool, results):
        for _ in range(8):
            pool.submit(upload())
        for _ in range(8):
            results.get(timeout=5)
        before, until = time.process_time(), time.monotonic() + 0.5
        threading.Event().wait(until - time.monotonic())
        assert time.process_time() - before < 0.02
