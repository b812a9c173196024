"""Hide this process's secrets in what others wrote: a response that shows the request, an error.

Each part that is given a secret adds it to ``known``. What comes from outside, or from a library,
goes through ``known`` before a person, a log or a topic may get it: where it comes in (the clients
of the API, the registry and Kafka), and, as the last net, where a line is logged.

A secret is looked for as it is and as others write it: in JSON, in HTML, in a URL; of a log-in also
as the Base64 of HTTP's basic authentication (RFC 7617).
"""

from __future__ import annotations

import base64
import html
import json
import threading
from urllib.parse import quote

#: What stands in a secret's place.
HIDDEN = "(hidden)"
#: A shorter secret is none that could be told from other text.
LEAST_CHARACTERS = 8
#: Secrets that are kept: those of the settings, and the latest of a token file that is replaced.
MOST_SECRETS = 100


class Hider:
    """Secrets, and their forms; safe to share between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._secrets: dict[str, None] = {}
        # The longest first: one may be a part of another. Replaced as a whole, never changed.
        self._forms: list[tuple[str, bytes]] = []

    def add(self, *secrets: str) -> None:
        """Hide these from now on; one that is too short to be told from other text is passed over.

        Of more than ``MOST_SECRETS`` the latest are kept.
        """
        with self._lock:
            news = [secret for secret in secrets if len(secret) >= LEAST_CHARACTERS]
            if all(secret in self._secrets for secret in news):
                return
            self._secrets |= dict.fromkeys(news)
            self._secrets = dict.fromkeys(list(self._secrets)[-MOST_SECRETS:])
            forms = {form for secret in self._secrets for form in _forms(secret)}
            self._forms = [
                (form, form.encode("utf-8", "replace"))
                for form in sorted(forms, key=lambda form: (-len(form), form))
            ]

    def add_login(self, user: str, password: str) -> None:
        """Hide a password, and the header that carries it with its user."""
        if password:
            self.add(password, base64.b64encode(f"{user}:{password}".encode()).decode())

    def text(self, text: str) -> str:
        """Return the text without any secret."""
        for form, _ in self._forms:
            if form in text:
                text = text.replace(form, HIDDEN)
        return text

    def body(self, body: bytes) -> bytes:
        """Return the bytes without any secret."""
        for _, form in self._forms:
            if form in body:
                body = body.replace(form, HIDDEN.encode())
        return body


def _forms(secret: str) -> set[str]:
    """Return how others may write a secret."""
    in_json = {json.dumps(secret, ensure_ascii=ascii_only)[1:-1] for ascii_only in (True, False)}
    return {secret, html.escape(secret), quote(secret, safe="")} | in_json


#: This process's secrets.
known = Hider()
