"""Owns a small IDE server for Claude Code, for the benchmark to compare with: run as a module it serves its folder.

It lets clients in and knows two tools, one of them only by name. It never tells a selection and never shows a proposal.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from websockets.asyncio.server import ServerConnection, serve
from websockets.typing import Subprotocol

TOKEN = "0123456789abcdef0123456789abcdef"


def answer(method: str, params: dict[str, Any]) -> dict[str, Any] | None:
    """The result of a request; None where it is an error."""
    match method, params.get("name"):
        case "initialize", _:
            return {
                "protocolVersion": params["protocolVersion"],
                "capabilities": {"tools": {}},
                "serverInfo": {"name": "scripted", "version": "1"},
            }
        case "tools/list", _:
            names = ("getWorkspaceFolders", "openDiff")
            return {"tools": [{"name": name, "inputSchema": {"type": "object"}} for name in names]}
        case "ping", _:
            return {}
        case "tools/call", "getWorkspaceFolders":
            return {"content": [{"type": "text", "text": json.dumps({"folders": [os.getcwd()]})}]}
        case "tools/call", "openDiff":
            return {"content": [{"type": "text", "text": "there is no screen"}], "isError": True}
    return None


async def hold(connection: ServerConnection) -> None:
    """Answer one client until it leaves."""
    async for text in connection:
        message = json.loads(text)
        if "id" not in message:
            continue
        result = answer(message["method"], message.get("params") or {})
        told = {"result": result} if result is not None else {"error": {"code": -32601, "message": "unknown"}}
        await connection.send(json.dumps({"jsonrpc": "2.0", "id": message["id"], **told}))


def mcp(connection: ServerConnection, offered: Sequence[Subprotocol]) -> Subprotocol | None:
    """Choose the subprotocol that Claude Code offers."""
    return Subprotocol("mcp") if "mcp" in offered else None


async def run() -> None:
    """Serve, with a lock file, until told to stop."""
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    async with serve(hold, "127.0.0.1", 0, select_subprotocol=mcp) as server:
        port = server.sockets[0].getsockname()[1]
        folder = Path(os.environ["CLAUDE_CONFIG_DIR"]) / "ide"
        folder.mkdir(parents=True, exist_ok=True)
        facts = {"pid": os.getpid(), "workspaceFolders": [os.getcwd()], "ideName": "scripted", "transport": "ws"}
        written = folder / "written"
        written.write_text(json.dumps({**facts, "authToken": TOKEN}))
        written.rename(folder / f"{port}.lock")
        await stopped.wait()


if __name__ == "__main__":
    asyncio.run(run())
