"""Build sdist and wheel as anybody would, from a copy of the sources that git knows."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.deploy.compose import ROOT


def sources() -> list[str]:
    """Return the files that belong to the project, whether they are committed yet or not."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return [name for name in done.stdout.splitlines() if (ROOT / name).is_file()]


def copied(folder: Path) -> Path:
    """Copy the sources to a folder; return it."""
    for name in sources():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, folder / name)
    return folder


def build(folder: Path, into: Path, *targets: str, umask: int = 0o022) -> dict[str, str]:
    """Build these targets (sdist, wheel) of a source folder; return name to SHA-256."""
    words = [word for target in targets for word in ("-t", target)]
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-d", into, *words],
        cwd=folder,
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        umask=umask,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return hashes(into)


def hashes(folder: Path) -> dict[str, str]:
    """Return the name of each file in a folder, and its SHA-256."""
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.iterdir())
        if path.is_file()
    }
