"""What the owner loop asks of its adapters, and what comes back from them."""

from __future__ import annotations

import queue
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Protocol

from consumer.core.effects import Attempt, DeadLetter, Receipt
from consumer.core.model import Row
from consumer.core.offsets.commits import Commit
from consumer.core.offsets.partition import Partition
from consumer.core.uploading.response import Response
from consumer.core.uploading.tasks import Task


class RecordSource(Protocol):
    """Read and commit: ``adapters.kafka.source``, and ``standalone_reader``, which commits nothing."""

    paused: bool
    stopped: dict[Partition, str]

    @property
    def awaiting(self) -> Mapping[tuple[str, int], float]: ...
    @property
    def unknown(self) -> Collection[tuple[str, int]]: ...
    @property
    def lasting(self) -> Sequence[tuple[float, str]]: ...

    def subscribe(self) -> None: ...
    def poll(self, count: int) -> list[tuple[Partition, list[Any]]]: ...
    def pause(self) -> None: ...
    def hold(self, partition: Partition, *, held: bool) -> None: ...
    def resume(self) -> None: ...
    @property
    def committing(self) -> bool: ...
    def commit(self, commits: list[Commit]) -> None: ...
    def commit_and_wait(self, commits: list[Commit]) -> bool: ...
    def end(self, partition: Partition) -> int | None: ...
    def close(self, timeout: float) -> bool: ...


class ScmApi(Protocol):
    """Sending attempts, asking about tasks and who we are.

    Answers come through the queue of results.

    ``start_by``: asked right before the attempt is sent, it tells until when that may be (see
    ``membership``).
    """

    def send(self, attempt: Attempt, start_by: Callable[[], float]) -> None: ...
    def question(self, task: Task) -> None: ...
    def ask(self) -> None: ...


class DeadLetterWriter(Protocol):
    """Writing dead letters; acknowledgements come through the queue of results."""

    def send(self, letter: DeadLetter) -> None: ...


class ReceiptWriter(Protocol):
    """Writing receipts; acknowledgements come through the queue of results."""

    def send(self, receipt: Receipt) -> None: ...


class Call(Protocol):
    """A call that was made for an attempt, or a question about a task.

    For None, it was ``GET /me``.
    """

    @property
    def subject(self) -> Attempt | Task | None: ...


#: What comes back: a call with its answer, rows whose letters or receipts are safe, or something to
#: do on the owner's thread.
Result = tuple[Call, Response] | list[Row] | Callable[[], None]
#: No SimpleQueue: until Python 3.13 its ``get`` waits for ever, whatever its time-out, when a
#: signal interrupts it and the time is over once the handler is through; and signals come to the
#: owner's thread.
Results = queue.Queue[Result]
