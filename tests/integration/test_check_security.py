"""``check`` against a broker with TLS, log-in and rights: each trouble is one line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

from tests.component.wire import make_certificate
from tests.integration.checking import check
from tests.support.job import Job
from tests.support.kafka_jars import BrokerUnavailable
from tests.support.kafka_secure import USER, SecureBroker, secure_broker
from tests.support.kafka_witness import Kafka, unique


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecureBroker]:
    try:
        with secure_broker(tmp_path_factory.mktemp("secure")) as broker:
            yield broker
    except BrokerUnavailable as reason:
        pytest.fail(f"these tests need a broker with TLS and rights: {reason}", pytrace=False)


@pytest.fixture
def guarded(secure: SecureBroker, job: Job) -> Job:
    """Yield a job on the secure broker; its settings still name the other one."""
    return Job(Kafka(secure.broker.bootstrap, "secure"), job.sandbox, job.folder, partitions=2)


def at(secure: SecureBroker, **properties: str) -> dict[str, dict[str, Any]]:
    """Return the settings that lead to the secure listener, those given laid over."""
    return {
        "kafka": {"bootstrap_servers": secure.bootstrap},
        "kafka.client": secure.client(**properties),
    }


def allow(secure: SecureBroker, kind: ResourceType, name: str, *operations: AclOperation) -> None:
    """Give the user rights."""
    admin = AdminClient({"bootstrap.servers": secure.broker.bootstrap})
    bindings = [
        AclBinding(
            kind,
            name,
            ResourcePatternType.LITERAL,
            f"User:{USER}",
            "*",
            operation,
            AclPermissionType.ALLOW,
        )
        for operation in operations
    ]
    for future in admin.create_acls(bindings).values():
        future.result(30)


def test_the_right_password_and_rights_are_well(secure: SecureBroker, guarded: Job) -> None:
    operations = (AclOperation.READ, AclOperation.DESCRIBE_CONFIGS)
    allow(secure, ResourceType.TOPIC, guarded.topic, *operations)
    allow(
        secure,
        ResourceType.TOPIC,
        guarded.letters,
        AclOperation.WRITE,
        AclOperation.DESCRIBE_CONFIGS,
    )
    allow(secure, ResourceType.GROUP, guarded.group, AclOperation.READ)
    found = check(guarded, **at(secure))
    assert found.code == 0
    assert f"logged in as {USER}" in found.one("broker")[1]
    assert found.one("rights") == (
        "ok",
        f"read {guarded.topic}, write {guarded.letters}, use the group {guarded.group}: allowed",
    )
    assert found.one("retention")[0] == "ok"


@pytest.mark.parametrize(
    ("properties", "what", "advice"),
    [
        (
            {"sasl_password": "wrong-hunter2"},
            "refuses the log-in of alice",
            "kafka.client.sasl.password",
        ),
        ({"sasl_username": "bob"}, "refuses the log-in of bob", "kafka.client.sasl.username"),
        (
            {"sasl_mechanism": "PLAIN"},
            "this kind of log-in",
            "kafka.client.sasl.mechanism to SCRAM-SHA-512",
        ),
        (
            {"security_protocol": "SASL_PLAINTEXT"},
            "closes the connection",
            "kafka.client.security.protocol to SASL_SSL",
        ),
        (
            {"security_protocol": "SSL"},
            "closes the connection",
            "kafka.client.security.protocol to SASL_SSL",
        ),
    ],
)
def test_a_refused_log_in_is_one_line_with_its_cause(
    secure: SecureBroker, guarded: Job, properties: dict[str, str], what: str, advice: str
) -> None:
    found = check(guarded, **at(secure, **properties))
    assert found.failed == ["broker"]
    text, _, told = found.one("broker")[1].partition(" -> ")
    assert (what in text, advice in told) == (True, True), (text, told)


def test_a_client_without_tls_is_told_what_the_port_expects(
    secure: SecureBroker, guarded: Job
) -> None:
    found = check(guarded, kafka={"bootstrap_servers": secure.bootstrap})
    assert found.failed == ["broker"]
    text, _, advice = found.one("broker")[1].partition(" -> ")
    assert "closes the connection at once" in text
    assert "kafka.client.security.protocol to SSL (or SASL_SSL with a log-in)" in advice


def test_a_wrong_ca_names_the_setting(secure: SecureBroker, guarded: Job, tmp_path: Path) -> None:
    other = make_certificate(tmp_path, "other", "IP:127.0.0.1")
    found = check(guarded, **at(secure, ssl_ca_location=str(other.pem)))
    assert found.failed == ["broker"]
    text, _, advice = found.one("broker")[1].partition(" -> ")
    assert "certificate" in text
    assert "self-signed" in text
    assert "kafka.client.ssl.ca.location" in advice


@pytest.mark.parametrize(
    ("protocol", "what", "advice"),
    [
        ("SASL_SSL", "does not speak TLS", "security.protocol to SASL_PLAINTEXT"),
        ("SASL_PLAINTEXT", "takes no log-in", "SASL out of kafka.client.security.protocol"),
    ],
)
def test_security_where_the_broker_has_none_is_told(
    secure: SecureBroker, guarded: Job, protocol: str, what: str, advice: str
) -> None:
    client = secure.client(security_protocol=protocol)
    found = check(
        guarded, kafka={"bootstrap_servers": guarded.kafka.bootstrap}, **{"kafka.client": client}
    )
    text, _, told = found.one("broker")[1].partition(" -> ")
    assert (what in text, advice in told) == (True, True), (text, told)


def test_without_any_right_each_missing_one_is_a_line_with_the_command_that_gives_it(
    secure: SecureBroker, guarded: Job
) -> None:
    found = check(guarded, **at(secure))
    assert found.failed == ["topics", "dead letters", "rights"]
    give = (
        f"kafka-acls --bootstrap-server {secure.bootstrap} --add "
        f"--allow-principal User:{USER} --operation"
    )
    assert f"{give} Read --topic {guarded.topic}" in found.one("topics")[1]
    assert f"{give} Write --topic {guarded.letters}" in found.one("dead letters")[1]
    assert f"{give} Read --group {guarded.group}" in found.one("rights")[1]


def test_topics_that_may_be_seen_but_not_used_fail_as_rights(
    secure: SecureBroker, guarded: Job
) -> None:
    for topic in (guarded.topic, guarded.letters):
        allow(secure, ResourceType.TOPIC, topic, AclOperation.DESCRIBE)
    allow(secure, ResourceType.GROUP, guarded.group, AclOperation.DESCRIBE)
    found = check(guarded, **at(secure))
    texts = [text.partition(" -> ")[0] for _, text in found.lines["rights"]]
    assert texts == [
        f"this user may not read {guarded.topic}",
        f"this user may not write {guarded.letters}",
        f"this user may not use the group {guarded.group}",
    ]
    assert found.one("retention")[0] == "unknown"
    assert "DescribeConfigs" in found.one("retention")[1]


def test_a_topic_that_this_user_may_not_make_is_left_to_the_administrator(
    secure: SecureBroker, guarded: Job
) -> None:
    missing = unique("not-there")
    allow(secure, ResourceType.TOPIC, missing, AclOperation.WRITE)
    found = check(guarded, "--create", dead_letter={"topic": missing}, **at(secure))
    assert "dead letters" in found.failed
    assert "cannot be made" in found.one("dead letters")[1]
    assert "administrator" in found.one("dead letters")[1]


def test_a_missing_topic_says_how_to_make_it_and_what_there_is(
    secure: SecureBroker, guarded: Job
) -> None:
    guarded.topic = unique("missing")
    found = check(guarded)
    assert found.failed == ["topics"]
    text = found.one("topics")[1]
    assert f"{guarded.topic}: not there" in text
    assert "scm-consumer check --create" in text
    assert "kafka.topics" in text
    assert found.one("group")[0] == found.one("retention")[0] == "skipped"
