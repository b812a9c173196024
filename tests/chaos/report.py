"""The report of a run: what it was, and what the judge says of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tests.chaos.case import Verdict
from tests.chaos.evidence import Evidence

#: Findings of one kind that are shown in full.
SHOWN = 5


def report(evidence: Evidence, verdict: Verdict) -> str:
    """Return the figures, then every finding."""
    ends = [life.end for life in evidence.lives]
    kills = list(verdict.repeats_by_kill.values())
    by_end = verdict.repeats_of_end
    lines = [
        f"seed {evidence.seed}, {evidence.seconds:.0f} s",
        f"done: {listed(evidence.actions)}",
        f"members: {len(ends)} lives, {ends.count('kill')} killed, "
        f"{ends.count('stop')} stopped in order",
        f"group: {generations(evidence)}; {len(evidence.commits)} commits",
        f"API faults that struck: {listed(evidence.faults)}",
        f"records {len(evidence.records)}, requests {len(evidence.requests)}, rows applied "
        f"{len(evidence.applications)}, letters {verdict.letters} ({verdict.letters_repeated} "
        "repeated)",
        f"records of several rows {verdict.records_of_several_rows}, tasks {verdict.tasks}",
        f"drained in {evidence.drain_seconds:.1f} s; "
        f"/status looked at {evidence.looks} times, at most "
        f"{evidence.most_unsettled} of {evidence.max_unsettled_rows} rows unsettled",
        f"lost: {verdict.lost}",
        f"order inversions: {verdict.inversions}",
        f"  explained and counted apart: {listed(verdict.late)}",
        f"  older for a while, as a new owner repeated them: {verdict.older_for_a_while}",
        f"  rows sent after the partition was given away: {listed(verdict.late_sends)}",
        f"codes whose final state is not that of the replay: {verdict.wrong_states}",
        f"commits that the client sent once more behind a later one: {verdict.sent_once_more}",
        f"unexplained repeats: {verdict.unexplained}",
        f"  explained: {listed(verdict.repeats)}",
        f"  of answered calls, by how their epoch ended: {listed(+by_end)}",
        f"  after {len(kills)} kills: {sum(kills)} repeats, "
        f"at most {max(kills, default=0)} of one; the oldest "
        f"answer that was not committed was {verdict.oldest_repeat:.2f} s old",
        f"  after a stop in order: {by_end['stop']} repeats of answered calls",
    ]
    if verdict.findings:
        lines.append(f"FAILED: {len(verdict.findings)} findings (seed {evidence.seed})")
        lines += shortened(verdict.findings)
    else:
        lines.append("PASSED")
    return "\n".join(lines)


def generations(evidence: Evidence) -> str:
    """Return how often the group was divided anew, and among how many members of which kind."""
    found: dict[str, set[tuple[int, frozenset[str] | None]]] = {}
    for generation in evidence.generations:
        found.setdefault(generation.protocol, set()).add((generation.number, generation.ids))
    counts = ", ".join(
        f"{len(some)} with the {protocol} protocol" for protocol, some in found.items()
    )
    static = sum(life.static for life in evidence.lives)
    return f"generations (rebalances): {counts or 'none'}; {static} of the lives static members"


def shortened(findings: Sequence[str]) -> list[str]:
    """Return the first findings of each kind (the word before the colon), and the
    number of others.
    """
    kinds: dict[str, list[str]] = {}
    for finding in findings:
        kinds.setdefault(finding.partition(":")[0], []).append(finding)
    lines: list[str] = []
    for kind, found in kinds.items():
        lines += [f"- {finding}" for finding in found[:SHOWN]]
        if len(found) > SHOWN:
            lines.append(f"- {kind}: {len(found) - SHOWN} more")
    return lines


def listed(counts: Mapping[str, int]) -> str:
    """Return ``name count``, the largest first."""
    return (
        ", ".join(f"{name} {n}" for name, n in sorted(counts.items(), key=lambda item: -item[1]))
        or "none"
    )
