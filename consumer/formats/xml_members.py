"""Make the members of an EPCIS event from its XML elements: those that it would have in JSON.

EPCIS 1.1 and 1.2 put newer members into ``extension`` and ``baseExtension``; here they stand beside
the others. Only what rules can ask for is kept: texts, names, places, parties, ``ilmd``. Of any
other content, such as sensor data, a member says that it is there and no more, so an event takes no
more memory than its names. White space around a text is no part of it.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from consumer.core.model import InvalidEvent
from consumer.core.rows.validation import quoted
from consumer.formats.cbv import MASTER_DATA, MASTER_DATA_PREFIX
from consumer.formats.epcis_members import Members, invalid
from consumer.formats.safe_xml import is_blank

EPCIS_NAMESPACES = frozenset(
    f"urn:epcglobal:{name}:xsd:{version}" for name in ("epcis", "epcis-query") for version in (1, 2)
)
_NIL = "http://www.w3.org/2001/XMLSchema-instance nil"
#: Kinds of elements, by their names, that hold more than a text.
_KINDS = {
    "epcList": "names",
    "childEPCs": "names",
    "quantityList": "list",
    "childQuantityList": "list",
    "bizTransactionList": "list",
    "sensorElementList": "list",
    "sourceList": "parties",
    "destinationList": "parties",
    "readPoint": "place",
    "bizLocation": "place",
    "ilmd": "master data",
    "persistentDisposition": "dispositions",
    "extension": "more",
    "baseExtension": "more",
}
#: What may stand in an element of a kind; other elements there are refused.
_ITEMS = {"names": ("epc",), "dispositions": ("set", "unset")}
_WITHOUT_ELEMENTS = frozenset({"text", "party", "list", "other"})
#: EPCIS's own members: of two of a kind, nobody could tell which one is meant.
_ONCE = (_KINDS.keys() - {"extension", "baseExtension"}) | {
    "eventTime", "eventTimeZoneOffset", "eventID", "recordTime", "errorDeclaration", "action",
    "bizStep", "disposition", "parentID", "id",
}  # fmt: skip


@lru_cache(4096)
def local_name(name: str) -> str:
    """Return an element's name as JSON has it: EPCIS's own bare, CBV's with its prefix."""
    space, _, local = name.rpartition(" ")
    if not space or space in EPCIS_NAMESPACES:
        return local
    if space.rstrip(":#") == MASTER_DATA:
        return f"{MASTER_DATA_PREFIX}:{local}"
    return f"{space}#{local}"


class _Element:
    """An element that is open: what it will be, and what was found in it."""

    __slots__ = ("kind", "members", "name", "nil", "texts", "type", "values")

    def __init__(self, kind: str, name: str) -> None:
        self.kind = kind
        self.name = name
        self.texts: list[str] = []
        self.members: Members = {}
        self.values: list[Any] = []
        self.type: str | None = None
        self.nil = False

    def value(self) -> Any:
        match self.kind:
            case "text":
                return None if self.nil else "".join(self.texts).strip()
            case "names" | "list" | "parties":
                return self.values
            case "party":
                return {"type": self.type, self.name: "".join(self.texts).strip()}
            case _:
                return self.members


class EventBuilder:
    """One event, of which ``kind`` is the name of its element."""

    def __init__(self, kind: str) -> None:
        self._open = [_Element("event", kind)]
        self._skipped = 0  # open elements of which nothing is kept
        self._bad: InvalidEvent | None = None

    def start(self, name: str, attributes: dict[str, str]) -> bool:
        """Take in the beginning of an element; return whether it names a thing."""
        parent, local = self._open[-1], local_name(name)
        if self._skipped or parent.kind in _WITHOUT_ELEMENTS:
            # Content that no rule can ask for; that it is there is known.
            self._skipped += 1
            if parent.kind == "list" and self._skipped == 1:
                parent.values.append({})
            elif parent.kind != "list":
                parent.kind = "other"
                parent.texts.clear()
            return False
        element = _Element(self._kind_of(parent, local), local)
        element.type = attributes.get("type")
        element.nil = attributes.get(_NIL) in ("true", "1")
        self._open.append(element)
        return parent.kind == "names"

    def text(self, text: str) -> None:
        """Take in text of the element that is open."""
        element = self._open[-1]
        if self._skipped or element.kind == "other":
            return
        if element.kind in ("text", "party"):
            element.texts.append(text)
        elif not is_blank(text):
            self._refuse(f"{quoted(element.name)} has text where elements belong", element.name)

    def end(self) -> None:
        """Take in the end of an element."""
        if self._skipped:
            self._skipped -= 1
            return
        element, parent = self._open.pop(), self._open[-1]
        if element.kind == "more":
            for name, value in element.members.items():
                self._put(parent, name, value)
        elif parent.kind in ("names", "parties"):
            parent.values.append(element.value())
        elif parent.kind == "dispositions":
            parent.members.setdefault(element.name, []).append(element.value())
        else:
            self._put(parent, element.name, element.value())

    def event(self) -> Members | InvalidEvent:
        """Return the members, with the kind of the event as ``type``; or what is wrong with it."""
        if self._bad is not None:
            return self._bad
        return {**self._open[0].members, "type": self._open[0].name}

    def _kind_of(self, parent: _Element, name: str) -> str:
        if parent.kind == "parties":
            return "party"
        if parent.kind in _ITEMS:
            if name not in _ITEMS[parent.kind]:
                self._refuse(f"{quoted(parent.name)} has an element {quoted(name)}", parent.name)
            return "text"
        if parent.kind in ("master data", "place"):
            return "more" if name == "extension" else "text"
        return _KINDS.get(name, "text")

    def _put(self, parent: _Element, name: str, value: Any) -> None:
        """Add a member. One that is not EPCIS's own may come several times: then it is a list."""
        members = parent.members
        if name not in members:
            members[name] = value
        elif name in _ONCE:
            self._refuse(f"{quoted(name)} stands in it more than once", name)
        else:
            if type(members[name]) is not list:
                members[name] = [members[name]]
            members[name].append(value)

    def _refuse(self, message: str, field: str | None) -> None:
        """Keep the first thing that is wrong; the rest of the document is read all the same."""
        if self._bad is None:
            self._bad = invalid(message, field)
