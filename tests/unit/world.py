"""A small world around the pipeline.

Logs of partitions, an API model, letters, commits, and an oracle.

The oracle keeps its own books of what was read, sent, applied, accepted and dead-lettered, from
what crosses the pipeline's border only, and holds it to the invariants I1 to I9 after every step.
Each row carries a tag in its item: partition, epoch, offset and place in its record; so the API
model sees which row it applies.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import msgspec

from consumer.core.admission.retry import RetryPolicy
from consumer.core.effects import Attempt, DeadLetter
from consumer.core.model import Record, Rejection, Row
from consumer.core.offsets.commits import due_commits
from consumer.core.offsets.partition import Partition
from consumer.core.offsets.settled_map import decode
from consumer.core.pipeline import Pipeline, Rules
from consumer.core.uploading.tasks import Task
from tests.unit.api_model import ApiModel, tag_of
from tests.unit.builders import EPSILON, accepted, row_of

PARTITIONS = 3
UNIT_OF = {
    "extended_id": "case_code",
    "case_code": "pallet_code",
}  #: what a row of a data key may join
MAX_PROCESSING = 3.0
RULES = Rules(
    max_rows=4,
    linger=0.5,
    concurrency=3,
    rate=0.0,
    max_processing=MAX_PROCESSING,
    pause_after_rejections=0,
    max_unsettled_rows=150,
    max_unsettled_bytes=50_000.0,
    task_deadline=8.0,
    retry=RetryPolicy(base=0.1, cap=2.0, max_retry_after=3.0, give_up=20.0, unknown_key_grace=0.0),
)
#: Healthy, everything published so far is settled within this time (I8), seconds.
PROGRESS_BOUND = 400.0

Tag = tuple[int, int, int, int]  #: partition, epoch, offset, place in the record
Key = tuple[str, str]


@dataclass
class Spec:
    """One row of a record in a log; ``kind`` decides what the API says of it."""

    value: str
    #: good, unknown, forbidden (403), huge (413), cursed (500), invalid (by our own rules)
    kind: str = "good"
    key: str = "extended_id"
    market: bool = False  #: a second field, so another field set
    joins: str = ""  #: the unit that it puts its codes into: a case, or of a case its pallet


@dataclass
class Log:
    """One partition as the broker holds it; offsets may have gaps."""

    records: dict[int, list[Spec]] = field(default_factory=dict)
    end: int = 0

    def publish(self, specs: list[Spec], gap: int = 0) -> None:
        self.end += gap
        self.records[self.end] = specs
        self.end += 1


@dataclass
class Epoch:
    """The oracle's books of one assignment of a partition."""

    partition: Partition
    number: int
    rows: dict[Tag, Row] = field(default_factory=dict)
    done: set[Tag] = field(
        default_factory=set
    )  #: accepted (the answer was delivered), or letter acknowledged
    sizes: dict[int, int] = field(default_factory=dict)
    counts: dict[int, int] = field(default_factory=dict)  #: rows of the record at an offset
    settled_before: set[int] = field(
        default_factory=set
    )  #: offsets that were settled at the last commit before it
    rejected: set[int] = field(default_factory=set)  #: offsets of which a letter is acknowledged
    withdrawn: bool = False
    final: dict[str, int] | None = None  #: the ledger when it was revoked


class World:
    """Drives one pipeline through everything that can happen to it in one process."""

    def __init__(self, seed: int, rules: Rules = RULES, *, tasks: bool = False) -> None:
        """``tasks``: updates by unit go asynchronously."""
        self.rules = rules
        self.tasks = tasks
        self.api = ApiModel(random.Random(seed), MAX_PROCESSING)
        self.pipeline = Pipeline(rules, random.Random(seed + 1).random)
        self.now = 100.0
        self.logs = [Log() for _ in range(PARTITIONS)]
        self.committed: list[int | None] = [None] * PARTITIONS
        self.metadata = [""] * PARTITIONS
        self.epochs: list[Epoch] = []
        self.owned: dict[int, Epoch] = {}
        self.open: list[Attempt] = []
        self.held: dict[
            int, list[tuple[Tag, Row]]
        ] = {}  #: the rows of each open attempt, as they were sent
        self.in_tasks: dict[
            int, list[tuple[Tag, Row]]
        ] = {}  #: the rows of each window that is in a task's hands
        self.questions: list[Task] = []
        self.dead_letters: list[DeadLetter] = []
        self.asks_open = 0
        self.buried: dict[tuple[int, int, int], str] = {}
        self.hold: dict[Tag, float] = {}  #: a lost call of this row may take effect until then
        self.left_out: set[Tag] = set()
        self.failed_once: set[Tag] = set()
        self.unknown_since: dict[
            Tag, float
        ] = {}  #: when the API first said that it does not know the key
        self.out_of_grace: set[Tag] = set()
        self.ended: list[Attempt] = []
        self.settled_at: list[set[int]] = [
            set() for _ in range(PARTITIONS)
        ]  #: offsets, as of the last commit
        self.seen = self.api.seen  #: what happened, for the coverage of a run
        for number in range(PARTITIONS):
            self.assign(number)

    # -- inputs ----------------------------------------------------------------------------------

    def assign(self, number: int) -> None:
        """The partition comes: a new epoch from the committed offset."""
        if number in self.owned:
            return
        committed = self.committed[number]
        already_settled = decode(self.metadata[number], number, committed or 0)
        partition = Partition(
            "events", number, committed or 0, committed, already_settled, self.metadata[number]
        )
        epoch = Epoch(partition, len(self.epochs), settled_before=set(self.settled_at[number]))
        self.epochs.append(epoch)
        self.owned[number] = epoch
        self.pipeline.add_partition(partition)
        if any(e.partition.number == number and e is not epoch for e in self.epochs):
            self.seen.add("revoke-and-return")

    def read(self, number: int, count: int) -> None:
        """At most ``count`` records are read, if there is room."""
        epoch = self.owned.get(number)
        if epoch is None or epoch.withdrawn or not self.pipeline.reads():
            return
        log, partition = self.logs[number], epoch.partition
        room = max(1, self.pipeline.flow.room)
        records: list[Record] = []
        rows: list[Row] = []
        position = partition.position
        left = sorted(o for o in log.records if o >= partition.position)
        taken = left[: min(count, room)]
        for offset in taken:
            specs = log.records[offset]
            if offset in partition.already_settled:
                for place, spec in enumerate(specs):
                    self._check_fate((number, offset, place), spec)
                specs = []
                self.seen.add("settled before")
            record = Record(partition, offset, b"raw", 50 * len(specs), open=len(specs))
            records.append(record)
            epoch.sizes[offset] = record.size
            epoch.counts[offset] = len(specs)
            for place, spec in enumerate(specs):
                tag = (number, epoch.number, offset, place)
                more: dict[str, Any] = {"market": "cn"} if spec.market else {}
                unit = UNIT_OF.get(spec.key) if spec.joins else None
                if unit:
                    more[unit] = spec.joins
                row = row_of(
                    record, spec.value, key=spec.key, tag=_text(tag), kind=spec.kind, **more
                )
                if unit and spec.kind != "invalid":
                    row.joins = ((unit, spec.joins),)
                if self.tasks and spec.key != "extended_id":
                    row.by_task = True
                if spec.kind == "invalid":
                    row.rejection = Rejection("key_blank", "blank")
                rows.append(row)
                epoch.rows[tag] = row
            position = offset + 1
        if len(taken) == len(left):
            position = log.end  # the client tells of the end, whatever gap is before it
        if position == partition.position:
            return
        self.pipeline.add_records(partition, records, rows, position, self.now)
        assert self.pipeline.flow.rows <= self.rules.max_unsettled_rows + 3 * count, (
            "I6: rows beyond the bound"
        )

    def tick(self) -> None:
        """The time is now; lost calls whose time has come take effect first."""
        self.api.take_effect(self.now)
        effects = self.pipeline.tick(self.now)
        for attempt in effects.send:
            self._check_sent(attempt)
        self.questions += effects.polls
        self.dead_letters += effects.dead_letters
        for letter in effects.dead_letters:
            self._check_letter(letter)
        self.asks_open += effects.token_check
        assert self.asks_open <= 1, "GET /me is asked while it is being asked"

    def pass_time(self, seconds: float) -> None:
        """Time passes; the pipeline is woken whenever it wants to be."""
        end = self.now + seconds
        for _ in range(10_000):
            self.tick()
            times = [self.pipeline.wakes_at(self.now), self.api.next_effect()]
            at = min((t for t in times if t is not None), default=end + 1)
            if at > end:
                break
            self.now = max(at, self.now + EPSILON)
        else:
            raise AssertionError("the pipeline wakes without end and does nothing")
        self.now = max(self.now, end)
        self.tick()

    def answer(self, attempt: Attempt, kind: str) -> None:
        """An attempt ends; ``kind``.

        By the content of the window and the API's mode, or a trouble on the way.
        """
        self.open.remove(attempt)
        self.ended.append(attempt)
        rows = self.held.pop(id(attempt))
        response = self.api.response(attempt, [row for _, row in rows], kind, self.now)
        if response.status is None and response.sent:
            for tag, _ in rows:
                self.hold[tag] = max(
                    self.hold.get(tag, 0.0), attempt.window.sent_at + MAX_PROCESSING
                )
        odd = response.status == 200 and response.document is None
        if (
            odd
            or response.status is None
            or response.status in (403, 408)
            or response.status >= 500
        ):
            self.failed_once |= {tag for tag, _ in rows}
        if response.status == 400 and isinstance(response.document, dict):
            for error in response.document["errors"]:
                self._named(error, rows)
        if (
            response.status == 200
            and response.document is not None
            and "task_id" in response.document
        ):
            self.in_tasks[id(attempt.window)] = rows
        elif response.status == 200 and response.document is not None:
            items = response.document["items"]
            for tag, row in rows:
                epoch = self.epochs[tag[1]]
                if epoch.final is None:
                    if row.value not in items and tag not in self.left_out:
                        self.left_out.add(tag)  # it may be repeated once
                    else:
                        epoch.done.add(tag)
        response = msgspec.structs.replace(response, seconds=self.now - attempt.window.sent_at)
        self.pipeline.on_response(attempt, response, self.now)

    def answer_question(self, task: Task, kind: str) -> None:
        """A question about a task is answered, by what has become of it, or by a trouble on the
        way.
        """
        self.questions.remove(task)
        rows = self.in_tasks[id(task.window)]
        response = self.api.tell(task.id, kind, self.now)
        ended = response.document.get("state") if response.document is not None else None
        if ended == "complete":
            for tag, _ in rows:
                if self.epochs[tag[1]].final is None:
                    self.epochs[tag[1]].done.add(tag)
        self.pipeline.on_task_response(task, response, self.now)
        if task not in self.pipeline.uploads.tasks:
            del self.in_tasks[id(task.window)]
            if ended == "failed":
                self.failed_once |= {tag for tag, _ in rows}
            elif ended != "complete":
                self.seen.add("lost task")
                for tag, _ in rows:
                    self.hold[tag] = self.now + MAX_PROCESSING
                    self.failed_once.add(tag)

    def _named(self, error: dict[str, Any], rows: list[tuple[Tag, Row]]) -> None:
        """A 400 names a row; by its key value as an unknown key."""
        grace = self.rules.retry.unknown_key_grace
        for tag, row in rows:
            if (
                row.value == error.get("key_value")
                and grace
                and not self.rules.pause_after_rejections
            ):
                since = self.unknown_since.setdefault(tag, self.now)
                if self.now >= since + grace and self.epochs[tag[1]].final is None:
                    self.out_of_grace.add(tag)

    def answer_again(self, index: int) -> None:
        """An attempt that has ended is answered once more, as accepted.

        That must change nothing.
        """
        if not self.ended:
            return
        attempt = self.ended[index % len(self.ended)]
        before = self._books()
        try:
            self.pipeline.on_response(attempt, accepted(attempt), self.now)
        except Exception as error:
            raise AssertionError(
                f"I5: a second answer to an attempt is taken in: {error!r}"
            ) from None
        assert self._books() == before, "I5: a second answer to an attempt changes something"
        self.seen.add("second answer")

    def _books(self) -> tuple[Any, ...]:
        flow, pipeline = self.pipeline.flow, self.pipeline
        ledgers = [epoch.partition.ledger.as_dict() for epoch in self.epochs]
        return (
            ledgers,
            flow.rows,
            flow.size,
            len(pipeline.claims),
            pipeline.gate.in_flight,
            len(pipeline.windows.live),
        )

    def answer_me(self) -> None:
        """``GET /me`` is answered as the mode says."""
        if self.asks_open:
            self.asks_open -= 1
            self.pipeline.on_token_check(self.api.me(), self.now)

    def acknowledge(self, count: int = 1_000) -> None:
        """The dead-letter topic has the oldest ``count`` letters."""
        done, self.dead_letters = self.dead_letters[:count], self.dead_letters[count:]
        for letter in done:
            tag = _tag(letter.row)
            epoch = self.epochs[tag[1]]
            self.buried[_place(tag)] = letter.rejection.reason
            if epoch.final is None:
                epoch.done.add(tag)
                epoch.rejected.add(tag[2])
        self.pipeline.on_acknowledged([letter.row for letter in done], self.now)

    def become(self, mode: str) -> None:
        """The API's mode changes.

        A run has one loss of permission, which may never be taken for a row's fault.
        """
        if mode != "forbidden" or "forbidden" not in self.seen:
            self.api.mode = mode
            self.seen.add(mode)

    def commit(self) -> None:
        """A commit is built from what is owned now, and acknowledged."""
        for epoch in self.owned.values():
            undone = {tag[2] for tag in epoch.rows if tag not in epoch.done}
            self.settled_at[epoch.partition.number] |= epoch.counts.keys() - undone
        for commit in due_commits(self.pipeline.partitions):
            partition = commit.partition
            self.committed[partition.number] = commit.offset
            self.metadata[partition.number] = commit.metadata
            partition.committed, partition.metadata = commit.offset, commit.metadata

    def revoke(self, number: int, *, lost_already: bool) -> None:
        """Revoke a partition; unless it is lost already, commit first what ended meanwhile."""
        epoch = self.owned.get(number)
        if epoch is None:
            return
        if lost_already and len(self.open) > 1:
            self.answer(
                self.open[0], "normal"
            )  # an answer that came in the same turn: nothing was done for it yet
        epoch.withdrawn = True
        self.pipeline.withdraw([epoch.partition], self.now)
        at_rest = chain(
            self.pipeline.lanes.rows(),
            self.pipeline.windows.waiting_rows(),
            self.pipeline.claims.waiting(),
        )
        left = [_tag(row) for row in at_rest if row.record.partition is epoch.partition]
        assert not left, f"fencing: rows of a withdrawn partition can still be sent: {left}"
        self.check()
        if not lost_already:
            for _ in range(8):
                if not self.pipeline.busy([epoch.partition]):
                    break
                if self.open:
                    self.answer(self.open[0], "normal")
                if self.questions:
                    self.answer_question(self.questions[0], "normal")
                self.acknowledge()
                self.pipeline.withdraw([epoch.partition], self.now)
                self.tick()
            self.commit()
        if self.pipeline.busy([epoch.partition]):
            self.seen.add("late result")
        self.pipeline.remove_partitions([epoch.partition], self.now)
        epoch.final = epoch.partition.ledger.as_dict()
        del self.owned[number]

    # -- the oracle ------------------------------------------------------------------------------

    def _check_sent(self, attempt: Attempt) -> None:
        rows = [(_tag(row), row) for row in attempt.window.rows]
        assert [row.item for _, row in rows] == attempt.items
        keys = [_key(row) for _, row in rows]
        away = chain(self.held.values(), self.in_tasks.values())
        busy = {_key(row) for _, row in chain.from_iterable(away)}
        assert len(set(keys)) == len(keys), "I4: two rows of one key in one window"
        assert not busy & set(keys), "I4: a key is in flight twice"
        assert len({key for key, _ in keys}) == 1, "a window holds one data key"
        assert len({tuple(sorted(row.item)) for _, row in rows}) == 1, (
            "a window holds one set of fields"
        )
        assert 0 < len(rows) <= self.rules.max_rows, "a window holds 1 to max_rows rows"
        for tag, row in rows:
            epoch = self.epochs[tag[1]]
            assert not epoch.withdrawn, f"fencing: a row of a withdrawn partition is sent: {tag}"
            assert tag not in self.out_of_grace, (
                f"I8: {tag} waits for its unknown key beyond the grace"
            )
            assert tag not in epoch.done, f"I7: a settled row is sent again: {tag}"
            assert tag[2] >= (epoch.partition.started_at), (
                f"I7: {tag} is before the committed offset"
            )
            assert tag[2] not in epoch.settled_before, (
                f"I7: {tag} was settled at the last commit, and is sent again"
            )
            assert row.item["kind"] != "invalid", "a row that fails validation is sent"
            # A row that was left out of an answer is settled by it when it is not repeated.
            undone = {
                other
                for other in epoch.rows
                if other not in epoch.done and other not in self.left_out
            }
            half_settled = {other[2] for other in undone if other[2] < tag[2]}
            for earlier, other in epoch.rows.items():
                if earlier < tag and _in_order(other, row):
                    assert earlier not in undone, (
                        f"I2: {tag} is sent before {earlier} of its key is settled"
                    )
                    assert earlier[2] not in half_settled, (
                        f"I2: {tag} is sent before the record of {earlier}, of its key, is settled"
                    )
            for earlier, until in self.hold.items():
                other = self.epochs[earlier[1]].rows[earlier]
                if earlier != tag and until > self.now and _in_order(other, row):
                    raise AssertionError(
                        f"I2: {tag} is sent while a lost call of {earlier} may still take effect"
                    )
        self.open.append(attempt)
        self.held[id(attempt)] = rows
        assert len(self.open) <= self.rules.concurrency, (
            "I6: more requests in flight than the concurrency"
        )

    def _check_letter(self, letter: DeadLetter) -> None:
        tag, kind, reason = _tag(letter.row), letter.row.item["kind"], letter.rejection.reason
        assert not self.epochs[tag[1]].final, "fencing: a letter of a revoked partition is written"
        fine = {
            "unknown_key": ("unknown",),
            "rejected_by_api": ("unknown", "forbidden", "huge"),
            "key_blank": ("invalid",),
        }
        if reason == "api_error":
            assert tag in self.failed_once, "given up without a failure"
            self.seen.add("given up")
        else:
            assert kind in fine[reason], f"I1: a {kind} row is dead-lettered as {reason}"

    def check(self) -> None:
        """The invariants that hold after every step."""
        unsettled = size = 0
        for epoch in self.epochs:
            ledger = epoch.partition.ledger
            assert ledger.balanced, (
                f"I5: the ledger of {epoch.partition} does not balance: {ledger.as_dict()}"
            )
            assert ledger.consumed == len(epoch.counts), "I5: consumed is not what was read"
            if epoch.final is not None:
                assert ledger.as_dict() == epoch.final, (
                    "I5: a late result changed the ledger of a revoked partition"
                )
                continue
            open_offsets = {tag[2] for tag in epoch.rows if tag not in epoch.done}
            assert ledger.unsettled >= len(open_offsets - self._maybe_settled(epoch)), (
                "I1: settled without an outcome"
            )
            self._check_counts(epoch)
            if not epoch.withdrawn:
                unsettled += len(
                    [
                        tag
                        for tag in epoch.rows
                        if tag not in epoch.done and tag not in self.left_out
                    ]
                )
            size += sum(epoch.sizes[o] for o in open_offsets - self._maybe_settled(epoch))
        for commit in due_commits(self.pipeline.partitions):
            partition, offset = commit.partition, commit.offset
            epoch = next(e for e in self.epochs if e.partition is partition)
            for tag in epoch.rows:
                if tag not in epoch.done and tag not in self.left_out:
                    assert offset <= tag[2], f"I3: a commit of {offset} passes the unsettled {tag}"
            end = max(self.logs[partition.number].end, partition.position)
            assert offset <= end, "I3: a commit beyond the end"
        flow = self.pipeline.flow
        assert flow.rows >= unsettled, "I6: unsettled rows are not counted"
        assert flow.size >= size, "I6: unsettled bytes are not counted"
        assert flow.rows >= 0 <= flow.size, "I6: more was given back than taken"

    def _check_counts(self, epoch: Epoch) -> None:
        """Each record is counted by what became of it (I5)."""
        ledger = epoch.partition.ledger
        skipped = sum(not count for count in epoch.counts.values())
        assert ledger.skipped == skipped, f"I5: {ledger.skipped} skipped, not {skipped}"
        ended = epoch.counts.keys() - {tag[2] for tag in epoch.rows if tag not in epoch.done}
        least = len(epoch.rejected & ended)
        most = len(epoch.rejected & (ended | self._maybe_settled(epoch)))
        assert least <= ledger.rejected <= most, f"I5: {ledger.rejected} rejected, not {least}"

    def _maybe_settled(self, epoch: Epoch) -> set[int]:
        """Offsets with a row that was left out of an answer: accepted if it is not repeated."""
        return {tag[2] for tag in epoch.rows if tag in self.left_out}

    # -- the end ---------------------------------------------------------------------------------

    def finish(self) -> None:
        """From now on all is well.

        Everything is settled in bounded time (I8), nothing is lost (I1), in order (I9).
        """
        self.api.mode = "healthy"
        for number in range(PARTITIONS):
            self.assign(number)
        began, beats = self.now, 0
        # A row whose task fails, with no other tasks to compare, is rejected after a minute, one
        # after the other.
        bound = PROGRESS_BOUND + (1500.0 if self.tasks else 0.0)
        wanted = [dict(log.records) for log in self.logs]
        while not self._all_done(wanted):
            assert self.now - began < bound, (
                f"I8: not settled after {bound:g} s: {self._undone(wanted)}"
            )
            beats += 1  # other rows come: only then can a row's own fault be told from ours
            self.logs[beats % PARTITIONS].publish([Spec(f"beat{beats}")])
            self._turn(0.25)
        for _ in range(200):
            self._turn(0.25)
            if not self.pipeline.unsettled and not len(self.pipeline.claims):
                break
        for number, log in enumerate(self.logs):
            log.end += 2  # a gap at the end: control records of a transaction
            self.read(number, 5)
        pipeline = self.pipeline
        assert (pipeline.flow.rows, pipeline.flow.size) == (0, 0), (
            "I6: something settled is counted still"
        )
        left = len(pipeline.claims), len(pipeline.lanes), len(pipeline.windows.live)
        assert left == (0, 0, 0), f"I6: claims, ready rows or windows are left: {left}"
        self.commit()
        for number, log in enumerate(self.logs):
            assert self.committed[number] == log.end, "I8: committed to the end"
            for offset, specs in log.records.items():
                for place, spec in enumerate(specs):
                    self._check_fate((number, offset, place), spec)

    def _check_fate(self, place: tuple[int, int, int], spec: Spec) -> None:
        if spec.kind in ("good", "cursed"):
            assert place in self.api.applied or self.buried.get(place) == "api_error", (
                f"I1: {place} is lost"
            )
        else:
            assert place in self.buried, (
                f"I1: {place} ({spec.kind}) is neither accepted nor dead-lettered"
            )

    def _turn(self, seconds: float) -> None:
        self.pass_time(seconds)
        for _ in range(200):
            if (
                not self.open
                and not self.asks_open
                and not self.dead_letters
                and not self.questions
            ):
                break
            for task in list(self.questions):
                self.answer_question(task, "normal")
            for attempt in list(self.open):
                self.answer(attempt, "normal")
            self.answer_me()
            self.acknowledge()
            self.tick()
            self.check()
        for number in range(PARTITIONS):
            self.read(number, 5)
        self.tick()
        self.check()
        self.commit()

    def _undone(self, wanted: list[dict[int, list[Spec]]]) -> list[tuple[int, int]]:
        return [
            (number, offset)
            for number, records in enumerate(wanted)
            for offset in records
            if offset >= (self.committed[number] or 0)
        ]

    def _all_done(self, wanted: list[dict[int, list[Spec]]]) -> bool:
        return not self._undone(wanted)


def _text(tag: Tag) -> str:
    return ".".join(map(str, tag))


def _tag(row: Row) -> Tag:
    return tag_of(row.item)


def _place(tag: Tag) -> tuple[int, int, int]:
    return tag[0], tag[2], tag[3]


def _in_order(one: Row, other: Row) -> bool:
    """Return whether two rows have an order.

    One key, or the one is put into the unit that the other updates.
    """
    return _key(one) == _key(other) or _key(one) in other.joins or _key(other) in one.joins


def _key(row: Row) -> Key:
    assert row.data_key is not None
    assert row.value is not None
    return row.data_key, row.value
