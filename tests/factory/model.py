"""The model: the script replayed, one thing after the other, and what must come of it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

from tests.factory.script import Blacklisted, Commissioned, Happening, Loaded, Packed, Shipped, Unit

FIELDS = {"case": "case_code", "box": "box_code", "pallet": "pallet_code"}


class Warehouse:
    """All codes with their fields, and which codes are in which unit."""

    def __init__(self, labels: Mapping[str, str]) -> None:
        """``labels``: codes of cases, each with the case's name."""
        self.codes: dict[str, dict[str, str]] = {
            code: {"serial_number": case} for code, case in labels.items()
        }
        self._labels = {case: code for code, case in labels.items()}
        self._inside: defaultdict[Unit, list[str]] = defaultdict(list)
        self.rows = 0  #: updates that the day asks for

    def replay(self, happenings: Iterable[Happening]) -> None:
        """Let all of it happen."""
        for happening in happenings:
            match happening.what:
                case Commissioned(items, made_on, sell_by):
                    for item in items:
                        self._set(
                            item,
                            activation_status="1",
                            production_date=made_on,
                            after_sell_by=sell_by,
                        )
                    self.rows += len(items)
                case Packed(items, into):
                    for item in items:
                        self._put(item, into)
                    self.rows += len(items)
                case Loaded(unit, pallet):
                    for code in self._inside[unit]:
                        self._put(code, pallet)
                    if unit.kind == "case":
                        self._put(self._labels[unit.name], pallet)
                    self.rows += 1 + (unit.kind == "case")
                case Shipped(pallet, day):
                    for code in self._inside[pallet]:
                        self._set(code, ship_date=day)
                    self.rows += 1
                case Blacklisted(item, reason):
                    self._set(item, activation_status="2", blacklist_reason=reason)
                    self.rows += 1

    def _set(self, code: str, **fields: str) -> None:
        self.codes.setdefault(code, {}).update(fields)

    def _put(self, code: str, unit: Unit) -> None:
        self._set(code, **{FIELDS[unit.kind]: unit.name})
        self._inside[unit].append(code)


def differences(
    wanted: Mapping[str, Mapping[str, str]], found: Mapping[str, Mapping[str, str]]
) -> list[str]:
    """Every field of every code that is not as it must be."""
    told: list[str] = []
    for code in sorted(wanted.keys() | found.keys()):
        must, has = wanted.get(code), found.get(code)
        if must is None or has is None:
            told.append(f"{code}: {'lost' if has is None else 'not wanted'}")
            continue
        wrong = [
            field for field in sorted(must.keys() | has.keys()) if must.get(field) != has.get(field)
        ]
        told += [
            f"{code}: {field} must be {must.get(field)!r}, is {has.get(field)!r}" for field in wrong
        ]
    return told
