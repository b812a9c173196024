"""An independent judge of a run: what was published against what was applied, by code, in order."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tests.support.kafka_witness import Witnessed

#: (data key, key value)
Code = tuple[str, str]


def published(
    records: Iterable[Witnessed], *, skip: Iterable[str] = ()
) -> dict[Code, list[dict[str, str]]]:
    """Return the updates of each code in partition order, from flat JSON records.

    ``skip``: key values that are bad.
    """
    bad = set(skip)
    codes: dict[Code, list[dict[str, str]]] = defaultdict(list)
    for record in records:
        item = json.loads(record.value or b"{}")
        key = next(iter(item))
        value = item.pop(key)
        if value not in bad:
            codes[(key, value)].append(item)
    return codes


def applied(journal: Mapping[str, Any]) -> dict[Code, list[tuple[int, dict[str, str]]]]:
    """Return what the API applied to each code, in its order, each with the number of
    its request.
    """
    codes: dict[Code, list[tuple[int, dict[str, str]]]] = defaultdict(list)
    for row in journal["rows"]:
        codes[(row["data_key"], row["key_value"])].append((row["request"], row["fields"]))
    return codes


def assert_delivered(
    wanted: Mapping[Code, Sequence[dict[str, str]]],
    journal: Mapping[str, Any],
    restarts: Sequence[int] = (),
) -> int:
    """Assert I1 and I9: every code saw all of its updates, in order, and ends with the last.

    Return the number of repeats. ``restarts``: numbers of the last request before each crash. After
    a crash a code may start again at an earlier update. Within one life of the process it only
    repeats the one before or goes on.
    """
    seen = applied(journal)
    assert seen.keys() == wanted.keys(), _difference(wanted.keys(), seen.keys())
    repeats = 0
    for code, updates in wanted.items():
        place = 0  # in updates, of the one applied last, plus one
        life = -1
        for request, fields in seen[code]:
            now_in = sum(request > last for last in restarts)
            if place < len(updates) and fields == updates[place]:
                place += 1
            else:
                earlier = [n for n in range(place) if updates[n] == fields]
                assert earlier, f"I9 {code}: {fields} came before {updates[place : place + 1]}"
                back = earlier[-1] + 1
                assert back == place or now_in != life, (
                    f"I9 {code}: went back from {updates[place - 1]} to {fields}"
                )
                place = back
                repeats += 1
            life = now_in
        assert place == len(updates), (
            f"I1 {code}: {len(updates) - place} of its last updates are lost"
        )
    return repeats


def _difference(wanted: Iterable[Code], seen: Iterable[Code]) -> str:
    lost, extra = set(wanted) - set(seen), set(seen) - set(wanted)
    return (
        f"I1: lost {len(lost)} codes, such as {sorted(lost)[:3]}; "
        f"not wanted {len(extra)}, such as {sorted(extra)[:3]}"
    )
