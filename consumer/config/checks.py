"""Check what types cannot express: combinations of settings that cannot work."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from consumer.config import address_checks, kafka_checks, scan_checks
from consumer.config.problem import Problem, wrong
from consumer.config.settings import EpcisSettings, Settings

_LISTEN = re.compile(r"([^\s:/\[\]]+|\[[0-9A-Fa-f:.]+\]):(?P<port>\d+)")


def impossible(settings: Settings) -> Iterator[Problem]:
    """Yield every problem of settings that cannot work, in the order of the sections."""
    for check in CHECKS:
        yield from check(settings)


def _check_retry(settings: Settings) -> Iterator[Problem]:
    base, cap = settings.retry.base_seconds, settings.retry.cap_seconds
    if base > cap:
        yield wrong(
            "retry.base_seconds",
            base,
            f"allowed is at most retry.cap_seconds ({cap:g})",
            "retry.cap_seconds",
        )


def _check_ops(settings: Settings) -> Iterator[Problem]:
    listen = settings.ops.listen
    match = _LISTEN.fullmatch(listen)
    if listen and (match is None or int(match["port"]) > 65535):
        allowed = (
            "allowed is host:port, such as 127.0.0.1:9464 (port 0: any free one), "
            "or empty for nowhere"
        )
        yield wrong("ops.listen", listen, allowed)


def _check_epcis(settings: Settings) -> Iterator[Problem]:
    """Check each rule by itself, and that the units in rules are logistic units."""
    epcis = settings.epcis
    if epcis == EpcisSettings():
        return
    from consumer.formats import epcis_rules  # heavy: the formats

    kinds: dict[str, Callable[[str], tuple[object, ...]]] = {
        "codes": epcis_rules.code_rule,
        "unit_codes": epcis_rules.unit_code,
        "steps": epcis_rules.step,
        "products": epcis_rules.product,
        "markets": epcis_rules.market,
    }
    for name, read in kinds.items():
        seen: set[object] = set()
        for text in getattr(epcis, name):
            try:
                rule = read(text)
            except ValueError as error:
                yield wrong(f"epcis.{name}", text, str(error))
                continue
            # One field may have several patterns; anything else has one rule.
            left = rule if name == "codes" else rule[0]
            if left in seen:
                yield wrong(f"epcis.{name}", text, "there is a rule for it already: keep one")
            seen.add(left)
            if name == "unit_codes" and left not in settings.events.logistic_units:
                units = ", ".join(settings.events.logistic_units) or "empty"
                text_ = f"{left} is no logistic unit; events.logistic_units is {units}"
                yield wrong("epcis.unit_codes", text, text_, "events.logistic_units")


CHECKS = (
    kafka_checks.check_brokers,
    kafka_checks.check_topics,
    kafka_checks.check_properties,
    kafka_checks.check_security,
    kafka_checks.check_group,
    address_checks.check_registry,
    _check_epcis,
    scan_checks.check_scan,
    address_checks.check_address,
    address_checks.check_token,
    address_checks.check_proxy,
    _check_retry,
    _check_ops,
)
