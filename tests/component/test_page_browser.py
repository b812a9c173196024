"""The page in a real browser: quiet, within its policy, readable by anybody, on any screen."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, ViewportSize, expect

from consumer.ops.server import OpsResponse, OpsServer, line
from consumer.ops.view.document import read
from consumer.ops.view.model import view_of
from consumer.ops.view.page import REFRESH_SECONDS, page, page_without_answer, policy
from tests.support import status_samples
from tests.support.browser import chromium
from tests.support.process import wait_until
from tests.support.status_samples import FAULTS, SAMPLES, Document

SECONDS = 20.0
PHONE: ViewportSize = {"width": 360, "height": 740}
DESKTOP: ViewportSize = {"width": 1120, "height": 800}
#: A refresh and its answer, in ms; the machine may be busy.
SOON = REFRESH_SECONDS * 1000 + 10_000


class Served:
    """The page at a real ops server; ``document`` is what it shows, None: nothing in time."""

    def __init__(self) -> None:
        self.document: Document | None = status_samples.healthy()
        self.broken = False
        self.requests = 0
        self.held = threading.Event()  #: an answer waits until this is set
        self.held.set()
        self._server = OpsServer(("127.0.0.1", 0), {"/": lambda _: self._page()})
        self._server.start()
        wait_until(lambda: self._server.url, SECONDS)
        self.url = self._server.url

    def _page(self) -> OpsResponse:
        self.requests += 1
        self.held.wait(SECONDS)
        if self.broken:
            return line("busy", 503)
        at, headers = datetime.now(UTC), {"Content-Security-Policy": policy()}
        if self.document is None:
            return OpsResponse(page_without_answer(2, at), "text/html", 503, headers)
        shown = page(view_of(read(self.document)), at)
        return OpsResponse(shown, "text/html; charset=utf-8", headers=headers)

    def close(self) -> None:
        self._server.close()


class Look:
    """A page that is looked at, what its console said, and what it asked for."""

    def __init__(self, context: BrowserContext) -> None:
        self.page = context.new_page()
        self.said: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture
def served() -> Iterator[Served]:
    found = Served()
    yield found
    found.close()


def look(browser: Browser, served: Served, sample: str = "healthy", **options: Any) -> Look:
    """Open the page of a sample."""
    served.document = SAMPLES[sample]()
    found = Look(browser.new_context(**{"viewport": DESKTOP, **options}))
    found.page.goto(served.url)
    return found


def anew(shown: Look) -> None:
    """Have the page looked at anew, now: what it does when it is seen again."""
    with shown.page.expect_response(lambda _: True):
        shown.page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")


def text_of(page: Page) -> str:
    """Return the text that is seen, without the time."""
    return re.sub(r"\d\d:\d\d:\d\d UTC", "", page.inner_text("main"))


@pytest.mark.parametrize("sample", SAMPLES)
def test_it_is_quiet_asks_for_nothing_else_and_keeps_to_its_policy(
    browser: Browser, served: Served, sample: str
) -> None:
    shown = look(browser, served, sample)
    blocked = shown.page.evaluate(
        "() => new Promise(done => { const seen = [];"
        " document.addEventListener('securitypolicyviolation', e => seen.push(e.blockedURI));"
        " setTimeout(() => done(seen), 100); })"
    )
    assert (blocked, shown.said) == ([], [])
    assert set(shown.asked) == {f"{served.url}/"}
    shown.page.context.close()


@pytest.mark.parametrize("sample", ["healthy", "rejections", "api_unauthorized", "hostile"])
def test_without_javascript_there_is_the_same_text(
    browser: Browser, served: Served, sample: str
) -> None:
    with_script = look(browser, served, sample)
    without = look(browser, served, sample, java_script_enabled=False)
    assert text_of(without.page) == text_of(with_script.page)
    assert len(text_of(without.page)) > 200
    for each in (with_script, without):
        each.page.context.close()


def test_without_javascript_it_loads_itself_again(browser: Browser, served: Served) -> None:
    shown = look(browser, served, java_script_enabled=False)
    served.document = status_samples.api_unauthorized()
    expect(shown.page.locator(".word")).to_have_text("stuck", timeout=SOON)
    shown.page.context.close()


@pytest.mark.parametrize("sample", SAMPLES)
def test_no_width_makes_the_page_scroll_sideways(
    browser: Browser, served: Served, sample: str
) -> None:
    shown = look(browser, served, sample)
    for summary in shown.page.locator("summary").all():
        summary.click()
    for width in (320, 360, 601, 861, 1120):
        shown.page.set_viewport_size({"width": width, "height": 740})
        assert shown.page.evaluate("document.documentElement.scrollWidth") <= width
    shown.page.context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("sample", ["healthy", "joining", "rejections", "api_unauthorized"])
def test_it_is_accessible_by_axe_contrast_included(
    browser: Browser, served: Served, sample: str, scheme: str
) -> None:
    shown = look(browser, served, sample, color_scheme=scheme)
    shown.page.locator("summary").click()
    for size in (PHONE, DESKTOP):
        shown.page.set_viewport_size(size)
        found = Axe().run(shown.page)
        assert found.violations_count == 0, found.generate_report()
        passed = {each["id"] for each in found.response["passes"]}
        assert {"color-contrast", "document-title", "html-has-lang"} <= passed
    shown.page.context.close()


@pytest.mark.parametrize("sample", FAULTS)
def test_the_first_screen_of_a_phone_names_cause_and_advice(
    browser: Browser, served: Served, sample: str
) -> None:
    shown = look(browser, served, sample, viewport=PHONE)
    document = FAULTS[sample]()
    (trouble,) = document["troubles"]
    for text in (document["state"], trouble["message"], trouble["advice"], trouble["where"]):
        place = shown.page.locator(".headline").get_by_text(text, exact=True).first
        box = place.bounding_box()
        assert box is not None
        assert box["y"] + box["height"] <= PHONE["height"], text
    shown.page.context.close()


def test_it_follows_the_consumer_and_keeps_the_readers_place(
    browser: Browser, served: Served
) -> None:
    shown = look(browser, served, "many_partitions")
    page = shown.page
    page.locator("summary").click()
    page.get_by_role("link", name="healthz").focus()
    page.mouse.wheel(0, 1200)
    wait_until(lambda: page.evaluate("scrollY") >= 1000, SECONDS)
    kept = page.evaluate("(window.row = document.querySelector('#offsets tbody tr'), scrollY)")
    served.document = status_samples.many_partitions()
    served.document["partitions"][321] |= {"lag": 77_777}
    anew(shown)
    expect(page.locator("#partitions")).to_contain_text("77,777", timeout=SOON)
    assert page.evaluate("scrollY") == kept
    assert page.evaluate("document.querySelector('details').open")
    assert page.evaluate("document.activeElement.textContent") == "healthz"
    assert page.evaluate("window.row.isConnected"), "what is the same stays the same"
    assert shown.said == []
    page.context.close()


def test_a_new_state_shows_by_itself_in_word_title_and_tone(
    browser: Browser, served: Served
) -> None:
    shown = look(browser, served)
    expect(shown.page).to_have_title("running · scm-consumer")
    served.document = status_samples.poison_row()
    expect(shown.page.locator(".headline.bad .word")).to_have_text("stuck", timeout=SOON)
    expect(shown.page).to_have_title("stuck · scm-consumer")
    shown.page.context.close()


def test_a_consumer_that_does_not_answer_is_told_of_and_comes_back(
    browser: Browser, served: Served
) -> None:
    shown = look(browser, served)
    served.broken = True
    anew(shown)
    lost = shown.page.locator("#lost")
    expect(lost).to_contain_text("No answer since", timeout=SOON)
    expect(lost).to_contain_text("it answers with HTTP 503. What stands below is old")
    expect(shown.page).to_have_title("no answer · scm-consumer")
    served.broken = False
    expect(lost).to_be_hidden(timeout=SOON)  # by itself
    served.document = None
    anew(shown)
    expect(shown.page.locator(".headline.bad .word")).to_have_text("no answer", timeout=SOON)
    served.document = status_samples.healthy()
    anew(shown)
    expect(shown.page.locator("#partitions")).to_be_visible(timeout=SOON)
    shown.page.context.close()


def test_a_page_that_nobody_sees_asks_nothing(browser: Browser, served: Served) -> None:
    context = browser.new_context()
    shown = Look(context)
    shown.page.clock.install()
    shown.page.goto(served.url)

    def seen(*, seen: bool) -> None:
        shown.page.evaluate(
            "(hidden) => { Object.defineProperty(document, 'hidden', { value: hidden,"
            " configurable: true }); document.dispatchEvent(new Event('visibilitychange')); }",
            not seen,
        )

    served.held.clear()
    with shown.page.expect_response(lambda _: True):
        with shown.page.expect_request(lambda _: True):
            shown.page.clock.run_for(REFRESH_SECONDS * 1000)
        seen(seen=False)  # while an answer is on its way
        served.held.set()
    expect(shown.page.locator("#partitions")).to_be_visible(timeout=SOON)
    before = served.requests
    for _ in range(4):
        shown.page.clock.run_for(5 * REFRESH_SECONDS * 1000)
    assert served.requests == before
    with shown.page.expect_response(lambda _: True):
        seen(seen=True)
    context.close()


def test_all_that_can_be_opened_is_reached_by_keyboard(browser: Browser, served: Served) -> None:
    shown = look(browser, served)
    reached: list[str] = []
    for _ in range(8):
        shown.page.keyboard.press("Tab")
        reached.append(shown.page.evaluate("document.activeElement.textContent"))
    assert reached[:6] == ["Offsets", "status", "settings", "metrics", "healthz", "readyz"]
    shown.page.locator("summary").focus()
    shown.page.keyboard.press("Enter")
    expect(shown.page.locator("#offsets table")).to_be_visible()
    shown.page.context.close()


def test_events_cannot_run_anything(browser: Browser, served: Served) -> None:
    shown = look(browser, served, "hostile")
    opened: list[str] = []
    shown.page.on("dialog", lambda dialog: opened.append(dialog.message))
    anew(shown)
    assert opened == []
    assert shown.page.locator("img").count() == 0
    assert shown.page.locator("main script").count() == 0
    shown.page.context.close()
