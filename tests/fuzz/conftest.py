"""Throwaway places for hostile input."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from .target import EXAMPLES, Target, target

TEXT = "one\ntwo 😀\nthree\n"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What is tried may be large; that printing it is slow is no failure. As long as is asked for may take long."""
    for item in items:
        if item.path.parent == Path(__file__).parent:
            item.add_marker(pytest.mark.filterwarnings("ignore:Generating overly large repr"))
            if EXAMPLES:
                item.add_marker(pytest.mark.timeout(0))


@pytest.fixture(autouse=True)
def no_real_home(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever input makes of a name, it ends in a throwaway home."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)


@pytest.fixture(name="target")
def target_fixture(workspace: Path, environment: dict[str, str]) -> Iterator[Target]:
    """A server for a folder with a few things in it, and its good agent."""
    (workspace / "file.txt").write_text(TEXT)
    (workspace / "bytes").write_bytes(bytes(range(256)))
    (workspace / "folder").mkdir()
    (workspace / "link").symlink_to("link")
    with target(workspace, environment) as server:
        yield server
