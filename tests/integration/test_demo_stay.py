"""``scm-consumer demo --stay``: after the report everything goes on, until a signal ends it."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from consumer.demo import stage
from consumer.demo.topics import TopicReader
from tests.integration.test_demo import environment, left_over
from tests.support.process import wait_until

#: The command as it is, but with a small shift, and an API with these faults and no others.
SMALL = """
import functools, sys
from consumer.cli import main
from consumer.demo import shift, stage
stage.FAULTS = {faults!r}
shift.Size = functools.partial(shift.Size, cases=20, per_case=10, loose=100, seed=3)
sys.argv = ["scm-consumer", "demo", "--stay"]
main()
"""
ENDS_BY = "Ctrl-C or SIGTERM stops and removes all of it."


@dataclass
class Staying:
    """A demo that stays, and what it has told so far."""

    process: subprocess.Popen[str]
    out: Path

    @property
    def told(self) -> str:
        """Return its stdout."""
        return self.out.read_text(encoding="utf-8")

    def address(self, name: str) -> str:
        """Return what it told under this name."""
        found = re.search(rf"^  {name} +(\S+)", self.told, re.MULTILINE)
        assert found, self.told
        return found.group(1)

    def end(self, number: signal.Signals) -> int:
        """Send the signal; return its exit code."""
        self.process.send_signal(number)
        return self.process.wait(20)


@contextmanager
def staying(folder: Path, *faults: dict[str, object]) -> Iterator[Staying]:
    """Yield a small demo that has come to its report; ended at the latest when the block ends."""
    temporary = folder / "tmp"
    temporary.mkdir()
    out = folder / "out"
    with out.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, "-c", SMALL.format(faults=faults)],
            stdout=file,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(temporary),
        )
    with process:
        demo = Staying(process, out)
        try:
            wait_until(
                lambda: ENDS_BY in demo.told or process.poll() is not None, 60.0, lambda: demo.told
            )
            assert process.poll() is None, demo.told
            yield demo
        finally:
            if process.poll() is None:
                demo.end(signal.SIGTERM)  # killed, it could not stop what it started


def get(url: str) -> tuple[int, bytes]:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return answer.status, answer.read()


def test_everything_answers_and_goes_on_until_a_signal_removes_it(tmp_path: Path) -> None:
    with staying(tmp_path, {"kind": "status", "code": 503, "every": 5}) as demo:
        assert "EQUAL: nothing lost, altered, reordered or doubled." in demo.told
        page, api = demo.address("page"), demo.address("API")
        for url in (page, f"{page}status", f"{page}metrics", f"{page}readyz", api):
            status, body = get(url)
            assert (status, bool(body)) == (200, True), url
        with TopicReader(demo.address("Kafka"), stage.GROUP) as topics:

            def committed() -> int:
                return sum(topics.committed(stage.TOPIC, range(4)).values())

            before = committed()
            wait_until(lambda: committed() > before, 20.0)
        assert left_over(tmp_path / "tmp")
        assert demo.end(signal.SIGTERM) == 0
        assert demo.process.stderr is not None
        err = demo.process.stderr.read()
        assert "Traceback" not in err
        assert err.splitlines().count("stopped; nothing is left behind") == 1
        assert left_over(tmp_path / "tmp") == []


def test_the_commands_to_try_work_as_they_are_told(tmp_path: Path) -> None:
    """Each runs in a shell, in the order in which they are told; an outage comes and passes."""
    with staying(tmp_path) as demo:
        commands = demo.told.partition("To try in another terminal:")[2].partition(ENDS_BY)[0]
        assert commands.count("curl") == 4
        assert commands.count(" -c $settings ") == 2
        done = subprocess.run(
            ["bash", "-e", "-o", "pipefail", "-c", commands],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        for word in (
            '"ledger"',
            "scm_consumer_rows_accepted_total",
            '"rows_applied"',
            stage.GROUP,
            "published 1 of 1 lines",
        ):
            assert word in done.stdout + done.stderr
        code = re.search(r'"extended_id": "(\w+)"', commands)
        assert code
        expected = f'"{code.group(1)}":{{'

        def market() -> bool:
            about = get(demo.address("API"))[1].decode().partition(expected)[2].partition("}")[0]
            return '"intended_market":"de"' in about.replace(" ", "")

        wait_until(market, 30.0)
        assert demo.end(signal.SIGINT) == 0


def test_a_difference_is_still_exit_code_1_after_staying(tmp_path: Path) -> None:
    with staying(tmp_path, {"kind": "omit_rows", "every": 1, "min_rows": 2}) as demo:
        assert "DIFFERENT: " in demo.told
        assert get(f"{demo.address('page')}status")[0] == 200
        assert demo.end(signal.SIGTERM) == 1
        assert left_over(tmp_path / "tmp") == []
