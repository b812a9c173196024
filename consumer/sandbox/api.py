"""One call to the API, from what arrived to what is answered; no sockets here."""

from __future__ import annotations

import hmac
import re
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

from consumer.sandbox import answers, async_rules, documents, rules
from consumer.sandbox.answers import SandboxResponse
from consumer.sandbox.async_rules import AsyncUpload
from consumer.sandbox.faults import Facts, Fault, Faults
from consumer.sandbox.journal import Journal, RequestEntry
from consumer.sandbox.rules import Upload
from consumer.sandbox.store import Store
from consumer.sandbox.tasks import TaskOutcome

ME = "/api/v2/me/"
UPLOAD = "/api/v2/scm/upload/"
ASYNC = "/api/v2/scm/upload/async/"
TASK = re.compile(r"/api/v2/scm/tasks/([^/]+)/")
DOWNLOAD = "/api/v2/codes/download/"
DOCUMENT = re.compile(r"/api/v2/documents/([^/]+)/(get-download-link/)?")
#: Where documents lie; their links tell the name, and need no token.
FILE = re.compile(r"/media/documents/([^/]+)\.csv")
#: Seconds until a document is ready.
DOCUMENT_SECONDS = 0.2

#: path → name for faults, and the one method it allows; a task's has its id in it
ROUTES = {
    ME: ("me", "GET"),
    UPLOAD: ("upload", "POST"),
    ASYNC: ("async", "POST"),
    DOWNLOAD: ("download", "GET"),
}

#: What a token needs for uploads and their tasks (guide, "UAT token permissions").
PERMISSIONS = ("codes_view", "scm_bulk_edit", "scm_code_edit", "product_view")


@dataclass(frozen=True, slots=True)
class SandboxPace:
    """The times that the API takes, as far as no fault says otherwise."""

    #: A synchronous call that selects more codes is given up: 504, nothing applied.
    sync_codes: int = 3000
    sync_seconds: float = 60.0  #: after this time
    task_seconds: float = 0.2  #: from the answer to an asynchronous call until it has its effect


@dataclass(slots=True)
class SandboxCall:
    """A request and what became of it."""

    number: int
    journal: Journal  #: the one it was counted in: a reset starts a new one
    method: str
    path: str
    authorization: str
    content_type: str
    at: float
    query: Mapping[str, str] = field(default_factory=dict)
    base: str = ""  #: the address by which the caller has reached the sandbox
    facts: Facts = field(default_factory=lambda: Facts("other"))
    route: tuple[str, str] = ("other", "")  #: its name and its method, see ``ROUTES``
    upload: Upload | AsyncUpload | None = None
    task: str | None = None  #: the id of the task that it began, or asks about
    faults: list[str] = field(default_factory=list)
    applied: int = 0

    def entry(self, status: int | None) -> RequestEntry:
        """Return it as it stands in the journal."""
        return RequestEntry(
            request=self.number,
            method=self.method,
            path=self.path,
            status=status,
            data_key=self.upload.data_key if self.upload else None,
            rows=self.facts.rows,
            keys=self.facts.keys,
            applied=self.applied,
            fault="+".join(self.faults) or None,
            bytes=len(self.facts.body),
            at=self.at,
            task=self.task,
        )


class SandboxApi:
    """Answer calls.

    ``pause(seconds)`` waits, and returns whether to go on (False: the server stops).
    """

    def __init__(
        self,
        store: Store,
        faults: Faults,
        token: Callable[[], str],
        permissions: Callable[[], Collection[str]],
        pause: Callable[[float], bool],
        pace: Callable[[], SandboxPace],
    ) -> None:
        self._store = store
        self._faults = faults
        self._token = token
        self._permissions = permissions
        self._pause = pause
        self._pace = pace

    def unread(self, call: SandboxCall) -> SandboxResponse | None:
        """Return the answer that is given before the body is read, if one is."""
        if about := TASK.fullmatch(call.path):
            call.task = about[1]
            call.route = ("task", "GET")
        elif DOCUMENT.fullmatch(call.path):
            call.route = ("document", "GET")
        elif FILE.fullmatch(call.path):
            call.route = ("file", "GET")
        else:
            call.route = ROUTES.get(call.path, call.route)
        call.facts.route = call.route[0]
        return SandboxResponse(None, wire=answers.RESET) if self._strike("arrive", call) else None

    def answer(self, call: SandboxCall, body: bytes) -> SandboxResponse:
        """Return the answer to a call whose body has been read."""
        self._examine(call, body)
        if delay := self._strike("delay", call):
            self._pause(delay["seconds"])
        if fault := self._strike("answer", call):
            return self._instead(fault, call)
        response = self._routed(call)
        if response.status == 200 and (fault := self._strike("body", call)):
            response = _other_body(fault, response)
        if response.status in (200, 400) and (fault := self._strike("wire", call)):
            _other_wire(fault, response)
        return response

    def _strike(self, stage: str, call: SandboxCall) -> Fault | None:
        fault = self._faults.strike(stage, call.facts)
        if fault:
            call.faults.append(fault.kind)
        return fault

    def _examine(self, call: SandboxCall, body: bytes) -> None:
        call.facts.body = body
        if call.task and (task := self._store.tasks.find(call.task)):
            call.facts.keys = task.upload.keys
        if call.method != "POST" or call.facts.route not in ("upload", "async"):
            return
        upload: Upload | AsyncUpload
        upload = call.upload = (rules if call.facts.route == "upload" else async_rules).examine(
            body
        )
        if call.content_type.partition(";")[0].strip().lower() != "application/json":
            upload.refusals.insert(
                0, rules.Mistake("wrong_content_type", f"{call.content_type!r} is not JSON's.")
            )
        call.facts.keys = upload.keys
        call.facts.rows = len(upload.keys)
        # broken is broken, whatever fault answers the call
        if upload.refusals or upload.mistakes or upload.advice:
            with self._store.lock:
                call.journal.judge(call.number, [*upload.refusals, *upload.mistakes], upload.advice)

    def _instead(self, fault: Fault, call: SandboxCall) -> SandboxResponse:
        """Return the answer of a fault: nothing is applied, or (late) not now."""
        kind = fault.kind
        if kind in ("throttle", "rate_limit"):
            return answers.throttled(fault)
        if kind == "status":
            return answers.failed(fault)
        if kind == "redirect":
            response = answers.as_html(fault["code"])
            response.headers = (("Location", fault["location"]),)
            return response
        if kind == "too_large":
            return answers.as_html(413)
        if kind == "firewall":
            return answers.as_html(fault["code"], "Request blocked.")
        if kind == "late":
            generation = self._store.generation
            return SandboxResponse(
                None,
                wire=answers.CLOSE,
                afterwards=lambda: self._later(fault["seconds"], generation, call),
            )
        if kind == "timeout_before":
            return SandboxResponse(None, wire=answers.CLOSE, hold=fault["seconds"])
        return SandboxResponse(None, wire=answers.RESET)

    def _later(self, seconds: float, generation: int, call: SandboxCall) -> None:
        if self._pause(seconds):
            with self._store.lock:
                if self._store.generation == generation:
                    self._routed(call)

    def _routed(self, call: SandboxCall) -> SandboxResponse:
        name, method = call.route
        if name == "other":
            return answers.detail(404, "Not found.")
        if name == "file":
            return self._file(call)
        if refused := self._refused(call, method):
            return refused
        if name == "me":
            return answers.as_json(
                200, {"email": "sandbox@example.com", "permissions": list(self._permissions())}
            )
        if not set(PERMISSIONS) <= set(self._permissions()):
            return answers.detail(403, "You do not have permission to perform this action.")
        with self._store.lock:
            self._store.catch_up()
            if name == "download":
                return self._ordered(call)
            if name == "document":
                return self._asked(call)
            if call.upload is None:
                return self._polled(call)
            if any(refusal.rule == "wrong_content_type" for refusal in call.upload.refusals):
                return answers.detail(
                    415, f'Unsupported media type "{call.content_type}" in request.'
                )
            if call.upload.refusals:
                return answers.refused(call.upload.refusals)
            if isinstance(call.upload, Upload):
                return self._uploaded(call, call.upload)
            return self._begun(call, call.upload)

    def _refused(self, call: SandboxCall, method: str) -> SandboxResponse | None:
        """Return the answer to a call without the token, or by another method; else None."""
        if not call.authorization:
            text = "Authentication credentials were not provided."
            return answers.detail(401, text, (("WWW-Authenticate", "UAT"),))
        if not hmac.compare_digest(call.authorization.encode(), f"UAT {self._token()}".encode()):
            return answers.detail(401, "Invalid token.", (("WWW-Authenticate", "UAT"),))
        if call.method != method:
            return answers.detail(405, f'Method "{call.method}" not allowed.', (("Allow", method),))
        return None

    def _ordered(self, call: SandboxCall) -> SandboxResponse:
        """Make a document of the codes as they are now."""
        columns = self._strike("document_columns", call)
        other_spelling = self._strike("document_spelling", call) is not None
        codes = [
            (code, fields)
            for code, fields in self._store.codes.data.items()
            if documents.selects(code, fields, call.query)
        ]
        content = documents.as_csv(
            codes,
            {name for fields in self._store.codes.data.values() for name in fields},
            columns["fields"] if columns else (),
            other_spelling=other_spelling,
        )
        if cut := self._strike("document_cut", call):
            content = content[: cut["bytes"]]
        late = self._strike("document_time", call)
        failure = self._strike("document_fate", call)
        document = self._store.documents.make(
            content,
            len(codes),
            DOCUMENT_SECONDS + (late["seconds"] if late else 0.0),
            failure["message"] if failure else None,
        )
        return answers.as_json(200, {"document": {"key": document.key, "status": "pending"}})

    def _asked(self, call: SandboxCall) -> SandboxResponse:
        """Tell how a document is, or where it lies."""
        found = DOCUMENT.fullmatch(call.path)
        document = self._store.documents.find(found[1]) if found else None
        if document is None or found is None:
            return answers.detail(404, "Not found.")
        ready = time.monotonic() >= document.ready_at
        state = "pending" if not ready else "failed" if document.failure else "ready"
        if not found[2]:
            told = {"key": document.key, "status": state, "name": "codes.csv"}
            if state == "failed":
                told["message"] = document.failure or ""
            return answers.as_json(200, told)
        if state != "ready":
            return answers.detail(400, "The document is not ready.")
        return answers.as_json(200, {"link": f"{call.base}/media/documents/{document.file}.csv"})

    def _file(self, call: SandboxCall) -> SandboxResponse:
        """Give a document to whoever has its link; a token is not to be sent there."""
        found = FILE.fullmatch(call.path)
        with self._store.lock:
            document = self._store.documents.of_file(found[1]) if found else None
        if document is None or time.monotonic() < document.ready_at or document.failure:
            return answers.detail(404, "Not found.")
        return SandboxResponse(200, document.content, content_type="text/csv")

    def _polled(self, call: SandboxCall) -> SandboxResponse:
        task = self._store.tasks.find(call.task or "")
        state = task.state(time.monotonic()) if task else None
        if task is None or state is None:
            return answers.detail(404, "Not found.")
        return answers.told(task, state, self._strike("shape", call))

    def _begun(self, call: SandboxCall, upload: AsyncUpload) -> SandboxResponse:
        campaign = self._strike("fields", call)
        slow = self._strike("task_time", call)
        outcome = TaskOutcome()
        if fault := self._strike("task_fate", call):
            failed = fault.kind == "task_fails"
            outcome = TaskOutcome(
                fault["applied"],
                fault["message"] if failed else None,
                hidden=None if failed else fault["answer"],
            )
        seconds = self._pace().task_seconds + (slow["seconds"] if slow else 0.0)
        task = self._store.begin(
            call.number, upload, campaign["fields"] if campaign else None, outcome, seconds
        )
        call.task = task.id
        return answers.begun(task)

    def _uploaded(self, call: SandboxCall, upload: Upload) -> SandboxResponse:
        mistakes = self._store.mistakes(upload)
        if mistakes:
            fault = self._strike("refuse", call)
            if fault and fault["partial"]:
                self._apply(call, upload.data_key, upload.items[: (mistakes[0].line or 1) - 1])
            return answers.refused(mistakes, fault["style"] if fault else "all")
        if self._store.touched(upload) > self._pace().sync_codes:
            response = answers.as_html(504, "The upload took too long.")
            response.hold = self._pace().sync_seconds
            return response
        items = upload.items
        if omit := self._strike("omit", call):
            keys = omit["keys"] or upload.keys[-omit["rows"] :]
            items = [item for item in items if item[upload.data_key] not in keys]
        return self._apply(call, upload.data_key, items)

    def _apply(
        self, call: SandboxCall, data_key: str, items: list[dict[str, str]]
    ) -> SandboxResponse:
        campaign = self._strike("fields", call)
        applied = self._store.apply(
            call.number, data_key, items, campaign["fields"] if campaign else None
        )
        call.applied += applied.rows
        return answers.accepted(applied, only_changed=self._strike("listing", call) is not None)


def _other_body(fault: Fault, response: SandboxResponse) -> SandboxResponse:
    if fault.kind == "garbage":
        return answers.as_html(200, "It works!")
    body = b"" if fault.kind == "empty" else response.body.ljust(fault["bytes"])
    return SandboxResponse(200, body)


def _other_wire(fault: Fault, response: SandboxResponse) -> None:
    if fault.kind == "trickle":
        response.wire, response.interval = answers.TRICKLE, fault["seconds"]
    elif fault.kind == "reset_midway":
        response.wire = answers.CUT
    else:
        response.status = None
        response.wire = answers.CLOSE if fault.kind == "timeout_after" else answers.RESET
        response.hold = fault["seconds"] if fault.kind == "timeout_after" else 0.0
