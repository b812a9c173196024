"""Make one attempt at a call to the API, and say faithfully what it brought."""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Literal
from urllib.parse import quote

import msgspec
import orjson

from consumer.adapters.scantrust.address import Address
from consumer.adapters.scantrust.failures import describe, too_late
from consumer.adapters.scantrust.framing import Answer, NoResponse
from consumer.adapters.scantrust.headers import request_id, retry_after, unix_seconds
from consumer.adapters.scantrust.loop import Loop, Steps, run
from consumer.adapters.scantrust.token import TokenSource
from consumer.adapters.scantrust.transport import Call, Connection, StartBy
from consumer.adapters.scantrust.trust import trusted_cas
from consumer.core.uploading.response import Response
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
#: What the network and the server can make of a call. (OSError: TLS and time-outs too.)
_FAILURES = (OSError, NoResponse, zlib.error)


class Job(msgspec.Struct, frozen=True, eq=False, gc=False):
    """One call to make."""

    kind: Literal["upload", "start", "task", "me"]
    #: By the client's clock; later than this it is not sent. Or what tells it then.
    start_by: StartBy = float("inf")
    data_key: str = ""  #: of an upload, and of the start of a task
    items: list[dict[str, str]] = []  #: the same
    task_id: str = ""  #: of a task to poll
    subject: Any = None  #: whatever the caller wants to find again with the response


class Client:
    """One connection to the API, for one call at a time (matching).

    ``connect_timeout`` bounds connecting with all that belongs to it, ``timeout`` the whole call,
    in seconds. ``ca_file`` and ``proxy``, empty for none, are the only ones that count: the
    environment has no say. Raise ConfigError for settings no call could be made with.
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
        api = Address("api.base_url", base_url)
        via = Address("api.proxy", proxy) if proxy else None
        trusted = trusted_cas(ca_file) if api.tls or (via and via.tls) else None
        self._peers = api.with_port, via.with_port if via else "", ca_file
        self._connection = Connection(api, via, trusted, clock)
        self._loop: Loop | None = None  # of calls that are waited for
        self._token = token
        self._clock = clock
        self._date = ""
        self._timeouts = (connect_timeout, timeout)
        # A proxy is asked for what it fetches by its whole address; in a tunnel it is not asked.
        asked = via is not None and not api.tls
        self._root = f"http://{api.origin}{api.path}" if asked else api.path
        headers = b"Host: %b\r\nUser-Agent: %b\r\n" % (api.origin.encode(), user_agent.encode())
        headers += b"Accept: application/json\r\nAccept-Encoding: gzip\r\n"
        self._headers = headers + (via.authorization if via and asked else b"")

    def upload(
        self, data_key: str, items: list[dict[str, str]], start_by: StartBy = float("inf")
    ) -> Response:
        """Upload one window; raise for nothing that the network or the API does (I9, fencing).

        ``start_by``: the clock's reading after which it is not sent any more, or what tells it.
        """
        return self._wait_for(Job("upload", start_by, data_key, items))

    def start(
        self, data_key: str, items: list[dict[str, str]], start_by: StartBy = float("inf")
    ) -> Response:
        """Start a task that uploads one window, whose items differ in their key only."""
        return self._wait_for(Job("start", start_by, data_key, items))

    def task(self, task_id: str, start_by: StartBy = float("inf")) -> Response:
        """Ask how a task is."""
        return self._wait_for(Job("task", start_by, task_id=task_id))

    def me(self, start_by: StartBy = float("inf")) -> Response:
        """Ask who the token belongs to: the cheapest call that shows whether it is accepted."""
        return self._wait_for(Job("me", start_by))

    @property
    def server_time(self) -> float | None:
        """Return the API's clock when it gave its last response, in whole Unix seconds.

        None: it did not tell.
        """
        return unix_seconds(self._date)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()
        if self._loop is not None:
            self._loop.close()
            self._loop = None

    def steps(self, job: Job) -> Steps[Response]:
        """Make the call; ``upload`` tells what holds for it."""
        request = self._request(job)
        call = Call(*self._timeouts, job.start_by, self._clock())
        if call.too_late(call.began):
            return Response(None, sent=False, error="not sent: its time to start had passed")
        answer: Answer | None = None
        document: Any = None
        keep = False  # the connection, for the next call
        try:
            if not (yield from self._connection.send(call, request)):
                keep = True  # there is nothing on the connection
                words, seconds = too_late(*self._peers[:2]), self._clock() - call.began
                return Response(None, sent=False, error=words, seconds=seconds)
            answer = self._connection.answer()
            yield from self._connection.read_head(answer)
            self._date = answer.header("date")
            body, whole = yield from answer.body(MAX_BODY)
            # A response may show the request, as a firewall's does; what is told to people of one
            # must not. What a 200 says of rows is read as it came.
            shown = known.body(body)
            if whole:
                with suppress(orjson.JSONDecodeError):
                    as_it_came = answer.status == 200 and job.kind != "task"
                    document = orjson.loads(body if as_it_came else shown)
            answered = answer.status in KEPT_AFTER and isinstance(document, dict)
            keep = answered and answer.reusable
        except _FAILURES as error:
            status = answer.status if answer is not None else None
            # A proxy's words may show the request, too.
            words = known.text(describe(error, call, *self._peers, status, known.text))
            # A lost call may take effect for a time that counts from its sending, and connecting
            # may take long.
            began = call.began if call.sent_at is None else call.sent_at
            return Response(None, sent=call.sent, error=words, seconds=self._clock() - began)
        finally:
            if keep:
                self._connection.rest()
            else:
                self._connection.close()
        assert answer.status is not None
        return Response(
            answer.status,
            shown,
            document if isinstance(document, dict) else None,
            retry_after(answer, body, time.time()) if answer.status >= 400 else None,
            seconds=self._clock() - call.began,
            request_id=request_id(answer),
        )

    def _request(self, job: Job) -> bytes:
        """Return a request as it is sent."""
        token = self._token.current().encode()
        if job.kind == "upload":
            path, content = UPLOAD_PATH, {"data_key": job.data_key, "items": job.items}
        elif job.kind == "start":
            path, content = ASYNC_PATH, task_body(job.data_key, job.items)
        else:
            path = ME_PATH if job.kind == "me" else TASK_PATH.format(quote(job.task_id, safe=""))
            target = (self._root + path).encode()
            head = b"GET %b HTTP/1.1\r\n%bAuthorization: UAT %b\r\n\r\n"
            return head % (target, self._headers, token)
        body = orjson.dumps(content)
        return (
            b"POST %b HTTP/1.1\r\n%bContent-Type: application/json\r\n"
            b"Authorization: UAT %b\r\nContent-Length: %d\r\n\r\n%b"
        ) % ((self._root + path).encode(), self._headers, token, len(body), body)

    def _wait_for(self, job: Job) -> Response:
        if self._loop is None:
            self._loop = Loop(self._clock)
        return run(self._loop, self.steps(job))


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
