"""Owns the fixtures of the end-to-end tests, and the decision whether they can run here."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import pytest

from . import netns
from .claude import Claude, find_claude, seed
from .home import Home
from .install_cli import PACKAGE, ROOT, VERSION
from .model import Model
from .served import Served

TEST_TIMEOUT = 90.0
TOLD_CHARACTERS = 400

RECORDINGS = ROOT / "build" / "e2e"

obstacle = pytest.StashKey[str]()
exhibits = pytest.StashKey["Exhibits"]()


@dataclass(slots=True)
class Exhibits:
    """What the report of a test's failure shows: texts by title, and the CLIs that ran."""

    texts: dict[str, Callable[[], str]] = field(default_factory=dict)
    clis: list[Claude] = field(default_factory=list)

    @classmethod
    def of(cls, item: pytest.Item) -> Exhibits:
        """The exhibits of one test."""
        return item.stash.setdefault(exhibits, cls())


class StartClaude(Protocol):
    """Starts a real CLI in the test's home, talking to the test's model; it is ended after the test."""

    def __call__(
        self, *arguments: str, environment: dict[str, str] | None = None, directory: Path | None = None
    ) -> Claude: ...


def find_obstacle() -> str | None:
    """Why the real CLI cannot be driven here, or None."""
    if find_claude() is None:
        return f"{PACKAGE} {VERSION} is not installed (python tests/e2e/install_cli.py)"
    if not netns.is_loopback_only():
        return "the test run is not in a loopback-only namespace (python tests/e2e/netns.py -- python -m pytest)"
    return None


@pytest.fixture(scope="session")
def driveable(request: pytest.FixtureRequest) -> None:
    """Skip every test that needs the real CLI where it cannot be driven; where CI is set, fail it instead."""
    reason = find_obstacle()
    if reason is None:
        return
    if os.environ.get("CI"):
        pytest.fail(f"the real CLI must be driven in CI, but {reason}", pytrace=False)
    request.config.stash[obstacle] = reason
    pytest.skip(reason)


@pytest.fixture
def home(driveable: None) -> Iterator[Home]:
    """A throwaway home whose Claude Code has its first-run dialogs behind it."""
    with Home() as home:
        seed(home)
        yield home


@pytest.fixture
def model(driveable: None, request: pytest.FixtureRequest) -> Iterator[Model]:
    """A model endpoint that plays scripts."""
    with Model() as model:
        Exhibits.of(request.node).texts["model requests"] = lambda: _told(model)
        yield model


@pytest.fixture
def start_claude(home: Home, model: Model, request: pytest.FixtureRequest) -> Iterator[StartClaude]:
    """Starts real CLIs that end with the test."""
    started = Exhibits.of(request.node).clis

    def start(*arguments: str, environment: dict[str, str] | None = None, directory: Path | None = None) -> Claude:
        claude = Claude(home, model.url, *arguments, environment=environment, directory=directory)
        started.append(claude)
        return claude

    yield start
    for claude in started:
        claude.close()


@pytest.fixture
def served(home: Home, request: pytest.FixtureRequest) -> Iterator[Served]:
    """The project folder of the test's home, served by a real `pairside serve` that accepts connections.

    After the test it has to end well: status 0, nothing on standard error, no lock file left.
    """
    with Served(home) as served:
        Exhibits.of(request.node).texts["pairside serve"] = served.described
        served.start()
        yield served
        assert served.stop() == 0
        assert served.errors == ""
        assert home.lock_files == []


def _told(model: Model) -> str:
    lines = [f"stray: {stray}" for stray in model.strays]
    for number, request in enumerate(model.requests, 1):
        lines += [f"{number}. {request.prompt!r}, then … {request.news[-TOLD_CHARACTERS:]!r}"]
        lines += [f"   {'error' if result.is_error else 'result'}: {result.text!r}" for result in request.tool_results]
    return "\n".join(lines)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Bound every test of this folder."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent) and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(TEST_TIMEOUT))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """Show with a failure what each process of the test showed; record the terminal output of its CLIs."""
    report: pytest.TestReport = yield  # type: ignore[assignment]
    if report.failed:
        shown = Exhibits.of(item)
        report.sections += [(title, show()) for title, show in shown.texts.items()]
        for number, claude in enumerate(shown.clis, 1):
            RECORDINGS.mkdir(parents=True, exist_ok=True)
            recording = RECORDINGS / f"{item.name}.{number}.pty"
            recording.write_bytes(claude.raw)
            report.sections.append((f"screen of CLI {number}, raw in {recording}", claude.screen))
    return report  # type: ignore[return-value]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say loudly when the tests with the real CLI did not run."""
    reason = config.stash.get(obstacle, None)
    if reason is not None:
        terminalreporter.section("THE REAL CLI WAS NOT TESTED", sep="*", red=True, bold=True)
        terminalreporter.line(reason, red=True)
