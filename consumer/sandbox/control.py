"""The sandbox's own addresses, under ``/sandbox/``: what to look at and to switch; no token."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

import orjson

from consumer.sandbox.answers import SandboxResponse, as_json, detail
from consumer.sandbox.faults import checked
from consumer.sandbox.kinds import FaultError
from consumer.sandbox.store import codes_from

if TYPE_CHECKING:
    from consumer.sandbox import Sandbox

PREFIX = "/sandbox/"
MOST_CODES = 1_000_000  #: of one call that fills units
PAGE = 10_000  #: journal entries of one answer, unless ``limit`` says otherwise


def control(sandbox: Sandbox, method: str, path: str, query: str, body: bytes) -> SandboxResponse:
    """Answer a call to the sandbox itself."""
    name, _, rest = path.removeprefix(PREFIX).strip("/").partition("/")
    try:
        if name == "faults":
            return _faults(sandbox, method, rest, body)
        if rest:
            return detail(404, f"Nothing at {path}.")
        if method == "GET":
            return _look(sandbox, name, query)
        if method == "POST":
            return _change(sandbox, name, body)
    except (ValueError, orjson.JSONDecodeError) as error:
        return detail(400, str(error))
    return detail(405, f"{method} is not for {path}.")


def _look(sandbox: Sandbox, name: str, query: str) -> SandboxResponse:
    if name == "journal":
        asked = {key: values[-1] for key, values in parse_qs(query).items()}
        after, limit = (
            _count(asked, key, default) for key, default in (("after", 0), ("limit", PAGE))
        )
        return as_json(200, sandbox.journal(after, limit))
    look = {
        "state": sandbox.state,
        "rules": sandbox.rules,
        "stats": sandbox.stats,
        "tasks": sandbox.tasks,
    }.get(name)
    return as_json(200, look()) if look else detail(404, f"Nothing to look at: {name!r}.")


def _count(asked: dict[str, str], name: str, default: int) -> int:
    text = asked.get(name, str(default))
    if not text.isascii() or not text.isdigit():
        raise ValueError(f"{name} must be a whole number, not {text!r}")
    return int(text)


def _change(sandbox: Sandbox, name: str, body: bytes) -> SandboxResponse:
    if name == "reset":
        sandbox.reset()
        return as_json(200, {})
    if name == "codes":
        document = orjson.loads(body)
        if (
            not isinstance(document, dict)
            or "codes" not in document
            or document.keys() - {"codes", "only"}
        ):
            raise ValueError('the body must be {"codes": [...] or {...}, "only": true or false}')
        codes = codes_from(document["codes"])
        sandbox.load(codes, only=document.get("only", True) is True)
        return as_json(200, {"loaded": len(codes)})
    if name == "units":
        return as_json(200, {"codes": sandbox.fill(*_units(orjson.loads(body)))})
    return detail(404, f"Nothing to change: {name!r}.")


def _units(document: object) -> tuple[str, list[str], int, dict[str, str]]:
    match document:
        case {"field": str(field), "units": list(units), "codes": int(codes), **rest}:
            fields: Any = rest.pop("fields", {})
            texts = [field, *units, *(fields.values() if isinstance(fields, dict) else [None])]
            if (
                not rest
                and codes > 0
                and units
                and all(isinstance(text, str) and text for text in texts)
            ):
                if codes * len(units) > MOST_CODES:
                    raise ValueError(f"at most {MOST_CODES:,} codes at once")
                return field, units, codes, fields
    raise ValueError(
        'the body must be {"field": "pallet_code", "units": [names], '
        '"codes": how many in each, "fields": {}}'
    )


def _faults(sandbox: Sandbox, method: str, rest: str, body: bytes) -> SandboxResponse:
    if method == "POST" and not rest:
        document = orjson.loads(body)
        # all or none: a list with one wrong fault switches nothing on
        wanted = [
            checked(entry) for entry in (document if isinstance(document, list) else [document])
        ]
        return as_json(200, {"ids": [sandbox.faults.add(**parameters) for parameters in wanted]})
    if method == "GET" and not rest:
        return as_json(200, sandbox.faults.listed())
    if method == "DELETE":
        if not rest:
            sandbox.faults.clear()
        elif not rest.isdigit() or not sandbox.faults.remove(int(rest)):
            raise FaultError(f"no fault has the id {rest!r}")
        return as_json(200, {})
    return detail(405, f"{method} is not for {PREFIX}faults.")
