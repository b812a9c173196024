"""librdkafka's properties: those that are usually needed, and those that are not to be set."""

#: How a group hands partitions over if nothing else is said: only those that move, while the others
#: are read on.
COOPERATIVE = "cooperative-sticky"

#: The properties that are usually needed, and what they are for; a name that is all but right is
#: answered with one of these.
USUAL = {
    "security.protocol": "plaintext, ssl, sasl_plaintext or sasl_ssl",
    "sasl.mechanism": "PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 or OAUTHBEARER",
    "sasl.username": "the user of PLAIN and SCRAM",
    "sasl.password": "its password",
    "sasl.oauthbearer.method": "oidc: fetch tokens from an identity provider",
    "sasl.oauthbearer.token.endpoint.url": "where they are fetched",
    "sasl.oauthbearer.client.id": "the client's name there",
    "sasl.oauthbearer.client.secret": "its secret",
    "ssl.ca.location": "file with the CA certificates of the brokers (PEM)",
    "ssl.certificate.location": "file with this client's certificate, for mutual TLS (PEM)",
    "ssl.key.location": "file with its private key (PEM)",
    "ssl.key.password": "the key's password",
    "session.timeout.ms": (
        "a member that is silent for so long is thrown out; not with group_protocol consumer"
    ),
    "partition.assignment.strategy": (
        "cooperative-sticky (as it comes), range or roundrobin, the same for all members; "
        "with the last two, all of them give everything up at each rebalance"
    ),
    "max.poll.interval.ms": "a member whose loop stands still for so long leaves",
    "socket.keepalive.enable": "true: keep idle connections alive through firewalls",
    "client.id": "the name of this client in the brokers' logs",
    "client.rack": "read from the replica in this rack",
    "debug": "librdkafka's own log, shown at log level debug; such as broker,security,cgrp",
}

#: librdkafka properties that would break a promise, and what to use instead.
REFUSED_CLIENT_PROPERTIES = {
    "bootstrap.servers": "use kafka.bootstrap_servers",
    "metadata.broker.list": "use kafka.bootstrap_servers",
    "test.mock.num.brokers": "kafka.bootstrap_servers would be passed over",
    "group.id": "use kafka.group_id",
    "group.instance.id": "use kafka.instance_id",
    "group.protocol": "use kafka.group_protocol",
    "enable.auto.commit": "offsets are committed only after everything up to them is settled",
    "auto.commit.enable": "offsets are committed only after everything up to them is settled",
    "auto.commit.interval.ms": "use kafka.commit_interval_seconds",
    "enable.auto.offset.store": "offsets are committed only after everything up to them is settled",
    "offset.store.method": "offsets are committed to the group only",
    "offset.store.path": "offsets are committed to the group only",
    "offset.store.sync.interval.ms": "offsets are committed to the group only",
    "auto.offset.reset": "use kafka.start_from and kafka.on_out_of_range",
    "enable.partition.eof": "the consumer needs it to know a partition's end",
    "allow.auto.create.topics": "a topic that is missing is told, never made by the way",
    "isolation.level": "only committed transactions are read",
    "queued.max.messages.kbytes": "it is part of the memory bound",
    "fetch.queue.backoff.ms": "it belongs to the memory bound",
    "enable.idempotence": "dead letters are produced idempotently",
    "acks": "dead letters are acknowledged by all in-sync replicas",
    "request.required.acks": "dead letters are acknowledged by all in-sync replicas",
    "transactional.id": "dead letters are produced idempotently, not in transactions",
    "message.timeout.ms": "a dead letter is tried until it is written",
    "delivery.timeout.ms": "a dead letter is tried until it is written",
    "linger.ms": "dead letters are batched already",
    "queue.buffering.max.ms": "dead letters are batched already",
    "queue.buffering.max.messages": "it is part of the memory bound",
    "queue.buffering.max.kbytes": "it is part of the memory bound",
    "partitioner": "a dead letter's partition follows from its code",
    "message.max.bytes": "a dead letter may be larger than its record",
    "enable.ssl.certificate.verification": (
        "TLS is verified; give the brokers' CA as ssl.ca.location"
    ),
    "plugin.library.paths": "no native code is loaded by configuration",
    "ssl.engine.location": "no native code is loaded by configuration",
    "log_level": "use log.level",
}
