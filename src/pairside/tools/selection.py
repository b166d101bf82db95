"""Owns the tools that tell agents what the person has selected, and the shape in which it is told."""

from __future__ import annotations

from typing import Any

from pairside.editor import Document, EditorError, Position, Range, Selection
from pairside.sharing import Kind
from pairside.text import file_uri
from pairside.tools import Call, Toolbox, ToolError

toolbox = Toolbox()

_START = Range(Position(0, 0), Position(0, 0))


def told(selection: Selection) -> dict[str, Any]:
    """A selection as agents read it: 0-based lines, UTF-16 columns, the end exclusive."""
    start, end = selection.range.start, selection.range.end
    return {
        "text": selection.text,
        "filePath": selection.path,
        "fileUrl": file_uri(selection.path),
        "selection": {
            "start": {"line": start.line, "character": start.character},
            "end": {"line": end.line, "character": end.character},
            "isEmpty": not selection.text,
        },
    }


@toolbox.tool("getCurrentSelection")
async def get_current_selection(call: Call) -> dict[str, Any]:
    """What is selected in the active editor now."""
    selection = call.bridge.selection.value
    if selection is None:
        try:
            documents = await call.bridge.editor.documents()
        except EditorError as error:
            raise ToolError(str(error)) from None
        active = next((document for document in documents if document.active), None)
        shares = call.bridge.sharing.shares
        if active is None or not all(shares(kind, active.path) for kind in (Kind.SELECTION, Kind.OPEN_FILES)):
            return {"success": False, "message": "No active editor found"}
        selection = _nothing_in(active)
    return {"success": True, **told(selection)}


@toolbox.tool("getLatestSelection")
def get_latest_selection(call: Call) -> dict[str, Any]:
    """The text that was last selected, even if it no longer is."""
    selection = call.bridge.latest_selection or call.bridge.selection.value
    if selection is None:
        return {"success": False, "message": "No selection available"}
    return told(selection)


def _nothing_in(document: Document) -> Selection:
    return Selection(document.path, "", _START)
