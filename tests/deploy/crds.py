"""Schemas of the resources that are not Kubernetes' own, from their CRDs: ``tests/deploy/crds``.

``python -m tests.deploy.crds VERSION CRD.yaml...`` writes them anew; ``$comment`` says from where.
The CRDs come with Go modules: KEDA's as they are, under ``config/crd/bases``; those of the
Prometheus operator made from its types, by ``controller-gen`` (sigs.k8s.io/controller-tools):

    controller-gen crd:allowDangerousTypes=true paths=…/pkg/apis/monitoring/v1 output:crd:dir=OUT
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

FOLDER = Path(__file__).with_name("crds")


def strict(schema: Any) -> Any:
    """Return a schema that refuses keys it does not name, without its descriptions."""
    if isinstance(schema, list):
        return [strict(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    found = {
        name: strict(value)
        for name, value in schema.items()
        if not (name == "description" and isinstance(value, str)) and not name.startswith("x-")
    }
    open_ended = schema.get("x-kubernetes-preserve-unknown-fields")
    if isinstance(schema.get("properties"), dict) and not open_ended:
        found.setdefault("additionalProperties", False)
    if schema.get("x-kubernetes-int-or-string"):
        found.pop("type", None)
    return found


def main(version: str, paths: list[str]) -> None:
    """Write the schema of each CRD's one version."""
    FOLDER.mkdir(exist_ok=True)
    for path in paths:
        crd = YAML(typ="safe").load(Path(path).read_text(encoding="utf-8"))
        (served,) = crd["spec"]["versions"]
        kind = crd["spec"]["names"]["kind"]
        schema = strict(served["schema"]["openAPIV3Schema"])
        schema["properties"]["metadata"] = {"type": "object"}
        schema["$comment"] = f"{crd['metadata']['name']} of {version}, Apache-2.0"
        schema["x-api-version"] = f"{crd['spec']['group']}/{served['name']}"
        text = json.dumps(schema, sort_keys=True, separators=(",", ":"))
        (FOLDER / f"{kind.lower()}.json").write_text(f"{text}\n")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
