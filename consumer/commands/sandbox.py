"""``scm-consumer sandbox``: serve the API for development, strict, with faults to switch on."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from typing import Any

import click
import orjson

from consumer.sandbox import Sandbox, SandboxPace
from consumer.sandbox.faults import parse_fault
from consumer.sandbox.kinds import KINDS, FaultError
from consumer.sandbox.store import codes_from


def _read_faults(
    _: click.Context, __: click.Parameter, values: tuple[str, ...]
) -> list[dict[str, Any]]:
    try:
        return [parse_fault(value) for value in values]
    except FaultError as error:
        raise click.BadParameter(str(error)) from None


def _read_address(_: click.Context, __: click.Parameter, value: str) -> tuple[str, int]:
    host, colon, port = value.rpartition(":")
    if not colon or not host or not port.isdigit() or int(port) > 65535:
        raise click.BadParameter(
            f"{value!r} is not HOST:PORT, such as 127.0.0.1:8080 (port 0: any free one)"
        )
    return host, int(port)


def _kinds() -> str:
    lines = []
    for name, kind in KINDS.items():
        own = ", ".join(
            f"{key}={value}" if value is not None else key for key, value in kind.own.items()
        )
        lines.append(f"  {name}{f' ({own})' if own else ''}\n      {kind.about}")
    return "\n".join(lines)


_EPILOG = f"""\b
Faults: KIND[:name=value,...] or a JSON object, repeatable.
How often: first=N | every=N | probability=P,seed=N; else until cleared.
Which requests: path=upload|async|task|me|any, key=VALUE, min_rows=N,
min_bytes=N, text=TEXT. Without path: synchronous uploads; task_...: their tasks;
rate_limit and campaign_fields: any.
Kinds:
{_kinds()}

\b
Addresses: GET /sandbox/state, /sandbox/journal?after=N&limit=M,
/sandbox/rules, /sandbox/stats, /sandbox/tasks,
GET POST DELETE /sandbox/faults, DELETE /sandbox/faults/ID,
POST /sandbox/reset, /sandbox/codes, /sandbox/units.

\b
Examples:
  scm-consumer sandbox
  scm-consumer sandbox --fault throttle:first=3,retry_after=2 --fault rate_limit:per_second=10
  curl -X POST http://127.0.0.1:8080/sandbox/faults -d '{{"kind": "status", "code": 503}}'
  scm-consumer sandbox --fault task_slow:every=3,seconds=5 --fault task_lost:first=1
  curl -X POST http://127.0.0.1:8080/sandbox/units \\
    -d '{{"field": "pallet_code", "units": ["P1", "P2"], "codes": 5000}}'
"""


@click.command(
    "sandbox", epilog=_EPILOG, short_help="The Scantrust API for development: strict, with faults."
)
@click.option(
    "--listen",
    metavar="HOST:PORT",
    default="127.0.0.1:8080",
    show_default=True,
    callback=_read_address,
    help="Port 0: any free one.",
)
@click.option(
    "--token", default="sandbox-token", show_default=True, help="The UAT token that it accepts."
)
@click.option(
    "--codes",
    "codes_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The codes that exist: an extended_id a line, or a JSON object a line with extended_id "
    "and fields.",
)
@click.option(
    "--known-prefix",
    "known_prefixes",
    multiple=True,
    help="Only codes that begin with it exist. Repeatable.",
)
@click.option("--product", "products", multiple=True, help="Only these products exist. Repeatable.")
@click.option(
    "--accept-empty-units", is_flag=True, help="Accept a unit without codes, instead of a 400."
)
@click.option(
    "--sync-codes",
    type=click.IntRange(min=0),
    default=SandboxPace().sync_codes,
    show_default=True,
    help="A synchronous upload that selects more codes is given up: 504, nothing applied.",
)
@click.option(
    "--sync-seconds",
    type=click.FloatRange(min=0),
    default=SandboxPace().sync_seconds,
    show_default=True,
    help="After how long it is given up.",
)
@click.option(
    "--task-seconds",
    type=click.FloatRange(min=0),
    default=SandboxPace().task_seconds,
    show_default=True,
    help="How long an asynchronous upload takes to have its effect.",
)
@click.option(
    "--fault",
    "faults",
    metavar="KIND[:...]",
    multiple=True,
    callback=_read_faults,
    help="A fault to start with; kinds below. Repeatable.",
)
def command(
    listen: tuple[str, int],
    token: str,
    codes_file: Path | None,
    known_prefixes: tuple[str, ...],
    products: tuple[str, ...],
    accept_empty_units: bool,  # noqa: FBT001 - click passes options by name
    sync_codes: int,
    sync_seconds: float,
    task_seconds: float,
    faults: list[dict[str, Any]],
) -> None:
    """Serve the Scantrust SCM API for development, until SIGINT or SIGTERM.

    It is strict: every rule that a client breaks is a 400, and is listed at /sandbox/rules. By
    default every code and product exists that does not begin with UNKNOWN. By other data keys
    (serial numbers, units) only what a code carries can be found: what was uploaded to it, or
    stands beside it in --codes. A unit without codes is a 400, as an unknown key is, unless
    --accept-empty-units.

    Asynchronous uploads (/api/v2/scm/upload/async/) give a task, asked about at
    /api/v2/scm/tasks/ID/. They may select any number of codes; values that select none are passed
    over in silence, a product that does not exist fails the task, and of several constraints all
    must hold. The provider does not document the response to a poll: here it is {"task_id",
    "status": "pending", "running", "complete" or "failed", ...}, unless the fault task_shape says
    otherwise. Tasks are in memory.
    """
    if codes_file and known_prefixes:
        raise click.UsageError(
            "--codes and --known-prefix both say which codes exist: use one of them."
        )
    sandbox = Sandbox(
        *listen,
        token,
        codes=_codes(codes_file) if codes_file else None,
        known_prefixes=known_prefixes,
        products=products or None,
        accept_empty_units=accept_empty_units,
    )
    sandbox.pace = SandboxPace(sync_codes, sync_seconds, task_seconds)
    for fault in faults:
        sandbox.faults.add(**fault)
    _serve(sandbox, listen)


def _serve(sandbox: Sandbox, listen: tuple[str, int]) -> None:
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    try:
        sandbox.start()
    except OSError as error:
        address = f"{listen[0]}:{listen[1]}"
        hint = "choose another address with --listen (port 0: any free one)"
        raise click.ClickException(
            f"cannot listen on {address}: {error.strerror}; {hint}"
        ) from None
    click.echo(f"Sandbox on {sandbox.url}  (look at {sandbox.url}/sandbox/stats)")
    stop.wait()
    sandbox.stop()
    stats = sandbox.stats()
    click.echo(
        f"Stopped: {stats['arrived']} requests, {stats['rows_applied']} rows applied.", err=True
    )


def _codes(path: Path) -> dict[str, dict[str, str]]:
    entries: list[object] = []
    for number, line in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), 1):
        text = line.strip()
        if text:
            try:
                entries.append(orjson.loads(text) if text.startswith("{") else text)
            except orjson.JSONDecodeError as error:
                raise click.BadParameter(
                    f"{path}: line {number}: not JSON: {error}", param_hint="--codes"
                ) from None
    try:
        return codes_from(entries)
    except ValueError as error:
        raise click.BadParameter(f"{path}: {error}", param_hint="--codes") from None
