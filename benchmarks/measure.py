"""The cost of a program, as the kernel counted it: CPU of all threads, peak memory, time to the
end.

Run as a script it is a small process between the benchmark and the program: a child's peak memory
begins at its parent's, and the benchmark itself is not small.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Cost:
    """The cost of a program, in seconds and MiB.

    ``peak_mib``: the largest resident set. ``exit_code``: negative when a signal ended it.
    """

    exit_code: int
    user_seconds: float
    system_seconds: float
    wall_seconds: float
    peak_mib: float


def measure(
    command: Sequence[str], folder: Path, environment: Mapping[str, str], log: Path
) -> Cost:
    """Run ``command`` in ``folder`` to its end, its output in ``log``, and say what it cost."""
    with tempfile.NamedTemporaryFile() as told, log.open("wb") as output:
        subprocess.run(
            [sys.executable, "-I", "-S", __file__, told.name, *command],
            cwd=folder,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            check=True,
        )
        return Cost(**json.loads(Path(told.name).read_bytes()))


def _script(told: str, command: list[str]) -> None:
    began = time.monotonic()
    pid = os.posix_spawnp(command[0], command, os.environ)
    _, status, usage = os.wait4(pid, 0)
    cost = {
        "exit_code": os.waitstatus_to_exitcode(status),
        "user_seconds": usage.ru_utime,
        "system_seconds": usage.ru_stime,
        "wall_seconds": time.monotonic() - began,
        "peak_mib": usage.ru_maxrss / (1024 if sys.platform != "darwin" else 1024 * 1024),
    }
    Path(told).write_text(json.dumps(cost))


if __name__ == "__main__":
    _script(sys.argv[1], sys.argv[2:])
