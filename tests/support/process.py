"""The real consumer as a user runs it: a process, a settings file, signals, an exit code."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

T = TypeVar("T")


def toml(settings: Mapping[str, Mapping[str, Any]]) -> str:
    """Return settings as TOML; JSON's scalars and lists are TOML's."""
    lines: list[str] = []
    for section, values in settings.items():
        lines.append(f"[{section}]")
        lines += [f"{json.dumps(name)} = {json.dumps(value)}" for name, value in values.items()]
    return "\n".join(lines) + "\n"


class ConsumerProcess:
    """``scm-consumer`` with arguments, its output kept in files.

    Killed at the latest when the block ends.
    """

    def __init__(
        self,
        folder: Path,
        settings: Mapping[str, Mapping[str, Any]],
        *arguments: str,
        name: str = "consumer",
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._file = folder / f"{name}.toml"
        self._file.write_text(toml(settings), encoding="utf-8")
        self._out = folder / f"{name}.out"
        self._err = folder / f"{name}.err"
        self._arguments = arguments
        self._begins_at = 0
        self._module = "consumer.cli"
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self._begins_at = len(self.err) if self._err.exists() else 0
        with self._out.open("ab") as out, self._err.open("ab") as err:
            self.process = subprocess.Popen(
                [sys.executable, "-m", self._module, "-c", str(self._file), *self._arguments],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
            )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.running.poll() is None:
            self.running.kill()
            self.running.wait()

    @property
    def running(self) -> subprocess.Popen[bytes]:
        """Return the process."""
        assert self.process is not None
        return self.process

    @property
    def out(self) -> str:
        """Return what it wrote to stdout so far."""
        return self._out.read_text(encoding="utf-8")

    @property
    def err(self) -> str:
        """Return what it wrote to stderr so far."""
        return self._err.read_text(encoding="utf-8")

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        self.running.send_signal(number)

    def wait(self, seconds: float) -> int:
        """Return the exit code; fail with the log when the process has not ended by then."""
        try:
            return self.running.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(
                f"still running after {seconds:g} s\n{self.out}\n{self.err[-5000:]}"
            ) from None

    def wait_for_line(self, pattern: str, seconds: float) -> str:
        """Return the first line of stderr that matches; fail with the log when none comes."""
        return wait_until(
            lambda: self._line(pattern),
            seconds,
            lambda: f"no line {pattern!r} in\n{self.err[-5000:]}",
        )

    def ops(self, seconds: float = 30) -> str:
        """Return the URL of its ops address, as soon as it is told."""

        def told() -> str:
            # The log may begin with that of an earlier process of this name.
            found = re.search(r"ops: (http://[^\s\"]+)", self.err[self._begins_at :])
            if found is None and self.running.poll() is not None:
                raise AssertionError(f"ended with {self.running.returncode}\n{self.err[-5000:]}")
            return found[1] if found else ""

        return wait_until(told, seconds, lambda: f"no ops address in\n{self.err[-5000:]}")

    def _line(self, pattern: str) -> str:
        found = re.search(f"^.*{pattern}.*$", self.err, re.MULTILINE)
        if found is None and self.running.poll() is not None:
            raise AssertionError(
                f"ended with {self.running.returncode} before {pattern!r}\n{self.err[-5000:]}"
            )
        return found.group() if found else ""


def wait_until(
    condition: Callable[[], T],
    seconds: float,
    say: Callable[[], str] = lambda: "",
    every: float = 0.02,
) -> T:
    """Return what the condition gives as soon as it is true; fail when it is not by the
    deadline.
    """
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        if time.monotonic() >= deadline:
            raise AssertionError(f"not within {seconds:g} s: {say()}")
        time.sleep(every)  # the pause between two looks, not the wait itself
    return found
