"""Owns which agent CLI the end-to-end tests drive: its npm package, its version, where it is installed.

    python tests/e2e/install_cli.py

installs it into the build folder, once. The version is pinned: what the tests know of the CLI's screen and
of its protocol was seen in this one, and a bare ``npm install`` may resolve another.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

PACKAGE = "@anthropic-ai/claude-code"
VERSION = "2.1.330"

ROOT = Path(__file__).resolve().parents[2]
PREFIX = ROOT / "build" / "npm"
EXECUTABLE = PREFIX / "node_modules" / ".bin" / "claude"

INSTALL_TIMEOUT = 600.0


def installed_version() -> str | None:
    """The version found in the build folder, or None when there is no runnable one."""
    manifest = PREFIX / "node_modules" / PACKAGE / "package.json"
    try:
        version = json.loads(manifest.read_text(encoding="utf-8"))["version"]
    except (OSError, ValueError, KeyError):
        return None
    return str(version) if os.access(EXECUTABLE, os.X_OK) else None


def install() -> str | None:
    """Install the pinned version in the build folder unless it is there; return why that failed, or None."""
    if installed_version() == VERSION:
        return None
    npm = shutil.which("npm")
    if npm is None:
        return "npm is not installed"
    PREFIX.mkdir(parents=True, exist_ok=True)
    command = [
        npm,
        "install",
        "--prefix",
        str(PREFIX),
        "--save-exact",
        "--no-audit",
        "--no-fund",
        f"{PACKAGE}@{VERSION}",
    ]
    try:
        done = subprocess.run(command, timeout=INSTALL_TIMEOUT, check=False, stdin=subprocess.DEVNULL)
    except subprocess.TimeoutExpired:
        return f"npm install took longer than {INSTALL_TIMEOUT:.0f} s"
    if done.returncode != 0:
        return f"npm install ended with status {done.returncode}"
    if installed_version() != VERSION:
        return f"npm installed {installed_version()} instead of {VERSION}"
    return None


def main() -> int:
    """Install, and say loudly when that was not possible.

    The status is 0 in either case: without the CLI its tests skip, and fail where CI is set.
    """
    failure = install()
    if failure is not None:
        print(f"*** {PACKAGE} {VERSION} NOT INSTALLED: {failure}. ITS TESTS WILL NOT RUN. ***", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
