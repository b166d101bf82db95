"""Owns plain `pairside` on a terminal: a server of our own or one that is there already, and what it has to show.

The terminal UI shows it; where that does not fit, or the person does not want it, it is told line by line.
"""

from __future__ import annotations

from typing import IO

import click

from pairside.cli import attach
from pairside.cli.client import Server, find, here
from pairside.cli.common import told
from pairside.cli.companion import EXPECTED, Companion, aside, companion, said
from pairside.cli.exits import Exit, Failure
from pairside.cli.review import Session
from pairside.phrases import Commentary, count
from pairside.text import printable


def run(workspace: list[str]) -> int:
    """Serve the folders, or join the server that does, until the person leaves; the exit status."""
    folders = [here(folder) for folder in workspace] or [here(None)]
    return _on_screen(folders) if attach.fits() else _by_lines(folders)


# In the terminal UI.


def _on_screen(folders: list[str]) -> int:
    server = _joined(folders)
    if server is not None:
        attach.open_ui(server)
        return 0
    with aside() as errors:
        try:
            with companion(folders, errors=errors, until=EXPECTED) as own:
                attach.open_ui(find(port=own.port))
        except Failure as failure:
            server = _joined(folders) if failure.exit_code == Exit.SERVED else None
            if server is None:
                _tell(errors)
                raise
            attach.open_ui(server)  # somebody else was quicker
            return 0
        _tell(errors)
    click.echo(_left(own))
    return 0


def _tell(errors: IO[bytes]) -> None:
    """Say what the server had to say, now that the screen is free."""
    for line in said(errors):
        click.echo(line, err=True)


def _left(own: Companion) -> str:
    """What became of the server."""
    if not own.goes_on:
        return "pairside has stopped."
    return (
        f"Others use pairside, so it goes on until they have left (pid {own.pid}, port {own.port}). "
        "To see it again: pairside. To stop it now: pairside stop"
    )


# Line by line.


def _by_lines(folders: list[str]) -> int:
    server = _joined(folders)
    if server is not None:
        click.echo(
            f"pairside serves {_named(server)} already (pid {server.facts['pid']}, port {server.port}): joined it."
        )
        return _review(server)
    try:
        with companion(folders) as own:
            server = find(port=own.port)
            click.echo(
                f"pairside {server.facts['version']} serves {_named(server)} on port {own.port} for Claude Code: "
                'run "claude --ide" there, in another terminal'
            )
            status = _review(server, ends=True)
    except Failure as failure:
        server = _joined(folders) if failure.exit_code == Exit.SERVED else None
        if server is None:
            raise
        return _review(server)  # somebody else was quicker; that was told already
    click.echo("pairside has stopped.")
    return status


def _joined(folders: list[str]) -> Server | None:
    """The embedded pairside that serves all the folders already."""
    try:
        server = find(workspace=folders[0])
    except Failure as failure:
        if failure.exit_code == Exit.NO_SERVER:
            return None
        raise
    if server.facts["editor"] == "pairside" and all(server.serves(folder) for folder in folders):
        return server
    server.close()
    return None


def _review(server: Server, *, ends: bool = False) -> int:
    with told(server):
        for notice in server.request("status")["notices"]:
            click.echo(f"Note: {printable(notice)}")
        session = Session(server, commentary=Commentary(), ends=ends)
        status = session.run()
        pending = server.request("status")["pending_reviews"]
        if pending:
            click.echo(f"{count(pending, 'review')} pending: to be answered in the agent's terminal.")
        return status


def _named(server: Server) -> str:
    return ", ".join(map(printable, server.folders))
