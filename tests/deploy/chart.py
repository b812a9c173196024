"""The chart as the tests use it: rendered by helm, its resources against their schemas.

The tools are not part of an installation: ``make chart`` brings them into ``.cache/tools``.
"""

from __future__ import annotations

import copy
import json
import os
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from referencing import Registry
from referencing import Resource as Document
from ruamel.yaml import YAML

from tests.deploy.chart_schema import CHART
from tests.deploy.compose import ROOT

TOOLS = ROOT / ".cache" / "tools"
#: Schemas of what comes from elsewhere, made by ``tests/deploy/crds.py``.
CRDS = Path(__file__).with_name("crds")
#: The oldest Kubernetes that the chart allows, and the newest whose schemas are at hand.
VERSIONS = ("1.29", "1.37")
RELEASE = "scm"

Resource = dict[str, Any]
Values = Mapping[str, Any]


def tool(name: str) -> Path:
    """Return a tool's path; skip the test where it is missing."""
    for folder in ("bin", "venv/bin"):
        if (TOOLS / folder / name).exists():
            return TOOLS / folder / name
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is missing: `make chart` brings it, and runs these tests")
    return Path(found)


def helm(verb: str, values: Values, release: str = RELEASE) -> subprocess.CompletedProcess[str]:
    """Run ``helm template`` or ``helm lint`` with these values; the same is not run twice."""
    return _helm(verb, json.dumps(values), release)


@cache
def _helm(verb: str, values: str, release: str) -> subprocess.CompletedProcess[str]:
    # The version is said, as a helm that `go install` made knows none.
    cluster = ["--kube-version", VERSIONS[0]]
    named = [release] if verb == "template" else []
    command = [str(tool("helm")), verb, *named, str(CHART), *cluster]
    return subprocess.run(
        [*command, "--values", "-"],
        input=values,
        capture_output=True,
        text=True,
        check=False,
        # Nothing of a cluster or of a user's own set-up
        env={"PATH": os.environ["PATH"], "HOME": "/nonexistent", "KUBECONFIG": "/nonexistent"},
    )


def render(values: Values, release: str = RELEASE) -> list[Resource]:
    """Return the resources that the chart makes of these values."""
    done = helm("template", values, release)
    assert done.returncode == 0, done.stderr
    return documents(done.stdout)


def documents(text: str) -> list[Resource]:
    """Return the resources in a text of several YAML documents."""
    return [found for found in YAML(typ="safe").load_all(text) if found]


def of_kind(resources: Iterable[Resource], kind: str) -> Resource:
    """Return the one resource of a kind."""
    (found,) = (resource for resource in resources if resource["kind"] == kind)
    return found


def workload(resources: Iterable[Resource]) -> Resource:
    """Return the resource whose pods are the consumer."""
    kinds = ("StatefulSet", "Deployment")
    (found,) = (resource for resource in resources if resource["kind"] in kinds)
    return found


def container(resource: Resource) -> dict[str, Any]:
    """Return the one container of a StatefulSet, Deployment or CronJob."""
    (found,) = pod_spec(resource)["containers"]
    assert isinstance(found, dict)
    return found


def pod_spec(resource: Resource) -> dict[str, Any]:
    """Return the spec of a StatefulSet's, Deployment's or CronJob's pods."""
    spec = resource["spec"]
    if resource["kind"] == "CronJob":
        spec = spec["jobTemplate"]["spec"]
    found: dict[str, Any] = spec["template"]["spec"]
    return found


def settings_file(resources: Iterable[Resource]) -> str:
    """Return the settings that the pods read."""
    resources = list(resources)
    (volume,) = (
        volume
        for volume in pod_spec(workload(resources))["volumes"]
        if volume["name"] == "settings"
    )
    (found,) = (
        resource["data"]["scm-consumer.toml"]
        for resource in resources
        if resource["kind"] == "ConfigMap"
        and resource["metadata"]["name"] == volume["configMap"]["name"]
    )
    assert isinstance(found, str)
    return found


def validate(resources: Iterable[Resource]) -> None:
    """Hold resources to the API's own schemas, unknown keys refused; those of CRDs to theirs."""
    for resource in resources:
        kind, version = resource["kind"].lower(), resource["apiVersion"]
        if (CRDS / f"{kind}.json").exists():
            schema = json.loads((CRDS / f"{kind}.json").read_text())
            assert version == schema["x-api-version"]
            checked = [Draft202012Validator(schema)]
        else:
            group, _, name = version.rpartition("/")
            file = "-".join(part for part in (kind, group.split(".")[0], name) if part)
            checked = [_validator(cluster, file) for cluster in VERSIONS]
        for validator in checked:
            problems = [
                f"{error.json_path}: {error.message}" for error in validator.iter_errors(resource)
            ]
            assert not problems, f"{resource['kind']}: {problems}"


@cache
def _validator(cluster: str, file: str) -> Draft202012Validator:
    """Return what validates a kind of resource, which this version must know."""
    schemas, registry = _schemas(cluster)
    return Draft202012Validator(
        json.loads((schemas / f"{file}.json").read_text()), registry=registry
    )


@cache
def _schemas(cluster: str) -> tuple[Path, Registry[Any]]:
    """Return the folder of a version's schemas, and what they refer to.

    They are the data of the package kubernetes-validate, whose own program reads all of it anew for
    each resource.
    """
    there = tool("kubernetes-validate").resolve().parents[1] / "lib"
    (folder,) = there.glob(
        f"python3*/site-packages/kubernetes_validate/kubernetes-json-schema/v{cluster}.*-strict"
    )
    definitions = json.loads((folder / "_definitions.json").read_text())
    return folder, Document.from_contents(definitions) @ Registry()


def merged(*all_values: Values) -> dict[str, Any]:
    """Return values over values, tables joined, as helm does it with several files."""
    found: dict[str, Any] = {}
    for values in all_values:
        for key, value in values.items():
            if isinstance(value, Mapping) and isinstance(found.get(key), dict):
                found[key] = merged(found[key], value)
            else:
                found[key] = copy.deepcopy(value)
    return found
