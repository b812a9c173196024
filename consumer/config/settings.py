"""The settings: every key with its type, bounds, default and description, and nowhere else.

Sections are frozen; unknown keys are errors. Every description becomes documentation.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator


class Section(BaseModel):
    """A frozen table of the file; unknown keys are errors."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=False, validate_default=True, allow_inf_nan=False
    )


Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]


def dotted(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield property names as librdkafka spells them, and their values.

    TOML's bare dotted keys make tables within tables of them.
    """
    for name, value in table.items():
        if isinstance(value, Mapping):
            yield from dotted(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _text(value: Any) -> Any:
    """Return a number or truth value as librdkafka reads it; validation refuses other non-texts."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int | float) else value


class KafkaSettings(Section):
    """Where the events come from."""

    bootstrap_servers: str = Field(
        "localhost:9092",
        min_length=1,
        description="Brokers to start from, host:port, comma-separated.",
    )
    group_id: str = Field("scm-consumer", min_length=1, description="Consumer group.")
    topics: tuple[str, ...] = Field(
        ("scm.events",),
        min_length=1,
        description="Topics; a name that begins with ^ is a pattern, for any part of a name.",
    )
    group_protocol: Literal["classic", "consumer"] = Field(
        "classic", description='Group protocol; "consumer" is KIP-848.'
    )
    instance_id: str = Field(
        "", description="Static membership: the member's own name; empty: none."
    )
    start_from: Literal["earliest", "latest"] = Field(
        "earliest",
        description='Where partitions without a committed offset begin; "latest": with what is '
        "published since the group began, and what is added later at its beginning.",
    )
    on_out_of_range: Literal["stop", "earliest", "latest"] = Field(
        "stop",
        description="The committed offset is gone (retention): stop that partition, loudly, or go "
        "on from there. A topic that was deleted and recreated is stopped, too, else begun at its "
        "beginning.",
    )
    commit_interval_seconds: Positive = Field(0.5, description="Time between commits.")
    client: dict[str, str] = Field(
        {}, description="Other librdkafka properties, such as security.protocol, sasl.*, ssl.*."
    )

    @field_validator("client", mode="before")
    @classmethod
    def _texts(cls, value: Any) -> Any:
        return (
            {name: _text(inner) for name, inner in dotted(value)}
            if isinstance(value, dict)
            else value
        )


class SchemaRegistrySettings(Section):
    """Where the schemas of records in the Confluent wire format are."""

    url: str = Field(
        "", description="Address of a registry that speaks the Confluent REST API; empty: none."
    )
    user: str = Field("", description="User for HTTP basic authentication; empty: none.")
    password: SecretStr = Field(SecretStr(""), validate_default=False, description="Its password.")


class EventsSettings(Section):
    """From a record to an event."""

    format: Literal["auto", "avro", "json", "flat", "epcis", "scan"] = Field(
        "auto", description="Format of the records; auto decides for each, and takes none for scan."
    )
    data_key: str = Field(
        "extended_id", min_length=1, description="Data key of events that name none."
    )
    logistic_units: tuple[str, ...] = Field(
        ("case_code", "pallet_code"),
        description="Fields that are also used as data keys: units that codes are put into.",
    )
    date_fields: tuple[str, ...] = Field(
        (), description="Campaign fields of type Date: checked to be YYYY-MM-DD."
    )


class EpcisSettings(Section):
    """The meaning of EPCIS events, in JSON and in XML.

    The rules are explained in docs/epcis.md. A list that is set replaces the default.
    """

    codes: tuple[str, ...] = Field(
        (
            r"case_code|pallet_code = 00/(\d{18})",
            r"extended_id = 01/\d{14}/21/(.+)",
            r"extended_id = (?!\d{16}|\d+$)[\w-]{8,}",
        ),
        description="Which field an EPC is a value of, by its pattern; the first that fits. A GS1 "
        "name is matched as 00/SSCC or 01/GTIN/21/SERIAL, any other as it stands; the groups are "
        "the value. INNER|OUTER: units that look alike; what goes into what tells them apart, and "
        "the outer one is taken where nothing does.",
    )
    unit_codes: tuple[str, ...] = Field(
        (),
        description="Units that are codes themselves, such as case_code = serial_number: their "
        "codes are updated, too.",
    )
    steps: tuple[str, ...] = Field(
        (
            "commissioning = activation_status: 1, product: {product}, "
            "production_date: {productionDate}, after_sell_by: {sellByDate}",
            "shipping = ship_date: {date}, intended_market: {market}",
            "receiving = receive_date: {date}",
            "decommissioning = activation_status: 0",
            "destroying = activation_status: 2, blacklist_reason: 5",
            "destroyed = activation_status: 2, blacklist_reason: 5",
            "damaged = activation_status: 2, blacklist_reason: 5",
            "stolen = activation_status: 2, blacklist_reason: 4",
        ),
        description="Which fields a business step or a disposition sets; {date}, {gtin}, "
        "{product}, {market} and members of the event stand for what it tells. Nothing behind "
        "the = : such events are skipped.",
    )
    products: tuple[str, ...] = Field(
        (),
        description="{product} of a GTIN, such as 09506000134352 = prod_1; "
        "empty: no product is set.",
    )
    markets: tuple[str, ...] = Field(
        (),
        description="{market} of destinations whose URI begins so, such as "
        "urn:epc:id:sgln:9506000.00001. = cn; empty: no market is set.",
    )


class ScanSettings(Section):
    """The meaning of scans: what a scanner sent, for events.format = "scan".

    The rules are explained in docs/scans.md.
    """

    code: tuple[str, ...] = Field(
        (),
        description="Which field a scan is a value of, by its pattern, such as extended_id = "
        r"01/\d{14}/21/([A-Z0-9]{20}). A GS1 name is matched as 00/SSCC or 01/GTIN/21/SERIAL, any "
        "other scan as it stands; the groups are the value. All rules are tried, and must agree. "
        "Say how long codes are: a scan that is cut off would fit an open pattern.",
    )
    set: tuple[str, ...] = Field(
        (),
        description="Fields of every scan by its topic (* is any), such as scans.line7 = "
        "activation_status: 1, pack_date: {date}. {date}, {time}, {topic}, {key}, {header.NAME} "
        "stand for what the record tells, {gtin} for the code's.",
    )
    data_key: str = Field(
        "", description="Field of rules that name none; empty: that of events.data_key."
    )
    text: str = Field(
        "",
        description="Member of a JSON object that holds the scan, such as payload or data.value, "
        "as text or base64; empty: the whole record is the scan.",
    )
    prefix: str = Field("", description="What the scanner puts in front; must be there.")
    suffix: str = Field(
        "",
        description="What the scanner puts behind; must be there. (Control characters at the ends "
        "are taken off anyway.)",
    )
    time_zone: str = Field(
        "",
        description="Time zone of {date} and {time}, such as Asia/Shanghai or +08:00.",
    )


class WindowsSettings(Section):
    """The grouping of rows into requests."""

    max_rows: int = Field(
        100, ge=1, le=100, description="Rows of one request; the API accepts at most 100."
    )
    linger_seconds: NotNegative = Field(
        1.0,
        description="How long a row waits for its window to fill while a request could be sent.",
    )
    uniform_fields: bool = Field(True, description="One window holds rows with one set of fields.")


class ApiSettings(Section):
    """The Scantrust SCM API."""

    base_url: str = Field(
        "https://api.staging.scantrust.io", description="Root address of the API."
    )
    token: SecretStr = Field(
        SecretStr(""),
        validate_default=False,
        description="UAT token; or use token_file, which goes before it.",
    )
    token_file: str = Field(
        "", description="File with the token; read again when it changes and after a 401."
    )
    mode: Literal["sync", "async", "auto"] = Field(
        "sync",
        description="sync: answered at once; async: as tasks, packed by identical data; auto: data "
        "keys other than extended_id and serial_number, which may select thousands of codes, go "
        "async; so do single rows that keep failing.",
    )
    concurrency: int = Field(8, ge=1, le=512, description="Requests in flight.")
    requests_per_second: NotNegative = Field(
        10.0,
        description="Requests a second of the whole group, every call counted; each member takes "
        "the share of its partitions. 0: no limit.",
    )
    connect_timeout_seconds: Positive = Field(5, le=86400, description="Time to connect.")
    timeout_seconds: Positive = Field(
        75, le=86400, description="Time for a whole call; the API itself gives up at about 60."
    )
    max_processing_seconds: NotNegative = Field(
        65,
        description="A call whose response was lost may take effect this long after it was sent.",
    )
    task_deadline_seconds: Positive = Field(
        3600,
        description="An asynchronous task that is not complete by then has an unknown outcome: it "
        "is sent again.",
    )
    ca_file: str = Field(
        "", description="CA certificates to verify the API with; empty: the usual ones."
    )
    proxy: str = Field("", description="Proxy to reach the API through.")
    allow_plain_http: bool = Field(False, description="Allow http:// to other than loopback.")


class RetrySettings(Section):
    """When a failed call is tried again: full jitter, doubling."""

    base_seconds: Positive = Field(0.5, description="Upper bound of the first delay.")
    cap_seconds: Positive = Field(
        60,
        description="Upper bound of any delay; while nothing at all is accepted, it is 3 s, or "
        "less.",
    )
    max_retry_after_seconds: NotNegative = Field(
        900, description="Longest wait the API may ask for."
    )
    give_up_seconds: NotNegative = Field(
        3600,
        description="A single row that fails this long while others are accepted is dead-lettered; "
        "0: never.",
    )
    unknown_key_grace_seconds: NotNegative = Field(
        0, description="How long a row whose key the API does not know yet is tried again."
    )


class DeadLetterSettings(Section):
    """Where rejected rows go."""

    topic: str = Field("scm.events.dlq", min_length=1, description="Dead-letter topic.")
    pause_after_rejections: int = Field(
        1000,
        ge=0,
        description="This many API rejections in a row with nothing accepted: pause; 0: never.",
    )


class ReceiptsSettings(Section):
    """Where accepted rows are recorded."""

    topic: str = Field(
        "", description="Receipts topic: a record for each accepted row; empty: none."
    )


class OpsSettings(Section):
    """Metrics, health and status over HTTP."""

    listen: str = Field(
        "127.0.0.1:9464",
        description="Where /metrics, /healthz, /readyz, /status and a page are served, host:port; "
        "port 0: any free one; empty: nowhere.",
    )
    target_lag_seconds: Positive = Field(
        300, description="desired_members is the least number that clears the lag in this time."
    )


class LimitsSettings(Section):
    """Bounds on memory and on stopping."""

    max_unsettled_rows: int = Field(20000, ge=1, description="Rows read and not settled.")
    max_unsettled_mib: Positive = Field(
        64,
        description="MiB of records read and not settled: values (twice, as they are decoded, "
        "too), keys, headers, and 1,000 bytes for each record (200 for each header). On top come "
        "up to 16 MiB fetched ahead, one response of each broker (512 KiB as it travels, "
        "decompressed), and the program: at most 200 MiB in all with the defaults, one broker, and "
        "events that travel at a fiftieth of their size.",
    )
    stop_seconds: NotNegative = Field(
        80,
        description="How long a stop waits for requests in flight, until lost calls can no longer "
        "take effect, and for its last commit.",
    )


class LogSettings(Section):
    """The log's level and form."""

    level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Lowest level shown."
    )
    format: Literal["auto", "console", "json"] = Field(
        "auto", description="auto: console on a terminal, else a JSON object a line."
    )
    keys: bool = Field(False, description="Show key values at info level.")


class ReconcileSettings(Section):
    """Rules by which ``reconcile`` reads the API's document of codes."""

    columns: dict[str, str] = Field(
        {},
        description="Columns whose names are not found: FIELD = COLUMN, such as "
        '{ship_date = "Shipped on"}.',
    )


class Settings(Section):
    """Everything that can be configured."""

    kafka: KafkaSettings = KafkaSettings()
    schema_registry: SchemaRegistrySettings = SchemaRegistrySettings()
    events: EventsSettings = EventsSettings()
    epcis: EpcisSettings = EpcisSettings()
    scan: ScanSettings = ScanSettings()
    windows: WindowsSettings = WindowsSettings()
    api: ApiSettings = ApiSettings()
    retry: RetrySettings = RetrySettings()
    dead_letter: DeadLetterSettings = DeadLetterSettings()
    receipts: ReceiptsSettings = ReceiptsSettings()
    ops: OpsSettings = OpsSettings()
    limits: LimitsSettings = LimitsSettings()
    log: LogSettings = LogSettings()
    reconcile: ReconcileSettings = ReconcileSettings()
