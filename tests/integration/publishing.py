"""``scm-consumer publish`` as integration tests run it."""

from __future__ import annotations

import fcntl
import signal
import struct
import subprocess
import sys
import termios
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kafka.partitioner.default import murmur2

from consumer.core.model import Event
from consumer.formats import decoder
from tests.support.kafka_witness import Kafka, Witnessed
from tests.support.process import toml, wait_until

HEADER = "extended_id,step,case_code\n"
READ_EVENT: Callable[[bytes], Event] = decoder("auto")
#: The number of read(2) on x86-64 and on ARM64.
READ_CALLS = ("0", "63")


class Publish:
    """``scm-consumer publish`` with settings of its own, in a folder of its own."""

    def __init__(self, folder: Path, bootstrap: str, topic: str) -> None:
        self.folder = folder
        self.kafka: dict[str, Any] = {"bootstrap_servers": bootstrap, "topics": [topic]}
        self.client: dict[str, Any] = {"compression.type": "none"}  # the witness reads no lz4
        self.events: dict[str, Any] = {}
        #: How long a broker may be gone; None: as long as usual.
        self.patience_ms: int | None = None

    def file(self, name: str, content: str | bytes) -> Path:
        path = self.folder / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def command(self, *arguments: str) -> list[str]:
        settings = {"kafka": self.kafka, "kafka.client": self.client, "events": self.events}
        path = self.file("scm-consumer.toml", toml(settings))
        started = "from consumer.cli import main; main()"
        if self.patience_ms is not None:
            defaults = "from consumer.adapters.kafka.publisher import DEFAULTS"
            started = f"{defaults}; DEFAULTS['message.timeout.ms'] = {self.patience_ms}; {started}"
        return [sys.executable, "-c", started, "-c", str(path), "publish", *arguments]

    def __call__(self, *arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            self.command(*arguments),
            cwd=self.folder,
            input=stdin,
            capture_output=True,
            timeout=120,
            check=False,
        )
        out, err = done.stdout.decode(), done.stderr.decode()
        assert "Traceback" not in err, err
        return subprocess.CompletedProcess(done.args, done.returncode, out, err)

    @contextmanager
    def fed(self) -> Iterator[Fed]:
        """Yield the command while it reads a pipe that stays open."""
        out, err = self.folder / "fed.out", self.folder / "fed.err"
        with (
            out.open("wb") as to_out,
            err.open("wb") as to_err,
            subprocess.Popen(
                self.command("-"),
                cwd=self.folder,
                stdin=subprocess.PIPE,
                stdout=to_out,
                stderr=to_err,
                bufsize=0,
            ) as process,
        ):
            try:
                yield Fed(process, out, err)
            finally:
                process.kill()


class Fed:
    """A running ``publish -``."""

    def __init__(self, process: subprocess.Popen[bytes], out: Path, err: Path) -> None:
        self.process = process
        self._out, self._err = out, err
        assert process.stdin is not None
        self._pipe = process.stdin

    @property
    def out(self) -> str:
        return self._out.read_text()

    @property
    def err(self) -> str:
        return self._err.read_text()

    def feed(self, lines: list[str]) -> None:
        """Write lines, and wait until they were handed over.

        Nothing is left in the pipe, and more is waited for.
        """
        raw = "".join(lines).encode()
        while raw:
            raw = raw[self._pipe.write(raw) :]
        wait_until(
            lambda: self._waits() and self._unread() == 0 and self._waits(), 60, lambda: self.err
        )

    def _unread(self) -> int:
        (count,) = struct.unpack("i", fcntl.ioctl(self._pipe, termios.FIONREAD, b"\0" * 4))
        return int(count)

    def _waits(self) -> bool:
        """Return whether its main thread stands in a read of file descriptor 0."""
        assert self.process.poll() is None, self.err
        call = Path(f"/proc/{self.process.pid}/syscall").read_text().split()
        return call[0] in READ_CALLS and call[1] == "0x0"

    def end(self) -> None:
        self._pipe.close()

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def exit_code(self, seconds: float = 60) -> int:
        return self.process.wait(seconds)

    def wait_for_records(self, kafka: Kafka, topic: str, count: int) -> None:
        def arrived() -> bool:
            assert self.process.poll() is None, self.err
            return sum(kafka.end_offsets(topic).values()) >= count

        wait_until(arrived, 60, lambda: self.err)


def table(count: int) -> str:
    """Return a table of events of a hundred codes, each code's steps rising."""
    return HEADER + "".join(f"CODE{n % 100:03d},{n},C{n % 7}\n" for n in range(count))


def steps(records: list[Witnessed]) -> dict[str, list[int]]:
    """Return the steps of each code in the order of its partition."""
    found = defaultdict(list)
    for record in records:
        event = READ_EVENT(record.value or b"")
        found[event.key_value].append(int(event.fields["step"]))
    return found


def in_java_s_partitions(records: list[Witnessed], partitions: int) -> bool:
    return all(r.key and r.partition == (murmur2(r.key) & 0x7FFFFFFF) % partitions for r in records)
