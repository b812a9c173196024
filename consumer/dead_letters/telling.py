"""Reports of a replay, planned or done, in words and as JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator

import orjson

from consumer.dead_letters.letter import Letter
from consumer.dead_letters.listing import place_members
from consumer.dead_letters.records import Handled
from consumer.dead_letters.replaying import DONE, Prepared
from consumer.dead_letters.store import OPEN, REPLAYED, RESOLVED
from consumer.dead_letters.texts import printable, time_text
from consumer.dead_letters.watching import Kind

EXAMPLES = 10
#: Reasons that are told apart of one verdict; letters of others may have any.
_MOST_REASONS = 20
_TEXT = 200


def summary(prepared: Prepared, goes: Collection[Kind]) -> Iterator[str]:
    """Yield the letters by verdict and reason, and what becomes of each verdict."""
    for kind in Kind:
        reasons = Counter(
            {reason: count for (of, reason), count in prepared.counts.items() if of is kind}
        )
        if not reasons:
            continue
        named = [
            f"{printable(reason, _TEXT)} {count:,}"
            for reason, count in reasons.most_common(_MOST_REASONS)
        ]
        if len(reasons) > _MOST_REASONS:
            named.append("and others")
        fate = "goes" if kind in goes else "done before" if kind in DONE else "stays"
        yield f"{kind.word:<10}  {reasons.total():>9,}  {fate:<11}  {', '.join(named)}"


def examples(prepared: Prepared) -> Iterator[str]:
    """Yield some letters with their verdicts, of each verdict about as many."""
    found: dict[str, list[Handled]] = {}
    wanted = sum(1 for kind in Kind if prepared.of_kind([kind])) * EXAMPLES
    for handled in prepared.store.handled():
        mine = found.setdefault(handled.verdict, [])
        if len(mine) < EXAMPLES:
            mine.append(handled)
            wanted -= 1
            if not wanted:
                break
    shown = 0
    for turn in range(EXAMPLES):
        for mine in found.values():
            if turn < len(mine) and shown < EXAMPLES:
                shown += 1
                yield _example(mine[turn])


def as_json(handled: Handled) -> bytes:
    """Return the JSON object of a letter, its verdict, and where it went in this run."""
    letter, sent = handled.letter, handled.sent
    state = OPEN
    if sent is not None or handled.verdict == Kind.REPLAYED.word:
        state = REPLAYED
    elif handled.verdict == Kind.RESOLVED.word:
        state = RESOLVED
    return orjson.dumps(
        {
            "letter": place_members(letter.place),
            "source": place_members(letter.source),
            "at": None if letter.at <= 0 else time_text(letter.at),
            "reason": letter.reason,
            "message": letter.message,
            "field": letter.field,
            "data_key": letter.data_key,
            "key_value": letter.key_value,
            "state": state,
            "verdict": handled.verdict,
            "because": handled.because,
            "sent": place_members(sent),
        }
    )


def _example(handled: Handled) -> str:
    letter = handled.letter
    code = printable(_code(letter), _TEXT)
    why = f"  {printable(handled.because, _TEXT)}" if handled.because else ""
    source = f" of {letter.source}" if letter.source is not None else ""
    return f"  {handled.verdict:<10}  {letter.place}{source}  {code}{why}"


def _code(letter: Letter) -> str:
    return "-" if letter.key_value is None else f"{letter.data_key}={letter.key_value}"
