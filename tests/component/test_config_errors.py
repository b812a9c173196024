"""Wrong configurations: every mistake at once, a line each, and each line names the fix."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from consumer import cli

API_KEYS = (
    "base_url, token, token_file, mode, concurrency, requests_per_second, connect_timeout_seconds, "
    "timeout_seconds, "
    "max_processing_seconds, task_deadline_seconds, ca_file, proxy, allow_plain_http"
)
SECTIONS = (
    "kafka, schema_registry, events, epcis, scan, windows, api, retry, dead_letter, receipts, "
    "ops, limits, log, reconcile"
)
GIVE_A_FILE = "give a file that is there and that this user may read"
ROOT_ADDRESS = "allowed is https://host, or http:// to this machine (the sandbox)"
BROKERS = "allowed is host:port, comma-separated, such as localhost:9092"


class Wrong(NamedTuple):
    """A file, variables, and the lines expected of them; ``{folder}`` is where the file is."""

    file: str
    told: tuple[str, ...]
    variables: dict[str, str] = {}  # noqa: RUF012 - the default of a tuple's field, never changed


TOKEN = '[api]\ntoken = "t"\n'
WRONG = {
    # -- the file itself
    "no token at all": Wrong(
        "",
        (
            "api.token: not set, and neither is api.token_file; "
            "set one of them, in scm-consumer.toml (begin with: "
            "scm-consumer config example) or as SCM_API__TOKEN",
        ),
    ),
    "not TOML": Wrong(
        f"{TOKEN}[kafka]\ngroup_id = line7\n",
        (
            "{folder}/wrong.toml: not valid TOML: Invalid value (at line 4, column 12); "
            "text stands in quotes; true and false are lower case",
        ),
    ),
    "a key twice": Wrong(
        f'{TOKEN}token = "u"\n',
        (
            "{folder}/wrong.toml: not valid TOML: Cannot overwrite a value (at line 3, column 12); "
            "the key stands there twice: keep one",
        ),
    ),
    "a section twice": Wrong(
        f"{TOKEN}[log]\n[log]\n",
        (
            "{folder}/wrong.toml: not valid TOML: "
            "Cannot declare ('log',) twice (at line 4, column 5); the section "
            "stands there twice: write all its keys under one heading",
        ),
    ),
    # -- keys and sections
    "an unknown key": Wrong(
        '[api]\ntokn = "s3cret"\ntoken_file = ""\ntoken = "t"\n',
        (f"api.tokn: unknown key; did you mean api.token? allowed are {API_KEYS}",),
    ),
    "a key of another section": Wrong(
        '[api]\ntoken = "t"\ntopics = ["a"]\n',
        (f"api.topics: unknown key; it belongs under [kafka]; allowed are {API_KEYS}",),
    ),
    "a key above all sections": Wrong(
        f'token = "s3cret"\n{TOKEN}', ("token: outside of any section; it belongs under [api]",)
    ),
    "an unknown section": Wrong(
        f"{TOKEN}[deadletter]\n",
        (f"deadletter: unknown section; did you mean dead_letter? allowed are {SECTIONS}",),
    ),
    "a value for a section": Wrong(
        f"kafka = 1\n{TOKEN}",
        ("kafka: a section; write [kafka], and its keys in the lines under it",),
    ),
    # -- types and ranges
    "a number as text": Wrong(
        f'{TOKEN}[windows]\nmax_rows = "50"\n',
        ('windows.max_rows = "50": allowed is a whole number from 1 to 100, without quotes',),
    ),
    "a truth value as text": Wrong(
        f'{TOKEN}[log]\nkeys = "true"\n',
        ('log.keys = "true": allowed is true or false, without quotes',),
    ),
    "a text as a number": Wrong(
        f"{TOKEN}[kafka]\ngroup_id = 7\n",
        ("kafka.group_id = 7: allowed is text, not empty, in quotes",),
    ),
    "a text as a date": Wrong(
        f"{TOKEN}[kafka]\ngroup_id = 2026-01-31\n",
        ('kafka.group_id = "2026-01-31": allowed is text, not empty, in quotes',),
    ),
    "a text as a list": Wrong(
        f'{TOKEN}[kafka]\ntopics = "scm.events"\n',
        (
            'kafka.topics = "scm.events": allowed is a list of texts, at least one, such as ["a", '
            '"b"]',
        ),
    ),
    "no topic": Wrong(
        f"{TOKEN}[kafka]\ntopics = []\n",
        ('kafka.topics = []: allowed is a list of texts, at least one, such as ["a", "b"]',),
    ),
    "a topic twice": Wrong(
        f'{TOKEN}[kafka]\ntopics = ["a", "b", "a"]\n',
        ('kafka.topics = "a": stands there twice: keep one',),
    ),
    "a pattern that brokers and clients read differently": Wrong(
        f"{TOKEN}[kafka]\ntopics = ['^line\\d', '^[[:alpha:]]', '^[\\w]', '^line[.]s\\.[0-9]+$']\n",
        tuple(
            f'kafka.topics = "{shown}": Kafka\'s clients and brokers do not read \\d, '
            "[[:alpha:]] or a \\ in brackets alike; write [0-9], [a-z]"
            for shown in (r"^line\\d", "^[[:alpha:]]", r"^[\\w]")
        ),
    ),
    "a pattern that matches the dead-letter topic by its second half": Wrong(
        f'{TOKEN}[kafka]\ntopics = ["^line|dlq$"]\n',
        (
            'kafka.topics = "^line|dlq$": matches dead_letter.topic "scm.events.dlq": '
            "the dead letters would be read again; give them a topic of another name",
        ),
    ),
    "a password before a broker": Wrong(
        f'{TOKEN}[kafka]\nbootstrap_servers = "me:s3cret@a:9092,me:s3cret@b:9092"\n',
        (f'kafka.bootstrap_servers = "(hidden)@b:9092": {BROKERS}',),
    ),
    "a broker's protocol that is not the one that is set": Wrong(
        f'{TOKEN}[kafka]\nbootstrap_servers = "SASL_SSL://kafka:9092"\n',
        (
            'kafka.bootstrap_servers = "SASL_SSL://kafka:9092": leave out SASL_SSL://, and set '
            "kafka.client.security.protocol to what the brokers expect (plaintext now)",
        ),
    ),
    "a token in an address": Wrong(
        f'{TOKEN}base_url = "https://gateway/?token=s3cret"\n[schema_registry]\nurl = "https://registry#s3cret"\n',
        (
            'schema_registry.url = "https://registry?(hidden)": '
            "allowed is one http://host:port or https://host, such as http://localhost:8081",
            f'api.base_url = "https://gateway/?(hidden)": {ROOT_ADDRESS}',
        ),
    ),
    "lists without an end": Wrong(
        f"a = {'[' * 5000}",
        ("{folder}/wrong.toml: tables or lists are nested too deep; no key needs more than two",),
    ),
    "tables without an end": Wrong(
        f"[kafka.client.{'.'.join('a' * 2000)}]",
        ("{folder}/wrong.toml: tables or lists are nested too deep; no key needs more than two",),
    ),
    "a number without an end": Wrong(
        f"{TOKEN}[limits]\nmax_unsettled_rows = {'9' * 5000}\n",
        (
            "{folder}/wrong.toml: not valid TOML: a number with thousands of digits; "
            "mend that place",
        ),
    ),
    "bytes in variables that are no text": Wrong(
        TOKEN,
        (
            "SCM_KAFKA__CLIENT__CLIENT_ID: not UTF-8; set it anew, as UTF-8",
            "SCM_KAFKA__GROUP_ID: not UTF-8; set it anew, as UTF-8",
            'SCM_KAFKA__TOPICS = "'
            + "[" * 79
            + ': allowed is a JSON list of texts, at least one, such as ["a", "b"]',
            'SCM_EVENTS__DATE_FIELDS = "[\\"\\\\udcff\\"]": '
            'allowed is a JSON list of texts, such as ["a", "b"]',
        ),
        {
            "SCM_KAFKA__GROUP_ID": "line\udcff",
            "SCM_KAFKA__CLIENT__CLIENT_ID": "s3cret\udcff",
            "SCM_EVENTS__DATE_FIELDS": r'["\udcff"]',
            "SCM_KAFKA__TOPICS": "[" * 100_000,
        },
    ),
    "out of range": Wrong(
        f"{TOKEN}concurrency = 0\ntimeout_seconds = 1e11\nconnect_timeout_seconds = 0\n"
        "[windows]\nmax_rows = 101\nlinger_seconds = -1\n[limits]\nmax_unsettled_mib = nan\n",
        (
            "windows.max_rows = 101: allowed is a whole number from 1 to 100",
            "windows.linger_seconds = -1: allowed is a number, 0 or more",
            "api.concurrency = 0: allowed is a whole number from 1 to 512",
            "api.connect_timeout_seconds = 0: allowed is a number above 0, at most 86400",
            "api.timeout_seconds = 100000000000.0: allowed is a number above 0, at most 86400",
            "limits.max_unsettled_mib = NaN: allowed is a number above 0",
        ),
    ),
    "an unknown word": Wrong(
        f'{TOKEN}[log]\nlevel = "trace"\n',
        ('log.level = "trace": allowed is "debug", "info", "warning" or "error"',),
    ),
    "a secret of the wrong type": Wrong(
        "[api]\ntoken = 12345\n", ("api.token = (hidden): allowed is text, in quotes",)
    ),
    # -- tokens and files
    "a token file that is not there": Wrong(
        '[api]\ntoken_file = "{folder}/absent"\n',
        (
            f'api.token_file = "{{folder}}/absent": cannot be read (No such file or directory); '
            f"{GIVE_A_FILE}",
        ),
    ),
    "a token file without a token": Wrong(
        '[api]\ntoken_file = "/dev/null"\n',
        ('api.token_file = "/dev/null": no token in it; put the token there, and nothing else',),
    ),
    "the token itself for the file": Wrong(
        '[api]\ntoken_file = "s3cret0123456789abcdef"\n',
        (
            "api.token_file = (hidden): cannot be read (No such file or directory); "
            "a token itself goes to api.token; "
            f"else {GIVE_A_FILE}",
        ),
    ),
    "a token with a line break": Wrong(
        '[api]\ntoken = "s3cret\\nX-Header: 1"\n',
        (
            'api.token = "(hidden)": the token holds characters that an HTTP header cannot carry '
            "(spaces, line breaks, non-ASCII); put the token there, and nothing else",
        ),
    ),
    "a CA file that is not there": Wrong(
        f'{TOKEN}ca_file = "{{folder}}/absent.pem"\n',
        (
            f'api.ca_file = "{{folder}}/absent.pem": cannot be read (No such file or directory); '
            f"{GIVE_A_FILE}",
        ),
    ),
    # -- addresses
    "plain http to a stranger": Wrong(
        f'{TOKEN}base_url = "http://api.example.com"\n',
        (
            'api.base_url = "http://api.example.com": http:// would send the token in the clear; '
            "use https://, or set api.allow_plain_http = true",
        ),
    ),
    "no scheme": Wrong(
        f'{TOKEN}base_url = "api.example.com"\n',
        (f'api.base_url = "api.example.com": {ROOT_ADDRESS}',),
    ),
    "the API's path": Wrong(
        f'{TOKEN}base_url = "https://api.example.com/api/v2/"\n',
        (
            'api.base_url = "https://api.example.com/api/v2/": '
            "give the root of the API, without /api/v2/",
        ),
    ),
    "a password in the API's address": Wrong(
        f'{TOKEN}base_url = "https://me:s3cret@api.example.com"\n',
        ("api.base_url: no user or password belongs there; set api.token",),
    ),
    "a proxy of another kind": Wrong(
        f'{TOKEN}proxy = "socks5://me:s3cret@host:1080"\n',
        (
            'api.proxy = "socks5://(hidden)@host:1080": '
            "allowed is http://host:port or http://user:password@host:port, "
            "with / and @ in them as %2F and %40",
        ),
    ),
    "brokers as an address of the web": Wrong(
        f'{TOKEN}[kafka]\nbootstrap_servers = "http://kafka:9092"\n',
        (f'kafka.bootstrap_servers = "http://kafka:9092": {BROKERS}',),
    ),
    "a broker's port that is none": Wrong(
        f'{TOKEN}[kafka]\nbootstrap_servers = "a:9092,b:99999"\n',
        (f'kafka.bootstrap_servers = "a:9092,b:99999": {BROKERS}',),
    ),
    "a registry without http": Wrong(
        f'{TOKEN}[schema_registry]\nurl = "registry:8081"\nuser = "u"\n',
        (
            'schema_registry.url = "registry:8081": '
            "allowed is one http://host:port or https://host, such as http://localhost:8081",
            'schema_registry.user = "u": has no password; set schema_registry.password',
        ),
    ),
    "a list of registries": Wrong(
        f'{TOKEN}[schema_registry]\nurl = "https://one,https://two"\n',
        (
            'schema_registry.url = "https://one,https://two": '
            "allowed is one http://host:port or https://host, such as http://localhost:8081",
        ),
    ),
    "an ops address without a host": Wrong(
        f'{TOKEN}[ops]\nlisten = "9464"\n',
        (
            'ops.listen = "9464": allowed is host:port, such as 127.0.0.1:9464 (port 0: '
            "any free one), or empty for nowhere",
        ),
    ),
    # -- topics
    "dead letters that would be read again": Wrong(
        f'{TOKEN}[kafka]\ntopics = ["^scm\\\\..*"]\n',
        (
            'kafka.topics = "^scm\\\\..*": matches dead_letter.topic "scm.events.dlq": '
            "the dead letters would be read again; give them a topic of another name",
        ),
    ),
    "a pattern that is none": Wrong(
        f'{TOKEN}[kafka]\ntopics = ["^scm["]\n',
        (
            'kafka.topics = "^scm[": not a valid pattern (unterminated character set at position '
            "4); mend it, or drop the ^",
        ),
    ),
    "a pattern of another dialect": Wrong(
        f'{TOKEN}[kafka]\ntopics = ["^(?:a|b)$"]\n',
        (
            'kafka.topics = "^(?:a|b)$": librdkafka does not read this pattern; '
            "use POSIX extended syntax, without (?: "
            "and the like",
        ),
    ),
    "a topic's name that is none": Wrong(
        f'{TOKEN}[kafka]\ntopics = ["scm events"]\n[dead_letter]\ntopic = "a/b"\n',
        (
            'dead_letter.topic = "a/b": allowed are letters, digits, ".", "_" and "-", at most 249',
            'kafka.topics = "scm events": allowed are letters, digits, ".", "_" and "-", '
            "at most 249; a name that begins with ^ is a pattern",
        ),
    ),
    # -- EPCIS
    "rules that are none": Wrong(
        TOKEN
        + """[epcis]
codes = ["extended_id", "a|a = x", "extended_id = (", "ok = x", "ok = y", "ok = x"]
unit_codes = [
  "case_code = ", "box = serial_number", "case_code = serial_number", "case_code = rfid",
]
steps = [
  "shipping", "a = b", "a = b: {c", "a = b: 1, b: 2", "a = b: 1", "urn:epcglobal:cbv:disp:a = ",
  "ok = ",
]
products = ["1 = p", "12345678 = ", "12345678 = p", "00000012345678 = q"]
markets = ["urn: =", "urn: = cn"]
""",
        (
            'epcis.codes = "extended_id": allowed is FIELD = PATTERN',
            'epcis.codes = "a|a = x": allowed is FIELD = PATTERN, or INNER|OUTER = PATTERN',
            'epcis.codes = "extended_id = (": '
            "not a valid pattern (missing ), unterminated subpattern at position 0); "
            "mend it",
            'epcis.codes = "ok = x": there is a rule for it already: keep one',
            'epcis.unit_codes = "case_code = ": name the data key of the unit\'s own code: '
            "allowed is UNIT = DATA KEY",
            'epcis.unit_codes = "box = serial_number": box is no logistic unit; '
            "events.logistic_units is case_code, pallet_code",
            'epcis.unit_codes = "case_code = rfid": there is a rule for it already: keep one',
            'epcis.steps = "shipping": allowed is STEP = FIELD: VALUE, FIELD: VALUE',
            'epcis.steps = "a = b": allowed is STEP = FIELD: VALUE, FIELD: VALUE',
            'epcis.steps = "a = b: {c": a { or } without its other half; '
            "allowed is text with names as in {date}",
            'epcis.steps = "a = b: 1, b: 2": sets b twice: keep one',
            'epcis.steps = "urn:epcglobal:cbv:disp:a = ": there is a rule for it already: keep one',
            'epcis.products = "1 = p": allowed is GTIN = PRODUCT: '
            "8, 12, 13 or 14 digits, and a product's ID or SKU",
            'epcis.products = "12345678 = ": allowed is GTIN = PRODUCT: '
            "8, 12, 13 or 14 digits, and a product's ID or SKU",
            'epcis.products = "00000012345678 = q": there is a rule for it already: keep one',
            'epcis.markets = "urn: =": allowed is DESTINATION = MARKET: '
            "how the destination's URI begins, and a country or region",
        ),
    ),
    "rules of scans that are none": Wrong(
        TOKEN
        + """[scan]
code = ["extended_id = (", "a|b = x", "x", "extended_id = x"]
set = ["a", "a = ", "* = b: {c}", "* = b: 1", "* = b: 2", "t = d: {date}"]
text = "a..b"
data_key = " "
""",
        (
            'scan.code = "extended_id = (": '
            "not a valid pattern (missing ), unterminated subpattern at position 0); mend it",
            'scan.code = "a|b = x": a scan does not tell of which level a unit is: name one field, '
            "and say by the pattern how its numbers differ",
            'scan.code = "extended_id = x": there is a rule for it already: keep one',
            'scan.set = "a": allowed is TOPIC (or *) = FIELD: VALUE, FIELD: VALUE',
            'scan.set = "a = ": allowed is TOPIC (or *) = FIELD: VALUE, FIELD: VALUE',
            'scan.set = "* = b: {c}": {c} is nothing that a scan has; it has {date}, {time}, '
            "{topic}, {key}, {gtin}, {header.NAME}",
            'scan.set = "* = b: 2": there is a rule for it already: keep one',
            'scan.time_zone = "": scan.set asks for {date} or {time}; say of which time zone, '
            "such as +08:00, Asia/Shanghai or UTC",
            'scan.text = "a..b": allowed is a name, or names with dots between, such as '
            "data.payload",
            'scan.data_key = " ": allowed is the name of a field, or empty',
        ),
    ),
    "scans without rules, and rules of a topic that is not read": Wrong(
        TOKEN
        + """[events]
format = "scan"
[scan]
set = ["line7 = a: 1"]
time_zone = "Mars/Base"
""",
        (
            "scan.code = []: nothing fits, so every scan would be refused; say how the code is "
            r"found, such as extended_id = 01/\d{14}/21/([A-Z0-9]{20})",
            'scan.set = "line7 = a: 1": the topic line7 is not read: add it to kafka.topics, or '
            "mend the name",
            'scan.set = ["line7 = a: 1"]: scans of the topic scm.events set no field, so all of '
            "them would be refused; add scm.events = FIELD: VALUE, or * = FIELD: VALUE for any "
            "topic",
            'scan.time_zone = "Mars/Base": allowed is an offset such as +08:00, UTC, or a name '
            "such as Asia/Shanghai that this machine's time zones have",
        ),
    ),
    "delays that contradict each other": Wrong(
        f"{TOKEN}[retry]\nbase_seconds = 100\n",
        ("retry.base_seconds = 100: allowed is at most retry.cap_seconds (60)",),
    ),
    # -- librdkafka
    "refused properties": Wrong(
        f'{TOKEN}[kafka.client]\n"enable.auto.commit" = true\n"topic.acks" = 1\ngroup.id = "x"\n',
        (
            "kafka.client.enable.auto.commit: not to be set: "
            "offsets are committed only after everything up to them is settled; remove it",
            "kafka.client.topic.acks: not to be set: "
            "dead letters are acknowledged by all in-sync replicas; remove it",
            "kafka.client.group.id: not to be set: use kafka.group_id; remove it",
        ),
    ),
    "a property that does not exist": Wrong(
        f'{TOKEN}[kafka.client]\n"sasl.pasword" = "s3cret"\n"quite.another" = 1\n',
        (
            "kafka.client.sasl.pasword: librdkafka knows no such property; "
            "did you mean sasl.password?",
            "kafka.client.quite.another: librdkafka knows no such property; "
            "see librdkafka's CONFIGURATION.md",
            "kafka.client.sasl.pasword: has no effect while kafka.client.security.protocol is "
            "plaintext; set that to sasl_ssl or sasl_plaintext",
        ),
    ),
    "properties with bad values": Wrong(
        f"""{TOKEN}[kafka.client]
"security.protocol" = "sasl"
"socket.timeout.ms" = 5
"socket.keepalive.enable" = "perhaps"
"session.timeout.ms" = "45s"
"fetch.min.bytes" = "much"
"debug" = ["broker"]
"ssl.ca.location" = "{{folder}}/absent.pem"
""",
        (
            'kafka.client.debug = ["broker"]: allowed is text, a number, true or false',
            'kafka.client.security.protocol = "sasl": '
            "allowed is plaintext, ssl, sasl_plaintext or sasl_ssl",
            'kafka.client.socket.timeout.ms = "5": allowed is a whole number from 10 to 300000',
            'kafka.client.socket.keepalive.enable = "perhaps": allowed is true or false',
            'kafka.client.session.timeout.ms = "45s": allowed is a whole number of milliseconds',
            'kafka.client.fetch.min.bytes = "much": allowed is a whole number',
            'kafka.client.ssl.ca.location = "{folder}/absent.pem": '
            "cannot be read (No such file or directory); "
            f"{GIVE_A_FILE}",
        ),
    ),
    "properties of Java": Wrong(
        f'{TOKEN}[kafka.client]\n"security.protocol" = "sasl_ssl"\n'
        '"sasl.jaas.config" = "password=s3cret"\n',
        (
            "kafka.client.sasl.jaas.config: Java JAAS configuration is not supported, see "
            "https://github.com/confluentinc/librdkafka/wiki/Using-SASL-with-librdkafka for more "
            "information.",
        ),
    ),
    "a log-in that would never be sent": Wrong(
        f'{TOKEN}[kafka.client]\n"sasl.username" = "u"\n"sasl.password" = "s3cret"\n',
        (
            "kafka.client.sasl.username: has no effect while kafka.client.security.protocol is "
            "plaintext; set that to sasl_ssl or sasl_plaintext",
        ),
    ),
    "time-outs that contradict each other": Wrong(
        f'{TOKEN}[kafka.client]\n"session.timeout.ms" = 300000\n',
        (
            'kafka.client.session.timeout.ms = "300000": '
            "allowed is less than kafka.client.max.poll.interval.ms (300000)",
        ),
    ),
    "a time-out that the brokers set": Wrong(
        f'{TOKEN}[kafka]\ngroup_protocol = "consumer"\n[kafka.client]\n'
        '"session.timeout.ms" = 6000\n',
        (
            "kafka.client.session.timeout.ms: "
            'the brokers set it when kafka.group_protocol is "consumer"; remove it',
        ),
    ),
    # -- the environment
    "variables with mistakes": Wrong(
        TOKEN,
        (
            "SCM_KAFKAA__TOPICS: unknown section; did you mean SCM_KAFKA__TOPICS? allowed are "
            + SECTIONS,
            "SCM_LOG_LEVEL: two underscores stand between section and key: SCM_LOG__LEVEL",
            "SCM_LOG__LEVLE: unknown key; did you mean SCM_LOG__LEVEL? allowed are level, format, "
            "keys",
            'SCM_KAFKA__TOPICS = "scm.events": '
            'allowed is a JSON list of texts, at least one, such as ["a", "b"]',
            'SCM_WINDOWS__MAX_ROWS = "101": allowed is a whole number from 1 to 100',
            'SCM_LOG__KEYS = "maybe": allowed is true or false',
        ),
        {
            "SCM_KAFKA__TOPICS": "scm.events",
            "SCM_KAFKAA__TOPICS": "x",
            "SCM_LOG_LEVEL": "debug",
            "SCM_LOG__KEYS": "maybe",
            "SCM_LOG__LEVLE": "debug",
            "SCM_WINDOWS__MAX_ROWS": "101",
        },
    ),
    "properties in variables": Wrong(
        TOKEN,
        (
            "SCM_KAFKA_CLIENT_SASL_PASSWORD: two underscores stand between section and key: "
            "SCM_KAFKA__CLIENT__SASL_PASSWORD",
            "SCM_KAFKA__CLIENT: a table; name one of its properties, "
            "such as SCM_KAFKA__CLIENT__SECURITY_PROTOCOL",
            "SCM_KAFKA__CLIENT__ENABLE_AUTO_COMMIT: not to be set: "
            "offsets are committed only after everything up to them is settled; remove it",
            'SCM_KAFKA__CLIENT__SECURITY_PROTOCOL = "tls": '
            "allowed is plaintext, ssl, sasl_plaintext or sasl_ssl",
        ),
        {
            "SCM_KAFKA_CLIENT_SASL_PASSWORD": "s3cret",
            "SCM_KAFKA__CLIENT": '{"sasl.password": "s3cret"}',
            "SCM_KAFKA__CLIENT__ENABLE_AUTO_COMMIT": "true",
            "SCM_KAFKA__CLIENT__SECURITY_PROTOCOL": "tls",
        },
    ),
    "file and environment, types and combinations, all at once": Wrong(
        '[windows]\nmax_rows = 0\n[dead_letter]\ntopic = "scm.events"\n',
        (
            "windows.max_rows = 0: allowed is a whole number from 1 to 100",
            'SCM_LOG__FORMAT = "xml": allowed is "auto", "console" or "json"',
            'kafka.topics = "scm.events": matches dead_letter.topic "scm.events": '
            "the dead letters would be read again; give them a topic of another name",
            'SCM_API__TOKEN_FILE = "/absent": cannot be read (No such file or directory); '
            + GIVE_A_FILE,
        ),
        {"SCM_LOG__FORMAT": "xml", "SCM_API__TOKEN_FILE": "/absent"},
    ),
}


def written(wrong: Wrong, folder: Path) -> tuple[Path, str]:
    """Return the file, and the expected lines."""
    file = folder / "wrong.toml"
    file.write_text(wrong.file.replace("{folder}", str(folder)), encoding="utf-8")
    told = "".join(f"error: {line}\n" for line in wrong.told)
    return file, told.replace("{folder}", str(folder))


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_configuration_is_told_with_every_mistake_and_its_fix(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file, told = written(WRONG[name], tmp_path)
    for variable, value in WRONG[name].variables.items():
        monkeypatch.setenv(variable, value)
    command = (
        ["run"] if name == "no token at all" else ["config", "show"]
    )  # which shows what there is without one
    monkeypatch.setattr(sys, "argv", ["scm-consumer", "-c", str(file), *command])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    out, err = capsys.readouterr()
    assert err == told
    assert (ended.value.code, out) == (2, "")
    assert "s3cret" not in err


@pytest.mark.parametrize("command", [["run"], ["run", "--until-end"], ["config", "show"]])
def test_every_command_ends_with_2_and_says_nothing_else(
    command: list[str], tmp_path: Path
) -> None:
    wrong = WRONG["out of range"]
    file, told = written(wrong, tmp_path)
    done = subprocess.run(
        [sys.executable, "-m", "consumer.cli", *command, "-c", str(file)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (2, "", told)


@pytest.mark.parametrize("make", ["absent.toml", "folder.toml"])
def test_a_file_that_cannot_be_read_is_told_with_the_way_to_write_one(
    make: str, tmp_path: Path
) -> None:
    file = tmp_path / make
    if make.startswith("folder"):
        file.mkdir()
    why = "Is a directory" if file.is_dir() else "No such file or directory"
    done = subprocess.run(
        [sys.executable, "-m", "consumer.cli", "-c", str(file), "run"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    advice = f"give another file with --config, or write one: scm-consumer config example > {file}"
    assert (done.returncode, done.stderr) == (
        2,
        f"error: {file}: cannot be read ({why}); {advice}\n",
    )


@pytest.mark.parametrize(
    ("properties", "told"),
    [
        (
            '"security.protocol" = "sasl_ssl"\n',
            "kafka.client: No provider for SASL mechanism GSSAPI: .*; "
            "set kafka.client.sasl.mechanism to PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 or OAUTHBEARER",
        ),
        (
            '"security.protocol" = "sasl_ssl"\n"sasl.mechanism" = "PLAIN"\n"sasl.username" = "u"\n',
            "kafka.client: sasl.username and sasl.password must be set",
        ),
        (
            '"security.protocol" = "ssl"\n"ssl.key.pem" = "s3cret"\n',
            "kafka.client: ssl.key.pem failed: not in PEM format.*; "
            "give the text of a PEM file, with its BEGIN and END lines",
        ),
        (
            '"security.protocol" = "ssl"\n"ssl.ca.location" = "/etc/hostname"\n',
            "kafka.client: ssl.ca.location failed: .*; "
            "give a PEM file with the CA certificates of the brokers",
        ),
    ],
)
def test_what_librdkafka_finds_when_properties_meet_is_told_with_the_fix(
    properties: str, told: str, tmp_path: Path
) -> None:
    file = tmp_path / "wrong.toml"
    file.write_text(f"{TOKEN}[kafka.client]\n{properties}", encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "consumer.cli", "-c", str(file), "run"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert re.fullmatch(f"error: {told}\n", done.stderr), done.stderr
    assert "s3cret" not in done.stderr
