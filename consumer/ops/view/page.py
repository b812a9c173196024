"""The page at ``/``: HTML made here, whole, so that it is read without JavaScript, too.

The template escapes whatever it is given. A browser is told to run this script and style of it and
nothing else, and to load nothing from anywhere.
"""

from __future__ import annotations

import base64
import hashlib
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from consumer.ops.view.headline import Headline, Tone
from consumer.ops.view.model import View

if TYPE_CHECKING:
    from jinja2 import Template

#: Time between two looks of a page that is open, in seconds.
REFRESH_SECONDS = 5


class _Page(NamedTuple):
    template: Template
    style: str
    script: str


class _NoView(msgspec.Struct, frozen=True):
    """The page without a snapshot."""

    headline: Headline
    version: str = ""
    summary: str = ""
    notices: tuple[()] = ()
    figures: tuple[()] = ()
    curves: tuple[()] = ()
    partitions: None = None


def page(view: View, at: datetime) -> bytes:
    """Return the page that shows ``view``, taken at ``at`` (UTC)."""
    return _rendered(view, at)


def page_without_answer(seconds: float, at: datetime) -> bytes:
    """Return the page of a process whose owner loop did not answer within ``seconds``."""
    headline = Headline(
        "no answer",
        Tone.BAD,
        "The consumer does not answer",
        f"Its owner loop did not answer within {seconds:g} s. After a moment of much work it comes "
        "back by itself.",
        "look at healthz below; where it says stalled, restart this process",
    )
    return _rendered(_NoView(headline), at)


@cache
def policy() -> str:
    """Return the Content-Security-Policy of the page."""
    parts = _page()
    rules = {
        "default-src": "'none'",
        "script-src": _hash_of(parts.script),
        "style-src": _hash_of(parts.style),
        "connect-src": "'self'",
        "img-src": "data:",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
    return "; ".join(f"{name} {value}" for name, value in rules.items())


def _rendered(view: View | _NoView, at: datetime) -> bytes:
    from markupsafe import Markup

    parts = _page()
    html: str = parts.template.render(
        view=view,
        at=at,
        refresh_seconds=REFRESH_SECONDS,
        style=Markup(parts.style),  # noqa: S704 - our own file
        script=Markup(parts.script),  # noqa: S704 - our own file
    )
    return html.encode(errors="backslashreplace")


@cache
def _page() -> _Page:
    # Loaded when the page is first asked for: a consumer that nobody looks at needs none of it.
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("consumer.ops.view"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    script = environment.get_template("script.js").render(refresh_seconds=REFRESH_SECONDS)
    style = environment.get_template("style.css").render()
    return _Page(environment.get_template("page.html"), style, script)


def _hash_of(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
