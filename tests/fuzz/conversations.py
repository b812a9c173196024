"""Seeded conversations of the HTTP client with a server that does all a server may, and may not,
do.

For each request the server draws what it does: interim answers of every kind, every way to say
where an answer ends (rightly, twice, wrongly), answers that are cut off, too late, too early, sent
in pieces, or followed by another; connections that are closed, reset, half-closed or kept against
its own word. The client is asked directly, over TLS, through a proxy and through a tunnel.

Each request names a key of its own, and so does its answer. What must hold:

* never an answer for another request: its status and its key are those that the server sent for
  this one;
* never sent twice by itself, and not at all when it says so;
* never past its deadline, by more than the machine takes;
* what is a whole answer is taken, and after one that leaves no doubt the connection is used again.

One thing no client can tell (``adapters/scantrust/transport.py``): an answer that nobody asked for
and that arrives while the next request is being written. So what the server sends unasked it sends
with an answer, or while the client rests.
"""

from __future__ import annotations

import random
import ssl
import time
from collections import Counter
from pathlib import Path

from consumer.adapters.scantrust.client import Client
from consumer.adapters.scantrust.token import TokenSource
from consumer.core.uploading.response import Response
from tests.fuzz.server import Server
from tests.fuzz.talk import Sent, Talk, drawn

WAYS = {"direct": 70, "proxy": 16, "tls": 9, "tunnel": 5}
CALLS = (2, 3, 4, 5)
#: What the machine may take beyond the deadline, seconds.
SLACK = 2.0
TOKEN = TokenSource("sandbox-token")


class Judge:
    """A server and, one after the other, clients that talk to it.

    ``made`` counts what came of the calls.
    """

    def __init__(self, certificate: Path, tls: ssl.SSLContext, timeout: float = 0.25) -> None:
        self._certificate = certificate
        self._timeout = timeout
        self.server = Server(tls, timeout).start()
        self.made: Counter[str] = Counter()
        self.longest = 0.0
        self._previous: Sent | None = None
        self._timed_out = False

    def close(self) -> None:
        self.server.close()
        assert not self.server.faults, self.server.faults

    def hold(self, seed: int) -> None:
        """Hold one conversation; AssertionError, or whatever comes out, is a finding."""
        rng = random.Random(f"client {seed}")
        talk = Talk(seed, drawn(rng, WAYS))
        self.server.begin(talk)
        self._previous = None
        with_client = self._client(talk.way)
        try:
            for number in range(rng.choice(CALLS)):
                self._call(with_client, talk, f"k{seed}-{number}", rng)
        finally:
            with_client.close()
            talk.resting.set()
        for key, sent in talk.sent.items():
            assert sent.seen <= 1, f"{key} was sent {sent.seen} times"

    def _client(self, way: str) -> Client:
        address = f"127.0.0.1:{self.server.port}"
        url = {
            "proxy": "http://api.invalid",
            "tunnel": "https://127.0.0.1:1",
            "tls": f"https://{address}",
        }
        return Client(
            url.get(way, f"http://{address}"),
            TOKEN,
            connect_timeout=self._timeout,
            timeout=self._timeout,
            proxy=f"http://{address}" if way in ("proxy", "tunnel") else "",
            ca_file=str(self._certificate),
        )

    def _call(self, client: Client, talk: Talk, key: str, rng: random.Random) -> None:
        items = [{"extended_id": key, "line": "x" * rng.choice((1, 1, 1, 3_000, 300_000))}]
        talk.resting.clear()
        began = time.monotonic()
        response = client.upload("extended_id", items)
        took = time.monotonic() - began
        self.longest = max(self.longest, took - self._timeout)
        assert took < self._timeout + SLACK, f"{key}: it took {took:.2f} s"
        talk.resting.set()
        if talk.rest is not None:
            assert talk.rest.wait(5)
            talk.rest = None
        self._judge(response, talk, key, took)

    def _judge(self, response: Response, talk: Talk, key: str, took: float) -> None:
        sent = talk.of(key)
        told = f"{key} ({talk.way}; {sent.what}): {response}"
        assert response.sent or not sent.seen, f"it was sent, and says it was not: {told}"
        if response.status is None:
            assert not sent.must or took >= self._timeout, f"an answer is not taken: {told}"
        else:
            assert sent.status, f"an answer for another request: nobody answered this one: {told}"
            assert response.status == sent.status, f"an answer for another request: {told}"
            if response.document is not None:
                assert response.document["for"] == key, f"an answer for another request: {told}"
            elif sent.must and sent.status not in (204, 304):
                raise AssertionError(f"an answer is not taken whole: {told}")
        before, self._previous = self._previous, sent
        if before is not None and before.kept and sent.seen and before.status:
            kept = sent.connection == before.connection
            assert kept or self._timed_out, f"a good connection is not used again: {told}"
        self._timed_out = response.status is None
        self.made[
            f"{talk.way}: {'no answer' if response.sent else 'not sent'}"
            if response.status is None
            else f"{talk.way}: answered"
        ] += 1
