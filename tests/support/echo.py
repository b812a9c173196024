"""A server that shows the request in its answer, as a firewall, a proxy or a debug page may."""

from __future__ import annotations

import html
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from socketserver import StreamRequestHandler, ThreadingTCPServer
from urllib.parse import quote

#: How an upload is answered, by mode. Each shows the request's headers in another way.
MODES = (
    "401 with a detail",
    "403 in HTML",
    "302 to an address",
    "500 with a reason phrase",
    "503 with a request number",
    "200 in HTML",
    "200 of another API",
    "400 that names a row",
    "no HTTP at all",
)


class Echo:
    """Listens at ``url``; also a proxy, and a schema registry that answers no HTTP.

    ``mode``: one of ``MODES``. ``echoed`` counts what it showed.
    """

    def __init__(self, mode: str) -> None:
        self.mode = mode
        self.echoed = 0
        self.seen: list[str] = []  #: heads of requests
        echo = self

        class Handler(StreamRequestHandler):
            def handle(self) -> None:
                while (head := self._head()) is not None:
                    length = next(
                        (
                            int(line.partition(":")[2])
                            for line in head.split("\r\n")
                            if line.lower().startswith("content-length:")
                        ),
                        0,
                    )
                    body = self.rfile.read(length)
                    echo.seen.append(head)
                    echo.echoed += 1
                    self.wfile.write(echo.answer(head, body))

            def _head(self) -> str | None:
                lines = []
                while (line := self.rfile.readline()) not in (b"\r\n", b""):
                    lines.append(line.decode("latin-1").rstrip("\r\n"))
                return "\r\n".join(lines) if lines else None

        self._server = ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"

    @contextmanager
    def serving(self) -> Iterator[Echo]:
        """Serve for as long as the block lasts."""
        thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._server.server_close()
            thread.join()

    def answer(self, head: str, body: bytes) -> bytes:
        """Return the answer to a request, the request shown in it."""
        line, _, headers = head.partition("\r\n")
        # The log-ins first: what is told to people is often cut.
        ordered = sorted(headers.split("\r\n"), key=lambda header: "uthorization" not in header)
        shown = " | ".join(ordered)
        number, phrase, more, content = 401, "No", "", json.dumps({"detail": shown})
        if "/schemas/" in line:
            return f"{shown}\r\n\r\n".encode("latin-1")
        match self.mode:
            case "403 in HTML":
                number, content = 403, f"<html><b>blocked</b> {html.escape(shown)}</html>"
            case "302 to an address":
                number, more = 302, f"Location: http://elsewhere/?{quote(shown, safe='')}\r\n"
                content = shown
            case "500 with a reason phrase":
                number, phrase, content = 500, shown, f"Internal error: {shown}"
            case "503 with a request number":
                secret = shown.partition("Authorization: UAT ")[2].partition(" |")[0]
                number, more = 503, f"X-Request-Id: {secret}\r\nRetry-After: 1\r\n"
            case "200 in HTML":
                number, content = 200, f"<html>Please log in. {quote(shown)} {shown}</html>"
            case "200 of another API":
                number, content = 200, json.dumps({"you": {"sent": shown}, "detail": shown})
            case "400 that names a row" if body:
                first = json.loads(body)["items"][0]["extended_id"]
                error = {"key_value": first, "field": "line", "line": "", "message": shown[:480]}
                number, content = 400, json.dumps({"errors": [error]})
            case "no HTTP at all":
                return f"{shown}\r\n\r\n".encode("latin-1")
        return (
            f"HTTP/1.1 {number} {phrase}\r\n{more}Content-Length: {len(content.encode())}\r\n\r\n"
            f"{content}"
        ).encode("latin-1", "replace")
