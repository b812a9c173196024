"""Check the API, the token, its permissions and the clock by one ``GET /api/v2/me/``."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from consumer import __version__
from consumer.adapters.scantrust.client import Client
from consumer.adapters.scantrust.token import TokenSource
from consumer.config.settings import ApiSettings
from consumer.core.uploading.response import Response
from consumer.preflight.permissions import missing
from consumer.preflight.result import Check, failed, ok, skipped, unknown, warning

API, TOKEN, PERMISSIONS, CLOCK = "API", "token", "permissions", "clock"

#: Time after which the API counts as not working; an upload may take longer.
CONNECT_SECONDS, ANSWER_SECONDS = 5.0, 10.0
#: A clock that is off by more is wrong: a Date header has whole seconds, and the way takes time.
CLOCK_SECONDS = 5.0
#: A clock that is off by more makes log-ins fail: Kerberos and most token services allow so much.
CLOCK_LIMIT_SECONDS = 300.0

_ADDRESS = (
    "correct api.base_url: the API's root, such as https://api.staging.scantrust.io "
    "or https://api.scantrust.com"
)
_MAKE_ONE = (
    "make a token in the Scantrust portal (your name > User Authorization Tokens) with "
    "codes_view, scm_bulk_edit, scm_code_edit, product_view"
)


class ApiChecks:
    """The checks of the API. Raises ConfigError for settings no call could be made with."""

    def __init__(self, settings: ApiSettings, now: Callable[[], float] = time.time) -> None:
        self._settings = settings
        self._now = now
        self._token = TokenSource(settings.token.get_secret_value(), settings.token_file)
        self._client = Client(
            settings.base_url,
            self._token,
            connect_timeout=min(settings.connect_timeout_seconds, CONNECT_SECONDS),
            timeout=min(settings.timeout_seconds, ANSWER_SECONDS),
            ca_file=settings.ca_file,
            proxy=settings.proxy,
            user_agent=f"scm-consumer/{__version__}",
        )

    def checks(self) -> Iterator[Check]:
        """Yield the checks of API, token, permissions and clock."""
        began = self._now()
        response = self._client.me()
        between = (began + self._now()) / 2
        theirs = self._client.server_time
        self._client.close()
        if response.status is None:
            what, _, advice = response.error.rpartition(": ")
            usual = "try again; if it stays so, ask Scantrust or whoever runs the network"
            yield failed(API, what or response.error, advice if what else usual)
            yield from skipped((TOKEN, PERMISSIONS, CLOCK), "a response of the API")
            return
        yield from self._judge(response, response.status)
        yield self._clock(between, theirs)

    def _judge(self, response: Response, status: int) -> Iterator[Check]:
        host = self._settings.base_url
        answers = ok(API, f"{host}: answers in {response.seconds:.2f} s")
        if status == 200 and response.document is not None:
            yield answers
            owner = response.document.get("email")
            known = isinstance(owner, str) and owner.isprintable() and owner
            yield ok(TOKEN, f"accepted, of {owner[:100]}" if known else "accepted")
            yield _permissions(missing(response.document))
            return
        says = f" ({status}{self._detail(response)})"
        if status in (401, 403):
            yield answers
            yield self._refused(response, status, says)
            needs = "an accepted token"
        elif status == 429:
            yield answers
            yield unknown(
                TOKEN,
                f"not told: the API throttles this machine or token{says}",
                "check again in a minute",
            )
            needs = "a response about the token"
        elif status in (408, 425) or status >= 500:
            text = f"{host}: is there and fails{says}"
            yield failed(
                API, text, "wait and check again; if it stays so, tell Scantrust's support"
            )
            yield from skipped((TOKEN,), "a working API")
            needs = "a working API"
        elif status == 407:
            yield failed(
                API, f"the proxy asks for a log-in{says}", "put user and password into api.proxy"
            )
            yield from skipped((TOKEN,), "the API")
            needs = "the API"
        else:
            yield failed(API, f"{host}: what answers is not the Scantrust API{says}", _ADDRESS)
            yield from skipped((TOKEN,), "the API")
            needs = "the API"
        yield from skipped((PERMISSIONS,), needs)

    def _refused(self, response: Response, status: int, says: str) -> Check:
        if status == 403 and response.document is None:
            return failed(
                TOKEN,
                f"the call is blocked{says}, by a firewall or proxy in front of the API rather "
                "than by the API",
                "have this machine's address and GET /api/v2/me/ allowed there",
            )
        where = "api.token_file" if self._settings.token_file else "api.token"
        return failed(
            TOKEN,
            f"refused{says}: wrong, expired or withdrawn",
            f"{_MAKE_ONE}; put it in {where}; staging and production have tokens of their own",
        )

    def _clock(self, ours: float, theirs: float | None) -> Check:
        if theirs is None:
            return unknown(CLOCK, "the API's response does not tell the time")
        off = ours - (theirs + 0.5)  # a Date is cut to whole seconds
        if abs(off) < CLOCK_SECONDS:
            return ok(CLOCK, "agrees with the API's")
        side = "ahead of" if off > 0 else "behind"
        text = f"this machine's clock is {abs(off):,.0f} s {side} the API's"
        judge = failed if abs(off) >= CLOCK_LIMIT_SECONDS else warning
        return judge(CLOCK, text, "set it right, best by NTP (timedatectl set-ntp true)")

    def _detail(self, response: Response) -> str:
        """Return what the API says in words, unless it repeats the token."""
        said = (response.document or {}).get("detail")
        if not isinstance(said, str) or not said.isprintable() or self._token.current() in said:
            return ""
        return f": {said[:200].rstrip('.')}"


def _permissions(lacking: list[str] | None) -> Check:
    if lacking is None:
        return unknown(
            PERMISSIONS,
            "codes_view, scm_bulk_edit, scm_code_edit, product_view: not told by this API",
        )
    if lacking:
        text = f"the token has no {' and no '.join(lacking)}"
        return failed(PERMISSIONS, text, f"a token's permissions cannot be changed: {_MAKE_ONE}")
    return ok(PERMISSIONS, "codes_view, scm_bulk_edit, scm_code_edit, product_view")
