"""Streams that nobody reads, and calls that do not end: the consumer goes on, signals end it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from consumer.ops.lines import MAX_QUEUED, LineWriter
from tests.support.process import wait_until

ROOT = str(Path(__file__).parents[2])
PIPE_BYTES = 4096


def configuration(folder: Path, ops: str = "") -> Path:
    file = folder / "scm-consumer.toml"
    file.write_text(
        '[kafka]\nbootstrap_servers = "127.0.0.1:1"\n[api]\nbase_url = "http://127.0.0.1:1"\n'
        'token = "t"\n'
        f'[ops]\nlisten = "{ops}"\n'
    )
    return file


@contextlib.contextmanager
def unread_pipe() -> Iterator[tuple[int, int]]:
    """Return the ends of a small pipe that is full."""
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    fill(writer)
    try:
        yield reader, writer
    finally:
        os.close(reader)
        os.close(writer)


def fill(writer: int) -> None:
    os.set_blocking(writer, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(writer, b"." * PIPE_BYTES)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(writer, b".")
    os.set_blocking(writer, True)


def free_address() -> str:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{taken.getsockname()[1]}"


def answered(ops: str, seconds: float) -> bool:
    """Return whether the loop, which answers for its state itself, did so in time."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            with urllib.request.urlopen(f"http://{ops}/status", timeout=2) as answer:
                return bool(answer.status == 200)
        except OSError:
            time.sleep(0.1)
    return False


def ended(process: subprocess.Popen[bytes], seconds: float) -> int | None:
    """Return its exit code; None: it runs on."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(seconds)
    return process.returncode


@pytest.mark.parametrize("shared", [False, True], ids=["stderr", "stderr and stdout"])
def test_a_log_that_nobody_reads_holds_up_neither_the_loop_nor_its_end(
    tmp_path: Path, shared: bool
) -> None:
    ops = free_address()
    with unread_pipe() as (_, full):
        process = subprocess.Popen(
            [sys.executable, "-m", "consumer.cli", "-c", str(configuration(tmp_path, ops)), "run"],
            env={**os.environ, "PYTHONPATH": ROOT},
            stdout=full if shared else subprocess.DEVNULL,
            stderr=full,
        )
        try:
            assert answered(ops, 20), "the loop waits for whoever reads its log"
            process.send_signal(signal.SIGTERM)
            assert ended(process, 20) == 0, "the end waits for whoever reads the output"
        finally:
            process.kill()
            process.wait()


def test_a_failure_that_nobody_reads_of_ends_the_process(tmp_path: Path) -> None:
    with unread_pipe() as (_, full):
        process = subprocess.Popen(
            [sys.executable, "-m", "consumer.cli", "-c", str(tmp_path / "missing.toml"), "run"],
            env={**os.environ, "PYTHONPATH": ROOT},
            stderr=full,
        )
        try:
            assert ended(process, 20) == 2, "the end waits for whoever reads the error"
        finally:
            process.kill()
            process.wait()


#: The loop stands in a call that gives the interpreter no turn, as one of a library may: no Python
#: handler runs.
STUCK = """
import ctypes, pathlib, sys
from consumer.loop.runner import Runner

def stand(self):
    libc, lock = ctypes.CDLL(None), ctypes.create_string_buffer(128)
    libc.pthread_mutex_lock(lock)
    pathlib.Path("stands").touch()
    libc.pthread_mutex_lock(lock)

Runner.turn = stand
sys.argv = ["scm-consumer", "run"]
from consumer.cli import main
main()
"""


def test_a_second_signal_ends_a_process_whose_loop_stands_still(tmp_path: Path) -> None:
    configuration(tmp_path)
    process = subprocess.Popen(
        [sys.executable, "-c", STUCK],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": ROOT},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_until((tmp_path / "stands").exists, 30)
        process.send_signal(signal.SIGTERM)
        assert ended(process, 0.5) is None  # the first one alone is waited for
        process.send_signal(signal.SIGINT)
        assert ended(process, 15) == 1, "a second signal does not end the process"
    finally:
        process.kill()
        process.wait()


# -- lines ---------------------------------------------------------------------------------------


def told(count: int) -> str:
    return f"{count} dropped\n"


def read(reader: int, lines: LineWriter) -> list[str]:
    """Return all that comes until nothing is queued any more."""
    os.set_blocking(reader, False)
    got = b""

    def look() -> bool:
        nonlocal got
        with contextlib.suppress(BlockingIOError):
            while True:
                got += os.read(reader, 65536)
        return lines.drain(0)

    wait_until(look, 30)
    look()
    return got.decode().lstrip(".").splitlines()


def test_lines_beyond_the_bound_are_dropped_counted_and_told_where_they_would_have_stood() -> None:
    with unread_pipe() as (reader, writer):
        lines = LineWriter(writer, told)
        text = "x" * (MAX_QUEUED // 4)
        for number in range(9):
            lines.write(f"{number} {text}\n")
        assert not lines.drain(0.1)
        got = [line.split(" x")[0] for line in read(reader, lines)]
        kept = [line for line in got if "dropped" not in line]
        assert kept == [str(number) for number in range(len(kept))]
        assert 3 <= len(kept) <= 5
        assert got[-1] == f"{9 - len(kept)} dropped", (
            "lines are dropped, and it is not told how many"
        )
        lines.write("later\n")
        assert read(reader, lines) == ["later"]


def test_a_single_line_is_written_however_long_it_is() -> None:
    with unread_pipe() as (reader, writer):
        lines = LineWriter(writer, told)
        lines.write("y" * (2 * MAX_QUEUED) + "\n")
        assert read(reader, lines) == ["y" * (2 * MAX_QUEUED)]


def test_lines_that_cannot_be_written_are_told_with_the_next_that_can(tmp_path: Path) -> None:
    file = tmp_path / "log"
    full, good = os.open("/dev/full", os.O_WRONLY), os.open(file, os.O_WRONLY | os.O_CREAT)
    descriptor = os.dup(full)
    lines = LineWriter(descriptor, told)
    for _ in range(3):
        lines.write("lost\n")
        assert lines.drain(30)
    os.dup2(good, descriptor)
    lines.write("kept\n")
    assert lines.drain(30)
    assert file.read_text() == "3 dropped\nkept\n"
    for each in (full, good, descriptor):
        os.close(each)


def test_a_descriptor_that_others_have_made_non_blocking_loses_nothing() -> None:
    with unread_pipe() as (reader, writer):
        os.set_blocking(writer, False)
        lines = LineWriter(writer, told)
        for number in range(2000):
            lines.write(f"{number}\n")
        assert read(reader, lines) == [str(number) for number in range(2000)]
