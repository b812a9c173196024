"""The contract of a source, as the owner loop relies on it.

The same for the real one and for the simulated one.
"""

from __future__ import annotations

import pytest

from consumer.core.offsets.commits import Commit
from consumer.core.offsets.partition import Partition
from consumer.core.offsets.settled_map import encode
from consumer.loop.ports import RecordSource
from tests.contract.member import Member, Site

#: More characters than a broker takes as metadata.
TOO_LARGE = "x" * 4096


def _values(first: int, count: int) -> list[bytes]:
    return [b"%d" % number for number in range(first, first + count)]


def _ready(site: Site, member: Member, *numbers: int) -> None:
    """Wait until a member owns exactly these partitions."""
    wanted = set(numbers or range(site.partitions))
    site.turn_until(
        lambda: member.owned.keys() == wanted,
        f"the member owns {wanted}, not {member.owned.keys()}",
    )


def _commit(member: Member, **offsets: int) -> list[Commit]:
    """Commits of partitions, as ``p0=5``, without metadata."""
    return [Commit(member.owned[int(name[1:])], offset, "") for name, offset in offsets.items()]


# -- where a partition begins --------------------------------------------------------------------


@pytest.mark.promise("I7", "starts")
def test_a_partition_begins_at_its_committed_offset_with_the_metadata_of_that_commit(
    site: Site,
) -> None:
    site.publish(0, *_values(0, 10))
    text = encode(0, 3, [(5, 7), (8, 9)], 4000)
    site.commit_before({0: (3, text)})
    member = site.member()
    _ready(site, member)
    partition = member.came[0] if member.came[0].number == 0 else member.came[1]
    begins = (partition.started_at, partition.committed, partition.metadata)
    assert begins == (3, 3, text), "I7: it does not begin where the group's commit says"
    assert [offset for offset in range(10) if offset in partition.already_settled] == [5, 6, 8]
    site.turn_until(lambda: partition.position == 10, "all is read")
    assert member.offsets(0) == list(range(3, 10)), (
        "what the map names is read: its records are counted as skipped"
    )


@pytest.mark.promise("I1")
def test_metadata_that_is_no_map_of_that_commit_is_ignored(site: Site) -> None:
    site.publish(0, *_values(0, 10))
    site.publish(1, *_values(0, 10))
    site.commit_before({0: (4, encode(0, 3, [(5, 7)], 4000)), 1: (2, "of another program")})
    member = site.member()
    _ready(site, member)
    assert {partition.number: partition.started_at for partition in member.came} == {0: 4, 1: 2}
    assert not any(partition.already_settled for partition in member.came)


@pytest.mark.promise("starts")
def test_a_partition_without_a_commit_begins_at_the_beginning(site: Site) -> None:
    site.publish(0, *_values(0, 5))
    member = site.member(start_from="earliest")
    _ready(site, member)
    site.turn_until(lambda: len(member.offsets(0)) == 5, "all is read")
    assert {(p.started_at, p.committed) for p in member.came} == {(0, None)}


@pytest.mark.promise("starts")
def test_or_at_the_end_as_it_is_at_the_assignment(site: Site) -> None:
    site.publish(0, *_values(0, 5))
    member = site.member(start_from="latest")
    _ready(site, member)
    assert {p.number: (p.started_at, p.committed) for p in member.came} == {
        0: (5, None),
        1: (0, None),
    }
    site.publish(0, *_values(5, 3))
    site.turn_until(lambda: len(member.offsets(0)) == 3, "what came later is read")
    assert member.offsets(0) == [5, 6, 7]


# -- reading -------------------------------------------------------------------------------------


def test_records_come_in_order_by_partition_and_at_most_as_many_as_asked_for(site: Site) -> None:
    for number in range(site.partitions):
        site.publish(number, *_values(0, 50))
    member = site.member()
    member.count = 7
    sizes: list[int] = []

    def all_is_read() -> bool:
        sizes.append(sum(len(offsets) for _, offsets in member.batches) - sum(sizes))
        return sum(sizes) == 50 * site.partitions

    site.turn_until(all_is_read, "all is read")
    assert max(len(offsets) for _, offsets in member.batches) <= 7
    for number in range(site.partitions):
        assert member.offsets(number) == list(range(50))
        assert member.values[number] == _values(0, 50)


@pytest.mark.promise("I8")
def test_the_position_passes_what_holds_no_record(site: Site) -> None:
    site.publish(0, *_values(0, 3))
    site.leave_gap(0)
    site.publish(0, *_values(3, 2))
    site.leave_gap(0)
    site.leave_gap(1)
    member = site.member()
    _ready(site, member)
    ends = {number: site.end(number) for number in range(site.partitions)}
    site.turn_until(lambda: len(member.offsets(0)) == 5, "all is read")
    site.turn_for(1.5)
    positions = {number: partition.position for number, partition in member.owned.items()}
    assert positions == ends, (
        "I8: offsets that hold no record are never passed: the end is never reached"
    )
    assert member.values == {0: _values(0, 5)}
    assert ends[0] > 5
    assert ends[1] > 0


def test_the_end_is_known_once_something_was_fetched(site: Site) -> None:
    site.publish(0, *_values(0, 3))
    member = site.member()
    _ready(site, member)
    site.turn_until(lambda: member.source.end(member.owned[0]) == 3, "the end is known")
    site.publish(0, *_values(3, 2))
    site.turn_until(lambda: member.source.end(member.owned[0]) == 5, "the new end is known")
    assert member.source.end(Partition("elsewhere", 0, 0, 0)) is None or site.partitions


@pytest.mark.promise("I1", "I6")
def test_paused_nothing_is_given_and_then_it_goes_on_where_it_stopped(site: Site) -> None:
    site.publish(0, *_values(0, 30))
    member = site.member()
    member.count = 10
    site.turn_until(lambda: len(member.offsets(0)) >= 10, "something is read")
    site.do(member, lambda source: source.pause())
    given = len(member.offsets(0))
    site.publish(1, *_values(0, 5))
    site.turn_for(0.5)
    assert len(member.offsets(0)) == given, "I6: paused, records are given"
    assert not member.offsets(1)
    assert member.source.paused
    site.do(member, lambda source: source.resume())
    site.turn_until(
        lambda: len(member.offsets(0)) == 30 and len(member.offsets(1)) == 5, "all is read"
    )
    assert member.offsets(0) == list(range(30)), "I1: nothing is passed, and nothing comes twice"
    assert not member.source.paused


@pytest.mark.promise("I6")
def test_a_pause_from_before_the_assignment_holds(site: Site) -> None:
    site.publish(0, *_values(0, 5))
    member = site.member()
    site.do(member, lambda source: source.pause())
    _ready(site, member)
    site.turn_for(0.5)
    assert not member.batches, "I6: paused, records are given"
    site.do(member, lambda source: source.resume())
    site.turn_until(lambda: len(member.offsets(0)) == 5, "all is read")


@pytest.mark.promise("I1")
def test_a_held_partition_rests_and_the_others_go_on(site: Site) -> None:
    site.publish(0, *_values(0, 20))
    member = site.member()
    member.count = 5
    site.turn_until(lambda: len(member.offsets(0)) >= 5, "something is read")
    site.do(member, lambda source: source.set_paused(member.owned[0], paused=True))
    given = len(member.offsets(0))
    site.publish(1, *_values(0, 5))
    site.turn_until(lambda: len(member.offsets(1)) == 5, "the other partition is read")
    site.turn_for(0.3)
    assert len(member.offsets(0)) == given, "a held partition is read"
    site.do(member, lambda source: source.resume())
    site.turn_for(0.3)
    assert len(member.offsets(0)) == given, "the end of a pause ends no hold"
    site.do(member, lambda source: source.set_paused(member.owned[0], paused=False))
    site.turn_until(lambda: len(member.offsets(0)) == 20, "it is read on")
    assert member.offsets(0) == list(range(20)), "I1: nothing is passed, and nothing comes twice"


# -- committing ----------------------------------------------------------------------------------


def test_a_commit_is_answered_inside_a_poll_and_then_the_group_has_it(site: Site) -> None:
    member = site.member()
    _ready(site, member)
    commits = [Commit(member.owned[0], 3, "text"), Commit(member.owned[1], 4, "")]
    site.do(member, lambda source: source.commit(commits))
    site.turn_until(lambda: bool(member.answers), "the commit is answered")
    assert [(answer.offsets, answer.error) for answer in member.answers] == [({0: 3, 1: 4}, None)]
    assert site.committed() == {0: (3, "text"), 1: (4, "")}
    assert not member.source.committing


def test_until_it_is_answered_a_commit_is_in_flight(site: Site) -> None:
    member = site.member()
    _ready(site, member)
    seen: list[bool] = []

    def commit(source: RecordSource) -> None:
        source.commit(_commit(member, p0=1))
        seen.append(source.committing)

    site.do(member, commit)
    assert seen == [True]
    site.turn_until(lambda: bool(member.answers), "the commit is answered")
    assert not member.source.committing


def test_commits_are_answered_in_order_each_once(site: Site) -> None:
    member = site.member()
    _ready(site, member)

    def commit(source: RecordSource) -> None:
        for offset in range(1, 6):
            source.commit(_commit(member, p0=offset))

    site.do(member, commit)
    site.turn_until(lambda: len(member.answers) == 5, "all are answered")
    site.turn_for(0.3)
    assert [answer.offsets for answer in member.answers] == [{0: offset} for offset in range(1, 6)]
    assert site.committed() == {0: (5, "")}


@pytest.mark.promise("I3")
def test_metadata_that_is_too_large_is_told_and_nothing_of_its_partition_is_committed(
    site: Site,
) -> None:
    """Which partition it was is not told.

    All of that commit count as failed, though the others are committed.
    """
    member = site.member()
    _ready(site, member)
    commits = [Commit(member.owned[0], 3, TOO_LARGE), Commit(member.owned[1], 4, "text")]
    site.do(member, lambda source: source.commit(commits))
    site.turn_until(lambda: bool(member.answers), "the commit is answered")
    (answer,) = member.answers
    assert answer.error is not None, "I3: a refused commit is told as acknowledged"
    assert answer.too_large
    assert answer.offsets == {0: 3, 1: 4}
    assert site.committed() == {1: (4, "text")}
    largest = [Commit(member.owned[0], 3, TOO_LARGE[1:])]
    site.do(member, lambda source: source.commit(largest))
    site.turn_until(lambda: len(member.answers) == 2, "the largest that a broker takes is answered")
    assert member.answers[1].error is None


def test_a_commit_that_is_waited_for_is_there_when_that_returns(site: Site) -> None:
    member = site.member()
    _ready(site, member)
    told: list[bool] = []
    site.do(
        member,
        lambda source: told.append(source.commit_and_wait([Commit(member.owned[0], 7, "text")])),
    )
    assert told == [True]
    assert site.committed() == {0: (7, "text")}
    site.do(member, lambda source: told.append(source.commit_and_wait([])))
    assert told == [True, True]
    site.turn_until(lambda: len(member.answers) == 1, "its answer is told all the same")


def test_a_live_member_may_commit_a_partition_that_another_one_owns(site: Site) -> None:
    """The broker does not fence by partition.

    What is committed must be what is owned at the moment of sending.
    """
    first = site.member()
    _ready(site, first)
    gone = dict(first.owned)
    second = site.member()
    site.turn_until(lambda: len(first.owned) == len(second.owned) == 1, "each has a partition")
    (number,) = second.owned
    site.do(first, lambda source: source.commit([Commit(gone[number], 9, "")]))
    site.turn_until(lambda: bool(first.answers), "the commit is answered")
    assert first.answers[0].error is None
    assert site.committed()[number] == (9, "")


# -- rebalances ----------------------------------------------------------------------------------


@pytest.mark.promise("fencing")
def test_a_partition_goes_to_another_member_only_after_the_callback_has_returned(
    site: Site,
) -> None:
    first = site.member()
    _ready(site, first)
    second = site.member()
    during: list[list[Partition]] = []

    def wait() -> None:
        assert first.polling, "a revocation is told outside of a poll"
        site.pass_inside(1.0)
        during.append(list(second.came))

    first.while_revoking = wait
    site.turn_until(lambda: len(first.owned) == len(second.owned) == 1, "each has a partition")
    assert during == [[]], "fencing: a partition has two owners"
    ((numbers, lost),) = first.went
    assert (numbers, lost) == (list(second.owned), False)


@pytest.mark.promise("I7")
def test_what_is_committed_inside_the_callback_is_where_the_next_owner_begins(site: Site) -> None:
    first = site.member()
    _ready(site, first)
    site.publish(0, *_values(0, 10))
    site.publish(1, *_values(0, 10))
    site.turn_until(lambda: len(first.offsets(0)) == len(first.offsets(1)) == 10, "all is read")
    told: list[bool] = []

    def commit() -> None:
        every = [
            Commit(first.owned[number], 4, encode(number, 4, [(6, 8)], 4000))
            for number in first.owned
        ]
        told.append(first.source.commit_and_wait(every))

    first.while_revoking = commit
    second = site.member()
    site.turn_until(lambda: bool(second.owned), "the other has a partition")
    assert told == [True]
    (partition,) = second.owned.values()
    assert (partition.started_at, partition.already_settled.count) == (4, 2)
    site.turn_until(lambda: len(second.offsets(partition.number)) == 6, "the rest is read")
    assert second.offsets(partition.number) == list(range(4, 10))


def test_what_comes_back_is_a_new_epoch_from_the_committed_offset_and_is_read_on(
    site: Site,
) -> None:
    first = site.member()
    _ready(site, first)
    before = dict(first.owned)
    second = site.member()
    site.turn_until(lambda: len(first.owned) == len(second.owned) == 1, "each has a partition")
    ((number, partition),) = second.owned.items()
    site.publish(number, *_values(0, 5))
    site.do(second, lambda source: source.commit_and_wait([Commit(partition, 2, "")]))

    def leave(source: RecordSource) -> None:
        second.idle = True
        second.polling = True  # closing is as a poll: it serves callbacks
        assert source.close(5.0)
        second.polling = False

    site.do(second, leave)
    assert second.went[-1] == ([number], False)
    second.stopping = True
    _ready(site, first)
    assert first.owned[number] is not before[number]
    assert first.owned[number].started_at == 2
    site.turn_until(
        lambda: first.owned[number].position == 5, "it is read on: nothing stays paused"
    )
    assert first.offsets(number)[-3:] == [2, 3, 4]


@pytest.mark.promise("I6", "I8")
def test_a_pause_holds_for_what_comes_later_and_survives_revoke_and_return(site: Site) -> None:
    first = site.member()
    _ready(site, first)
    site.do(first, lambda source: source.pause())
    second = site.member()
    site.turn_until(lambda: len(first.owned) == len(second.owned) == 1, "each has a partition")
    (number,) = second.owned

    def leave(source: RecordSource) -> None:
        second.idle = second.polling = True
        source.close(5.0)
        second.polling = False

    site.do(second, leave)
    second.stopping = True
    _ready(site, first)
    site.publish(number, *_values(0, 5))
    site.turn_for(0.5)
    assert not first.offsets(number), "I6: paused, records are given"
    site.do(first, lambda source: source.resume())
    site.turn_until(lambda: len(first.offsets(number)) == 5, "I8: it stays frozen after the pause")


@pytest.mark.promise("I3", "fencing")
def test_a_member_that_does_not_poll_loses_its_partitions_and_its_commit_fails(site: Site) -> None:
    first = site.member(max_poll=6.0)
    _ready(site, first)
    before = dict(first.owned)
    first.idle = True
    site.turn_until(lambda: site.members() == [], "its client leaves the group")
    second = site.member()
    _ready(site, second)
    assert not first.went, "nothing can be told to a member that does not poll"
    site.do(first, lambda source: source.commit([Commit(before[0], 9, "")]))
    first.idle = False
    site.turn_until(lambda: bool(first.answers) and bool(first.went), "it hears of both")
    assert first.answers[0].error is not None, (
        "I3: a commit of a lost partition is told as acknowledged"
    )
    assert (sorted(first.went[0][0]), first.went[0][1]) == ([0, 1], True), "a loss is told as one"
    assert 0 not in site.committed()
    site.turn_until(lambda: len(first.owned) == len(second.owned) == 1, "it is a member again")


@pytest.mark.promise("I3", "fencing")
def test_a_member_that_the_coordinator_has_thrown_out_is_told_of_a_loss_and_its_commit_fails(
    site: Site,
) -> None:
    first = site.member()
    _ready(site, first)
    before = dict(first.owned)
    site.publish(0, *_values(0, 5))
    site.turn_until(lambda: len(first.offsets(0)) == 5, "all is read")
    first.idle = True
    site.throw_out(first)
    site.do(first, lambda source: source.commit([Commit(before[0], 5, "")]))
    first.idle = False
    site.turn_until(lambda: bool(first.answers) and bool(first.went), "it hears of both")
    assert first.answers[0].error is not None, (
        "I3: a commit of a lost partition is told as acknowledged"
    )
    assert (sorted(first.went[0][0]), first.went[0][1]) == ([0, 1], True)
    assert 0 not in site.committed()
    _ready(site, first)
    assert first.owned[0] is not before[0]
    site.turn_until(
        lambda: len(first.offsets(0)) == 10, "a member again, it reads again what was not committed"
    )


@pytest.mark.promise("I3")
def test_a_revocation_that_was_waiting_when_the_member_was_thrown_out_is_told_as_a_loss(
    site: Site,
) -> None:
    """The client calls it a revocation; another member has the partition by then."""
    first = site.member()
    _ready(site, first)
    before = dict(first.owned)
    first.idle = True
    second = site.member()
    site.turn_until(
        lambda: site.members() == [0, 1], "it is to give up one of them, for the other member"
    )
    site.turn_for(1.0)  # what is said to a client is not to be seen until it polls
    site.throw_out(first)
    _ready(site, second)
    site.do(first, lambda source: source.commit([Commit(before[0], 9, "")]))
    site.turn_for(1.0)  # so is that its client hears of it
    first.idle = False
    site.turn_until(lambda: bool(first.answers) and len(first.went) == 2, "it hears of all")
    assert [(len(numbers), lost) for numbers, lost in first.went] == [(1, True), (1, True)], (
        "a loss is told as one"
    )
    assert first.answers[0].error is not None, (
        "I3: a commit of a lost partition is told as acknowledged"
    )
    assert 0 not in site.committed()


def test_a_static_member_that_was_replaced_cannot_go_on(site: Site) -> None:
    first = site.member(instance="one")
    _ready(site, first)
    second = site.member(instance="one")
    _ready(site, second)
    site.do(first, lambda source: source.commit(_commit(first, p0=1)))
    site.turn_until(lambda: first.failed is not None, "it is told")
    assert "FENCED" in str(first.failed).upper()
    assert 0 not in site.committed()


def test_while_the_group_waits_for_a_member_a_commit_of_another_waits_behind_its_joining(
    site: Site,
) -> None:
    """A broker answers the requests of a connection in their order, and a joining only when all
    have joined.
    """
    first = site.member()
    _ready(site, first)
    first.idle = True
    second = site.member()
    site.turn_until(
        lambda: site.members() == [0, 1],
        "the first is to give up a partition, and does not hear of it",
    )
    third = site.member()
    site.turn_for(1.5)  # so the others join, and wait for it
    site.do(second, lambda source: source.commit(_commit(first, p0=3)))
    site.turn_for(1.5)
    assert not second.answers, "a commit overtakes the joining that was sent before it"
    assert 0 not in site.committed()
    first.idle = False
    site.turn_until(lambda: bool(second.answers), "it is answered once all have joined")
    del third


# -- the consumer protocol -----------------------------------------------------------------------


def test_no_callback_tells_a_member_of_the_consumer_protocol_that_it_gets_nothing(
    site: Site,
) -> None:
    members = [site.member(protocol="consumer") for _ in range(site.partitions)]
    site.turn_until(
        lambda: all(len(member.owned) == 1 for member in members), "each has a partition"
    )
    more = site.member(protocol="consumer")
    site.turn_until(lambda: more.joined, "it hears that it is a member")
    assert not more.came


@pytest.mark.promise("fencing")
def test_in_the_consumer_protocol_a_member_in_its_callback_holds_up_only_what_it_is_to_give_up(
    site: Site,
) -> None:
    first = site.member(protocol="consumer")
    _ready(site, first)
    during: list[tuple[list[Partition], int]] = []

    def wait() -> None:
        before = len(second.answers)
        site.pass_inside(2.0)
        during.append((list(second.came), before))

    first.while_revoking = wait
    second = site.member(protocol="consumer")
    site.turn_until(lambda: len(first.owned) == len(second.owned) == 1, "each has a partition")
    assert [came for came, _ in during] == [[]], "fencing: a partition has two owners"
    ((number, partition),) = second.owned.items()
    site.do(second, lambda source: source.commit([Commit(partition, 1, "")]))
    site.turn_until(lambda: bool(second.answers), "the commit is answered")
    assert second.answers[0].error is None
    assert site.committed()[number] == (1, "")


# -- what befalls a topic ------------------------------------------------------------------------


@pytest.mark.promise("starts")
def test_a_partition_is_stopped_where_retention_has_removed_what_was_not_read(site: Site) -> None:
    site.publish(0, *_values(0, 10))
    site.publish(1, *_values(0, 3))
    site.commit_before({0: (2, "")})
    site.trim(0, 5)
    member = site.member()
    site.turn_until(lambda: len(member.offsets(1)) == 3, "the other partition is read")
    site.turn_until(lambda: bool(member.source.stopped), "it is stopped")
    assert list(member.source.stopped.values()) == ["out_of_range"]
    assert not member.offsets(0)


def test_with_a_topic_its_commits_go_and_a_late_one_is_taken_for_the_topic_made_anew(
    site: Site,
) -> None:
    """A broker does not ask which topic of that name a commit was made for."""
    site.publish(0, *_values(0, 10))
    site.commit_before({0: (7, "text")})
    assert site.committed() == {0: (7, "text")}
    site.delete_topic()
    site.make_anew()
    assert site.committed() == {}
    site.commit_before({0: (7, "text")})
    assert site.committed() == {0: (7, "text")}
