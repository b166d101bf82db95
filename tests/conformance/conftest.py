"""Owns how loudly these tests say that they did not run."""

from __future__ import annotations

import pytest

obstacle = pytest.StashKey[str]()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say loudly when the transport was not judged."""
    reason = config.stash.get(obstacle, None)
    if reason is not None:
        terminalreporter.section("RFC 6455 CONFORMANCE WAS NOT TESTED", sep="*", red=True, bold=True)
        terminalreporter.line(reason, red=True)
