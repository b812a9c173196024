"""Verdicts in words, for people."""

from __future__ import annotations

from consumer.dead_letters.catalogue import Catalogue
from consumer.dead_letters.meaning import ROW_BITS, Fields
from consumer.dead_letters.watching import Kind, Watched, Why
from consumer.dead_letters.writers import Age

#: Fields that a sentence names.
_MOST_NAMES = 3

_SENTENCES = {
    Why.ACCEPTED: "its own event was accepted another time, as a receipt says",
    Why.ROOTLESS: "it was brought back before, and the first letter of its event is gone: "
    "nobody knows how old it is",
    Why.STRANGE: "another record stands at its place: the topic was deleted and created again",
    Why.GONE: "its record is gone from the topic, and so may be newer events; "
    "no receipts tell of them",
}


def because(watched: Watched, catalogue: Catalogue, fields: Fields) -> str:
    """Return why a letter has its verdict; empty: nothing stands against it."""
    if watched.kind is Kind.UNUSABLE:
        return watched.unusable
    if watched.why is Why.STANDS:
        standing = catalogue.place(catalogue.standing(watched.number))
        return f"{standing} is a newer letter of the same row, and stands for it"
    if watched.why in _SENTENCES:
        return _SENTENCES[watched.why]
    if watched.why is Why.NOTHING:
        if watched.kind is Kind.LOOPING:
            return f"it was brought back {watched.replays} times, and rejected each time"
        return ""
    return _against(watched, catalogue, fields)


def _against(watched: Watched, catalogue: Catalogue, fields: Fields) -> str:
    names = sorted(fields.names(watched.hit))
    named = ", ".join(names[:_MOST_NAMES]) + (", …" if len(names) > _MOST_NAMES else "")
    sure = watched.cause.age is Age.NEWER
    if watched.why is Why.GOES_TOO:
        return (
            f"a letter from another partition goes that is newer or may be: {named or 'its unit'}"
        )
    topic, partition = catalogue.partition_name(watched.cause.partition)
    at = f"{topic}[{partition}], up to offset {watched.cause.position >> ROW_BITS}"
    said = {
        Why.FIELD: f"{named} set since" if sure else f"{named} perhaps set since",
        Why.JOINED: "codes went into its unit since"
        if sure
        else "codes perhaps went into its unit",
        Why.MOVED: "its unit was moved since" if sure else "its unit was perhaps moved since",
        Why.UNREAD: "a newer record cannot be read, and may be about it",
    }
    return f"{said[watched.why]} ({at})"
