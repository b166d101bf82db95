"""Owns what most commands share: the options that choose a server, JSON for programs, and how a server's no is told."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

import click

from pairside.cli.client import REFUSED, Closed, NotAnswering, Refused, Server, find
from pairside.cli.exits import Exit, Failure
from pairside.phrases import sentence

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def choosing(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options that choose a server."""
    command = click.option(
        "--workspace",
        metavar="DIR",
        type=click.Path(exists=True, file_okay=False),
        help="Take the server of this folder, not of the current one.",
    )(command)
    return click.option("--port", type=click.IntRange(1, 65535), metavar="PORT", help="Take the server on this port.")(
        command
    )


def asks(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options that choose a server, and that server as its first argument."""

    @wraps(command)
    def with_server(*, port: int | None, workspace: str | None, **arguments: Any) -> Any:
        server = find(port=port, workspace=workspace)
        with told(server):
            return command(server, **arguments)

    return choosing(with_server)


@contextmanager
def refusals() -> Iterator[None]:
    """Turn a no into the end of the command."""
    try:
        yield
    except Refused as refused:
        status = Exit.REFUSED if refused.code == REFUSED else Exit.FAILED
        raise Failure(sentence(refused.message), status) from None


@contextmanager
def told(server: Server) -> Iterator[None]:
    """Turn what a server refuses, or fails to do, into the end of the command; closes the conversation."""
    try:
        with refusals():
            yield
    except Closed:
        raise Failure(f"The server on port {server.port} closed the connection.") from None
    except NotAnswering:
        raise Failure(f"The server on port {server.port} does not answer.") from None
    finally:
        server.close()


def print_json(value: Any, *, line: bool = False) -> None:
    """Print a value for programs, on one line if there may be several."""
    click.echo(json_text(value, indent=None if line else 2))


def json_text(value: Any, *, indent: int | None = None) -> str:
    """A value as JSON. All beyond ASCII is escaped, so nothing in it reaches a terminal as it is."""
    return json.dumps(value, indent=indent).replace("\x7f", "\\u007f")


def work_tree(folder: str) -> str:
    """The top of the git work tree that holds a folder; the folder itself if none does."""
    top = folder
    while not os.path.exists(os.path.join(top, ".git")):
        if top == "/":
            return folder
        top = os.path.dirname(top)
    return top


_COLOURS = {"+": "green", "-": "red", "@": "cyan"}


def coloured(line: str) -> str:
    """A line of a diff, coloured by its first character."""
    colour = _COLOURS.get(line[:1])
    return click.style(line, fg=colour) if colour else line
