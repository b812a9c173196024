"""Shell completion: what the shell's own functions get from the program."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from consumer.cli import COMMANDS


def completed(words: str) -> set[str]:
    """Return what bash is offered for the last word of a line."""
    done = subprocess.run(
        [sys.executable, "-m", "consumer.cli"],
        env={
            **os.environ,
            "_SCM_CONSUMER_COMPLETE": "bash_complete",
            "COMP_WORDS": words,
            "COMP_CWORD": str(len(words.split(" ")) - 1),
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return {line.partition(",")[2] for line in done.stdout.splitlines()}


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("scm-consumer ", set(COMMANDS)),
        ("scm-consumer config s", {"show", "schema"}),
        ("scm-consumer --log-level ", {"debug", "info", "warning", "error"}),
        ("scm-consumer --log-level debug conf", {"config"}),
        ("scm-consumer sandbox --known", {"--known-prefix"}),
    ],
)
def test_commands_options_and_choices_are_offered(words: str, offered: set[str]) -> None:
    assert completed(words) == offered


def test_the_options_of_a_command_are_offered() -> None:
    assert {"--until-end", "--config", "--log-level", "--help"} <= completed("scm-consumer run --")


def test_the_line_of_the_help_works_in_bash(tmp_path: Path) -> None:
    bash = shutil.which("bash")
    assert bash is not None
    program = tmp_path / "scm-consumer"
    program.write_text(
        f'#!/bin/sh\nexec "{sys.executable}" -m consumer.cli "$@"\n', encoding="utf-8"
    )
    program.chmod(0o755)
    shown = subprocess.run(
        [program, "--help"], capture_output=True, text=True, timeout=60, check=True
    ).stdout
    line = next(
        line.strip() for line in shown.splitlines() if "bash_source" in line and "eval" in line
    )
    script = f"""
        set -eu
        {line}
        complete -p scm-consumer
        COMP_WORDS=(scm-consumer config ex); COMP_CWORD=2
        _scm_consumer_completion scm-consumer
        echo "offered: ${{COMPREPLY[*]}}"
    """
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run(
        [bash, "-c", script],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "_scm_consumer_completion scm-consumer" in done.stdout
    assert done.stdout.endswith("offered: example\n")
