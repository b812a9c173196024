"""The README and docs/getting-started.md, each as one session in an empty folder, as typed."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.docs.blocks import Block, blocks
from tests.support.kafka_broker import free_port
from tests.support.kafka_witness import Kafka, unique
from tests.support.process import wait_until


def test_the_readme_runs_from_nothing_to_own_events(kafka: Kafka, tmp_path: Path) -> None:
    session = _Session(kafka, tmp_path)
    outputs = _typed(session, "README.md")
    told = "\n".join(outputs)
    assert "EQUAL" in told  # the demo's judge
    assert "HGDTQD54D5SD86EEDFS" in outputs[-1]  # what the API holds in the end
    assert "sandbox-token" not in told
    assert kafka.committed(session.group, session.topic)


def test_getting_started_runs_from_a_settings_file_to_a_consumer_in_service(
    kafka: Kafka, tmp_path: Path
) -> None:
    session = _Session(kafka, tmp_path)
    outputs = _typed(session, "docs/getting-started.md")
    told = "\n".join(outputs)
    good, bad = outputs[-1].split("UNKNOWN-0000000001", 1)
    assert "accepted" in good
    assert "unknown_key" in bad
    assert "HGDTQD54D5SD86EEDFS" in told
    assert "scm.reason=unknown_key" in told
    assert "sandbox-token" not in told
    assert "scm_consumer_records_consumed_total" in told
    assert '"ledger"' in told
    assert kafka.committed(session.group, session.topic)


def _typed(session: _Session, page: str) -> list[str]:
    """Return what each block of a page prints, typed one after the other."""
    outputs: list[str] = []
    with ExitStack() as terminals:
        for block in blocks(page):
            if block.tag == "tutorial":
                outputs.append(session.type(block.text))
            elif block.tag in ("second-terminal", "third-terminal"):
                terminals.enter_context(session.terminal(block))
    return outputs


class _Session:
    """A newcomer's shell: an empty folder, the program on the path, ports and topics of its own."""

    def __init__(self, kafka: Kafka, folder: Path) -> None:
        self._folder = folder
        self._bootstrap = kafka.bootstrap
        self.topic, self.group = unique("events"), unique("group")
        self._ports = {"8080": str(free_port()), "9464": str(free_port())}
        self._environment = {
            name: value for name, value in os.environ.items() if not name.startswith("SCM_")
        } | {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            # What differs from a newcomer's machine: other tests use its Kafka, too.
            "SCM_KAFKA__BOOTSTRAP_SERVERS": kafka.bootstrap,
            "SCM_KAFKA__TOPICS": f'["{self.topic}"]',
            "SCM_KAFKA__GROUP_ID": self.group,
            "SCM_DEAD_LETTER__TOPIC": f"{self.topic}.dlq",
            "SCM_OPS__LISTEN": f"127.0.0.1:{self._ports['9464']}",
        }
        self._typed = ""

    def type(self, text: str) -> str:
        """Run commands in the session; return what they print to stdout."""
        # Variables set by earlier blocks stay set, as in one shell.
        exports = "\n".join(re.findall(r"^export .*$", self._typed, re.MULTILINE))
        self._typed += text
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", self._mine(f"{exports}\n{text}")],
            cwd=self._folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr
        return done.stdout

    @contextmanager
    def terminal(self, block: Block) -> Iterator[None]:
        """Run a command beside the session, until the session's end."""
        told = self._folder / f"{block.tag}.log"
        exports = "\n".join(re.findall(r"^export .*$", self._typed, re.MULTILINE))
        with told.open("wb") as log:
            process = subprocess.Popen(
                ["bash", "-euc", self._mine(f"{exports}\nexec {block.text.strip()}")],
                cwd=self._folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        try:
            ready = r"Sandbox on" if "sandbox" in block.text else r"assigned"
            wait_until(
                lambda: re.search(ready, told.read_text(encoding="utf-8")),
                30,
                lambda: told.read_text(encoding="utf-8"),
            )
            yield
            process.send_signal(signal.SIGINT)
            assert process.wait(30) == 0, told.read_text(encoding="utf-8")
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()

    def _mine(self, text: str) -> str:
        for port, own in self._ports.items():
            text = text.replace(f"127.0.0.1:{port}", f"127.0.0.1:{own}")
        text = text.replace("scm.receipts", f"{self.topic}.receipts")
        return text.replace("localhost:9092", self._bootstrap).replace(
            "scm.events.dlq", f"{self.topic}.dlq"
        )
