"""Owns how tests run, and the throwaway places in which they do.

There is no plugin for asyncio: a test that is a coroutine function gets an event loop of its own from the hook
below, at most `ASYNC_SECONDS`, and fails when something in that loop failed unseen. Fixtures are never
coroutines; one that needs a loop returns an async context manager.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import signal
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias, cast

import pytest

from pairside import runtime, testing
from pairside.agents.claude import discovery
from pairside.limits import Limits
from pairside.serve import Serving, serving

ASYNC_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server listens, and the token that it wants."""

    port: int
    token: str


def address_of(server: Serving) -> Address:
    """The address of a server, as a client finds it."""
    lock = discovery.read(server.lock_file)
    assert lock is not None
    return Address(lock.port, lock.token)


def agent(address: Address, **options: Any) -> AbstractAsyncContextManager[testing.Agent]:
    """A scripted agent, connected for as long as an `async with` block runs."""
    return testing.Agent.connect(cast(testing.Running, address), **options)


# A test run under nohup, or in the background of a script, has signals ignored, and whatever it starts would have too.
for number, action in (
    (signal.SIGINT, signal.default_int_handler),
    (signal.SIGHUP, signal.SIG_DFL),
    (signal.SIGQUIT, signal.SIG_DFL),
):
    signal.signal(number, action)

Serve: TypeAlias = Callable[..., AbstractAsyncContextManager[Serving]]
"""Serves folders (the workspace if none is named) with the embedded editor, in the throwaway environment."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """See tests/nvim/conftest.py."""
    parser.addoption("--all-neovims", action="store_true", help="run every case with every Neovim")


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a coroutine function under `asyncio.run`, bounded; what no task ever saw fails the test."""
    function = pyfuncitem.obj
    if not inspect.iscoroutinefunction(function):
        return None
    arguments = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}
    unseen: list[dict[str, Any]] = []

    async def bounded() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: unseen.append(context))
        async with asyncio.timeout(ASYNC_SECONDS):
            await function(**arguments)

    asyncio.run(bounded())
    assert not unseen, unseen
    return True


@pytest.fixture(autouse=True)
def no_real_home(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keep the tests of this folder away from the home of whoever runs them."""
    if request.path.parent != Path(__file__).parent:
        return
    for name in os.environ.keys() & {"CLAUDE_CONFIG_DIR", "CLAUDE_CODE_SSE_PORT", "CLAUDECODE"}:
        monkeypatch.delenv(name)
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    for name in ("XDG_STATE_HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME", "XDG_RUNTIME_DIR"):
        monkeypatch.setenv(name, str(home / name.lower()))


@pytest.fixture
def environment() -> Iterator[dict[str, str]]:
    """The variables of a throwaway home, short enough for a Unix socket below it; removed after the test."""
    with tempfile.TemporaryDirectory(prefix="pairside-", dir="/tmp") as folder:
        variables = {"PATH": os.environ["PATH"], "HOME": f"{folder}/home", "TMPDIR": f"{folder}/tmp"}
        for name in ("HOME", "TMPDIR"):
            os.mkdir(variables[name], 0o700)
        variables["XDG_STATE_HOME"] = f"{folder}/state"
        assert runtime.location(variables).startswith(folder)
        yield variables


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """An empty folder by its real path."""
    folder = tmp_path.resolve() / "workspace"
    folder.mkdir()
    return folder


@pytest.fixture(name="serving")
def serving_fixture(environment: dict[str, str], workspace: Path) -> Serve:
    """Serves for as long as an `async with` block runs; see `Serve`."""

    def serve(*folders: Path, limits: Limits | None = None) -> AbstractAsyncContextManager[Serving]:
        names = tuple(str(folder) for folder in folders or (workspace,))
        return serving(names, limits=limits or Limits(), environment=environment)

    return serve
