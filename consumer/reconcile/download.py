"""Fetch the API's document of codes: it is ordered, made there, and then fetched by a link.

``GET /api/v2/codes/download/`` gives the document's key, ``GET /api/v2/documents/KEY/`` how it is,
``GET /api/v2/documents/KEY/get-download-link/`` where it lies (the public developer portal). None
of their answers is documented field by field, so they are read tolerantly. The link may lead to
another host: no token is sent there.
"""

from __future__ import annotations

import gzip
import logging
import shutil
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, NamedTuple
from urllib.parse import quote, urljoin, urlsplit

import requests
from requests.utils import DEFAULT_CA_BUNDLE_PATH

from consumer import __version__
from consumer.adapters.scantrust.token import TokenSource
from consumer.config.settings import ApiSettings
from consumer.errors import UserError

log = logging.getLogger(__name__)

CODES_PATH = "/api/v2/codes/download/"
DOCUMENT_PATH = "/api/v2/documents/{}/"
LINK_PATH = "/api/v2/documents/{}/get-download-link/"

CALL_SECONDS = 60.0
#: How often a call is tried that the API does not answer, or answers with 429 or 5xx.
TRIES = 8
#: The longest wait between two tries.
MAX_WAIT_SECONDS = 60.0
#: How long the API may take to make the document.
READY_SECONDS = 2 * 3600.0
CHUNK = 1 << 16

_STATES = ("status", "state", "document_status", "progress_status")
_DONE = frozenset({"ready", "done", "complete", "completed", "finished", "success", "available"})
_FAILED = frozenset({"failed", "failure", "error", "errored", "cancelled", "canceled", "expired"})
_LINKS = ("link", "url", "download_link", "download_url", "downloadLink", "href")
#: Where an answer may hold what is asked for.
_INSIDE = ("document", "data", "result", "results")


class FetchError(UserError):
    """The API does not give the document; what to do is said."""


class Fetched(NamedTuple):
    """A document that is in a file here."""

    path: Path
    codes: int | None  #: as many as the API says that it holds; None: it does not say


class CodesDownload:
    """Fetches documents of codes at a pace of its own. Raises FetchError."""

    def __init__(
        self,
        settings: ApiSettings,
        rate: float,
        *,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``rate``: calls a second, at most; they are not part of the uploads' budget."""
        self._base = settings.base_url.rstrip("/")
        self._token = TokenSource(settings.token.get_secret_value(), settings.token_file)
        self._timeout = (settings.connect_timeout_seconds, CALL_SECONDS)
        self._session = requests.Session()
        self._session.trust_env = False
        self._session.verify = settings.ca_file or DEFAULT_CA_BUNDLE_PATH
        if settings.proxy:
            proxy = settings.proxy if "://" in settings.proxy else f"http://{settings.proxy}"
            self._session.proxies = {"http": proxy, "https": proxy}
        self._session.headers["User-Agent"] = f"scm-consumer/{__version__}"
        self._allow_plain_http = settings.allow_plain_http
        self._interval = 1.0 / rate
        self._sleep = sleep
        self._clock = clock
        self._next_at = 0.0

    def fetch(self, filters: Mapping[str, str], path: Path) -> Fetched:
        """Fetch the document of the codes that these filters select, into a file."""
        ordered = self._json(CODES_PATH, filters)
        key = _found(ordered, ("key", "document_key", "id"))
        if not isinstance(key, str | int) or isinstance(key, bool) or not str(key):
            raise FetchError(
                f"the API has not told the key of the document that was ordered ({CODES_PATH}): "
                "download it in the portal, and give it as --download FILE"
            )
        name = quote(str(key), safe="")
        document = self._wait(DOCUMENT_PATH.format(name))
        answer = self._json(LINK_PATH.format(name), {})
        link = answer if isinstance(answer, str) else _found(answer, _LINKS)
        if not isinstance(link, str) or not link:
            raise FetchError(
                "the API has not told where the document lies: download it in the portal, and "
                "give it as --download FILE"
            )
        self._save(urljoin(f"{self._base}/", link), path)
        count = _found(document, ("count", "total", "total_codes", "codes_count", "row_count"))
        return Fetched(path, count if type(count) is int else None)

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def _wait(self, path: str) -> Any:
        """Wait until the document is ready; return what the API says of it."""
        until = self._clock() + READY_SECONDS
        said = ""
        while True:
            answer = self._json(path, {})
            state = _state(answer)
            if state in _DONE:
                return answer
            if state in _FAILED:
                why = _found(answer, ("message", "error", "detail", "reason"))
                because = f" ({str(why)[:200]})" if isinstance(why, str) and why else ""
                raise FetchError(f"the API could not make the document{because}; run again")
            if self._clock() > until:
                raise FetchError(
                    f"the document is not ready after {READY_SECONDS / 3600:g} hours "
                    f"(the API says {state or 'nothing'}); run again later"
                )
            if state != said:
                said = state
                log.info("the API makes the document (%s)", state or "no state told")

    def _json(self, path: str, query: Mapping[str, str]) -> Any:
        """Return the answer to one GET; a 200 that is not JSON is none of this API."""
        response = self._get(path, query)
        try:
            return response.json()
        except ValueError:
            text = response.text.strip()
            if path.endswith("get-download-link/") and text.startswith(("https://", "http://")):
                return text
            raise FetchError(
                f"{path}: the answer is no JSON: is api.base_url ({self._base}) the API's root?"
            ) from None

    def _get(self, path: str, query: Mapping[str, str]) -> requests.Response:
        problem = ""
        for number in range(TRIES):
            if number:
                self._sleep(min(MAX_WAIT_SECONDS, 2.0 ** (number - 1)))
            self._keep_pace()
            try:
                response = self._session.get(
                    self._base + path,
                    params=dict(query),
                    headers={"Authorization": f"UAT {self._token.current()}"},
                    timeout=self._timeout,
                    allow_redirects=False,
                )
            except requests.RequestException as error:
                problem = f"no answer ({_kind_of(error)})"
                continue
            if response.status_code == 200:
                return response
            if response.status_code == 401 and self._token.refresh():
                continue
            problem = f"HTTP {response.status_code}"
            if response.status_code == 429:
                self._sleep(_retry_after(response))
            elif response.status_code < 500:
                raise FetchError(f"{path}: {problem}: {_advice(response.status_code)}")
        raise FetchError(f"{path}: {problem}, {TRIES} times: the API is not there; run again later")

    def _save(self, link: str, path: Path) -> None:
        problem = ""
        for number in range(TRIES):
            if number:
                self._sleep(min(MAX_WAIT_SECONDS, 2.0 ** (number - 1)))
            self._keep_pace()
            try:
                problem = self._saved(link, path)
            except (requests.RequestException, OSError, EOFError) as error:
                problem = f"it broke off ({_kind_of(error)})"
            if not problem:
                return
        raise FetchError(f"the document cannot be fetched: {problem}; run again later")

    def _saved(self, link: str, path: Path) -> str:
        """Fetch the link into the file; return what is wrong, or an empty text."""
        parts = urlsplit(link)
        own = urlsplit(self._base)
        if parts.scheme == "http" and own.scheme == "https" and not self._allow_plain_http:
            raise FetchError(
                "the document's link is not encrypted (http); api.allow_plain_http = true allows it"
            )
        # The link itself gives access: it is told to nobody, and a token is sent nowhere else.
        headers = {"Accept-Encoding": "identity"}
        if parts[:2] == own[:2]:
            headers["Authorization"] = f"UAT {self._token.current()}"
        with self._session.get(
            link, headers=headers, timeout=self._timeout, stream=True, allow_redirects=True
        ) as response:
            if response.status_code != 200:
                return f"HTTP {response.status_code}"
            size = 0
            with path.open("wb") as file:
                for chunk in response.iter_content(CHUNK):
                    size += len(chunk)
                    file.write(chunk)
            told = response.headers.get("Content-Length", "")
            if told.isdigit() and size != int(told):
                return f"{size:,} of {int(told):,} bytes came"
        _unpack(path)
        return ""

    def _keep_pace(self) -> None:
        now = self._clock()
        if now < self._next_at:
            self._sleep(self._next_at - now)
        self._next_at = max(now, self._next_at) + self._interval


def _unpack(path: Path) -> None:
    """Replace a gzip file, or an archive with one file in it, by what is in it."""
    with path.open("rb") as file:
        start = file.read(4)
    if start[:2] != b"\x1f\x8b" and start != b"PK\x03\x04":
        return
    unpacked = path.with_suffix(".unpacked")
    with _packed(path, start) as source, unpacked.open("wb") as target:
        shutil.copyfileobj(source, target, CHUNK)
    unpacked.replace(path)


def _packed(path: Path, start: bytes) -> IO[bytes]:
    if start[:2] == b"\x1f\x8b":
        return gzip.open(path)  # type: ignore[return-value]  # it reads bytes
    archive = zipfile.ZipFile(path)
    names = archive.namelist()
    if len(names) != 1:
        raise FetchError(f"the document is an archive of {len(names)} files, and not of one")
    return archive.open(names[0])


def _objects(answer: Any) -> Iterator[Mapping[str, Any]]:
    """Yield an answer's objects: itself, and what usual members of it hold."""
    if isinstance(answer, Mapping):
        for name in _INSIDE:
            inner = answer.get(name)
            if isinstance(inner, Mapping):
                yield inner
        yield answer


def _found(answer: Any, names: tuple[str, ...]) -> Any:
    return next(
        (
            inner[name]
            for inner in _objects(answer)
            for name in names
            if inner.get(name) not in (None, "")
        ),
        None,
    )


def _state(answer: Any) -> str:
    """Return the document's state in small letters; empty: none is told."""
    for inner in _objects(answer):
        for name in ("is_ready", "ready", "is_complete", "completed"):
            if inner.get(name) is True:
                return "ready"
        if any(inner.get(name) is True for name in ("is_failed", "failed")):
            return "failed"
        for name in _STATES:
            state = inner.get(name)
            if isinstance(state, str) and state:
                return state.strip().lower()
    return ""


def _retry_after(response: requests.Response) -> float:
    told = response.headers.get("Retry-After", "")
    return min(900.0, float(told)) if told.isdigit() else 5.0


def _advice(status: int) -> str:
    if status == 401:
        return "the token is not accepted: renew it in the portal (api.token, api.token_file)"
    if status == 403:
        return "the token may not read codes: it needs the permission codes_view"
    if status == 404:
        return "not there: is api.base_url the API's root? Else give a document as --download FILE"
    return "the API refuses; give a document as --download FILE"


def _kind_of(error: Exception) -> str:
    """Return the kind of a failure; never its text, which may hold the link."""
    if isinstance(error, requests.Timeout):
        return "time-out"
    if isinstance(error, requests.exceptions.SSLError):
        return "TLS: the certificate is not trusted, or none is offered"
    if isinstance(error, requests.ConnectionError):
        return "connection refused or lost"
    return type(error).__name__
