"""The connection of a simulated client's commits: one behind the other, and it may break."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from consumer.core.offsets.commits import Commit
from tests.simulation.client_membership import Membership
from tests.simulation.client_state import ClientPart, ClientState

#: How long librdkafka waits for an answer before it fails a commit, seconds.
ANSWER_WAIT = 10.0
#: A commit that was on its way when the connection broke is sent once more within this time after
#: it is back, and one that waited for the connection, within this.
SENT_AGAIN = 1.0
SENT_WHEN_BACK = 0.05
#: What was in a socket while the process stood still is taken in within this time after it goes on.
BUFFERED = 0.3
NO_LINE = -1


@dataclass(eq=False)
class Sent:
    """A commit on its way."""

    commits: list[Commit]
    member: str
    generation: int
    at: float
    fate: float  #: what becomes of it on its way, from 0 to 1
    line: int  #: the connection that it went over last; NO_LINE: none yet
    #: By partition: the id of the topic that it is about, as its metadata would name it.
    topics: dict[int, int]
    arrived: bool = False
    again: bool = False  #: it was on a connection that broke

    @property
    def says(self) -> dict[int, tuple[int, str]]:
        """Return what its answer names, by partition, as far as the program looks at it."""
        return {c.partition.number: (c.offset, c.metadata) for c in self.commits}


class CommitConnection(ClientPart):
    """Carries commits to the broker and their answers back, which the next poll serves."""

    def __init__(self, client: ClientState, membership: Membership) -> None:
        super().__init__(client)
        self._membership = membership
        #: The client still waits for what becomes of these.
        self.unanswered: list[Sent] = []
        #: Arrived, and wait behind the joining on their connection.
        self.behind: list[Sent] = []
        self._line = 0
        #: In the socket while the process stands still.
        self._buffered: list[Callable[[], object]] = []
        self._line_free_at = 0.0
        #: When the last answer comes: they come in the order of the requests.
        self._answers_at = 0.0
        self._process.on_kill.append(self.behind.clear)  # its connection is closed

    def send(self, commits: list[Commit], topics: dict[int, int]) -> Sent:
        """Send a commit, or keep it until there is a connection."""
        now = self._scheduler.now
        sent = Sent(
            commits,
            self._membership.member,
            self._membership.generation,
            now,
            self._rng.random(),
            NO_LINE,
            topics,
        )
        self.unanswered.append(sent)
        if self._watch is not None:
            self._watch.asked(self._process)
        if self._client.reachable:
            at = max(self._line_free_at, now + self._rng.uniform(*self._link.commit_latency))
            self._line_free_at = at
            self._put(sent, at)
        else:
            self._give_up_later(sent)
        return sent

    def take_in_buffered(self) -> None:
        """Take in what was in the socket while the process stood still."""
        buffered, self._buffered = self._buffered, []
        for do in buffered:
            wait = self._rng.uniform(0.0, BUFFERED)
            self._answers_at = max(self._answers_at, self._scheduler.now) + wait
            self._process.thread(self._answers_at - self._scheduler.now, do)

    def joined(self) -> None:
        """Let arrive what waited on the connection behind the joining."""
        behind, self.behind[:] = list(self.behind), []
        for sent in behind:
            self._arrive(sent, sent.line)

    def disconnected(self) -> None:
        """Break the connection to the coordinator.

        What was on its way is sent once more when there is another.
        """
        self._line += 1
        self.behind.clear()
        for sent in self.unanswered:
            self._give_up_later(sent)

    def connected(self) -> None:
        """Connect again: what waits goes at once, what is sent once more goes a while later."""
        if not self._client.reachable:
            return
        at = again_at = self._scheduler.now
        for sent in self.unanswered:
            if sent.line == NO_LINE:
                at += self._rng.uniform(0.0, SENT_WHEN_BACK / len(self.unanswered))
                self._put(sent, at)
            elif sent.line != self._line:
                sent.again = True
                again_at = max(
                    again_at,
                    self._scheduler.now + self._rng.uniform(SENT_WHEN_BACK, SENT_AGAIN),
                )
                self._put(sent, again_at)
        self._line_free_at = at

    def _socket(self, do: Callable[[], object]) -> None:
        """Let something arrive at this client; it stays in the socket while the process stands
        still.
        """
        if self._process.frozen:
            self._buffered.append(do)
        else:
            self._process.thread(0.0, do)

    def _put(self, sent: Sent, at: float) -> None:
        """Send a commit over the connection that there is now."""
        line = sent.line = self._line
        self._scheduler.at(at, lambda: self._arrive(sent, line))

    def _give_up_later(self, sent: Sent) -> None:
        """Keep a commit until there is a connection, for one session at most."""

        def give_up() -> None:
            if sent.line != self._line:
                self._commit_answered(sent, ["timed out"] * len(sent.commits))

        self._process.thread(self._group.session, give_up)

    def _arrive(self, sent: Sent, line: int) -> None:
        if line != self._line:
            return  # the connection broke on its way
        link, fate = self._link, sent.fate
        if self.behind or self._group.joining(sent.member):
            self.behind.append(sent)
            if self._watch is not None:
                self._watch.waits_behind(self._process)
            return
        if fate < link.commits_vanish:
            self._process.thread(
                ANSWER_WAIT, lambda: self._commit_answered(sent, ["timed out"] * len(sent.commits))
            )
            return
        fate -= link.commits_vanish
        if fate < link.commits_forgotten:
            self.unanswered = [other for other in self.unanswered if other is not sent]
            if self._watch is not None:
                self._watch.forgotten(self._process)
            return
        self._taken_in(sent, fate - link.commits_forgotten, line)

    def _taken_in(self, sent: Sent, fate: float, line: int) -> None:
        """Let the broker take or refuse a commit, and answer."""
        link = self._link
        if sent.again and self._watch is not None:
            self._watch.sent_again(self._process)
        sent.arrived, sent.fate = True, 1.0
        why = self._group.refuses(sent.member, sent.generation)
        if why is None and fate < link.commits_fail:
            why = "COORDINATOR_LOAD_IN_PROGRESS"
        fate -= link.commits_fail
        errors: list[str | None] = []
        for commit in sent.commits:
            number = commit.partition.number
            error = why or self._broker.commit(number, commit.offset, commit.metadata)
            if error is None:
                self._broker.committed_of[number] = sent.topics[number]
            errors.append(error)
        worst = next(filter(None, errors), None)
        for commit, error in zip(sent.commits, errors, strict=True):
            self._witness.committed(
                self._process, commit.partition, commit.offset, commit.metadata, error, worst
            )
        # librdkafka does not tell which partition it was: all of the commit count as failed
        if worst is not None:
            errors = [worst] * len(errors)
        if 0.0 <= fate < link.answers_vanish:
            self._process.thread(
                ANSWER_WAIT, lambda: self._commit_answered(sent, ["timed out"] * len(errors))
            )
            return
        at = self._answers_at = max(self._answers_at, self._scheduler.now + self._client.latency())
        self._scheduler.at(at, lambda: self._socket(lambda: self._answer_comes(sent, errors, line)))

    def _answer_comes(self, sent: Sent, errors: list[str | None], line: int) -> None:
        # else the connection broke before it came
        if line == self._line or self._membership.closed:
            self._commit_answered(sent, errors)

    def _commit_answered(self, sent: Sent, errors: list[str | None]) -> None:
        if sent not in self.unanswered:
            return
        self.unanswered = [other for other in self.unanswered if other is not sent]
        self._client.queue("answer", (sent, errors))
        if "UNKNOWN_MEMBER_ID" in errors:
            self._membership.lost(sent.member)
        if "FENCED_INSTANCE_ID" in errors:
            self._membership.fence()
