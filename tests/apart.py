"""A server in a process of its own: `python -m tests.apart PING_SECONDS SILENCE_SECONDS`.

Prints port and token; then, for each line it reads, what the registry says, as JSON. Ends with its input.
"""

from __future__ import annotations

import asyncio
import json
import sys

from pairside import testing
from pairside.limits import Limits


async def main() -> None:
    limits = Limits(ping_seconds=float(sys.argv[1]), silence_seconds=float(sys.argv[2]))
    async with testing.server(limits=limits) as running:
        print(json.dumps({"port": running.port, "token": running.token}), flush=True)
        reader = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        clients = running.bridge.clients
        while await reader.readline():
            told = {
                "clients": [client.pid for client in clients],
                "arrivals": clients.arrivals,
                "told": clients.departures_told,
                "departures": [
                    {"pid": gone.pid, "reason": gone.why.reason, "code": gone.why.code, "detail": gone.why.detail}
                    for gone in clients.departures
                ],
            }
            print(json.dumps(told), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
