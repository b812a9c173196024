"""A signal that comes before the consumer is built stops it like any other."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.process import wait_until

#: Holds up the import of the heavy part until a line comes.
SLOW = """
import pathlib, sys, time

class Slow:
    def find_spec(self, name, path=None, target=None):
        if name == "consumer.app":
            pathlib.Path("importing").touch()
            while not pathlib.Path("go-on").exists():
                time.sleep(0.01)

sys.meta_path.insert(0, Slow())
"""


@pytest.mark.parametrize(
    ("arguments", "number", "code"),
    [
        ((), signal.SIGTERM, 0),
        (("--until-end",), signal.SIGTERM, 143),
        (("--until-end",), signal.SIGINT, 130),
    ],
)
def test_a_signal_while_the_program_is_loaded_stops_it_in_order(
    tmp_path: Path, arguments: tuple[str, ...], number: signal.Signals, code: int
) -> None:
    (tmp_path / "sitecustomize.py").write_text(SLOW)
    (tmp_path / "scm-consumer.toml").write_text(
        '[kafka]\nbootstrap_servers = "127.0.0.1:1"\n[api]\nbase_url = "http://127.0.0.1:1"\n'
        'token = "t"\n'
        '[ops]\nlisten = ""\n'
    )
    root = str(Path(__file__).parents[2])
    process = subprocess.Popen(
        [sys.executable, "-m", "consumer.cli", "run", *arguments],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{root}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        wait_until((tmp_path / "importing").exists, 30)
        process.send_signal(number)
        (tmp_path / "go-on").touch()
        out, err = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == code, err
    assert "0 consumed" in out


#: A busy machine: the handler is through when the wait that it interrupts has long been over.
BUSY = """
import sys, time
from consumer.loop.runner import Runner

handle = Runner.signal

def slowly(self, exit_code=0):
    handle(self, exit_code)
    time.sleep(0.2)

Runner.signal = slowly
sys.argv = ["scm-consumer", "run"]
from consumer.cli import main
main()
"""


def test_a_signal_that_is_handled_longer_than_the_loop_would_have_waited_stops_it_all_the_same(
    tmp_path: Path,
) -> None:
    (tmp_path / "scm-consumer.toml").write_text(
        '[kafka]\nbootstrap_servers = "127.0.0.1:1"\n[api]\nbase_url = "http://127.0.0.1:1"\n'
        'token = "t"\n'
        '[ops]\nlisten = ""\n'
    )
    log = tmp_path / "log"
    with log.open("w") as err:
        process = subprocess.Popen(
            [sys.executable, "-c", BUSY],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
            stdout=subprocess.DEVNULL,
            stderr=err,
        )
    try:
        # It waits in a turn nearly all the time: it has nothing to do, and says first that there is
        # no broker.
        wait_until(lambda: "check kafka.bootstrap_servers" in log.read_text(), 30)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0, log.read_text()
    finally:
        process.kill()
        process.wait()
    assert "stopping: no requests in flight" in log.read_text()
