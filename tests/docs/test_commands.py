"""Every block of commands in the docs is run somewhere, and what the text names exists.

A block's tag says how it is run: ``tutorial`` blocks of a page are one shell session, in order, and
``second-terminal`` and ``third-terminal`` stand beside it (``tests/integration/test_tutorial.py``);
``ci`` blocks are what ``.ci/run`` runs itself; ``install`` is what the test of the image's steps
does; ``alerts`` is run by ``tests/deploy/test_alerts.py``, ``kubernetes`` and ``kubernetes-plain``
by ``tests/deploy/test_chart.py``. Only what takes a container engine may
be tagged ``docker`` and is not run.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from consumer.cli import COMMANDS
from tests.docs.blocks import ROOT, Block, blocks, pages

TAGS = {
    "tutorial",
    "second-terminal",
    "third-terminal",
    "ci",
    "install",
    "docker",
    "alerts",
    "kubernetes",
    "kubernetes-plain",
}
#: The pages whose blocks ``tests/integration/test_tutorial.py`` types.
TYPED = {"README.md", "docs/getting-started.md"}
#: Named by where they are in an installed package.
INSTALLED = {"consumer/schemas"}
SHELL_BLOCKS = [
    block
    for page in pages()
    for block in blocks(page)
    if block.language in ("sh", "bash", "console")
]


@pytest.mark.parametrize(
    "block", SHELL_BLOCKS, ids=[f"{block.page}:{block.line}" for block in SHELL_BLOCKS]
)
def test_every_block_of_commands_says_how_it_is_run(block: Block) -> None:
    assert block.tag in TAGS
    if block.tag in ("tutorial", "second-terminal", "third-terminal"):
        assert block.page in TYPED
    if block.tag == "ci":
        run_by_ci = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
        for target in re.findall(r"^make (\w+)", block.text, re.MULTILINE):
            assert re.search(rf"^make .*\b{target}\b", run_by_ci, re.MULTILINE), (
                f"make {target} is not run by .ci/run"
            )
    elif block.tag == "docker":
        assert all(line.startswith(("docker ", "#")) for line in block.text.splitlines())


def test_the_readme_names_the_two_commands_of_a_bare_machine() -> None:
    (block,) = (block for block in blocks("README.md") if block.tag == "ci")
    assert re.findall(r"^make (\w+)", block.text, re.MULTILINE) == ["demo", "test"]


@pytest.mark.parametrize("page", pages())
def test_a_command_named_in_the_text_exists(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    named = set(re.findall(r"`scm-consumer ([a-z]+)", text))
    assert named <= set(COMMANDS), f"{page} names {sorted(named - set(COMMANDS))}"


@pytest.mark.parametrize("page", pages())
def test_a_link_within_the_project_leads_to_a_file_and_its_heading(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    broken = []
    for link, _, heading in re.findall(r"\]\(([^)#:]*)(#([^)]*))?\)", text):
        target = (ROOT / page).parent / link if link else ROOT / page
        if not target.exists() or (heading and heading not in _anchors(target)):
            broken.append(f"{link}#{heading}")
    assert broken == []


@pytest.mark.parametrize("page", pages())
def test_a_file_named_in_the_text_exists(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    named = re.findall(r"`((?:consumer|tests|benchmarks|deploy|docs|schemas)/[\w./-]+)`", text)
    assert [name for name in named if name not in INSTALLED and not (ROOT / name).exists()] == []


def test_what_contributors_are_sent_to_is_in_the_code() -> None:
    code = "\n".join(path.read_text("utf-8") for path in (ROOT / "consumer").rglob("*.py"))
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    names = [name for name in re.findall(r"`([\w.]+)`", text) if re.search(r"[A-Z]|^_|\._", name)]
    assert len(names) >= 15
    missing = [name for name in names if not _is_defined(name.rpartition(".")[2], code)]
    assert [name for name in missing if not name.endswith(".md")] == []


def _anchors(page: Path) -> set[str]:
    """Return the names that GitHub gives the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def _is_defined(name: str, code: str) -> bool:
    return re.search(rf"^ *(?:def |class )?{name}\b", code, re.MULTILINE) is not None
