"""Owns the run of one pairside command whose bytes matter."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.e2e.home import Home

SECONDS = 15.0


def pairside(
    home: Home,
    *arguments: str,
    given: bytes = b"",
    cwd: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[bytes]:
    """Run a command in the project folder with these bytes on standard input; how it ended, and its bytes."""
    return subprocess.run(
        [sys.executable, "-m", "pairside", *arguments],
        input=given,
        capture_output=True,
        cwd=cwd or home.project,
        env=home.environment(**(environment or {})),
        timeout=SECONDS,
        check=False,
    )
