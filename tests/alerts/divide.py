"""Divide the durations of the rules, so that a test need not wait for hours.

What is divided: ``for`` and ``keep_firing_for``, ranges and offsets, numbers that are marked as
seconds, and the bucket of the objective, whose quotient must be a bucket, too. What the consumer
itself takes for long (``consumer/ops/troubles/``) stays.
"""

from __future__ import annotations

import re

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_DURATION = r"(?P<number>\d+)(?P<unit>[smhd])"
_PLACES = re.compile(
    rf"(?P<before>(?:\bfor: |\bkeep_firing_for: |\[|\boffset )){_DURATION}(?P<after>\b)"
)
_SECONDS = re.compile(r"(?P<before>[<>] )(?P<number>\d+)(?P<after>  # seconds)")
_BUCKET = re.compile(r'le="(?P<number>[\d.]+)"')


def divided(rules: str, by: int) -> str:
    """Return the text of a rules file with each duration divided; at least a second is left."""

    def duration(found: re.Match[str]) -> str:
        seconds = int(found["number"]) * _UNITS[found["unit"]]
        return f"{found['before']}{_quotient(seconds, by)}s{found['after']}"

    def seconds(found: re.Match[str]) -> str:
        return f"{found['before']}{int(found['number']) / by:g}{found['after']}"

    def bucket(found: re.Match[str]) -> str:
        return f'le="{float(found["number"]) / by}"'

    return _BUCKET.sub(bucket, _SECONDS.sub(seconds, _PLACES.sub(duration, rules)))


def _quotient(seconds: int, by: int) -> int:
    return max(1, round(seconds / by)) if seconds else 0
