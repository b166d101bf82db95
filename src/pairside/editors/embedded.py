"""Owns the editor that needs no editor: plain files, with reviews decided by observers.

It keeps which files are open, and the diagnostics that were imported. What is selected stands in the bridge.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping

from pairside.editor import Diagnostic, Document, EditorError, Position, Range, Selection, Spot, language_of
from pairside.text import decode_file, from_utf16, read_file, utf16_length

READ_BYTES = 32 * 1024 * 1024
OPEN_KEPT = 1000
"""So many files count as open: those that were opened last."""
_START = Range(Position(0, 0), Position(0, 0))


class EmbeddedEditor:
    """An editor without a screen. It satisfies `pairside.editor.Editor`."""

    name = "pairside"

    def __init__(self) -> None:
        self._open: dict[str, Document] = {}
        self._active: str | None = None
        self._diagnostics: dict[str, dict[str, tuple[Diagnostic, ...]]] = {}
        self._keep = False
        self.on_select: Callable[[Selection | None], None] = lambda selection: None
        """Told what is selected; the bridge's `select`."""
        self.selected: Callable[[], Selection | None] = lambda: None
        """What is selected."""

    # What the person does, through the command line.

    def select(self, path: str, range: Range | None, *, keep: bool = False) -> Selection:
        """Select a range of a file, or with None just have it open; without `keep` until the next prompt.

        Raises:
            EditorError: The file cannot be read, is no text, or ends before the range.
        """
        text = _read(path)
        selection = Selection(path, "", _START) if range is None else _cut_out(path, text, range)
        self._show(path, text)
        self._keep = keep
        self.on_select(selection)
        return selection

    def clear(self) -> None:
        """Select nothing."""
        self._keep = False
        self.on_select(None)

    def import_diagnostics(self, source: str, found: Mapping[str, tuple[Diagnostic, ...]]) -> None:
        """Replace all diagnostics of one source by these, by path."""
        if found:
            self._diagnostics[source] = dict(found)
        else:
            self._diagnostics.pop(source, None)

    # What agents and tools ask.

    async def open(self, spot: Spot) -> None:
        """Remember that a file is open; a range in it becomes the selection until the next prompt."""
        text = _read(spot.path)
        if not spot.focus:
            self._remember(spot.path, text)
            return
        self._show(spot.path, text)
        if not self._keep:
            self.on_select(
                Selection(spot.path, "", _START) if spot.range is None else _cut_out(spot.path, text, spot.range)
            )

    async def documents(self) -> tuple[Document, ...]:
        """The files that were opened or selected, as long as they exist."""
        for path in [path for path in self._open if not os.path.exists(path)]:
            del self._open[path]
        return tuple(
            Document(document.path, document.language, document.line_count, active=document.path == self._active)
            for document in self._open.values()
        )

    async def save(self, path: str) -> None:
        """Nothing is ever unsaved here."""

    async def diagnostics(self, path: str | None) -> Mapping[str, tuple[Diagnostic, ...]]:
        """What was imported, all sources together."""
        result: dict[str, tuple[Diagnostic, ...]] = {}
        for by_path in self._diagnostics.values():
            for where, diagnostics in by_path.items():
                if path is None or where == path:
                    result[where] = result.get(where, ()) + diagnostics
        return result

    async def show_review(self, id: int, path: str, name: str, text: str) -> None:
        """Observers see the review by themselves."""

    def hide_review(self, id: int) -> None:
        """Observers see that by themselves."""

    async def files_changed(self, paths: Collection[str]) -> Collection[str]:
        """Files are read when they are asked for, and nothing looks at them on its own."""
        return ()

    def prompted(self) -> None:
        """What was selected went with the prompt, unless it is meant to stand."""
        if not self._keep:
            self.on_select(None)

    def _show(self, path: str, text: str) -> None:
        self._remember(path, text)
        self._active = path

    def _remember(self, path: str, text: str) -> None:
        self._open.pop(path, None)
        while len(self._open) >= OPEN_KEPT:
            del self._open[next(iter(self._open))]
        self._open[path] = Document(path, language_of(path), text.count("\n") + (not text.endswith("\n")))


def _read(path: str) -> str:
    try:
        data = read_file(path, READ_BYTES)
    except OSError as error:
        raise EditorError(f"cannot read {path}: {error.strerror}") from None
    if len(data) > READ_BYTES:
        raise EditorError(f"{path} is larger than {READ_BYTES} bytes")
    text = decode_file(data)
    if text is None:
        raise EditorError(f"{path} is not text (neither UTF-8 nor UTF-16)")
    return text


def _cut_out(path: str, text: str, range: Range) -> Selection:
    """The selection of a range; an end behind the last line is the end of the text."""
    lines = text.split("\n")
    start, end = sorted((range.start, range.end))
    if not 0 <= start.line < len(lines):
        raise EditorError(f"{path} has {len(lines)} lines, not {start.line + 1}")
    if end.line >= len(lines):
        end = Position(len(lines) - 1, 2**31)
    first, last = lines[start.line], lines[end.line]
    begin, stop = from_utf16(first, start.character), from_utf16(last, end.character)
    if start.line == end.line:
        chosen = first[begin:stop]
    else:
        chosen = "\n".join((first[begin:], *lines[start.line + 1 : end.line], last[:stop]))
    actual = Range(Position(start.line, utf16_length(first[:begin])), Position(end.line, utf16_length(last[:stop])))
    return Selection(path, chosen, actual)
