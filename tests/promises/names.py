"""The promises: their names, and what each means in a sentence.

The whole of each stands in docs/delivery-guarantees.md. A test is marked with the names of what it
holds (``@pytest.mark.promise("I7")``), the code that keeps a promise names it in a docstring, in
parentheses, and a mutant says which one it breaks. docs/promises.md puts all of them together.
"""

from __future__ import annotations

PROMISES = {
    "I1": "Nothing is lost: every record is accepted by the API, or dead-lettered for a reason and "
    "acknowledged, or still uncommitted, whatever crashes and whenever.",
    "I2": "Order in sending: a row is sent after every earlier row of its code is settled, with "
    "the whole record of that one, and never in one request with it.",
    "I3": "A commit never passes an unsettled position, and is built from what is owned at the "
    "moment it is sent.",
    "I4": "No two rows of one key are in one window or in flight at once.",
    "I5": "The ledger balances in every snapshot: consumed = accepted + rejected + skipped + "
    "released + unsettled; a late or second answer changes none of it.",
    "I6": "Memory and concurrency are bounded by the limits, whatever the backlog or the outage.",
    "I7": "No needless repeats: what was settled and committed, in the settled map, too, is not "
    "sent again.",
    "I8": "Progress: with a healthy API every row is settled in bounded time, whatever other rows "
    "and partitions do.",
    "I9": "Order in effect: the API applies the accepted rows of a key in the order of their "
    "partition.",
    "fencing": "A member that has lost a partition, or does not know whether it has, sends and "
    "commits no more of it, and a late result settles nothing.",
    "lost-answer": "A call whose answer was lost never overwrites a later row: that row waits "
    "until the call can take effect no more.",
    "budget": "The members of a group together keep to the rate of requests, and to what the API "
    "asks for when it throttles.",
    "matching": "An answer is taken for the request that it answers, or for none.",
    "starts": "A partition begins at its commit or where the settings say, never at a guess; where "
    "records are gone or the topic is another one, it stops and says so.",
    "replay": "A dead letter that is brought back undoes nothing that a newer event has set, and "
    "comes back once, whatever kills the replay.",
    "reconcile": "A code that is called different is different, and no loss goes unseen: what "
    "cannot be known is told as undecided.",
}


def unknown(names: object) -> list[str]:
    """Return those of the names that are no promise's."""
    given = names if isinstance(names, (tuple, list)) else (names,)
    return [str(name) for name in given if name not in PROMISES]
