"""Look names up without blocking: in a thread, as the system's resolver knows no other way."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import suppress
from typing import Any

from consumer.adapters.scantrust.loop import READ, Steps, Watched

#: As getaddrinfo gives them: family, kind, protocol, name, address.
Addresses = list[tuple[Any, ...]]
#: A look-up that takes longer is joined by nobody any more, in seconds.
HUNG_SECONDS = 60.0


class _LookUp:
    """A look-up that all wait for who need it while it lasts. A resolver may hang for long."""

    def __init__(self, host: str, port: int) -> None:
        self.name = host, port
        self.began = time.monotonic()
        self.found: Addresses = []
        self.error: socket.gaierror | None = None
        self.signs: list[socket.socket] = []  #: who waits holds the other end, and sees it close
        try:
            threading.Thread(target=self._work, name="look-up", daemon=True).start()
        except RuntimeError as error:  # the system has no room for a thread
            raise OSError(str(error)) from None

    def _work(self) -> None:
        try:
            self.found = socket.getaddrinfo(*self.name, 0, socket.SOCK_STREAM)
        except Exception as error:  # whatever it is, who waits must hear of it
            self.error = socket.gaierror(str(error))
        with _lock:
            if _under_way.get(self.name) is self:
                del _under_way[self.name]
            for sign in self.signs:
                sign.close()
            self.signs.clear()


_lock = threading.Lock()
_under_way: dict[tuple[str, int], _LookUp] = {}


def addresses(host: str, port: int, until: float) -> Steps[Addresses]:
    """Return the addresses of a name; raise socket.gaierror when there are none."""
    with suppress(socket.gaierror, UnicodeError):
        return socket.getaddrinfo(host, port, 0, socket.SOCK_STREAM, 0, socket.AI_NUMERICHOST)
    with _lock:
        look_up = _under_way.get((host, port))
        if look_up is None or time.monotonic() - look_up.began > HUNG_SECONDS:
            look_up = _under_way[host, port] = _LookUp(host, port)
        ours, sign = socket.socketpair()
        look_up.signs.append(sign)
    waiting = Watched(ours, until)
    try:
        yield waiting, READ
    finally:
        waiting.close()
        with _lock:
            if sign in look_up.signs:  # it has become too late
                look_up.signs.remove(sign)
                sign.close()
    if look_up.error is not None:
        raise look_up.error
    return look_up.found
