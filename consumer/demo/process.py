"""The real consumer, as a process of its own that is started as a user starts it."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from consumer.errors import UserError

STOP_SECONDS = 10.0
#: How long the ops address may take to answer, and to answer at all.
CALL_SECONDS = 2.0
LEDGER_SECONDS = 5.0
LOOK_EVERY_SECONDS = 0.1
#: Lines of its log that are shown when it fails.
TAIL = 15


def free_address() -> str:
    """Return a free address of this machine, host:port."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{taken.getsockname()[1]}"


class ConsumerProcess:
    """``scm-consumer run`` with this configuration, which names this ops address.

    Runs while the context is open.
    """

    def __init__(self, configuration: Path, ops: str) -> None:
        self.log = configuration.with_suffix(".log")
        self._out = configuration.with_suffix(".out")
        self._ops = ops
        self._command = [sys.executable, "-m", "consumer.cli", "-c", str(configuration), "run"]
        self._process: subprocess.Popen[bytes] | None = None
        self._watcher: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        # Nothing of a real consumer's environment may reach this one: least of all its address and
        # token.
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith("SCM_")
        }
        with self.log.open("wb") as log, self._out.open("wb") as out:
            self._process = subprocess.Popen(  # noqa: S603 - our own command
                self._command, stdin=subprocess.DEVNULL, stdout=out, stderr=log, env=environment
            )
        self._watcher = self._watch(self._process.pid)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end()

    @property
    def ended(self) -> int | None:
        """Return its exit code if it has ended: 128 + the number of a signal that killed it."""
        assert self._process is not None
        code = self._process.poll()
        return 128 - code if code is not None and code < 0 else code

    def check(self) -> None:
        """Raise UserError, with the process's own words, when it has ended."""
        if self.ended is not None:
            raise UserError(self.failure(f"the consumer ended with exit code {self.ended}"))

    def stop(self) -> None:
        """Stop it as a user does; raise UserError when it fails in that."""
        self.check()
        self._end()
        if self.ended:
            self.check()

    def failure(self, text: str) -> str:
        """Return that text, with the end of its log."""
        tail = self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-TAIL:]
        return "\n".join([f"{text}; the end of its log:", *tail])

    def status(self) -> dict[str, Any] | None:
        """Return what it tells at its ops address; None: it does not, or not yet."""
        connection = http.client.HTTPConnection(self._ops, timeout=CALL_SECONDS)
        try:
            connection.request("GET", "/status")
            answer = connection.getresponse()
            document = json.loads(answer.read()) if answer.status == http.client.OK else None
        except (OSError, http.client.HTTPException, ValueError):
            return None
        finally:
            connection.close()
        return document if isinstance(document, dict) else None

    def ledger(self) -> dict[str, int]:
        """Return its counts of records; raise UserError when it does not tell them."""
        deadline = time.monotonic() + LEDGER_SECONDS
        while True:
            status = self.status()
            if status is not None:
                return dict(status["ledger"])
            self.check()
            if time.monotonic() > deadline:
                raise UserError(
                    self.failure(f"the consumer does not answer at http://{self._ops}/status")
                )
            time.sleep(LOOK_EVERY_SECONDS)

    def _end(self) -> None:
        process = self._process
        assert process is not None
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
        process.wait()
        if self._watcher is not None:
            self._watcher.kill()
            self._watcher.communicate()  # reaps it and closes its pipe
            self._watcher = None

    def _watch(self, pid: int) -> subprocess.Popen[bytes]:
        """Start a shell that removes consumer and files once this process is gone, even by SIGKILL.

        It notices by the end of its standard input.
        """
        files = [str(self.log.with_suffix(".toml")), str(self.log), str(self._out)]
        script = 'read _; kill -KILL "$1"; rm -f "$2" "$3" "$4"; rmdir "$5"'
        return subprocess.Popen(  # noqa: S603 - our own command
            ["/bin/sh", "-c", script, "sh", str(pid), *files, str(self.log.parent)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # a Ctrl-C is this process's to answer
        )
