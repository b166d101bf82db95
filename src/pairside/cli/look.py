"""Owns the commands that look, and the one that stops: status, reviews, show, log, stop."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from typing import Any

import click

import pairside as package
from pairside import runtime
from pairside.cli.client import NotAnswering, Server, Several, find
from pairside.cli.common import as_json, asks, choosing, coloured, print_json, told
from pairside.cli.exits import Exit, Failure
from pairside.phrases import (
    agent_of,
    clock,
    count,
    departure,
    headline,
    line_of,
    sharing,
    warnings,
    whole,
)
from pairside.text import printable

STOP_SECONDS = 5.0


@click.command()
@click.option("--line", is_flag=True, help="Print a few words for a status bar; nothing if no server answers.")
@as_json
@choosing
@click.pass_context
def status(context: click.Context, line: bool, as_json: bool, port: int | None, workspace: str | None) -> None:
    """Show the server of this folder, its agents and what waits.

    The exit status is 4 if no server serves the folder; with --json that is {"running": false}. Where several serve it
    in the same way each is shown, with --json in a list, and the exit status is 2. With --line it is always 0.
    """
    if line:
        _line(port, workspace)
        return
    try:
        server = find(port=port, workspace=workspace)
    except Several as several:
        shown = []
        for server in several.servers:
            with told(server):
                shown.append(server.request("status"))
        if as_json:
            print_json(shown)
        else:
            for facts in shown:
                _tell(facts)
                click.echo()
        raise
    except Failure as failure:
        if as_json and failure.exit_code == Exit.NO_SERVER:
            print_json({"running": False})
            context.exit(Exit.NO_SERVER)
        raise
    with told(server):
        facts = server.request("status")
    if as_json:
        print_json(facts)
    else:
        _tell(facts)


def _line(port: int | None, workspace: str | None) -> None:
    """Few words about all servers of the folder; a status bar has no use for anything that went wrong."""
    try:
        servers = [find(port=port, workspace=workspace)]
    except Several as several:
        servers = several.servers
    except Failure:
        return
    agents = pending = unreviewed = 0
    for server in servers:
        try:
            with told(server):
                facts = server.request("status")
        except Failure:
            return
        agents += facts["client_count"]
        pending += facts["pending_reviews"]
        unreviewed += facts["unreviewed_changes"]
    words = [count(agents, "agent")]
    if pending:
        words.append(count(pending, "review"))
    if unreviewed:
        words.append(count(unreviewed, "change"))
    click.echo(", ".join(words))


def _tell(facts: dict[str, Any]) -> None:
    """The state of a server, for a person."""
    folders = ", ".join(printable(folder) for folder in facts["workspace_folders"])
    editor = "" if facts["editor"] == "pairside" else f", editor {printable(facts['editor'])}"
    click.echo(f"pairside {facts['version']} serves {folders} on port {facts['port']} (pid {facts['pid']}{editor})")
    if facts["version"] != package.__version__:
        click.echo(f"Note: this command is pairside {package.__version__}. To have the server so: pairside restart")
    for notice in facts["notices"]:
        click.echo(f"Note: {printable(notice)}")
    click.echo(f"{count(facts['client_count'], 'agent')} connected{':' if facts['clients'] else '.'}")
    for client in facts["clients"]:
        click.echo(f"  {_client(client)}")
    pending, unreviewed = facts["pending_reviews"], facts["unreviewed_changes"]
    if pending:
        click.echo(f"{count(pending, 'review')} pending: pairside review")
    if unreviewed:
        click.echo(f"{count(unreviewed, 'change')} without a review: pairside changes")
    for line in sharing(facts["sharing"]):
        click.echo(line)
    click.echo(f"{count(facts['connects'], 'agent')} arrived in all, {facts['disconnects']} left.")
    if facts["departures"]:
        last = facts["departures"][-1]
        click.echo(f"The last that left: {agent_of(last)} at {clock(last['at'])}: {departure(last)}")
    click.echo(f"Lock file: {printable(facts['lock_file'])}")


def _client(client: dict[str, Any]) -> str:
    """One line about a client."""
    version = f" {printable(client['version'])}" if client["version"] else ""
    process = f"pid {client['pid']}" if client["pid"] is not None else "process unknown"
    silent = max(0.0, time.time() - client["last_received_at"])
    parts = [
        f"{agent_of(client)}{version} ({process})",
        f"since {clock(client['connected_at'])}",
        f"last heard {silent:.0f} s ago",
    ]
    if client["calls_in_flight"]:
        parts.append(f"{count(client['calls_in_flight'], 'call')} in flight")
    if client["open_reviews"]:
        parts.append(count(client["open_reviews"], "open review"))
    return ", ".join(parts)


@click.command()
@as_json
@asks
def reviews(server: Server, as_json: bool) -> None:
    """List the proposals that await a verdict."""
    pending = server.request("reviews")
    if as_json:
        print_json(pending)
        return
    if not pending:
        click.echo("No review is pending.")
    for review in pending:
        click.echo(f"{headline(review)}, since {clock(review['opened_at'])}")
        for warning in warnings(review, pending):
            click.echo(f"  {warning}")


@click.command()
@click.argument("id", metavar="[ID]", type=click.IntRange(0), required=False)
@as_json
@asks
def show(server: Server, id: int | None, as_json: bool) -> None:
    """Show a proposal as a diff with numbered hunks.

    The numbers are those that accept --hunks takes. Without ID the only pending one is meant.
    """
    from pairside.cli.decide import ask_about, meant

    id, pending = meant(server, id)
    proposal = ask_about(server, "review/show", {"id": id})
    if as_json:
        print_json(proposal)
        return
    click.echo(headline(proposal))
    for warning in warnings(proposal, pending):
        click.echo(warning)
    click.echo("\n".join(coloured(line) for line in whole(proposal)))


@click.command()
@click.option("--wire", is_flag=True, help="Show the messages on the wire too: direction and length.")
@click.option("--contents", is_flag=True, help="With --wire: the beginning of each message, secrets masked.")
@as_json
@asks
def log(server: Server, wire: bool, contents: bool, as_json: bool) -> None:
    """Show what happened lately.

    Who came and went, calls, proposals, decisions, changes. It is kept in the memory of the server alone, and bounded.
    """
    if contents and not wire:
        raise Failure("--contents needs --wire.", Exit.USAGE)
    found = server.request("log", {"wire": wire, "contents": contents})
    if as_json:
        print_json(found)
        return
    lines = [(event["at"], f"{clock(event['at'])} {line_of(event)}") for event in found["events"]]
    for frame in found.get("frames", []):
        text = f" {printable(frame['contents'])}" if "contents" in frame else ""
        lines.append(
            (
                frame["at"],
                f"{clock(frame['at'])} Client {frame['client_id']} {frame['direction']} {frame['length']}{text}",
            )
        )
    for _, line in sorted(lines, key=lambda one: one[0]):
        click.echo(line)
    if not lines:
        click.echo("Nothing happened yet.")


@click.command()
@as_json
@asks
def stop(server: Server, as_json: bool) -> None:
    """Stop the server of this folder.

    The command returns when the server is gone. What is pending is not answered: it can be decided in the terminal of
    the agent.
    """
    path = runtime.socket_path(runtime.directory(os.environ), server.port)
    stopped = server.request("stop")
    with suppress(NotAnswering):
        server.wait_closed(STOP_SECONDS)
    if os.path.exists(path):
        raise Failure(f"pairside on port {server.port} (pid {stopped['pid']}) is still there after {STOP_SECONDS:g} s.")
    if as_json:
        print_json({"stopped": True, "port": server.port, **stopped})
    else:
        click.echo(f"pairside on port {server.port} has stopped.")
