"""Owns what agents get to know of what the person does: which kinds of things, and of which files.

A file whose name or path matches a pattern is kept from every agent: what is selected in it, that it is open, and
what linters found in it. The agent can still read the file by itself, if its own rules let it.
"""

from __future__ import annotations

import contextlib
import fnmatch
import os
import re
import time
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from enum import StrEnum
from typing import NamedTuple, TypeAlias

from pairside.text import links

EXCLUDE = (".env*", "*.pem", "*.key", "id_*", "*secret*", "*credential*")

NAMES_KEPT = 10_000
ANSWERS_KEPT = 1000
FRESH_SECONDS = 0.5
"""For so long the patterns are not asked again about the same file."""


class Kind(StrEnum):
    """What can be shared, by the name of its setting."""

    SELECTION = "selection"
    OPEN_FILES = "open_files"
    DIAGNOSTICS = "diagnostics"


class Policy(NamedTuple):
    """What the person wants to share, as configured."""

    exclude: tuple[str, ...] = EXCLUDE
    """Patterns of files that no agent hears of; see `Sharing.pattern`."""
    selection: bool = True
    open_files: bool = True
    diagnostics: bool = True


class Withheld(Exception):
    """Something is not shared; the message says why and what to do."""


class _Answer(NamedTuple):
    """Which pattern excluded a file, a moment ago."""

    folders: tuple[str, ...]
    at: float
    pattern: str | None


class Sharing:
    """What is shared at this moment: the policy, and a switch for everything."""

    def __init__(self, policy: Policy, folders: Callable[[], Sequence[str]]) -> None:
        """`folders` gives the workspace: patterns are matched with paths from there."""
        self.policy = policy
        self.on = True
        self._folders = folders
        self._patterns = [(pattern, *_compiled(pattern)) for pattern in policy.exclude]
        self._by_name: dict[str, str] = {}
        """The files that another name excludes, by their real paths, with the pattern."""
        self._answers: dict[str, _Answer] = {}
        """By path, the latest last."""

    def shares(self, kind: Kind, path: str) -> bool:
        """Whether agents may know that about a file, given by its absolute path."""
        return self.why_not(kind, path) is None

    def why_not(self, kind: Kind | None, path: str) -> str | None:
        """Why agents may not know that about a file, None for anything at all; None if they may."""
        if not self.on:
            return "sharing is off: pairside share on"
        if kind is not None and not getattr(self.policy, kind):
            return f"share.{kind} is false"
        pattern = self.pattern(path)
        return None if pattern is None else f"share.exclude has {pattern}"

    def named(self, said: str, path: str) -> None:
        """Take note that a file, given by its real path, was called something else too, an absolute path.

        If a pattern excludes that name, or one of the links that lead from it to the file, the file is excluded from
        then on, however it is called later: what is shared knows only real paths.
        """
        if said != path and path not in self._by_name:
            pattern = self._by_any_name(said)
            if pattern is not None:
                self._by_name[path] = pattern
                while len(self._by_name) > NAMES_KEPT:
                    del self._by_name[next(iter(self._by_name))]

    def pattern(self, path: str) -> str | None:
        """The first pattern that excludes a file, whatever is switched on; None if none does.

        A pattern is matched with the path from the workspace folder (outside of it from the home, else from the root),
        with each part of it and each beginning of it; `*` reaches across folders. One with a slash is matched with
        the whole path too, from `/` or `~`. Case does not matter, and neither does how Unicode composes a letter. Of
        a symbolic link its own name, that of its target and those in between count.
        """
        if path in self._by_name:
            return self._by_name[path]
        # A cursor that moves asks this many times a second, and the links on the way to a file hardly ever change.
        folders, now = tuple(self._folders()), time.monotonic()
        last = self._answers.get(path)
        if last is None or last.folders != folders or now - last.at > FRESH_SECONDS:
            last = _Answer(folders, now, self._by_any_name(path))
            self._answers.pop(path, None)
            self._answers[path] = last
            while len(self._answers) > ANSWERS_KEPT:
                del self._answers[next(iter(self._answers))]
        return last.pattern

    def _by_any_name(self, path: str) -> str | None:
        """The first pattern that excludes one of the names of a file."""
        return next(filter(None, map(self._excludes, dict.fromkeys(_names(path)))), None)

    def _excludes(self, path: str) -> str | None:
        path = unicodedata.normalize("NFC", path)
        relative = self._relative(path)
        parts = dict.fromkeys(relative.split("/"))
        for pattern, matches, begins in self._patterns:
            if begins(relative) or any(map(matches, parts)) or ("/" in pattern and matches(path)):
                return pattern
        return None

    def _relative(self, path: str) -> str:
        """The path from the nearest workspace folder that holds it; outside of all from the home, or from the root."""
        bases = [unicodedata.normalize("NFC", folder.rstrip("/") + "/") for folder in self._folders()]
        inside = [base for base in bases if path.startswith(base)] or [os.path.expanduser("~").rstrip("/") + "/", "/"]
        return path[max(len(base) for base in inside if path.startswith(base)) :]


def _names(path: str) -> Iterator[str]:
    """The names of a file, from the one by which it was called to its real path."""
    yield from map(os.path.normpath, links(path))
    with contextlib.suppress(OSError, ValueError):
        yield os.path.realpath(path)


_Matcher: TypeAlias = Callable[[str], re.Match[str] | None]


def _compiled(pattern: str) -> tuple[_Matcher, _Matcher]:
    """What matches a whole text, and what matches any beginning of a path in one go (it may have 2,000 parts)."""
    pattern = unicodedata.normalize("NFC", os.path.expanduser(pattern).rstrip("/") or "/")
    whole = fnmatch.translate(pattern)  # ends with the two characters that stand for the end of the text
    return re.compile(whole, re.IGNORECASE).match, re.compile(whole[:-2] + r"(?=/|\Z)", re.IGNORECASE).match
