"""The page for people who come from claudecode.nvim: every row has a test that exists, and no command is missing."""

from __future__ import annotations

import ast
import re

import pytest

from tests.nvim.editor import ROOT
from tests.nvim.test_claudecode import COMMANDS, FUNCTIONS

TEXT = (ROOT / "docs" / "claudecode-nvim.md").read_text(encoding="utf-8")
ROWS = [line for line in TEXT.splitlines() if line.startswith("| ") and not re.match(r"\| (What|---)", line)]
NAME = re.compile(r"`(/?[a-z0-9_/]+)::([a-z0-9_]+)`")


def names_in(module: str) -> set[str]:
    """The tests of a module, as the page calls it, without what all of their names begin with."""
    folder, _, name = module.rpartition("/")
    file = (ROOT / "tests" / folder.lstrip("/") if "/" in module else ROOT / "tests" / "nvim") / f"test_{name}.py"
    return {
        node.name.removeprefix("test_")
        for node in ast.parse(file.read_text(encoding="utf-8")).body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
    }


@pytest.mark.parametrize("module", sorted({module for row in ROWS for module, _ in NAME.findall(row)}))
def test_every_test_that_the_page_names_exists(module: str) -> None:
    """Whoever renames a test renames it there, too."""
    named = {name for row in ROWS for found, name in NAME.findall(row) if found == module}
    assert named - names_in(module) == set()


def test_every_row_of_the_page_has_a_test() -> None:
    """Each says what it says in three cells, of which the last names tests and nothing else."""
    assert len(ROWS) > 150
    for row in ROWS:
        cells = re.split(r"(?<!\\) \| ", row.removeprefix("| ").removesuffix(" |"))
        assert len(cells) == 3, row
        assert re.fullmatch(rf"{NAME.pattern}(, {NAME.pattern})*", cells[2]), row


def test_no_row_is_there_twice() -> None:
    """A table says each thing once."""
    for table in re.split(r"^\| What.*$", TEXT, flags=re.MULTILINE)[1:]:
        firsts = [row.split(" | ")[0] for row in table.splitlines() if row in ROWS]
        assert len(firsts) == len(set(firsts))


def test_every_command_and_module_of_claudecode_is_on_the_page() -> None:
    """Nobody has to ask what became of one."""
    assert [name for name in COMMANDS if f"`:{name}`" not in TEXT] == []
    modules = {module.removeprefix("claudecode.") for module in FUNCTIONS} - {"claudecode"}
    assert [name for name in modules if f"`{name}." not in TEXT] == []
