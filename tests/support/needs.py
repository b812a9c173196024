"""The tests' needs of the machine beside Python, looked for before anything runs.

``python -m tests.support.needs`` says what is missing. Without a Kafka, those tests run that need
none, and the others are skipped: hundreds of errors would say no more. In CI (``CI=true``) nothing
is skipped, and what is missing ends the run at once.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

from tests.support.kafka_jars import jars
from tests.support.kafka_sources import ADDRESS_VARIABLE

#: Commands, and Debian's packages of them.
PACKAGES = {
    "java": "openjdk-17-jdk-headless",
    "javac": "openjdk-17-jdk-headless",
    "mvn": "maven",
    "go": "golang-go",
    "kcat": "kcat",
    "promtool": "prometheus",
    "openssl": "openssl",
    "chromium": "chromium",
}
#: Fixtures whose tests work with a Kafka: the one that all share, and those of their own.
SHARED, OWN = ("kafka",), ("own_broker", "breakable", "group")
#: What a module that starts a JVM imports for it.
STARTERS = ("JvmBroker", "secure_broker", "StandIn", "Apicurio")
#: Folders whose tests need nearly everything.
WHOLE = ("deploy", "chaos", "factory")


def in_ci() -> bool:
    """Return if this is a run that must be whole."""
    return os.environ.get("CI") == "true"


def missing() -> list[str]:
    """Return the commands that are not there."""
    fetched = jars().exists()  # Maven brings them once
    return [
        name for name in PACKAGES if shutil.which(name) is None and not (name == "mvn" and fetched)
    ]


def told(commands: list[str]) -> str:
    """Say in one line what is missing, what follows from it, and how to get it."""
    packages = " ".join(dict.fromkeys(PACKAGES[name] for name in commands))
    follows = "" if in_ci() else "; tests that need them are skipped"
    return (
        f"missing for the tests: {', '.join(commands)}{follows}. On Debian: "
        "apt-get install --no-install-recommends "
        f"{packages}"
        + (f"; or a Kafka of yours: {ADDRESS_VARIABLE}=host:port" if "java" in commands else "")
    )


def lacks(item: pytest.Item, commands: list[str]) -> bool:
    """Return if a test needs one of these commands, as far as its fixtures and imports tell."""
    folder = item.path.relative_to(Path(__file__).parents[1]).parts[0]
    if folder in WHOLE:
        return True
    if "java" not in commands and "mvn" not in commands:
        return False
    fixtures = set(getattr(item, "fixturenames", ()))
    variant = getattr(getattr(item, "callspec", None), "id", "")
    shared = fixtures.intersection(SHARED) or (
        "real" in variant and fixtures.intersection(("site", "letters"))
    )
    if shared and not _elsewhere():
        return True
    imported = vars(getattr(item, "module", None) or pytest)
    return bool(fixtures.intersection(OWN)) or any(name in imported for name in STARTERS)


def _elsewhere() -> bool:
    """Return if a Kafka may be had without Java."""
    return (
        ADDRESS_VARIABLE in os.environ
        or "DOCKER_HOST" in os.environ
        or Path("/var/run/docker.sock").exists()
    )


def lacking(command: str) -> None:
    """Skip the test that is running, as this command is not there; in CI, fail."""
    text = told([command])
    if in_ci():
        pytest.fail(text, pytrace=False)
    pytest.skip(text)


def main() -> None:
    """Say what is missing; in CI, end with exit code 1."""
    if commands := missing():
        sys.stderr.write(f"{told(commands)}\n")
        sys.exit(1 if in_ci() else 0)


if __name__ == "__main__":
    main()
