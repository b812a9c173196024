"""Make one attempt at a call to the API, and say faithfully what it brought."""

from __future__ import annotations

import email.utils
import http.client
import re
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import quote, urlsplit

import orjson
import requests
import urllib3.exceptions

from consumer.adapters.scantrust.failures import describe, too_late
from consumer.adapters.scantrust.token import TokenSource
from consumer.adapters.scantrust.transport import Adapter, Call, StartBy
from consumer.adapters.scantrust.trust import trusted_cas
from consumer.core.uploading.response import Response
from consumer.errors import ConfigError
from consumer.hiding import known

UPLOAD_PATH = "/api/v2/scm/upload/"
ASYNC_PATH = "/api/v2/scm/upload/async/"
TASK_PATH = "/api/v2/scm/tasks/{}/"
ME_PATH = "/api/v2/me/"

#: The most that is kept of a body, in bytes after decompression; the rest is not read.
MAX_BODY = 1_000_000
#: The API gives these to a request that it has read. After any other answer the connection is not
#: used again: what stands before the API may not have read the request, and the server may not be
#: the one that is meant any more.
KEPT_AFTER = (200, 400)
#: Headers in which servers tell the number under which they know a request: of the API or of what
#: stands before it. It is for people who ask them about it.
REQUEST_ID_HEADERS = ("X-Request-Id", "X-Correlation-Id", "X-Amzn-Trace-Id", "CF-Ray")

#: What the network and the server can make the libraries raise; ValueError for a chunk of negative
#: length.
_FAILURES = (
    requests.RequestException,
    urllib3.exceptions.HTTPError,
    http.client.HTTPException,
    OSError,
    ValueError,
)

_AVAILABLE_IN = re.compile(rb"available in (\d{1,9}(?:\.\d{1,9})?) ?s")
_SECONDS = re.compile(r"\d{1,15}(\.\d{1,9})?")
_REQUEST_ID = re.compile(r"[!-~]{1,100}")


class Client:
    """A worker's connection to the API; not to be shared between threads (matching).

    ``connect_timeout`` bounds connecting with TLS, ``timeout`` the whole call, in seconds (looking
    up the name is bounded by the system's resolver only). ``ca_file`` and ``proxy``, empty for
    none, are the only ones that count: the environment has no say. Raise ConfigError for settings
    no call could be made with.
    """

    def __init__(
        self,
        base_url: str,
        token: TokenSource,
        *,
        connect_timeout: float,
        timeout: float,
        ca_file: str = "",
        proxy: str = "",
        user_agent: str = "scm-consumer",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if proxy and "://" not in proxy:
            proxy = f"http://{proxy}"
        self._api = _host_and_port("api.base_url", base_url)
        self._proxy = _host_and_port("api.proxy", proxy) if proxy else ""
        self._proxies = {"all": proxy} if proxy else {}
        self._token = token
        self._clock = clock
        self._date = ""
        self._timeouts = (connect_timeout, timeout)
        self._call = Call(connect_timeout, timeout, clock)
        with_tls = "https" in (urlsplit(base_url).scheme, urlsplit(proxy).scheme)
        self._ca_file = ca_file
        self._adapter = Adapter(self._call, trusted_cas(ca_file) if with_tls else None)
        headers = {
            "User-Agent": user_agent,
            "Accept": "application/json",
            "Accept-Encoding": "gzip",
        }
        json = headers | {"Content-Type": "application/json"}
        root = self._root = base_url.rstrip("/")
        # Prepared once and filled anew for each call: preparing costs half as much as a whole call.
        try:
            self._me = requests.Request("GET", root + ME_PATH, headers).prepare()
            self._upload = requests.Request("POST", root + UPLOAD_PATH, json).prepare()
            self._start = requests.Request("POST", root + ASYNC_PATH, json).prepare()
            self._task = self._me.copy()
        except requests.RequestException:
            raise _no_address("api.base_url") from None

    def upload(
        self, data_key: str, items: list[dict[str, str]], start_by: StartBy = float("inf")
    ) -> Response:
        """Upload one window; raise for nothing that the network or the API does (I9, fencing).

        ``start_by``: the clock's reading after which it is not sent any more, or what tells it.
        """
        return self._post(self._upload, {"data_key": data_key, "items": items}, start_by)

    def start(
        self, data_key: str, items: list[dict[str, str]], start_by: StartBy = float("inf")
    ) -> Response:
        """Start a task that uploads one window, whose items differ in their key only.

        For the rest as ``upload``.
        """
        return self._post(self._start, task_body(data_key, items), start_by)

    def task(self, task_id: str, start_by: StartBy = float("inf")) -> Response:
        """Ask how a task is."""
        self._task.url = self._root + TASK_PATH.format(quote(task_id, safe=""))
        return self._attempt(self._task, start_by)

    def me(self, start_by: StartBy = float("inf")) -> Response:
        """Ask who the token belongs to: the cheapest call that shows whether it is accepted."""
        return self._attempt(self._me, start_by)

    @property
    def server_time(self) -> float | None:
        """Return the API's clock when it gave its last response, in whole Unix seconds.

        None: it did not tell.
        """
        return _unix_seconds(self._date)

    def close(self) -> None:
        """Close the connection."""
        self._adapter.close()

    def _post(
        self, request: requests.PreparedRequest, content: dict[str, Any], start_by: StartBy
    ) -> Response:
        request.body = body = orjson.dumps(content)
        request.headers["Content-Length"] = str(len(body))
        return self._attempt(request, start_by)

    def _attempt(self, request: requests.PreparedRequest, start_by: StartBy) -> Response:
        call = self._call
        call.begin(start_by)
        if call.too_late(call.began):
            return Response(None, sent=False, error="not sent: its time to start had passed")
        token = self._token.current()
        request.headers["Authorization"] = f"UAT {token}"
        raw: Any = None
        document: Any = None
        keep = False  # the connection, for the next call
        try:
            raw = self._adapter.send(
                request, stream=True, timeout=self._timeouts, proxies=self._proxies
            ).raw
            if not call.sent:
                keep = True  # there is nothing on the connection
                words = too_late(self._api, self._proxy)
                return Response(None, sent=False, error=words, seconds=self._clock() - call.began)
            self._date = raw.headers.get("Date", "")
            body, whole = _read(raw)
            # A response may show the request, as a firewall's does; what is told to people of one
            # must not. What a 200 says of rows is read as it came.
            shown = known.body(body)
            if whole:
                with suppress(orjson.JSONDecodeError):
                    as_it_came = raw.status == 200 and request is not self._task
                    document = orjson.loads(body if as_it_came else shown)
            answered = raw.status in KEPT_AFTER and isinstance(document, dict)
            keep = answered and call.answer is not None and call.answer.reusable
        except _FAILURES as error:
            status = raw.status if raw is not None else None
            # A proxy's words may show the request, too.
            words = known.text(describe(error, call, self._api, self._proxy, self._ca_file, status))
            # A lost call may take effect for a time that counts from its sending, and connecting
            # may take long.
            began = call.began if call.sent_at is None else call.sent_at
            return Response(None, sent=call.sent, error=words, seconds=self._clock() - began)
        finally:
            if raw is not None:
                raw.release_conn() if keep else raw.close()
            if not keep:
                self._adapter.drop()
            call.ended = self._clock()
        return Response(
            raw.status,
            shown,
            document if isinstance(document, dict) else None,
            retry_after(raw.status, raw.headers, body, time.time()),
            seconds=call.ended - call.began,
            request_id=_request_id(raw.headers),
        )


def task_body(data_key: str, items: list[dict[str, str]]) -> dict[str, Any]:
    """Return the body of an asynchronous upload (guide "Special SCM Fields", its ASYNC examples).

    All items set the same. There the legacy ``status`` does not exist, and ``activation_status`` is
    a number.
    """
    data: dict[str, Any] = {name: value for name, value in items[0].items() if name != data_key}
    status = data.pop("status", None)
    if status is not None:
        data.setdefault("activation_status", status)
    if "activation_status" in data:
        data["activation_status"] = int(data["activation_status"])
    return {"constraints": {data_key: [item[data_key] for item in items]}, "scm_data": data}


def _request_id(headers: Mapping[str, str]) -> str:
    """Return the number under which the server knows the request; empty: it tells none."""
    for name in REQUEST_ID_HEADERS:
        value = headers.get(name, "")
        if value and _REQUEST_ID.fullmatch(value):
            return known.text(value)
    return ""


def _read(raw: Any) -> tuple[bytes, bool]:
    """Return the body, uncompressed and at most MAX_BODY, and whether that is all of it."""
    # Reads on until there is as much or the body has ended, and raises when it ended too early.
    body: bytes = raw.read(MAX_BODY + 1, decode_content=True)
    return body[:MAX_BODY], len(body) <= MAX_BODY


def retry_after(status: int, headers: Mapping[str, str], body: bytes, now: float) -> float | None:
    """Return the seconds to wait before the next call, as a response of 400 or above asks for.

    None when it does not. They are from the Retry-After header (seconds, or an HTTP date measured
    against the response's own Date, else against ``now``, Unix seconds), else from the text
    "available in N seconds" of the API's throttling.
    """
    if status < 400:
        return None
    value = headers.get("Retry-After", "").strip()
    if _SECONDS.fullmatch(value):
        return float(value)
    if value and (date := _unix_seconds(value)) is not None:
        sent_at = _unix_seconds(headers.get("Date", ""))
        return max(0.0, date - (now if sent_at is None else sent_at))
    text = _AVAILABLE_IN.search(body, 0, 2000)
    return float(text[1]) if text else None


def _unix_seconds(date: str) -> float | None:
    with suppress(ValueError, TypeError, OverflowError, IndexError):
        return email.utils.parsedate_to_datetime(date).timestamp()
    return None


def _host_and_port(key: str, url: str) -> str:
    """Return what errors call the other side by; ConfigError when no call can be made to it."""
    with suppress(KeyError, ValueError):
        parts = urlsplit(url)
        usual_port = {"http": 80, "https": 443}[parts.scheme]
        if parts.hostname:
            return f"{parts.hostname}:{parts.port or usual_port}"
    raise _no_address(key)


def _no_address(key: str) -> ConfigError:
    return ConfigError([f"{key}: not an address such as https://host or http://host:port"])
