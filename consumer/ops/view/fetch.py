"""Ask a consumer for its ``/status``, from another process."""

from __future__ import annotations

import json
from typing import Any

import requests

from consumer.config.masking import masked_value
from consumer.errors import UserError
from consumer.ops.server import address_of

#: How long one wait for the consumer may take; it gives its owner loop two seconds.
SECONDS = 5.0
#: Bytes of a document that are taken: a thousand partitions take one million.
MAX_BYTES = 32_000_000
#: Hosts that a server listens at and nobody can call, and this host instead.
_EVERYWHERE = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104


class StatusError(UserError):
    """There is no status to show; the message says why and what to do."""


def url_of(listen: str) -> str:
    """Return where this host's consumer with this ``ops.listen`` is asked. Raise StatusError."""
    if not listen:
        raise StatusError(
            "ops.listen is empty: the consumer of these settings serves no status; "
            "set it to host:port, or name another consumer by --url http://HOST:PORT"
        )
    host, port = address_of(listen)
    if port == 0:
        raise StatusError(
            f"ops.listen is {listen}: the consumer takes any free port; its log says which "
            "(ops: http://…); name it by --url http://HOST:PORT"
        )
    host = _EVERYWHERE.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def shown_address(url: str) -> str:
    """Return an address as it may be shown: without the user and password before a host."""
    return str(masked_value("url", url))


def fetch(url: str) -> Any:
    """Return the ``/status`` document of the consumer at ``url``. Raise StatusError."""
    shown = shown_address(url)
    try:
        with requests.Session() as session:
            session.trust_env = False  # no proxy of the environment for what is on this host
            with session.get(f"{url.rstrip('/')}/status", timeout=SECONDS, stream=True) as response:
                body = response.raw.read(MAX_BYTES, decode_content=True)
                code = response.status_code
    except (requests.exceptions.InvalidURL, requests.exceptions.MissingSchema) as error:
        raise StatusError(f"--url {shown} is no address: give it as http://HOST:PORT") from error
    except requests.exceptions.InvalidSchema as error:
        raise StatusError(f"--url {shown}: allowed is http://HOST:PORT, or https://") from error
    except requests.exceptions.SSLError as error:
        raise StatusError(f"{shown} cannot be trusted: its certificate does not pass") from error
    except requests.exceptions.Timeout as error:
        raise StatusError(
            f"{shown} did not answer within {SECONDS:g} s: is it the consumer's ops address, "
            "and is a firewall between?"
        ) from error
    except (requests.exceptions.RequestException, OSError) as error:
        raise StatusError(
            f"nobody answers at {shown}: does `scm-consumer run` run there? Its log says where it "
            "serves (ops: http://…), ops.listen sets it; name another by --url http://HOST:PORT"
        ) from error
    return _document(shown.rstrip("/"), code, body)


def _document(url: str, code: int, body: bytes) -> Any:
    if code == requests.codes.service_unavailable:
        raise StatusError(
            f"the consumer at {url} is there, and gives no status now: its owner loop did not "
            f"answer in time; {url}/healthz says whether it is stalled"
        )
    try:
        document = json.loads(body)
    except ValueError:
        document = None
    if code != requests.codes.ok or not isinstance(document, dict) or "ledger" not in document:
        raise StatusError(
            f"what answers at {url} is no consumer's ops address (HTTP {code}): "
            "name the right one by --url http://HOST:PORT"
        )
    return document
