"""deploy/Dockerfile as the tests read it, and its steps carried out below a folder, without an
engine.

Only what the file uses is understood: anything else is an error, never passed over.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from docker.utils.build import exclude_paths  # type: ignore[import-untyped]

from tests.deploy.compose import ROOT

FILE = ROOT / "deploy" / "Dockerfile"
IGNORE = ROOT / ".dockerignore"

#: Variables that tell pip how this machine reaches an index; an image's build has its engine's own.
_NETWORK = re.compile(
    r"PIP_(INDEX_URL|EXTRA_INDEX_URL|CERT|PROXY|FIND_LINKS|TRUSTED_HOST|DEFAULT_TIMEOUT)|"
    r"(HTTPS?|NO|ALL)_PROXY|SSL_CERT_FILE|REQUESTS_CA_BUNDLE|HOME",
    re.IGNORECASE,
)


@dataclass
class Stage:
    """One ``FROM`` with the instructions under it: (name, arguments)."""

    base: str
    name: str
    steps: list[tuple[str, str]] = field(default_factory=list)

    def all(self, name: str) -> list[str]:
        """Return the arguments of every instruction of that name."""
        return [arguments for step, arguments in self.steps if step == name]

    def only(self, name: str) -> str:
        """Return the arguments of the one instruction of that name."""
        (found,) = self.all(name)
        return found

    def pairs(self, name: str) -> dict[str, str]:
        """Return the NAME=value pairs of all instructions of that name, ENV or LABEL."""
        words = (word for arguments in self.all(name) for word in shlex.split(arguments))
        return dict(word.split("=", 1) for word in words)


def stages() -> list[Stage]:
    """Return the file's stages."""
    found: list[Stage] = []
    lines = (
        line
        for line in FILE.read_text(encoding="utf-8").splitlines()
        if not line.lstrip().startswith("#")
    )
    for line in re.sub(r"\\\n\s*", " ", "\n".join(lines)).splitlines():
        if not line.strip():
            continue
        name, arguments = line.split(None, 1)
        if name == "FROM":
            base, _, stage = arguments.partition(" AS ")
            found.append(Stage(base, stage))
        else:
            found[-1].steps.append((name, arguments.strip()))
    return found


def context() -> set[str]:
    """Return the files that the build can copy: what .dockerignore leaves of the project's root."""
    patterns = [
        line for line in IGNORE.read_text().splitlines() if line and not line.startswith("#")
    ]
    always = {str(FILE.relative_to(ROOT)), IGNORE.name}  # the engine needs these two for itself
    sent = exclude_paths(ROOT, patterns, dockerfile=str(FILE.relative_to(ROOT)))
    return {path for path in sent if (ROOT / path).is_file()} - always


class Image:
    """The image that the last stage ships, below ``root``: how its processes are started."""

    def __init__(self, root: Path, stage: Stage, path: str) -> None:
        self._root = root
        variables = {name: mapped(value, root) for name, value in stage.pairs("ENV").items()}
        self.environment = variables | {"PATH": variables["PATH"].replace("$PATH", path)}
        self._entrypoint: list[str] = json.loads(stage.only("ENTRYPOINT"))
        self.default: list[str] = json.loads(stage.only("CMD"))

    def command(self, arguments: list[str]) -> list[str]:
        """Return the entry point with arguments, found as the engine does: on the image's PATH."""
        return self.program([*self._entrypoint, *arguments])

    def program(self, command: list[str]) -> list[str]:
        """Return another program of the image."""
        found = shutil.which(command[0], path=self.environment["PATH"])
        assert found is not None, f"{command[0]} is not in the image"
        return [found, *command[1:]]


def mapped(text: str, root: Path) -> str:
    """A text with the image's /opt below ``root``."""
    return re.sub(r"(?<![\w./])/opt/", f"{root}/opt/", text)


def build(root: Path) -> Image:
    """Carry out the build stage's steps below ``root``, then leave only what the last stage copies.

    The steps see the files of the build context, an interpreter called python, the system's tools,
    and no variable of this process but those that say how to reach the network. Fails with the
    output of the step.
    """
    first, last = stages()
    tools = root / "usr" / "bin"
    tools.mkdir(parents=True)
    (tools / "python").symlink_to(Path(sys.base_prefix, "bin", f"python3.{sys.version_info.minor}"))
    path = f"{tools}:/usr/bin:/bin"
    variables = {name: value for name, value in os.environ.items() if _NETWORK.fullmatch(name)}
    variables |= {"PATH": path, **first.pairs("ENV")}
    folder = root
    for name, arguments in first.steps:
        if name == "WORKDIR":
            folder = root / arguments.removeprefix("/")
            folder.mkdir(parents=True)
        elif name == "COPY":
            _copy(shlex.split(arguments), folder)
        elif name == "RUN":
            _run(mapped(arguments, root), folder, variables)
        elif name != "ENV":
            raise AssertionError(f"a step that is not understood: {name} {arguments}")
    _ship(root, folder, last)
    return Image(root, last, path)


def _copy(words: list[str], folder: Path) -> None:
    *sources, target = words
    files = context()
    for source in sources:
        found = {path for path in files if path == source or path.startswith(f"{source}/")}
        assert found, f"COPY {source}: not in the build context"
        for path in found:
            into_folder = target.endswith("/") and path == source
            name = (
                f"{target}{Path(path).name}" if into_folder else target + path.removeprefix(source)
            )
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / path, folder / name)


def _run(script: str, folder: Path, variables: dict[str, str]) -> None:
    done = subprocess.run(
        ["/bin/sh", "-c", script],
        cwd=folder,
        env=variables,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{script}\n{done.stdout[-3000:]}{done.stderr[-3000:]}"


def _ship(root: Path, sources: Path, last: Stage) -> None:
    """Remove what the last stage does not copy from the build stage."""
    _, kept, target = shlex.split(last.only("COPY"))
    assert kept == target, "a venv knows its own path: it cannot be moved"
    shutil.rmtree(sources)
    for path in (root / "opt").iterdir():
        if path != root / kept.removeprefix("/"):
            shutil.rmtree(path)
