"""Breaks of what is counted and committed: watermark, settled map, ledger, memory bound."""

from __future__ import annotations

from tests.mutants.mutant import Edit, Mutant

OFFSETS, COMMITS, MAP, CODEC, FLOW, PIPELINE, ACKNOWLEDGEMENTS, INTAKE = (
    "core/offsets/partition.py",
    "core/offsets/commits.py",
    "core/offsets/settled_map.py",
    "core/offsets/run_codec.py",
    "core/admission/flow.py",
    "core/pipeline.py",
    "core/acknowledgements.py",
    "loop/intake.py",
)
OFFSETS_TESTS = ("tests/unit/core/offsets/test_partition.py",)
MAP_TESTS = ("tests/unit/core/offsets/test_settled_map.py",)
INTAKE_TESTS = ("tests/unit/loop/test_intake.py",)

MUTANTS = (
    Mutant(
        "what a later leader has written is skipped for what the map names",
        (
            Edit(
                "core/offsets/partition.py",
                "            self.already_settled = self.already_settled.until(offset)\n",
                "            pass\n",
            ),
        ),
        ("tests/unit/loop/test_intake.py",),
        promise="I1",
    ),
    Mutant(
        "commits do not name the epoch of the leader that is read",
        (
            Edit(
                "core/offsets/partition.py",
                "        self.origin = self.origin._replace(epoch=epoch)\n",
                "",
            ),
        ),
        ("tests/unit/loop/test_intake.py",),
        promise="I1",
    ),
    Mutant(
        "commit before settle",
        (
            Edit(
                COMMITS, "offset = partition.committable_offset\n", "offset = partition.position\n"
            ),
        ),
        promise="I3",
    ),
    Mutant(
        "committable offset off by one",
        (
            Edit(
                OFFSETS,
                "return records[0].offset if records",
                "return records[0].offset + 1 if records",
            ),
        ),
        promise="I3",
    ),
    Mutant(
        "a record counts as settled with the first of its rows",
        (
            Edit(
                OFFSETS,
                "        if record.open:\n"
                '            assert record.open > 0, "a record has more settled rows than rows"\n'
                "            continue\n"
                "        record.settled",
                "        if record.settled:\n            continue\n        record.settled",
            ),
        ),
        promise="I1",
    ),
    Mutant(
        "a partition that was taken away is committed",
        (Edit(COMMITS, "        if not partition.owned:\n            continue\n", ""),),
        OFFSETS_TESTS,
        promise="I3",
    ),
    Mutant(
        "a commit carries no settled map",
        (
            Edit(
                COMMITS,
                "        if partition.records or partition.already_settled.end > offset:\n",
                "        if False:\n",
            ),
        ),
        promise="I7",
    ),
    Mutant(
        "what the map names is forgotten by the first commit after a restart",
        (
            Edit(
                COMMITS,
                "if partition.records or partition.already_settled.end > offset:",
                "if partition.records:",
            ),
            Edit(OFFSETS, "        return runs + unread\n", "        return runs\n"),
        ),
        promise="I7",
    ),
    Mutant(
        "a map is committed only when the committable offset moves",
        (
            Edit(
                COMMITS,
                "offset != partition.committed or metadata != partition.metadata",
                "offset != partition.committed",
            ),
        ),
        promise="I7",
    ),
    Mutant(
        "map off by one: the unsettled record before a run counts as settled",
        (Edit(OFFSETS, "runs = [(offset + 1, after)", "runs = [(offset, after)"),),
        promise="I1",
    ),
    Mutant(
        "map off by one where it is read",
        (
            Edit(
                CODEC,
                "yield at + ones.start(), at + ones.end()",
                "yield at + ones.start() + 1, at + ones.end() + 1",
            ),
        ),
        promise="I1",
    ),
    Mutant(
        "map of another version is trusted",
        (
            Edit(
                MAP,
                "len(parts) not in {VERSION: (5,), VERSION_WITH_ORIGIN: (8, 9)}.get(parts[0], ())",
                "len(parts) not in (5, 8)",
            ),
        ),
        MAP_TESTS,
        promise="I1",
    ),
    Mutant(
        "map at another offset is trusted",
        (Edit(MAP, "parts[1:3] != [str(partition), str(base)]", "parts[1] != str(partition)"),),
        MAP_TESTS,
        promise="I1",
    ),
    Mutant(
        "map of another partition is trusted",
        (Edit(MAP, "parts[1:3] != [str(partition), str(base)]", "parts[2] != str(base)"),),
        MAP_TESTS,
        promise="I1",
    ),
    Mutant(
        "the map's checksum is not looked at",
        (
            Edit(
                MAP, '    if f"{zlib.crc32(whole.encode()):08x}" != checksum:\n', "    if False:\n"
            ),
        ),
        MAP_TESTS,
        promise="I1",
    ),
    Mutant(
        "reading goes on when the map has no room left",
        (Edit(OFFSETS, "return characters(self._map_may_take()) > room", "return False"),),
        OFFSETS_TESTS,
        promise="I7",
    ),
    Mutant(
        "the map's room is judged by what is settled now, not by what may settle",
        (Edit(CODEC, "each = 1 + _size(end - unsettled[0])", "each = 0"),),
        MAP_TESTS,
        promise="I7",
    ),
    Mutant(
        "what the map names is sent again",
        (Edit(INTAKE, "(already_settled is not None and offset in already_settled)", "False"),),
        INTAKE_TESTS,
        promise="I7",
    ),
    Mutant(
        "a record behind one that waits for its schema passes it",
        (
            Edit(
                INTAKE,
                "        pending = self.waiting.get(partition)\n        if pending is None and",
                "        pending = None\n        if pending is None and",
            ),
        ),
        INTAKE_TESTS,
        promise="I2",
    ),
    Mutant(
        "a tombstone is passed over without being counted",
        (
            Edit(
                INTAKE,
                "                records.append(Record(partition, offset, None, 0, read_at=now))\n",
                "",
            ),
        ),
        INTAKE_TESTS,
        promise="I5",
    ),
    Mutant(
        "memory bound: values alone are counted, not keys, headers and objects",
        (
            Edit(
                INTAKE,
                "                len(value) + beside,\n",
                "                len(value),\n",
            ),
        ),
        INTAKE_TESTS,
        promise="I6",
    ),
    Mutant(
        "memory bound: what is skipped or settled behind a stuck record is kept",
        (
            Edit(
                OFFSETS,
                "self.records.extend(record for record in records if record.open)",
                "self.records.extend(records)",
            ),
            Edit(
                OFFSETS,
                "2 * self.ledger.unsettled + MAX_SETTLED_KEPT:",
                "2 * self.ledger.unsettled + 10**9:",
            ),
        ),
        OFFSETS_TESTS,
        promise="I6",
    ),
    Mutant(
        "ledger: an accepted record counts twice",
        (Edit(OFFSETS, "ledger.accepted += records", "ledger.accepted += 2 * records"),),
        promise="I5",
    ),
    Mutant(
        "ledger: a settled record stays unsettled",
        (Edit(OFFSETS, "        partition.ledger.unsettled -= records\n", ""),),
        promise="I5",
    ),
    Mutant(
        "ledger: what a revocation releases is not counted",
        (Edit(OFFSETS, "        self.ledger.released += self.ledger.unsettled\n", ""),),
        promise="I5",
    ),
    Mutant(
        "ledger: skipped counted as accepted",
        (Edit(OFFSETS, "self.ledger.skipped += 1", "self.ledger.accepted += 1"),),
        promise="I5",
    ),
    Mutant(
        "ledger: rejected counted as accepted",
        (Edit(OFFSETS, "        if record.rejected:\n", "        if False:\n"),),
        promise="I5",
    ),
    Mutant(
        "memory bound: bytes of settled records are not given back",
        (
            Edit(
                OFFSETS,
                "        size += record.size\n        if record.rejected",
                "        if record.rejected",
            ),
        ),
        promise="I6",
    ),
    Mutant(
        "memory bound: settled rows are not given back",
        (Edit(PIPELINE, "self.flow.release(len(rows), settle(", "self.flow.release(0, settle("),),
        promise="I6",
    ),
    Mutant(
        "memory bound: released rows are not given back",
        (
            Edit(
                PIPELINE,
                "self.flow.release(len(waiting) + len(holding), 0)",
                "self.flow.release(len(waiting), 0)",
            ),
        ),
        promise="I6",
    ),
    Mutant(
        "memory bound: not looked at",
        (Edit(FLOW, "        return not self.full", "        return True"),),
        promise="I6",
    ),
    Mutant(
        "memory bound: bytes not looked at",
        (
            Edit(
                FLOW,
                " or self.size >= _end(\n            size, self._max_bytes, share\n        )",
                "",
            ),
        ),
        promise="I6",
    ),
    Mutant(
        "what a half-settled record goes on holding is not counted",
        (Edit(PIPELINE, "        record.size += HELD_BYTES * record.open\n", ""),),
        ("tests/unit/core/test_half_settled.py",),
        promise="I6",
    ),
    Mutant(
        "rejected rows do not count as rows that cannot go until their letters are late",
        (Edit(ACKNOWLEDGEMENTS, "if late or row.stage == Stage.DEAD_LETTER", "if late"),),
        ("tests/unit/core/admission/test_flow.py",),
        promise="I6",
    ),
)
