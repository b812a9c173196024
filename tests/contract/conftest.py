"""Each test of this folder runs against the real part and against the simulation's stand-in for it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest

from tests.contract.member import Site
from tests.contract.real_kafka import RealSite
from tests.contract.simulated_kafka import SimulatedSite

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
