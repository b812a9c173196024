"""Fixtures of this folder: a sandbox, and a client of it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from consumer.sandbox import Sandbox
from tests.support.sandbox_client import Client


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox() as running:
        yield running


@pytest.fixture
def client(sandbox: Sandbox) -> Iterator[Client]:
    with Client(sandbox) as connected:
        yield connected
