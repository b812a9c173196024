"""``scm-consumer run`` as a person sees it on a terminal."""

from __future__ import annotations

import os
import pty
import subprocess
import sys

import pytest

from tests.support.job import Job
from tests.support.process import toml


@pytest.mark.parametrize(("log_format", "times"), [("auto", 1), ("json", 2)])
def test_the_ledger_stands_once_unless_the_log_is_for_a_machine(
    job: Job, log_format: str, times: int
) -> None:
    job.produce([{"extended_id": "A1", "line": "1"}, {"extended_id": "UNKNOWN1", "line": "1"}])
    file = job.folder / "terminal.toml"
    file.write_text(toml(job.settings(log={"format": log_format})), encoding="utf-8")
    ours, theirs = pty.openpty()
    shown = b""
    with subprocess.Popen(
        [sys.executable, "-m", "consumer.cli", "-c", str(file), "run", "--until-end"],
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
    ) as process:
        os.close(theirs)
        try:
            while read := os.read(ours, 65536):
                shown += read
        except OSError:  # Linux says so when nobody has the other end open any more
            pass
        finally:
            os.close(ours)
        assert process.wait(30) == 0, shown
    text = shown.decode()
    ledger = "records: 2 consumed = 1 accepted + 1 rejected + 0 skipped + 0 released + 0 unsettled"
    assert text.count(f"{ledger}; dead letters: 1 row (unknown_key 1)") == times, text
    assert f"joining the group {job.group} at {job.kafka.bootstrap}" in text
    assert (
        f"rows to the dead-letter topic {job.letters}: unknown_key 1, first from {job.topic}["
        in text
    )
