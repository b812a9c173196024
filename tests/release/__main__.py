"""``make release``: build what is published into ``dist``, twice, and try it. Nothing is uploaded.

Everything is made and tried, whatever is not ready; that is told at the end, with exit code 1.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from consumer import __version__
from tests.deploy.compose import ROOT
from tests.release.build import build, copied, hashes
from tests.release.checks import commit, not_ready

DIST = ROOT / "dist"
SBOM = ROOT / "deploy" / "sbom.cdx.json"


def main() -> int:
    """Build, try, and say what is left to do."""
    shutil.rmtree(DIST, ignore_errors=True)
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        built = build(copied(work / "first"), DIST, "sdist", "wheel")
        again = build(copied(work / "another"), work / "dist", "sdist", "wheel", umask=0o077)
        if built != again:
            sys.exit(f"built twice, and not the same: {built}, {again}")
        _say(f"built twice, the same: {', '.join(built)}")
        _try(work / "empty", DIST / f"scm_consumer-{__version__}-py3-none-any.whl")
    shutil.copyfile(SBOM, DIST / f"scm_consumer-{__version__}.cdx.json")
    (DIST / "provenance.json").write_text(json.dumps(_provenance(), indent=1) + "\n")
    sums = "".join(f"{digest}  {file}\n" for file, digest in hashes(DIST).items())
    (DIST / "SHA256SUMS").write_text(sums)
    _say(f"in dist: {', '.join(sorted(path.name for path in DIST.iterdir()))}")
    problems = list(not_ready())
    for problem in problems:
        _say(f"not ready: {problem}")
    _say("NOT READY to publish" if problems else "ready to sign and publish: docs/release.md")
    return 1 if problems else 0


def _try(folder: Path, wheel: Path) -> None:
    """Install the wheel as a user does, in an empty environment, and run the demo."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("SCM_")}
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    pip = [f"{folder}/bin/pip", "install", "--quiet", "--disable-pip-version-check", str(wheel)]
    subprocess.run(pip, check=True, env=clean)
    for arguments in (["--version"], ["demo"]):
        command = [f"{folder}/bin/scm-consumer", *arguments]
        done = subprocess.run(
            command, cwd=folder, env=clean, capture_output=True, text=True, check=False
        )
        if done.returncode:
            sys.exit(f"{arguments[0]} of the wheel failed:\n{done.stdout}{done.stderr}")
        _say(f"installed from the wheel, `{arguments[0]}`: {done.stdout.splitlines()[-1]}")


def _provenance() -> dict[str, object]:
    """Return an in-toto statement of what was built from what, for a publisher to sign.

    Only the publisher knows who builds: ``builder.id`` is theirs to fill in.
    """
    subjects = [{"name": name, "digest": {"sha256": value}} for name, value in hashes(DIST).items()]
    return {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": subjects,
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {
            "buildDefinition": {
                "buildType": "https://peps.python.org/pep-0517/",
                "externalParameters": {"version": __version__, "backend": "hatchling"},
                "resolvedDependencies": [
                    {"name": "source", "digest": {"gitCommit": commit()}},
                    *(
                        {"name": f"deploy/{lock}", "digest": {"sha256": digest}}
                        for lock, digest in hashes(ROOT / "deploy").items()
                        if lock in ("requirements.txt", "requirements-build.txt")
                    ),
                ],
            },
            "runDetails": {"builder": {"id": ""}},
        },
    }


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
