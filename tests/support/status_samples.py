"""Sample ``/status`` documents: a healthy consumer, and one in each of some troubles.

Each is whole, as a consumer would give it; a test holds their keys to those of ``Snapshot``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Document = dict[str, Any]

TOPIC = "factory.events"
#: What a printer, a supplier or an attacker may have put into an event.
HOSTILE = (
    "<script>alert(1)</script><img src=x onerror=alert(2)>",
    "\x1b[31mred\x1b[0m \x07bell \x00nul",
    "\u202egnp.exe\u2066 \u200bzero width",
    "[bold red]markup[/] {{ 7 * 7 }} {% raw %} & \" '",
    "מספר לא חוקי · رمز غير صالح",
    "長" * 10_000,
    "\ud800 alone, and \x85 \u2028 lines",
)


def partition(number: int, **changes: Any) -> Document:
    """Return a partition that is read and has nothing behind it."""
    return {
        "topic": TOPIC,
        "partition": number,
        "consumed": 61_204,
        "accepted": 61_180,
        "rejected": 4,
        "skipped": 0,
        "released": 0,
        "unsettled": 20,
        "committed": 361_184,
        "position": 361_204,
        "begin": 120_000,
        "end": 361_210,
        "lag": 26,
        "lag_seconds": 0.4,
        "oldest_unsettled_seconds": 0.3,
        "paused": False,
        "pauses": [],
        "stopped": None,
        "oldest": oldest(361_184, unsettled_seconds=0.3, age_seconds=0.4),
        **changes,
    }


def oldest(offset: int, **changes: Any) -> Document:
    """Return the oldest unsettled record of a partition: one that is on its way."""
    return {
        "offset": offset,
        "age_seconds": 0.4,
        "unsettled_seconds": 0.3,
        "waits_for": "response",
        "behind": None,
        "attempts": 1,
        "retry_in_seconds": None,
        "last_response": None,
        "data_key": "extended_id",
        "key_value": "HGDT…EEDFS",
        "message": "its request is under way",
        **changes,
    }


def trouble(cause: str, severity: str, message: str, advice: str, **changes: Any) -> Document:
    """Return a trouble that began three minutes ago."""
    return {
        "cause": cause,
        "severity": severity,
        "where": "",
        "seconds": 184.2,
        "message": message,
        "advice": advice,
        "runbook": cause.replace("_", "-"),
        **changes,
    }


def history(shape: Callable[[float], tuple[float, float, float, float]]) -> list[Document]:
    """Return fifteen minutes of samples; ``shape`` gives rows/s, behind, lag, rejected/s by age."""
    names = ("rows_per_second", "records_behind", "lag_seconds", "rejected_per_second")
    return [
        {"seconds": float(ago), **dict(zip(names, shape(float(ago)), strict=True))}
        for ago in range(885, -1, -15)
    ]


def healthy() -> Document:
    """Return a consumer that keeps up: 190 rows a second, half a second behind."""
    return {
        "version": "0.1.0",
        "state": "running",
        "phase": "running",
        "advice": "",
        "troubles": [],
        "ledger": {
            "consumed": 244_816,
            "accepted": 244_716,
            "rejected": 20,
            "skipped": 0,
            "released": 0,
            "unsettled": 80,
        },
        "consumed": {TOPIC: 244_816},
        "lag": {
            "records": 104,
            "seconds": 0.5,
            "backlog_eta_seconds": 0.6,
            "growing": False,
            "records_per_second": 190.3,
            "rows_per_second": 190.3,
            "desired_members": 1,
            "target_seconds": 300,
        },
        "partitions": [partition(number) for number in range(4)],
        "awaiting_start": [],
        "unknown": [],
        "rows": {
            "unsettled": 80,
            "ready": 12,
            "in_flight": 68,
            "parked": {
                "retry": 0,
                "unknown_key": 0,
                "earlier_row": 0,
                "late_answer": 0,
                "schema": 0,
            },
            "dead_letters_pending": 0,
            "receipts_pending": 0,
            "accepted": {"extended_id": 244_716},
            "rejected": {"unknown_key": 20},
            "unconfirmed": 0,
            "fields_not_confirmed": {},
            "codes_affected": {"extended_id": 244_716},
            "resent": {},
        },
        "rejections": {"since_seconds": 900, "by_reason": {}, "latest": [], "messages": []},
        "windows": {
            "lanes": [
                {
                    "data_key": "extended_id",
                    "fields": ["activation_status"],
                    "rows": 12,
                    "oldest_seconds": 0.1,
                }
            ],
            "in_flight": [
                {
                    "window": 2_511,
                    "data_key": "extended_id",
                    "rows": 68,
                    "attempt": 1,
                    "task": False,
                    "seconds": 0.2,
                }
            ],
            "waiting": 0,
            "closed": {"full": 2_100, "due": 411, "bytes": 0, "drain": 0},
            "rows": {"count": 2_511, "sum": 244_736, "p50": 100, "p95": 100, "p99": 100},
        },
        "requests": {
            "outcomes": {"accepted": 2_503, "rows_named": 7, "throttled": 1},
            "retries": {"rows_named": 7, "throttled": 1},
            "seconds": {"count": 2_511, "sum": 653.2, "p50": 0.24, "p95": 0.41, "p99": 0.9},
            "tasks": 0,
            "tasks_ended": {},
        },
        "api": {
            "blocked": None,
            "blocked_seconds": 0.0,
            "circuit": False,
            "throttled_for_seconds": 0.0,
            "throttled_seconds": 1.0,
            "budget": 9.5,
            "last_error": None,
            "failing_seconds": None,
        },
        "event_to_settled": {"count": 244_736, "sum": 98_000, "p50": 0.4, "p95": 0.8, "p99": 1.4},
        "oldest_unsettled_seconds": 0.3,
        "commits": {"ok": 180, "failed": 0},
        "commit_metadata_characters": 212,
        "rebalances": 1,
        "history": history(
            lambda ago: (190 + 12 * ((ago / 15) % 5) - 24, 80 + 4 * ((ago / 15) % 7), 0.5, 0.0)
        ),
    }


def _not_arriving(waits_for: str, message: str, **of_oldest: Any) -> Document:
    """Return a consumer whose uploads stopped three minutes ago, in all partitions."""
    document = healthy()
    document["lag"] |= {
        "records": 36_210,
        "seconds": 186.0,
        "backlog_eta_seconds": None,
        "growing": True,
        "records_per_second": 0.0,
        "rows_per_second": 0.0,
        "desired_members": 1,
    }
    document["partitions"] = [
        partition(
            number,
            lag=9_040 + number,
            lag_seconds=186.0 - number,
            end=370_224 + number,
            unsettled=2_500,
            oldest_unsettled_seconds=184.0,
            oldest=oldest(
                361_184,
                age_seconds=186.0 - number,
                unsettled_seconds=184.0,
                waits_for=waits_for,
                message=message,
                **of_oldest,
            ),
        )
        for number in range(4)
    ]
    document["rows"] |= {"unsettled": 10_000, "ready": 9_900, "in_flight": 0}
    document["windows"] |= {"in_flight": [], "waiting": 1}
    document["history"] = history(
        lambda ago: (
            (0.0, (184 - ago) * 195, 184 - ago, 0.0) if ago < 184 else (190.0, 90.0, 0.5, 0.0)
        )
    )
    return document


def api_unauthorized() -> Document:
    """Return a consumer whose token the API refuses (401)."""
    document = _not_arriving("pause", "uploading is paused: the API refuses the token (HTTP 401)")
    advice = (
        "put a valid token into /run/secrets/scm-token (api.token_file); it is taken up by itself "
        "within 10 s, no restart is needed"
    )
    document["state"] = "stuck"
    document["advice"] = advice
    document["troubles"] = [
        trouble(
            "api_unauthorized",
            "stuck",
            "uploading is paused: the API refuses the token (HTTP 401: Invalid token)",
            advice,
            where="https://api.scantrust.com",
        )
    ]
    document["api"] |= {
        "blocked": "unauthorized",
        "blocked_seconds": 184.2,
        "last_error": "HTTP 401: Invalid token",
        "failing_seconds": 184.2,
    }
    return document


def api_failing() -> Document:
    """Return a consumer whose API answers 503."""
    document = _not_arriving("retry", "it is sent again: the API fails", attempts=14)
    advice = "ask the API's operators; it is tried again every 3 s, and goes on by itself"
    document["state"] = "degraded"
    document["advice"] = advice
    document["troubles"] = [
        trouble(
            "api_failing",
            "degraded",
            "requests to the API fail: HTTP 503; one at a time tries whether it is back",
            advice,
            where="https://api.scantrust.com",
        )
    ]
    document["api"] |= {"circuit": True, "last_error": "HTTP 503", "failing_seconds": 184.2}
    document["requests"]["outcomes"]["failed"] = 61
    return document


def backlog() -> Document:
    """Return a consumer that works off a backlog: 12 minutes to go."""
    document = healthy()
    document["lag"] |= {
        "records": 137_400,
        "seconds": 1_520.0,
        "backlog_eta_seconds": 721.0,
        "growing": False,
        "records_per_second": 940.0,
        "rows_per_second": 940.0,
        "desired_members": 1,
    }
    document["partitions"] = [
        partition(
            number,
            lag=34_350 + 900 * number,
            lag_seconds=1_520.0 - 200 * number,
            end=395_534 + 900 * number,
            unsettled=900,
        )
        for number in range(4)
    ]
    document["history"] = history(
        lambda ago: (900 + 40 * ((ago / 15) % 3), 137_400 + 800 * ago, 1_520 + 0.6 * ago, 0.0)
    )
    return document


def poison_row() -> Document:
    """Return a consumer with one row that the API answers with 500 each time."""
    document = healthy()
    message = (
        "the API answers HTTP 500 to this row alone, 17 times by now; "
        "it is dead-lettered after 10 min"
    )
    where = f"{TOPIC}[2]@361184"
    advice = (
        "nothing has to be done: it goes to the dead-letter topic by itself; to see it now: "
        f"scm-consumer where, or kcat -C -t {TOPIC} -p 2 -o 361184 -c 1"
    )
    document["state"] = "stuck"
    document["advice"] = advice
    document["troubles"] = [trouble("row_stuck", "stuck", message, advice, where=where)]
    document["partitions"][2] |= {
        "lag": 8_811,
        "lag_seconds": 190.0,
        "unsettled": 2_100,
        "oldest_unsettled_seconds": 188.0,
        "oldest": oldest(
            361_184,
            age_seconds=190.0,
            unsettled_seconds=188.0,
            waits_for="retry",
            attempts=17,
            retry_in_seconds=8.0,
            last_response="HTTP 500",
            message=message,
        ),
    }
    document["lag"] |= {"records": 8_890, "seconds": 190.0, "backlog_eta_seconds": None}
    return document


def dead_letter_topic_failing() -> Document:
    """Return a consumer whose dead-letter topic takes nothing."""
    document = _not_arriving(
        "dead_letter", "its dead letter is not acknowledged: the topic refuses it"
    )
    advice = (
        "give this user the right to write to scm.dead-letters, or raise its max.message.bytes; "
        "it is tried again by itself"
    )
    document["state"] = "stuck"
    document["advice"] = advice
    document["troubles"] = [
        trouble(
            "dead_letter_topic_failing",
            "stuck",
            "dead letters cannot be written: TOPIC_AUTHORIZATION_FAILED; 41 rows wait",
            advice,
            where="scm.dead-letters",
        )
    ]
    document["rows"]["dead_letters_pending"] = 41
    return document


def partition_out_of_range() -> Document:
    """Return a consumer with a partition that is stopped, as its offset is gone."""
    document = healthy()
    where = f"{TOPIC}[1]"
    advice = (
        "decide what is to be read on: kafka.on_offset_gone = begin or end, then restart; "
        "docs/offsets.md"
    )
    document["state"] = "stuck"
    document["advice"] = advice
    document["troubles"] = [
        trouble(
            "partition_out_of_range",
            "stuck",
            "offset 361184 is gone: the log begins at 402117, so 40,933 records are lost to us",
            advice,
            where=where,
        )
    ]
    document["partitions"][1] |= {
        "begin": 402_117,
        "end": 402_117,
        "lag": 0,
        "lag_seconds": None,
        "unsettled": 0,
        "oldest": None,
        "oldest_unsettled_seconds": 0.0,
        "stopped": "out_of_range",
        "pauses": ["stopped: its committed offset is gone from the log"],
    }
    return document


def rejections() -> Document:
    """Return a consumer of which a line prints a wrong SKU: fifty rows were rejected."""
    document = healthy()
    message = "Product with sku PRD-9 does not exist"
    advice = "look at the commonest messages: scm-consumer dlq stats"
    document["state"] = "degraded"
    document["advice"] = advice
    document["troubles"] = [
        trouble("rejections", "degraded", f"50 rows rejected: {message} (50)", advice)
    ]
    document["rejections"] = {
        "since_seconds": 900,
        "by_reason": {"rejected_by_api": 50, "unknown_key": 2},
        "latest": [
            {
                "seconds": 12.0 * index,
                "reason": "rejected_by_api",
                "field": "product",
                "message": message,
                "where": f"{TOPIC}[3]@{361_000 - index}",
                "data_key": "extended_id",
                "key_value": "HGDT…EEDFS",
                "http_status": 400,
            }
            for index in range(10)
        ],
        "messages": [{"reason": "rejected_by_api", "message": message, "count": 50}],
    }
    document["rows"]["rejected"] = {"rejected_by_api": 50, "unknown_key": 20}
    return document


def joining() -> Document:
    """Return a consumer that awaits its first assignment."""
    document = healthy()
    document |= {"state": "joining", "phase": "joining", "partitions": [], "history": []}
    document["ledger"] = dict.fromkeys(document["ledger"], 0)
    document["lag"] |= {"records": 0, "seconds": 0.0, "backlog_eta_seconds": None}
    return document


def many_partitions(count: int = 500) -> Document:
    """Return a consumer with so many partitions; number 321 is the farthest behind."""
    document = healthy()
    document["partitions"] = [partition(number) for number in range(count)]
    document["partitions"][321] |= {"lag": 99_999, "lag_seconds": 1_234.0}
    return document


def hostile() -> Document:
    """Return a consumer whose events, and so its texts, hold whatever an event may hold."""
    document = rejections()
    document["rejections"]["latest"] = [
        {
            "seconds": 3.0,
            "reason": "rejected_by_api",
            "field": text,
            "message": text,
            "where": f"{TOPIC}[0]@1",
            "data_key": text,
            "key_value": text,
            "http_status": 400,
        }
        for text in HOSTILE
    ]
    document["rejections"]["messages"] = [
        {"reason": "rejected_by_api", "message": text, "count": 1} for text in HOSTILE[:5]
    ]
    document["rows"]["fields_not_confirmed"] = dict.fromkeys(HOSTILE, 1)
    document["rows"]["accepted"] = dict.fromkeys(HOSTILE, 1)
    document["windows"]["lanes"] = [
        {"data_key": text, "fields": [text, text], "rows": 1, "oldest_seconds": 1.0}
        for text in HOSTILE
    ]
    document["troubles"] = [
        trouble("rejections", "degraded", text, text, where=text) for text in HOSTILE
    ]
    document["partitions"] = [
        partition(
            number,
            pauses=[text],
            oldest=oldest(1, unsettled_seconds=99.0, key_value=text, message=text),
        )
        for number, text in enumerate(HOSTILE)
    ]
    document["api"]["last_error"] = HOSTILE[0] + HOSTILE[1]
    return document


#: By the cause of "rows are not arriving".
FAULTS: dict[str, Callable[[], Document]] = {
    "api_failing": api_failing,
    "api_unauthorized": api_unauthorized,
    "row_stuck": poison_row,
    "dead_letter_topic_failing": dead_letter_topic_failing,
    "partition_out_of_range": partition_out_of_range,
}
SAMPLES: dict[str, Callable[[], Document]] = {
    "healthy": healthy,
    "joining": joining,
    "backlog": backlog,
    "rejections": rejections,
    **FAULTS,
    "many_partitions": many_partitions,
    "hostile": hostile,
}
