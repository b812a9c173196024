"""Find the events in EPCIS XML: 1.x and 2.0, documents, results of queries, SOAP around them.

Namespaces: EPCIS's own elements have none, but many writers put them into that of EPCIS; both are
read. A root of any other namespace is no EPCIS.
"""

from __future__ import annotations

from abc import abstractmethod

from consumer.core.model import EventBatch, InvalidEvent
from consumer.formats.envelope import Decoder
from consumer.formats.epcis_document import EpcisDocument
from consumer.formats.epcis_members import Members, invalid
from consumer.formats.epcis_rules import EpcisRules
from consumer.formats.safe_xml import SafeXml, pieces
from consumer.formats.xml_members import EPCIS_NAMESPACES, EventBuilder, local_name

#: Where events stand, by local names from the root.
_RESULTS = ("QueryResults", "resultsBody", "EventList")
_DOCUMENT = ("EPCISDocument", "EPCISBody", "EventList")
_QUERY_DOCUMENT = ("EPCISQueryDocument", "EPCISBody", *_RESULTS)
_LISTS = frozenset({_DOCUMENT, _QUERY_DOCUMENT, _RESULTS})
_DEEPEST = max(map(len, _LISTS))
#: EPCIS 1.1 and 1.2 put newer kinds of events into an extension of the list, or of that.
_EXTENSION = "extension"
_SOAP = (
    "http://schemas.xmlsoap.org/soap/envelope/",
    "http://www.w3.org/2003/05/soap-envelope",
)
_SOAP_NAMES = frozenset(f"{space} {name}" for space in _SOAP for name in ("Envelope", "Body"))
_SOAP_HEADERS = frozenset(f"{space} Header" for space in _SOAP)
#: A single event may be the root, as EPCIS 2.0 captures it.
_EVENTS = frozenset(
    {
        "ObjectEvent",
        "AggregationEvent",
        "TransactionEvent",
        "TransformationEvent",
        "AssociationEvent",
    }
)
_OF_A_QUERY = frozenset({"EPCISQueryDocument", "QueryResults"})


class EpcisXml(SafeXml):
    """Calls subclasses with each event: its beginning, what is in it, and its end."""

    def __init__(self) -> None:
        super().__init__()
        self._path: list[str] = []  # outside of events; what SOAP has around them is left out
        self._around = 0  # elements of SOAP that are open
        self._inside = 0  # elements of the event that are open
        self.is_query = False

    @abstractmethod
    def on_event(self, kind: str) -> None:
        """Take in the beginning of an event, of this kind."""

    @abstractmethod
    def on_event_end(self) -> None:
        """Take in the end of an event."""

    def on_element(self, name: str, attributes: dict[str, str]) -> None:
        """Take in the beginning of an element of an event."""

    def on_element_end(self) -> None:
        """Take in the end of an element of an event."""

    def on_start(self, name: str, attributes: dict[str, str]) -> None:
        """Tell events from what is around them."""
        if self._inside:
            self._inside += 1
            self.on_element(name, attributes)
            return
        if not self._path and name in _SOAP_NAMES:
            self._around += 1
            return
        if not self._path and name in _SOAP_HEADERS:
            self._path.append("Header")
            return
        local = local_name(name)
        if (self._in_list() and local != _EXTENSION) or self._is_root_event(local):
            self._inside = 1
            self.on_event(local)
            return
        if not self._path:
            self._check_root(name)
        self._path.append(local)

    def on_end(self) -> None:
        """Take in the end of an element, of an event or of what is around it."""
        if self._inside:
            self._inside -= 1
            if self._inside:
                self.on_element_end()
            else:
                self.on_event_end()
        elif self._path:
            self._path.pop()
        else:
            self._around -= 1

    def _in_list(self) -> bool:
        end = len(self._path)
        while end and self._path[end - 1] == _EXTENSION:
            end -= 1
        return end <= _DEEPEST and tuple(self._path[:end]) in _LISTS

    def _is_root_event(self, local: str) -> bool:
        return not self._path and local in _EVENTS

    def _check_root(self, name: str) -> None:
        space, _, bare = name.rpartition(" ")
        known = bare in ("EPCISDocument", *_OF_A_QUERY)
        if known and space in EPCIS_NAMESPACES:
            self.is_query = bare in _OF_A_QUERY
            return
        in_space = f" of the namespace {space}" if space else ", without a namespace"
        raise self.refused(
            f"no EPCIS: the element {bare}{in_space}; read are EPCISDocument and "
            "EPCISQueryDocument of EPCIS 1 and 2, an event of theirs, and SOAP around a result"
        )


class _Reader(EpcisXml):
    """Reads each event as soon as it ends, so that only what it asks for is kept."""

    def __init__(self, rules: EpcisRules) -> None:
        super().__init__()
        self._parser.buffer_text = True
        self.document = EpcisDocument(rules, {})
        self.any = False
        self._builder = EventBuilder("")

    def on_event(self, kind: str) -> None:
        self.any = True
        self._builder = EventBuilder(kind)

    def on_element(self, name: str, attributes: dict[str, str]) -> None:
        if self._builder.start(name, attributes):
            self.document.count(1)

    def on_text(self, text: str) -> None:
        if self._inside:
            self._builder.text(text)

    def on_element_end(self) -> None:
        self._builder.end()

    def on_event_end(self) -> None:
        event: Members | InvalidEvent = self._builder.event()
        self.document.add(event)


def xml_decoder(rules: EpcisRules) -> Decoder:
    """Return the decoder of EPCIS XML.

    It raises InvalidEvent: ``undecodable`` for what is no XML, ``invalid_event`` for what is no
    EPCIS, has no events, or is refused as a whole.
    """

    def decode(raw: bytes) -> EventBatch:
        reader = _Reader(rules)
        for piece in pieces(raw.lstrip(b" \t\r\n")):
            reader.feed(piece)
        reader.close()
        if not reader.any and not reader.is_query:
            raise invalid("the XML has no events: EPCISBody must have an EventList", "eventList")
        return reader.document.whole()

    return decode
