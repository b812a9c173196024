"""Look names up without blocking: in a thread, as the system's resolver knows no other way."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from typing import Any

from consumer.adapters.scantrust.loop import READ, Steps, Watched

#: As getaddrinfo gives them: family, kind, protocol, name, address.
Addresses = list[tuple[Any, ...]]


class _LookUp:
    """A look-up that all wait for who need it while it lasts. A resolver may hang for long."""

    def __init__(self, host: str, port: int) -> None:
        self.name = host, port
        self.found: Addresses = []
        self.error: OSError | UnicodeError | None = None
        self.signs: list[socket.socket] = []  #: who waits holds the other end, and sees it close
        threading.Thread(target=self._work, name="look-up", daemon=True).start()

    def _work(self) -> None:
        try:
            self.found = socket.getaddrinfo(*self.name, 0, socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            self.error = error
        with _lock:
            _under_way.pop(self.name, None)
            for sign in self.signs:
                sign.close()


_lock = threading.Lock()
_under_way: dict[tuple[str, int], _LookUp] = {}


def addresses(host: str, port: int, until: float) -> Steps[Addresses]:
    """Return the addresses of a name; raise socket.gaierror when there are none."""
    with suppress(socket.gaierror, UnicodeError):
        return socket.getaddrinfo(host, port, 0, socket.SOCK_STREAM, 0, socket.AI_NUMERICHOST)
    ours, sign = socket.socketpair()
    waiting = Watched(ours, until)
    with _lock:
        look_up = _under_way.get((host, port))
        if look_up is None:
            look_up = _under_way[host, port] = _LookUp(host, port)
        look_up.signs.append(sign)
    try:
        yield waiting, READ
    finally:
        waiting.close()
    if look_up.error is not None:
        raise socket.gaierror(*look_up.error.args)
    return look_up.found
