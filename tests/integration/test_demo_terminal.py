"""``scm-consumer demo`` on a terminal: the live view, the report, and a terminal left as it was."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.integration.test_demo import environment, left_over

#: The command as it is, but with a small shift.
SMALL = """
import functools, sys
from consumer.cli import main
from consumer.demo import shift
shift.Size = functools.partial(shift.Size, cases=20, per_case=10, loose=100, seed=3)
sys.argv = ["scm-consumer", "demo"]
main()
"""
ENTER, LEAVE = "\x1b[?1049h", "\x1b[?1049l"  # the alternate screen
SHOW_CURSOR = "\x1b[?25h"


class Terminal:
    """A terminal of 80 by 24, and the demo on it."""

    def __init__(self, process: subprocess.Popen[bytes], descriptor: int) -> None:
        self.process = process
        self._descriptor = descriptor
        self.shown = ""

    def read_until(self, text: str | None, seconds: float) -> None:
        """Take in what is shown until this text is there; None: until the process has ended."""
        deadline = time.monotonic() + seconds
        while text is None or text not in self.shown:
            assert time.monotonic() < deadline, self.shown[-5000:]
            if not select.select([self._descriptor], [], [], 1.0)[0]:
                continue
            try:
                self.shown += os.read(self._descriptor, 65536).decode("utf-8", "replace")
            except OSError:  # Linux says so when nobody has the other end open any more
                assert text is None, self.shown[-5000:]
                return


@contextmanager
def terminal(folder: Path) -> Iterator[Terminal]:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    variables = environment(folder) | {"TERM": "xterm-256color", "LANG": "C.UTF-8"}
    for name in ("NO_COLOR", "COLUMNS", "LINES"):
        variables.pop(name, None)
    with subprocess.Popen(
        [sys.executable, "-c", SMALL],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=variables,
        start_new_session=True,
    ) as process:
        os.close(theirs)
        try:
            yield Terminal(process, ours)
        finally:
            process.terminate()  # killed, it could not stop what it started
            os.close(ours)


def plain(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)


def test_the_view_is_drawn_over_itself_and_the_report_stays(tmp_path: Path) -> None:
    with terminal(tmp_path) as on:
        on.read_until(None, 60.0)
        assert on.process.wait(20) == 0
    before, _, rest = on.shown.partition(ENTER)
    view, _, after = rest.rpartition(LEAVE)
    assert before.strip() == ""
    for word in (
        "packaging line → Kafka",
        "coder",
        "windows",
        "in flight:",
        "dead letters: ",
        "API 200:",
        "settled",
    ):
        assert word in plain(view)
    assert "\x1b[2J" not in view, "the screen is erased between frames: it flickers"
    assert "\x1b[2K" not in view
    report = plain(after).replace("\r\n", "\n").rstrip().splitlines()
    assert report[0].startswith("published ")
    assert report[-2] == "EQUAL: nothing lost, altered, reordered or doubled."
    assert report[-1].startswith("reconcile: ")
    assert max(map(len, report)) <= 80
    assert SHOW_CURSOR in on.shown[on.shown.rindex(ENTER) :]
    assert left_over(tmp_path) == []


def test_a_signal_leaves_the_terminal_as_it_was(tmp_path: Path) -> None:
    with terminal(tmp_path) as on:
        on.read_until("coder", 30.0)
        on.process.send_signal(signal.SIGTERM)
        on.read_until(None, 20.0)
        assert on.process.wait(20) == 143
    assert on.shown.count(ENTER) == on.shown.count(LEAVE) == 1
    assert on.shown.rindex(SHOW_CURSOR) > on.shown.index(ENTER)
    assert "Traceback" not in on.shown
    assert left_over(tmp_path) == []
