"""Play a case: healthy, the fault on, its alerts pending and firing, the fault off, resolved."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path

from tests.alerts.cases import Case
from tests.alerts.prometheus import Alert, Prometheus
from tests.alerts.site import Site
from tests.support.kafka_witness import Kafka
from tests.support.process import wait_until

#: Before the fault all must be silent for so long.
HEALTHY_SECONDS = 8.0
FIRES_SECONDS = 400.0
RESOLVES_SECONDS = 400.0
#: The objective's longest short window, six hours, divided; and a reserve.
RESOLVES_SLOWLY_SECONDS = 900.0
LOOK_SECONDS = 0.3


@dataclass
class Outcome:
    """The outcome of a case; seconds since the fault was switched on, or off."""

    case: Case
    pending: dict[str, float] = field(default_factory=dict)
    firing: dict[str, float] = field(default_factory=dict)
    resolved: dict[str, float] = field(default_factory=dict)
    beside: set[str] = field(default_factory=set)  #: others that fired meanwhile
    texts: dict[str, str] = field(default_factory=dict)
    troubles: list[str] = field(default_factory=list)  #: of /status when the alerts fired
    problem: str = ""


def play(case: Case, kafka: Kafka, prometheus: Prometheus, folder: Path) -> Outcome:
    """Play a case to its end; what goes wrong is in the outcome."""
    outcome = Outcome(case)
    with Site(case.name, kafka, prometheus, folder / case.name) as site:
        try:
            _play(case, site, outcome)
        except (AssertionError, OSError) as error:
            outcome.problem = f"{error}"[:2000]
    return outcome


def _play(case: Case, site: Site, outcome: Outcome) -> None:
    steps = case.play(site)
    next(steps)
    _stay_silent(site)
    began = time.monotonic()
    next(steps)
    if not case.alerts:
        _look(site, outcome, began)
        _stay_silent(site, case.quiet_seconds - (time.monotonic() - began))
        firing = f'ALERTS{{alertstate="firing",job="{site.name}"}}'
        fired = site.prometheus.query(f"count by (alertname) (count_over_time({firing}[1h]))")
        assert not fired, f"fired on a normal day: {fired}"
        return
    wanted = set(case.alerts)
    wait_until(
        lambda: wanted <= _look(site, outcome, began).keys(),
        FIRES_SECONDS,
        lambda: f"of {sorted(wanted)} fired {sorted(outcome.firing)}; {_said(site)}",
        LOOK_SECONDS,
    )
    outcome.troubles = _troubles(site)
    ended = time.monotonic()
    next(steps, None)

    def over() -> bool:
        firing = {alert.title for alert in site.prometheus.alerts(site.name) if _fires(alert)}
        for name in wanted - firing:
            outcome.resolved.setdefault(name, time.monotonic() - ended)
        outcome.beside |= firing - wanted
        return not wanted & firing

    slow = "ScmConsumerEventsLateSlow" in wanted
    wait_until(
        over,
        RESOLVES_SLOWLY_SECONDS if slow else RESOLVES_SECONDS,
        lambda: f"not over: {sorted(wanted - outcome.resolved.keys())}; {_said(site)}",
    )


def _look(site: Site, outcome: Outcome, began: float) -> dict[str, float]:
    """Take in which alerts are pending and firing; return since when those fire."""
    wanted = set(outcome.case.alerts)
    for alert in site.prometheus.alerts(site.name):
        seen = time.monotonic() - began
        if alert.title not in wanted:
            if _fires(alert):
                outcome.beside.add(alert.title)
            continue
        if _fires(alert):
            outcome.firing.setdefault(alert.title, seen)
            outcome.texts[alert.title] = alert.annotations["summary"]
        else:
            outcome.pending.setdefault(alert.title, seen)
    return outcome.firing


def _stay_silent(site: Site, seconds: float = HEALTHY_SECONDS) -> None:
    """Fail if an alert fires within so long."""
    until = time.monotonic() + seconds

    def is_over() -> bool:
        firing = [alert.title for alert in site.prometheus.alerts(site.name) if _fires(alert)]
        assert not firing, f"fires though all is well: {firing}; {_said(site)}"
        return time.monotonic() >= until

    wait_until(is_over, seconds + FIRES_SECONDS, every=LOOK_SECONDS)


def _fires(alert: Alert) -> bool:
    return alert.state == "firing"


def _troubles(site: Site) -> list[str]:
    try:
        return [trouble["cause"] for trouble in site.status().get("troubles", [])]
    except OSError:
        return []


def _said(site: Site) -> str:
    told = [f"{alert.title} {alert.state}" for alert in site.prometheus.alerts(site.name)]
    return f"told are {told}; troubles {_troubles(site)}; log: {site.log()[-800:]}"
