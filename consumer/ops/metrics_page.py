"""Write docs/metrics.md from the table of metrics.

``python -m consumer.ops.metrics_page > docs/metrics.md``
"""

from __future__ import annotations

import sys
from textwrap import fill

from consumer.core.counters import MAX_NAMES, OTHER
from consumer.core.verdict import Verdict
from consumer.ops.health import STALLED_SECONDS
from consumer.ops.metric import PREFIX, Declared
from consumer.ops.metrics import METRICS
from consumer.ops.snapshot_request import ANSWER_SECONDS

_HEAD = f"""\
# Metrics, health and status

<!-- Written by `make docs` from consumer/ops/metrics.py and metrics_page.py: change it there. -->

`scm-consumer run` serves them over HTTP at `ops.listen` (default `127.0.0.1:9464`; the log says
where at the start: `ops: http://…`). GET and HEAD only; nothing can be changed there. An address
that is in use is logged once and tried again, while uploading goes on.

| path | what |
| --- | --- |
| `/` | [a page for people](ops-page.md): state and what to do, lag, partitions, rejections |
| `/metrics` | for Prometheus, in the text format or OpenMetrics, as it asks |
| `/healthz` | 200 while the owner loop has turned in the last {STALLED_SECONDS:g} s, else 503: \
for a liveness probe |
| `/readyz` | 200 from the first assignment (even an empty one) until the stop begins, else 503: \
for a readiness probe |
| `/status` | one JSON snapshot: what the page shows, and the settings with secrets hidden |

`/healthz` and `/readyz` answer with one line that says why. A paused API, an open circuit or old
rows change neither: a restart would only repeat what is in flight, and stall the roll-out that
brings the new token. They are [alerts](alerts.md).

Every scrape is one consistent snapshot, taken between two steps of the owner loop: consumed =
accepted + rejected + skipped + released + unsettled, each time. When the loop does not answer
within {ANSWER_SECONDS:g} s, `/metrics` and `/status` answer 503, and `/healthz` decides by its own
rule.

## The metrics

All names begin with `{PREFIX}`. Counters count from the start of the process. A label has
{MAX_NAMES} values at most; what is beyond the first ones is counted as `{OTHER}`. Beside these,
`process_*` has memory, CPU and open files where the platform tells them.
"""

_MEANINGS = {
    Verdict.ACCEPTED: "200",
    Verdict.ROWS_NAMED: "400 that names rows; the others are resent without them",
    Verdict.NONE_NAMED: "400 that names no row: the bad one is sought",
    Verdict.TOO_LARGE: "413: the window is halved",
    Verdict.UNAUTHORIZED: "401: uploading pauses",
    Verdict.REFUSED: "403, 404, 405, 406: uploading pauses, unless other windows pass",
    Verdict.UNEXPECTED: "any other response, or a 200 that is not the documented one: the same",
    Verdict.THROTTLED: "429",
    Verdict.FAILED: "408 and 5xx",
    Verdict.TASK_FAILED: "a task failed; of `tasks_ended_total` that is `none_named`",
    Verdict.LOST: "sent, and no whole response came: it may have taken effect, or may yet",
    Verdict.UNSENT: "it certainly did not reach the API",
}

_TAIL = """
## What to alert on

[Alerts](alerts.md): rules for Prometheus, with an objective and a dashboard. What to do when one
comes: the [runbook](runbook.md).
"""


def page() -> str:
    """Return the page, in Markdown."""
    lines = [_HEAD, "| name | type | labels | meaning |", "| --- | --- | --- | --- |"]
    lines += [_row(metric) for metric in METRICS]
    lines.append("\nWhat a response meant (`outcome`, and `cause` where its rows are resent):\n")
    lines += [_item(f"`{verdict.value}`: {meaning}") for verdict, meaning in _MEANINGS.items()]
    lines.append("\nThe values of labels that are there from the start, as 0:\n")
    for metric in METRICS:
        if metric.known:
            known = ", ".join(f"`{value}`" for value in metric.known)
            lines.append(_item(f"`{metric.name}`, `{metric.labels[0]}`: {known}"))
    lines.append(_TAIL)
    return "\n".join(lines).rstrip() + "\n"


def _item(text: str) -> str:
    return fill(f"* {text}", 100, subsequent_indent="  ", break_on_hyphens=False)


def _row(metric: Declared) -> str:
    labels = ", ".join(f"`{label}`" for label in metric.labels)
    unit = f" ({metric.unit})" if metric.unit else ""
    return f"| `{metric.name}` | {metric.kind}{unit} | {labels} | {metric.help} |"


if __name__ == "__main__":
    sys.stdout.write(page())
