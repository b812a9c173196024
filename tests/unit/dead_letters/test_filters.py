"""The filters that all subcommands of ``dlq`` have in common."""

from __future__ import annotations

from typing import Any

import pytest

from consumer.dead_letters.filters import Filter
from tests.unit.dead_letters.letters import letter


@pytest.mark.parametrize(
    ("wanted", "matches"),
    [
        ({}, True),
        ({"reasons": ("unknown_key",)}, False),
        ({"reasons": ("unknown_key", "rejected_by_api")}, True),
        ({"reasons": ("rejected_by_api",), "keys": ("OTHER",)}, False),
        ({"keys": ("CODE-7",), "data_keys": ("extended_id",)}, True),
        ({"keys": ("code-7",)}, False),
        ({"fields": ("product",)}, True),
        ({"messages": ("sku", "PRODUCT")}, True),
        ({"messages": ("sku",)}, False),
        ({"sources": (("scm.events", None),)}, True),
        ({"sources": (("scm.events", 1), ("scm.events", 0))}, True),
        ({"sources": (("scm.events", 1),)}, False),
        ({"since": 1_800_000_000.007}, True),
        ({"since": 1_800_000_000.008}, False),
        ({"until": 1_800_000_000.008}, True),
        ({"until": 1_800_000_000.007}, False),
    ],
)
def test_all_conditions_hold_and_of_several_values_any(
    wanted: dict[str, Any], matches: bool
) -> None:
    assert Filter(**wanted).matches(letter(7)) is matches


def test_a_letter_of_which_it_is_not_known_matches_no_value() -> None:
    unknown = letter(7, source=None, key_value=None, field=None)
    for wanted in ({"sources": (("scm.events", None),)}, {"keys": ("",)}, {"fields": ("x",)}):
        assert not Filter(**wanted).matches(unknown)
