"""docker-compose.yml as the tests read it, also with this machine's addresses in place of
containers'.
"""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from tests.support.kafka_broker import free_port

ROOT = Path(__file__).parents[2]
FILE = ROOT / "docker-compose.yml"
#: The API's stand-in, or an account of one's own.
PROFILES = ("sandbox", "account")

Service = dict[str, Any]


def services() -> dict[str, Service]:
    """Return the services, merge keys resolved and ``$$`` read as ``$``, as Compose does it."""
    document = YAML(typ="safe").load(FILE.read_text(encoding="utf-8"))
    found: dict[str, Service] = _unescaped(document["services"])
    return found


def environment(name: str) -> dict[str, str]:
    """Return the variables that a service's process gets."""
    return {key: str(value) for key, value in services()[name]["environment"].items()}


def published(name: str) -> dict[int, tuple[str, int]]:
    """Return container port to (address, port) of the machine."""
    mappings = (str(mapping).rsplit(":", 2) for mapping in services()[name]["ports"])
    return {int(container): (address, int(host)) for address, host, container in mappings}


def seconds(duration: str) -> int:
    """Return a duration of whole seconds, such as 90s."""
    return int(duration.removesuffix("s"))


def _unescaped(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _unescaped(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_unescaped(item) for item in value]
    if isinstance(value, str):
        assert re.fullmatch(r"([^$]|\$\$)*", value), f"interpolates a variable: {value}"
        return value.replace("$$", "$")
    return value


class Addresses:
    """Give every (service, container port) a free port of this machine, wherever it is named.

    So an address that two services spell differently stays different here, and whoever asks for it
    finds nobody.
    """

    _ADDRESS = re.compile(
        r"""(?P<host>[a-z0-9.]*)(?P<between>:|",\ )(?P<port>\d{4,5})\b""", re.VERBOSE
    )

    def __init__(self) -> None:
        self._names = set(services())
        self._ports: defaultdict[tuple[str, int], int] = defaultdict(free_port)

    def port(self, service: str, port: int) -> int:
        """Return this machine's port for a container's."""
        return self._ports[service, port]

    def here(self, text: str, service: str) -> str:
        """Return a text of ``service`` with each address in it replaced.

        One without a service's name is its own.
        """

        def replaced(found: re.Match[str]) -> str:
            host = found["host"]
            port = self.port(host if host in self._names else service, int(found["port"]))
            own = host if host in ("localhost", "127.0.0.1") else "127.0.0.1"
            return f"{own}{found['between']}{port}"

        return self._ADDRESS.sub(replaced, text)
