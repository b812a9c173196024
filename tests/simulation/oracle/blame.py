"""I1: a row is dead-lettered only for a reason that the API or its own content gave."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from tests.simulation.oracle.books import Books, Violation
from tests.simulation.process import Process
from tests.simulation.witness import Call, Tag

#: Failures that tell nothing after which a row alone may go by a task.
BY_TASK_AFTER = 3


class Blame:
    """Keeps what speaks against each row, and what that is worth."""

    def __init__(self, books: Books, kinds: Mapping[Tag, str], first_line: int) -> None:
        self._books = books
        self._kinds = kinds
        #: The number that the API gives a request's first row.
        self._first_line = first_line
        #: Reasons that responses gave for a row's dead letter.
        self._condemned: dict[Tag, set[str]] = {}
        #: Why a response that speaks against a row does not count.
        self._spared: dict[Tag, str] = {}
        #: Since when each row fails by itself, telling nothing.
        self._failing: dict[tuple[Process, Tag], float] = {}
        #: Since when a process is paused by a 401.
        self._paused: dict[Process, float] = {}
        #: Calls that failed by no fault of their rows.
        self._blameless: set[Call] = set()
        #: Calls of a row alone that tell nothing: lost, or failed by a 5xx.
        self._unanswered: Counter[Tag] = Counter()

    def pause(self, process: Process) -> None:
        """Note a 401: uploading is paused."""
        self._paused.setdefault(process, self._books.scheduler.now)

    def failed_alone(self, call: Call) -> None:
        """Count a call of a row alone that tells nothing."""
        self._unanswered.update(call.tags)

    def may_go_by_task(self, tag: Tag) -> bool:
        """Return whether a row failed so often alone that it may go by a task."""
        return self._unanswered[tag] >= BY_TASK_AFTER

    def task_failed(self, call: Call, state: str | None) -> None:
        """Take in a task that did not complete; ``state``: its last one, None: it is lost."""
        if call in self._blameless:
            self._spare(call, "its task failed as all did")
            if len(call.tags) == 1:
                # no reason to reject it, but it fails, and may be given up in time
                self._failing.setdefault((call.process, call.tags[0]), self._books.scheduler.now)
                self._condemned.setdefault(call.tags[0], set()).add("api_error")
        elif self._holds_back(call):
            self._spare(call, "uploading is paused, and its task was no half-open probe")
        elif len(call.tags) == 1:
            self._blame(call, "rejected_by_api" if state == "failed" else "api_error")
            # given up in time, where nothing shows whose fault it is
            self._blame(call, "api_error")

    def condemn(self, call: Call, status: int | None, document: object) -> None:
        """Note the reasons for dead letters that a response gives."""
        documented = isinstance(document, dict) and isinstance(document.get("items"), dict)
        if status == 200 and documented:
            return
        if any(self._books.epochs[key].ended for key in call.epochs):
            self._books.seen["late result"] += 1
        if status == 401 and not all(self._books.epochs[key].ended for key in call.epochs):
            self.pause(call.process)
        if self._holds_back(call):
            self._books.seen["answer to an older call while paused"] += 1
            if len(call.tags) == 1 and status in (400, 413):
                self._books.seen["a single row rejected while paused"] += 1
            self._spare(call, "uploading is paused, and it is neither named nor a half-open probe")
        elif len(call.tags) == 1 and status not in (401, 429):
            self._blame(
                call, "rejected_by_api" if status in (400, 403, 404, 405, 406, 413) else "api_error"
            )
        errors = document.get("errors") if isinstance(document, dict) else None
        if status != 400 or not errors:
            if status == 400 and len(call.tags) > 1:
                self._books.seen["bisect"] += 1
            return
        by_value = {
            item[call.data_key]: tag for item, tag in zip(call.items, call.tags, strict=True)
        }
        named = False
        for error in errors:
            tag = (
                by_value.get(error["key_value"])
                if "key_value" in error
                else self._meant(call, error["line"])
            )
            if tag is not None:
                named = True
                reason = "unknown_key" if error["field"] == call.data_key else "rejected_by_api"
                self._condemned.setdefault(tag, set()).add(reason)
        if named:
            self.unpause(call)

    def _blame(self, call: Call, reason: str) -> None:
        """Note that the only row of a call was at fault, or may have been."""
        tag = call.tags[0]
        self._condemned.setdefault(tag, set()).add(reason)
        self._failing.setdefault((call.process, tag), self._books.scheduler.now)

    def _spare(self, call: Call, why: str) -> None:
        for tag in call.tags:
            self._spared[tag] = why
            if len(call.tags) == 1:
                self._failing.setdefault((call.process, tag), self._books.scheduler.now)

    def _meant(self, call: Call, line: int) -> Tag | None:
        """Return the row that the API means by a line, however it counts."""
        if line - 1 < len(call.tags) and self._first_line != 1:
            named = call.tags[line - 1]
            if named not in self._kinds:
                self._books.seen["a good row named by its line"] += 1
                self._spared[named] = "its line was named, but lines are not counted from 1"
        place = line - self._first_line
        return call.tags[place] if 0 <= place < len(call.tags) else None

    def _holds_back(self, call: Call) -> bool:
        """Return whether uploading is paused by a 401 that came after a call was sent.

        Its response still rejects the rows it names.
        """
        since = self._paused.get(call.process)
        return since is not None and call.sent_at <= since

    def unpause(self, call: Call) -> None:
        """End a pause by a call that was sent in it, as its half-open probe."""
        if not self._holds_back(call):
            self._paused.pop(call.process, None)

    def blameless(self, call: Call) -> None:
        """Note a call that fails by no fault of its rows."""
        self._blameless.add(call)

    def dead_lettered(self, process: Process, tag: Tag, reason: str) -> None:
        """Raise Violation when a row is dead-lettered without a reason (I1)."""
        rows = self._books.rows_of(tag)
        if tag not in rows:
            raise Violation(f"I1: a dead letter of {tag}, which was not published")
        why = rows[tag].invalid
        if reason != why if why else reason not in self._condemned.get(tag, ()):
            spared = self._spared.get(tag, "")
            hint = f" ({spared})" if spared else ""
            raise Violation(
                f"I1: {tag} is dead-lettered as {reason}, for which nothing gave reason{hint}"
            )
        failed_for = self._books.scheduler.now - self._failing.get(
            (process, tag), self._books.scheduler.now
        )
        if reason == "api_error" and (
            not self._books.limits.give_up or failed_for < self._books.limits.give_up
        ):
            raise Violation(
                f"I1: {tag} is dead-lettered as {reason} after {failed_for:.1f} s of failing by "
                "itself, "
                f"{self._books.limits.give_up:g} s are set"
            )
        self._books.tell(process, f"has dead-lettered {tag}: {reason}")
        self._books.seen[f"letter {reason}"] += 1
        self._books.dead_lettered[tag] = reason
