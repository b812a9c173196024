"""The chart's ``values.schema.json``: its own values as said here, the settings by their schema.

``python -m tests.deploy.chart_schema`` writes it, and copies into the chart what it cannot read
from beside it: the alerts, the dashboard, and which of librdkafka's properties are refused.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from consumer.adapters.kafka.property_rules import REFUSED_CLIENT_PROPERTIES
from consumer.config.documents import json_schema
from consumer.config.keys import SECTIONS
from tests.deploy.compose import ROOT

CHART = ROOT / "deploy" / "chart"
FILE = CHART / "values.schema.json"
#: What the chart holds a copy of, and where that is from.
COPIES = {
    CHART / "files" / "rules.yml": ROOT / "deploy" / "prometheus" / "rules.yml",
    CHART / "files" / "slo.yml": ROOT / "deploy" / "prometheus" / "slo.yml",
    CHART / "files" / "dashboard.json": ROOT / "deploy" / "grafana" / "dashboard.json",
}
#: librdkafka's properties that are refused, and why: for templates/_checks.tpl.
REFUSED = CHART / "files" / "refused-properties.yaml"

Schema = dict[str, Any]

_TEXT: Schema = {"type": "string"}
_SOME_TEXT: Schema = {"type": "string", "minLength": 1}
_FLAG: Schema = {"type": "boolean"}
_TEXTS: Schema = {"type": "array", "items": _SOME_TEXT}
_TABLE: Schema = {"type": "object"}
_TABLES: Schema = {"type": "array", "items": _TABLE}
_LABELS: Schema = {"type": "object", "additionalProperties": _TEXT}
_COUNT: Schema = {"type": "integer", "minimum": 1}
#: Names of Secrets, ConfigMaps and volumes.
_NAME: Schema = {"type": "string", "pattern": "^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"}
_KEY: Schema = {"type": "string", "pattern": "^[-._a-zA-Z0-9]+$"}
_SIZE: Schema = {"type": "string", "pattern": "^[0-9]+(Mi|Gi)$"}
_PORT: Schema = {"type": "integer", "minimum": 1, "maximum": 65535}
#: librdkafka's names hold no underscore, so a variable's underscores stand for its dots.
_PROPERTY = r"kafka\.client\.[a-z][a-z0-9.]*"


def schema() -> Schema:
    """Return the schema. What it does not name is refused."""
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Values of the chart scm-consumer",
        **_table(
            image=_table(
                repository=_SOME_TEXT,
                tag=_TEXT,
                digest={"type": "string", "pattern": "^(sha256:[0-9a-f]{64})?$"},
                pullPolicy={"enum": ["Always", "IfNotPresent", "Never"]},
                pullSecrets={"type": "array", "items": _NAME},
            ),
            membership={"enum": ["static", "dynamic"]},
            replicas={"type": "integer", "minimum": 0},
            settings=_settings(),
            token=_table(secret=_NAME, key=_KEY),
            secretSettings=_secret_settings(),
            files=_files(),
            resources=_table(requests=_TABLE, limits=_TABLE),
            podDisruptionBudget=_table(enabled=_FLAG),
            autoscaling=_table(
                by={"enum": ["", "keda", "external"]},
                min=_COUNT,
                max=_COUNT,
                prometheus={"type": "string", "pattern": "^(https?://.+)?$"},
            ),
            monitoring=_table(
                podMonitor=_table(
                    enabled=_FLAG,
                    interval={"type": "string", "pattern": "^([1-9]|[1-5][0-9]|60)s$|^1m$"},
                    labels=_LABELS,
                ),
                rules=_table(
                    enabled=_FLAG,
                    objective=_FLAG,
                    runbook={"type": "string", "pattern": "^https?://.+/$"},
                    labels=_LABELS,
                ),
                dashboard=_table(enabled=_FLAG, labels=_LABELS),
            ),
            networkPolicy=_table(
                enabled=_FLAG, **{"from": _TABLES}, ports={"type": "array", "items": _PORT}
            ),
            reconcileJob=_table(
                enabled=_FLAG,
                schedule={"type": "string", "pattern": r"^(@\w+|\S+( \S+){4})$"},
                arguments=_TEXTS,
                scratch=_SIZE,
                resources=_table(requests=_TABLE, limits=_TABLE),
            ),
            serviceAccount=_table(annotations=_LABELS),
            podAnnotations=_LABELS,
            podLabels=_LABELS,
            nodeSelector=_LABELS,
            tolerations=_TABLES,
            affinity=_TABLE,
            priorityClassName=_TEXT,
            **{"global": _TABLE},  # Helm's own
        ),
    }


def _table(**properties: Schema) -> Schema:
    return {"type": "object", "additionalProperties": False, "properties": properties}


def _settings() -> Schema:
    """Return the schema of the file. What a pod needs otherwise, templates/_checks.tpl tells."""
    found = json_schema()
    del found["properties"]["kafka"]["properties"]["client"]["propertyNames"]
    return {name: found[name] for name in ("type", "properties", "additionalProperties")}


def _secret_settings() -> Schema:
    keys = "|".join(
        f"{key.section}\\.{key.name}"
        for keys in SECTIONS.values()
        for key in keys.values()
        if key.path not in ("kafka.client", "api.token", "kafka.instance_id")
    )
    return {
        "type": "object",
        "additionalProperties": False,
        "patternProperties": {
            f"^({_PROPERTY}|{keys})$": {
                **_table(secret=_NAME, key=_KEY),
                "required": ["secret", "key"],
            }
        },
    }


def _files() -> Schema:
    one = _table(secret=_NAME, configMap=_NAME)
    return {
        "type": "object",
        "additionalProperties": False,
        "patternProperties": {
            "^[a-z0-9]([-a-z0-9]{0,50}[a-z0-9])?$": {**one, "minProperties": 1, "maxProperties": 1}
        },
    }


def written() -> dict[Path, str]:
    """Return every file that is written here, and what it holds."""
    texts = {copy: source.read_text(encoding="utf-8") for copy, source in COPIES.items()}
    refused = "".join(
        f"{json.dumps(name)}: {json.dumps(why)}\n"
        for name, why in REFUSED_CLIENT_PROPERTIES.items()
    )
    texts[REFUSED] = (
        f"# Written by `make docs` from consumer/adapters/kafka/property_rules.py.\n{refused}"
    )
    return texts | {FILE: json.dumps(schema(), indent=1, ensure_ascii=False) + "\n"}


def main() -> None:
    """Write the files."""
    for path, text in written().items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
