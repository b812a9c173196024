"""Find blind spots of the tests: one comparison or number changed at a time, and what none sees.

``python -m tests.mutants.operators [--near] [--sample N] [--seed S] FILE...``; a FILE is named from
consumer/ on, such as ``core/offsets/partition.py``. Unlike the table, nothing here is a bug that
somebody would write, and not each survivor is a fault of the tests: what bounds a wait or a batch
may well be one more or less. So it is a look-out and no check: what matters among the survivors
gets a test, and a mutant in the table.
"""

from __future__ import annotations

import argparse
import ast
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from tests.mutants.run import ROOT, copy_of

TURNED: dict[type[ast.cmpop], str] = {
    ast.Lt: "<=",
    ast.LtE: "<",
    ast.Gt: ">=",
    ast.GtE: ">",
    ast.Eq: "!=",
    ast.NotEq: "==",
}
WRITTEN = {ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.Eq: "==", ast.NotEq: "!="}
TESTS = "tests/unit"
RUN_SECONDS = 600.0


class Change(NamedTuple):
    """In line ``line`` (from 1), from ``column`` on, ``old`` becomes ``new``."""

    line: int
    column: int
    old: str
    new: str

    def applied(self, text: str) -> str:
        """Return the text with this change."""
        lines = text.splitlines(keepends=True)
        line = lines[self.line - 1].encode()
        before, after = line[: self.column], line[self.column :]
        assert after.startswith(self.old.encode()), (self, line)
        lines[self.line - 1] = (
            before + self.new.encode() + after[len(self.old.encode()) :]
        ).decode()
        return "".join(lines)


def changes_of(text: str) -> Iterator[Change]:
    """Return every comparison turned, every number one more or twice as much."""
    lines = [line.encode() for line in text.splitlines()]
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Compare):
            operands = [node.left, *node.comparators]
            for left, operator, right in zip(operands, node.ops, operands[1:], strict=False):
                found = _between(lines, left, right, WRITTEN.get(type(operator), ""))
                if found is not None:
                    yield Change(*found, WRITTEN[type(operator)], TURNED[type(operator)])
        elif (
            isinstance(node, ast.Constant)
            and isinstance(node.value, int | float)
            and not isinstance(node.value, bool)
        ):
            old = lines[node.lineno - 1][node.col_offset : node.end_col_offset].decode()
            new = (
                repr(node.value + 1)
                if isinstance(node.value, int)
                else repr((node.value or 1.0) * 2)
            )
            yield Change(node.lineno, node.col_offset, old, new)


def _between(
    lines: Sequence[bytes], left: ast.expr, right: ast.expr, written: str
) -> tuple[int, int] | None:
    """Return where the operator stands between two operands of one line."""
    if not written or left.end_lineno != right.lineno:
        return None
    line = lines[right.lineno - 1]
    column = line.find(written.encode(), left.end_col_offset, right.col_offset)
    return (right.lineno, column) if column >= 0 else None


def survives(
    file: Path, change: Change, copy: Path, near: Sequence[str], *, only_near: bool
) -> bool:
    """Return whether all tests of the core pass with this change, the nearest run first."""
    path = copy / "consumer" / file
    before = path.read_text()
    try:
        path.write_text(change.applied(before))
        return (not near or _pass(near, copy)) and (
            (only_near and bool(near)) or _pass([TESTS], copy)
        )
    finally:
        path.write_text(before)


def _pass(tests: Sequence[str], copy: Path) -> bool:
    # No bytecode: a file that was changed within the second, and is as long as before, would count
    # as unchanged.
    environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-x",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:xdist",
        *tests,
    ]
    try:
        done = subprocess.run(
            command,
            cwd=copy,
            env=environment,
            capture_output=True,
            check=False,
            timeout=RUN_SECONDS,
        )
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


def near(file: Path, copy: Path) -> list[str]:
    """Return the tests that are named after the module, or use it, those first."""
    module = f"consumer.{'.'.join(file.with_suffix('').parts)}"
    users = [
        path
        for path in sorted((copy / TESTS).glob("test_*.py"))
        if file.stem in path.stem or f"{module} import" in path.read_text()
    ]
    users.sort(key=lambda path: file.stem not in path.stem)
    return [str(path.relative_to(copy)) for path in users]


def main() -> int:
    """Print a line for each survivor."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants.operators", description=__doc__)
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--sample", type=int, default=0, help="of all changes, so many; 0: each")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--near", action="store_true", help="run only the tests that use the module: much quicker"
    )
    given = parser.parse_args()
    found = [
        (file, change)
        for file in given.files
        for change in changes_of((ROOT / "consumer" / file).read_text())
    ]
    if given.sample:
        found = random.Random(given.seed).sample(found, min(given.sample, len(found)))
    survivors = 0
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="operators-") as work:
        copy = copy_of(ROOT, Path(work))
        for file, change in found:
            if survives(file, change, copy, near(file, copy), only_near=given.near):
                survivors += 1
                line = (ROOT / "consumer" / file).read_text().splitlines()[change.line - 1].strip()
                sys.stdout.write(f"{file}:{change.line}: {change.old} -> {change.new}: {line}\n")
                sys.stdout.flush()
    sys.stdout.write(f"{survivors} of {len(found)} survive, in {time.monotonic() - began:.0f} s\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
