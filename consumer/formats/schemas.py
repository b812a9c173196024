"""Read the schemas of an event that users get with the program."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from typing import Any


def read_schema(name: str) -> dict[str, Any]:
    """Return a shipped schema by its file name, from the installed package or from the checkout."""
    package = files("consumer")
    shipped = package / "schemas" / name
    if not shipped.is_file():
        shipped = Path(str(package)).parent / "schemas" / name
    schema: dict[str, Any] = json.loads(shipped.read_text(encoding="utf-8"))
    return schema
