"""Owns plain `pairside` on a terminal: a server that ends with us, and the review of what agents propose."""

from __future__ import annotations

import click

from pairside.cli.client import Server, find, here
from pairside.cli.common import told
from pairside.cli.companion import companion
from pairside.cli.exits import Exit, Failure
from pairside.cli.lines import Commentary, count
from pairside.cli.review import Session
from pairside.text import printable


def run(workspace: list[str]) -> int:
    """Serve the folders, or join the server that does, and review until the person leaves; the exit status."""
    folders = [here(folder) for folder in workspace] or [here(None)]
    server = _joined(folders)
    if server is not None:
        click.echo(
            f"pairside serves {_named(server)} already (pid {server.facts['pid']}, port {server.port}): joined it."
        )
        return _review(server)
    try:
        with companion(folders) as port:
            server = find(port=port)
            click.echo(
                f"pairside {server.facts['version']} serves {_named(server)} on port {port} for Claude Code: "
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
