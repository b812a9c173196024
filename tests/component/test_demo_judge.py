"""The judge: what it lets pass, and each kind of damage, which makes the command fail by name.

One small real run of the demo gives the evidence; each test damages a copy of it in one place and
lets the command judge it.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from consumer.cli import group
from consumer.demo import reconciling, stage
from consumer.demo.evidence import AppliedRow, DemoEvidence, TopicRecord
from consumer.demo.judge import compare_updates
from consumer.demo.replay import replay
from consumer.demo.shift import Size

SMALL = Size(cases=20, per_case=10, loose=100, seed=3)


@pytest.fixture(scope="module")
def real() -> DemoEvidence:
    with stage.set_up(SMALL) as running:
        return running.play(lambda _: None)


class Played:
    """In place of a stage: a run with this evidence."""

    configuration = Path("no such file")

    def __init__(self, evidence: DemoEvidence) -> None:
        self._evidence = evidence

    def play(self, *_: object, **__: object) -> DemoEvidence:
        """Return the evidence."""
        return self._evidence


def demo(monkeypatch: pytest.MonkeyPatch, evidence: DemoEvidence) -> Result:
    """Run the command with this evidence in place of a run's."""
    monkeypatch.setattr(stage, "set_up", lambda _: nullcontext(Played(evidence)))
    # There is no Kafka any more that it could read; tests/integration/test_demo.py has it.
    monkeypatch.setattr(reconciling, "line", lambda _: (True, "reconcile: not run"))
    return CliRunner().invoke(group, ["demo"])


def updated_code(evidence: DemoEvidence) -> tuple[str, list[int]]:
    """Return a code with several rows, and where the journal has their first applications."""
    for (data_key, value), rows in replay(evidence.world, evidence.published).updates.items():
        places = [
            place
            for place, row in enumerate(evidence.applied)
            if (row.data_key, row.key_value) == (data_key, value)
        ]
        if data_key == "extended_id" and len(rows) == len(places) == 3:
            return value, places
    raise AssertionError("no code with three rows")


def with_applied(
    evidence: DemoEvidence, change: Callable[[list[AppliedRow]], None]
) -> DemoEvidence:
    applied = list(evidence.applied)
    change(applied)
    return replace(evidence, applied=applied)


def with_letters(
    evidence: DemoEvidence, change: Callable[[list[TopicRecord]], None]
) -> DemoEvidence:
    letters = list(evidence.letters)
    change(letters)
    return replace(evidence, letters=letters)


def test_the_evidence_of_a_real_run_passes(
    monkeypatch: pytest.MonkeyPatch, real: DemoEvidence
) -> None:
    result = demo(monkeypatch, real)
    assert "EQUAL" in result.stdout
    assert result.exit_code == 0


def test_a_lost_row(monkeypatch: pytest.MonkeyPatch, real: DemoEvidence) -> None:
    code, places = updated_code(real)
    lost = real.applied[places[1]]
    result = demo(monkeypatch, with_applied(real, lambda applied: applied.remove(lost)))
    assert result.exit_code == 1
    assert (
        f"lost, in the API's journal: extended_id={code}\n      expected: {lost.fields}"
        in result.stdout
    )
    assert "DIFFERENT: 1 differences" in result.stdout


def test_a_code_that_the_api_lost(monkeypatch: pytest.MonkeyPatch, real: DemoEvidence) -> None:
    code, _ = updated_code(real)
    state = {key: fields for key, fields in real.state.items() if key != code}
    result = demo(monkeypatch, replace(real, state=state))
    assert result.exit_code == 1
    assert f"lost, in the API's state: {code}" in result.stdout


def test_a_reordered_pair(monkeypatch: pytest.MonkeyPatch, real: DemoEvidence) -> None:
    code, (first, second, _) = updated_code(real)

    def swap(applied: list[AppliedRow]) -> None:
        applied[first], applied[second] = applied[second], applied[first]

    result = demo(monkeypatch, with_applied(real, swap))
    assert result.exit_code == 1
    assert f"reordered, in the API's journal: extended_id={code}" in result.stdout
    assert "DIFFERENT: 1 differences" in result.stdout


def test_an_older_row_that_comes_back_after_a_newer_one(
    monkeypatch: pytest.MonkeyPatch, real: DemoEvidence
) -> None:
    code, (first, second, _) = updated_code(real)
    older = real.applied[first]
    result = demo(
        monkeypatch, with_applied(real, lambda applied: applied.insert(second + 1, older))
    )
    assert result.exit_code == 1
    assert f"reordered, in the API's journal: extended_id={code}" in result.stdout


def test_an_altered_value_in_the_state(monkeypatch: pytest.MonkeyPatch, real: DemoEvidence) -> None:
    code, _ = updated_code(real)
    product = real.state[code]["product"]
    state = dict(real.state) | {code: {**real.state[code], "product": "SOMETHING-ELSE"}}
    result = demo(monkeypatch, replace(real, state=state))
    assert result.exit_code == 1
    assert (
        f"altered, in the API's state: {code} product\n      expected: {product}\n" in result.stdout
    )
    assert "found:    SOMETHING-ELSE" in result.stdout


def test_an_altered_value_that_was_overwritten_later(
    monkeypatch: pytest.MonkeyPatch, real: DemoEvidence
) -> None:
    """The state does not show it; the journal does."""
    code, (first, _, _) = updated_code(real)
    row = real.applied[first]
    name = next(iter(row.fields))

    def alter(applied: list[AppliedRow]) -> None:
        applied[first] = replace(row, fields={**row.fields, name: "OTHER"})

    result = demo(monkeypatch, with_applied(real, alter))
    assert result.exit_code == 1
    assert f"altered, in the API's journal: extended_id={code} {name}" in result.stdout


def test_a_row_for_a_key_that_nobody_published_twice(
    monkeypatch: pytest.MonkeyPatch, real: DemoEvidence
) -> None:
    foreign = AppliedRow("extended_id", "FOREIGN-CODE", {"product": "GREEN-TEA-100"})
    result = demo(
        monkeypatch, with_applied(real, lambda applied: applied.extend([foreign, foreign]))
    )
    assert result.exit_code == 1
    assert "unexpected 2" in result.stdout
    assert "unexpected, in the API's journal: extended_id=FOREIGN-CODE" in result.stdout


def test_a_row_of_another_code(monkeypatch: pytest.MonkeyPatch, real: DemoEvidence) -> None:
    code, (first, _, third) = updated_code(real)
    foreign = replace(real.applied[first], fields={"never": "published"})
    result = demo(monkeypatch, with_applied(real, lambda applied: applied.insert(third, foreign)))
    assert result.exit_code == 1
    assert f"unexpected, in the API's journal: extended_id={code}" in result.stdout


def test_a_missing_dead_letter(monkeypatch: pytest.MonkeyPatch, real: DemoEvidence) -> None:
    result = demo(monkeypatch, with_letters(real, lambda letters: letters.remove(letters[0])))
    assert result.exit_code == 1
    assert "missing dead letter, in the dead-letter topic: scm.events[" in result.stdout
    assert "DIFFERENT: 1 differences" in result.stdout


def test_a_doubled_dead_letter(monkeypatch: pytest.MonkeyPatch, real: DemoEvidence) -> None:
    result = demo(monkeypatch, with_letters(real, lambda letters: letters.append(letters[0])))
    assert result.exit_code == 1
    assert "extra dead letter 1" in result.stdout


def test_a_dead_letter_of_a_good_record(
    monkeypatch: pytest.MonkeyPatch, real: DemoEvidence
) -> None:
    first = real.letters[0]
    bad = {letter.record for letter in replay(real.world, real.published).letters}
    good = next(r.offset for r in real.published if r.partition == 0 and r not in bad)
    moved = {"__connect.errors.partition": b"0", "__connect.errors.offset": str(good).encode()}
    headers = tuple((name, moved.get(name, value)) for name, value in first.headers)
    result = demo(
        monkeypatch,
        with_letters(real, lambda letters: letters.append(replace(first, headers=headers))),
    )
    assert result.exit_code == 1
    assert f"extra dead letter, in the dead-letter topic: scm.events[0]@{good}" in result.stdout


def test_a_dead_letter_whose_bytes_are_not_the_records(
    monkeypatch: pytest.MonkeyPatch, real: DemoEvidence
) -> None:
    def alter(letters: list[TopicRecord]) -> None:
        letters[0] = replace(letters[0], value=(letters[0].value or b"") + b" ")

    result = demo(monkeypatch, with_letters(real, alter))
    assert result.exit_code == 1
    assert "altered, in the dead-letter topic: scm.events[" in result.stdout


@pytest.mark.parametrize(
    "header", ["scm.reason", "scm.message", "scm.consumer", "__connect.errors.stage"]
)
def test_a_dead_letter_without_one_of_its_headers(
    monkeypatch: pytest.MonkeyPatch, real: DemoEvidence, header: str
) -> None:
    def remove(letters: list[TopicRecord]) -> None:
        kept = tuple(pair for pair in letters[0].headers if pair[0] != header)
        letters[0] = replace(letters[0], headers=kept)

    result = demo(monkeypatch, with_letters(real, remove))
    assert result.exit_code == 1
    assert f" {header}\n" in result.stdout


def test_a_rule_of_the_api_that_was_broken(
    monkeypatch: pytest.MonkeyPatch, real: DemoEvidence
) -> None:
    result = demo(monkeypatch, replace(real, broken_rules={"key_repeated": 1}))
    assert result.exit_code == 1
    assert "rule broken, in the API's rules: key_repeated" in result.stdout


def test_only_the_first_differences_are_shown_and_the_others_counted(
    monkeypatch: pytest.MonkeyPatch, real: DemoEvidence
) -> None:
    result = demo(monkeypatch, replace(real, letters=[]))
    place = "  missing dead letter, in the dead-letter topic: "
    assert result.stdout.count(f"{place}scm.events[") == 3
    assert f"{place}{len(real.letters) - 3:,} more\n" in result.stdout


A, B, C = {"a": "1"}, {"a": "2"}, {"b": "1"}


@pytest.mark.parametrize(
    ("applied", "kinds"),
    [
        ([A, B, C], []),
        ([A, A, B, B, B, C], []),  # at least once: directly after itself
        ([A, C], ["lost"]),
        ([], ["lost", "lost", "lost"]),
        ([B, A, C], ["reordered"]),
        ([A, B, A, C], ["reordered"]),
        ([A, B, A, B, C], ["reordered"]),
        ([C, B, A], ["reordered", "reordered"]),
        ([A, B, C, {"z": "9"}], ["unexpected"]),
        ([A, {"a": "9"}, C], ["altered"]),
    ],
)
def test_the_order_of_one_keys_rows(applied: list[dict[str, str]], kinds: list[str]) -> None:
    key = ("extended_id", "K")
    found = compare_updates({key: [A, B, C]}, [AppliedRow(*key, fields) for fields in applied])
    assert [difference.kind for difference in found] == kinds


def test_the_order_of_a_row_that_is_published_twice() -> None:
    key = ("extended_id", "K")
    wanted = {key: [A, B, A]}
    assert list(compare_updates(wanted, [AppliedRow(*key, fields) for fields in (A, B, A)])) == []
    assert [
        d.kind for d in compare_updates(wanted, [AppliedRow(*key, fields) for fields in (A, B)])
    ] == ["lost"]
