"""Find out why a broker's certificate is refused, by a handshake of Python's TLS.

librdkafka says only that it is refused.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

HANDSHAKE_SECONDS = 3.0

#: OpenSSL's verification codes: not yet valid or expired; another host name or IP address.
_WRONG_TIME = (9, 10)
_WRONG_NAME = (62, 64)

_CA = "set kafka.client.ssl.ca.location to a PEM file with the CA that issued it"


def refusal(peer: str, properties: Mapping[str, str]) -> tuple[str, str]:
    """Return the reason, and what to do. ``peer``: host:port.

    Makes one handshake and sends nothing after it.
    """
    host, _, port = peer.rpartition(":")
    host = host.strip("[]")
    with suppress(OSError, ssl.SSLError, ValueError):
        context = _context(properties)
        try:
            with (
                socket.create_connection((host, int(port)), HANDSHAKE_SECONDS) as sock,
                context.wrap_socket(sock, server_hostname=host),
            ):
                pass
        except ssl.SSLCertVerificationError as error:
            reason = error.verify_message.rstrip(".")
            if error.verify_code in _WRONG_NAME:
                return (
                    reason,
                    "set kafka.bootstrap_servers (and the broker's advertised.listeners) "
                    "to a name in it",
                )
            if error.verify_code in _WRONG_TIME:
                return reason, "have it renewed, or set this machine's clock right"
            return reason, _CA
    return "it cannot be verified", f"{_CA}, and check that it is valid now and for this host name"


def _context(properties: Mapping[str, str]) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = (
        properties.get("ssl.endpoint.identification.algorithm", "https") != "none"
    )
    location, pem = properties.get("ssl.ca.location", ""), properties.get("ssl.ca.pem", "")
    if pem:
        context.load_verify_locations(cadata=pem)
    elif location and location != "probe":
        path = Path(location)
        context.load_verify_locations(**{"capath" if path.is_dir() else "cafile": location})
    else:
        context.load_default_certs()
    return context
