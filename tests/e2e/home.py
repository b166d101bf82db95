"""Owns the throwaway home that every process of a test lives in."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self


class Home:
    """A home directory, a project folder beside it, and an environment that names nothing outside of them.

    The paths are real, as agents compare them with their own working directory, and too short to outgrow a
    Unix socket's 108 bytes, as those below pytest's `tmp_path` would.
    """

    def __init__(self) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="e2e-", dir="/tmp")).resolve()
        self.home = self.root / "home"
        self.claude_config = self.home / ".claude"
        self.project = self.root / "project"
        self._temporary = self.root / "tmp"
        for directory in (self.home, self.claude_config, self.project, self._temporary):
            directory.mkdir()

    @property
    def lock_files(self) -> list[Path]:
        """The lock files that Claude Code finds, sorted by name."""
        return sorted((self.claude_config / "ide").glob("*.lock"))

    def environment(self, **additions: str) -> dict[str, str]:
        """The whole environment of a process of this home; of the test run's own, only PATH is passed on."""
        return {
            "HOME": str(self.home),
            "CLAUDE_CONFIG_DIR": str(self.claude_config),
            "XDG_CONFIG_HOME": str(self.home / ".config"),
            "XDG_DATA_HOME": str(self.home / ".local" / "share"),
            "XDG_STATE_HOME": str(self.home / ".local" / "state"),
            "XDG_CACHE_HOME": str(self.home / ".cache"),
            "TMPDIR": str(self._temporary),
            "PATH": os.environ.get("PATH", os.defpath),
            "LANG": "C.UTF-8",
            "SHELL": "/bin/sh",
            "TERM": "xterm-256color",
            **additions,
        }

    def write(self, name: str, content: str) -> Path:
        """Write a file of the project, byte for byte, and return its path."""
        path = self.project / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode())
        return path

    def remove(self) -> None:
        """Remove everything; the processes that live in it must have ended."""
        shutil.rmtree(self.root, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.remove()
