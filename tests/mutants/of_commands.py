"""Breaks of the commands that look back at events: ``dlq replay`` and ``reconcile``."""

from __future__ import annotations

from tests.mutants.mutant import Edit, Mutant

WRITERS, WATCHING = "dead_letters/writers.py", "dead_letters/watching.py"
MEANING, VERDICTS = "dead_letters/meaning.py", "dead_letters/verdicts.py"
REPLAY_TESTS = (
    "tests/unit/dead_letters/test_verdicts.py",
    "tests/unit/dead_letters/test_histories.py",
)
COMPARISON, CHANGES = "reconcile/comparison.py", "reconcile/changes.py"
RECONCILE_TESTS = ("tests/unit/reconcile/test_losses.py",)

MUTANTS = (
    Mutant(
        "a newer event of the same partition does not stand against a letter",
        (Edit(WRITERS, "newer = event.position > letter.position and", "newer = False and"),),
        REPLAY_TESTS,
        promise="replay",
    ),
    Mutant(
        "of two partitions' events of the same time the letter's is taken for the newer",
        (
            Edit(
                WRITERS,
                "elif NO_TIME in (event.time, letter.time) or not letter.time "
                "or event.time == letter.time:",
                "elif NO_TIME in (event.time, letter.time) or not letter.time:",
            ),
        ),
        REPLAY_TESTS,
        promise="replay",
    ),
    Mutant(
        "a blacklist reason and a status are taken for two fields",
        (Edit(MEANING, ', "blacklist_reason": "activation_status"', ""),),
        REPLAY_TESTS,
        promise="replay",
    ),
    Mutant(
        "a letter whose record is another one now is brought back",
        (
            Edit(
                WATCHING,
                "watched.strange = bool(own) and own != hash_of(value)",
                "watched.strange = False",
            ),
        ),
        REPLAY_TESTS,
        promise="replay",
    ),
    Mutant(
        "a compacted topic's gap leaves what was before it certain",
        (Edit(CHANGES, "if offset < self.last_gap.get(partition, 0):", "if offset < 0:"),),
        RECONCILE_TESTS,
        promise="reconcile",
    ),
    Mutant(
        "what retention has eaten in another partition leaves older events certain",
        (Edit(CHANGES, "return all(time >= until for", "return all(time >= 0 for"),),
        RECONCILE_TESTS,
        promise="reconcile",
    ),
    Mutant(
        "an event that is not uploaded yet is taken for lost",
        (Edit(COMPARISON, "    if want.open:\n", "    if False:\n"),),
        RECONCILE_TESTS,
        promise="reconcile",
    ),
    Mutant(
        "an older event's value passes for somebody else's",
        (
            Edit(
                COMPARISON,
                "any(same(name, old, held) for old in want.older for held in values)",
                "False",
            ),
        ),
        RECONCILE_TESTS,
        promise="reconcile",
    ),
)
