"""Owns the server in which telling a selection is measured alone, without the command that selects it.

It is the registry, the bridge and the transport of pairside with an editor in memory. Run as a script with a token and
the path of a Unix socket; prints its port. Whatever line comes in through the Unix socket is selected.
"""

from __future__ import annotations

import asyncio
import sys

from pairside import testing
from pairside.editor import Position, Range, Selection

PATH = "/workspace/module.py"


async def run(token: str, path: str) -> None:
    """Serve until standard input ends."""
    async with testing.server(token=token) as running:

        async def told(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while line := await reader.readline():
                text = line.decode()
                running.bridge.select(Selection(PATH, text, Range(Position(0, 0), Position(1, 0))))
                writer.write(b"told\n")
            writer.close()

        listener = await asyncio.start_unix_server(told, path)
        print(running.port, flush=True)
        await asyncio.to_thread(sys.stdin.read)
        listener.close()


if __name__ == "__main__":
    asyncio.run(run(sys.argv[1], sys.argv[2]))
