"""Write EPCIS events as XML, by the standards and not by the product: 1.1, 1.2 and 2.0.

What JSON can hold and XML cannot (a number for an action, a list for a text) is refused with
TypeError.
"""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree as ET

MASTER_DATA = "urn:epcglobal:cbv:mda"
SOAP = "http://schemas.xmlsoap.org/soap/envelope/"
#: In 1.x, members of events that stand in ``baseExtension``, in ``extension``, and one deeper.
_BASE = ("eventID", "errorDeclaration")
_NEWER = ("quantityList", "childQuantityList", "sourceList", "destinationList", "ilmd")
_NEWEST = ("persistentDisposition", "sensorElementList")
_LISTS = {"epcList": "epc", "childEPCs": "epc"}
_PARTIES = {"sourceList": "source", "destinationList": "destination"}
#: The order of the schemas.
_ORDER = (
    "eventTime", "recordTime", "eventTimeZoneOffset", "eventID", "errorDeclaration",
    "baseExtension", "parentID", "epcList", "childEPCs", "action", "bizStep", "disposition",
    "readPoint", "bizLocation", "quantityList", "childQuantityList", "sourceList",
    "destinationList",
    "persistentDisposition", "ilmd", "extension",
)  # fmt: skip


def to_xml(members: dict[str, Any], version: str = "2.0", *, soap: bool = False) -> bytes:
    """Return an event, a document or a query's result as XML."""
    context = members.get("@context") or ()
    prefixes = {"cbvmda": MASTER_DATA}
    for entry in context if isinstance(context, list) else ():
        if isinstance(entry, dict):
            prefixes |= {name: space.rstrip(":#") for name, space in entry.items()}
    number = version[0]
    kind = members.get("type")
    query = kind == "EPCISQueryDocument"
    space = f"urn:epcglobal:epcis{'-query' if query else ''}:xsd:{number}"
    name = "EPCISQueryDocument" if query else "EPCISDocument"
    root = ET.Element(
        f"{{{space}}}{name}", schemaVersion=version, creationDate="2026-12-01T08:00:00Z"
    )
    holder = ET.SubElement(root, "EPCISBody")
    body = members.get("epcisBody") or {}
    if query:
        results = ET.SubElement(holder, f"{{{space}}}QueryResults")
        ET.SubElement(results, "queryName").text = "SimpleEventQuery"
        holder = ET.SubElement(results, "resultsBody")
        body = body["queryResults"]["resultsBody"]
    if kind in ("EPCISDocument", "EPCISQueryDocument"):
        events = body.get("eventList") or [body["event"]]
    else:
        events = [members]
    listed = ET.SubElement(holder, "EventList")
    for event in events:
        _event(listed, event, number == "1", prefixes)
    if soap:
        envelope = ET.Element(f"{{{SOAP}}}Envelope")
        ET.SubElement(ET.SubElement(envelope, f"{{{SOAP}}}Header"), "{urn:x}token").text = "t"
        ET.SubElement(envelope, f"{{{SOAP}}}Body").append(results if query else root)
        root = envelope
    ET.indent(root)
    raw: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return raw


def to_page(members: dict[str, Any]) -> str:
    """Return an event or a document as the pages show it: EPCIS 1.2 with the usual prefixes."""
    ET.register_namespace("cbvmda", MASTER_DATA)
    ET.register_namespace("epcis", "urn:epcglobal:epcis:xsd:1")
    text = to_xml(_with_urns({"@context": [], **members}), "1.2").decode()
    text = text.replace(" schemaVersion=", "\n    schemaVersion=", 1)  # a line that fits
    return text.replace(
        "<?xml version='1.0' encoding='utf-8'?>", '<?xml version="1.0" encoding="UTF-8"?>'
    )


def _with_urns(value: Any) -> Any:
    """Return events with steps and dispositions spelled as EPCIS 1.2 has them."""
    if isinstance(value, list):
        return [_with_urns(item) for item in value]
    if not isinstance(value, dict):
        return value
    kinds = {"bizStep": "bizstep", "disposition": "disp"}
    return {
        name: f"urn:epcglobal:cbv:{kinds[name]}:{inner}" if name in kinds else _with_urns(inner)
        for name, inner in value.items()
    }


def _event(parent: ET.Element, event: Any, old: bool, prefixes: dict[str, str]) -> None:
    if not isinstance(event, dict):
        raise TypeError("an event is an object")
    kind = _text(event["type"])
    if old and kind in ("TransformationEvent", "AssociationEvent"):
        parent = ET.SubElement(parent, "extension")
    element = ET.SubElement(parent, kind)
    names = sorted(event, key=lambda name: _ORDER.index(name) if name in _ORDER else len(_ORDER))
    for name in names:
        value = event[name]
        if name in ("type", "@context", "id") or value is None:
            continue
        into = element
        if old and name in _BASE:
            into = _only(element, "baseExtension")
        elif old and name in (*_NEWER, *_NEWEST):
            into = _only(element, "extension")
            into = _only(into, "extension") if name in _NEWEST else into
        _member(into, name, value, prefixes)


def _only(element: ET.Element, name: str) -> ET.Element:
    found = element.find(name)
    return ET.SubElement(element, name) if found is None else found


def _member(parent: ET.Element, name: str, value: Any, prefixes: dict[str, str]) -> None:
    if name in _LISTS:
        listed = ET.SubElement(parent, name)
        for item in _list(value):
            ET.SubElement(listed, _LISTS[name]).text = _text(item)
    elif name in _PARTIES:
        listed = ET.SubElement(parent, name)
        for party in _list(value):
            if not isinstance(party, dict):
                raise TypeError("a party is an object")
            one = ET.SubElement(listed, _PARTIES[name], type=_text(party.get("type", "location")))
            one.text = _text(party[_PARTIES[name]])
    elif name in ("quantityList", "childQuantityList"):
        listed = ET.SubElement(parent, name)
        for item in _list(value):
            _any(listed, "quantityElement", item, prefixes)
    elif name == "persistentDisposition":
        if not isinstance(value, dict):
            raise TypeError("it is an object")
        element = ET.SubElement(parent, name)
        for part, word in ((p, w) for p in ("unset", "set") for w in _list(value.get(p) or [])):
            ET.SubElement(element, part).text = _text(word)
    elif name in ("readPoint", "bizLocation"):
        ET.SubElement(ET.SubElement(parent, name), "id").text = _text(value["id"])
    else:
        _any(parent, name, value, prefixes)


def _any(parent: ET.Element, name: str, value: Any, prefixes: dict[str, str]) -> None:
    element = ET.SubElement(parent, _qualified(name, prefixes))
    if isinstance(value, dict):
        for inner, content in value.items():
            _any(element, inner, content, prefixes)
    elif isinstance(value, bool):
        element.text = str(value).lower()
    elif isinstance(value, list):
        raise TypeError("a list has no form of its own")
    elif value is not None:
        element.text = str(value)


def _qualified(name: str, prefixes: dict[str, str]) -> str:
    prefix, colon, local = name.rpartition(":")
    if not colon:
        return name
    if name.startswith("http"):
        space, _, local = name.rpartition("/")
        return f"{{{space}/}}{local}"
    return f"{{{prefixes.get(prefix, f'https://ns.example.com/{prefix}')}}}{local}"


def _text(value: Any) -> str:
    if not isinstance(value, str) or value != value.strip():
        raise TypeError(f"{value!r} is no text without white space around it")
    return value


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError(f"{value!r} is no list")
    return value
