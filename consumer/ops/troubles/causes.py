"""The table of causes; each has its section in docs/runbook.md."""

from __future__ import annotations

import msgspec

from consumer.core.admission.upload_pause import ADVICE, Pause
from consumer.ops.troubles import of_api, of_events, of_kafka
from consumer.ops.troubles.evidence import DEGRADED, STUCK, Rule


class Cause(msgspec.Struct, frozen=True):
    """A cause of trouble.

    ``begins``, ``ends``: whether its beginning and its end are logged by ``watch``; what is not is
    logged elsewhere.
    """

    name: str
    severity: str
    rule: Rule
    advice: str
    begins: bool = True
    ends: bool = True


NO_PROGRESS = Cause(
    "no_progress",
    STUCK,
    of_events.no_progress,
    "look at the oldest records, and at the log; if nothing explains it, restart this process: "
    "nothing is lost",
)
#: The causes, the worst first within each severity; ``no_progress`` is what none explains.
CAUSES = (
    *(
        Cause(name, STUCK, of_api.paused(pause), ADVICE[pause], begins=False, ends=False)
        for name, pause in (
            ("api_unauthorized", Pause.UNAUTHORIZED),
            ("api_refused", Pause.REFUSED),
            ("api_unexpected", Pause.UNEXPECTED),
            ("everything_rejected", Pause.EVERYTHING_REJECTED),
        )
    ),
    Cause(
        "kafka_away",
        STUCK,
        of_kafka.kafka_away,
        "check that the brokers are up and can be reached (scm-consumer check)",
        begins=False,
    ),
    Cause(
        "partition_out_of_range",
        STUCK,
        of_kafka.out_of_range,
        "decide whether to go on without what is gone: set kafka.on_out_of_range to earliest or "
        "latest, and restart",
        begins=False,
    ),
    Cause(
        "retention_near",
        STUCK,
        of_kafka.retention_near,
        "raise retention.ms of the topic now, then see to the lag",
    ),
    Cause(
        "dead_letter_topic_failing",
        STUCK,
        of_kafka.dead_letters,
        "check the dead-letter topic (scm-consumer check)",
    ),
    Cause(
        "receipts_topic_failing",
        STUCK,
        of_kafka.receipts,
        "check the receipts topic (scm-consumer check)",
    ),
    Cause(
        "row_stuck",
        STUCK,
        of_api.row_stuck,
        "look at this record (kcat or scm-consumer where), and have the API's people look at why "
        "it fails; it is dead-lettered after retry.give_up_seconds, and holds up only its own code "
        "until then",
    ),
    Cause(
        "schema_missing",
        STUCK,
        of_kafka.schema_missing,
        "check schema_registry.url, and that the registry is up and has the schema",
        begins=False,
    ),
    Cause(
        "start_unknown",
        STUCK,
        of_kafka.start_unknown,
        "check the brokers that lead these partitions (scm-consumer check)",
        begins=False,
    ),
    Cause(
        "api_failing",
        DEGRADED,
        of_api.api_failing,
        "nothing, if it ends soon; else check that the API is up, and api.base_url",
    ),
    Cause(
        "throttled",
        DEGRADED,
        of_api.throttled,
        "nothing, if it is rare; else lower api.requests_per_second, and see who else uses the "
        "company's budget",
        begins=False,
    ),
    Cause(
        "map_full",
        DEGRADED,
        of_kafka.map_full,
        "look at what the partition's oldest record waits for",
        begins=False,
    ),
    Cause(
        "over_quota",
        DEGRADED,
        of_kafka.over_quota,
        "look at what the partition's oldest record waits for",
        begins=False,
    ),
    Cause(
        "lag_growing",
        DEGRADED,
        of_events.lag_growing,
        "see how many members are wanted, and whether the API's budget allows more",
    ),
    Cause(
        "fields_not_confirmed",
        DEGRADED,
        of_events.fields,
        "check the names of the events' fields against the campaign's SCM fields",
        begins=False,
    ),
    Cause(
        "rows_unconfirmed",
        DEGRADED,
        of_events.unconfirmed,
        "see with scm-consumer where what the API holds for one of them",
    ),
    Cause(
        "rejections",
        DEGRADED,
        of_events.rejected,
        "scm-consumer dlq stats tells why; what is mended is brought back with dlq replay",
        begins=False,
        ends=False,
    ),
)
#: Every cause, in this order.
NAMES = (*(cause.name for cause in CAUSES), NO_PROGRESS.name)
BY_NAME = {cause.name: cause for cause in (*CAUSES, NO_PROGRESS)}
#: Causes with which it is clear why nothing is settled.
EXPLAINING = frozenset(NAMES) - {
    "fields_not_confirmed",
    "lag_growing",
    "no_progress",
    "rejections",
    "retention_near",
    "rows_unconfirmed",
}
