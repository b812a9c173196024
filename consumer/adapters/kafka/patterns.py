"""Topic patterns: one meaning in both group protocols, and in what this program works out itself.

With the classic protocol the client compares by POSIX extended syntax, anywhere in a name; with
``consumer`` (KIP-848) the broker compares whole names by RE2. Python's syntax is used here. What
they read otherwise than each other is refused, and a pattern for the broker is widened to match
anywhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

#: A class such as [[:alpha:]], an escaped letter or digit that not all know (\d is a "d" in POSIX),
#: and a backslash in brackets (there it is a character of its own in POSIX).
_READ_DIFFERENTLY = re.compile(r"\[:\w+:\]|\\[^\W_wWsSbB]|\[[^\]]*\\")


def is_pattern(topic: str) -> bool:
    """Return whether an entry of ``kafka.topics`` is a pattern."""
    return topic.startswith("^")


def read_differently(pattern: str) -> bool:
    """Return whether clients, brokers and this program would not all mean the same by it."""
    return _READ_DIFFERENTLY.search(pattern) is not None


def matching(pattern: str, names: Iterable[str]) -> list[str]:
    """Return the names that a pattern matches; raise re.error when it is none."""
    compiled = re.compile(pattern)
    return [name for name in names if compiled.search(name)]


def for_the_broker(topics: Sequence[str]) -> list[str]:
    """Return names and patterns for a broker that compares whole names."""
    return [f"^.*({topic}).*$" if is_pattern(topic) else topic for topic in topics]
