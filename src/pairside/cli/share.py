"""Owns the commands that show an agent something, or keep it from agents: select, mention, open, share."""

from __future__ import annotations

import os

import click
from click.shell_completion import CompletionItem

from pairside import phrases
from pairside.cli import spots
from pairside.cli.client import Server
from pairside.cli.common import as_json, asks, print_json
from pairside.cli.exits import Exit, Failure
from pairside.phrases import agent_of, count, never_shared, sharing, shown
from pairside.text import printable


class PlaceType(click.ParamType[str]):
    """A place in a file; shells complete the file's name."""

    name = "place"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Leave it to the shell to complete a file name."""
        return [CompletionItem(incomplete, type="file")]


@click.command()
@click.argument("place", metavar=f"[{spots.GRAMMAR}]", type=PlaceType(), required=False)
@click.option("--clear", is_flag=True, help="Select nothing.")
@click.option("--keep", is_flag=True, help="Let the selection stand until it is cleared or replaced.")
@as_json
@asks
def select(server: Server, place: str | None, clear: bool, keep: bool, as_json: bool) -> None:
    """Select part of a file: agents see it with the next prompt.

    Lines and columns count from 1 and the last ones are included; columns count characters. A missing column is the
    start of the first line or the end of the last. Without lines the file is shown as open.
    """
    if clear == (place is not None) or (clear and keep):
        raise Failure(f"Say either a place, {spots.GRAMMAR}, or --clear.", Exit.USAGE)
    if place is None:
        server.request("select/clear")
        if as_json:
            print_json({"cleared": True})
        else:
            click.echo("Nothing is selected.")
        return
    where = spots.parse(place)
    params: dict[str, object] = {"path": where.path, "said": where.said, "keep": keep}
    span = spots.span(where)
    if span is not None:
        params["start"], params["end"] = span
    told = server.request("select", params)
    if as_json:
        print_json(told)
        return
    until = "until it is cleared" if keep else "for the next prompt"
    if told["withheld"] is not None:
        until = f"but agents are not told: {printable(told['withheld'])}"
    if span is None:
        click.echo(f"Open: {shown(told['path'])}, {until}.")
        return
    characters = count(told["characters"], "character")
    lines = phrases.place(told["path"], told["start"][0], told["end"][0])
    click.echo(f"Selected {lines} ({characters}), {until}.")


@click.command()
@click.argument("place", metavar=spots.GRAMMAR, type=PlaceType())
@click.option("--force", is_flag=True, help="Also a file that share.exclude keeps from agents.")
@as_json
@asks
def mention(server: Server, place: str, force: bool, as_json: bool) -> None:
    """Put a file, a folder or lines into an agent's prompt.

    The agent is the one that was last active; where none is connected the mention waits for one. A mention has
    lines only: columns are left out.
    """
    where = spots.parse(place)
    first = last = None
    params: dict[str, object] = {"path": where.path, "said": where.said, "force": force}
    if where.first is not None and where.last is not None:
        if os.path.isdir(where.path):
            raise Failure(f"{printable(where.path)} is a folder and has no lines.", Exit.USAGE)
        lines = spots.lines_of(spots.text_of(where.path))
        spots.first_line(where, lines)
        first, last = where.first - 1, min(where.last, len(lines)) - 1
        params |= {"first": first, "last": last}
    told = server.request("mention", params)
    if where.first_column is not None or where.last_column is not None:
        click.echo("A mention has lines only: the columns were left out.", err=True)
    name = _name_for_agents(where.path, server.folders)
    if any(character.isspace() for character in name):
        click.echo(
            f"Warning: the name {printable(name)} holds blanks. Claude Code takes it only up to the first one, "
            "and does not find the file: say in the prompt which file is meant.",
            err=True,
        )
    if as_json:
        print_json(told)
        return
    mentioned = phrases.place(where.path, first, last)
    if told["delivered"]:
        process = f" (pid {told['pid']})" if told["pid"] is not None else ""
        click.echo(f"Mentioned {mentioned} to {agent_of(told)}{process}.")
    else:
        click.echo(f"No agent listens yet: the mention of {mentioned} waits {told['waits_seconds']:g} s for one.")


@click.command("open")
@click.argument("place", metavar="FILE[:L]", type=PlaceType())
@as_json
@asks
def open_(server: Server, place: str, as_json: bool) -> None:
    """Open a file in the editor, at a line that counts from 1.

    The embedded editor has no screen: the file is the one that agents see as open.
    """
    where = spots.parse(place)
    if os.path.isdir(where.path):
        raise Failure(f"{printable(where.path)} is a folder.", Exit.USAGE)
    params: dict[str, object] = {"path": where.path, "said": where.said}
    if where.first is not None:
        params["line"] = where.first - 1
    told = server.request("open", params)
    if as_json:
        print_json(told)
    elif told["withheld"] is not None:
        click.echo(f"Opened {shown(told['path'])}, but agents are not told: {printable(told['withheld'])}.")
    else:
        click.echo(f"Opened {shown(told['path'])}.")


@click.command()
@click.argument("switch", type=click.Choice(["on", "off"]), required=False)
@as_json
@asks
def share(server: Server, switch: str | None, as_json: bool) -> None:
    """Say what agents are told, or turn that on or off at once.

    What is off stays so until it is turned on, or the server stops; pairside restart leaves it off. Which kinds of
    things and which files are shared is a matter of the settings: share.exclude, share.selection, share.open_files,
    share.diagnostics.
    """
    told = server.request("share", {} if switch is None else {"on": switch == "on"})
    if as_json:
        print_json(told)
        return
    for line in (*sharing(told), *never_shared(told)):
        click.echo(line)


def _name_for_agents(path: str, folders: list[str]) -> str:
    """The name under which an agent in the workspace is told of a file."""
    for folder in folders:
        inside = folder.rstrip("/") + "/"
        if path.startswith(inside):
            return path[len(inside) :]
    return path
