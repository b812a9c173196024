"""A signal that comes before the consumer is built stops it like any other."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.process import wait_until

#: Holds up the import of the heavy part until it is told to go on.
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
    [((), signal.SIGTERM, 0), (("--until-end",), signal.SIGTERM, 143), (("--until-end",), signal.SIGINT, 130)],
)
def test_a_signal_while_the_program_is_loaded_stops_it_in_order(
    tmp_path: Path, arguments: tuple[str, ...], number: signal.Signals, code: int
) -> None:
    (tmp_path / "sitecustomize.py").write_text(SLOW)
    (tmp_path / "scm-consumer.toml").write_text(
        '[kafka]\nbootstrap_servers = "127.0.0.1:1"\n[api]\nbase_url = "http://127.0.0.1:1"\ntoken = "t"\n'
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
