"""Check the settings of the API and the registry: addresses, and the tokens sent to them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from consumer.config.problem import Problem, unreadable, wrong
from consumer.config.settings import Settings

#: The paths of the mistake that no token is set.
NO_TOKEN = ("api.token", "api.token_file")


def _split(url: str) -> SplitResult | None:
    """Return the parts of an http address; None if no call could be made to it."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("https", "http") and parts.hostname and parts.port != 0
    except ValueError:
        return None
    return (
        parts
        if usable
        and not re.search(r"[\s\x00-\x1f]", url)
        and not parts.query
        and not parts.fragment
        else None
    )


def check_registry(settings: Settings) -> Iterator[Problem]:
    """Check the registry's address and its log-in."""
    registry = settings.schema_registry
    path, user = "schema_registry.url", registry.user
    password = registry.password.get_secret_value()
    if "@" in registry.url:
        yield Problem(
            (path,), ": no user or password belongs there; set schema_registry.user and .password"
        )
    elif registry.url and ("," in registry.url or _split(registry.url) is None):
        yield wrong(
            path,
            registry.url,
            "allowed is one http://host:port or https://host, such as http://localhost:8081",
        )
    if user and not password:
        yield wrong(
            "schema_registry.user",
            user,
            "has no password; set schema_registry.password",
            "schema_registry.password",
        )
    if password and not user:
        yield Problem(
            ("schema_registry.password", "schema_registry.user"),
            " is set; set schema_registry.user, too",
        )


def check_address(settings: Settings) -> Iterator[Problem]:
    """Check the API's address, and that no token goes there in the clear."""
    api, path = settings.api, "api.base_url"
    if "@" in api.base_url:
        yield Problem((path,), ": no user or password belongs there; set api.token")
        return
    url = _split(api.base_url)
    if url is None:
        yield wrong(
            path, api.base_url, "allowed is https://host, or http:// to this machine (the sandbox)"
        )
    elif "/api/v2" in url.path:
        yield wrong(path, api.base_url, f"give the root of the API, without {url.path}")
    elif url.scheme == "http" and not api.allow_plain_http and not _loopback(url.hostname or ""):
        message = (
            "http:// would send the token in the clear; "
            "use https://, or set api.allow_plain_http = true"
        )
        yield wrong(path, api.base_url, message, "api.allow_plain_http")


def _loopback(host: str) -> bool:
    return host in ("localhost", "::1") or bool(re.fullmatch(r"127(\.\d+){3}", host))


def check_token(settings: Settings) -> Iterator[Problem]:
    """Check that there is a usable token, and the CA file."""
    token, file = settings.api.token.get_secret_value(), settings.api.token_file
    path = "api.token_file"
    if not token and not file:
        where = (
            "in scm-consumer.toml (begin with: scm-consumer config example) or as SCM_API__TOKEN"
        )
        yield Problem(NO_TOKEN, f": not set, and neither is {path}; set one of them, {where}")
    elif not file:
        yield from _unusable_token("api.token", token, lambda: token)
    else:  # it is taken even if a token is set
        yield from unreadable(path, file)
        yield from _unusable_token(
            path, file, lambda: Path(file).read_bytes()[:65536].decode("utf-8-sig", "replace")
        )
    if settings.api.ca_file:
        yield from unreadable("api.ca_file", settings.api.ca_file)


def _unusable_token(path: str, value: str, read: Callable[[], str]) -> Iterator[Problem]:
    from consumer.adapters.scantrust.token import checked

    try:
        checked(read())
    except OSError:
        return  # that it cannot be read is a problem already
    except ValueError as error:
        yield wrong(path, value, f"{error}; put the token there, and nothing else")


def check_proxy(settings: Settings) -> Iterator[Problem]:
    """Check the proxy's address."""
    proxy = settings.api.proxy
    if proxy:
        url = _split(proxy if "://" in proxy else f"http://{proxy}")
        if url is None or url.path not in ("", "/"):
            allowed = (
                "allowed is http://host:port or http://user:password@host:port, "
                "with / and @ in them as %2F and %40"
            )
            yield wrong("api.proxy", proxy, allowed)
