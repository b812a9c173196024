"""The Dockerfile: linted, and its steps carried out where nothing of the project is installed."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

from packaging.markers import Marker
from packaging.utils import canonicalize_name

import consumer
from tests.deploy import dockerfile
from tests.deploy.compose import ROOT
from tests.deploy.dockerfile import Image


def test_hadolint_has_nothing_to_say() -> None:
    linter = Path(sys.executable).with_name("hadolint")
    done = subprocess.run(
        [linter, "--no-color", dockerfile.FILE], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "")
    assert "hadolint" not in dockerfile.FILE.read_text(), "no rule is switched off"


def test_both_stages_have_one_pinned_base_of_the_python_that_the_tests_run_on() -> None:
    bases = {stage.base for stage in dockerfile.stages()}
    assert len(bases) == 1
    assert re.fullmatch(rf"python:3\.{sys.version_info.minor}\.\d+-slim-[a-z]+", bases.pop())


def test_the_image_does_not_run_as_root_and_names_its_version() -> None:
    last = dockerfile.stages()[-1]
    user, group = last.only("USER").split(":")
    assert int(user) > 0
    assert int(group) > 0
    labels = last.pairs("LABEL")
    assert labels["org.opencontainers.image.version"] == consumer.__version__
    assert labels["org.opencontainers.image.title"] == "scm-consumer"


def test_the_build_context_is_what_the_build_copies_and_no_more() -> None:
    copied = [
        word for arguments in dockerfile.stages()[0].all("COPY") for word in arguments.split()[:-1]
    ]
    sent = dockerfile.context()
    assert all(any(path == word or path.startswith(f"{word}/") for word in copied) for path in sent)
    assert not [path for path in sent if "__pycache__" in path or path.startswith(".")]
    assert sum((ROOT / path).stat().st_size for path in sent) < 3 * 2**20


def test_what_is_installed_from_an_index_is_locked_with_hashes_and_built_nowhere() -> None:
    steps = " ".join(dockerfile.stages()[0].all("RUN")).split("&&")
    from_index = [step for step in steps if " install " in step and "--no-index" not in step]
    assert len(from_index) == 2
    assert all("--require-hashes --only-binary :all: -r deploy/" in step for step in from_index)
    for name in ("requirements.txt", "requirements-build.txt"):
        assert "://" not in (ROOT / "deploy" / name).read_text(), "a lock names no index"


def test_the_image_holds_the_locked_libraries_and_neither_pip_nor_a_build_tool(
    image: Image,
) -> None:
    script = (
        "import importlib.metadata as m, json;"
        "print(json.dumps([[d.metadata['Name'], d.version] for d in m.distributions()]))"
    )
    found = {
        canonicalize_name(name): release
        for name, release in json.loads(_said(image, ["python", "-c", script]))
    }
    locked = _pinned((ROOT / "deploy" / "requirements.txt").read_text())
    assert found == locked | {"scm-consumer": consumer.__version__}
    assert not {"pip", "hatchling", "pytest"} & found.keys()


def test_the_libraries_in_the_image_are_those_that_the_tests_run_with() -> None:
    locked = _pinned((ROOT / "deploy" / "requirements.txt").read_text())
    assert {name: version(name) for name in locked} == locked


def test_the_installed_command_works(image: Image) -> None:
    done = subprocess.run(
        image.command(["--version"]),
        env=image.environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split()[-1] == consumer.__version__
    assert image.default == ["run"]


def test_the_schemas_are_in_the_image(image: Image) -> None:
    script = (
        "import consumer, pathlib;"
        "print(*sorted(path.name for path in "
        "pathlib.Path(consumer.__file__).parent.glob('schemas/*')))"
    )
    assert _said(image, ["python", "-c", script]).split() == sorted(
        path.name for path in (ROOT / "schemas").iterdir()
    )


def _said(image: Image, command: list[str]) -> str:
    done = subprocess.run(
        image.program(command),
        env=image.environment,
        cwd="/",
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def _pinned(lock: str) -> dict[str, str]:
    """Return name to version of the requirements of a lock that hold for this machine."""
    found = re.findall(r"^([\w.-]+)(?:\[[\w,]+\])?==(\S+)(?: ; (.+?))? \\$", lock, re.MULTILINE)
    return {
        canonicalize_name(name): release
        for name, release, marker in found
        if not marker or Marker(marker).evaluate()
    }
