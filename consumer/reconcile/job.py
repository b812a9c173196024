"""One run of ``reconcile``: order the document, read the topics, judge each code."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import msgspec

from consumer.adapters.kafka.scan import Scan
from consumer.config.settings import Settings
from consumer.errors import UserError
from consumer.reconcile.changes import Changes
from consumer.reconcile.collect import Collector, PartitionId, Window
from consumer.reconcile.download import CodesDownload, Fetched
from consumer.reconcile.findings import Findings
from consumer.reconcile.judging import Judge


class Question(msgspec.Struct, frozen=True):
    """The question that a run answers; times in Unix seconds."""

    since: float | None = None
    until: float | None = None
    campaigns: tuple[str, ...] = ()
    document: Path | None = None  #: downloaded already; None: from the API
    rate: float = 1.0  #: calls to the API a second


class Outcome(msgspec.Struct, frozen=True):
    """The findings of a run."""

    findings: Findings
    partitions: list[PartitionId]
    records: int
    not_compared: dict[str, str]  #: fields and data keys, and why
    gone: list[str]  #: partitions whose first events are gone
    temporary_bytes: int


class Reconcile:
    """One run. ``progress``: called with what is done, and how far it is."""

    def __init__(
        self, settings: Settings, question: Question, progress: Callable[[str, int], None]
    ) -> None:
        self._settings = settings
        self._question = question
        self._progress = progress
        self._stack = ExitStack()
        self._changes = Changes()
        self._stack.callback(self._changes.close)
        self._download: CodesDownload | None = None
        if question.document is None:
            self._download = CodesDownload(settings.api, question.rate)
            self._stack.callback(self._download.close)

    def close(self) -> None:
        """Let go of connections and temporary files."""
        self._stack.close()

    def run(self) -> Outcome:
        """Return what was found; raise UserError where the API or a topic cannot be read."""
        kafka = self._settings.kafka
        scan = Scan(kafka.bootstrap_servers, kafka.group_id, kafka.client)
        self._stack.callback(scan.close)
        keys = scan.partitions(kafka.topics)
        # In this order: what the group has settled now is in a document that is ordered after it,
        # and all that may be in the document is in the topics when they are read after it.
        settled = scan.settled(keys)
        asked_at, documents = self._documents()
        window = Window(self._question.since, min(asked_at, self._question.until or asked_at))
        collector = Collector(
            self._settings, scan, self._changes, window, lambda n: self._progress("records", n)
        )
        collected = collector.collect(settled)
        findings = Findings()
        self._stack.callback(findings.close)
        judge = Judge(
            self._changes,
            findings,
            self._settings.reconcile.columns,
            self._download,
            lambda count: self._progress("codes", count),
        )
        judge.judge(documents, all_codes=not self._question.campaigns)
        partitions = collected.partitions
        return Outcome(
            findings,
            partitions,
            collected.records,
            judge.not_compared,
            ["{}[{}]".format(*partitions[number]) for number in sorted(self._changes.blind_until)],
            self._changes.file_bytes,
        )

    def _documents(self) -> tuple[float, list[Fetched]]:
        """Return when the API was asked, and the documents."""
        given = self._question.document
        if given is not None:
            try:
                return given.stat().st_mtime, [Fetched(given, None)]
            except OSError as error:
                raise UserError(f"{given}: {error.strerror}") from None
        assert self._download is not None, "there is a download unless a document is given"
        folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory()))
        asked_at = time.time()
        found: list[Fetched] = []
        for number, campaign in enumerate(self._question.campaigns or ("",)):
            filters = {"campaign": campaign} if campaign else {}
            found.append(self._download.fetch(filters, folder / f"codes-{number}.csv"))
        return asked_at, found
