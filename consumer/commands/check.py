"""``scm-consumer check``: check everything that the consumer needs, a line a check."""

from __future__ import annotations

import os
import sys
from collections import Counter
from typing import TYPE_CHECKING

import click

from consumer.commands.options import Options, pass_options

if TYPE_CHECKING:
    from consumer.preflight.result import Check, CheckState

CHECK_FAILED_EXIT = 3
#: Time for all checks, topics made included, in seconds.
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
    """Check everything that the consumer needs: a line a check, with what to do next after "->".

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
    from consumer.preflight.result import CheckState, ok

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
    counts: Counter[CheckState] = Counter()
    for check in parallel.run(parts, LIMIT_SECONDS):
        _show(check)
        counts[check.state] += 1
    click.echo(_summary(counts))
    sys.stdout.flush()
    sys.stderr.flush()
    # Not through the interpreter's end: it would wait there for a client that still calls a broker
    # which is gone.
    os._exit(CHECK_FAILED_EXIT if counts[CheckState.FAILED] else 0)


def _summary(counts: Counter[CheckState]) -> str:
    from consumer.preflight.result import CheckState

    troubles = [
        f"{counts[state]} {state}"
        for state in reversed(CheckState)
        if counts[state] and state != CheckState.OK
    ]
    return ", ".join(troubles) if troubles else "all is well"


def _show(check: Check) -> None:
    advice = f" -> {check.advice}" if check.advice else ""
    line = f"{check.state:{STATE_WIDTH}} {check.name:{NAME_WIDTH}} {check.text}{advice}"
    click.echo(" ".join(line.split("\n")))
