"""The chart's resources as plain files for ``kubectl apply``, for those without helm.

``python -m tests.deploy.plain_manifests`` writes them; it takes helm (``make chart``).
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from tests.deploy import chart
from tests.deploy.chart_schema import CHART, FILE
from tests.deploy.compose import ROOT

FOLDER = ROOT / "deploy" / "kubernetes"
RELEASE = "scm-consumer"
#: What has to be replaced in the files.
BROKERS = "kafka-1.example:9092"
_VALUES = {
    "settings": {"kafka": {"bootstrap_servers": BROKERS}},
    "monitoring": {
        "podMonitor": {"enabled": True},
        "rules": {"enabled": True},
        "dashboard": {"enabled": True},
    },
    "reconcileJob": {"enabled": True},
}
_ABOUT = {
    "scm-consumer.yaml": (
        f"The consumer. Replace {BROKERS} and the image; the token is in Secret\n"
        "# scm-consumer-token. After a change of the settings:\n"
        "# kubectl rollout restart statefulset/scm-consumer"
    ),
    "monitoring.yaml": (
        "For the Prometheus operator and Grafana's sidecar. Replace\n"
        "# https://example.com/scm-consumer/ by where the runbook is kept."
    ),
    "reconcile.yaml": "The nightly comparison (docs/reconcile.md); beside scm-consumer.yaml.",
}
#: Templates whose resources stand in a file of their own.
_APART = {"monitoring.yaml": "monitoring.yaml", "reconcile.yaml": "reconcile.yaml"}
FILES = tuple(FOLDER / name for name in _ABOUT)


def fingerprint() -> str:
    """Return a hash of all that is rendered. The schema of the values only refuses."""
    digest = hashlib.sha256()
    for path in sorted(path for path in CHART.rglob("*") if path.is_file() and path != FILE):
        digest.update(f"{path.relative_to(CHART)}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()


def written() -> dict[Path, str]:
    """Return every file, and what it holds."""
    done = chart.helm("template", _VALUES, RELEASE)
    assert done.returncode == 0, done.stderr
    texts = {
        name: f"# {about}\n# Made by `make chart` from deploy/chart, sha256 {fingerprint()}.\n"
        for name, about in _ABOUT.items()
    }
    for part in re.split(r"^---\n", done.stdout, flags=re.MULTILINE):
        source = re.match(r"# Source: scm-consumer/templates/(\S+)\n", part)
        if source is None:
            assert not part.strip(), part
            continue
        body = part.removeprefix(source[0]).strip("\n")
        texts[_APART.get(source[1], "scm-consumer.yaml")] += f"---\n{body}\n"
    return {FOLDER / name: text for name, text in texts.items()}


def main() -> None:
    """Write the files."""
    FOLDER.mkdir(exist_ok=True)
    for path, text in written().items():
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
