"""A real Apache Kafka broker from Maven Central's jars: one KRaft node in a JVM of its own.

It can be stopped, killed, paused, and restarted on its port and data; it dies with the process that
started it, however that one ends.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from tests.support.kafka_jars import BrokerUnavailable, broker_jars

START_SECONDS = 60.0
STOP_SECONDS = 30.0
JVM_OPTIONS = ("-XX:+UseSerialGC", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn")
FIRST_COMPILER_ONLY = "-XX:TieredStopAtLevel=1"

#: What every broker of the tests is, whatever starts it: one node, waiting for no other; no topic
#: by itself.
BROKER_PROPERTIES = {
    "node.id": "1",
    "process.roles": "broker,controller",
    "controller.listener.names": "CONTROLLER",
    "auto.create.topics.enable": "false",
    "group.initial.rebalance.delay.ms": "0",
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "4",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "transaction.state.log.num.partitions": "2",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "share.coordinator.state.topic.num.partitions": "1",
    # A start waits for two heartbeats, and after a kill for the end of the session of the one
    # before.
    "broker.heartbeat.interval.ms": "200",
    "broker.session.timeout.ms": "3000",
}


class JvmBroker:
    """One Kafka node, broker and controller, on ports and a log folder of its own.

    ``properties`` are added to the node's configuration and win over it. The port stays the same
    over restarts. ``optimised`` compiles hot code fully: faster under load, slower to start.
    ``format_arguments`` are given to the tool that formats its folder, such as the first users.
    ``cluster``: its id, for a node of a cluster of several.
    """

    def __init__(
        self,
        properties: Mapping[str, str] | None = None,
        *,
        optimised: bool = False,
        format_arguments: Sequence[str] = (),
        cluster: str = "",
    ) -> None:
        self._cluster = cluster or str(uuid.uuid4())
        self._format_arguments = list(format_arguments)
        self.port = free_port()
        self.folder = Path(tempfile.mkdtemp(prefix="kafka-broker-"))
        self._java = [
            "java",
            "-Xmx512m",
            *JVM_OPTIONS,
            *([] if optimised else [FIRST_COMPILER_ONLY]),
        ]
        self._process: subprocess.Popen[bytes] | None = None
        self._watcher: subprocess.Popen[bytes] | None = None
        self._configuration = self.folder / "server.properties"
        self._log = self.folder / "broker.log"
        controller = free_port()
        lines = BROKER_PROPERTIES | {
            "listeners": f"PLAINTEXT://127.0.0.1:{self.port},CONTROLLER://127.0.0.1:{controller}",
            "controller.quorum.voters": f"1@127.0.0.1:{controller}",
            "log.dirs": str(self.folder / "data"),
        }
        lines |= dict(properties or {})
        self._configuration.write_text("".join(f"{key}={value}\n" for key, value in lines.items()))

    @property
    def bootstrap(self) -> str:
        """Return the address for clients, host:port."""
        return f"127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """Return the process id of the running broker."""
        return self._running().pid

    @property
    def runs(self) -> bool:
        """Return whether it was started and not ended since."""
        return self._process is not None

    def start(self) -> JvmBroker:
        """Start the node and wait until it answers a metadata request.

        Its folder is formatted the first time. Raises BrokerUnavailable with the end of its log
        when it ends early or is not ready within a minute.
        """
        if self._process is not None:
            raise RuntimeError("the broker runs already")
        classpath = f"{broker_jars()}/*"
        if not (self.folder / "data").exists():
            self._format(classpath)
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [*self._java, "-cp", classpath, "kafka.Kafka", str(self._configuration)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # a Ctrl-C at the tests is not the broker's to answer
            )
        self._watcher = _watch(self._process.pid, self.folder)
        try:
            wait_until_ready(self.bootstrap, START_SECONDS, self._check_alive)
        except BaseException:
            self.kill()
            raise
        return self

    def stop(self) -> None:
        """Stop in order (SIGTERM), data flushed; killed when that takes half a minute."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Kill at once (SIGKILL), as a crash would."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Start again on the same port and data, stopping in order first if it still runs."""
        if self._process is not None:
            self.stop()
        self.start()

    def pause(self) -> None:
        """Freeze the broker (SIGSTOP): connections stay open, nothing is answered."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let a frozen broker go on (SIGCONT)."""
        os.kill(self.pid, signal.SIGCONT)

    def close(self) -> None:
        """Kill the broker if it runs and remove its folder."""
        if self._process is not None:
            self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def log(self) -> str:
        """Return what the broker logged so far."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def _format(self, classpath: str) -> None:
        tool = [
            "java",
            *JVM_OPTIONS,
            FIRST_COMPILER_ONLY,
            "-cp",
            classpath,
            "kafka.tools.StorageTool",
        ]
        command = [
            *tool,
            "format",
            "-t",
            self._cluster,
            "-c",
            str(self._configuration),
            *self._format_arguments,
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise BrokerUnavailable(
                f"Kafka's log folder could not be formatted:\n{done.stdout}{done.stderr}"
            )

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise RuntimeError("the broker does not run")
        return self._process

    def _check_alive(self) -> None:
        code = self._running().poll()
        if code is not None:
            raise BrokerUnavailable(
                f"Kafka ended with {code} while starting:\n{self.log()[-3000:]}"
            )

    def _end(self, how: signal.Signals) -> None:
        process = self._running()
        process.send_signal(how)
        process.send_signal(signal.SIGCONT)  # a frozen process handles SIGTERM only when it goes on
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        self._process = None
        if self._watcher is not None:
            self._watcher.kill()
            self._watcher.communicate()  # reaps it and closes its pipe
            self._watcher = None


def wait_until_ready(
    bootstrap: str, seconds: float, check: Callable[[], None] = lambda: None
) -> None:
    """Wait until a broker at ``bootstrap`` answers a metadata request that names a broker.

    ``check`` is called while waiting and may raise. Raises BrokerUnavailable after ``seconds``.
    """
    deadline = time.monotonic() + seconds
    host, _, port = bootstrap.split(",")[0].rpartition(":")
    # librdkafka's own back-off after a refused connection is much longer
    while not _accepts(host, int(port)):
        check()
        if time.monotonic() > deadline:
            raise BrokerUnavailable(
                f"no Kafka broker accepts connections at {bootstrap} within {seconds:.0f} s"
            )
        time.sleep(0.02)
    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
    while True:
        check()
        try:
            if admin.list_topics(timeout=1).brokers:
                return
        except KafkaException:
            pass  # not ready yet: its next answer, or the deadline, decides
        if time.monotonic() > deadline:
            raise BrokerUnavailable(
                f"no Kafka broker answers at {bootstrap} within {seconds:.0f} s"
            )


def _accepts(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=1).close()
    except OSError:
        return False
    return True


def free_port() -> int:
    """Return a free port below the range of outgoing connections, so still free at a restart."""
    while True:
        port = random.randrange(15_000, 32_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def _watch(pid: int, folder: Path) -> subprocess.Popen[bytes]:
    """Start a process that kills ``pid`` and removes ``folder`` once this process is gone.

    It notices by the end of its standard input, however this one went. The kernel's parent-death
    signal would follow the starting thread instead, and exists on Linux only.
    """
    return subprocess.Popen(
        ["/bin/sh", "-c", 'read _; kill -KILL "$1"; rm -rf "$2"', "sh", str(pid), str(folder)],
        stdin=subprocess.PIPE,
        start_new_session=True,
    )
