"""Owns `pairside attach`: the terminal UI of a server that runs."""

from __future__ import annotations

import contextlib
import os

import click

from pairside import config
from pairside.cli.client import MARKS, Server, find
from pairside.cli.common import choosing
from pairside.cli.exits import Exit, Failure
from pairside.phrases import count
from pairside.text import printable

BY_LINES = "Line by line: pairside review"


def fits() -> bool:
    """Whether this terminal can show the UI, and the person wants it."""
    return os.isatty(0) and os.isatty(1) and not _is_dumb() and _settings().open


def _is_dumb() -> bool:
    """Whether the terminal can do nothing but print, or does not say what it can do."""
    return (os.environ.get("TERM") or "dumb") == "dumb"


def _settings() -> config.Ui:
    try:
        return config.load(os.environ).ui
    except config.ConfigError as error:
        raise Failure(printable(str(error)), Exit.USAGE) from None


def open_ui(server: Server) -> None:
    """Show the UI of a server until the person leaves, and say then what is pending; ends the conversation.

    Raises:
        Failure: It cannot be shown.
    """
    from pairside import tui

    port, folder = server.port, server.folders[0]
    server.close()

    def look() -> int | None:
        for on, of in ((port, None), (None, folder)):
            with contextlib.suppress(Failure):
                found = find(port=on, workspace=of)
                found.close()
                return found.port
        return None

    def gone() -> str:
        return (
            f"pairside on port {port} is gone. Start it again at once, in another terminal: pairside serve. "
            "Then its agents come back. What was pending can be answered in the agent's terminal; q leaves."
        )

    mark = next((name for name in MARKS if os.environ.get(name)), "")
    try:
        ending = tui.run(port, folder, find=look, gone=gone, theme=_settings().theme, mark=mark)
    except ModuleNotFoundError as error:
        raise Failure(f"The terminal UI needs {error.name}: pip install textual. {BY_LINES}") from None
    except tui.ThemeError as error:
        raise Failure(printable(str(error)), Exit.USAGE) from None
    if ending.pending and not ending.lost:
        click.echo(f"{count(ending.pending, 'review')} pending: pairside, or the agent's terminal, answers.")


@click.command()
@choosing
def attach(port: int | None, workspace: str | None) -> None:
    """Open the terminal UI of a server that runs, an editor's too.

    There proposals are read and decided, changes are seen and undone, and there is to see who is connected and why
    somebody left. Leaving it stops nothing.
    """
    if not (os.isatty(0) and os.isatty(1)):
        raise Failure(f"The terminal UI needs a terminal. {BY_LINES}", Exit.USAGE)
    if _is_dumb():
        raise Failure(f"This terminal (TERM is dumb or not set) cannot show the terminal UI. {BY_LINES}", Exit.USAGE)
    open_ui(find(port=port, workspace=workspace))
