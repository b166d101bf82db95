"""Owns who answers about changes: the server of a folder, or this process itself, from what the last server has kept.

A server may have ended with its agent long before the person looks at what that did.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import TYPE_CHECKING, Any, Protocol

import click

from pairside.cli.client import Refused, find, here
from pairside.cli.common import choosing, refusals, told
from pairside.cli.exits import Exit, Failure
from pairside.text import printable

if TYPE_CHECKING:
    from pairside.config import Config

KEPT = "No server runs here: these are the changes that were kept."


class Answering(Protocol):
    """Whoever answers the methods that are about changes."""

    def request(self, method: str, params: dict[str, Any] | None = None) -> Any:
        """Ask and wait for the answer."""


class Kept:
    """What a server has kept. It is taken from there and put back with each request: another server may start."""

    def __init__(self, place: str, folders: tuple[str, ...], settings: Config) -> None:
        """`place` is the directory in which a server of these folders has kept it."""
        self._place = place
        self._folders = folders
        self._settings = settings

    def request(self, method: str, params: dict[str, Any] | None = None) -> Any:
        """Ask and wait for the answer.

        Raises:
            Refused: The answer is an error.
            Failure: It cannot be read, or a server has it now.
        """
        # No command that finds its server pays for these.
        import asyncio

        from pairside.jsonrpc import Raw, RpcError
        from pairside.serve import StartError, remembered

        settings = self._settings

        async def answer() -> Any:
            async with remembered(
                os.environ, self._folders, limits=settings.limits, recording=settings.changes, place=self._place
            ) as requested:
                return await requested(method, Raw(None, params or {}))

        try:
            return asyncio.run(answer())
        except RpcError as error:
            raise Refused(error.code, error.message, error.data or {}) from None
        except StartError as error:
            raise Failure(f"The changes that were kept cannot be read: {printable(str(error))}.") from None


@contextmanager
def answering(port: int | None, workspace: str | None) -> Iterator[Answering]:
    """The server that is meant, or what was kept where none runs; the end of the command if it refuses or fails.

    Raises:
        Failure: As in `find`, where nothing was kept either.
    """
    try:
        server = find(port=port, workspace=workspace)
    except Failure as failure:
        if failure.exit_code != Exit.NO_SERVER or port is not None:
            raise
        nobody = failure
    else:
        with told(server):
            yield server
        return
    kept = _latest(here(workspace))
    if kept is None:
        raise Failure(f"{nobody.message}\nNo changes of an earlier one are kept.", nobody.exit_code)
    click.echo(KEPT, err=True)
    with refusals():
        yield kept


def _latest(folder: str) -> Kept | None:
    """What was kept last about a folder; None if nothing was."""
    from pairside import archive, config

    try:
        settings = config.load(os.environ)
    except config.ConfigError as error:
        raise Failure(printable(str(error)), Exit.USAGE) from None
    if not settings.changes.keep:
        return None
    for place, folders in archive.left(os.environ, folder):
        kept = Kept(place, folders, settings)
        if kept.request("changes", {"fresh": False})["turns"]:
            return kept
    return None


def asks_changes(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options that choose a server, and as its first argument whoever answers about changes."""

    @wraps(command)
    def with_answers(*, port: int | None, workspace: str | None, **arguments: Any) -> Any:
        with answering(port, workspace) as source:
            return command(source, **arguments)

    return choosing(with_answers)
