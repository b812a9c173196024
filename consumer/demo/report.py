"""The demo's report: what was published, how it was uploaded, and what the judge found."""

from __future__ import annotations

import textwrap
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence

import click

from consumer.demo.evidence import DemoEvidence, UploadRequest
from consumer.demo.judge import DemoVerdict, Difference
from consumer.demo.replay import Expected, Key
from consumer.demo.watch import WORDS

OK = 200
#: Differences of a kind and place that are shown; the others are counted.
SHOWN = 3
WIDTH = 14


def lines(evidence: DemoEvidence, verdict: DemoVerdict, width: int = 0) -> Iterator[str]:
    """Yield the report by lines, with colours for a terminal; ``width``: its columns, 0: any."""
    for name, text in _happened(evidence, verdict.expected):
        yield _named(name, text, width)
    yield ""
    yield _named("compared", _compared(evidence, verdict), width)
    if verdict.equal:
        yield click.style(
            "EQUAL: nothing lost, altered, reordered or doubled.", fg="green", bold=True
        )
        return
    yield from _shown(verdict.differences)
    text = (
        f"DIFFERENT: {len(verdict.differences):,} differences "
        "from an independent replay of the events."
    )
    yield click.style(text, fg="red", bold=True)


def _happened(evidence: DemoEvidence, expected: Expected) -> Iterator[tuple[str, str]]:
    """Return what was published, and how it was uploaded, by name."""
    updates = sum(map(len, expected.updates.values()))
    rows = updates + len(expected.letters)
    repeats = sum(len(rows) - 1 for rows in expected.updates.values())
    partitions = len({record.partition for record in evidence.published})
    yield (
        "published",
        f"{len(evidence.published):,} records on {partitions} partitions = "
        f"{expected.skipped:,} tombstones + "
        f"{len(evidence.published) - expected.skipped:,} events, which make {rows:,} rows",
    )
    yield (
        "rows",
        f"{rows:,} = {updates:,} good ones for {len(expected.updates):,} keys "
        f"({repeats:,} of them update an earlier one) + {len(expected.letters):,} bad ones",
    )
    yield "consumer", f"{_ledger(evidence.ledger)}; {evidence.seconds:.1f} s"
    windows = [request for request in evidence.requests if request.applied]
    mean = sum(request.applied for request in windows) / len(windows) if windows else 0
    answered = sum(request.status == OK for request in windows)
    applied = sum(request.applied for request in windows)
    yield (
        "uploaded",
        f"{len(windows):,} windows accepted = {answered:,} answered + "
        f"{len(windows) - answered:,} whose answer was lost; "
        f"{mean:.1f} rows a window on average; "
        f"{applied:,} rows applied = {updates:,} good ones + "
        f"{applied - updates:,} applied once more after a lost answer",
    )
    answers = Counter(_answer(request) for request in evidence.requests)
    yield "requests", f"{len(evidence.requests):,}: {_counted(answers)}"
    again = sent_again(evidence)
    yield "sent again", f"{again.total():,} rows: {_counted(again)}"
    reasons = Counter(
        (value or b"").decode()
        for letter in evidence.letters
        for name, value in letter.headers
        if name == "scm.reason"
    )
    yield "dead letters", f"{len(evidence.letters):,}: {_counted(reasons)}"


def _compared(evidence: DemoEvidence, verdict: DemoVerdict) -> str:
    if not verdict.equal:
        return _counted(verdict.counts())
    expected = verdict.expected
    return (
        f"{len(evidence.state):,} codes, {len(expected.updates):,} keys' updates in order, "
        f"{len(expected.letters):,} dead letters: all as an independent replay of the events says"
    )


def sent_again(evidence: DemoEvidence) -> Counter[str]:
    """Return the rows that were sent once more, by what came of them the time before."""
    rejected = _rejected(evidence)
    causes: dict[Key, str] = {}
    counts: Counter[str] = Counter()
    for request in evidence.requests:
        for value in request.keys:
            key = (request.data_key or "", value)
            if key in causes:
                counts[causes.pop(key)] += 1
            if request.status != 200 and not (request.status == 400 and key in rejected):
                causes[key] = "others rejected (400)" if request.status == 400 else _answer(request)
    return counts


def _rejected(evidence: DemoEvidence) -> set[Key]:
    """Return the keys of which the API rejected a row."""
    found: set[Key] = set()
    for letter in evidence.letters:
        headers = {
            name: (value or b"").decode("utf-8", "replace") for name, value in letter.headers
        }
        if "scm.http_status" in headers:
            found.add((headers.get("scm.data_key", ""), headers.get("scm.key_value", "")))
    return found


def _answer(request: UploadRequest) -> str:
    word = "answer lost" if request.status is None else WORDS.get(request.status, "failed")
    return f"{word} ({request.status})" if request.status else word


def _shown(differences: Sequence[Difference]) -> Iterator[str]:
    """Return the first differences of each kind and place."""
    groups: dict[tuple[str, str], list[Difference]] = defaultdict(list)
    for difference in differences:
        groups[difference.kind, difference.where].append(difference)
    for (kind, where), group in groups.items():
        for difference in group[:SHOWN]:
            yield f"  {kind}, in {where}: {difference.key} {difference.field}".rstrip()
            yield f"      expected: {difference.expected}"
            yield f"      found:    {difference.found}"
        if len(group) > SHOWN:
            yield f"  {kind}, in {where}: {len(group) - SHOWN:,} more"


def _named(name: str, text: str, width: int) -> str:
    """Return a line, folded under itself where it is wider than the terminal."""
    folded = textwrap.wrap(text, width - WIDTH) if width > 2 * WIDTH else [text]
    return click.style(f"{name:<{WIDTH}}", bold=True) + f"\n{'':<{WIDTH}}".join(folded)


def _ledger(ledger: Mapping[str, int]) -> str:
    consumed, *others = ledger
    parts = " + ".join(f"{ledger[name]:,} {name}" for name in others)
    return f"{ledger[consumed]:,} records {consumed} = {parts}"


def _counted(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counts.most_common()) or "none"
