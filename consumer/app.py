"""The composition root: builds the adapters from the settings and hands them to the owner loop."""

from __future__ import annotations

import logging
import math
import os
import queue
import random
import signal
import sys
import time
from collections.abc import Callable
from typing import Literal

from consumer import __version__
from consumer.adapters import dry_run
from consumer.adapters.kafka.dead_letter import DeadLetters
from consumer.adapters.kafka.ends import PATIENCE_SECONDS, Ends
from consumer.adapters.kafka.reader import ReadFrom
from consumer.adapters.kafka.receipts import Receipts
from consumer.adapters.kafka.source import Source
from consumer.adapters.kafka.standalone_reader import StandaloneReader
from consumer.adapters.otel import starting
from consumer.adapters.scantrust.client import ASYNC_PATH, UPLOAD_PATH, Client, Job
from consumer.adapters.scantrust.pool import Pool
from consumer.adapters.scantrust.token import TokenSource
from consumer.config.settings import Settings
from consumer.core.admission.gate import MAX_POLLS
from consumer.core.effects import Attempt
from consumer.core.pipeline import Pipeline
from consumer.core.uploading.tasks import Task
from consumer.decoding import event_decoding
from consumer.errors import UserError
from consumer.loop.intake import Intake
from consumer.loop.ports import Listener, RecordSource, Results, Tracer
from consumer.loop.runner import Runner
from consumer.ops.lag_service import LagService, unwatched
from consumer.ops.paths import server_of
from consumer.ops.server import OpsServer
from consumer.ops.watch import Watch
from consumer.parameters import revoke_seconds, row_maker, rules, session_seconds

log = logging.getLogger(__name__)


class UploadApi:
    """The thread of uploads as the owner loop sees it."""

    def __init__(self, settings: Settings, results: Results) -> None:
        api = settings.api
        self._token = TokenSource(api.token.get_secret_value(), api.token_file)

        def client() -> Client:
            return Client(
                api.base_url,
                self._token,
                connect_timeout=api.connect_timeout_seconds,
                timeout=api.timeout_seconds,
                ca_file=api.ca_file,
                proxy=api.proxy,
                user_agent=f"scm-consumer/{__version__}",
            )

        client().close()  # a setting that no call could be made with is told now
        self._pool = Pool(client, api.concurrency + MAX_POLLS + 1, results)

    def send(self, attempt: Attempt, start_by: Callable[[], float]) -> None:
        """Start an attempt; its response comes through the results."""
        kind: Literal["start", "upload"] = "start" if attempt.by_task else "upload"
        self._pool.submit(Job(kind, start_by, attempt.data_key, attempt.items, subject=attempt))

    def poll_task(self, task: Task) -> None:
        """Ask how a task is."""
        self._pool.submit(Job("task", task_id=task.id, subject=task))

    def check_token(self) -> None:
        """Check the token, read again, by ``GET /me``."""
        self._token.refresh()
        self._pool.submit(Job("me"))

    def close(self) -> None:
        """Let the thread go."""
        self._pool.close(1.0)


def dry_settings(settings: Settings) -> Settings:
    """Return the settings of a dry run.

    Not paced, as it requests nothing; not served, as the real consumer may be.

    Nothing is accepted, so there are no receipts.
    """
    api = settings.api.model_copy(update={"requests_per_second": 0.0})
    ops = settings.ops.model_copy(update={"listen": ""})
    receipts = settings.receipts.model_copy(update={"topic": ""})
    return settings.model_copy(update={"api": api, "ops": ops, "receipts": receipts})


class App:
    """One consumer process; ``run`` is its whole life."""

    def __init__(self, settings: Settings, *, until_end: bool = False, dry: bool = False) -> None:
        """``dry``: join no group, and print what would have been sent, instead of sending it."""
        if dry:
            settings = dry_settings(settings)
        kafka, limits = settings.kafka, settings.limits
        self._results: Results = queue.Queue()
        decode, self._lookup = event_decoding(
            settings,
            self._results.put,
            lambda schema_id: self.runner.on_schema_looked_up(schema_id),
        )
        ask = self._lookup.ask if self._lookup is not None else None
        reading = ReadFrom(
            bootstrap_servers=kafka.bootstrap_servers,
            group_id=kafka.group_id,
            topics=kafka.topics,
            start_from=kafka.start_from,
            on_out_of_range=kafka.on_out_of_range,
            properties=kafka.client,
        )
        self.lines: dry_run.JsonLines | None = None  #: the output of a dry run
        self._api: UploadApi | dry_run.DryApi
        self._dead_letters: DeadLetters | dry_run.DryDeadLetters
        self._receipts: Receipts | None = None
        if dry:
            self.lines = dry_run.JsonLines(sys.stdout.fileno(), self._output_failed)
            self._api = dry_run.DryApi(self.lines, self._results)
            self._dead_letters = dry_run.DryDeadLetters(self.lines, self._results)
        else:
            self._api = UploadApi(settings, self._results)
            self._dead_letters = self._dead_letter_writer(settings)
            if settings.receipts.topic:
                self._receipts = self._receipt_writer(settings)

        self._tracer = None if dry else _tracer(settings)

        def source(listener: Listener) -> RecordSource:
            if dry:
                reached = (lambda: self.runner.stop(0)) if until_end else None
                return StandaloneReader(listener, reading, reached=reached)
            return Source(
                listener,
                reading,
                group_protocol=kafka.group_protocol,
                instance_id=kafka.instance_id,
            )

        letters = f"the dead-letter topic {settings.dead_letter.topic}"
        self.runner = Runner(
            Pipeline(rules(settings), random.random),
            Intake(decode, row_maker(settings), ask),
            self._results,
            time.monotonic,
            source=source,
            api=self._api,
            dead_letters=self._dead_letters,
            receipts=self._receipts,
            commit_interval=kafka.commit_interval_seconds,
            stop_seconds=limits.stop_seconds,
            revoke_seconds=revoke_seconds(settings),
            session_seconds=math.inf if dry else session_seconds(settings),
            until_end=until_end,
            show_keys=settings.log.keys,
            dead_letters_to=f"that would go to {letters}" if dry else f"to {letters}",
            tracer=self._tracer,
        )
        self._lag: LagService | None = None
        if settings.ops.listen:
            self._lag = LagService(settings, reading, self.runner, self._results.put)
        watch = Watch(
            self.runner,
            self.runner.source,
            time.monotonic,
            self._lag.monitor if self._lag is not None else unwatched(settings, self.runner),
            dead_letter_topic=settings.dead_letter.topic,
            receipts_topic=settings.receipts.topic,
            show_keys=settings.log.keys,
        )
        if not dry:
            self.runner.look = watch.look
        self._ops: OpsServer | None = None
        if settings.ops.listen:
            self._ops = server_of(
                settings, self.runner, watch.snapshot, self._results.put, time.monotonic
            )
        self._ends: Ends | None = None
        if until_end and not dry:
            self._ends = Ends(
                reading,
                reached=lambda: self._results.put(lambda: self.runner.stop(0)),
                failed=lambda error: self._results.put(lambda: self.runner.stop(error)),
            )
        how = "reading on from the offsets of" if dry else "joining"
        self._begin = f"{how} the group {kafka.group_id} at {kafka.bootstrap_servers}"
        if until_end:
            self._begin += (
                f"; giving up if Kafka or a topic is not there for {PATIENCE_SECONDS:g} s"
            )

    def run(self) -> int:
        """Run until stopped, or until the end is reached; return the exit code."""
        log.info("%s", self._begin)
        for part in (self._ops, self._lag):
            if part is not None:
                part.start()
        if self._ends is not None:
            self._ends.start()
        try:
            return self.runner.run()
        finally:
            if not self.runner.leaves_at_once:
                self._close()

    def _output_failed(self, error: OSError) -> None:
        if isinstance(error, BrokenPipeError):  # who read the output has enough of it
            self.runner.stop(128 + signal.SIGPIPE)
        else:
            self.runner.stop(UserError(f"the output cannot be written: {error.strerror}"))

    def _dead_letter_writer(self, settings: Settings) -> DeadLetters:
        return DeadLetters(
            self._results.put,
            topic=settings.dead_letter.topic,
            bootstrap_servers=settings.kafka.bootstrap_servers,
            version=__version__,
            properties=settings.kafka.client,
        )

    def _receipt_writer(self, settings: Settings) -> Receipts:
        return Receipts(
            self._results.put,
            clock=time.time,
            topic=settings.receipts.topic,
            bootstrap_servers=settings.kafka.bootstrap_servers,
            properties=settings.kafka.client,
        )

    def _close(self) -> None:
        if self._lookup is not None:
            self._lookup.close()
        for part in (self._lag, self._ops):
            if part is not None:
                part.close()
        if self._ends is not None:
            self._ends.close()
        self._dead_letters.close()
        if self._receipts is not None:
            self._receipts.close()
        self._api.close()
        if self._tracer is not None:
            self._tracer.close()


def _tracer(settings: Settings) -> Tracer | None:
    """Return what makes spans, if the environment asks for traces."""
    target = starting.Target(
        settings.kafka.group_id, settings.api.base_url, UPLOAD_PATH, ASYNC_PATH
    )
    return starting.start(os.environ, target, __version__)
