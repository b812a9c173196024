"""A line that cannot be formatted is told as one, on the way that waits for nobody."""

from __future__ import annotations

import io
import logging
import os
import subprocess
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


SECRET = "s3cret-in-an-error"


def run(code: str) -> subprocess.CompletedProcess[str]:
    begin = f"from consumer.hiding import known; known.add({SECRET!r}); "
    return subprocess.run(
        [sys.executable, "-c", begin + code], capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("line_format", ["console", "json"])
def test_a_traceback_in_a_line_shows_no_secret(line_format: str) -> None:
    ran = run(
        "import logging; from consumer.ops import logs\n"
        f"logs.set_up('info', {line_format!r})\n"
        f"try: raise ValueError('header: ' + {SECRET!r})\n"
        "except ValueError: logging.getLogger('consumer.x').exception('a fault')\n"
        "logs.flush()"
    )
    assert "a fault" in ran.stderr
    assert "header: (hidden)" in ran.stderr
    assert SECRET not in ran.stderr


@pytest.mark.parametrize("where", ["fault()", "threading.Thread(target=fault).start()"])
def test_a_fault_of_the_program_shows_its_traceback_and_no_secret(where: str) -> None:
    ran = run(
        "import threading; from consumer import cli\n"
        f"def fault(): raise ValueError('header: ' + {SECRET!r})"
        "\n"
        f"cli._run = lambda: {where}\n"
        "cli.main()"
    )
    assert "Traceback" in ran.stderr
    assert "ValueError: header: (hidden)" in ran.stderr
    assert SECRET not in ran.stderr
