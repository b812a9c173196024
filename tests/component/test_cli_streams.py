"""Output that cannot be written: a full disk, a reader gone, closed streams, a small encoding."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib

import pytest

PROGRAM = [sys.executable, "-m", "consumer.cli"]
SHORT, LONG = ["--version"], ["config", "example"]


def shell(
    arguments: list[str], redirection: str, **variables: str
) -> subprocess.CompletedProcess[bytes]:
    """Run the program in a shell that redirects its streams; pipes fail with its own exit code."""
    line = f'set -o pipefail; "$@" {redirection}'
    return subprocess.run(
        ["bash", "-c", line, "sh", *PROGRAM, *arguments],
        capture_output=True,
        timeout=60,
        check=False,
        env={**os.environ, "SCM_API__TOKEN": "t", **variables},
    )


@pytest.mark.parametrize("arguments", [SHORT, LONG])
def test_a_full_disk_is_told_in_a_line(arguments: list[str]) -> None:
    done = shell(arguments, "> /dev/full")
    assert (done.returncode, done.stderr) == (
        1,
        b"error: the output cannot be written: No space left on device\n",
    )


@pytest.mark.parametrize("arguments", [SHORT, LONG])
def test_a_reader_that_has_left_is_no_traceback(arguments: list[str]) -> None:
    done = shell(arguments, "| true")
    assert (done.returncode in (0, 1), done.stderr) == (
        True,
        b"",
    )  # 0: it was written before the reader left


@pytest.mark.parametrize("arguments", [SHORT, LONG])
@pytest.mark.parametrize("closed", [">&-", "> /dev/null 2>&-", "<&- >&- 2>&-"])
def test_closed_streams_are_no_failure(arguments: list[str], closed: str) -> None:
    done = shell(arguments, closed)
    assert (done.returncode, done.stderr) == (0, b"")


def test_what_the_encoding_of_the_output_lacks_is_escaped_as_toml_reads_it() -> None:
    done = shell(["config", "show"], "", PYTHONIOENCODING="latin-1", SCM_KAFKA__GROUP_ID="東-größe")
    assert (done.returncode, done.stderr) == (0, b"")
    assert tomllib.loads(done.stdout.decode("latin-1"))["kafka"]["group_id"] == "東-größe"
