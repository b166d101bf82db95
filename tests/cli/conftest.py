"""Owns the fixtures of the command line's tests: a throwaway home, a server in it, and an agent."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.cli.robot import Robot
from tests.cli.terminal import Terminal
from tests.e2e.home import Home
from tests.e2e.served import Served


@pytest.fixture
def home() -> Iterator[Home]:
    """A home and a project folder of their own."""
    with Home() as home:
        yield home


@pytest.fixture
def served(home: Home) -> Iterator[Served]:
    """The project folder, served."""
    with Served(home) as served:
        served.start()
        yield served


@pytest.fixture
def connect(home: Home, served: Served) -> Iterator[Callable[..., Robot]]:
    """Connects agents to the server; they leave at the end of the test."""
    with ExitStack() as stack:

        def connected(**arguments: Any) -> Robot:
            (lock,) = home.lock_files
            return stack.enter_context(Robot(lock, **arguments))

        yield connected


@pytest.fixture
def robot(connect: Callable[..., Robot]) -> Robot:
    """A connected agent."""
    return connect()


@pytest.fixture
def terminal(home: Home) -> Iterator[Callable[..., Terminal]]:
    """Runs pairside in a pseudo-terminal, in the project folder."""
    with ExitStack() as stack:

        def opened(
            *command: str, rows: int = 50, columns: int = 100, program: str | None = None, **environment: str
        ) -> Terminal:
            return stack.enter_context(
                Terminal(
                    *command,
                    cwd=home.project,
                    environment=home.environment(**environment),
                    rows=rows,
                    columns=columns,
                    program=program,
                )
            )

        yield opened
