"""Check that events are kept through an outage, and dead letters until somebody has read them."""

from __future__ import annotations

from typing import Any

from confluent_kafka import KafkaError
from confluent_kafka.admin import TopicDescription

from consumer.preflight.cluster import Cluster, Configs
from consumer.preflight.result import Check, failed, ok, unknown, warning

NAME = "retention"

HOUR_MS = 3600 * 1000
DAY_MS = 24 * HOUR_MS
#: Less is a failure: an outage of one night, mended in the morning, already loses events.
EVENTS_LEAST_MS = DAY_MS
#: Less is a warning: an outage from Friday evening, seen on Monday, mended by Monday evening.
EVENTS_WELL_MS = 3 * DAY_MS
#: Less is a warning: somebody looks at the dead letters once a week.
DEAD_LETTERS_WELL_MS = 7 * DAY_MS
FOR_EVER = float("inf")


def check(
    cluster: Cluster,
    events: dict[str, TopicDescription],
    dead_letters: TopicDescription | None,
    start_from: str,
) -> list[Check]:
    """Return a check for each trouble, or one if there is none."""
    names = [*events, *([dead_letters.name] if dead_letters else [])]
    configs = cluster.topic_configs(names)
    known = {name: config for name, config in configs.items() if not isinstance(config, KafkaError)}
    of_events = {name: known[name] for name in known.keys() & events.keys()}
    checks: list[Check] = []
    for name, config in of_events.items():
        checks += _events(name, config)
    checks += _offsets(cluster, list(of_events.values()), start_from)
    if dead_letters and dead_letters.name in known:
        config = known[dead_letters.name]
        checks += _dead_letters(dead_letters, config, list(of_events.values()))
    if len(known) < len(configs):
        hidden = ", ".join(sorted(configs.keys() - known.keys()))
        text = f"this user may not read the settings of {hidden}"
        checks.append(
            unknown(
                NAME,
                text,
                "look at retention.ms and cleanup.policy there, or allow DescribeConfigs",
            )
        )
    if not checks:
        kept = min((_retention(known[name]) for name in events), default=FOR_EVER)
        text = f"events are kept {_long(kept)}"
        if dead_letters:
            text += f", dead letters {_long(_retention(known[dead_letters.name]))}"
        checks = [ok(NAME, text)]
    return sorted(checks, key=lambda check: check.text)


def _events(name: str, config: Configs) -> list[Check]:
    checks = []
    kept = _retention(config)
    if "compact" in config.get("cleanup.policy", ""):
        text = f"{name} is compacted: an event is deleted when a later one has its key, read or not"
        checks.append(failed(NAME, text, f"set cleanup.policy=delete on {name}"))
    elif kept < EVENTS_WELL_MS:
        text = f"{name} keeps events {_long(kept)}: after a longer outage they are lost"
        judge = failed if kept < EVENTS_LEAST_MS else warning
        checks.append(
            judge(
                NAME,
                text,
                f"set retention.ms={7 * DAY_MS} (7 days) on {name}; 3 days are the least",
            )
        )
    size = int(config.get("retention.bytes", "-1"))
    if size >= 0:
        text = (
            f"{name} keeps at most {size / 1048576:,.0f} MiB a partition: "
            "in an outage events may go before their time"
        )
        checks.append(
            warning(
                NAME,
                text,
                f"set retention.bytes=-1 on {name}, or be sure that it holds 3 days of events",
            )
        )
    return checks


def _dead_letters(topic: TopicDescription, config: Configs, events: list[Configs]) -> list[Check]:
    checks = []
    name = topic.name
    kept = _retention(config)
    if "compact" in config.get("cleanup.policy", ""):
        text = f"{name} is compacted: a dead letter is deleted when a later one has its key"
        checks.append(failed(NAME, text, f"set cleanup.policy=delete on {name}"))
    elif kept < DEAD_LETTERS_WELL_MS:
        text = (
            f"{name} keeps dead letters {_long(kept)}: rejected rows not looked at by then are gone"
        )
        checks.append(warning(NAME, text, f"set retention.ms=-1 (for ever) on {name}"))
    needed = int(config.get("min.insync.replicas", "1"))
    copies, in_sync = (min(len(found) for found in lists) for lists in _copies(topic))
    if needed > in_sync:
        text = (
            f"{name} has {in_sync} of the {needed} copies in sync that min.insync.replicas "
            "asks for: no dead letter is taken"
        )
        advice = "bring the broker back that holds the others"
        if needed > copies:
            advice = f"set min.insync.replicas={copies} on {name}, or give it more replicas"
        checks.append(failed(NAME, text, advice))
    room, largest = _limit(config), max((_limit(other) for other in events), default=0)
    if room < largest:
        text = (
            f"{name} takes dead letters up to {room:,} bytes, "
            f"but events may have {largest:,}: a large one would be stuck"
        )
        checks.append(warning(NAME, text, f"set max.message.bytes={largest + 65_536} on {name}"))
    return checks


def _offsets(cluster: Cluster, events: list[Configs], start_from: str) -> list[Check]:
    """Check that the offsets of an empty group outlive the events, else there is repeat or loss."""
    minutes = [
        int(broker["offsets.retention.minutes"])
        for broker in cluster.broker_configs.values()
        if not isinstance(broker, KafkaError) and "offsets.retention.minutes" in broker
    ]
    kept = max((_retention(config) for config in events), default=0.0)
    # To resend what is older than a few days does less harm than a warning that everybody learns to
    # overlook.
    needed = kept if start_from == "latest" else min(kept, EVENTS_WELL_MS)
    if not minutes or min(minutes) * 60_000 >= needed:
        return []
    then = "old events are sent again" if start_from == "earliest" else "events are skipped"
    after = _long(min(minutes) * 60_000, "after")
    text = f"the broker forgets the group's offsets {after} without a member: then {then}"
    return [warning(NAME, text, "set the broker's offsets.retention.minutes to 10080 (7 days)")]


def _copies(topic: TopicDescription) -> tuple[list[list[Any]], list[list[Any]]]:
    """Return, for each partition, the replicas, and those in sync."""
    return [p.replicas for p in topic.partitions], [p.isr for p in topic.partitions]


def _retention(config: Configs) -> float:
    kept = int(config.get("retention.ms", "-1"))
    return FOR_EVER if kept < 0 or "delete" not in config.get("cleanup.policy", "delete") else kept


def _limit(config: Configs) -> int:
    return int(config.get("max.message.bytes", "1048588"))


def _long(milliseconds: float, word: str = "for") -> str:
    """Return ``for ever``, ``for 7 days``, ``for 90 minutes``, ``for 2 seconds``."""
    if milliseconds == FOR_EVER:
        return f"{word} ever"
    for unit, size in (("day", DAY_MS), ("hour", HOUR_MS), ("minute", 60_000), ("second", 1000)):
        if milliseconds >= 2 * size or milliseconds == size:
            return f"{word} {milliseconds / size:.3g} {unit}{'' if milliseconds == size else 's'}"
    return f"{word} {milliseconds:g} ms"
