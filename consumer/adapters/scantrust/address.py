"""Where calls go to."""

from __future__ import annotations

import base64
from urllib.parse import unquote

from urllib3.exceptions import LocationParseError
from urllib3.util import Url, parse_url

from consumer.errors import ConfigError


class Address:
    """The address of the API, or of a proxy, as the setting ``key`` gives it.

    Raise ConfigError if no connection can go there.
    """

    def __init__(self, key: str, url: str) -> None:
        try:
            parts = parse_url(url)
        except LocationParseError:
            parts = Url()
        host = (parts.host or "").strip("[]")
        if parts.scheme not in ("http", "https") or not host or host.startswith(("*", ".")):
            problem = "not an address such as https://host or http://host:port"
            raise ConfigError([f"{key}: {problem}"])
        self.tls = parts.scheme == "https"
        self.host = host
        usual_port = 443 if self.tls else 80
        self.port = parts.port or usual_port
        self.path = (parts.path or "").rstrip("/")
        self.login = parts.auth or ""
        #: Without what only the system's resolver understands.
        self.name = host.partition("%")[0].rstrip(".")
        name = f"[{self.name}]" if ":" in host else self.name
        self.with_port = f"{name}:{self.port}"
        self.origin = name if self.port == usual_port else self.with_port  # as Host says it

    @property
    def authorization(self) -> bytes:
        """Return the header that carries the log-in to a proxy; empty: there is none."""
        if not self.login:
            return b""
        user, _, password = self.login.partition(":")
        login = f"{unquote(user)}:{unquote(password)}"
        charset = "latin-1" if max(login) <= "\xff" else "utf-8"
        return b"Proxy-Authorization: Basic %b\r\n" % base64.b64encode(login.encode(charset))
