"""Check the settings of scans: each rule by itself, and that the rules suffice."""

from __future__ import annotations

import re
from collections.abc import Iterator

from consumer.adapters.kafka.patterns import is_pattern, matching
from consumer.config.problem import Problem, wrong
from consumer.config.settings import ScanSettings, Settings


def check_scan(settings: Settings) -> Iterator[Problem]:
    """Check each rule, and with the format scan that every topic's scans have code and fields."""
    scan = settings.scan
    wanted = settings.events.format == "scan"
    if scan == ScanSettings() and not wanted:
        return
    from consumer.formats import scan_rules  # heavy: the formats

    yield from _check_codes(settings, wanted=wanted)
    named: set[str] = set()
    uses_time = False
    for text in scan.set:
        try:
            topic, fields = scan_rules.topic_fields(text)
        except ValueError as error:
            yield wrong("scan.set", text, str(error))
            continue
        if topic in named:
            yield wrong("scan.set", text, "there is a rule for it already: keep one")
        named.add(topic)
        names = {name for template in fields.values() for name in template.names}
        uses_time |= not names.isdisjoint(("date", "time"))
        if wanted and topic != scan_rules.ANY_TOPIC and not _is_read(topic, settings):
            message = f"the topic {topic} is not read: add it to kafka.topics, or mend the name"
            yield wrong("scan.set", text, message, "kafka.topics")
    if wanted and scan_rules.ANY_TOPIC not in named:
        for topic in settings.kafka.topics:
            if topic not in named and not is_pattern(topic):
                message = (
                    f"scans of the topic {topic} set no field, so all of them would be refused; "
                    f"add {topic} = FIELD: VALUE, or * = FIELD: VALUE for any topic"
                )
                yield wrong("scan.set", list(scan.set), message, "kafka.topics")
    yield from _check_others(scan, uses_time=uses_time)


def _check_codes(settings: Settings, *, wanted: bool) -> Iterator[Problem]:
    from consumer.formats import scan_rules

    scan, seen = settings.scan, set[object]()
    if wanted and not scan.code:
        message = (
            "nothing fits, so every scan would be refused; say how the code is found, such as "
            r"extended_id = 01/\d{14}/21/([A-Z0-9]{20})"
        )
        yield wrong("scan.code", [], message, "events.format")
    for text in scan.code:
        try:
            rule = scan_rules.scan_code(text, scan.data_key.strip() or settings.events.data_key)
        except ValueError as error:
            yield wrong("scan.code", text, str(error))
            continue
        if rule in seen:
            yield wrong("scan.code", text, "there is a rule for it already: keep one")
        seen.add(rule)


def _check_others(scan: ScanSettings, *, uses_time: bool) -> Iterator[Problem]:
    from consumer.formats import scan_rules

    try:
        scan_rules.time_zone(scan.time_zone)
    except ValueError as error:
        yield wrong("scan.time_zone", scan.time_zone, str(error))
    if uses_time and not scan.time_zone:
        message = (
            "scan.set asks for {date} or {time}; say of which time zone, such as +08:00, "
            "Asia/Shanghai or UTC"
        )
        yield wrong("scan.time_zone", "", message, "scan.set")
    if scan.text and not all(scan.text.split(".")):
        message = "allowed is a name, or names with dots between, such as data.payload"
        yield wrong("scan.text", scan.text, message)
    if scan.data_key and not scan.data_key.strip():
        yield wrong("scan.data_key", scan.data_key, "allowed is the name of a field, or empty")


def _is_read(topic: str, settings: Settings) -> bool:
    for name in settings.kafka.topics:
        try:
            if topic == name or (is_pattern(name) and matching(name, [topic])):
                return True
        except re.error:
            return True  # told as a mistake of its own
    return False
