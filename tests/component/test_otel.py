"""Spans of a loop that turns, as an exporter gets them; and a collector that makes trouble."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from consumer.adapters.otel import export
from consumer.adapters.otel.attributes import MOST_LINKS
from consumer.adapters.otel.spans import SpanTracer
from consumer.adapters.otel.starting import Target, is_wanted, start
from consumer.core.effects import Attempt
from consumer.core.offsets.partition import Partition
from consumer.core.uploading.response import Response
from tests.support.otlp import Collector
from tests.support.process import wait_until
from tests.unit.builders import accepted, answered, error_of, naming
from tests.unit.runner_fakes import EPOCH, Message, World, keys_of, message

TARGET = Target("packers", "https://me:pass@api.example:8443/v/", "/upload/", "/upload/async/")
PROCESS, COMMIT = "process events", "commit events"


class TracedMessage(Message):
    """A record with the headers of its publisher's trace."""

    def __init__(self, plain: Message, trace: int, *, sampled: bool = True) -> None:
        super().__init__(plain.offset(), plain.value())
        flags = "01" if sampled else "00"
        self._header = f"00-{trace:032x}-{trace:016x}-{flags}".encode()

    def headers(self) -> list[tuple[str, bytes | None]] | None:
        return [("line", b"\xff"), ("traceparent", self._header)]


class Traced:
    """A world whose loop makes spans."""

    def __init__(self) -> None:
        self.kept = InMemorySpanExporter()
        self.provider = export.provider("1.2.3", self.kept)
        self.world = World()
        self.tracer = SpanTracer(
            self.provider, TARGET, lambda: int((EPOCH + self.world.results.now) * 1e9)
        )
        self.world.runner._responses._tracer = self.tracer
        self.world.runner.committing._tracer = self.tracer

    def publish(self, *messages: Message, number: int = 0) -> Partition:
        partition = Partition("events", number, 0, 0)
        self.world.source.logs[partition] = list(messages)
        return partition

    def run(self) -> list[ReadableSpan]:
        world = self.world
        if not world.sent:
            world.start()
        world.turn_until(lambda: bool(world.sent) and not world.pipeline.unsettled, 600)
        world.turn_for(2)
        return self.spans()

    def spans(self) -> list[ReadableSpan]:
        assert self.provider.force_flush()
        return list(self.kept.get_finished_spans())

    def named(self, name: str) -> list[ReadableSpan]:
        return [span for span in self.spans() if span.name == name]


@pytest.fixture
def traced(monkeypatch: pytest.MonkeyPatch) -> Iterator[Traced]:
    for name in [name for name in os.environ if name.startswith("OTEL_")]:
        monkeypatch.delenv(name)
    one = Traced()
    yield one
    one.tracer.close()


def attributes(span: ReadableSpan) -> dict[str, object]:
    return dict(span.attributes or {})


def test_a_window_is_a_span_with_its_attempt_and_the_conventions_names(traced: Traced) -> None:
    traced.publish(*(message(offset, key) for offset, key in enumerate(keys_of("A", 10))))
    traced.world.api = lambda attempt: Response(
        200, document=accepted(attempt).document, seconds=0.08, request_id="7f3a"
    )
    traced.run()
    (window,), (attempt,) = traced.named(PROCESS), traced.named("POST /upload/")
    assert window.kind is SpanKind.CONSUMER
    assert attributes(window) == {
        "messaging.system": "kafka",
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.consumer.group.name": "packers",
        "messaging.destination.name": "events",
        "messaging.destination.partition.id": "0",
        "messaging.batch.message_count": 10,
        "scm.window": 1,
        "scm.window.reason": "full",
        "scm.data_key": "extended_id",
        "scm.rows": 10,
        "scm.attempts": 1,
        "scm.rows.accepted": 10,
        "scm.rows.rejected": 0,
        "scm.rows.released": 0,
        "scm.rows.sent_again": 0,
    }
    assert window.status.status_code is StatusCode.UNSET
    assert attempt.kind is SpanKind.CLIENT
    assert attempt.parent is not None
    assert attempt.parent.span_id == window.context.span_id
    assert attributes(attempt) == {
        "http.request.method": "POST",
        "http.response.status_code": 200,
        "server.address": "api.example",
        "server.port": 8443,
        "url.full": "https://api.example:8443/v/upload/",
        "url.template": "/upload/",
        "scm.window": 1,
        "scm.attempt": 1,
        "scm.rows": 10,
        "scm.request_id": "7f3a",
    }
    assert window.start_time is not None
    assert window.end_time is not None
    assert attempt.start_time is not None
    assert window.start_time <= attempt.start_time
    assert window.end_time - window.start_time == pytest.approx(0.1e9, abs=1e7)
    assert window.resource.attributes["service.name"] == "scm-consumer"
    assert window.resource.attributes["service.version"] == "1.2.3"


def test_a_window_links_to_each_trace_of_its_events_once_and_says_where_the_event_is(
    traced: Traced,
) -> None:
    traced.publish(
        TracedMessage(message(0, "A"), 7),
        message(1, "B"),
        TracedMessage(message(2, "C"), 7),
        TracedMessage(message(3, "D"), 9),
    )
    traced.run()
    (window,) = traced.named(PROCESS)
    assert [
        (link.context.trace_id, dict(link.attributes or {})["messaging.kafka.offset"])
        for link in window.links
    ] == [(7, 0), (9, 3)]
    assert dict(window.links[1].attributes or {}) == {
        "messaging.destination.name": "events",
        "messaging.destination.partition.id": "0",
        "messaging.kafka.offset": 3,
    }
    assert window.parent is None, "a window has many events: none of them is its parent"


def test_links_are_bounded() -> None:
    from consumer.adapters.otel.attributes import links_to
    from consumer.core.model import Record

    partition = Partition("events", 0, 0, 0)
    records = [
        Record(partition, n, TracedMessage(message(n, "A"), n + 1), 1)
        for n in range(MOST_LINKS + 9)
    ]
    links, told = links_to(records)
    assert told
    assert len(links) == MOST_LINKS


def test_windows_whose_events_are_all_traced_and_not_recorded_are_not_recorded(
    traced: Traced,
) -> None:
    traced.publish(*(TracedMessage(message(n, f"A{n}"), n + 1, sampled=False) for n in range(3)))
    traced.run()
    assert not traced.named(PROCESS)
    assert not traced.named("POST /upload/")


def test_one_recorded_event_is_enough_and_only_it_is_linked_to(
    monkeypatch: pytest.MonkeyPatch, traced: Traced
) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_traceidratio")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", "0")
    few = Traced()
    few.publish(TracedMessage(message(0, "A"), 5, sampled=False), TracedMessage(message(1, "B"), 6))
    few.run()
    (window,) = few.named(PROCESS)
    assert [link.context.trace_id for link in window.links] == [6]
    assert few.named("POST /upload/"), "what is in a recorded window is recorded"
    few.tracer.close()


@pytest.mark.parametrize("header", [b"", b"nonsense", b"\xff\xfe", b"00-" + b"0" * 32 + b"-1-01"])
def test_a_header_that_tells_no_trace_costs_nothing(traced: Traced, header: bytes) -> None:
    odd = TracedMessage(message(0, "A"), 1)
    odd._header = header
    traced.publish(odd)
    traced.run()
    (window,) = traced.named(PROCESS)
    assert not window.links
    assert not traced.tracer._broken


def test_attempts_of_a_window_are_in_one_trace_and_numbered(traced: Traced) -> None:
    traced.publish(message(0, "A"))
    answers = [
        Response(None, sent=False, error="no connection to the API api:1"),
        Response(None, sent=True, error="no whole answer"),
        answered(503),
    ]
    traced.world.api = lambda attempt: answers.pop(0) if answers else accepted(attempt)
    traced.run()
    (window,), attempts = traced.named(PROCESS), traced.named("POST /upload/")
    assert {span.context.trace_id for span in attempts} == {window.context.trace_id}
    assert [
        (
            a.get("http.request.resend_count"),
            a.get("error.type"),
            a.get("http.response.status_code"),
        )
        for a in map(attributes, attempts)
    ] == [(None, "not_sent", None), (1, "no_response", None), (2, "503", 503), (3, None, 200)]
    assert [span.status.status_code for span in attempts[2:]] == [
        StatusCode.ERROR,
        StatusCode.UNSET,
    ]
    assert attempts[0].status.description == "no connection to the API api:1"
    assert attributes(window)["scm.attempts"] == 4


def test_the_parts_of_a_divided_window_are_in_its_trace(traced: Traced) -> None:
    traced.publish(*(message(offset, key) for offset, key in enumerate(keys_of("A", 4))))

    def api(attempt: Attempt) -> Response:
        return answered(400, {"detail": "no"}) if len(attempt.items) > 1 else accepted(attempt)

    traced.world.api = api
    traced.run()
    windows = traced.named(PROCESS)
    assert len(windows) == 7  # one of 4, two of 2, four of 1
    assert len({span.context.trace_id for span in windows}) == 1
    whole = next(span for span in windows if span.parent is None)
    assert attributes(whole)["error.type"] == "divided"
    assert attributes(whole)["scm.rows.sent_again"] == 4


def test_rejected_rows_are_counted_over_all_attempts_of_their_window(traced: Traced) -> None:
    traced.publish(*(message(offset, key) for offset, key in enumerate(["GOOD", "BAD"])))

    def api(attempt: Attempt) -> Response:
        return naming(error_of("BAD")) if len(attempt.items) > 1 else accepted(attempt)

    traced.world.api = api
    traced.run()
    (window,) = traced.named(PROCESS)
    shown = attributes(window)
    assert (shown["scm.rows.accepted"], shown["scm.rows.rejected"]) == (1, 1)
    assert window.status.status_code is StatusCode.UNSET, "one bad row is no failed window"


def test_a_commit_is_a_settle_span_that_links_to_the_windows_it_settles(traced: Traced) -> None:
    traced.publish(message(0, "A"))
    traced.run()
    (window,) = traced.named(PROCESS)
    commits = [span for span in traced.named(COMMIT) if span.links]
    (commit,) = commits
    assert commit.kind is SpanKind.CLIENT
    shown = attributes(commit)
    assert shown["messaging.operation.type"] == "settle"
    assert shown["messaging.operation.name"] == "commit"
    assert shown["messaging.kafka.offset"] == 1
    assert shown["scm.commit.offsets"] == ("events[0]@1",)
    assert [link.context.span_id for link in commit.links] == [window.context.span_id]


def test_a_commit_that_failed_says_so_and_the_next_links_to_what_it_had_not_settled(
    traced: Traced,
) -> None:
    traced.publish(message(0, "A"))
    traced.world.source.commit_answers = "broker away"
    traced.run()
    traced.world.source.commit_answers = "at once"
    traced.world.turn_for(2)
    failed = [s for s in traced.named(COMMIT) if s.status.status_code is StatusCode.ERROR]
    assert failed
    assert failed[0].status.description == "broker away"
    good = [s for s in traced.named(COMMIT) if s.status.status_code is StatusCode.UNSET]
    assert any(span.links for span in good)


def test_a_fault_in_making_spans_ends_the_making_of_spans_and_nothing_else(
    traced: Traced, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(traced.tracer, "_window_span", lambda *_: 1 / 0)
    traced.publish(*(message(offset, key) for offset, key in enumerate(keys_of("A", 30))))
    traced.run()
    assert not traced.world.pipeline.unsettled
    assert [r.getMessage() for r in caplog.records if "span" in r.getMessage()] == [
        "no more spans are made, after ZeroDivisionError"
    ]


# -- when ------------------------------------------------------------------------------------------

ON = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}


@pytest.mark.parametrize(
    ("more", "wanted"),
    [
        ({}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, False),
        ({"OTEL_SDK_DISABLED": "True"}, False),
        ({"OTEL_TRACES_EXPORTER": "none"}, False),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, True),
    ],
)
def test_traces_are_made_where_the_sdks_own_variables_ask_for_them(
    more: dict[str, str], wanted: bool
) -> None:
    assert is_wanted(ON | more) is wanted
    assert not is_wanted({})


def test_a_protocol_that_is_not_supported_is_told_and_the_consumer_runs_without_traces(
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert start(ON | {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, TARGET, "1") is None
    assert "only http/protobuf is supported" in caplog.text


WITHOUT = """
import sys, logging
logging.basicConfig()
class Nothing:
    def find_spec(self, name, *_):
        if name.split(".")[0] == "opentelemetry":
            raise ImportError(name)
sys.meta_path.insert(0, Nothing())
import os
from consumer import app
from consumer.adapters.otel.starting import Target, start
print(start(os.environ, Target("g", "http://a", "/", "/"), "1"))
"""


def test_without_the_extra_the_program_runs_and_a_line_says_how_to_get_it() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", WITHOUT],
        env=os.environ | ON,
        capture_output=True,
        text=True,
        check=True,
    )
    assert ran.stdout == "None\n"
    assert "pip install 'scm-consumer[otel]'" in ran.stderr


def test_while_nobody_asks_for_traces_the_sdk_is_not_even_imported() -> None:
    code = (
        "import os, sys; from consumer import app; from consumer.adapters.otel import starting; "
        "starting.start({}, starting.Target('g', 'http://a', '/', '/'), '1'); "
        "print([n for n in sys.modules if n.startswith('opentelemetry')])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "[]\n"


# -- a collector that makes trouble ---------------------------------------------------------------


@pytest.fixture
def begin(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], SpanTracer]:
    def begin(url: str) -> SpanTracer:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
        monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "20")
        monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "10")
        tracer = start(os.environ, TARGET, "1")
        assert tracer is not None
        return tracer

    return begin


def commit(tracer: SpanTracer, count: int = 1) -> None:
    """Make that many spans."""
    for _ in range(count):
        tracer.on_committed([], None, 0.0)


def test_spans_reach_a_collector_over_http(begin: Callable[[str], SpanTracer]) -> None:
    with Collector().serving() as collector:
        tracer = begin(collector.url)
        commit(tracer, 3)
        tracer.close()
        assert len(collector.named("commit")) == 3


@pytest.mark.alone
@pytest.mark.parametrize("trouble", ["away", "hangs", "refuses"])
def test_a_collector_that_makes_trouble_costs_a_line_and_no_time(
    begin: Callable[[str], SpanTracer], trouble: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="consumer.adapters.otel")
    with Collector().serving() as collector:
        if trouble == "hangs":
            collector.hold = threading.Event()
        if trouble == "refuses":
            collector.status = 401
        tracer = begin("http://127.0.0.1:1" if trouble == "away" else collector.url)
        began = time.monotonic()
        commit(tracer, 2000)
        assert time.monotonic() - began < 2, "who makes spans waits for nobody"
        wait_until(lambda: "cannot be exported" in caplog.text, 15)
        began = time.monotonic()
        tracer.close()
        assert time.monotonic() - began < export.CLOSE_SECONDS + 1
    exported = [r for r in caplog.records if "cannot be exported" in r.getMessage()]
    assert len(exported) == 1
    assert "uploading goes on" in exported[0].getMessage()


def test_that_spans_are_exported_again_is_told(
    begin: Callable[[str], SpanTracer], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="consumer.adapters.otel")
    with Collector().serving() as collector:
        collector.status = 400
        tracer = begin(collector.url)
        commit(tracer)
        wait_until(lambda: "cannot be exported" in caplog.text, 15)
        collector.status = 200
        commit(tracer)
        wait_until(lambda: "spans are exported again" in caplog.text, 15)
        tracer.close()


def test_a_key_for_the_collector_is_in_no_line(
    begin: Callable[[str], SpanTracer],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    key = "otlp-key-4711-secret"
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", f"api-key={key},bad header {key}")
    caplog.set_level(logging.DEBUG)
    with Collector().serving() as collector:
        collector.status = 401
        tracer = begin(collector.url)
        commit(tracer)
        wait_until(lambda: "cannot be exported" in caplog.text, 15)
        tracer.close()
    # The SDK's own lines go nowhere but through ours.
    ours = [r.getMessage() for r in caplog.records if r.name.startswith("consumer")]
    assert ours
    assert key not in "".join(ours)
    assert key not in "".join(capfd.readouterr())
