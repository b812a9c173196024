"""The driver's choices: actions in their order or shuffled, cuts, and faults of the API."""

from __future__ import annotations

from collections.abc import Sequence

#: One round of a long run, shuffled anew each time. In a group of the ``consumer`` protocol a dead
#: member's partitions wait for 45 seconds, so there is less dying.
DECK = (
    *("kill",) * 5,
    *("stop",) * 2,
    *("suspend",) * 2,
    *("nap",) * 1,
    *("add",) * 3,
    *("remove",) * 2,
    *("cut_kafka",) * 2,
    *("cut_api",) * 3,
    *("restart_broker",) * 1,
    *("kill_broker",) * 1,
    *("freeze_broker",) * 1,
)
LONG_SESSION_DECK = (
    *("kill",) * 2,
    *("stop",) * 3,
    *("suspend",) * 1,
    *("nap",) * 2,
    *("add",) * 3,
    *("remove",) * 2,
    *("cut_kafka",) * 2,
    *("cut_api",) * 3,
    *("restart_broker",) * 1,
    *("kill_broker",) * 1,
    *("freeze_broker",) * 1,
)
#: The short run: everything once at least, three kills; then what takes no session with the other
#: protocol.
SHORT = (
    "add",
    "kill",
    "cut_api",
    "suspend",
    "kill",
    "stop",
    "cut_kafka",
    "restart_broker",
    "kill",
)
SHORT_THEN = ("add", "stop", "cut_api", "nap", "cut_kafka", "stop")

#: Cuts of a connection: the toxic, its attributes, and how long at most, in seconds.
CUTS: Sequence[tuple[str, dict[str, int], float]] = (
    ("down", {}, 8),
    ("reset_peer", {"timeout": 100}, 5),
    ("timeout", {"timeout": 0}, 8),
    ("timeout", {"timeout": 700}, 4),
    ("latency", {"latency": 800, "jitter": 400}, 6),
    ("limit_data", {"bytes": 300}, 4),
)

#: How the API misbehaves: faults of the sandbox, one or two at a time, for some seconds.
WEATHER: Sequence[dict[str, object]] = (
    {"kind": "throttle", "every": 4, "retry_after": 1},
    {"kind": "rate_limit", "per_second": 5, "retry_after": 1, "form": "body"},
    {"kind": "status", "code": 503, "every": 3},
    {"kind": "status", "code": 500},
    {"kind": "status", "code": 502, "every": 2, "path": "any"},
    {"kind": "reset_after", "every": 5},
    {"kind": "reset_before", "every": 4},
    {"kind": "reset_unread", "every": 4},
    {"kind": "reset_midway", "every": 5},
    {"kind": "timeout_after", "every": 6, "seconds": 4},
    {"kind": "timeout_before", "every": 6, "seconds": 4},
    {"kind": "late", "every": 5, "seconds": 4},
    {
        "kind": "late",
        "every": 5,
        "seconds": 7.5,
    },  # beyond the session of a member that is killed meanwhile
    {"kind": "latency", "seconds": 0.5},
    {"kind": "latency", "seconds": 4.5, "every": 7},
    {"kind": "garbage", "every": 9},
    {"kind": "trickle", "every": 7, "seconds": 0.005},
    {"kind": "bad_request", "style": "none"},
    {"kind": "bad_request", "style": "line"},
    {"kind": "bad_request", "style": "html"},
    {"kind": "bad_request", "style": "foreign"},
    {"kind": "token"},
    {"kind": "task_slow", "every": 3, "seconds": 3},
    {"kind": "task_fails", "every": 7},
    {"kind": "task_fails", "every": 7, "applied": True},
    {"kind": "task_lost", "every": 8, "applied": True},
    {"kind": "task_lost", "every": 8, "answer": "running"},
    {"kind": "reset_after", "every": 4, "path": "async"},
    {"kind": "status", "code": 503, "every": 3, "path": "async"},
    {"kind": "status", "code": 500, "every": 3, "path": "task"},
)
