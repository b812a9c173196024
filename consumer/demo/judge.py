"""The judge: compares what came of published events with what must come of them.

It is independent: what must come of them is in ``replay``, and neither shares code with the
consumer or the sandbox.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from consumer.demo.evidence import AppliedRow, DemoEvidence, Fields, Headers, TopicRecord
from consumer.demo.replay import Expected, Key, Letter, replay

NOTHING = "(nothing)"
ADDED_HEADERS = ("__connect.errors.", "scm.")
#: A dead letter has these whatever the reason.
ALWAYS_ADDED = (
    "__connect.errors.stage",
    "__connect.errors.exception.message",
    "scm.message",
    "scm.consumer",
)


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that is not as it must be.

    ``kind``: lost, altered, reordered, unexpected, missing dead letter, extra dead letter, or rule
    broken.
    """

    kind: str
    where: str  #: the API's state, the API's journal, the dead-letter topic
    key: str
    field: str
    expected: str
    found: str


@dataclass
class DemoVerdict:
    """The judgement: what was expected, and every difference from it."""

    expected: Expected
    differences: list[Difference] = field(default_factory=list)

    @property
    def equal(self) -> bool:
        """Return whether all is as it must be."""
        return not self.differences

    def counts(self) -> Counter[str]:
        """Return the differences by kind."""
        return Counter(difference.kind for difference in self.differences)


def judge(evidence: DemoEvidence) -> DemoVerdict:
    """Work out what must have come of the published records, and compare."""
    expected = replay(evidence.world, evidence.published)
    verdict = DemoVerdict(expected)
    verdict.differences += compare_states(expected.state, evidence.state)
    verdict.differences += compare_updates(expected.updates, evidence.applied)
    verdict.differences += compare_letters(expected.letters, evidence.letters)
    for rule, times in evidence.broken_rules.items():
        verdict.differences.append(
            Difference("rule broken", "the API's rules", rule, "", "never", f"{times} times")
        )
    return verdict


# -- the end state -------------------------------------------------------------------------------


def compare_states(
    wanted: Mapping[str, Fields], found: Mapping[str, Fields]
) -> Iterator[Difference]:
    """Compare every field of every code."""
    for code in sorted(wanted.keys() | found.keys()):
        if code not in found:
            yield Difference("lost", "the API's state", code, "", "the code", NOTHING)
        elif code not in wanted:
            yield Difference("unexpected", "the API's state", code, "", NOTHING, "the code")
        else:
            yield from _compare_fields("the API's state", code, wanted[code], found[code])


def _compare_fields(where: str, key: str, wanted: Fields, found: Fields) -> Iterator[Difference]:
    for name in sorted(wanted.keys() | found.keys()):
        right, real = wanted.get(name), found.get(name)
        if right == real:
            continue
        kind = "lost" if real is None else "unexpected" if right is None else "altered"
        yield Difference(kind, where, key, name, _shown(right), _shown(real))


# -- the order of updates ------------------------------------------------------------------------


def compare_updates(
    wanted: Mapping[Key, Sequence[Fields]], applied: Sequence[AppliedRow]
) -> Iterator[Difference]:
    """Compare, for each key, the rows that the API applied, in order.

    A row may come again directly after itself (at least once). An older row after a newer one may
    not.
    """
    found: dict[Key, list[Fields]] = defaultdict(list)
    for row in applied:
        found[row.data_key, row.key_value].append(row.fields)
    for key in sorted(wanted.keys() | found.keys()):
        yield from _compare_sequence("=".join(key), wanted.get(key, []), found.get(key, []))


def _compare_sequence(
    key: str, wanted: Sequence[Fields], found: Sequence[Fields]
) -> Iterator[Difference]:
    where = "the API's journal"
    seen: set[int] = set()
    at = -1  # index in ``wanted`` of the row that was applied last
    for fields in found:
        following = wanted[at + 1] if at + 1 < len(wanted) else None
        if fields == following:
            at += 1
        elif at >= 0 and fields == wanted[at]:
            continue
        elif fields in wanted:
            later = [index for index in range(at + 1, len(wanted)) if wanted[index] == fields]
            index = later[0] if later else wanted.index(fields)
            if not later:
                yield Difference(
                    "reordered", where, key, "", f"not after {_shown(wanted[at])}", _shown(fields)
                )
            at = max(at, index)
            seen.add(index)
        elif following is not None and fields.keys() == following.keys():
            at += 1
            yield from _compare_fields(where, key, following, fields)
        else:
            yield Difference("unexpected", where, key, "", NOTHING, _shown(fields))
        seen.add(at)
    for index, fields in enumerate(wanted):
        if index not in seen:
            yield Difference("lost", where, key, "", _shown(fields), NOTHING)


# -- dead letters --------------------------------------------------------------------------------


def compare_letters(wanted: Sequence[Letter], found: Sequence[TopicRecord]) -> Iterator[Difference]:
    """Compare the dead letters: each once, with its reason and the record as it was published."""
    positions: dict[str, list[TopicRecord]] = defaultdict(list)
    for record in found:
        added = _added(record.headers)
        place = (
            added.get(f"__connect.errors.{name}", "?") for name in ("topic", "partition", "offset")
        )
        positions["{}[{}]@{}".format(*place)].append(record)
    for letter in wanted:
        origin = letter.record
        position = f"{origin.topic}[{origin.partition}]@{origin.offset}"
        match = next((record for record in positions[position] if _is_about(record, letter)), None)
        if match is None:
            yield Difference(
                "missing dead letter", "the dead-letter topic", position, "", letter.reason, NOTHING
            )
        else:
            positions[position].remove(match)
            yield from _compare_letter(position, letter, match)
    for position, records in positions.items():
        for record in records:
            reason = _added(record.headers).get("scm.reason")
            yield Difference(
                "extra dead letter", "the dead-letter topic", position, "", NOTHING, _shown(reason)
            )


def _is_about(record: TopicRecord, letter: Letter) -> bool:
    """Return whether a dead letter of the right record is about the right row of it."""
    if letter.row is None:
        return True
    added = _added(record.headers)
    return (added.get("scm.data_key"), added.get("scm.key_value")) == (
        letter.row.data_key,
        letter.row.key_value,
    )


def _compare_letter(position: str, letter: Letter, record: TopicRecord) -> Iterator[Difference]:
    added = _added(record.headers)
    own = tuple(
        (name, value) for name, value in record.headers if not name.startswith(ADDED_HEADERS)
    )
    checks: list[tuple[str, object, object]] = [
        ("key", letter.record.key, record.key),
        ("value", letter.record.value, record.value),
        ("headers", letter.record.headers, own),
        ("scm.reason", letter.reason, added.get("scm.reason")),
        *((name, True, bool(added.get(name))) for name in ALWAYS_ADDED),
    ]
    if letter.sent and letter.row is not None:
        checks.append(("scm.row", letter.row.item, json.loads(added.get("scm.row", "null"))))
        checks.append(("scm.http_status", "400", added.get("scm.http_status")))
    for name, right, real in checks:
        if right != real:
            yield Difference(
                "altered", "the dead-letter topic", position, name, _shown(right), _shown(real)
            )


def _added(headers: Headers) -> dict[str, str]:
    return {
        name: (value or b"").decode("utf-8", "replace")
        for name, value in headers
        if name.startswith(ADDED_HEADERS)
    }


def _shown(value: object) -> str:
    return NOTHING if value is None else str(value)
