"""The demo's last line: the program's own ``reconcile``, beside the judge that is not its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import click

from consumer.errors import UserError

#: How long it may take.
SECONDS = 60.0


def line(configuration: Path) -> tuple[bool, str]:
    """Return whether all codes are equal, and the line that says so; raise UserError."""
    command = [sys.executable, "-m", "consumer.cli", "-c", str(configuration)]
    environment = {name: text for name, text in os.environ.items() if not name.startswith("SCM_")}
    done = subprocess.run(  # noqa: S603 - our own command
        [*command, "reconcile", "--rate", "10", "--json"],
        capture_output=True,
        text=True,
        env=environment,
        timeout=SECONDS,
        check=False,
    )
    if done.returncode not in (0, 1):
        raise UserError(f"reconcile failed: {done.stderr.strip()[-500:]}")
    counts: dict[str, int] = json.loads(done.stdout)["counts"]
    equal = done.returncode == 0 and not counts["undecided"]
    told = ", ".join(
        f"{number:,} codes {kind}" for kind, number in counts.items() if number or kind == "equal"
    )
    return equal, click.style(f"reconcile: {told}", fg="green" if equal else "red", bold=True)
