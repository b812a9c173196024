"""A machine without a JDK or Maven: one line says so, and what needs no broker runs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
#: One file whose tests need a broker, and one whose tests need nothing.
FILES = ("tests/contract/test_advice.py", "tests/component/test_masking.py")


@pytest.fixture
def bare(tmp_path: Path) -> dict[str, str]:
    """Return the variables of a machine on which nothing is installed."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PYTEST", "SCM_", "DOCKER"))
    }
    return kept | {"PATH": str(tmp_path), "CI": "false"}


def run(variables: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=ROOT,
        env=variables,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_what_is_missing_is_said_in_one_line_with_how_to_get_it(bare: dict[str, str]) -> None:
    done = run(bare, "tests.support.needs")
    (line,) = done.stderr.splitlines()
    assert line.startswith("missing for the tests: java, javac"), line
    assert "tests that need them are skipped" in line
    assert "apt-get install --no-install-recommends openjdk-17-jdk-headless" in line
    assert done.returncode == 0


def test_in_ci_what_is_missing_ends_the_run(bare: dict[str, str]) -> None:
    done = run(bare | {"CI": "true"}, "tests.support.needs")
    assert done.stderr.startswith("missing for the tests: java, javac")
    assert done.returncode == 1


def test_what_needs_no_broker_runs_and_nothing_fails(bare: dict[str, str]) -> None:
    done = run(bare, "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", *FILES)
    assert done.returncode == 0, done.stdout[-2000:]
    assert " passed" in done.stdout
    assert "missing: java, javac" in done.stdout
    assert "failed" not in done.stdout
    assert "error" not in done.stdout
