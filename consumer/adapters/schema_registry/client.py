"""Schemas by id, and those they refer to: two plain GETs of the registry's REST interface.

``GET /schemas/ids/{id}`` (newer registries: ``/schemas/guids/{guid}``) and
``GET /subjects/{subject}/versions/{version}``, as Confluent's reference of its API describes
them. Nothing is kept, tried again or redirected here.
"""

from __future__ import annotations

import os
import ssl
from typing import Any, NamedTuple
from urllib.parse import quote

import orjson
import requests
from requests.adapters import HTTPAdapter
from requests.auth import HTTPBasicAuth
from requests.utils import DEFAULT_CA_BUNDLE_PATH

from consumer.errors import ConfigError
from consumer.hiding import known

#: Time for a connection and for each part of a response.
CALL_SECONDS = 5.0
#: The registry's own codes for a schema, subject or version that is not there. Any other 404 is a
#: wrong address.
NOT_THERE = range(40400, 40500)

_ACCEPT = "application/vnd.schemaregistry.v1+json, application/json"


class Reference(NamedTuple):
    """Another schema that one refers to."""

    subject: str
    version: int


class RegisteredSchema(NamedTuple):
    """A schema as the registry gives it; its type is ``AVRO``, ``JSON`` or ``PROTOBUF``."""

    kind: str
    text: str
    references: list[Reference]


class RegistryError(Exception):
    """The registry responded with an error; ``code``: its own, beside the status of HTTP."""

    def __init__(self, status: int, code: object = None) -> None:
        super().__init__(f"HTTP {status}")
        self.status = status
        self.code = code

    @property
    def not_there(self) -> bool:
        """Return whether the registry says that it has no such schema, subject or version."""
        return isinstance(self.code, int) and self.code in NOT_THERE


class NoRegistryError(Exception):
    """The response is none of a schema registry."""


class RegistryClient:
    """One session with the registry; for one thread at a time.

    No proxy and no log-in of the environment (``http_proxy``, ``.netrc``) is used: a proxy would
    see the password. Certificates are verified by ``SSL_CERT_FILE``, else by ``SSL_CERT_DIR``, else
    by those that come with requests. Raise ConfigError for certificates that cannot be read.
    """

    def __init__(self, url: str, user: str = "", password: str = "") -> None:
        self._url = url.rstrip("/")
        self._session = requests.Session()
        self._session.trust_env = False
        self._session.mount("https://", _Verifying(_tls_context(url)))
        self._session.headers["Accept"] = _ACCEPT
        if user:
            known.add_login(user, password)
            self._session.auth = HTTPBasicAuth(user.encode(), password.encode())

    def schema(self, schema_id: int | str) -> RegisteredSchema:
        """Return a schema by its id or, in text, its GUID; see ``explain`` for what is raised."""
        by = "guids" if isinstance(schema_id, str) else "ids"
        return self._get(f"/schemas/{by}/{schema_id}")

    def version(self, reference: Reference) -> RegisteredSchema:
        """Return a version of a subject's schema; see ``explain`` for what is raised."""
        return self._get(
            f"/subjects/{quote(reference.subject, safe='')}/versions/{reference.version}"
        )

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def _get(self, path: str) -> RegisteredSchema:
        response = self._session.get(self._url + path, timeout=CALL_SECONDS, allow_redirects=False)
        if response.status_code != 200:
            raise RegistryError(response.status_code, _error_code(response.content))
        return _schema(response.content)


def explain(error: Exception, url: str) -> str:
    """Return why a call of the registry failed and what to do about it, in one line.

    It never shows a password.
    """
    if isinstance(error, RegistryError):
        return _explain_status(error.status, url)
    if isinstance(error, NoRegistryError):
        return f"what answers at {url} is no schema registry: check schema_registry.url"
    cause = _first_cause(error)
    reason = known.text(" ".join(str(cause).split()))[:150] or type(cause).__name__
    return (
        f"the schema registry at {url} does not answer ({reason}): "
        "check schema_registry.url, and that the registry is up"
    )


def _explain_status(status: int, url: str) -> str:
    if status in (401, 403):
        return (
            f"the schema registry at {url} refuses the log-in ({status}): "
            "check schema_registry.user and schema_registry.password"
        )
    if status == 429 or status >= 500:
        return (
            f"the schema registry at {url} answers {status}: it has trouble of its own; see its log"
        )
    return (
        f"the schema registry at {url} answers {status}: is this its address? "
        "check schema_registry.url"
    )


class _Verifying(HTTPAdapter):
    """Verify by one TLS context, and by nothing that requests would add to it."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        super().__init__()

    def init_poolmanager(self, *arguments: Any, **more: Any) -> None:
        super().init_poolmanager(*arguments, ssl_context=self._context, **more)

    def cert_verify(self, *arguments: Any, **more: Any) -> None:
        """Add no certificates to the context."""


def _tls_context(url: str) -> ssl.SSLContext:
    file, folder = os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR")
    try:
        if file or not folder:
            return ssl.create_default_context(cafile=file or DEFAULT_CA_BUNDLE_PATH)
        return ssl.create_default_context(capath=folder)
    except OSError as error:
        problem = (
            f"certificates cannot be read ({error}); "
            "check SSL_CERT_FILE and SSL_CERT_DIR in the environment"
        )
        raise ConfigError([f"schema_registry.url = {url}: {problem}"]) from None


def _schema(body: bytes) -> RegisteredSchema:
    try:
        document: Any = orjson.loads(body)
        references = [
            Reference(str(reference["subject"]), int(reference["version"]))
            for reference in document.get("references") or ()
        ]
        return RegisteredSchema(
            document.get("schemaType") or "AVRO", document["schema"], references
        )
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise NoRegistryError from error


def _error_code(body: bytes) -> object:
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    return document.get("error_code") if isinstance(document, dict) else None


def _first_cause(error: BaseException) -> BaseException:
    while (cause := error.__cause__ or error.__context__) is not None:
        error = cause
    return error
