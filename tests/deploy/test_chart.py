"""The chart, over a table of values: rendered by helm, valid, and what it says is what the program
takes.

Where helm and the schemas are missing, most of it is skipped: ``make chart`` brings them.
"""

from __future__ import annotations

import copy
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator
from pydantic import SecretStr
from ruamel.yaml import YAML

import consumer
from consumer.config.keys import SECTIONS
from consumer.config.loading import load
from consumer.config.masking import is_secret
from consumer.config.settings import Settings
from tests.deploy import alerts, chart, chart_schema, plain_manifests
from tests.deploy.chart import Values
from tests.deploy.compose import ROOT
from tests.docs.blocks import blocks

BASE: Values = {"settings": {"kafka": {"bootstrap_servers": "kafka-1:9092"}}}
_KEDA = {"by": "keda", "prometheus": "http://prometheus:9090"}
_MONITORING = {
    "podMonitor": {"enabled": True},
    "rules": {"enabled": True},
    "dashboard": {"enabled": True},
}
#: Name to values, on top of those of ``BASE``.
GOOD: dict[str, Values] = {
    "nothing but brokers": {},
    "dynamic": {"membership": "dynamic"},
    "four members": {"replicas": 4},
    "none, as in a planned stop": {"replicas": 0},
    "the new group protocol": {"settings": {"kafka": {"group_protocol": "consumer"}}},
    "several brokers": {
        "settings": {"kafka": {"bootstrap_servers": "a.example:9093, b.example:9094,[::1]:9095"}}
    },
    "topics": {"settings": {"kafka": {"topics": ["scans.line7", "^lines\\..*"]}}},
    "properties by dotted names": {
        "settings": {
            "kafka": {"client": {"security.protocol": "ssl", "socket.keepalive.enable": True}}
        }
    },
    "properties in tables": {
        "settings": {
            "kafka": {
                "client": {
                    "security": {"protocol": "sasl_ssl"},
                    "sasl": {"mechanism": "PLAIN", "username": "line7"},
                    "session": {"timeout": {"ms": 30000}},
                }
            }
        },
        "secretSettings": {"kafka.client.sasl.password": {"secret": "login", "key": "password"}},
    },
    "certificates": {
        "settings": {
            "kafka": {
                "client": {"security.protocol": "ssl", "ssl.ca.location": "/files/kafka/ca.crt"}
            },
            "api": {"ca_file": "/files/api-ca/ca.pem"},
        },
        "files": {"kafka": {"secret": "kafka-tls"}, "api-ca": {"configMap": "api-ca"}},
    },
    "a registry": {
        "settings": {"schema_registry": {"url": "https://registry:8081", "user": "line7"}},
        "secretSettings": {"schema_registry.password": {"secret": "registry", "key": "password"}},
    },
    "a proxy": {"settings": {"api": {"proxy": "http://proxy.example:3128"}}},
    "a proxy with a log-in": {"secretSettings": {"api.proxy": {"secret": "proxy", "key": "url"}}},
    "sandbox": {"settings": {"api": {"base_url": "http://sandbox:8080", "allow_plain_http": True}}},
    "a token of another Secret": {"token": {"secret": "uat", "key": "UAT_TOKEN"}},
    "a token of an own file": {
        "settings": {"api": {"token_file": "/files/vault/token"}},
        "files": {"vault": {"secret": "vault"}},
    },
    "large numbers": {
        "settings": {"limits": {"max_unsettled_rows": 5_000_000, "max_unsettled_mib": 1024.5}}
    },
    "small numbers": {"settings": {"retry": {"base_seconds": 0.0000001}}},
    "a long stop": {"settings": {"limits": {"stop_seconds": 299.5}}},
    "no waiting at a stop": {"settings": {"limits": {"stop_seconds": 0}}},
    "texts that need escapes": {
        "settings": {
            "scan": {"code": ['extended_id = 01/\\d{14}/21/([A-Z"<&>]+)'], "prefix": "\t"},
            "reconcile": {"columns": {"ship_date": "Versandt am \u00fc \u2013"}},
        }
    },
    "an empty text": {"settings": {"receipts": {"topic": ""}}},
    "another port": {"settings": {"ops": {"listen": "0.0.0.0:8080"}}},
    "IPv6": {"settings": {"ops": {"listen": "[::]:9464"}}},
    "monitoring": {"monitoring": _MONITORING},
    "monitoring, without the objective": {
        "monitoring": {
            "podMonitor": {"enabled": True, "interval": "15s", "labels": {"release": "prom"}},
            "rules": {
                "enabled": True,
                "objective": False,
                "runbook": "https://wiki.example.org/scm/",
                "labels": {"release": "prom"},
            },
        }
    },
    "KEDA": {"autoscaling": _KEDA, "monitoring": _MONITORING},
    "KEDA, dynamic": {"autoscaling": _KEDA, "membership": "dynamic"},
    "an autoscaler on the adapter": {"autoscaling": {"by": "external", "min": 2, "max": 8}},
    "an autoscaler, dynamic": {"autoscaling": {"by": "external"}, "membership": "dynamic"},
    "reconcile": {"reconcileJob": {"enabled": True}},
    "reconcile by campaign": {
        "reconcileJob": {
            "enabled": True,
            "schedule": "@daily",
            "arguments": ["--campaign", "17"],
            "scratch": "20Gi",
        },
        "podLabels": {"team": "tracing"},
        "podAnnotations": {"sidecar.istio.io/inject": "false"},
    },
    "no network policy": {"networkPolicy": {"enabled": False}},
    "a narrow network policy": {
        "networkPolicy": {
            "from": [{"namespaceSelector": {"matchLabels": {"name": "monitoring"}}}],
            "ports": [9093, 4318],
        }
    },
    "no disruption budget": {"podDisruptionBudget": {"enabled": False}},
    "own resources": {
        "resources": {
            "requests": {"cpu": "1", "memory": "1Gi"},
            "limits": {"memory": "2Gi", "cpu": 2},
        }
    },
    "a private registry": {
        "image": {
            "repository": "registry.example:5000/team/scm-consumer",
            "digest": f"sha256:{'0a' * 32}",
            "pullPolicy": "Always",
            "pullSecrets": ["registry-login"],
        }
    },
    "placed": {
        "nodeSelector": {"kubernetes.io/arch": "arm64"},
        "tolerations": [{"key": "edge", "operator": "Exists", "effect": "NoSchedule"}],
        "affinity": {"podAntiAffinity": {}},
        "priorityClassName": "high",
        "serviceAccount": {"annotations": {"eks.amazonaws.com/role-arn": "arn:aws:iam::1:role/x"}},
    },
    "everything": {
        "membership": "static",
        "autoscaling": _KEDA,
        "monitoring": _MONITORING,
        "reconcileJob": {"enabled": True},
        "files": {"kafka": {"secret": "kafka-tls"}},
        "secretSettings": {"kafka.client.ssl.key.password": {"secret": "k", "key": "p"}},
        "settings": {"kafka": {"client": {"security.protocol": "ssl"}}},
    },
}
#: Name to values that are refused, and what the message must say.
BROKEN: dict[str, tuple[Values, str]] = {
    "no brokers": ({"settings": {"kafka": {"bootstrap_servers": ""}}}, "bootstrap_servers"),
    "a mistyped setting": (
        {"settings": {"kafka": {"bootstrap_server": "x:9092"}}},
        "bootstrap_server",
    ),
    "a mistyped section": ({"settings": {"dead_letters": {"topic": "x"}}}, "dead_letters"),
    "a mistyped value of the chart": ({"replica": 2}, "replica"),
    "a number in quotes": ({"settings": {"windows": {"max_rows": "50"}}}, "max_rows"),
    "a number out of range": ({"settings": {"windows": {"max_rows": 101}}}, "max_rows"),
    "a choice that there is not": ({"settings": {"api": {"mode": "fast"}}}, "mode"),
    "a property that breaks a promise": (
        {"settings": {"kafka": {"client": {"enable.auto.commit": True}}}},
        "enable.auto.commit is refused: offsets are committed only after",
    ),
    "loopback": (
        {"settings": {"ops": {"listen": "127.0.0.1:9464"}}},
        "settings.ops.listen is 127.0.0.1:9464: probes and Prometheus do not reach it",
    ),
    "no ops port": ({"settings": {"ops": {"listen": ""}}}, "settings.ops.listen"),
    "no ops address at all": ({"settings": {"ops": {"listen": None}}}, "settings.ops.listen"),
    "any free port": ({"settings": {"ops": {"listen": "0.0.0.0:0"}}}, "settings.ops.listen"),
    "one name for all members": (
        {"settings": {"kafka": {"instance_id": "line7"}}},
        "settings.kafka.instance_id would be the same for all pods",
    ),
    "a token in the values": ({"settings": {"api": {"token": "x"}}}, "token.secret"),
    "a registry's password in the values": (
        {"settings": {"schema_registry": {"password": "x"}}},
        "name a Secret in secretSettings",
    ),
    "a broker's password in the values": (
        {"settings": {"kafka": {"client": {"sasl.password": "x"}}}},
        "name a Secret under kafka.client.sasl.password in secretSettings",
    ),
    "a key's password in a table": (
        {"settings": {"kafka": {"client": {"ssl": {"key": {"password": "x"}}}}}},
        "name a Secret under kafka.client.ssl.key.password in secretSettings",
    ),
    "a secret of no setting": (
        {"secretSettings": {"kafka.sasl.password": {"secret": "a", "key": "b"}}},
        "kafka.sasl.password",
    ),
    "a secret without its key": (
        {"secretSettings": {"schema_registry.password": {"secret": "a"}}},
        "key",
    ),
    "files from nowhere": ({"files": {"kafka": {}}}, "files/kafka"),
    "KEDA without Prometheus": ({"autoscaling": {"by": "keda"}}, "autoscaling.prometheus"),
    "least above most": (
        {"autoscaling": {"by": "external", "min": 5}},
        "autoscaling.min is 5, which is above autoscaling.max (4)",
    ),
    "a scaler that there is not": ({"autoscaling": {"by": "hpa"}}, "autoscaling/by"),
    "an interval that the alerts cannot take": (
        {"monitoring": {"podMonitor": {"interval": "5m"}}},
        "interval",
    ),
    "a membership that there is not": ({"membership": "sticky"}, "membership"),
    "a schedule that is none": ({"reconcileJob": {"schedule": "daily"}}, "schedule"),
}


def _values(name: str) -> dict[str, Any]:
    return chart.merged(BASE, GOOD[name])


# -- without helm -----------------------------------------------------------------------------


def test_the_schema_and_the_copies_in_the_chart_are_as_made_from_the_settings() -> None:
    for path, text in chart_schema.written().items():
        assert path.read_text(encoding="utf-8") == text, f"{path}: `make docs` writes it"
    assert set((chart_schema.CHART / "files").iterdir()) == {
        *chart_schema.COPIES,
        chart_schema.REFUSED,
    }


def test_the_chart_has_the_programs_version() -> None:
    found = YAML(typ="safe").load((chart_schema.CHART / "Chart.yaml").read_text())
    assert found["version"] == found["appVersion"] == consumer.__version__


def test_every_value_stands_in_the_file_of_values_at_its_default() -> None:
    values = YAML(typ="safe").load((chart_schema.CHART / "values.yaml").read_text())

    def compare(there: Any, schema: dict[str, Any], path: str) -> None:
        for name, inner in schema.get("properties", {}).items():
            assert name in there, f"{path}{name} is in the schema, and not in values.yaml"
            compare(there[name], inner, f"{path}{name}.")

    schema = chart_schema.schema()
    for name in ("settings", "global"):
        del schema["properties"][name]
    for name in ("resources",):
        del schema["properties"][name]["properties"]
        del schema["properties"]["reconcileJob"]["properties"][name]["properties"]
    compare(values, schema, "")
    Draft7Validator(chart_schema.schema()).validate(values)


def test_the_chart_differs_from_the_settings_defaults_in_one_thing() -> None:
    values = YAML(typ="safe").load((chart_schema.CHART / "values.yaml").read_text())
    given = {
        f"{section}.{name}": value
        for section, keys in values["settings"].items()
        for name, value in keys.items()
    }
    assert given == {
        "api.base_url": Settings().api.base_url,
        "ops.listen": Settings().ops.listen.replace("127.0.0.1", "0.0.0.0"),
    }


def test_the_defaults_that_the_chart_counts_with_are_the_settings() -> None:
    text = (chart_schema.CHART / "templates" / "_settings.tpl").read_text()
    limits = Settings().limits
    assert f'"stop_seconds" {limits.stop_seconds:g} ' in text
    assert f'"max_unsettled_mib" {limits.max_unsettled_mib:g} ' in text
    # docs/configuration.md: "at most 200 MiB in all with the defaults"
    assert "add 136 (ceil $unsettled)" in text
    assert 136 + limits.max_unsettled_mib == 200


@pytest.mark.parametrize("name", GOOD)
def test_the_schema_takes_good_values(name: str) -> None:
    Draft7Validator(chart_schema.schema()).validate(_values(name))


def test_the_table_is_as_long_as_was_asked() -> None:
    assert len(GOOD) >= 30
    assert len(BROKEN) >= 20


def test_the_plain_manifests_were_made_from_this_chart() -> None:
    for path in plain_manifests.FILES:
        assert plain_manifests.fingerprint() in path.read_text(), (
            f"{path.name}: the chart has changed since; `make chart` makes it anew"
        )


# -- with helm --------------------------------------------------------------------------------


def test_the_plain_manifests_are_what_helm_renders() -> None:
    chart.tool("helm")
    for path, text in plain_manifests.written().items():
        assert path.read_text() == text, path


def test_helm_has_nothing_to_say_about_the_chart() -> None:
    done = chart.helm("lint", BASE)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "[WARNING]" not in done.stdout
    assert "[ERROR]" not in done.stdout


@pytest.mark.parametrize("name", GOOD)
def test_what_is_rendered_follows_the_schemas_of_the_api(name: str) -> None:
    chart.validate(chart.render(_values(name)))


def test_a_resource_with_a_key_that_there_is_not_would_be_found() -> None:
    for kind in ("StatefulSet", "PodMonitor", "PrometheusRule", "ScaledObject", "NetworkPolicy"):
        wrong = copy.deepcopy(chart.of_kind(_one_rule(chart.render(_values("everything"))), kind))
        wrong["spec"]["podSelektor"] = {}
        with pytest.raises(AssertionError, match="podSelektor"):
            chart.validate([wrong])


def _one_rule(resources: list[chart.Resource]) -> list[chart.Resource]:
    return [one for one in resources if not one["metadata"]["name"].endswith("-slo")]


@pytest.mark.parametrize("name", BROKEN)
def test_broken_values_are_refused_and_the_message_names_them(name: str) -> None:
    values, said = BROKEN[name]
    done = chart.helm("template", chart.merged(BASE, values))
    assert done.returncode != 0
    assert said in done.stderr, done.stderr
    assert "nil pointer" not in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize("name", GOOD)
def test_the_program_takes_the_settings_that_are_rendered(
    name: str, tmp_path: Path, clean: Callable[[dict[str, str]], None]
) -> None:
    """The rendered file and the container's variables, through the real settings."""
    values = _values(name)
    resources = chart.render(values)
    file = tmp_path / "scm-consumer.toml"
    file.write_text(chart.settings_file(resources), encoding="utf-8")
    variables = {
        one["name"]: one.get("value", _stand_in(one))
        for one in chart.container(chart.workload(resources)).get("env", [])
    }
    clean(variables)
    text = file.read_text()
    for there in re.findall(r'"(/(?:files|secrets)/[^"]+)"', text):
        here = tmp_path / Path(there).name
        here.write_text("here")
        text = text.replace(there, str(here))
    file.write_text(text)
    settings = load(file)
    for section, keys in values["settings"].items():
        for key, value in keys.items():
            found = getattr(getattr(settings, section), key)
            if key.endswith("_file"):
                assert Path(found).read_text() == "here"
            elif key == "client":
                found = {name: text.replace(str(tmp_path), "") for name, text in found.items()}
                value = {
                    name: Path("/", str(text).rpartition("/")[2]) if "location" in name else text
                    for name, text in value.items()
                }
                assert found == {**found, **_dotted(value)}
            else:
                assert (list(found) if isinstance(found, tuple) else found) == value, key
    for variable in variables:
        assert "SECRET" in str(_found(settings, variable)) or variable.endswith("INSTANCE_ID")


@pytest.fixture
def clean(monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, str]], None]:
    """Return what gives the program these variables and no others of its own."""

    def give(variables: dict[str, str]) -> None:
        for name in [name for name in os.environ if name.startswith("SCM_")]:
            monkeypatch.delenv(name)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    return give


def _stand_in(variable: dict[str, Any]) -> str:
    """Return a value of a variable that comes from a Secret or from the pod."""
    source = variable["valueFrom"]
    if "fieldRef" in source:
        assert source["fieldRef"]["fieldPath"] == "metadata.name"
        return "scm-scm-consumer-0"
    return "http://SECRET:1" if variable["name"] == "SCM_API__PROXY" else "SECRET"


def _dotted(table: dict[str, Any], prefix: str = "") -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in table.items():
        if isinstance(value, dict):
            found |= _dotted(value, f"{prefix}{name}.")
        else:
            found[f"{prefix}{name}"] = str(value).lower() if value is True else str(value)
    return found


def _found(settings: Settings, variable: str) -> object:
    section, key, *rest = variable.removeprefix("SCM_").lower().split("__")
    value = getattr(getattr(settings, section), key)
    if rest:
        return value[rest[0].replace("_", ".")]
    return value.get_secret_value() if isinstance(value, SecretStr) else value


def test_every_secret_of_the_settings_is_refused_in_the_values() -> None:
    for keys in SECTIONS.values():
        for key in keys.values():
            if not key.is_secret:
                continue
            done = chart.helm(
                "template", chart.merged(BASE, {"settings": {key.section: {key.name: "hush"}}})
            )
            assert done.returncode != 0, key.path
            assert "is a secret" in done.stderr
            assert "hush" not in done.stderr


@pytest.mark.parametrize(
    "name",
    [
        "sasl.password", "ssl.key.password", "ssl.key.pem", "ssl.keystore.password",
        "sasl.oauthbearer.client.secret", "sasl.oauthbearer.config",
        "ssl.ca.location", "ssl.key.location", "sasl.oauthbearer.token.endpoint.url",
        "sasl.username",
    ],
)  # fmt: skip
def test_a_property_is_a_secret_for_the_chart_if_it_is_one_for_the_program(name: str) -> None:
    values = {"settings": {"kafka": {"client": {"security.protocol": "sasl_ssl", name: "x"}}}}
    done = chart.helm("template", chart.merged(BASE, values))
    assert (done.returncode != 0) == is_secret(name), done.stderr


def test_a_pod_has_no_right_that_it_does_not_need() -> None:
    resources = chart.render(_values("everything"))
    for resource in resources:
        if resource["kind"] not in ("StatefulSet", "CronJob"):
            continue
        spec, container = chart.pod_spec(resource), chart.container(resource)
        assert spec["automountServiceAccountToken"] is False
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        mounted = {mount["mountPath"]: mount for mount in container["volumeMounts"]}
        assert all(mount.get("readOnly") for path, mount in mounted.items() if path != "/tmp")
        assert not any("subPath" in mount for mount in mounted.values()), (
            "what is mounted so is never renewed"
        )
    account = chart.of_kind(resources, "ServiceAccount")
    assert account["automountServiceAccountToken"] is False


@pytest.mark.parametrize("name", GOOD)
def test_a_pod_is_given_longer_to_stop_than_the_consumer_takes(name: str) -> None:
    values = _values(name)
    limits = values["settings"].get("limits", {})
    stop = limits.get("stop_seconds", Settings().limits.stop_seconds)
    spec = chart.pod_spec(chart.workload(chart.render(values)))
    assert stop + 5 < spec["terminationGracePeriodSeconds"] <= stop + 11


def test_a_static_member_has_its_pods_name_and_a_dynamic_one_none() -> None:
    static = chart.workload(chart.render(BASE))
    (variable,) = chart.container(static)["env"]
    assert variable["name"] == "SCM_KAFKA__INSTANCE_ID"
    assert variable["valueFrom"]["fieldRef"]["fieldPath"] == "metadata.name"
    assert static["kind"] == "StatefulSet"
    assert static["spec"]["podManagementPolicy"] == "Parallel"
    dynamic = chart.workload(chart.render(_values("dynamic")))
    assert dynamic["kind"] == "Deployment"
    assert "env" not in chart.container(dynamic)
    assert dynamic["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 0, "maxUnavailable": 1}


def test_an_autoscaler_alone_says_how_many_members_there_are() -> None:
    assert chart.workload(chart.render(BASE))["spec"]["replicas"] == 1
    for name in ("KEDA", "an autoscaler on the adapter"):
        resources = chart.render(_values(name))
        workload = chart.workload(resources)
        assert "replicas" not in workload["spec"]
        scaler = next(
            resource
            for resource in resources
            if resource["kind"] in ("ScaledObject", "HorizontalPodAutoscaler")
        )
        target = scaler["spec"]["scaleTargetRef"]
        assert (target["kind"], target["name"]) == (
            workload["kind"],
            workload["metadata"]["name"],
        )


def test_whom_the_selectors_look_for_is_there() -> None:
    resources = chart.render(_values("everything"))
    labels = chart.workload(resources)["spec"]["template"]["metadata"]["labels"]
    job = chart.of_kind(resources, "CronJob")["spec"]["jobTemplate"]["spec"]["template"]
    for kind in ("StatefulSet", "PodDisruptionBudget", "PodMonitor"):
        selector = chart.of_kind(resources, kind)["spec"]["selector"]["matchLabels"]
        assert selector.items() <= labels.items(), kind
        assert not selector.items() <= job["metadata"]["labels"].items(), kind
    policy = chart.of_kind(resources, "NetworkPolicy")["spec"]["podSelector"]["matchLabels"]
    assert policy.items() <= labels.items()
    assert policy.items() <= job["metadata"]["labels"].items()


@pytest.mark.parametrize(
    ("name", "ports"),
    [
        ("nothing but brokers", {53, 443, 9092}),
        ("several brokers", {53, 443, 9093, 9094, 9095}),
        ("a registry", {53, 443, 8081, 9092}),
        ("a proxy", {53, 443, 3128, 9092}),
        ("sandbox", {53, 8080, 9092}),
        ("a narrow network policy", {53, 443, 4318, 9092, 9093}),
    ],
)
def test_the_network_policy_lets_out_to_the_addresses_of_the_settings(
    name: str, ports: set[int]
) -> None:
    policy = chart.of_kind(chart.render(_values(name)), "NetworkPolicy")["spec"]
    (rule,) = policy["egress"]
    assert {one["port"] for one in rule["ports"] if one["protocol"] == "TCP"} == ports
    assert {one["port"] for one in rule["ports"] if one["protocol"] == "UDP"} == {53}


def test_the_alerts_are_those_that_are_tested_and_link_to_the_users_runbook(
    tmp_path: Path,
) -> None:
    base = "https://wiki.example.org/scm/"
    values = {"monitoring": {"rules": {"enabled": True, "runbook": base}}}
    found = [
        resource
        for resource in chart.render(chart.merged(BASE, values))
        if resource["kind"] == "PrometheusRule"
    ]
    for resource, source in zip(found, alerts.FILES[:2], strict=True):
        file = tmp_path / source.name
        file.write_text(json.dumps(resource["spec"]))
        alerts.promtool("check", "rules", file)
        text = source.read_text().replace(alerts.BASE, base)
        assert resource["spec"] == YAML(typ="safe").load(text)
        assert alerts.BASE not in json.dumps(resource)


def test_the_job_that_prometheus_sees_has_the_name_that_the_alerts_look_for() -> None:
    for release in ("scm", "scm-consumer", "a", "b" * 53):
        resources = chart.render(chart.merged(BASE, {"monitoring": _MONITORING}), release)
        name = chart.of_kind(resources, "PodMonitor")["metadata"]["name"]
        assert "scm-consumer" in name
        assert all(len(one["metadata"]["name"]) <= 63 for one in resources)


def test_kube_score_finds_nothing_critical() -> None:
    scorer = chart.tool("kube-score")
    done = chart.helm("template", _values("everything"))
    # A limit on the processor is left out on purpose. Tags are the chart's version, never moved.
    words = ["--ignore-container-cpu-limit", "--ignore-test", "container-image-pull-policy"]
    scored = subprocess.run(
        [scorer, "score", "-o", "ci", *words, "-"],
        input=done.stdout,
        capture_output=True,
        text=True,
        check=False,
    )
    said = [line for line in scored.stdout.splitlines() if line.startswith(("[CRIT", "[WARN"))]
    assert not said, "\n".join(said)
    assert "[OK]" in scored.stdout, scored.stderr


def test_the_page_tells_every_value() -> None:
    text = (ROOT / PAGE).read_text()
    for name in chart_schema.schema()["properties"]:
        if name != "global":
            assert f"`{name}" in text, name


# -- the page ---------------------------------------------------------------------------------

PAGE = "docs/kubernetes.md"
_OFFERED = [block for block in blocks(PAGE) if block.tag == "values"]


@pytest.fixture
def typed(tmp_path: Path) -> Callable[[str], str]:
    """Return what types the page's blocks of a tag as a newcomer does, and gives what was applied.

    kubectl only records. helm renders in place of installing.
    """
    shutil.copytree(ROOT / "deploy", tmp_path / "deploy")
    (tmp_path / "scantrust-token").write_text("a-token")
    applied = tmp_path / "applied"
    programs = tmp_path / "bin"
    programs.mkdir()

    def program(name: str, script: str) -> None:
        (programs / name).write_text(f"#!/bin/sh\nset -e\n{script}\n")
        (programs / name).chmod(0o755)

    program(
        "kubectl",
        f'echo "kubectl $*" >> {tmp_path}/recorded\n'
        f'[ "$1" = apply ] || exit 0; cat "$3" >> {applied}',
    )

    def run(tag: str) -> str:
        if tag == "kubernetes":
            program(
                "helm",
                f'[ "$1" = install ]; shift; exec {chart.tool("helm")} template --kube-version '
                f'{chart.VERSIONS[0]} "$@" >> {applied}',
            )
        for block in blocks(PAGE):
            if block.language == "sh" and block.tag == tag:
                done = subprocess.run(
                    ["bash", "-euc", block.text],
                    cwd=tmp_path,
                    env={"PATH": f"{programs}:{os.environ['PATH']}", "HOME": str(tmp_path)},
                    capture_output=True,
                    text=True,
                    check=False,
                )
                assert done.returncode == 0, done.stdout + done.stderr
        made = (tmp_path / "recorded").read_text()
        assert (
            "kubectl create secret generic scm-consumer-token --from-file=token=scantrust-token"
            in made
        )
        return applied.read_text()

    return run


@pytest.mark.parametrize("tag", ["kubernetes", "kubernetes-plain"])
def test_a_newcomer_gets_manifests_for_their_own_brokers_and_token(
    tag: str, typed: Callable[[str], str]
) -> None:
    resources = chart.documents(typed(tag))
    assert 'bootstrap_servers = "kafka-1.example.com:9092"' in chart.settings_file(resources)
    member = chart.workload(resources)
    image = f"registry.example.com/scm-consumer:{consumer.__version__}"
    assert chart.container(member)["image"] == image
    secrets = [
        volume["secret"] for volume in chart.pod_spec(member)["volumes"] if "secret" in volume
    ]
    assert [secret["secretName"] for secret in secrets] == ["scm-consumer-token"]
    if (chart.TOOLS / "venv").exists():
        chart.validate(resources)


@pytest.mark.parametrize("number", range(len(_OFFERED)))
def test_the_values_that_the_page_offers_are_good(number: int) -> None:
    values = YAML(typ="safe").load(_OFFERED[number].text)
    Draft7Validator(chart_schema.schema()).validate(values)
    chart.validate(chart.render(chart.merged(BASE, values)))


def test_the_page_counts_right() -> None:
    text = (ROOT / PAGE).read_text()
    assert f"over {len(GOOD)} combinations of values" in text
    assert f"{len(BROKEN)} broken values" in text
    assert f"Kubernetes {chart.VERSIONS[0]} and {chart.VERSIONS[1]}" in text
