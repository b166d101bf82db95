"""Owns what agents get to know of what the person does: which kinds of things, and of which files.

A file whose name or path matches a pattern is kept from every agent: what is selected in it, that it is open, and
what linters found in it. The agent can still read the file by itself, if its own rules let it.
"""

from __future__ import annotations

import fnmatch
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

EXCLUDE = (".env*", "*.pem", "*.key", "id_*", "*secret*", "*credential*")


class Kind(StrEnum):
    """What can be shared, by the name of its setting."""

    SELECTION = "selection"
    OPEN_FILES = "open_files"
    DIAGNOSTICS = "diagnostics"


@dataclass(frozen=True, slots=True)
class Policy:
    """What the person wants to share, as configured."""

    exclude: tuple[str, ...] = EXCLUDE
    """Patterns of files that no agent hears of; see `Sharing.pattern`."""
    selection: bool = True
    open_files: bool = True
    diagnostics: bool = True


class Withheld(Exception):
    """Something is not shared; the message says why and what to do."""


class Sharing:
    """What is shared at this moment: the policy, and a switch for everything."""

    def __init__(self, policy: Policy, folders: Callable[[], Sequence[str]]) -> None:
        """`folders` gives the workspace: patterns are matched with paths from there."""
        self.policy = policy
        self.on = True
        self._folders = folders
        self._patterns = [(pattern, _compiled(pattern)) for pattern in policy.exclude]

    def shares(self, kind: Kind, path: str) -> bool:
        """Whether agents may know that about a file, given by its absolute path."""
        return self.why_not(kind, path) is None

    def why_not(self, kind: Kind, path: str) -> str | None:
        """Why agents may not know that about a file; None if they may."""
        if not self.on:
            return "sharing is off: pairside share on"
        if not getattr(self.policy, kind):
            return f"share.{kind} is false"
        pattern = self.pattern(path)
        return None if pattern is None else f"share.exclude has {pattern}"

    def pattern(self, path: str) -> str | None:
        """The first pattern that excludes a file, whatever is switched on; None if none does.

        A pattern without a slash is matched with the name and with the path from the workspace folder, so that `*`
        reaches across folders; one with a slash also with the whole path, from `/` or `~`. Case does not matter. Of
        a symbolic link both its own path and that of its target count.
        """
        for one in dict.fromkeys((os.path.realpath(path), path)):
            name, relative = os.path.basename(one), self._relative(one)
            for pattern, matches in self._patterns:
                if matches(name) or matches(relative) or ("/" in pattern and matches(one)):
                    return pattern
        return None

    def _relative(self, path: str) -> str:
        """The path from the nearest workspace folder that holds it; outside of all just the name."""
        inside = [folder.rstrip("/") + "/" for folder in self._folders()]
        start = max((len(folder) for folder in inside if path.startswith(folder)), default=0)
        return path[start:] if start else os.path.basename(path)


def _compiled(pattern: str) -> Callable[[str], re.Match[str] | None]:
    return re.compile(fnmatch.translate(os.path.expanduser(pattern)), re.IGNORECASE).match
