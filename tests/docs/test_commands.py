"""Every block of commands in the docs is run somewhere, and what the text names exists.

A block's tag says how it is run: ``tutorial`` blocks of a page are one shell session, in order, and
``second-terminal`` and ``third-terminal`` stand beside it (``tests/integration/test_tutorial.py``);
``ci`` blocks are what ``.ci/run`` runs itself; ``install`` is what the test of the image's steps
does. Only what takes a container engine may be tagged ``docker`` and is not run.
"""

from __future__ import annotations

import re

import pytest

from consumer.cli import COMMANDS
from tests.docs.blocks import ROOT, Block, blocks, pages

TAGS = {"tutorial", "second-terminal", "third-terminal", "ci", "install", "docker"}
#: The pages whose blocks ``tests/integration/test_tutorial.py`` types.
TYPED = {"README.md", "docs/getting-started.md"}
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
def test_a_link_to_a_file_leads_somewhere(page: str) -> None:
    here = (ROOT / page).parent
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", (ROOT / page).read_text(encoding="utf-8"))
    assert [link for link in links if not (here / link).exists()] == []
