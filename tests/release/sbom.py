"""Write ``deploy/sbom.cdx.json``: the libraries of ``deploy/requirements.txt``, as CycloneDX.

``python -m tests.release.sbom CYCLONEDX_PY`` (``make sbom``). The wheel carries it (PEP 770), and
so does the image. Whoever updates the lock makes it anew: a test holds them together.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.deploy.compose import ROOT
from tests.release.__main__ import SBOM


def main(program: str) -> None:
    """Install the lock into an empty environment, and have it described."""
    with tempfile.TemporaryDirectory() as name:
        there, file = Path(name, "env"), Path(name, "sbom.json")
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", there], check=True)
        pip = [sys.executable, "-m", "pip", "--python", f"{there}/bin/python", "install"]
        options = ["--quiet", "--require-hashes", "--only-binary", ":all:"]
        subprocess.run([*pip, *options, "-r", ROOT / "deploy" / "requirements.txt"], check=True)
        described = [program, "environment", f"{there}", "--pyproject", f"{ROOT}/pyproject.toml"]
        subprocess.run([*described, "--output-reproducible", "-o", file], check=True)
        found = json.loads(file.read_text())
    SBOM.write_text(json.dumps(_without_links(found), indent=1) + "\n")


def _without_links(found: Any) -> Any:
    """Leave out homepages and chats: they change with no release of ours."""
    if isinstance(found, dict):
        return {
            name: _without_links(value)
            for name, value in found.items()
            if name != "externalReferences"
        }
    return [_without_links(value) for value in found] if isinstance(found, list) else found


if __name__ == "__main__":
    main(sys.argv[1])
