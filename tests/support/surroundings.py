"""The machine's surroundings, set once: signals, file rights, language, time zone, variables.

A background job of a shell ignores SIGINT and hands that down, ``nohup`` does so with SIGHUP, and a
developer has variables of all kinds. A program that is started by a test is to find what a user's
login shell would give it.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator, Mapping, MutableMapping

#: Signals that a parent may have had ignored: as they come, a program is ended by them.
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
UMASK = 0o022
LOOPBACK = "localhost,127.0.0.1,::1"
#: Set, whatever they were: language and time zone.
SET = {"LC_ALL": "C.UTF-8", "LANG": "C.UTF-8", "TZ": "UTC", "TERM": "dumb"}
#: Taken out: they change how output looks, what Python checks, or where a client goes. A proxy for
#: what is fetched before the tests stays; nothing on this machine is asked through it.
TAKEN_OUT = (
    *(
        "COLUMNS",
        "LINES",
        "NO_COLOR",
        "FORCE_COLOR",
        "CLICOLOR",
        "CLICOLOR_FORCE",
        "TTY_COMPATIBLE",
    ),
    *("PYTHONOPTIMIZE", "PYTHONWARNINGS", "PYTHONIOENCODING", "PYTHONDEVMODE", "PYTHONUTF8"),
    *("ALL_PROXY", "all_proxy"),
)


def settle() -> None:
    """Make the surroundings of this process, and of all that it starts, what the tests rely on."""
    for number in SIGNALS:
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(
                number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
            )
    os.umask(UMASK)
    settle_variables(os.environ)
    time.tzset()


def settle_variables(variables: MutableMapping[str, str]) -> None:
    """Make a set of variables so, and nothing else."""
    for name in [*TAKEN_OUT, *_of_the_program(variables)]:
        variables.pop(name, None)
    variables.update(SET)
    for name in ("no_proxy", "NO_PROXY"):
        variables[name] = ",".join(filter(None, (variables.get(name, ""), LOOPBACK)))


def _of_the_program(variables: Mapping[str, str]) -> Iterator[str]:
    """Return the program's own settings; ``SCM_TEST_…`` are those of the tests."""
    return (
        name
        for name in list(variables)
        if name.startswith("SCM_") and not name.startswith("SCM_TEST_")
    )
