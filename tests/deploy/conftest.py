"""The image's content, built once for all tests of this folder."""

from __future__ import annotations

import pytest

from tests.deploy.dockerfile import Image, build


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    return build(tmp_path_factory.mktemp("image"))
