"""A viewer reads all that ``/status`` has: no member of the one is missing in the other."""

from __future__ import annotations

import types
import typing
from typing import Any

import msgspec

from consumer.core.counters import Histogram
from consumer.ops.status import Snapshot
from consumer.ops.view.document import Distribution, Status
from tests.support import status_samples
from tests.support.status_samples import Document


def struct_of(kind: Any) -> Any:
    """Return the struct in an annotation, in a list or beside None too; None: there is none."""
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return kind
    if typing.get_origin(kind) in (list, types.UnionType, typing.Union):
        return next(filter(None, map(struct_of, typing.get_args(kind))), None)
    return None


def missing(read: Any, given: Any, path: str = "") -> list[str]:
    """Return the members that are read and not given."""
    found: list[str] = []
    names = typing.get_type_hints(given)
    for name, kind in typing.get_type_hints(read).items():
        if name not in names:
            found.append(f"{path}{name}")
            continue
        inner, theirs = struct_of(kind), struct_of(names[name])
        if inner is not None and not (inner is Distribution and theirs is Histogram):
            found += missing(inner, theirs, f"{path}{name}.")
    return found


def unknown(document: Document, given: Any, path: str = "") -> list[str]:
    """Return the members of a sample that a snapshot has not."""
    names = typing.get_type_hints(given)
    found = [f"{path}{name}" for name in document if name not in names]
    for name, value in document.items():
        inner = struct_of(names.get(name))
        if inner is None or inner is Histogram:
            continue
        for each in value if isinstance(value, list) else [value]:
            if isinstance(each, dict):
                found += unknown(each, inner, f"{path}{name}.")
    return found


def test_all_that_is_read_is_given() -> None:
    assert missing(Status, Snapshot) == []


def test_the_samples_are_of_what_is_given() -> None:
    for sample in status_samples.SAMPLES.values():
        assert unknown(sample(), Snapshot) == []
