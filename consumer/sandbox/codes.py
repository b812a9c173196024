"""The codes of the company: which exist, what data each holds, and which ones a key selects.

Not thread-safe: every caller holds the store's lock.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from consumer.sandbox.rules import DEFAULT_DATA_KEY

#: Key values and products that begin with it exist only when they were loaded.
UNKNOWN_PREFIX = "UNKNOWN"

#: Fields of the system rather than of a campaign: never discarded.
SYSTEM_FIELDS = frozenset({"product", "activation_status", "status", "blacklist_reason"})


class Codes:
    """Codes by extended_id, each with its fields.

    A code named by ``extended_id`` exists when it was loaded. Unless a loaded set is the whole
    truth (``only``), it also exists when its id begins with one of ``known_prefixes``, or, without
    any, when it does not begin with UNKNOWN. It is created by its first upload. Every other data
    key selects the codes whose stored field has exactly that value (guide, "Data key"). A value
    that no code has is a key not found; with ``accept_empty_units`` it is accepted and changes
    nothing.
    """

    def __init__(
        self,
        known_prefixes: Collection[str] = (),
        products: Collection[str] | None = None,
        *,
        accept_empty_units: bool = False,
    ) -> None:
        self.data: dict[str, dict[str, str]] = {}
        self.only = False
        self._known_prefixes = tuple(known_prefixes)
        self._products = None if products is None else frozenset(products)
        self._accept_empty_units = accept_empty_units
        # field → value → its codes; a field is indexed from its first use as a data key
        self._indexes: dict[str, dict[str, dict[str, None]]] = {}

    def load(self, codes: Mapping[str, Mapping[str, str]], *, only: bool) -> None:
        """Add codes, or replace the fields of those that are there; ``only``: no others exist."""
        for code, fields in codes.items():
            self.data[code] = {name: value for name, value in fields.items() if value}
        self._indexes.clear()
        self.only = only

    def knows(self, data_key: str, value: str) -> bool:
        """Return whether the key value selects a code, now or by creating it."""
        if data_key == DEFAULT_DATA_KEY:
            if value in self.data:
                return True
            return not self.only and self._may_exist(value)
        if self._index(data_key).get(value):
            return True
        return self._accept_empty_units and self._may_exist(value)

    def knows_product(self, product: str) -> bool:
        """Return whether the company has this product (by id or SKU)."""
        if self._products is not None:
            return product in self._products
        return not product.startswith(UNKNOWN_PREFIX)

    def select(self, data_key: str, value: str) -> list[str]:
        """Return the codes of a key value that ``knows`` said is there; a new one is created."""
        if data_key == DEFAULT_DATA_KEY:
            self.data.setdefault(value, {})
            return [value]
        return list(self._index(data_key).get(value, ()))

    def count(self, data_key: str, value: str) -> int:
        """Return how many codes ``select`` would give."""
        return 1 if data_key == DEFAULT_DATA_KEY else len(self._index(data_key).get(value, ()))

    def meeting(self, constraints: Mapping[str, Collection[str]]) -> list[str]:
        """Return the codes that meet all of several constraints; none comes into being."""
        found: dict[str, None] | None = None
        for name, values in constraints.items():
            if name == DEFAULT_DATA_KEY:
                codes = [value for value in values if value in self.data]
            else:
                codes = [code for value in values for code in self.select(name, value)]
            found = dict.fromkeys(codes if found is None else filter(found.__contains__, codes))
        return list(found or ())

    def write(self, code: str, fields: Mapping[str, str]) -> dict[str, None]:
        """Set the fields of a code ("" erases); return the names of those that changed."""
        data = self.data[code]
        changed: dict[str, None] = {}
        for name, value in fields.items():
            before = data.get(name, "")
            if before == value:
                continue
            changed[name] = None
            if value:
                data[name] = value
            else:
                del data[name]
            if name in self._indexes:
                index = self._indexes[name]
                index.get(before, {}).pop(code, None)
                if value:
                    index.setdefault(value, {})[code] = None
        return changed

    def _may_exist(self, value: str) -> bool:
        if self._known_prefixes:
            return value.startswith(self._known_prefixes)
        return not value.startswith(UNKNOWN_PREFIX)

    def _index(self, field: str) -> dict[str, dict[str, None]]:
        index = self._indexes.get(field)
        if index is None:
            index = self._indexes[field] = {}
            for code, data in self.data.items():
                value = data.get(field)
                if value:
                    index.setdefault(value, {})[code] = None
        return index


def stored_fields(sent: dict[str, str], campaign: Collection[str] | None) -> dict[str, str]:
    """Return a row's fields, without the key, as they are stored.

    Fields that the campaign does not have are left out. A lone ``status`` (the older name) is
    stored as ``activation_status``, which overrides it (guide, "Activate Codes").
    """
    if campaign is not None:
        sent = {
            name: value for name, value in sent.items() if name in campaign or name in SYSTEM_FIELDS
        }
    if "status" not in sent:
        return sent
    stored = {name: value for name, value in sent.items() if name != "status"}
    stored.setdefault("activation_status", sent["status"])
    return stored
