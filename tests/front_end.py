"""Owns a scripted front-end: the editor's side of the front-end protocol, over real pipes."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

from pairside.cli import frontend
from pairside.editors.frontend import Framed
from pairside.jsonrpc import Raw, RpcError
from pairside.peer import Peer

from .until import SECONDS, until


class _Quiet:
    """The signals of the test run stay as they are."""

    def call(self, asked: Callable[[], None]) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()


class FrontEnd:
    """An editor that answers as it is told to, and remembers what it is told."""

    def __init__(self, channel: Framed) -> None:
        self.channel = channel
        self.peer = Peer(channel, self)
        self.verbs: dict[str, Callable[[Any], Any]] = {
            "documents/list": lambda params: {"documents": []},
            "diagnostics/get": lambda params: {"files": []},
            "files/changed": lambda params: {"awaits": []},
            "review/show": lambda params: {"state": "shown"},
        }
        """What each verb is answered; a value that can be awaited is awaited."""
        self.asked: list[tuple[str, Any]] = []
        self.told: list[tuple[str, Any]] = []

    async def requested(self, method: str, params: Raw) -> Any:
        """Answer a verb."""
        value = params.to(dict[str, Any])
        self.asked.append((method, value))
        verb = self.verbs.get(method)
        answer = {} if verb is None else verb(value)
        return await answer if asyncio.iscoroutine(answer) else answer

    def notified(self, method: str, params: Raw) -> None:
        """Remember what it is told."""
        self.told.append((method, params.to(dict)))

    async def request(self, method: str, params: Mapping[str, Any] | None = None) -> Any:
        """What pairside answers. Raises `RpcError`."""
        return (await self.peer.request(method, params or {}, seconds=SECONDS)).to(dict)

    async def notify(self, method: str, params: Mapping[str, Any] | None = None) -> None:
        """Report a fact."""
        await self.peer.notify(method, params or {})

    async def settle(self) -> None:
        """Wait until pairside has taken what was reported."""
        with contextlib.suppress(RpcError):
            await self.request("review/where")

    async def wait_told(self, method: str, which: Callable[[Any], bool] = lambda params: True) -> Any:
        """The params of the first such notification, once it is there."""
        found: list[Any] = []

        def there() -> bool:
            found[:] = [params for told, params in self.told if told == method and which(params)]
            return bool(found)

        await until(there, f"it is told {method}")
        return found[0]

    async def wait_event(self, kind: str) -> Any:
        """The first event of that kind, once it is there."""
        found = await self.wait_told("events", lambda told: any(one["kind"] == kind for one in told["events"]))
        return next(one for one in found["events"] if one["kind"] == kind)


@contextlib.asynccontextmanager
async def front_end() -> AsyncIterator[tuple[FrontEnd, asyncio.Task[int]]]:
    """A front-end that has not said hello yet, and pairside's side of it; the environment is this process's."""
    (there, back), (here, forth) = os.pipe(), os.pipe()
    serving = asyncio.create_task(
        frontend._serve(os.fdopen(there, "rb", 0), os.fdopen(forth, "wb", 0), _Quiet())  # type: ignore[arg-type]
    )
    editor = FrontEnd(await Framed.over(os.fdopen(here, "rb", 0), os.fdopen(back, "wb", 0)))
    talking = asyncio.create_task(editor.peer.run())
    try:
        yield editor, serving
    finally:
        editor.channel.close()
        await asyncio.wait_for(serving, SECONDS)
        talking.cancel()
        await asyncio.wait({talking})
