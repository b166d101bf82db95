"""Owns the tools that open files, list them, and ask whether they are saved."""

from __future__ import annotations

import asyncio
import os
from typing import Annotated, Any

from msgspec import UNSET, Meta, UnsetType

from pairside.bridge import Bridge
from pairside.editor import Document, EditorError, Position, Range, Spot, language_of
from pairside.hunks import split
from pairside.sharing import Kind
from pairside.text import decode_file, file_uri, is_absolute, read_file, utf16_length
from pairside.tools import Call, Toolbox, ToolError
from pairside.tools.selection import told

toolbox = Toolbox()

READ_BYTES = 32 * 1024 * 1024

_Path = Annotated[str, Meta(description="Absolute path of the file")]


@toolbox.tool("openFile")
async def open_file(
    call: Call,
    *,
    file_path: Annotated[str, Meta(description="Path of the file; a relative one counts from the workspace root")],
    preview: Annotated[bool, Meta(description="Open it for a look only")] = False,
    start_line: Annotated[int, Meta(ge=1, description="First line to select, counting from 1")] | UnsetType = UNSET,
    end_line: Annotated[int, Meta(ge=1, description="Last line to select, counting from 1")] | UnsetType = UNSET,
    start_text: Annotated[str, Meta(description="Text at which the selection starts")] | UnsetType = UNSET,
    end_text: Annotated[str, Meta(description="Text at which the selection ends")] | UnsetType = UNSET,
    select_to_end_of_line: Annotated[bool, Meta(description="Stretch the selection to the end of its line")] = False,
    make_frontmost: Annotated[bool, Meta(description="Move the person's focus to it")] = True,
) -> str | dict[str, Any]:
    """Open a file in the editor and select lines or a passage of it.

    Of a file outside of the workspace nothing is selected, and nothing in it is looked for: what is selected is told
    to agents, and an agent that may not read a file by itself must not have it read to it.
    """
    path = _resolved(call.bridge, file_path)
    lines = await asyncio.to_thread(_lines, path)
    if lines is None:
        raise ToolError(f"File not found: {file_path}")
    selected, message = None, f"Opened file: {file_path}"
    if not call.bridge.inside(path):
        message = f"Opened file: {file_path} (it lies outside of the workspace, so nothing is selected in it)"
    elif isinstance(start_text, str) and start_text:
        end = end_text if isinstance(end_text, str) and end_text else None
        selected, message = _passage(lines, start_text, end, select_to_end_of_line)
    elif isinstance(start_line, int):
        first = min(start_line, len(lines))
        last = min(max(end_line if isinstance(end_line, int) else first, first), len(lines))
        selected = Range(Position(first - 1, 0), Position(last - 1, utf16_length(lines[last - 1])))
        message = f"Opened file and selected lines {first} to {last}"
    try:
        await call.bridge.editor.open(Spot(path, selected, preview, make_frontmost))
    except EditorError as error:
        raise ToolError(str(error)) from None
    if make_frontmost:
        return message
    return {"success": True, "filePath": path, "languageId": language_of(path), "lineCount": len(lines)}


@toolbox.tool("getOpenEditors")
async def get_open_editors(call: Call) -> dict[str, Any]:
    """The files that are open in the editor."""
    selection = call.bridge.selection.value
    tabs = []
    for document in await _documents(call.bridge):
        tab: dict[str, Any] = {
            "uri": file_uri(document.path),
            "isActive": document.active,
            "isPinned": False,
            "isPreview": False,
            "isDirty": document.dirty,
            "label": os.path.basename(document.path),
            "groupIndex": 0,
            "viewColumn": 1,
            "isGroupActive": True,
            "fileName": document.path,
            "languageId": document.language,
            "lineCount": document.line_count,
            "isUntitled": document.untitled,
        }
        if document.active and selection is not None and selection.path == document.path:
            tab["selection"] = {**told(selection)["selection"], "isReversed": False}
            del tab["selection"]["isEmpty"]
        tabs.append(tab)
    return {"tabs": tabs}


@toolbox.tool("checkDocumentDirty")
async def check_document_dirty(call: Call, *, file_path: _Path) -> dict[str, Any]:
    """Whether an open file has changes that are not saved."""
    document = await _open_document(call.bridge, file_path)
    if document is None:
        return {"success": False, "message": f"Document not open: {file_path}"}
    return {
        "success": True,
        "filePath": file_path,
        "isDirty": document.dirty,
        "isUntitled": document.untitled,
    }


@toolbox.tool("saveDocument")
async def save_document(call: Call, *, file_path: _Path) -> dict[str, Any]:
    """Save the changes of an open file."""
    document = await _open_document(call.bridge, file_path)
    if document is None:
        return {"success": False, "message": f"Document not open: {file_path}"}
    try:
        await call.bridge.editor.save(document.path)
    except EditorError as error:
        return {"success": False, "message": f"Failed to save file: {error}", "filePath": file_path}
    return {"success": True, "filePath": file_path, "saved": True, "message": "Document saved successfully"}


async def _documents(bridge: Bridge) -> tuple[Document, ...]:
    """The files that are open, as far as agents may know."""
    try:
        documents = await bridge.editor.documents()
    except EditorError as error:
        raise ToolError(str(error)) from None
    return tuple(one for one in documents if bridge.sharing.shares(Kind.OPEN_FILES, one.path))


async def _open_document(bridge: Bridge, path: str) -> Document | None:
    real = _resolved(bridge, path)
    return next((document for document in await _documents(bridge) if document.path == real), None)


def _resolved(bridge: Bridge, path: str) -> str:
    """The absolute real path; a leading `~` is the home, everything else in a name is just that."""
    if not is_absolute("/" + path):
        raise ToolError(f"this cannot be the name of a file: {path[:200]!r}")
    root = bridge.folders.value[0] if bridge.folders.value else "/"
    said = os.path.normpath(os.path.join(root, os.path.expanduser(path)))
    real = os.path.realpath(os.path.join(root, os.path.expanduser(path)))
    bridge.sharing.named(said, real)
    return real


def _lines(path: str) -> list[str] | None:
    """The lines of a file without their ends, at least one; None if it cannot be read."""
    try:
        data = read_file(path, READ_BYTES)
    except OSError:
        return None
    text = decode_file(data)
    return [line.rstrip("\n") for line in split(text or "")] or [""]


def _passage(lines: list[str], start_text: str, end_text: str | None, whole_line: bool) -> tuple[Range | None, str]:
    """The range from the first place of `start_text` to the next of `end_text`, and what to say about it."""
    place = _find(lines, start_text, 0, 0)
    if place is None:
        return None, f'Opened file, but text "{start_text}" not found'
    first, column = place[0], place[1] - len(start_text)
    start = Position(first, utf16_length(lines[first][:column]))
    last, stop = place
    message = f'Opened file and selected text "{start_text}"'
    if end_text is not None:
        found = _find(lines, end_text, first, stop)
        if found is None:
            return Range(start, start), (
                f'Opened file and positioned at "{start_text}" (end text "{end_text}" not found)'
            )
        last, stop = found
        message = f'Opened file and selected text from "{start_text}" to "{end_text}"'
    if whole_line:
        stop = len(lines[last])
    return Range(start, Position(last, utf16_length(lines[last][:stop]))), message


def _find(lines: list[str], text: str, first: int, column: int) -> tuple[int, int] | None:
    """The line and the index behind the first `text` from a place on."""
    for number in range(first, len(lines)):
        index = lines[number].find(text, column if number == first else 0)
        if index >= 0:
            return number, index + len(text)
    return None
