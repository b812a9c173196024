"""The witness: it is told everything that crosses the border of a process."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from tests.simulation.process import Process

#: A row in its record: partition, offset, place in the record.
Tag = tuple[int, int, int]


class Call:
    """An upload as the API sees it: sent by a process at a time; ``items`` as they are in the body.

    ``epochs``: for each row the assignment that it was read in, as the object that stands for it.
    ``tags``: the rows'. ``by_task``: it starts a task. ``heard``: its answer has come to its
    process.
    """

    __slots__ = (
        "by_task",
        "data_key",
        "epochs",
        "heard",
        "items",
        "number",
        "process",
        "sent_at",
        "tags",
    )

    def __init__(
        self,
        number: int,
        process: Process,
        data_key: str,
        items: list[dict[str, str]],
        epochs: list[object],
        sent_at: float,
        tags: list[Tag],
        *,
        by_task: bool,
    ) -> None:
        self.number = number
        self.process = process
        self.data_key = data_key
        self.items = items
        self.epochs = epochs
        self.sent_at = sent_at
        self.tags = tags
        self.by_task = by_task
        self.heard = False


def tag_of(item: Mapping[str, str]) -> Tag:
    """Return the tag that the rows of the simulation carry, as ``PARTITION.OFFSET.PLACE``.

    PLACE is the event's in its document: rows of one event share it, and whoever knows the record
    tells them apart. Units in tasks carry none.
    """
    number, offset, place = item["tag"].split(".")
    return int(number), int(offset), int(place)


class Witness:
    """A witness that does nothing with what it is told."""

    def tag(
        self,
        number: int,
        offset: int,
        data_key: str | None,
        item: Mapping[str, str],
        message: str = "",
    ) -> Tag:
        """Return the tag of a row by its content, or by the record that it is said to come from.

        ``message``: why it was rejected, which tells the event of a document that could not become
        rows.
        """
        return tag_of(item) if data_key is not None and "tag" in item else (number, offset, 0)

    def began(self, process: Process, ledger: Callable[[], dict[str, int]]) -> None:
        """A process begins; ``ledger`` tells its own counts."""

    def assigned(
        self,
        process: Process,
        epoch: object,
        number: int,
        start: int,
        committed: tuple[int, str] | None,
    ) -> None:
        """A process is about to be given a partition: where it begins, by which commit."""

    def leaving(self, process: Process, epochs: Sequence[object], *, lost: bool) -> None:
        """Partitions are about to be taken from a process: its callback begins."""

    def gone(self, process: Process, epochs: Sequence[object]) -> None:
        """Partitions were taken from a process: its callback has returned."""

    def read(self, process: Process, epoch: object, offsets: Sequence[int]) -> None:
        """A process is about to be given records."""

    def reached(self, process: Process, epoch: object, position: int) -> None:
        """A process is told where a partition ends."""

    def held(self, process: Process, *, held: bool) -> None:
        """A process does not read a partition on, or does again."""

    def polled(self, process: Process) -> None:
        """A process is about to poll: a turn has ended."""

    def handed(self, process: Process, epochs: Sequence[object]) -> None:
        """The owner of a process hands in an upload, with each row's assignment."""

    def sent(self, call: Call) -> None:
        """An upload leaves a process."""

    def applied(self, call: Call, rows: Sequence[int]) -> None:
        """The API applies rows of a call, by their places in it."""

    def answered(self, call: Call, status: int | None, document: object) -> None:
        """The answer to a call is taken in by the owner of its process; None: it was lost."""

    def told_of_task(
        self, process: Process, task_id: str, status: int | None, document: object
    ) -> None:
        """The response about a task is taken in by the owner of a process; None: it was lost."""

    def receipted(self, process: Process, epoch: object, tag: Tag) -> None:
        """A receipt is in the topic of receipts."""

    def asked_to_stop(self, process: Process) -> None:
        """A process gets a signal to stop."""

    def stopping(self, process: Process) -> None:
        """A process begins to stop, or is told so once more: by a signal, or by itself."""

    def blameless(self, call: Call) -> None:
        """The API fails for a call in a way that is not its rows' fault, whatever it says."""

    def dead_lettered(self, process: Process, tag: Tag, reason: str) -> None:
        """A dead letter is in the dead-letter topic."""

    def acknowledged(self, process: Process, letters: Sequence[tuple[Tag, object]]) -> None:
        """The acknowledgement of dead letters is taken in by the owner: tags and epochs."""

    def committing(self, process: Process, commits: Sequence[tuple[object, int, str]]) -> None:
        """A process sends a commit: epoch, offset, metadata."""

    def committed(
        self,
        process: Process,
        epoch: object,
        offset: int,
        metadata: str,
        refused: str | None,
        told: str | None,
    ) -> None:
        """A commit has arrived at the broker, and is taken or refused.

        ``told``: how it ends for the client.
        """
