"""Say why a call brought no whole response, in words that tell what to do.

Only for people: whether anything was sent is decided in ``transport``. Nothing is quoted from an
exception that may hold a URL, a header or a body.
"""

from __future__ import annotations

import socket
import ssl
import zlib
from collections.abc import Callable

from consumer.adapters.scantrust.transport import Call

#: OpenSSL's verification codes: expired or not yet valid; another host name, e-mail or IP address.
_WRONG_TIME = (9, 10)
_WRONG_NAME = (62, 63, 64)

#: OpenSSL's word for an answer that is no TLS.
_PLAIN = "WRONG_VERSION_NUMBER"


def describe(
    error: BaseException,
    call: Call,
    api: str,
    proxy: str,
    ca_file: str,
    status: int | None,
    hide: Callable[[str], str],
) -> str:
    """Return one sentence.

    ``api``, ``proxy``: host:port, empty for no proxy; ``status``: None until headers came.
    """
    if call.sent:
        return _after_sending(error, call, api, status)
    return _before_sending(error, call, api, proxy, ca_file, hide)


def _before_sending(
    error: BaseException, call: Call, api: str, proxy: str, ca_file: str, hide: Callable[[str], str]
) -> str:
    if call.at_proxy:
        peer, setting = f"the proxy {proxy}", "api.proxy"
    else:
        peer, setting = _peer(api, proxy), "api.base_url and api.proxy" if proxy else "api.base_url"
    if isinstance(error, ssl.SSLCertVerificationError):
        return _certificate(error, peer, setting.partition(" ")[0], ca_file)
    if isinstance(error, ssl.SSLError):
        reason = error.reason or error.strerror or "no TLS"
        if reason == _PLAIN:
            advice = f"perhaps {setting.partition(' ')[0]} must begin with http:// (sandbox)"
            return f"no TLS with {peer} ({reason}): the server there speaks none; {advice}"
        return f"no TLS with {peer} ({reason}): check that {setting} is an https address"
    if isinstance(error, socket.gaierror):
        return f"the name of {peer} cannot be resolved: check {setting} and DNS"
    if isinstance(error, TimeoutError):
        return (
            f"no connection to {peer} within {call.connect_timeout:g} s: "
            f"check {setting} and the network"
        )
    # A proxy's words may show its log-in. Half of it would not be known: first hidden, then cut.
    words = hide((error.strerror if isinstance(error, OSError) else "") or str(error))[:200]
    return f"no connection to {peer} ({words}): check {setting} and the network"


def too_late(api: str, proxy: str) -> str:
    """Return what to say of a request whose connection stood only when it was too late for it."""
    return f"not sent: the connection to {_peer(api, proxy)} stood too late for it"


def _peer(api: str, proxy: str) -> str:
    return f"the API {api} through the proxy {proxy}" if proxy else f"the API {api}"


def _certificate(
    refused: ssl.SSLCertVerificationError, peer: str, setting: str, ca_file: str
) -> str:
    why = f"the certificate of {peer} is refused ({refused.verify_message.rstrip('.')})"
    if refused.verify_code in _WRONG_NAME:
        return f"{why}: set {setting} to the name that the certificate is for"
    if refused.verify_code in _WRONG_TIME:
        return f"{why}: it must be renewed, or this machine's clock is wrong"
    if ca_file:
        return (
            f"{why}: add the CA that issued it to {ca_file}, or set api.ca_file to another; "
            "it is read again by itself"
        )
    return f"{why}: set api.ca_file to a PEM file with the CA that issued it"


def _after_sending(error: BaseException, call: Call, api: str, status: int | None) -> str:
    begun = f", only the beginning of one (HTTP {status})" if status is not None else ""
    if isinstance(error, TimeoutError):
        return f"no whole answer from the API {api} within {call.timeout:g} s{begun}"
    if isinstance(error, zlib.error):
        return f"the body of the answer from the API {api} cannot be decompressed (HTTP {status})"
    if isinstance(error, OSError):
        return f"the connection to the API {api} was lost before a whole answer{begun}"
    return f"what came from the API {api} is no HTTP answer ({error}){begun}"
