"""Random histories and silent losses, against a model of the API that shares no code with it."""

from __future__ import annotations

import csv
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from consumer.errors import UserError
from consumer.reconcile.changes import Changes, NewChange
from consumer.reconcile.comparison import Kind
from consumer.reconcile.download import Fetched
from consumer.reconcile.findings import Findings
from consumer.reconcile.judging import Judge

pytestmark = pytest.mark.promise("reconcile")

SEEDS = 200
UNITS = ("case_code", "pallet_code", "truck_code")
FIELDS = ("line", "batch", "ship_date", "note")


@dataclass
class ModelCode:
    """A code of the model: what it holds, and all that each field ever held."""

    fields: dict[str, str] = field(default_factory=dict)
    past: dict[str, set[str]] = field(default_factory=dict)

    def write(self, name: str, value: str) -> None:
        if name in self.fields:
            self.past.setdefault(name, set()).add(self.fields[name])
        self.fields[name] = value


class Model:
    """The API as the guide describes it: a key selects codes, and sets fields of them."""

    def __init__(self) -> None:
        self.codes: dict[str, ModelCode] = {}

    def upload(self, data_key: str, value: str, fields: Mapping[str, str]) -> None:
        if data_key == "extended_id":
            selected = [self.codes.setdefault(value, ModelCode())]
        else:
            selected = [c for c in self.codes.values() if c.fields.get(data_key) == value]
        for code in selected:
            for name, text in fields.items():
                code.write(name, text)


def history(rng: random.Random, changes: Changes, model: Model, events: int) -> None:
    """Upload random events to the model, and add them to the changes."""
    codes = [f"CODE-{number}" for number in range(rng.randint(3, 25))]
    for offset in range(events):
        level = rng.choices(range(4), weights=(10, 3, 2, 1))[0]
        fields = {name: f"{name}-{rng.randint(0, 3)}" for name in rng.sample(FIELDS, 2)}
        if rng.random() < 0.1:
            fields[rng.choice(FIELDS)] = ""  # it erases
        if level == 0:
            data_key, value = "extended_id", rng.choice(codes)
        else:
            data_key = UNITS[level - 1]
            value = f"{data_key}-{rng.randint(0, 3)}"
        if level < 3 and rng.random() < 0.5:
            unit = UNITS[level]
            fields[unit] = f"{unit}-{rng.randint(0, 3)}" if rng.random() < 0.9 else ""
        model.upload(data_key, value, fields)
        moment = (1_000 + offset, 0, offset, 0)
        changes.add(NewChange(data_key, value, moment, fields, f"e{offset}", settled=True))
    changes.finish()


def lose(rng: random.Random, model: Model) -> dict[tuple[str, str], tuple[Kind, str]]:
    """Change what the model holds, silently; return what is to be found, by code and field."""
    found: dict[tuple[str, str], tuple[Kind, str]] = {}
    for name, code in list(model.codes.items()):
        kind = rng.choice(("none", "none", "none", "stale", "hand", "gone", "emptied"))
        where = rng.choice(FIELDS)
        value = code.fields.get(where)
        if kind == "gone":
            del model.codes[name]
            found[name, ""] = (Kind.MISSING, "")
        elif value and kind == "hand":
            code.fields[where] = "by hand"
            found[name, where] = (Kind.DIFFERENT, "foreign")
        elif value and kind == "emptied":
            code.fields[where] = ""
            found[name, where] = (Kind.DIFFERENT, "stale")
        elif kind == "stale" and (past := code.past.get(where, set()) - {value}):
            code.fields[where] = rng.choice(sorted(past))
            found[name, where] = (Kind.DIFFERENT, "stale")
    return found


def document(model: Model, path: Path, columns: tuple[str, ...] = (*FIELDS, *UNITS)) -> Fetched:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["extended_id", *(f"scm_{name}" for name in columns)])
        for name, code in model.codes.items():
            writer.writerow([name, *(code.fields.get(column, "") for column in columns)])
    return Fetched(path, len(model.codes))


def judged(changes: Changes, fetched: Fetched) -> tuple[Findings, Judge]:
    findings = Findings()
    judge = Judge(changes, findings, {}, None, lambda _: None)
    judge.judge([fetched], all_codes=True)
    return findings, judge


def told(findings: Findings) -> dict[tuple[str, str], tuple[Kind, str]]:
    return {
        (f.key_value, f.field): (f.kind, "" if f.kind is Kind.MISSING else f.cause)
        for f in findings.differences()
    }


@pytest.mark.parametrize("seed", range(SEEDS))
def test_what_was_lost_is_found_and_nothing_else(seed: int, tmp_path: Path) -> None:
    rng = random.Random(seed)
    changes, model = Changes(), Model()
    history(rng, changes, model, rng.randint(5, 150))
    codes = len(model.codes)

    assert told(judged(changes, document(model, tmp_path / "before.csv"))[0]) == {}
    changes.forget_seen()
    lost = lose(rng, model)
    findings, _ = judged(changes, document(model, tmp_path / "after.csv"))

    found = told(findings)
    # A field that nothing holds any more is taken for one that the campaign does not have.
    for place, (kind, _) in found.items():
        if kind is Kind.DISCARDED:
            assert not any(code.fields.get(place[1]) for code in model.codes.values())
            found[place] = (Kind.DIFFERENT, "stale")
    assert found == lost, "each loss is found by its kind and cause, and nothing else"
    damaged = {name for name, _ in lost}
    assert findings.counts()["equal"] == codes - len(damaged)


def test_a_field_whose_column_is_there_and_empty_is_discarded(tmp_path: Path) -> None:
    changes, model = Changes(), Model()
    for offset in range(5):
        fields = {"line": "L1", "batch": f"B{offset}"}
        model.upload("extended_id", f"CODE-{offset}", fields)
        moment = (offset, 0, offset, 0)
        changes.add(NewChange("extended_id", f"CODE-{offset}", moment, fields, "", settled=True))
    changes.finish()
    for code in model.codes.values():
        code.fields["batch"] = ""
    findings, _ = judged(changes, document(model, tmp_path / "codes.csv"))
    assert findings.counts()["discarded"] == 5


def test_a_field_without_a_column_is_named_and_not_compared(tmp_path: Path) -> None:
    changes, model = Changes(), Model()
    history(random.Random(1), changes, model, 50)
    fetched = document(model, tmp_path / "codes.csv", columns=("line", *UNITS))
    findings, judge = judged(changes, fetched)
    assert told(findings) == {}
    assert set(judge.not_compared) == {"batch", "ship_date", "note"}


def test_a_document_with_fewer_codes_than_told_is_refused(tmp_path: Path) -> None:
    changes, model = Changes(), Model()
    history(random.Random(2), changes, model, 50)
    path = document(model, tmp_path / "codes.csv").path
    with pytest.raises(UserError, match="cut off"):
        judged(changes, Fetched(path, len(model.codes) + 1))


def test_an_open_change_leaves_its_field_undecided(tmp_path: Path) -> None:
    changes, model = Changes(), Model()
    model.upload("extended_id", "CODE-1", {"line": "L1", "batch": "B1"})
    old, new = {"line": "L1", "batch": "B1"}, {"line": "L2"}
    changes.add(NewChange("extended_id", "CODE-1", (1, 0, 0, 0), old, "", settled=True))
    changes.add(NewChange("extended_id", "CODE-1", (2, 0, 1, 0), new, "", settled=False))
    changes.finish()
    findings, _ = judged(changes, document(model, tmp_path / "codes.csv"))
    assert [kind for kind, _ in told(findings).values()] == [Kind.UNDECIDED], (
        "an event that is not uploaded yet is no loss"
    )


@pytest.mark.parametrize("gone", ["by retention", "by compaction"])
def test_what_events_that_are_gone_may_have_set_is_undecided(gone: str, tmp_path: Path) -> None:
    changes, model = Changes(), Model()
    model.upload("extended_id", "CODE-1", {"line": "L2"})
    fields = {"line": "L1"}
    changes.add(NewChange("extended_id", "CODE-1", (100, 0, 5, 0), fields, "", settled=True))
    if gone == "by retention":
        changes.blind_until[1] = 200  # of another partition all before this time is gone
    else:
        changes.last_gap[0] = 9  # records between this one and the offset 9 are gone
    changes.finish()
    findings, _ = judged(changes, document(model, tmp_path / "codes.csv"))
    assert [kind for kind, _ in told(findings).values()] == [Kind.UNDECIDED], (
        "an event that is gone may have set what is held"
    )


def test_a_code_that_is_in_a_unit_by_no_event_is_not_accused(tmp_path: Path) -> None:
    changes, model = Changes(), Model()
    model.codes["CODE-1"] = ModelCode({"case_code": "case-1", "ship_date": "2026-11-01"})
    fields = {"ship_date": "2026-11-22"}
    changes.add(NewChange("case_code", "case-1", (1, 0, 0, 0), fields, "", settled=True))
    changes.finish()
    findings, _ = judged(changes, document(model, tmp_path / "codes.csv"))
    assert [kind for kind, _ in told(findings).values()] == [Kind.UNDECIDED]


def test_dead_lettered_rows_do_not_count(tmp_path: Path) -> None:
    changes, model = Changes(), Model()
    model.upload("extended_id", "CODE-1", {"line": "L1"})
    for offset, line in enumerate(("L1", "L2")):
        fields = {"line": line}
        moment = (offset, 0, offset, 0)
        changes.add(NewChange("extended_id", "CODE-1", moment, fields, "", settled=True))
    changes.add_letters([(0, 1, "extended_id", "CODE-1")])
    changes.finish()
    assert changes.count == 1
    assert told(judged(changes, document(model, tmp_path / "codes.csv"))[0]) == {}
