"""Find a token's permissions in the response of ``GET /api/v2/me/``, whatever their form.

The form is not documented, so several usual ones are read: a list of names or of objects with a
name, a table of name → true, a text with blanks or commas; in any object of the response, with or
without a prefix.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

#: Permissions that an upload needs (guide to synchronous uploads, "UAT token permissions").
NEEDED = ("codes_view", "scm_bulk_edit", "scm_code_edit", "product_view")
#: Names from the portal that show that the response is about the same kind of permission.
_KIN = {*NEEDED, "brand_create", "product_create", "scans_download"}

_LISTS = re.compile(r"permission|scope|access_rights|grants", re.IGNORECASE)
_TOKEN = re.compile(r"token|uat", re.IGNORECASE)
_NAME_KEYS = ("codename", "code", "slug", "name", "key", "permission")
_DEPTH = 5


def missing(document: dict[str, Any]) -> list[str] | None:
    """Return those of ``NEEDED`` that the response does not list; None if it lists none at all."""
    # The token's own permissions count more than its user's.
    of_token = {
        name
        for key, part in document.items()
        if _TOKEN.search(key)
        for name in _listed(part, _DEPTH)
    }
    names = of_token or set(_listed(document, _DEPTH))
    return [name for name in NEEDED if name not in names] if names & _KIN else None


def _listed(part: Any, depth: int) -> Iterator[str]:
    if depth <= 0:
        return
    if isinstance(part, dict):
        for key, value in part.items():
            if isinstance(key, str) and _LISTS.search(key):
                yield from _names(value, depth - 1)
            else:
                yield from _listed(value, depth - 1)
    elif isinstance(part, list):
        for value in part:
            yield from _listed(value, depth - 1)


def _names(value: Any, depth: int) -> Iterator[str]:
    """Yield the names in a list of permissions, whatever its form."""
    if isinstance(value, str):
        for name in re.split(r"[\s,]+", value):
            yield re.split(r"[.:/]", name)[-1].lower().replace("-", "_")
    elif isinstance(value, list):
        for entry in value:
            yield from _names(entry, depth - 1)
    elif isinstance(value, dict) and depth > 0:
        named = next((value[key] for key in _NAME_KEYS if isinstance(value.get(key), str)), None)
        if named is not None:
            yield from _names(named, depth - 1)
        else:
            for name, held in value.items():
                if held is True:
                    yield from _names(name, depth - 1)
                else:
                    yield from _names(held, depth - 1)
