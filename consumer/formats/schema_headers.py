"""Take the schema's number from a header of the record, where serializers may write it.

Confluent's write ``__value_schema_id`` with what else would stand before the datum: 0x00 and four
bytes of id, or 0x01 and a GUID of 16 bytes. It counts before whatever the value begins with. The
number of the key's schema (``__key_schema_id``) plays no part: keys of records are not read.
Apicurio's headers name a schema of a registry that is not asked.
"""

from __future__ import annotations

from consumer.core.model import InvalidEvent
from consumer.formats.frames import GUID_HEADER_SIZE
from consumer.formats.safe_xml import is_xml
from consumer.formats.writer import HEADER_SIZE

VALUE_SCHEMA_ID = "__value_schema_id"
#: Names of headers that say by which schema a value was written.
SCHEMA_HEADERS = frozenset({
    VALUE_SCHEMA_ID,
    "apicurio.value.globalId",
    "apicurio.value.contentId",
    "apicurio.value.contentHash",
})  # fmt: skip


def framed(value: bytes, name: str, content: bytes | None, *, has_registry: bool) -> bytes:
    """Return a value as a frame with the schema's number that its header gives.

    JSON and XML tell for themselves what they are: without a registry, or with another registry's
    header, they are returned as they are. Raise InvalidEvent (``undecodable``) for any other value
    whose schema cannot be looked up: by another schema it could be read as another event.
    """
    tells_itself = value.lstrip(b" \t\r\n").startswith((b"{", b"[")) or is_xml(value)
    if name != VALUE_SCHEMA_ID:
        if tells_itself:
            return value
        raise InvalidEvent(
            "undecodable",
            f"the header {name} names a schema of the Apicurio Registry, which is not read; let "
            "its serializer write Confluent's ids into the value "
            "(apicurio.registry.headers.enabled=false, apicurio.registry.as-confluent=true)",
        )
    if tells_itself and (not has_registry or is_xml(value)):
        return value
    content = content or b""
    if not has_registry:
        raise InvalidEvent(
            "undecodable",
            f"the header {name} says by which schema it was written (0x{content[:17].hex()}); "
            "set schema_registry.url so that it can be read by that",
        )
    for magic, size in ((b"\x00", HEADER_SIZE), (b"\x01", GUID_HEADER_SIZE)):
        # For Protobuf more follows; that is refused by its kind.
        if content.startswith(magic) and len(content) >= size:
            return content[:size] + value
    raise InvalidEvent(
        "undecodable",
        f"the header {name} must be 0x00 and an id of 4 bytes, or 0x01 and a GUID of 16; it is "
        + (f"0x{content[:20].hex()}" if content else "empty"),
    )
