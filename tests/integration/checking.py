"""``scm-consumer check`` as integration tests run it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tests.support.job import Job
from tests.support.kafka_secure import PASSWORD
from tests.support.kafka_witness import unique
from tests.support.process import ConsumerProcess

Line = tuple[str, str]  # state, and all that follows the name
CHECK_SECONDS = 40.0


@dataclass
class Checked:
    """The lines that one ``check`` printed, by name."""

    code: int
    out: str
    lines: dict[str, list[Line]]

    def one(self, name: str) -> Line:
        """Return the only line of this name."""
        (line,) = self.lines[name]
        return line

    @property
    def failed(self) -> list[str]:
        """Return the names of what failed, in order."""
        return [
            name for name, lines in self.lines.items() for state, _ in lines if state == "FAILED"
        ]


def check(job: Job, *arguments: str, **sections: dict[str, Any]) -> Checked:
    """Run it to its end; its form and that no secret is shown hold for every run."""
    settings = job.settings(**sections)
    with ConsumerProcess(
        job.folder, settings, "check", *arguments, name=unique("check")
    ) as process:
        code = process.wait(CHECK_SECONDS)
        out, err = process.out, process.err
    assert err == "", err
    for hidden in (
        settings["kafka.client"].get("sasl.password", PASSWORD),
        settings["api"]["token"],
    ):
        assert hidden not in out
    lines: dict[str, list[Line]] = {}
    for line in out.splitlines()[:-1]:
        state, name, text = line[:7].rstrip(), line[8:21].rstrip(), line[22:]
        assert state in ("ok", "warning", "unknown", "skipped", "FAILED"), line
        assert (" -> " in text) == (state in ("FAILED", "warning")) or state == "unknown", line
        lines.setdefault(name, []).append((state, text))
    found = Checked(code, out, lines)
    assert code == (3 if found.failed else 0)
    assert (
        out.splitlines()[-1] == "all is well"
        or f"{len(found.failed)} FAILED" in out
        or not found.failed
    )
    return found
