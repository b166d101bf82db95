"""Owns the command that starts a server anew, after an upgrade for instance."""

from __future__ import annotations

import click

from pairside.cli.client import RECONNECT_SECONDS, Closed, NotAnswering, Server
from pairside.cli.common import as_json, asks, print_json
from pairside.cli.exits import Failure
from pairside.text import printable


@click.command()
@as_json
@asks
def restart(server: Server, as_json: bool) -> None:
    """Start the server of this folder anew, after an upgrade.

    The port and the token stay the same, so agents come back by themselves. What is pending can be decided in their
    terminals, and what was selected and opened is forgotten. Changes are kept, unless changes.keep is false. If it
    would not start again, the one that runs goes on.
    """
    port, before = server.port, server.facts["version"]
    try:
        server.request("restart")
        server.wait_closed(RECONNECT_SECONDS)
    except NotAnswering:
        raise Failure(f"pairside on port {port} (pid {server.facts['pid']}) does not stop.") from None
    except Closed:
        pass  # without an answer somebody else was quicker
    try:
        server.reconnect(RECONNECT_SECONDS)
    except Closed:
        raise Failure(
            f"pairside on port {port} was to start anew and is not there. What it had to say stands in its terminal. "
            "Start it again: pairside serve"
        ) from None
    after = server.facts["version"]
    if as_json:
        print_json({"port": port, "pid": server.facts["pid"], "version": after, "version_before": before})
        return
    versions = printable(after) if after == before else f"{printable(after)} (it was {printable(before)})"
    click.echo(f"pairside {versions} serves on port {port} again; agents come back by themselves.")
