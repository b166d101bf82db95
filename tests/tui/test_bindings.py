"""Every key of the terminal UI is pressed by a test."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from textual.binding import Binding

from pairside.tui.help import Help
from tests.tui.test_app import OWNERS

FOLDER = Path(__file__).parent
MODULES = {
    "PairsideApp": ("test_app", "test_reviews", "test_changes"),
    "ReviewsView": ("test_reviews", "test_app"),
    "ChangesView": ("test_changes",),
    "Reading": ("test_reading", "test_reviews"),
    "EntryList": ("test_reviews", "test_reading"),
    "DiffView": ("test_reading",),
    "AgentsView": ("test_agents",),
    "LogView": ("test_log",),
    "Facts": ("test_agents",),
    "Picker": ("test_picker",),
    "Preview": ("test_picker",),
    "Help": ("test_app",),
}
"""Where the keys of each part are pressed."""


def words_of(module: str) -> set[str]:
    """Every text in a test module that could be the name of a key."""
    tree = ast.parse((FOLDER / f"{module}.py").read_text())
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            found.add(node.value)
        if isinstance(node, ast.For) and isinstance(node.iter, ast.Constant) and isinstance(node.iter.value, str):
            found |= set(node.iter.value)  # for key in "2341"
    return found


@pytest.mark.parametrize("owner", [*OWNERS, Help], ids=lambda owner: owner.__name__)
def test_every_key_is_pressed_by_a_test(owner: type) -> None:
    """Its name stands in one of the modules that are about it."""
    pressed: set[str] = set().union(*map(words_of, MODULES[owner.__name__]))
    for binding in owner.__dict__["BINDINGS"]:
        assert isinstance(binding, Binding)
        for key in binding.key.split(","):
            assert key.strip() in pressed, f"{owner.__name__}: no test presses {key} ({binding.description})"
