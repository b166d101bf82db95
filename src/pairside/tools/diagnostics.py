"""Owns the tool that tells agents what linters found, and through which pairside learns of every write.

Claude Code asks twice for each write: with `uri` just before it (the answer must come within 0.5 s, and the write
waits for it), and for all files about 0.1 s after it (it waits up to 2.0 s). So the first question is the moment
to read the text before the write, and the second may be held until the editor has looked at the new text.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Collection, Mapping
from typing import Annotated, Any

from msgspec import UNSET, Meta, UnsetType

from pairside import jsonrpc
from pairside.bridge import Bridge
from pairside.clients import Baseline, Client
from pairside.editor import Diagnostic, EditorError, Severity
from pairside.images import Image
from pairside.images import Kind as ImageKind
from pairside.sharing import Kind
from pairside.text import path_of, raw_file_uri
from pairside.tools import Call, Toolbox, ToolError

toolbox = Toolbox()

BASELINE_SECONDS = 0.4
IMAGE_SECONDS = 0.3
HOLD_SECONDS = 1.8
BASELINES_KEPT = 1000

_SEVERITIES = {
    Severity.ERROR: "Error",
    Severity.WARNING: "Warning",
    Severity.INFORMATION: "Info",
    Severity.HINT: "Hint",
}


@toolbox.tool("getDiagnostics")
async def get_diagnostics(
    call: Call,
    *,
    uri: Annotated[str, Meta(description="file:// URI or absolute path of one file; all files if left out")]
    | UnsetType = UNSET,
) -> str:
    """The findings of linters, compilers and language servers, of one file or of all that have any."""
    deadline = asyncio.get_running_loop().time()
    if isinstance(uri, UnsetType):
        found = await _all(call.bridge, call.client, deadline + HOLD_SECONDS)
    else:
        path = path_of(uri)
        if path is None:
            raise ToolError(f"uri must be a file:// URI or an absolute path, not {uri[:200]!r}")
        said, path = path, os.path.realpath(path)
        call.bridge.sharing.named(said, path)
        if not call.for_model:
            await _note_baseline(call.bridge, call.client, path, uri)
        found = {path: await _of_file(call.bridge, path, deadline + BASELINE_SECONDS)}
        return jsonrpc.encode([{"uri": uri, "diagnostics": [_told(one) for one in found[path]]}])
    spelt = {path: baseline.uri for path, baseline in call.client.baselines.items()}
    return jsonrpc.encode(
        [
            {"uri": spelt.get(path, raw_file_uri(path)), "diagnostics": [_told(one) for one in diagnostics]}
            for path, diagnostics in found.items()
        ]
    )


async def _note_baseline(bridge: Bridge, client: Client, path: str, uri: str) -> None:
    """Remember the file as it is before the write that follows the answer."""
    try:
        async with asyncio.timeout(IMAGE_SECONDS):
            before = await bridge.image(path)
    except TimeoutError:
        before = Image(ImageKind.FILE, note="reading it took too long")
    bridge.changes.begin(client, path, before)
    client.baselines.pop(path, None)
    client.baselines[path] = Baseline(uri, _stamp(path))
    while len(client.baselines) > BASELINES_KEPT:
        del client.baselines[next(iter(client.baselines))]


async def _of_file(bridge: Bridge, path: str, deadline: float) -> tuple[Diagnostic, ...]:
    try:
        async with asyncio.timeout_at(deadline):
            found = (await bridge.editor.diagnostics(path)).get(path, ())
    except (TimeoutError, EditorError):
        found = bridge.pushed_diagnostics(path)
    # Now, and not before the editor was asked: sharing may have been switched off meanwhile.
    return found if bridge.sharing.shares(Kind.DIAGNOSTICS, path) else ()


async def _all(bridge: Bridge, client: Client, deadline: float) -> Mapping[str, tuple[Diagnostic, ...]]:
    for path in bridge.changes.pending(client.id):
        bridge.changes.end(client.id, path, await bridge.image(path))
    bridge.worked(client)
    written = [path for path, baseline in client.baselines.items() if _stamp(path) != baseline.stamp]
    for path in written:
        client.baselines[path] = Baseline(client.baselines[path].uri, _stamp(path))
    if written:
        await _settle(bridge, written, deadline)
    try:
        async with asyncio.timeout_at(deadline + 0.1):
            found = await bridge.editor.diagnostics(None)
    except (TimeoutError, EditorError):
        found = bridge.all_pushed_diagnostics
    return {path: some for path, some in found.items() if bridge.sharing.shares(Kind.DIAGNOSTICS, path)}


async def _settle(bridge: Bridge, written: Collection[str], deadline: float) -> None:
    """Tell the editor what was written, and wait until it has looked at what it watches, or the deadline."""
    try:
        async with asyncio.timeout_at(deadline):
            awaited = await bridge.editor.files_changed(written)
            # Not before: what was on its way when the editor was told is about the old text.
            known = bridge.diagnosed.value
            version = bridge.diagnosed.version
            while any(not bridge.diagnosed_since(path, known) for path in awaited):
                version = await bridge.diagnosed.changed(version)
    except (TimeoutError, EditorError):
        pass


def _stamp(path: str) -> tuple[int, int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return (status.st_ino, status.st_size, status.st_mtime_ns)


def _told(diagnostic: Diagnostic) -> dict[str, Any]:
    start, end = diagnostic.range.start, diagnostic.range.end
    told: dict[str, Any] = {
        "message": diagnostic.message,
        "severity": _SEVERITIES[diagnostic.severity],
        "range": {
            "start": {"line": start.line, "character": start.character},
            "end": {"line": end.line, "character": end.character},
        },
    }
    if diagnostic.source is not None:
        told["source"] = diagnostic.source
    if diagnostic.code is not None:
        told["code"] = diagnostic.code
    return told
