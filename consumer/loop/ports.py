"""The ports of the owner loop: what it asks of its adapters, and what they tell it."""

from __future__ import annotations

import queue
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Protocol

import msgspec

from consumer.core.batching.window import Place, Window
from consumer.core.effects import Attempt, DeadLetter, Receipt
from consumer.core.model import Row
from consumer.core.offsets.commits import Commit
from consumer.core.offsets.partition import Partition
from consumer.core.uploading.response import Response
from consumer.core.uploading.tasks import Task


class Listener(Protocol):
    """Who is told what happens to the assignment; called inside ``poll`` and ``close``."""

    def on_joined(self) -> None:
        """The group has answered; what it assigns, if anything, comes with ``on_assigned``."""

    def on_assigned(self, partitions: list[Partition]) -> None:
        """The group gave this member these partitions, each a new epoch."""

    def on_begun(self, partitions: list[Partition]) -> None:
        """These, which the group gave before, begin now, each a new epoch.

        It is no sign of the group.
        """

    def on_counted(self, counts: Mapping[str, int]) -> None:
        """The group reads these topics, each with so many partitions, whoever owns them.

        Empty: they cannot be counted.
        """

    def on_revoked(self, partitions: list[Partition], *, lost: bool) -> None:
        """These partitions go when this returns; ``lost``: another member may own them already."""

    def on_committed(
        self, commits: list[Commit], error: str | None, *, too_large: bool = False
    ) -> None:
        """A commit ended for these partitions.

        ``too_large``: the broker does not take so much metadata.
        """

    def on_waiting(self) -> None:
        """The owner's thread waits for Kafka inside a callback, and lives."""

    @property
    def stopping(self) -> bool:
        """Return whether the process is to end: nothing new is begun."""

    @property
    def leaves_at_once(self) -> bool:
        """Return whether the process is to end without waiting for anything."""


class RecordSource(Protocol):
    """Read and commit: ``adapters.kafka.source``, or ``standalone_reader``, which commits nothing.

    A partition is read unless it is paused: all are by ``pause``, each by ``set_paused``. Only the
    owner's thread calls it. Callbacks to the ``Listener`` run inside ``poll``, and may take long: a
    revocation waits for requests in flight, an assignment for the brokers.
    """

    @property
    def paused(self) -> bool:
        """Return whether all partitions are paused."""

    @property
    def stopped(self) -> Mapping[Partition, str]:
        """Return the partitions that only a person can have read on, and why."""

    @property
    def awaiting(self) -> Mapping[tuple[str, int], float]:
        """Return the partitions of which it is not known yet where they begin, and since when."""

    @property
    def unknown(self) -> Collection[tuple[str, int]]:
        """Return the partitions of which it is not known how far behind they are."""

    @property
    def away(self) -> tuple[float, str] | None:
        """Return since when no broker answers, and how the client says so; None: one does.

        It is over as soon as a broker gives something; where there is nothing to be given, within a
        minute.
        """

    @property
    def lasting(self) -> Sequence[tuple[float, str]]:
        """Return what keeps this process from reading: since when, and in words."""

    def subscribe(self) -> None:
        """Begin, once; never wait. Raise UserError for topics that cannot be subscribed to."""

    def poll(self, count: int) -> list[tuple[Partition, list[Any]]]:
        """Return what has arrived, at most ``count`` messages, by partition and in order.

        Never wait for messages; serve the callbacks. Now and then topics are looked at, which takes
        some seconds where no broker answers. Raise UserError, once, when the source cannot go on.
        """

    def pause(self) -> None:
        """Read nothing until ``resume``; never wait."""

    def resume(self) -> None:
        """Read on, except what is paused or stopped for itself; never wait."""

    def set_paused(self, partition: Partition, *, paused: bool) -> None:
        """Read nothing of a partition, or read on; never wait. One that is gone does no harm."""

    @property
    def committing(self) -> bool:
        """Return whether a commit is in flight."""

    def commit(self, commits: list[Commit]) -> None:
        """Send a commit; never wait, raise nothing: ``on_committed`` tells how it ended."""

    def commit_and_wait(self, commits: list[Commit]) -> bool:
        """Commit, wait for some seconds at most, and return whether the group has it.

        Raise nothing for what Kafka does.
        """

    def end(self, partition: Partition) -> int | None:
        """Return where the partition ended at its last fetch; None: not known. Never wait."""

    def close(self, timeout: float) -> bool:
        """Leave the group, once; return whether that was done within ``timeout`` seconds.

        A second signal ends the wait.
        """


class ScmApi(Protocol):
    """Send attempts, poll tasks and check the token; responses come through the results.

    Only the owner's thread calls it. Workers make the calls, so no method waits for the network,
    and none raises for what the network or the API does: each call ends with one response. (A dry
    run prints instead, and may wait for who reads that.)
    """

    def send(self, attempt: Attempt, start_by: Callable[[], float]) -> None:
        """Start an attempt.

        ``start_by``: called right before it is sent, it returns the latest time for that (see
        ``session_lease``).
        """

    def poll_task(self, task: Task) -> None:
        """Start a poll of a task."""

    def check_token(self) -> None:
        """Start a check of the token, after the token file was read again."""


class DeadLetterWriter(Protocol):
    """Write dead letters; acknowledgements come through the results."""

    @property
    def trouble(self) -> tuple[str, str] | None:
        """Return why what failed first cannot be written, and what to do; None: none failed."""

    def send(self, letter: DeadLetter) -> None:
        """Hand a dead letter in, on the owner's thread; never wait for Kafka, nor raise for it."""


class ReceiptWriter(Protocol):
    """Write receipts; acknowledgements come through the results."""

    @property
    def trouble(self) -> tuple[str, str] | None:
        """Return why what failed first cannot be written, and what to do; None: none failed."""

    def send(self, receipt: Receipt) -> None:
        """Hand a receipt in, on the owner's thread; never wait for Kafka, nor raise for it."""


class Fates(msgspec.Struct, frozen=True):
    """Counts of a window's rows by what a response did to them."""

    place: Place  #: of the window; gone: its way ends here
    accepted: int
    rejected: int
    released: int  #: their partition went meanwhile
    unsettled: int  #: sent again, or a task works on them


class Tracer(Protocol):
    """Make spans of what the loop does; only the owner's thread calls it.

    It never waits and raises nothing: what goes wrong with it, it logs.
    """

    def on_response(self, attempt: Attempt, response: Response, now: float) -> str:
        """Take in how an attempt ended, before the core does.

        Return the id of its trace; empty: it is not recorded.
        """

    def on_outcome(self, window: Window, fates: Fates) -> None:
        """Take in what the core made of the latest response about a window."""

    def on_committed(self, commits: list[Commit], error: str | None, now: float) -> None:
        """Take in how a commit ended."""

    def close(self) -> None:
        """End all spans and export what there is, within a bound."""


class EndedCall(Protocol):
    """A call that was made for an attempt, or to poll a task; for None, to check the token."""

    @property
    def subject(self) -> Attempt | Task | None: ...


#: What comes back: a call with its response, rows whose dead letters or receipts are safe, or
#: something to do on the owner's thread.
Result = tuple[EndedCall, Response] | list[Row] | Callable[[], None]
#: No SimpleQueue: until Python 3.13 its ``get`` waits for ever, whatever its time-out, when a
#: signal interrupts it and the time is over once the handler is through; and signals come to the
#: owner's thread.
Results = queue.Queue[Result]

#: The owner's longest wait on the results while something is unsettled, and while nothing is.
WAIT_BUSY_SECONDS = 0.005
WAIT_IDLE_SECONDS = 0.1
