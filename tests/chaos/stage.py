"""The parts of a run: a real broker, toxiproxy, the sandbox, and consumer processes.

Each can be broken by itself. Each member reaches Kafka through a listener that advertises a proxy
of its slot's own, and the API through a proxy and a server of its own (all servers stand on one
sandbox). So each can be cut off alone, and the journal tells who sent what.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from consumer.sandbox import Sandbox
from consumer.sandbox.answers import SandboxResponse
from consumer.sandbox.api import SandboxApi, SandboxCall
from consumer.sandbox.server import Server
from tests.chaos.epochs import SESSION_SECONDS
from tests.chaos.evidence import Life
from tests.chaos.load import EPCIS, PARTITIONS, UNIT
from tests.chaos.toxiproxy import Proxy, Toxiproxy
from tests.support.kafka_broker import JvmBroker, free_port
from tests.support.kafka_witness import Kafka
from tests.support.process import ConsumerProcess

SLOTS = 3
TOPIC = "chaos.events"
LETTERS = "chaos.letters"
GROUP = "chaos"
TOKEN = "chaos-token"
COMMIT_INTERVAL = 0.5
REQUEST_TIMEOUT = 3.0
MAX_PROCESSING = 9.0
TASK_DEADLINE = 8.0  #: of the client's; no task of the sandbox takes so long, but some are lost
MAX_UNSETTLED_ROWS = 3000


@dataclass
class Seen:
    """The times of one call, and whose it was."""

    life: str
    received: float
    answered: float = 0.0


class _NotingApi(SandboxApi):
    """The sandbox's API for one life: notes whose each call is, and when its answer was decided."""

    life: str
    seen: dict[int, Seen]

    def unread(self, call: SandboxCall) -> SandboxResponse | None:
        self.seen[call.number] = Seen(self.life, call.at)
        return self._noting(call, super().unread(call))

    def answer(self, call: SandboxCall, body: bytes) -> SandboxResponse:
        response = super().answer(call, body)
        self._noting(call, response)
        return response

    def _noting(
        self, call: SandboxCall, response: SandboxResponse | None
    ) -> SandboxResponse | None:
        self.seen[call.number].answered = time.time()
        return response


@dataclass
class Member:
    """A consumer process, with its ways to Kafka and to the API."""

    life: Life
    process: ConsumerProcess
    server: Server
    to_api: Proxy
    to_kafka: Proxy
    ops: str  #: host:port of its page
    suspended: bool = False
    ending: float | None = None  #: since when it was asked to stop
    stays_away: bool = False  #: once stopped, nobody takes its place
    #: How often it was suspended or ended: what was asked of it meanwhile counts for nothing.
    disturbed: int = 0

    @property
    def name(self) -> str:
        return self.life.name

    @property
    def alive(self) -> bool:
        """Return whether the process has not ended."""
        return self.process.running.poll() is None


class Stage:
    """Everything that runs; see ``set_up``."""

    def __init__(
        self,
        broker: JvmBroker,
        toxiproxy: Toxiproxy,
        sandbox: Sandbox,
        to_kafka: list[Proxy],
        folder: Path,
    ) -> None:
        self.broker = broker
        self.toxiproxy = toxiproxy
        self.sandbox = sandbox
        self.to_kafka = to_kafka
        self.folder = folder
        self.protocol = "classic"  #: of the members that are started from now on
        self.static: frozenset[int] = frozenset()  #: the slots whose members are static
        self.kafka = Kafka(broker.bootstrap, "chaos")
        self.seen: dict[int, Seen] = {}
        self.lives: list[Life] = []
        self._servers: list[Server] = []

    @property
    def session(self) -> float:
        """Return how long the group waits for a member, in seconds."""
        return SESSION_SECONDS[self.protocol]

    def start_member(self, slot: int) -> Member:
        """Start a new life in this slot."""
        name = f"m{slot}.{sum(life.slot == slot for life in self.lives) + 1}"
        server = self._serve(name)
        to_api = self.toxiproxy.proxy(f"api-{name}", f"127.0.0.1:{server.server_port}")
        to_kafka = self.to_kafka[slot]
        ops = f"127.0.0.1:{free_port()}"
        process = ConsumerProcess(
            self.folder,
            self._settings(name, slot, to_kafka.listen, to_api.listen, ops),
            "run",
            name=name,
        )
        life = Life(name, slot, time.time(), protocol=self.protocol, static=slot in self.static)
        self.lives.append(life)
        process.__enter__()
        return Member(life, process, server, to_api, to_kafka, ops)

    def close(self) -> None:
        """Stop the sandbox's servers."""
        for server in self._servers:
            server.stopping.set()
        for server in self._servers:
            server.stop()

    def _serve(self, name: str) -> Server:
        server = Server("127.0.0.1", 0, self.sandbox)
        sandbox = self.sandbox
        api = _NotingApi(
            sandbox.store,
            sandbox.faults,
            lambda: sandbox.token,
            lambda: sandbox.permissions,
            server.pause,
            lambda: sandbox.pace,
        )
        api.life, api.seen = name, self.seen
        server.api = api
        thread = threading.Thread(
            target=server.serve_forever,
            kwargs={"poll_interval": 0.5},
            name=f"sandbox-{name}",
            daemon=True,
        )
        thread.start()
        self._servers.append(server)
        return server

    def _settings(
        self, name: str, slot: int, kafka: str, api: str, ops: str
    ) -> dict[str, dict[str, Any]]:
        client: dict[str, Any] = {"client.id": name}
        if self.protocol == "classic":  # the other protocol's session is the broker's
            client["session.timeout.ms"] = int(self.session * 1000)
        return {
            "kafka": {
                "bootstrap_servers": kafka,
                "group_id": GROUP,
                "topics": [TOPIC],
                "commit_interval_seconds": COMMIT_INTERVAL,
                "group_protocol": self.protocol,
                "instance_id": f"slot-{slot}" if slot in self.static else "",
            },
            "kafka.client": client,
            "events": {"logistic_units": [UNIT]},
            "epcis": EPCIS,
            "windows": {"linger_seconds": 0.2},
            "api": {
                "base_url": f"http://{api}",
                "token": TOKEN,
                "mode": "auto",
                "task_deadline_seconds": TASK_DEADLINE,
                "requests_per_second": 40,
                "concurrency": 4,
                "connect_timeout_seconds": 2,
                "timeout_seconds": REQUEST_TIMEOUT,
                "max_processing_seconds": MAX_PROCESSING,
            },
            "retry": {"base_seconds": 0.2, "cap_seconds": 3},
            "dead_letter": {"topic": LETTERS},
            "limits": {"max_unsettled_rows": MAX_UNSETTLED_ROWS, "stop_seconds": 20},
            "ops": {"listen": ops},
        }


@contextmanager
def set_up(folder: Path) -> Iterator[Stage]:
    """Start Kafka, toxiproxy and the sandbox; all of it, and every member, is gone at the end."""
    with ExitStack() as stack:
        toxiproxy = stack.enter_context(closing(Toxiproxy()))
        listeners = [free_port() for _ in range(SLOTS)]
        to_kafka = [
            toxiproxy.proxy(f"kafka-{slot}", f"127.0.0.1:{port}")
            for slot, port in enumerate(listeners)
        ]
        broker = stack.enter_context(closing(_broker(listeners, to_kafka)))
        broker.start()
        running = Stage(broker, toxiproxy, Sandbox(token=TOKEN), to_kafka, folder)
        stack.callback(running.close)
        running.kafka.create_topic(TOPIC, PARTITIONS)
        running.kafka.create_topic(LETTERS, 4)
        yield running


def _broker(listeners: list[int], proxies: list[Proxy]) -> JvmBroker:
    """Return a broker with a plain listener, and one for each slot, at the slot's proxy."""
    plain, controller = free_port(), free_port()
    own = {f"SLOT{slot}": f"127.0.0.1:{port}" for slot, port in enumerate(listeners)}
    advertised = {f"SLOT{slot}": proxy.listen for slot, proxy in enumerate(proxies)}
    named = {"PLAINTEXT": f"127.0.0.1:{plain}"}

    def listed(addresses: dict[str, str]) -> str:
        return ",".join(f"{name}://{address}" for name, address in addresses.items())

    broker = JvmBroker(
        {
            "listeners": listed({**named, **own, "CONTROLLER": f"127.0.0.1:{controller}"}),
            "advertised.listeners": listed({**named, **advertised}),
            "listener.security.protocol.map": ",".join(
                f"{name}:PLAINTEXT" for name in [*named, *own, "CONTROLLER"]
            ),
            "inter.broker.listener.name": "PLAINTEXT",
            "controller.quorum.voters": f"1@127.0.0.1:{controller}",
        }
    )
    broker.port = plain
    return broker


def send(member: Member, number: signal.Signals) -> None:
    """Send the process a signal."""
    member.process.signal(number)
