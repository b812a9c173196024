"""Run each test of this folder against the real part and against the simulation's stand-in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest

from tests.contract.api import ApiSite, RealApi, SimulatedApi
from tests.contract.letters import LettersSite, RealLetters, SimulatedLetters
from tests.contract.member import Site
from tests.contract.real_kafka import RealSite
from tests.contract.simulated_kafka import SimulatedSite
from tests.support.kafka_witness import Kafka

PARTITIONS = 2


@pytest.fixture(params=["simulated", "real"])
def site(request: pytest.FixtureRequest) -> Iterator[Site]:
    """A topic of two partitions and a group without members."""
    made = (
        SimulatedSite(PARTITIONS, seed=1)
        if request.param == "simulated"
        else RealSite(request.getfixturevalue("kafka"), PARTITIONS)
    )
    with closing(made):
        yield made


@pytest.fixture(params=["simulated", "real"])
def api(request: pytest.FixtureRequest) -> Iterator[ApiSite]:
    """An API that is well, and one that calls it."""
    with closing(SimulatedApi() if request.param == "simulated" else RealApi()) as made:
        yield made


@pytest.fixture(params=["simulated", "real"])
def letters(request: pytest.FixtureRequest) -> Iterator[LettersSite]:
    """A dead-letter topic that cannot be written yet, and one that writes to it."""
    made = (
        SimulatedLetters()
        if request.param == "simulated"
        else RealLetters(request.getfixturevalue("kafka"))
    )
    with closing(made):
        yield made


@pytest.fixture
def refused_letters(kafka: Kafka) -> Iterator[RealLetters]:
    """A topic to which the broker does not write what is sent to it, at first.

    And one that writes to it.
    """
    with closing(RealLetters(kafka, refusing=True)) as made:
        yield made
