"""The stand-ins for the API and the dead-letter topic in a dry run, under the real loop and
core.
"""

from __future__ import annotations

import errno
import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from consumer.adapters.dry_run import DryApi, DryDeadLetters, JsonLines
from tests.unit.runner_fakes import Message, World, keys_of


class DryWorld(World):
    """The loop's world, with a dry run's adapters that print to a file."""

    def __init__(self, path: Path, **rules: Any) -> None:
        self._path = path
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT)
        self._lines = JsonLines(self._descriptor, lambda error: pytest.fail(str(error)))
        super().__init__(**rules)

    def make_api(self) -> DryApi:
        return DryApi(self._lines, self.results)

    def make_dead_letters(self) -> DryDeadLetters:
        return DryDeadLetters(self._lines, self.results)

    def run_to(self, settled: int) -> list[dict[str, Any]]:
        """Turn until so many records are settled; what was printed."""
        self.start()
        self.turn_until(
            lambda: self.runner.ledger().consumed == settled and not self.pipeline.unsettled
        )
        os.close(self._descriptor)
        return [json.loads(line) for line in self._path.read_text(encoding="utf-8").splitlines()]


def test_every_row_is_printed_once_in_the_body_that_would_be_sent_and_settled_at_once(
    tmp_path: Path,
) -> None:
    world = DryWorld(tmp_path / "out")
    world.partition(0, *keys_of("A", 25))

    printed = world.run_to(25)

    bodies = [line["upload"] for line in printed]
    assert [list(body) for body in bodies] == [["data_key", "items"]] * 3
    assert {body["data_key"] for body in bodies} == {"extended_id"}
    assert [item["extended_id"] for body in bodies for item in body["items"]] == keys_of("A", 25)
    assert bodies[0]["items"][3] == {"extended_id": "A3", "note": "3"}
    assert world.runner.ledger().accepted == 25
    assert world.pipeline.uploads.confirming.unconfirmed == 0
    assert world.pipeline.uploads.confirming.fields_not_confirmed == {}


def test_rows_of_one_code_are_in_requests_of_their_own_in_order(tmp_path: Path) -> None:
    world = DryWorld(tmp_path / "out")
    world.partition(0, "A", "B", "A", "A")

    printed = world.run_to(4)

    notes = [[item["note"] for item in line["upload"]["items"]] for line in printed]
    assert [note for window in notes for note in window if note != "1"] == ["0", "2", "3"]
    assert len(notes) == 3


def test_a_row_that_fails_validation_is_printed_with_where_it_is_and_why(tmp_path: Path) -> None:
    world = DryWorld(tmp_path / "out")
    partition = world.partition(3, "A")
    world.source.logs[partition] += [
        Message(1, None),
        Message(2, b'{"extended_id": "B", "date_consumed": "2026-01-01"}'),
        Message(3, b'{"note": "without a key"}'),
    ]

    printed = world.run_to(4)

    letters = [line["dead_letter"] for line in printed if "dead_letter" in line]
    assert [letter["reason"] for letter in letters] == ["forbidden_field", "key_missing"]
    place = {"topic": "events", "partition": 3, "stage": "validate"}
    assert (
        letters[0].items()
        >= (place | {"offset": 2, "field": "date_consumed", "key_value": "B"}).items()
    )
    assert letters[1].items() >= (place | {"offset": 3}).items()
    assert all(letter["message"] for letter in letters)
    assert "key_value" not in letters[1]
    ledger = world.runner.ledger()
    assert (ledger.accepted, ledger.rejected, ledger.skipped) == (1, 2, 1)


def test_a_line_larger_than_the_pipe_is_written_whole() -> None:
    reader, writer = os.pipe()
    content = {"text": "é" * 300_000}
    with ThreadPoolExecutor() as pool, os.fdopen(reader, "rb") as stream:
        written = pool.submit(stream.read)
        JsonLines(writer, lambda error: pytest.fail(str(error))).write("upload", content)
        os.close(writer)
        line = written.result(10)
    assert json.loads(line) == {"upload": content}
    assert line.endswith(b"}\n")


def test_after_the_reader_has_gone_nothing_is_written_and_it_is_told_once() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    told: list[OSError] = []
    lines = JsonLines(writer, told.append)

    lines.write("upload", 1)
    lines.write("upload", 2)

    os.close(writer)
    assert [error.errno for error in told] == [errno.EPIPE]
