"""``dlq`` on many letters: the memory that it takes is bounded, however many there are.

``DLQ_LETTERS=100000`` measures more than CI does; docs/dead-letters.md has the figures.
"""

from __future__ import annotations

import json
import os

from tests.integration.dead_letters import measured, write_letters
from tests.support.job import Job

LETTERS = int(os.environ.get("DLQ_LETTERS", "20000"))
#: What docs/dead-letters.md promises.
BOUND_MIB = 150


def test_many_letters_are_listed_counted_and_resolved_in_bounded_memory(job: Job) -> None:
    write_letters(job, LETTERS, events=True)
    for arguments in (
        ("list", "--json"),
        ("stats", "--json"),
        ("resolve", "--because", "measured", "--yes"),
        ("stats", "--json"),
    ):
        done = measured(job, *arguments)
        print(  # noqa: T201 - the figures of docs/dead-letters.md
            f"{LETTERS:,} letters, {' '.join(arguments)}: {done.seconds:.1f} s, {done.peak_mib} MiB"
        )
        assert done.code == 0, done.err
        assert done.peak_mib <= BOUND_MIB, f"{arguments}: {done.peak_mib} MiB are resident"
        if arguments[0] == "list":
            keys = {json.loads(line)["key_value"] for line in done.out.splitlines()}
            assert len(keys) == LETTERS
    states = json.loads(done.out)["states"]
    assert states == {"open": 0, "replayed": 0, "resolved": LETTERS}
