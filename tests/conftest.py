"""The test run: how files run beside each other, the Kafka that they share, and the summary.

``make test`` runs two parts: the files side by side, then by themselves the tests that measure time
or processor time (the marker ``alone``), which other work would disturb. What they rely on of the
machine is set before the first one (``tests/support/surroundings.py``).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from xdist.scheduler import LoadFileScheduling

from tests.promises.names import unknown
from tests.support import needs
from tests.support.kafka_jars import BrokerUnavailable
from tests.support.kafka_sources import USED, open_kafka
from tests.support.kafka_witness import Kafka
from tests.support.surroundings import settle

HERE = Path(__file__).parent
#: The folders whose files take longest come first: what begins last should be short, or one worker
#: ends long after the others.
SLOWEST_FIRST = ("deploy", "integration")
#: A folder that is one piece of work: its tests share what takes long to make.
WHOLE = "tests/deploy/"


def pytest_configure() -> None:
    """Set what every worker needs, too."""
    settle()
    if settings.default is not None and settings.default.deadline is not None:
        # How long an example takes on a busy machine says nothing.
        settings.register_profile("any pace", deadline=None)
        settings.load_profile("any pace")


class ByFile(LoadFileScheduling):  # type: ignore[misc]  # the library has no types
    """Give one file to one worker, as its fixtures are made once.

    One folder that is a piece of work goes to one worker, too.
    """

    def _split_scope(self, nodeid: str) -> str:
        return WHOLE if nodeid.startswith(WHOLE) else str(super()._split_scope(nodeid))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> ByFile:
    """Return how xdist deals out the tests."""
    return ByFile(config, log)


def pytest_report_header() -> str | None:
    """Say first what is missing on this machine."""
    commands = needs.missing()
    return needs.told(commands) if commands else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Begin with what takes longest, side by side; one after the other, the order stays.

    What cannot run on this machine is skipped, but not in CI. A mark that names no promise is an
    error.
    """
    for item in items:
        for mark in item.iter_markers("promise"):
            if wrong := unknown(mark.args):
                raise pytest.UsageError(f"{item.nodeid}: no promise is called {wrong[0]!r}")
    if not needs.in_ci() and (commands := needs.missing()):
        skipped = pytest.mark.skip(reason=f"missing: {', '.join(commands)}")
        for item in items:
            if needs.lacks(item, commands):
                item.add_marker(skipped)
    if hasattr(config, "workerinput"):
        items.sort(key=_rank)


def _rank(item: pytest.Item) -> int:
    folder = item.path.relative_to(HERE).parts[0]
    return SLOWEST_FIRST.index(folder) if folder in SLOWEST_FIRST else len(SLOWEST_FIRST)


@pytest.fixture(scope="session")
def kafka(request: pytest.FixtureRequest) -> Iterator[Kafka]:
    """Yield the Kafka that all tests share: use topics and groups of your own (``unique``)."""
    with ExitStack() as stack:
        try:
            found = stack.enter_context(open_kafka())
        except BrokerUnavailable as reason:
            pytest.fail(str(reason), pytrace=False)
        request.config.stash[USED] = (found.source, found.notice)
        yield found


# -- which Kafka it was --------------------------------------------------------------------------


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Tell the controller, as a worker."""
    output = getattr(session.config, "workeroutput", None)
    used = session.config.stash.get(USED, None)
    if output is not None and used is not None:
        output["kafka"] = used


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Hear a worker, as the controller.

    One worker's word stands for all, as they look for it in the same places.
    """
    used = getattr(node, "workeroutput", {}).get("kafka")
    if used is not None:
        node.config.stash[USED] = tuple(used)


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Say which Kafka the tests ran against, loudly when it was not a real one."""
    source, notice = config.stash.get(USED, ("", ""))
    if notice:
        terminalreporter.section("Kafka", yellow=True)
        terminalreporter.write_line(notice, yellow=True)
    elif source:
        terminalreporter.write_line(f"Kafka: {source}")
