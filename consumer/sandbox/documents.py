"""Documents of codes, as the API makes them: ordered, made after a while, fetched by a link.

Not thread-safe: every caller holds the store's lock.
"""

from __future__ import annotations

import csv
import io
import secrets
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from consumer.sandbox.rules import DEFAULT_DATA_KEY

#: Fields that have columns of their own; those of a campaign have the prefix ``scm_``.
OWN_COLUMNS = ("product", "activation_status", "blacklist_reason")
#: Another spelling of what the first columns are called; see the fault ``document_spelling``.
OTHER_SPELLINGS = {
    "extended_id": "Extended ID",
    "serial_number": "Serial number",
    "product": "Product SKU",
    "activation_status": "Status",
    "blacklist_reason": "Blacklist reason",
}
_STATUS_WORDS = {"0": "inactive", "1": "active", "2": "blacklisted"}


@dataclass(slots=True)
class SandboxDocument:
    """One document."""

    key: str
    file: str  #: the name by which its link leads to it
    ready_at: float  #: on the monotonic clock
    content: bytes
    codes: int
    failure: str | None = None


class Documents:
    """The documents that were ordered."""

    def __init__(self) -> None:
        self._by_key: dict[str, SandboxDocument] = {}
        self._by_file: dict[str, SandboxDocument] = {}

    def make(
        self, content: bytes, codes: int, seconds: float, failure: str | None
    ) -> SandboxDocument:
        """Begin a document that is ready after so many seconds."""
        document = SandboxDocument(
            secrets.token_hex(8),
            secrets.token_urlsafe(24),
            time.monotonic() + seconds,
            content,
            codes,
            failure,
        )
        self._by_key[document.key] = self._by_file[document.file] = document
        return document

    def find(self, key: str) -> SandboxDocument | None:
        """Return a document by its key."""
        return self._by_key.get(key)

    def of_file(self, name: str) -> SandboxDocument | None:
        """Return a document by the name in its link."""
        return self._by_file.get(name)


def selects(code: str, fields: Mapping[str, str], query: Mapping[str, str]) -> bool:
    """Return whether a code meets all filters of a query that the sandbox heeds."""
    for name, value in query.items():
        if name == DEFAULT_DATA_KEY:
            held = code
        elif name == "serial_number":
            held = fields.get(name, "")
        elif name == "products":
            held = fields.get("product", "")
        elif name == "status":
            held = fields.get("activation_status", "0")
        elif name.startswith("scm_"):
            held = fields.get(name.removeprefix("scm_"), "")
        else:
            continue
        if held not in value.split(","):
            return False
    return True


def as_csv(
    codes: Iterable[tuple[str, Mapping[str, str]]],
    fields: Iterable[str],
    left_out: Iterable[str] = (),
    *,
    other_spelling: bool = False,
) -> bytes:
    """Return the document; ``fields``: of all codes; ``left_out``: columns that it lacks."""
    missing = set(left_out)
    own = [DEFAULT_DATA_KEY, "serial_number", *OWN_COLUMNS]
    names = [name for name in own if name not in missing]
    names += sorted(name for name in fields if name not in own and name not in missing)
    out = io.StringIO()
    writer = csv.writer(out, delimiter=";" if other_spelling else ",", lineterminator="\r\n")
    writer.writerow([_column(name, own, other_spelling=other_spelling) for name in names])
    for code, held in codes:
        values = {"activation_status": "0", **held, DEFAULT_DATA_KEY: code}
        if other_spelling:
            status = values["activation_status"]
            values["activation_status"] = _STATUS_WORDS.get(status, status)
        writer.writerow([values.get(name, "") for name in names])
    return out.getvalue().encode()


def _column(name: str, own: Iterable[str], *, other_spelling: bool) -> str:
    if name not in own:
        return name if other_spelling else f"scm_{name}"
    return OTHER_SPELLINGS.get(name, name) if other_spelling else name
