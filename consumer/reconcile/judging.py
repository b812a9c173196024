"""Judge every code of the API's documents by the changes, and the codes that are in none."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol

from consumer.core.model import KEYS_OF_ONE_CODE
from consumer.errors import UserError
from consumer.reconcile.changes import Changes
from consumer.reconcile.comparison import Difference, Kind, differences
from consumer.reconcile.document import KNOWN, Document, HeldCode
from consumer.reconcile.download import Fetched
from consumer.reconcile.expectation import Fold, Key
from consumer.reconcile.findings import Findings

NOT_THERE = "the API has no such code"
NOT_UPLOADED = "none of its events was uploaded before the API was asked"
NOBODY_HAS_IT = (
    "no code of the document holds anything in this field: the campaign does not have it, and the "
    "API discards what is uploaded for it"
)
NOT_OF_THE_CAMPAIGN = (
    "the document has no column for it, and the API finds no code by it: the campaign does not "
    "have the field, and what is uploaded for it is discarded"
)
NO_COLUMN = (
    "the document has no column for it: if it has another name there, name it in reconcile.columns"
)
NO_KEY_COLUMN = "the document has no column for it: codes that events name by it are not found"
#: Fields that every code has: no campaign decides about them.
NOT_OF_A_CAMPAIGN = {*KNOWN, "blacklist_reason"}
#: Codes by which it is found out whether the campaign has a field.
SAMPLES = 3
#: Codes between two signs of progress.
PROGRESS_EVERY = 10_000


class Fetches(Protocol):
    """Fetches a document of the codes that filters select."""

    def fetch(self, filters: Mapping[str, str], path: Path) -> Fetched:
        """Fetch it into a file; raise UserError."""


class Judge:
    """Judges one run. ``api``: to ask more of the API; None: there are only the documents."""

    def __init__(
        self,
        changes: Changes,
        findings: Findings,
        columns: Mapping[str, str],
        api: Fetches | None,
        progress: Callable[[int], None],
    ) -> None:
        """``columns``: the setting ``reconcile.columns``."""
        self._changes = changes
        self._findings = findings
        self._named_columns = columns
        self._api = api
        self._progress = progress
        self._selectors = [key for key in changes.data_keys if key not in KEYS_OF_ONE_CODE]
        self._fold = Fold(changes.of_unit, self._selectors)
        self._wanted = sorted(changes.fields | set(changes.data_keys))
        self._columns: set[str] = set()  # what any document has a column for
        self._held: set[str] = set()  # what any code holds something in
        self._count = 0
        self.not_compared: dict[str, str] = {}  #: fields and data keys, and why

    def judge(self, documents: Sequence[Fetched], *, all_codes: bool) -> None:
        """Judge the codes of these documents.

        ``all_codes``: the API has no others. Raise UserError for a document that is not whole.
        """
        for fetched in documents:
            for code, identities in self._codes(fetched):
                self._held.update(name for name, values in code.fields.items() if any(values))
                self._judge_code(code, _keys(code, identities))
        if not all_codes and self._api is not None and self._any_unseen():
            self._mark_others(self._api)
        self._judge_missing()
        for name in self._wanted:
            if name not in self._changes.fields:
                continue
            if name not in self._columns:
                self._judge_absent(name)
            elif name not in self._held:
                self._findings.mark_discarded(name, NOBODY_HAS_IT)

    def _codes(self, fetched: Fetched) -> Iterator[tuple[HeldCode, list[str]]]:
        """Yield the codes of a document, with the data keys that it tells of each."""
        document = Document(fetched.path, self._wanted, self._named_columns)
        self._columns |= {name for name in self._wanted if name in document}
        identities = [key for key in sorted(KEYS_OF_ONE_CODE) if key in document]
        count = 0
        try:
            for code in document.codes():
                count += 1
                self._count += 1
                if self._count % PROGRESS_EVERY == 0:
                    self._progress(self._count)
                yield code, identities
        finally:
            document.close()
        if fetched.codes is not None and fetched.codes != count:
            raise UserError(
                f"the document has {count:,} codes, and the API says {fetched.codes:,}: it was cut "
                "off; run again"
            )

    def _judge_code(self, code: HeldCode, keys: Sequence[Key]) -> None:
        own = [change for key in keys for change in self._changes.of(key)]
        held = {name: code.one(name) for name in self._selectors}
        expected = self._fold.expected(own, held)
        # A document of another campaign may have had it.
        if expected and not self._changes.mark_seen(keys):
            self._findings.add(list(differences(*keys[0], expected, code.fields)))

    # -- codes that are in no document -----------------------------------------------------------

    def _unseen(self) -> Iterator[Key]:
        for data_key in sorted(KEYS_OF_ONE_CODE & set(self._changes.data_keys) & self._columns):
            for value in self._changes.unseen(data_key):
                yield data_key, value

    def _any_unseen(self) -> bool:
        return next(self._unseen(), None) is not None

    def _mark_others(self, api: Fetches) -> None:
        """Note the codes that are of other campaigns: they are not compared, nor missing."""
        with TemporaryDirectory() as folder:
            fetched = api.fetch({}, Path(folder) / "all.csv")
            for code, identities in self._codes(fetched):
                self._changes.mark_seen(_keys(code, identities))

    def _judge_missing(self) -> None:
        for data_key in KEYS_OF_ONE_CODE & set(self._changes.data_keys):
            if data_key not in self._columns:
                self.not_compared[data_key] = NO_KEY_COLUMN
        for key in list(self._unseen()):
            changes = self._changes.of(key)
            known = any(change.settled for change in changes)
            kind, why = (Kind.MISSING, NOT_THERE) if known else (Kind.UNDECIDED, NOT_UPLOADED)
            self._findings.add([Difference(*key, kind, "", "", "", why, changes[-1])])

    # -- fields that are in no document ----------------------------------------------------------

    def _judge_absent(self, name: str) -> None:
        """Find out why no document has a column for a field."""
        codes = self._findings.absent(name, SAMPLES)
        if self._api is not None and name not in NOT_OF_A_CAMPAIGN and codes:
            with TemporaryDirectory() as folder:
                if _is_discarded(self._api, Path(folder), name, codes):
                    self._findings.settle_absent(name, NOT_OF_THE_CAMPAIGN)
                    return
        self.not_compared[name] = NO_COLUMN


def _is_discarded(api: Fetches, folder: Path, name: str, codes: Sequence[Difference]) -> bool:
    """Return whether the API shows that it does not hold a field for codes that should have it.

    It is asked for codes by what they should hold (the filter ``scm_FIELD``). Were they found, the
    document merely leaves the column out, or the filter is not heeded: nothing is claimed.
    """
    for number, code in enumerate(codes):
        filters = {"extended_id": code.key_value, f"scm_{name}": code.expected}
        try:
            document = Document(api.fetch(filters, folder / f"{number}.csv").path, ())
        except UserError:
            return False
        try:
            if any(one.one("extended_id") == code.key_value for one in document.codes()):
                return False
        finally:
            document.close()
    return True


def _keys(code: HeldCode, identities: Sequence[str]) -> list[Key]:
    return [(name, code.one(name)) for name in identities if code.one(name)]
