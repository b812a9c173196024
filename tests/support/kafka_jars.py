"""The broker's jars, fetched once with Maven into the project's cache."""

from __future__ import annotations

import fcntl
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

POM = Path(__file__).with_name("pom.xml")
CACHE = Path(__file__).parents[2] / ".cache" / "kafka"


class BrokerUnavailable(Exception):  # noqa: N818 - what is the case, not a fault of the code
    """A broker cannot be had or did not start.

    The message says what to install or where to look.
    """


def broker_jars() -> Path:
    """Return the folder with the broker's jars, fetched once with Maven into the project's cache.

    Raises BrokerUnavailable, saying what to install, when Java or (for the first time) Maven is not
    there.
    """
    if shutil.which("java") is None:
        raise BrokerUnavailable("java is not on the PATH: install a Java 17 runtime or later")
    folder = jars()
    with _locked(CACHE / "lock"):
        if not folder.exists():
            _fetch(folder)
    return folder


def jars() -> Path:
    """Return the folder where jars are once they were fetched."""
    # The pom's content is the version: a changed pom is a new folder.
    return CACHE / f"jars-{uuid.uuid5(uuid.NAMESPACE_OID, POM.read_text()).hex[:12]}"


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on ``path`` among processes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _fetch(folder: Path) -> None:
    if shutil.which("mvn") is None:
        raise BrokerUnavailable(
            "mvn is not on the PATH: install Maven 3.8 or later to fetch Kafka's jars once"
        )
    with tempfile.TemporaryDirectory(dir=CACHE) as work:
        command = [
            "mvn",
            "-q",
            "-B",
            "-f",
            str(POM),
            "dependency:copy-dependencies",
            f"-DoutputDirectory={work}/jars",
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise BrokerUnavailable(
                f"Maven could not fetch Kafka's jars:\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
            )
        Path(work, "jars").rename(folder)  # whole or not at all
