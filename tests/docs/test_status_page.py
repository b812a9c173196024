"""docs/status.md: every key of ``/status``, every cause and every wait, and no other."""

from __future__ import annotations

import re

import msgspec
import pytest

from consumer.core.oldest import Wait
from consumer.ops.history import HistorySample
from consumer.ops.lag_status import LagStatus
from consumer.ops.paths import PERCENTILES
from consumer.ops.status import (
    ApiStatus,
    OldestStatus,
    PartitionStatus,
    RejectionsStatus,
    RequestsStatus,
    RowsStatus,
    Snapshot,
    Trouble,
    WindowsStatus,
)
from consumer.ops.troubles.causes import BY_NAME, NAMES
from tests.docs.blocks import ROOT

PAGE = (ROOT / "docs" / "status.md").read_text(encoding="utf-8")


def _tables(heading: str) -> list[list[list[str]]]:
    """Return the tables of a section: their rows, without the heads, by cells."""
    section = re.split(r"\n#+ ", PAGE.partition(f"# {heading}\n")[2])[0]
    tables = re.findall(r"(?:^\|.*\n)+", section, re.MULTILINE)
    return [
        [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()[2:]]
        for table in tables
    ]


def _names(heading: str, table: int = 0) -> list[str]:
    """Return the names in the first column of a table."""
    return [name for row in _tables(heading)[table] for name in re.findall(r"`(\w+)`", row[0])]


@pytest.mark.parametrize(
    ("heading", "struct"),
    [
        ("The whole", Snapshot),
        ("Troubles", Trouble),
        ("Partitions", PartitionStatus),
        ("The oldest record", OldestStatus),
        ("Rows", RowsStatus),
        ("Windows", WindowsStatus),
        ("Requests", RequestsStatus),
        ("The API", ApiStatus),
        ("Rejections", RejectionsStatus),
        ("Lag", LagStatus),
        ("History", HistorySample),
    ],
)
def test_every_key_is_told_and_no_other(heading: str, struct: type[msgspec.Struct]) -> None:
    assert sorted(_names(heading)) == sorted(struct.__struct_fields__)


def test_the_members_of_lists_are_told() -> None:
    for struct in (WindowsStatus, RejectionsStatus):
        for field in msgspec.structs.fields(struct):
            inner = getattr(field.type, "__args__", (None,))[0]
            if isinstance(inner, type) and issubclass(inner, msgspec.Struct):
                (cell,) = (
                    row[1]
                    for heading in ("Windows", "Rejections")
                    for row in _tables(heading)[0]
                    if row[0] == f"`{field.name}`"
                )
                told = re.findall(r"`(\w+)`", cell)
                assert sorted(told) == sorted(inner.__struct_fields__), field.name


def test_every_cause_is_told_with_its_severity() -> None:
    told = {
        name: row[1] for row in _tables("Troubles")[1] for name in re.findall(r"`(\w+)`", row[0])
    }
    assert sorted(told) == sorted(NAMES)
    for name, severity in told.items():
        if name != "kafka_away":
            assert severity == BY_NAME[name].severity, name


def test_every_wait_is_told() -> None:
    of_the_core = {wait.value for wait in Wait} - {Wait.ROWS.value}
    assert set(_names("The oldest record", 1)) == of_the_core | {
        "schema",
        "room",
        "pause",
        "group",
        "stop",
    }


def test_the_percentiles_are_told() -> None:
    section = PAGE.partition("\n## Histograms\n")[2]
    assert re.findall(r"`(p\d+)`", section) == [f"p{percent}" for percent in PERCENTILES]
