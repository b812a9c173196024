"""A mistake in the settings, in words that hold no secret."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from consumer.config.keys import CLIENT, toml_value
from consumer.config.masking import masked_value
from consumer.hiding import HIDDEN

#: A file's name that is hardly one: what somebody writes who takes token_file for token.
_TOKEN_LIKE = re.compile(r"[A-Za-z0-9_=+-]{16,}|[^/\\]{40,}")


class Problem(NamedTuple):
    """A mistake. ``text`` follows the name of the first of ``paths``.

    It is not shown while any of the paths is wrong in itself.
    """

    paths: tuple[str, ...]
    text: str


def wrong(path: str, value: object, message: str, *others: str) -> Problem:
    """Return the problem of a value, shown without secrets; ``message``: what is wrong with it."""
    name = path.removeprefix(f"{CLIENT}.") if path.startswith(CLIENT) else path.rpartition(".")[2]
    return Problem((path, *others), f" = {toml_value(masked_value(name, value))}: {message}")


def unreadable(path: str, file: str) -> Iterator[Problem]:
    """Yield the problem of a file that cannot be read, if it cannot."""
    try:
        Path(file).read_bytes()
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "not the name of a file"
        advice = "give a file that is there and that this user may read"
        if path == "api.token_file" and _TOKEN_LIKE.fullmatch(file):
            yield Problem(
                (path,),
                f" = {HIDDEN}: cannot be read ({why}); "
                f"a token itself goes to api.token; else {advice}",
            )
        else:
            yield wrong(path, file, f"cannot be read ({why}); {advice}")
