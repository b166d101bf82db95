"""Owns the places of the tests of faults: none of them is a real home."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.home import Home


@pytest.fixture
def home() -> Iterator[Home]:
    """A home and a project folder of their own."""
    with Home() as home:
        yield home


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder with a path that is short enough for a Unix socket."""
    with tempfile.TemporaryDirectory(prefix="pairside-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        yield Path(folder).resolve()
