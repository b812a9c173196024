"""Effects: what the core asks the loop and its adapters to do."""

from __future__ import annotations

import msgspec

from consumer.core.batching.window import Window
from consumer.core.model import Notice, Rejection, Row
from consumer.core.uploading.tasks import Task


class Attempt(msgspec.Struct, frozen=True, eq=False, gc=False):
    """One sending of a window: what a response is matched with."""

    window: Window
    number: int
    data_key: str
    items: list[dict[str, str]]
    by_task: bool = False  #: asynchronously: its response is a task's id


class DeadLetter(msgspec.Struct, frozen=True, eq=False, gc=False):
    """One rejected row on its way to the dead-letter topic."""

    row: Row
    rejection: Rejection


class Receipt(msgspec.Struct, frozen=True, eq=False, gc=False):
    """The accepted rows of one request, on their way to the receipts topic."""

    rows: list[Row]
    unconfirmed: list[Row]  #: those among them that no response listed
    unlisted: dict[int, list[str]]  #: by the id of a row, its fields that the response did not list
    affected: int | None  #: codes that the request changed, all its rows together, if the API told
    task_id: str  #: empty: the request was synchronous


class Effects(msgspec.Struct, gc=False):
    """The work that the core hands to the loop now."""

    send: list[Attempt] = []
    polls: list[Task] = []  #: ask the API for the state of these tasks
    dead_letters: list[DeadLetter] = []
    receipts: list[Receipt] = []
    token_check: bool = False  #: call ``GET /me``, with the token read again
    notices: list[Notice] = []
