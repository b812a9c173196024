"""docker-compose.yml agrees with the compose schema and with the code: names, ports, settings."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from pydantic import SecretStr
from ruamel.yaml import YAML

from consumer.config.loading import load
from consumer.config.settings import Settings
from tests.deploy import compose, dockerfile
from tests.support import apicurio
from tests.support.kafka_sources import kafka_version

PROMETHEUS = compose.ROOT / "deploy" / "prometheus.yml"


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Settings:
    """Return what the consumer makes of its service's variables."""
    return _loaded(compose.environment("consumer"), monkeypatch, tmp_path)


def _loaded(variables: dict[str, str], monkeypatch: pytest.MonkeyPatch, folder: Path) -> Settings:
    for name in [name for name in os.environ if name.startswith("SCM_")]:
        monkeypatch.delenv(name)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(folder)
    return load(None)


def test_the_file_follows_the_compose_specification() -> None:
    checker = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    done = subprocess.run([*checker, compose.FILE], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_service_waits_only_for_what_the_other_can_tell() -> None:
    services = compose.services()
    for name, service in services.items():
        for other, how in service.get("depends_on", {}).items():
            assert other in services, f"{name} waits for {other}"
            assert how["condition"] != "service_healthy" or "healthcheck" in services[other], (
                f"{name} waits for {other}"
            )


def test_every_image_is_pinned_or_built_here() -> None:
    for name, service in compose.services().items():
        tag = service["image"].rsplit(":", 1)[1]
        assert "build" in service or re.fullmatch(r"v?\d+\.\d+\.\d+", tag), (
            f"{name}: {service['image']}"
        )
        if "build" in service:
            assert (
                compose.ROOT / service["build"]["context"] / service["build"]["dockerfile"]
            ).is_file()


def test_kafka_is_the_version_that_the_tests_run_on() -> None:
    assert {compose.services()[name]["image"] for name in ("kafka", "topics")} == {
        f"apache/kafka:{kafka_version()}"
    }


def test_the_registry_is_the_version_that_the_integration_tests_run_on() -> None:
    assert (
        compose.services()["registry"]["image"] == f"apicurio/apicurio-registry:{apicurio.VERSION}"
    )


@pytest.mark.parametrize("profile", compose.PROFILES)
def test_every_port_is_published_on_the_loopback_address_only_and_once(profile: str) -> None:
    taken: list[int] = []
    for name, service in compose.services().items():
        if profile not in service.get("profiles", [profile]):
            continue
        for address, port in compose.published(name).values() if "ports" in service else []:
            assert address == "127.0.0.1", f"{name}: {address}"
            taken.append(port)
    assert len(set(taken)) == len(taken)


def test_one_consumer_is_started_with_the_sandbox_unless_an_account_is_asked_for() -> None:
    by_profile = {
        profile: {
            name
            for name, service in compose.services().items()
            if profile in service.get("profiles", [])
        }
        for profile in compose.PROFILES
    }
    assert by_profile == {"sandbox": {"sandbox", "consumer"}, "account": {"account"}}
    named = (compose.ROOT / ".env").read_text().splitlines()
    assert named[-1] == "COMPOSE_PROFILES=sandbox"
    for name, service in compose.services().items():
        profiles = service.get("profiles", compose.PROFILES)
        for other in service.get("depends_on", {}):
            theirs = compose.services()[other].get("profiles", compose.PROFILES)
            assert set(profiles) <= set(theirs), f"{name} waits for {other}, which may be off"


def test_the_two_consumers_differ_only_in_the_api() -> None:
    services = compose.services()
    sandbox, account = dict(services["consumer"]), dict(services["account"])
    for service in (sandbox, account):
        service["environment"] = {
            name: value
            for name, value in service["environment"].items()
            if not name.startswith("SCM_API__")
        }
        del service["profiles"], service["depends_on"]
    assert account.pop("networks") == {"default": {"aliases": ["consumer"]}}, "for Prometheus"
    assert account.pop("secrets") == ["scantrust-token"]
    assert account == sandbox


def test_the_projects_containers_have_a_read_only_root_and_no_privilege() -> None:
    built = [service for service in compose.services().values() if "build" in service]
    assert len(built) == 3
    for service in built:
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert "user" not in service, "the image's own user, which is not root"


def test_every_setting_of_the_consumer_loads_and_arrives(settings: Settings) -> None:
    for variable, value in compose.environment("consumer").items():
        section, key = variable.removeprefix("SCM_").lower().split("__")
        found = getattr(getattr(settings, section), key)
        match found:
            case SecretStr():
                assert found.get_secret_value() == value
            case tuple():
                assert list(found) == json.loads(value), variable
            case bool():
                assert str(found).lower() == value, variable
            case _:
                assert found == value, variable


def test_the_settings_of_an_own_account_load(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    own = compose.environment("account")
    document = YAML(typ="safe").load(compose.FILE.read_text())
    (name,) = compose.services()["account"]["secrets"]
    assert own["SCM_API__TOKEN_FILE"] == f"/run/secrets/{name}", "where Compose puts a secret"
    assert document["secrets"][name] == {"file": f"./{name}"}
    assert f"/{name}" in (compose.ROOT / ".gitignore").read_text().splitlines()
    secret = tmp_path / "token"
    secret.write_text("a-token")
    settings = _loaded(own | {"SCM_API__TOKEN_FILE": str(secret)}, monkeypatch, tmp_path)
    assert settings.api.base_url == Settings().api.base_url


def test_containers_reach_kafka_inside_and_this_machine_reaches_it_outside(
    settings: Settings,
) -> None:
    kafka = compose.environment("kafka")
    listens = _listeners(kafka["KAFKA_LISTENERS"])
    advertises = _listeners(kafka["KAFKA_ADVERTISED_LISTENERS"])
    assert (
        advertises["INSIDE"]
        == settings.kafka.bootstrap_servers
        == f"kafka:{_port(listens['INSIDE'])}"
    )
    ((container_port, (_, host_port)),) = compose.published("kafka").items()
    assert advertises["OUTSIDE"] == f"localhost:{host_port}"
    assert _port(listens["OUTSIDE"]) == container_port
    assert (
        kafka["KAFKA_CONTROLLER_QUORUM_VOTERS"]
        == f"{kafka['KAFKA_NODE_ID']}@kafka:{_port(listens['CONTROLLER'])}"
    )
    assert Settings().kafka.bootstrap_servers == advertises["OUTSIDE"], (
        "the default reaches it from this machine"
    )


def test_the_topics_that_are_made_are_the_events_and_the_dead_letters(settings: Settings) -> None:
    (script,) = compose.services()["topics"]["command"]
    made = re.search(r"for topic in (.+?); do", script)
    assert made is not None
    assert made[1].split() == [*settings.kafka.topics, settings.dead_letter.topic]
    assert f"--bootstrap-server {settings.kafka.bootstrap_servers} " in script


def test_the_sandbox_is_where_the_consumer_uploads_to_and_takes_its_token(
    settings: Settings,
) -> None:
    _, *words = compose.services()["sandbox"]["command"]
    options = dict(zip(words[::2], words[1::2], strict=True))
    port = _port(options["--listen"])
    assert settings.api.base_url == f"http://sandbox:{port}"
    assert settings.api.token.get_secret_value() == options["--token"]
    assert list(compose.published("sandbox")) == [port]


def test_the_registry_is_where_the_consumer_asks_for_schemas(settings: Settings) -> None:
    url = urlsplit(settings.schema_registry.url)
    assert url.hostname == "registry"
    assert list(compose.published("registry")) == [url.port]
    assert url.path == "/apis/ccompat/v7"


def test_the_ops_address_is_published_and_scraped(settings: Settings) -> None:
    host, _, port = settings.ops.listen.rpartition(":")
    assert host == "0.0.0.0"
    assert compose.published("consumer") == {int(port): ("127.0.0.1", int(port))}
    (job,) = YAML(typ="safe").load(PROMETHEUS.read_text())["scrape_configs"]
    assert job["static_configs"] == [{"targets": [f"consumer:{port}"]}]
    assert dockerfile.stages()[-1].only("EXPOSE") == port == _port_text(Settings().ops.listen), (
        "the default port"
    )


def test_prometheus_finds_its_configuration_and_its_rules_where_it_looks_for_them() -> None:
    mounted = {}
    for volume in compose.services()["prometheus"]["volumes"]:
        source, target, mode = volume.split(":")
        assert mode == "ro"
        mounted[target] = compose.ROOT / source
    assert mounted == {
        "/etc/prometheus/prometheus.yml": PROMETHEUS,
        "/etc/prometheus/prometheus": PROMETHEUS.with_suffix(""),
    }
    named = YAML(typ="safe").load(PROMETHEUS.read_text())["rule_files"]
    assert named == ["prometheus/rules.yml", "prometheus/slo.yml"], "relative to the configuration"
    for name in named:
        assert (PROMETHEUS.parent / name).is_file()


def test_grafana_finds_prometheus_and_the_dashboard_where_it_looks_for_them() -> None:
    mounted = {}
    for volume in compose.services()["grafana"]["volumes"]:
        source, target, mode = volume.split(":")
        assert mode == "ro"
        mounted[target] = compose.ROOT / source
    provisioning = mounted.pop("/etc/grafana/provisioning")
    ((dashboard, source),) = mounted.items()
    assert source == compose.ROOT / "deploy" / "grafana" / "dashboard.json"
    assert compose.environment("grafana")["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"] == dashboard
    (provider,) = _yaml(provisioning / "dashboards" / "scm-consumer.yml")["providers"]
    assert provider["options"]["path"] == str(Path(dashboard).parent)
    (prometheus,) = _yaml(provisioning / "datasources" / "prometheus.yml")["datasources"]
    address = urlsplit(prometheus["url"])
    assert address.hostname == "prometheus"
    assert list(compose.published("prometheus")) == [address.port]
    assert prometheus["isDefault"] is True, "the dashboard takes the default"
    assert prometheus["jsonData"]["manageAlerts"] is True


def _yaml(path: Path) -> Any:
    return YAML(typ="safe").load(path.read_text(encoding="utf-8"))


def test_promtool_accepts_the_configuration_of_prometheus() -> None:
    done = subprocess.run(
        ["promtool", "check", "config", PROMETHEUS], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_docker_waits_longer_for_a_stop_than_the_consumer_does(settings: Settings) -> None:
    assert (
        compose.seconds(compose.services()["consumer"]["stop_grace_period"])
        > settings.limits.stop_seconds
    )


def _listeners(value: str) -> dict[str, str]:
    return dict(item.split("://") for item in value.split(","))


def _port(address: str) -> int:
    return int(_port_text(address))


def _port_text(address: str) -> str:
    return address.rpartition(":")[2]
