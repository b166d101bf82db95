"""Owns the contract with an editor: what we ask of it, and the values that cross.

Values in, values out: no object of an editor ever reaches the core. Lines are 0-based, columns are 0-based UTF-16
units, ends are exclusive (as in LSP); paths are absolute and real.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from enum import IntEnum
from pathlib import PurePath
from typing import Protocol

import msgspec


class Position(msgspec.Struct, frozen=True, order=True):
    """A 0-based line and a 0-based UTF-16 column."""

    line: int
    character: int


class Range(msgspec.Struct, frozen=True):
    """From `start` up to, not including, `end`."""

    start: Position
    end: Position


class Selection(msgspec.Struct, frozen=True):
    """What the person has selected. An empty text means that the file is merely open in front of them."""

    path: str
    text: str
    range: Range


class Document(msgspec.Struct, frozen=True):
    """A file that the editor has open."""

    path: str
    language: str
    line_count: int
    active: bool = False
    dirty: bool = False
    untitled: bool = False


class Severity(IntEnum):
    """How bad a diagnostic is, numbered as in LSP."""

    ERROR = 1
    WARNING = 2
    INFORMATION = 3
    HINT = 4


class Diagnostic(msgspec.Struct, frozen=True):
    """A finding of a linter, a compiler or a language server."""

    message: str
    severity: Severity
    range: Range
    source: str | None = None
    code: str | None = None


class Spot(msgspec.Struct, frozen=True):
    """A file to show, and what to select in it."""

    path: str
    range: Range | None = None
    preview: bool = False
    focus: bool = True


class EditorError(Exception):
    """The editor could not do what was asked; the message is for the person and for the agent."""


class Editor(Protocol):
    """What pairside asks of an editor. Every method may raise `EditorError`; none may take long."""

    name: str
    """How agents show the editor to the person."""

    async def open(self, spot: Spot) -> None:
        """Show a file."""

    async def documents(self) -> tuple[Document, ...]:
        """The files that are open."""

    async def save(self, path: str) -> None:
        """Write an open file with unsaved changes to disk."""

    async def diagnostics(self, path: str | None) -> Mapping[str, tuple[Diagnostic, ...]]:
        """The diagnostics by path, of one file or of all that have any."""

    async def show_review(self, id: int, path: str, name: str, text: str) -> None:
        """Show a proposal for `path` and let the person decide; `name` is the agent's own name for it."""

    def hide_review(self, id: int) -> None:
        """The review is over, however it ended. Never waits."""

    async def files_changed(self, paths: Collection[str]) -> Collection[str]:
        """Files changed on disk: reload them. Those at which something attached to the editor will look again."""

    def prompted(self) -> None:
        """The person sent a prompt to an agent. Never waits."""


class Operated(Protocol):
    """What an editor without a screen of its own offers besides: the person operates it through observers."""

    def select(self, path: str, range: Range | None, *, keep: bool = False) -> Selection:
        """Select a range of a file, or with None just have it open; without `keep` until the next prompt.

        Raises:
            EditorError: The file cannot be read, is no text, or ends before the range.
        """

    def clear(self) -> None:
        """Select nothing."""

    def import_diagnostics(self, source: str, found: Mapping[str, tuple[Diagnostic, ...]]) -> None:
        """Replace all diagnostics of one source by these, by path."""


_LANGUAGES = {
    ".bash": "shellscript", ".c": "c", ".cc": "cpp", ".cpp": "cpp", ".cs": "csharp", ".css": "css", ".cxx": "cpp",
    ".dart": "dart", ".diff": "diff", ".el": "elisp", ".ex": "elixir", ".exs": "elixir", ".go": "go", ".h": "c",
    ".hpp": "cpp", ".hs": "haskell", ".html": "html", ".htm": "html", ".ini": "ini", ".java": "java",
    ".jl": "julia", ".js": "javascript", ".json": "json", ".jsonc": "jsonc", ".jsx": "javascriptreact",
    ".kt": "kotlin", ".less": "less", ".lua": "lua", ".md": "markdown", ".mjs": "javascript", ".ml": "ocaml",
    ".mts": "typescript", ".nix": "nix", ".patch": "diff", ".php": "php", ".pl": "perl", ".ps1": "powershell",
    ".py": "python", ".pyi": "python", ".r": "r", ".rb": "ruby", ".rs": "rust", ".rst": "restructuredtext",
    ".sass": "sass", ".scala": "scala", ".scss": "scss", ".sh": "shellscript", ".sql": "sql", ".svelte": "svelte",
    ".swift": "swift", ".tex": "latex", ".toml": "toml", ".ts": "typescript", ".tsx": "typescriptreact",
    ".vim": "vim", ".vue": "vue", ".xml": "xml", ".yaml": "yaml", ".yml": "yaml", ".zig": "zig",
    ".zsh": "shellscript",
}  # fmt: skip
_NAMES = {"Makefile": "makefile", "Dockerfile": "dockerfile", "CMakeLists.txt": "cmake"}


def language_of(path: str) -> str:
    """The language identifier of a file by its name (the list in the LSP specification, TextDocumentItem)."""
    name = PurePath(path)
    return _NAMES.get(name.name) or _LANGUAGES.get(name.suffix.lower(), "plaintext")
