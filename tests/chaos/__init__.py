"""Chaos on real parts, and a judge that shares no code with the consumer.

``python -m tests.chaos --seed N --minutes M`` (``make chaos``) runs a real Apache Kafka, one to three consumer
processes and the sandbox, and lets a seeded driver kill, suspend, stop, add and remove members, restart, kill and
freeze the broker, cut TCP connections to Kafka and to the API, while the API misbehaves. Then everything is healed,
drained and judged.

What the judge goes by: the sandbox's journal (which call came when, from whom, how it was answered; which row was
applied when), the topics, and ``__consumer_offsets``, where the broker itself wrote down every commit and every
generation of the group with its owners. It does not believe the consumer's logs or counters.

Words. A *life* is a process from its start to its end. An *epoch* is a partition in the hands of one member, from the
generation in which it got it to the generation in which another member has it; a life that is thrown out and joins
again is a new member, and one that was suspended or cut off from Kafka begins a new epoch with each generation around
that time, as it may have given itself up. A call is *sent in* the newest epoch that its life had of the partition
when the sandbox received it.

Lost. Every record is applied (the row as published), or dead-lettered (key and value byte for byte, with the reason
that the events page gives for it), or a tombstone; and the group's committed offsets are the topic's ends.

Order. Rows of one partition conflict when they have one data key and key value, or when one puts a code into a unit
and the other updates that unit. Of two conflicting rows, the later one was applied first:

* in one epoch: an inversion, whatever happened (faults, retries, splits, lost answers, late applications);
* by a newer epoch, a row that had been applied before: a repeat. After a crash the API may show an older value until
  the repeats have caught up; what it holds in the end is compared with a replay of the topic. A row that had not been
  applied before: an inversion;
* by an older epoch, in a request that the sandbox had received before the newer epoch began, of a member that was
  killed, suspended, or cut off from Kafka: already sent, counted apart (contract, "Fencing"). Any other: an
  inversion.

Repeats. A row that was applied again, its applications taken in the order in which the calls came, is explained when

* the answer to the first call was lost: a fault that loses it, a call that outlasts the client's time-out, a cut of
  the connection to the API, or a suspension of the member, at the time of the call;
* or its epoch ended by a kill, a suspension or a cut from Kafka, and the first call was in flight then, or had been
  answered since the last commit that this member got through was built (of whatever partition: a commit holds all
  that is due). One is under way at a time, so it was built when the one before it was acknowledged or later; it may be
  under way for long, as a broker answers a connection's requests in their order, and a member's joining waits for the
  others. An answer counts as later when it is at most a second older, as it has to travel;
* or its epoch ended by a stop in order or a rebalance, and the first call was still unanswered when the next epoch
  began.

A row that the commit at which its epoch began names as settled (by its offset or its settled map) is never explained.

Besides: the ledger balances in every ``/status``, no member holds more rows than its limit, ``/healthz`` never fails
for a member that is alive and not suspended, nobody ends by itself or with a traceback, a stop ends in time, the
group never commits backwards, no request breaks a rule of the API that a client can know, everything is committed
within a bounded time after the last fault.
"""
