"""Say all that is wrong with a table's header, and with the options that go with it, at once."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

from consumer.core.rows.special_fields import SPECIAL_FIELDS, field_problem, field_rules
from consumer.core.rows.validation import quoted

_SPECIAL = frozenset(field.name for field in SPECIAL_FIELDS if not field.setting)


@dataclass(frozen=True, slots=True)
class Wanted:
    """The demands on a table's header."""

    data_key: str  #: the column of the codes
    order_by: str = ""  #: the field that is the record's key; empty: the code itself
    known: Collection[str] = ()  #: fields that mean something to the consumer
    date_fields: Collection[str] = ()
    constants: Mapping[str, str] = field(default_factory=dict)  #: fields of every line


def header_problems(names: list[str], wanted: Wanted) -> Iterator[str]:
    """Yield all that is wrong with the names of the columns; unnamed ones are passed over."""
    data_key, constants = wanted.data_key, wanted.constants
    if data_key not in names:
        yield (
            f"the header has no column {quoted(data_key)}, the data key: "
            "rename the column of the codes to that; if it is another key field of the API, "
            "such as serial_number, name that with --data-key"
        )
    for name, count in Counter(names).items():
        if not name.strip():
            continue
        if count > 1:
            yield f"the header names {quoted(name)} {count} times"
        yield from _misspelt("the header", name, wanted)
    for name in constants:
        if name in names:
            yield f"--set names {quoted(name)}, which is a column of the table"
        elif name == data_key:
            yield f"--set names {quoted(name)}, the data key: every line would have one code"
        yield from _misspelt("--set", name, wanted)
    rules = field_rules(wanted.date_fields)
    for name, value in constants.items():
        if (wrong := field_problem(rules.get(name), name, value)) is not None:
            yield f"--set: {wrong.message}"
    if wanted.order_by and wanted.order_by not in [*names, *constants]:
        yield (
            f"the header has no column {quoted(wanted.order_by)}, "
            "which is to be the record's key (--key)"
        )
    if not constants and sum(bool(name.strip()) for name in names) == 1:
        yield "the header names no field to set"


def _misspelt(where: str, name: str, wanted: Wanted) -> Iterator[str]:
    """Yield what is wrong with a name that differs from one that is meant by blanks or case."""
    plain = {one.casefold(): one for one in {wanted.data_key, *wanted.known, *_SPECIAL}}
    bare = "".join(c for c in name if unicodedata.category(c) != "Cf").strip()
    meant = plain.get(bare.casefold(), bare)
    if name != meant:
        yield (
            f"{where} names {quoted(name)}, which is another field than {quoted(meant)}: "
            "the API would discard it, or its value would pass unchecked"
        )
