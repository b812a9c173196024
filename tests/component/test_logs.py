"""A line that cannot be formatted is told as one, on the way that waits for nobody."""

from __future__ import annotations

import io
import logging
import os
import sys

import pytest

from consumer.ops.logs import _LineHandler


def test_a_line_that_cannot_be_formatted_goes_the_way_of_all_others_and_shows_no_argument(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The library's own way writes to standard error itself: nobody may be reading that."""
    direct = io.StringIO()
    monkeypatch.setattr(sys, "stderr", direct)
    reader, writer = os.pipe()
    handler = _LineHandler(writer, "utf-8")
    try:
        handler.handle(
            logging.LogRecord("consumer.x", logging.INFO, __file__, 1, "%d", ("secret",), None)
        )
        handler.flush()
        assert not direct.getvalue(), "a log call writes to standard error itself"
        assert os.read(reader, 1000) == b"a line of consumer.x cannot be written (TypeError)\n"
    finally:
        handler.close()
        os.close(reader)
        os.close(writer)
