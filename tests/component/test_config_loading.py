"""File, environment and defaults, laid over each other."""

from __future__ import annotations

from pathlib import Path

import pytest

from consumer.config.keys import SECTIONS
from consumer.config.loading import load, load_with_origins
from consumer.config.settings import Settings
from consumer.errors import ConfigError


@pytest.fixture(autouse=True)
def _with_a_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SCM_API__TOKEN", "t")


#: Another value than the default for every key, as a variable says it.
OTHERS = {
    "kafka.bootstrap_servers": ("a:1,b:2", "a:1,b:2"),
    "kafka.group_id": ("7", "7"),
    "kafka.topics": ('["a", "^b.*"]', ("a", "^b.*")),
    "kafka.group_protocol": ("consumer", "consumer"),
    "kafka.instance_id": ("1e5", "1e5"),
    "kafka.start_from": ("latest", "latest"),
    "kafka.on_out_of_range": ("earliest", "earliest"),
    "kafka.commit_interval_seconds": ("2", 2.0),
    "schema_registry.url": ("http://registry:8081", "http://registry:8081"),
    "events.format": ("flat", "flat"),
    "events.data_key": ("serial_number", "serial_number"),
    "events.logistic_units": ('["box"]', ("box",)),
    "events.date_fields": ('["packed_on"]', ("packed_on",)),
    "epcis.codes": ('["extended_id = (.+)"]', ("extended_id = (.+)",)),
    "epcis.unit_codes": ('["case_code = serial_number"]', ("case_code = serial_number",)),
    "epcis.steps": ('["shipping = ship_date: {date}"]', ("shipping = ship_date: {date}",)),
    "epcis.products": ('["09506000134352 = p"]', ("09506000134352 = p",)),
    "epcis.markets": ('["urn: = cn"]', ("urn: = cn",)),
    "scan.code": ('["a = (.+)"]', ("a = (.+)",)),
    "scan.set": ('["* = a: {topic}"]', ("* = a: {topic}",)),
    "scan.data_key": ("serial_number", "serial_number"),
    "scan.text": ("data.payload", "data.payload"),
    "scan.prefix": ("yz/", "yz/"),
    "scan.suffix": ("#", "#"),
    "scan.time_zone": ("+08:00", "+08:00"),
    "windows.max_rows": ("50", 50),
    "windows.linger_seconds": ("0", 0.0),
    "windows.uniform_fields": ("false", False),
    "api.base_url": ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
    "api.mode": ("auto", "auto"),
    "api.concurrency": ("4", 4),
    "api.requests_per_second": ("0.5", 0.5),
    "api.connect_timeout_seconds": ("1", 1.0),
    "api.timeout_seconds": ("30", 30.0),
    "api.max_processing_seconds": ("0", 0.0),
    "api.task_deadline_seconds": ("60", 60.0),
    "api.ca_file": ("/dev/null", "/dev/null"),
    "api.proxy": ("proxy:3128", "proxy:3128"),
    "api.allow_plain_http": ("true", True),
    "retry.base_seconds": ("1", 1.0),
    "retry.cap_seconds": ("30", 30.0),
    "retry.max_retry_after_seconds": ("60", 60.0),
    "retry.give_up_seconds": ("0", 0.0),
    "retry.unknown_key_grace_seconds": ("5", 5.0),
    "dead_letter.topic": ("dead", "dead"),
    "dead_letter.pause_after_rejections": ("0", 0),
    "receipts.topic": ("receipts", "receipts"),
    "ops.listen": ("", ""),
    "ops.target_lag_seconds": ("600", 600.0),
    "limits.max_unsettled_rows": ("1", 1),
    "limits.max_unsettled_mib": ("0.5", 0.5),
    "limits.stop_seconds": ("0", 0.0),
    "log.level": ("debug", "debug"),
    "log.format": ("json", "json"),
    "log.keys": ("true", True),
}
SECRETS = {"api.token", "schema_registry.password"}  # and what belongs to them: tested below
TOGETHER = {"api.token_file", "schema_registry.user", "kafka.client", "reconcile.columns"}


def value_of(settings: Settings, path: str) -> object:
    section, _, name = path.partition(".")
    return getattr(getattr(settings, section), name)


def test_every_key_is_tried() -> None:
    assert {key.path for keys in SECTIONS.values() for key in keys.values()} == {
        *OTHERS,
        *SECRETS,
        *TOGETHER,
    }


@pytest.mark.parametrize("path", OTHERS)
def test_a_variable_sets_its_key_and_wins_over_the_file(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    text, value = OTHERS[path]
    section, _, name = path.partition(".")
    key = SECTIONS[section][name]
    Path("scm-consumer.toml").write_text(
        "[kafka]\ngroup_id = 'from the file'\ntopics = ['file']\n", encoding="utf-8"
    )
    assert value_of(load(None), path) != value
    monkeypatch.setenv(key.variable, text)
    loaded = load_with_origins(None)
    assert value_of(loaded.settings, path) == value
    assert loaded.origins[path] == key.variable == f"SCM_{section}__{name}".upper()


@pytest.mark.parametrize(
    "password", ["0123", "1e5", "true", "null", '"quoted"', '["list"]', "a=b#c d", "", " x "]
)
def test_a_property_from_the_environment_is_taken_to_the_letter(
    password: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SCM_KAFKA__CLIENT__SECURITY_PROTOCOL", "sasl_ssl")
    monkeypatch.setenv("SCM_KAFKA__CLIENT__SASL_PASSWORD", password)
    assert load(None).kafka.client == {"security.protocol": "sasl_ssl", "sasl.password": password}


def test_properties_of_file_and_environment_are_laid_over_each_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Path("scm-consumer.toml").write_text(
        '[kafka.client]\n"security.protocol" = "sasl_ssl"\nsasl.username = "file"\n'
        'sasl.mechanism = "PLAIN"\n'
        "socket.timeout.ms = 1000\nsocket.keepalive.enable = true\n",
        encoding="utf-8",
    )
    monkeypatch.setenv("SCM_KAFKA__CLIENT__SASL_USERNAME", "variable")
    assert load(None).kafka.client == {
        "security.protocol": "sasl_ssl",
        "sasl.username": "variable",
        "sasl.mechanism": "PLAIN",
        "socket.timeout.ms": "1000",
        "socket.keepalive.enable": "true",
    }


def test_variables_of_other_programs_are_no_mistakes(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in (
        "SCM_KAFKA_SERVICE_HOST",  # as Kubernetes makes them for a service named scm-kafka
        "SCM_KAFKA_SERVICE_PORT",
        "SCM_KAFKA_PORT",
        "SCM_KAFKA_PORT_9092_TCP_ADDR",
        "SCM_API_SERVICE_PORT_HTTP",
        "SCM_HOME",
        "SCMS",
        "scm_api__token",
    ):
        monkeypatch.setenv(variable, "x")
    assert load(None) == Settings.model_validate({"api": {"token": "t"}})


def test_who_does_not_upload_needs_no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SCM_API__TOKEN")
    assert load(None, uploads=False) == Settings()
    with pytest.raises(ConfigError, match=r"^api\.token: not set"):
        load(None)


def test_a_token_file_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("token").write_text("abc\n", encoding="utf-8")
    monkeypatch.setenv("SCM_API__TOKEN", "")
    monkeypatch.setenv("SCM_API__TOKEN_FILE", "token")
    assert load(None).api.token_file == "token"


def test_a_token_file_goes_before_a_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCM_API__TOKEN_FILE", "absent")
    with pytest.raises(ConfigError, match=r"^SCM_API__TOKEN_FILE.*cannot be read"):
        load(None)


def test_a_registry_takes_a_user_with_a_password(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"URL": "https://registry", "USER": "u", "PASSWORD": "p"}.items():
        monkeypatch.setenv(f"SCM_SCHEMA_REGISTRY__{name}", value)
    assert load(None).schema_registry.password.get_secret_value() == "p"


@pytest.mark.parametrize(
    "text",
    [
        "[kafka]\nbootstrap_servers = 'kafka'\n",
        "[kafka]\nbootstrap_servers = 'kafka-1:9092, kafka-2.plant.example:9093'\n",
        "[kafka]\nbootstrap_servers = '[::1]:9092,10.0.0.7:9092,PLAINTEXT://k:9092'\n",
        "[kafka]\nbootstrap_servers = 'ssl://k:9093'\n[kafka.client]\n"
        "'security.protocol' = 'SSL'\n",
        "[kafka]\ntopics = ['^line[0-9]+\\.(events|scans)$', '^plant[._-]', 'scm.events']\n",
        "[api]\nbase_url = 'https://gateway.example/scantrust/'\n",
        "[api]\nbase_url = 'http://[::1]:8080'\n",
        "[api]\nproxy = 'http://me:s3%2Fcr@proxy:3128'\n",
        "[ops]\nlisten = '[::]:0'\n",
        "[kafka.client]\n'security.protocol' = 'SSL'\n'ssl.ca.location' = '/etc'\n",
        "[kafka.client]\n'security.protocol' = 'ssl'\n'ssl.ca.location' = 'probe'\n",
        "[kafka.client]\n'topic.metadata.refresh.interval.ms' = 1000\ndebug = 'broker,cgrp'\n",
        "\ufeff[log]\nkeys = true\n",
    ],
)
def test_what_is_right_is_taken(text: str) -> None:
    Path("scm-consumer.toml").write_text(text, encoding="utf-8")
    load(None)
