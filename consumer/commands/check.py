"""``scm-consumer check``: is everything there that the consumer needs."""

from __future__ import annotations

import os
import sys
from collections import Counter
from typing import TYPE_CHECKING

import click

from consumer.commands.options import Options, pass_options

if TYPE_CHECKING:
    from consumer.preflight.result import Check

CHECK_FAILED_EXIT = 3
#: The whole of it, topics made included, in seconds.
LIMIT_SECONDS = 14.0
STATE_WIDTH, NAME_WIDTH = 7, 13


@click.command(
    "check", short_help="Is everything there that it needs: a line a check, with what to do."
)
@click.option(
    "--create",
    is_flag=True,
    help="Make the topics of dead letters, receipts, and kafka.topics, if missing.",
)
@pass_options
def command(options: Options, *, create: bool) -> None:
    """Is everything there that the consumer needs? A line a check, with what to do next after "->".

    Looks at the configuration, the broker, the topics, the dead-letter and receipts topics, this
    user's rights, the group, how long events are kept, the schema registry, the API, the token with
    its permissions, and the clock. Takes seconds, at most 15. It disturbs nothing: it joins no
    group, commits, publishes and uploads nothing, so it may run beside a consumer.

    --create makes topics that are not there, and says so: those of kafka.topics (not patterns) with
    6 partitions, events kept for 7 days; the dead-letter topic (and that of receipts, if one is
    set) with as many partitions as the largest of them, kept until you delete them. All get 3
    replicas, or as many as there are brokers.

    Exit code 0: nothing FAILED. 3: something did. 2: the configuration is wrong. A warning works
    now and will hurt one day; unknown cannot be found out; skipped needs something that failed.

    \b
    Examples:
      scm-consumer check
      scm-consumer check --create
      scm-consumer -c line7.toml check && scm-consumer -c line7.toml run
    """
    loaded = options.loaded()
    from consumer.preflight import api, kafka, parallel, registry  # heavy: the clients
    from consumer.preflight.cluster import Cluster
    from consumer.preflight.result import State, ok

    settings = loaded.settings
    cluster = Cluster(settings.kafka.bootstrap_servers, settings.kafka.client)
    calls = api.ApiChecks(settings.api)
    schemas = registry.RegistryCheck(settings.schema_registry)
    _show(ok("configuration", ", ".join(dict.fromkeys(loaded.origins.values())) or "defaults"))
    parts = {
        "kafka": lambda: kafka.checks(settings, cluster, create=create),
        registry.NAME: schemas.checks,
        api.API: calls.checks,
    }
    counts: Counter[State] = Counter()
    for check in parallel.run(parts, LIMIT_SECONDS):
        _show(check)
        counts[check.state] += 1
    told = [
        f"{counts[state]} {state}"
        for state in reversed(State)
        if counts[state] and state != State.OK
    ]
    click.echo(", ".join(told) if told else "all is well")
    sys.stdout.flush()
    sys.stderr.flush()
    # Not by way of the interpreter's end: a client that still asks a broker which is gone would be
    # waited for there.
    os._exit(CHECK_FAILED_EXIT if counts[State.FAILED] else 0)


def _show(check: Check) -> None:
    advice = f" -> {check.advice}" if check.advice else ""
    line = f"{check.state:{STATE_WIDTH}} {check.name:{NAME_WIDTH}} {check.text}{advice}"
    click.echo(" ".join(line.split("\n")))
