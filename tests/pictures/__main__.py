"""Take the pictures: ``python -m tests.pictures [--minutes 6] [--folder F] [SCENE ...]``."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import urllib.request
from contextlib import ExitStack
from pathlib import Path

from playwright.sync_api import Browser, ViewportSize

from tests.pictures.scenes import SCENES, staged
from tests.support.browser import chromium
from tests.support.kafka_sources import open_kafka

ROOT = Path(__file__).parents[2]
#: Scenes that the docs show; the others are taken when they are named.
SHOWN = ("healthy", "api-blocked", "backlog")
SIZES: dict[str, ViewportSize] = {
    "desktop": {"width": 1120, "height": 760},
    "phone": {"width": 360, "height": 740},
}
#: The trouble is there for so long when its picture is taken, in seconds.
TROUBLE_SECONDS = 100.0


def main() -> None:
    """Run the scenes side by side and take a picture of each, on a desktop and on a phone."""
    parser = argparse.ArgumentParser(prog="python -m tests.pictures")
    parser.add_argument("scenes", nargs="*", default=SHOWN, choices=[*SCENES, []])
    parser.add_argument("--minutes", type=float, default=6.0)
    parser.add_argument("--folder", type=Path, default=ROOT / "docs" / "pictures")
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        kafka = stack.enter_context(open_kafka())
        place = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        stages = {
            name: staged(stack, kafka, name, number, place / name)
            for number, name in enumerate(given.scenes, 1)
        }
        _say(f"{', '.join(stages)}: running for {given.minutes:g} min")
        time.sleep(60 * given.minutes)
        for name, stage in stages.items():
            trouble = SCENES[name].trouble
            if trouble is not None:
                trouble(stage)
        time.sleep(TROUBLE_SECONDS)
        browser = stack.enter_context(chromium())
        for name, stage in stages.items():
            _take(browser, stage.url, name, given.folder)


def _take(browser: Browser, url: str, name: str, folder: Path) -> None:
    for size, viewport in SIZES.items():
        page = browser.new_page(viewport=viewport)
        page.goto(url)
        page.screenshot(path=folder / f"{name}-{size}.png")
        page.close()
    with urllib.request.urlopen(f"{url}/status", timeout=10) as answer:
        _say(f"{name}: {answer.read()[:400].decode()}")


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


if __name__ == "__main__":
    main()
