"""Which letters a command is about: each option narrows, of one repeated option any value does."""

from __future__ import annotations

import msgspec

from consumer.dead_letters.letter import Letter


class Filter(msgspec.Struct, frozen=True):
    """The conditions of a command; an empty one holds for every letter.

    ``messages``: texts that stand in the message, in whatever case. ``sources``: topics, each with
    a partition or None for all of them. ``since``, ``until``: of the letter's own time, Unix
    seconds; the second is not included.
    """

    reasons: tuple[str, ...] = ()
    data_keys: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    fields: tuple[str, ...] = ()
    messages: tuple[str, ...] = ()
    sources: tuple[tuple[str, int | None], ...] = ()
    since: float | None = None
    until: float | None = None

    def matches(self, letter: Letter) -> bool:
        """Return whether all conditions hold for a letter."""
        return (
            _one_of(letter.reason, self.reasons)
            and _one_of(letter.data_key, self.data_keys)
            and _one_of(letter.key_value, self.keys)
            and _one_of(letter.field, self.fields)
            and self._says(letter.message)
            and self._comes_from(letter)
            and (self.since is None or letter.at >= self.since * 1000)
            and (self.until is None or letter.at < self.until * 1000)
        )

    def _says(self, message: str) -> bool:
        folded = message.casefold() if self.messages else ""
        return not self.messages or any(text.casefold() in folded for text in self.messages)

    def _comes_from(self, letter: Letter) -> bool:
        source = letter.source
        return not self.sources or (
            source is not None
            and any(
                source.topic == topic and partition in (None, source.partition)
                for topic, partition in self.sources
            )
        )


def _one_of(value: str | None, wanted: tuple[str, ...]) -> bool:
    return not wanted or value in wanted
