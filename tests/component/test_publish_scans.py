"""``publish`` of a file of scans: each line byte for byte, checked by the rules of ``[scan]``."""

from __future__ import annotations

from pathlib import Path

from tests.component.test_publish_command import run

SETTINGS = r"""
[kafka]
topics = ["scans.line7"]
[events]
format = "scan"
[scan]
code = ['extended_id = 01/\d{14}/21/([A-Z0-9]{6})', 'pallet_code = 00/(\d{18})']
set = ["scans.line7 = line: 7, seen: {date}, by: {key}", "* = line: other"]
time_zone = "+08:00"
"""
GOOD = b"\x02]d2010950600013435221ABCDEF\x1d10L\x03"


def _folder(folder: Path, *lines: bytes) -> Path:
    (folder / "scm-consumer.toml").write_text(SETTINGS, encoding="utf-8")
    (folder / "scans.csv").write_bytes(b"".join(line + b"\r\n" for line in lines))
    return folder


def test_scans_are_published_as_they_stand_and_others_are_refused_by_line(tmp_path: Path) -> None:
    folder = _folder(tmp_path, GOOD, b"", b"NOREAD", b"]C100195060000000000098")
    done = run(folder, "scans.csv", "--dry-run")
    assert done.returncode == 1
    assert done.stdout.splitlines() == [
        r"line 1, key ABCDEF: '\x02]d2010950600013435221ABCDEF\x1d10L\x03'",
        "line 4, key 195060000000000098: ']C100195060000000000098'",
        "dry run: 2 of 3 lines would be published to scans.line7; 1 refused (invalid_event 1)",
    ]
    assert done.stderr.startswith("line 3: invalid_event: the scan is refused: no rule of scan.co")


def test_the_record_key_is_the_field_that_is_named(tmp_path: Path) -> None:
    done = run(_folder(tmp_path, GOOD), "scans.csv", "--dry-run", "--key", "line")
    assert done.stdout.startswith("line 1, key 7: ")


def test_a_data_key_is_not_the_command_line_s_to_say(tmp_path: Path) -> None:
    done = run(_folder(tmp_path, GOOD), "scans.csv", "--dry-run", "--data-key", "serial_number")
    assert done.returncode == 2
    assert "scan.code says of which field" in done.stderr


def test_an_excel_workbook_is_no_file_of_scans(tmp_path: Path) -> None:
    done = run(_folder(tmp_path, b"PK\x03\x04"), "scans.csv", "--dry-run")
    assert done.returncode == 1
    assert "an Excel workbook" in done.stderr
