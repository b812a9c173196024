"""The published files: the same bits from the same sources, and all that belongs in them."""

from __future__ import annotations

import json
import os
import re
import tarfile
import zipfile
from pathlib import Path

import pytest
from packaging.utils import canonicalize_name

import consumer
from tests.deploy.compose import ROOT
from tests.release.__main__ import SBOM
from tests.release.build import build, copied
from tests.release.checks import other_versions


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("built")
    build(copied(folder / "sources"), folder / "dist", "sdist", "wheel")
    return folder / "dist"


def _wheel(built: Path) -> Path:
    return built / f"scm_consumer-{consumer.__version__}-py3-none-any.whl"


def _sdist(built: Path) -> Path:
    return built / f"scm_consumer-{consumer.__version__}.tar.gz"


def test_built_elsewhere_at_another_time_by_another_user_it_is_the_same(
    built: Path, tmp_path: Path
) -> None:
    elsewhere = copied(tmp_path / "a longer" / "way")
    for path in elsewhere.rglob("*"):
        os.utime(path, (1_000_000_000, 1_000_000_000))
        path.chmod(0o700 if path.is_dir() else 0o600)
    found = build(elsewhere, tmp_path / "dist", "sdist", "wheel", umask=0o077)
    again = {path.name: path.read_bytes() for path in built.iterdir()}
    assert found.keys() == again.keys() == {_wheel(built).name, _sdist(built).name}
    for name, bits in again.items():
        assert (tmp_path / "dist" / name).read_bytes() == bits, name


def test_the_wheel_that_is_built_from_the_sdist_is_the_same(built: Path, tmp_path: Path) -> None:
    with tarfile.open(_sdist(built)) as archive:
        archive.extractall(tmp_path, filter="data")
    (unpacked,) = tmp_path.iterdir()
    build(unpacked, tmp_path / "dist", "wheel")
    assert _wheel(tmp_path / "dist").read_bytes() == _wheel(built).read_bytes()


def test_the_wheel_holds_the_program_its_schemas_its_licence_and_its_sbom(built: Path) -> None:
    names = zipfile.ZipFile(_wheel(built)).namelist()
    info = f"scm_consumer-{consumer.__version__}.dist-info"
    assert {name.split("/")[0] for name in names} == {"consumer", info}
    assert "consumer/py.typed" in names
    assert {Path(name).name for name in names if name.startswith("consumer/schemas/")} == {
        path.name for path in (ROOT / "schemas").iterdir()
    }
    assert f"{info}/licenses/LICENSE" in names
    assert f"{info}/sboms/{SBOM.name}" in names
    modules = {path.relative_to(ROOT).as_posix() for path in (ROOT / "consumer").rglob("*.py")}
    assert modules <= set(names)


def test_the_sdist_holds_no_more_than_the_wheel_takes(built: Path) -> None:
    with tarfile.open(_sdist(built)) as archive:
        names = archive.getnames()
    tops = {name.split("/")[1] for name in names}
    assert tops == {
        "consumer", "schemas", "deploy", "pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md",
        "PKG-INFO", ".gitignore",
    }  # fmt: skip


def test_the_sbom_tells_the_libraries_of_the_lock() -> None:
    document = json.loads(SBOM.read_text())
    told = {canonicalize_name(one["name"]): one["version"] for one in document["components"]}
    lock = (ROOT / "deploy" / "requirements.txt").read_text()
    locked = {
        canonicalize_name(name): release
        for name, release, marker in re.findall(
            r"^([\w.-]+)(?:\[[\w,]+\])?==(\S+)(?: ; (.+?))? \\$", lock, re.MULTILINE
        )
        if "win32" not in marker
    }
    assert told == locked, "`make sbom` makes it anew"
    assert document["bomFormat"] == "CycloneDX"
    assert document["metadata"]["component"]["name"] == "scm-consumer"
    assert "timestamp" not in document["metadata"]
    assert all(one["licenses"] for one in document["components"])


def test_the_version_is_the_same_wherever_it_stands() -> None:
    assert list(other_versions()) == []
