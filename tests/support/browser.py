"""A real browser: Debian's Chromium, without a screen, driven by Playwright."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, sync_playwright

from tests.support.needs import lacking

COMMAND = "chromium"


@contextmanager
def chromium() -> Iterator[Browser]:
    """Give a browser. Where there is none, skip the test that is running; in CI, fail."""
    path = shutil.which(COMMAND)
    if path is None:
        lacking(COMMAND)
    with sync_playwright() as playwright:
        # In a container its own sandbox cannot be set up, and it shows our own page only.
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()
