"""Owns what is read of Claude Code's own files: the few settings that decide whether it asks before it writes and
whether it looks for an IDE, and the version that is installed. They are never written.

No other key leaves this module, and of those that do only words of a known vocabulary, switches and counts: what a
person wrote there may be secret. What the client makes of the files was seen with 2.1.330:

- A file that is no JSON, or has a value of the wrong kind, counts as if it were not there, once the person has said so
  in a dialog at the start. Only a managed file still counts then, with `default` for a mode that is none.
- Without a file that says something the mode is `auto`.
- `bypassPermissions` in a file of the project means `default`, whatever the files below say.
- The project's own file is read in the current folder only. The local one is read at the top of the main work tree of
  the git repository too, and wins there.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from pairside.text import read_file

TESTED = "2.1.330"
"""The version in which all of this was seen."""

MANAGED = "/Library/Application Support/ClaudeCode" if sys.platform == "darwin" else "/etc/claude-code"
"""Where whoever runs the machine puts files that nobody can override. The one of macOS is as documented, not tried.

Managed settings that come from a server or a device profile are in no file, and so are not known here.
"""
FILE_BYTES = 32 * 1024 * 1024

ASKING = ("default", "plan")
"""The modes in which a proposal comes before each edit."""
WRITING = ("acceptEdits", "auto", "bypassPermissions")
"""The modes in which edits are written without a question."""
REFUSING = "dontAsk"
"""The mode in which what is not allowed by a rule is refused without a question."""
MODES = (*ASKING, *WRITING, REFUSING)
UNSET = "auto"
"""The mode where nothing is set."""
DISABLED = "disable"

PROJECT = "project"
LOCAL = "local"
USER = "user"
MANAGED_SOURCE = "managed"

_RULE = re.compile(r"(Edit|Write)(\(.*\))?", re.DOTALL)
_VERSION = re.compile(r"\d+\.\d+\.\d+(-[A-Za-z0-9.]+)?")


class Problem(NamedTuple):
    """Why a file does not count, without a word of what is in it."""

    path: str
    line: int | None
    """Where a file that is no JSON stops being it, counted from 1."""
    what: str


class Rules(NamedTuple):
    """The rules of a list that are about edits."""

    number: int = 0
    whole: frozenset[str] = frozenset()
    """The tools, of Edit and Write, that a rule names without saying for which files."""


class File(NamedTuple):
    """What one settings file says."""

    path: str
    source: str
    mode: str | None = None
    """One of `MODES`."""
    auto_disabled: bool = False
    allow: Rules = Rules()
    ask: Rules = Rules()
    problem: Problem | None = None


class Choice(NamedTuple):
    """The permission mode in which Claude Code starts."""

    mode: str
    file: File | None
    """The file that says so; None where none says anything."""
    auto_disabled: File | None = None
    """The file that makes `default` of `auto`."""
    bypass_ignored: bool = False
    """Whether the file says bypassPermissions, which does not count there."""


class State(NamedTuple):
    """What `.claude.json` says, the file in which Claude Code keeps what is chosen in it."""

    path: str
    auto_connect: bool = False
    """Whether it looks for an IDE by itself."""
    diffs_in_ide: bool = True
    """Whether its diff tool is such that proposals go to an IDE."""
    problem: Problem | None = None


class Installed(NamedTuple):
    """A program that is found."""

    path: str
    version: str | None


# Settings files.


def files(environment: Mapping[str, str], folder: str, *, managed: str = MANAGED) -> list[File]:
    """The settings files that exist and count for a client that runs in `folder`, the one that wins first.

    Those with a problem are among them. What is said on the command line cannot be known and would come second.
    """
    found = [_file(path, source) for path, source in _places(environment, folder, managed)]
    return [file for file in found if file is not None]


def _places(environment: Mapping[str, str], folder: str, managed: str) -> Iterator[tuple[str, str]]:
    """Where settings files may be, with their sources, the one that wins first."""
    dropped = os.path.join(managed, "managed-settings.d")
    try:
        names = sorted((name for name in os.listdir(dropped) if name.endswith(".json")), reverse=True)
    except OSError:
        names = []
    for name in names:
        yield os.path.join(dropped, name), MANAGED_SOURCE
    yield os.path.join(managed, "managed-settings.json"), MANAGED_SOURCE
    top = main_work_tree(folder)
    for one in dict.fromkeys((top or folder, folder)):
        yield os.path.join(one, ".claude", "settings.local.json"), LOCAL
    yield os.path.join(folder, ".claude", "settings.json"), PROJECT
    yield os.path.join(configuration(environment), "settings.json"), USER


def main_work_tree(folder: str) -> str | None:
    """The top of the main work tree of the git repository that holds a folder; None if there is no repository."""
    top = folder
    while not os.path.lexists(os.path.join(top, ".git")):
        if top == os.path.dirname(top):
            return None
        top = os.path.dirname(top)
    try:  # in a linked work tree .git is a file that leads to a folder with the file commondir (gitrepository-layout)
        link = os.fsdecode(read_file(os.path.join(top, ".git"), 4096)).partition("gitdir:")[2].strip()
        private = os.path.join(top, link)
        common = os.path.join(private, os.fsdecode(read_file(os.path.join(private, "commondir"), 4096)).strip())
    except (OSError, ValueError):
        return top
    common = os.path.realpath(common)
    return os.path.dirname(common) if os.path.basename(common) == ".git" else top


def configuration(environment: Mapping[str, str]) -> str:
    """The folder of the person's own settings file."""
    return environment.get("CLAUDE_CONFIG_DIR") or os.path.join(_home(environment), ".claude")


def _home(environment: Mapping[str, str]) -> str:
    return environment.get("HOME") or os.path.expanduser("~")


def _file(path: str, source: str) -> File | None:
    """What a settings file says; None if there is none."""
    facts, problem = _object(path)
    if problem is not None:
        return File(path, source, problem=problem)
    if facts is None:
        return None
    permissions = facts.get("permissions", {})
    if not isinstance(permissions, dict):
        return File(path, source, problem=Problem(path, None, "permissions is not an object"))
    mode, wrong = permissions.get("defaultMode"), None
    if mode == "manual":
        mode = "default"
    if "defaultMode" in permissions and (not isinstance(mode, str) or mode not in MODES):
        mode, wrong = None, "permissions.defaultMode is none of the modes"
    disabled = [scope["disableAutoMode"] for scope in (facts, permissions) if "disableAutoMode" in scope]
    if any(value != DISABLED for value in disabled):
        wrong = f'disableAutoMode takes only "{DISABLED}"'
    lists = {name: permissions.get(name, []) for name in ("allow", "ask")}
    for name, rules in lists.items():
        if not isinstance(rules, list):
            wrong = f"permissions.{name} is not a list"
    if wrong is not None:
        # A managed file counts all the same, and a mode that is none is the strict one there.
        return File(path, source, "default" if source == MANAGED_SOURCE else None, problem=Problem(path, None, wrong))
    return File(path, source, mode, bool(disabled), _rules(lists["allow"]), _rules(lists["ask"]))


def _rules(rules: list[Any]) -> Rules:
    found = [match for rule in rules if isinstance(rule, str) and (match := _RULE.fullmatch(rule))]
    return Rules(len(found), frozenset(match[1] for match in found if match[2] is None))


def choose(found: Sequence[File]) -> Choice:
    """The mode that the files lead to, given as `files` returns them."""
    file = next((file for file in found if file.mode is not None), None)
    mode = UNSET if file is None or file.mode is None else file.mode
    if mode == "bypassPermissions" and file is not None and file.source in (LOCAL, PROJECT):
        return Choice("default", file, bypass_ignored=True)
    disabling = next((one for one in found if one.auto_disabled), None)
    if mode == "auto" and disabling is not None:
        return Choice("default", file, auto_disabled=disabling)
    return Choice(mode, file)


# What is chosen in the client.


def state(environment: Mapping[str, str]) -> State:
    """What `.claude.json` says."""
    path = os.path.join(environment.get("CLAUDE_CONFIG_DIR") or _home(environment), ".claude.json")
    facts, problem = _object(path)
    if facts is None:
        return State(path, problem=problem)
    return State(path, facts.get("autoConnectIde") is True, facts.get("diffTool", "auto") == "auto")


def _object(path: str) -> tuple[dict[str, Any] | None, Problem | None]:
    """The JSON object in a file, or why there is none; neither where there is no file. An empty one has no keys."""
    try:
        data = read_file(path, FILE_BYTES)
    except (FileNotFoundError, NotADirectoryError):
        return None, None
    except OSError as error:
        return None, Problem(path, None, f"cannot be read: {error.strerror}")
    if len(data) > FILE_BYTES:
        return None, Problem(path, None, "is too large")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        return None, Problem(path, data.count(b"\n", 0, error.start) + 1, "is not UTF-8")
    if not text.strip():
        return {}, None
    try:
        facts = json.loads(text)
    except json.JSONDecodeError as error:
        return None, Problem(path, error.lineno, "is not valid JSON")
    except (RecursionError, ValueError):
        return None, Problem(path, None, "is not valid JSON")
    if not isinstance(facts, dict):
        return None, Problem(path, 1, "holds no object")
    return facts, None


# The program.


def find_program(environment: Mapping[str, str], name: str) -> str | None:
    """The path of a program, as a shell finds it."""
    for folder in os.get_exec_path(dict(environment)):
        path = os.path.join(folder, name)
        if os.access(path, os.X_OK) and not os.path.isdir(path):
            return path
    return None


def installed(environment: Mapping[str, str]) -> Installed | None:
    """Claude Code as a shell finds it; its version is read from where it lies, and the program is not run."""
    path = find_program(environment, "claude")
    if path is None:
        return None
    return Installed(path, _version(os.path.realpath(path)))


def _version(program: str) -> str | None:
    """The version of a program by its npm package, or by the name of its file or a folder near it."""
    folder = program
    for _ in range(3):
        if _VERSION.fullmatch(os.path.basename(folder)):
            return os.path.basename(folder)
        folder = os.path.dirname(folder)
        facts, _problem = _object(os.path.join(folder, "package.json"))
        if facts is not None and facts.get("name") == "@anthropic-ai/claude-code":
            version = facts.get("version")
            return version if isinstance(version, str) and _VERSION.fullmatch(version) else None
    return None
