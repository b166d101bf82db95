"""Owns plain `pairside` on a terminal: a server, and the review of what agents propose, in one terminal.

The server is a process of its own that ends when a pipe from this one closes. So it is gone when this one is, however
this one ends; and Ctrl-C, which goes to all that stand in the foreground, does not reach it.
"""

from __future__ import annotations

import contextlib
import select
import subprocess
import sys
from collections.abc import Iterator

import click

from pairside.cli.client import Server, find, here
from pairside.cli.common import told
from pairside.cli.exits import Exit, Failure
from pairside.cli.lines import Commentary, count
from pairside.cli.review import Session
from pairside.text import printable

START_SECONDS = 20.0
STOP_SECONDS = 5.0


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
        with _child(folders) as port:
            server = find(port=port)
            click.echo(
                f"pairside {server.facts['version']} serves {_named(server)} on port {port} for Claude Code: "
                'run "claude --ide" there, in another terminal'
            )
            status = _review(server)
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


def _review(server: Server) -> int:
    with told(server):
        for notice in server.request("status")["notices"]:
            click.echo(f"Note: {printable(notice)}")
        session = Session(server, commentary=Commentary())
        status = session.run()
        pending = server.request("status")["pending_reviews"]
        if pending:
            click.echo(f"{count(pending, 'review')} pending: to be answered in the agent's terminal.")
        return status


def _named(server: Server) -> str:
    return ", ".join(map(printable, server.folders))


@contextlib.contextmanager
def _child(folders: list[str]) -> Iterator[int]:
    """A server that lives as long as the block runs; gives its port.

    Raises:
        Failure: It does not start. What it said about that stands on standard error.
    """
    # -P: a file of the served folder must not be taken for a module.
    command = [sys.executable, "-P", "-m", "pairside", "serve", "--companion"]
    for folder in folders:
        command += ["--workspace", folder]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        ready = select.select([process.stdout], [], [], START_SECONDS)[0]
        line = process.stdout.readline() if ready else b""
        if not line:
            if ready:
                raise Failure("", process.wait(STOP_SECONDS) or Exit.FAILED)
            raise Failure(f"pairside did not start within {START_SECONDS:g} s.")
        yield int(line)
    finally:
        process.stdin.close()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(STOP_SECONDS)
        process.stdout.close()
