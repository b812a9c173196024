"""Chaos on real parts, and a judge that shares no code with the consumer.

``python -m tests.chaos --seed N --minutes M`` (``make chaos``) runs a real Apache Kafka, one to
three consumer processes (half of the time as a group of each protocol, some of them static members)
and the sandbox, and lets a seeded driver kill, suspend, stop, add and remove members, restart, kill
and freeze the broker, cut TCP connections to Kafka and to the API, while the API misbehaves. Then
everything is healed, drained and judged.

What the judge goes by: the sandbox's journal (which call came when, from whom, how it was answered;
which row was applied when), the topics, and ``__consumer_offsets``, where the broker itself wrote
down every commit and every generation of the group with its owners. It does not believe the
consumer's logs or counters.

Words. A *life* is a process from its start to its end. An *epoch* is a partition in the hands of
one member, from the generation in which it got it to the generation in which another member has it;
a life that is thrown out and joins again is a new member, and one that was suspended or cut off
from Kafka begins a new epoch with each generation around that time, as it may have given itself up.
A call is *sent in* the newest epoch that its life had of the partition when the sandbox received
it. In a group of the ``consumer`` protocol each change that the coordinator wrote down for a member
counts as a generation.

A row by a task was *answered* when the last question about the task was told that it is complete;
if none was, the answer was lost. A record is *settled* when the last of its rows was answered, in
one epoch.

Lost. Each row of every record is applied as published, or dead-lettered (key and value byte for
byte, with the reason that the events page gives for it); a tombstone is skipped; and the group's
committed offsets are the topic's ends. A row one of whose tasks the API called failed may be a
letter, too.

Order. Rows of one partition conflict when they have one data key and key value, or when one puts a
code into a unit and the other updates that unit. All that was applied counts, repeats included. Of
two conflicting rows, the later one was applied first:

* in one epoch: an inversion, whatever happened (faults, retries, splits, lost answers, late
  applications);
* by a newer epoch, a row that had been applied before: a repeat, and excused if the later one, or
  one after it, was applied again behind it: after a crash the API may show an older value until the
  repeats have caught up. If they never do, it is an inversion. A row that had not been applied
  before: an inversion;
* by an older epoch, in a request that the sandbox had received before the newer epoch began, of a
  member that was killed, suspended, or cut off from Kafka: already sent, counted apart (contract,
  "Fencing"); so is a task that took longer than a hand-over waits. Any other: an inversion.

In the end the API holds, for every code, what a replay of the topic gives in the order of its
partitions, without the rows that were rejected. Only codes that an excused late application hit are
left out.

Repeats. Whether a row may be sent again is decided by what its member could have known and
committed. A *commit* is what one member said of its partitions in one request; it was *built* when
the newest record was settled that it names and the commit before it did not, or later. When it was
written down tells nothing: it may have been under way for long, behind the member's own joining, or
kept by the client while the broker was away, and several may come at once. What a commit does not
name was not settled when it was built, unless the program is at fault. So a row that was applied
again, its applications taken in the order in which the calls came, is

* never explained, if the commit at which the new epoch began names its record (by its offset or its
  settled map);
* never explained, if a commit of its member that was taken in that epoch was built after its record
  was settled, and does not name it. An answer counts as later when it is at most a second older, as
  it has to travel. Of partitions that it does not hold, a commit says that nothing was new, unless
  all that it holds are given away next: it may be the one of a hand-over, which holds nothing else.

Otherwise it is explained when

* the answer to the first call was lost: a fault that loses it, a call that outlasts the client's
  time-out, a cut of the connection to the API, or a suspension of the member, at the time of the
  call;
* or another row of its record was not settled in that epoch: a record goes again whole;
* or its epoch ended by a kill, a suspension, a cut from Kafka, or as the group threw the member
  out. After a kill with nothing else the answer is at most half a minute old. A cut from Kafka is
  over for a member when a commit of it is taken that was built after the end of the cut: the client
  waits before it connects again, ten seconds and more, and may be thrown out meanwhile. That a
  member was thrown out is told by the group: a later generation does not have it;
* or its epoch ended by a stop in order or a rebalance, and the first call was still unanswered when
  the next epoch began, or was a task that took longer than a hand-over waits.

Besides: the ledger balances in every ``/status``, no member holds more rows than its limit,
``/healthz`` never fails for a member that is alive and not suspended, nobody ends by itself or with
a traceback, a stop ends in time, no request breaks a rule of the API that a client can know,
everything is committed within a bounded time after the last fault, and the group never commits
backwards. But a commit that was on its way when the connection to Kafka broke is sent once more by
the client, up to two seconds after later ones: that is excused if the member puts it right, unless
it dies.
"""
