"""``scm-consumer status`` against a real ops server: plain, as JSON, live, and nobody there."""

from __future__ import annotations

import json
import os
import pty
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from consumer.ops.server import OpsResponse, OpsServer, line
from tests.support import status_samples
from tests.support.kafka_broker import free_port
from tests.support.process import wait_until
from tests.support.status_samples import Document

SECONDS = 20.0
PROGRAM = (sys.executable, "-m", "consumer.cli", "status")


class Served:
    """An ops address whose ``/status`` is what the test says."""

    def __init__(self) -> None:
        self.document: Document = status_samples.healthy()
        self.respond: Callable[[], OpsResponse] = self._json
        self._server = OpsServer(("127.0.0.1", 0), {"/status": lambda _: self.respond()})
        self._server.start()
        wait_until(lambda: self._server.url, SECONDS)
        self.url = self._server.url

    def _json(self) -> OpsResponse:
        return OpsResponse(json.dumps(self.document).encode(), "application/json")

    def close(self) -> None:
        self._server.close()


@pytest.fixture
def served() -> Iterator[Served]:
    found = Served()
    yield found
    found.close()


def run(
    *arguments: str, folder: Path | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*PROGRAM, *arguments],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
        cwd=folder,
        env={**os.environ, **environment},
    )


def test_where_there_is_no_terminal_it_is_told_once_in_plain_text(served: Served) -> None:
    served.document = status_samples.api_unauthorized()
    done = run("--url", served.url)
    assert (done.returncode, done.stderr) == (0, "")
    assert "\x1b" not in done.stdout
    assert "STUCK  The API refuses the token" in done.stdout
    assert "Gone in         growing" in done.stdout
    assert all(row == row.rstrip() for row in done.stdout.splitlines())


def test_json_is_the_document_as_it_is(served: Served) -> None:
    served.document = status_samples.hostile() | {"of another version": [1]}
    served.document["partitions"] = []  # a lone surrogate is no JSON that everybody reads
    done = run("--json", "--url", f"{served.url}/")
    assert done.returncode == 0
    assert json.loads(done.stdout) == served.document


def test_the_address_comes_from_the_settings(served: Served, tmp_path: Path) -> None:
    address = served.url.removeprefix("http://")
    done = run(folder=tmp_path, SCM_OPS__LISTEN=address.replace("127.0.0.1", "0.0.0.0"))
    assert (done.returncode, done.stderr) == (0, "")
    assert f"at {served.url}" in done.stdout


@pytest.mark.parametrize(
    ("listen", "told"),
    [("", "ops.listen is empty"), ("127.0.0.1:0", "takes any free port; its log says which")],
)
def test_settings_that_lead_nowhere_say_what_to_do(tmp_path: Path, listen: str, told: str) -> None:
    done = run(folder=tmp_path, SCM_OPS__LISTEN=listen)
    assert done.returncode == 1
    assert told in done.stderr
    assert "--url" in done.stderr


def test_nobody_there_is_a_line_with_what_to_do() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    done = run("--url", url)
    assert (done.returncode, done.stdout) == (1, "")
    (told,) = done.stderr.splitlines()
    assert told.startswith(f"error: nobody answers at {url}: does `scm-consumer run` run there?")


def test_no_proxy_of_the_environment_is_asked(served: Served) -> None:
    proxy = f"http://127.0.0.1:{free_port()}"
    assert run("--url", served.url, http_proxy=proxy, HTTP_PROXY=proxy).returncode == 0


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (OpsResponse(b"<html>", "text/html"), "is no consumer's ops address (HTTP 200)"),
        (OpsResponse(b"[1]", "application/json"), "is no consumer's ops address (HTTP 200)"),
        (line("not found", 404), "is no consumer's ops address (HTTP 404)"),
        (line("busy", 503), "is there, and gives no status now"),
    ],
)
def test_what_is_no_status_is_told_as_what_it_is(
    served: Served, answer: OpsResponse, told: str
) -> None:
    served.respond = lambda: answer
    done = run("--url", served.url)
    assert done.returncode == 1
    assert told in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_document_of_another_kind_is_told_and_json_still_gives_it(served: Served) -> None:
    served.document["partitions"] = "none"
    done = run("--url", served.url)
    assert done.returncode == 1
    assert "is of another version" in done.stderr
    assert run("--json", "--url", served.url).returncode == 0


def test_a_password_in_the_address_is_used_and_shown_nowhere(served: Served) -> None:
    there = served.url.replace("http://", "http://me:s3cret@")
    nowhere = f"http://me:s3cret@127.0.0.1:{free_port()}"
    for url in (there, nowhere):
        done = run("--url", url)
        assert "s3cret" not in done.stdout + done.stderr
        assert "(hidden)@127.0.0.1" in done.stdout + done.stderr


@pytest.mark.parametrize("url", ["here", "ftp://127.0.0.1", "http://", "http://[::1"])
def test_an_address_that_is_none_is_told(url: str) -> None:
    done = run("--url", url)
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: --url {url}")


def test_a_server_that_says_nothing_is_waited_for_within_bounds() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        began = time.monotonic()
        done = run("--url", f"http://127.0.0.1:{silent.getsockname()[1]}")
    assert time.monotonic() - began < SECONDS / 2
    assert done.returncode == 1
    assert "did not answer within 5 s" in done.stderr


class Terminal:
    """The command in a terminal of 100 columns and 40 rows."""

    def __init__(self, *arguments: str) -> None:
        self._own, theirs = pty.openpty()
        self._process = subprocess.Popen(
            [*PROGRAM, *arguments],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env={**os.environ, "TERM": "xterm-256color", "COLUMNS": "100", "LINES": "40"},
        )
        os.close(theirs)
        os.set_blocking(self._own, False)
        self.seen = ""

    def shows(self, text: str) -> None:
        """Wait until a text was written."""
        wait_until(lambda: text in self._read(), SECONDS, lambda: self.seen)

    def forget(self) -> None:
        self._read()
        self.seen = ""

    def _read(self) -> str:
        with suppress(OSError):  # nothing now, or nothing any more
            self.seen += os.read(self._own, 1_000_000).decode(errors="replace")
        return self.seen

    def end(self, number: int) -> int:
        self._process.send_signal(number)
        found: list[int] = []

        def ended() -> bool:
            self._read()
            code = self._process.poll()
            if code is not None:
                found.append(code)
            return code is not None

        wait_until(ended, SECONDS, lambda: self.seen)
        self._read()
        os.close(self._own)
        return found[0]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_in_a_terminal_it_is_kept_up_to_date_until_it_is_left(served: Served, number: int) -> None:
    terminal = Terminal("--url", served.url)
    terminal.shows("All is well")
    served.document = status_samples.api_unauthorized()
    terminal.shows("The API refuses the token")
    served.respond = lambda: line("busy", 503)
    terminal.shows("No answer since")
    served.respond = served._json
    terminal.forget()
    terminal.shows("The API refuses the token")
    assert "No answer since" not in terminal.seen
    assert terminal.end(number) == 0
    assert "\x1b[?1049l" in terminal.seen, "the screen is given back"
    assert "Traceback" not in terminal.seen


def test_once_in_a_terminal_ends_by_itself(served: Served) -> None:
    terminal = Terminal("--once", "--url", served.url)
    terminal.shows("unsettled")
    assert terminal._process.wait(SECONDS) == 0
    assert "\x1b[?1049h" not in terminal.seen
    os.close(terminal._own)
