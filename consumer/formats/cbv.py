"""Words of GS1's Core Business Vocabulary (CBV 2.0): steps, dispositions, master data.

Each has three spellings: the bare word, the URN of EPCIS 1.x, and the web address of EPCIS 2.0. A
word is known in the place only that it is made for: a step is no disposition. Anything else is a
name of somebody's own, and stays as it stands.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_STEP = re.compile(
    r"(?:urn:epcglobal:cbv:bizstep:|(?:https?://(?:ref|ns)\.gs1\.org/cbv/|cbv:)BizStep-)(\w+)",
    re.ASCII,
)
_DISPOSITION = re.compile(
    r"(?:urn:epcglobal:cbv:disp:|(?:https?://(?:ref|ns)\.gs1\.org/cbv/|cbv:)Disp-)(\w+)", re.ASCII
)
_CLAIMED = re.compile(r"urn:epcglobal:cbv:|https?://(?:ref|ns)\.gs1\.org/cbv/|cbv:", re.IGNORECASE)

#: CBV 2.0, 7.1. Whoever sends one in place of a disposition means something else.
STEPS = frozenset({
    "accepting", "arriving", "assembling", "collecting", "commissioning", "consigning",
    "creating_class_instance", "cycle_counting", "decommissioning", "departing", "destroying",
    "disassembling", "dispensing", "encoding", "entering_exiting", "holding", "inspecting",
    "installing", "killing", "loading", "other", "packing", "picking", "receiving", "removing",
    "repackaging", "repairing", "replacing", "reserving", "retail_selling", "sampling",
    "sensor_reporting", "shipping", "staging_outbound", "stock_taking", "stocking", "storing",
    "transporting", "unloading", "unpacking", "void_shipping",
})  # fmt: skip
#: CBV 2.0, 7.2. Without a rule of their own they say nothing; any other word is not understood.
DISPOSITIONS = frozenset({
    "active", "available", "completeness_inferred", "completeness_verified", "conformant",
    "container_closed", "container_open", "damaged", "destroyed", "dispensed", "disposed",
    "encoded", "expired", "in_progress", "in_transit", "inactive", "mismatch_class",
    "mismatch_instance", "mismatch_quantity", "needs_replacement", "no_pedigree_match",
    "non_conformant", "non_sellable_other", "partially_dispensed", "recalled", "reserved",
    "retail_sold", "returned", "sellable_accessible", "sellable_not_accessible", "stolen",
    "unavailable", "unknown",
})  # fmt: skip

#: The namespace of master data (``ilmd``), and the prefix that EPCIS 2.0 gives to it in JSON.
MASTER_DATA = "urn:epcglobal:cbv:mda"
MASTER_DATA_PREFIX = "cbvmda"


def step_word(name: str) -> str:
    """Return a business step's bare word; any other name as it is."""
    found = _STEP.fullmatch(name)
    return found[1] if found else name


def disposition_word(name: str) -> str:
    """Return a disposition's bare word; any other name as it is."""
    found = _DISPOSITION.fullmatch(name)
    return found[1] if found else name


def word_of(name: str) -> str:
    """Return the bare word of a step or a disposition; any other name as it is."""
    return disposition_word(step_word(name))


def is_misspelt_step(word: str) -> bool:
    """Return whether a step's word claims to be one of the CBV and is none.

    A bare word does so, as a name of one's own is a URI.
    """
    if word in STEPS:
        return False
    return ":" not in word or _CLAIMED.match(word) is not None


def is_master_data(name: str, prefixes: Mapping[str, str]) -> bool:
    """Return whether a member's name stands in the CBV's namespace of master data.

    ``prefixes``: what the event's ``@context`` says that prefixes stand for.
    """
    prefix, colon, _ = name.partition(":")
    if not colon:
        return False
    known = MASTER_DATA if prefix == MASTER_DATA_PREFIX else ""
    whole = f"{prefixes[prefix]}:" if prefix in prefixes else f"{known}:" if known else name
    return whole.startswith((f"{MASTER_DATA}:", f"{MASTER_DATA}#"))
