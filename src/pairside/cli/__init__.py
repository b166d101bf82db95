"""Owns the command line. Nothing above this package imports click.

Each command's module is imported when that command runs, so that a command bound to a key starts quickly.
"""

from __future__ import annotations

import importlib
import os

import click

import pairside as package
from pairside.cli.exits import Exit, Failure

COMMANDS = {
    "run": "run.run",
    "serve": "serve.serve",
    "frontend": "frontend.frontend",
    "env": "run.env",
    "nvim": "nvim.nvim",
    "status": "look.status",
    "doctor": "doctor.doctor",
    "reviews": "look.reviews",
    "show": "look.show",
    "accept": "decide.accept",
    "reject": "decide.reject",
    "edit": "decide.edit",
    "review": "review.review",
    "attach": "attach.attach",
    "select": "share.select",
    "mention": "share.mention",
    "open": "share.open_",
    "share": "share.share",
    "diagnostics": "diagnostics.diagnostics",
    "changes": "changes.changes",
    "undo": "undo.undo",
    "log": "look.log",
    "config": "settings.config",
    "restart": "restart.restart",
    "stop": "look.stop",
    "completion": "completion.completion",
}
"""The commands in the order of the help; for each the module of this package and the name in it."""


class Commands(click.Group):
    """A group whose commands are imported one by one."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names, in the order of `COMMANDS`."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name, from its module."""
        place = COMMANDS.get(cmd_name)
        if place is None:
            return None
        module, _, name = place.partition(".")
        command = getattr(importlib.import_module(f"pairside.cli.{module}"), name)
        assert isinstance(command, click.Command)
        return command


@click.group(
    cls=Commands,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.option(
    "--workspace",
    multiple=True,
    metavar="DIR",
    type=click.Path(exists=True, file_okay=False),
    help="Without a command: serve this folder, not the current one. May be repeated.",
)
@click.version_option(package.__version__, prog_name="pairside")
@click.pass_context
def pairside(context: click.Context, workspace: tuple[str, ...]) -> None:
    """The IDE side of terminal coding agents.

    Without a command: serve the current folder, and on a terminal review there what agents propose. A server that
    serves the folder already is joined.
    """
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        context.color = False
    if context.invoked_subcommand is not None:
        if workspace:
            raise Failure("Say --workspace after the command.", Exit.USAGE)
        return
    if os.isatty(0) and os.isatty(1):
        together = importlib.import_module("pairside.cli.together")
        context.exit(together.run(list(workspace)))
    command = pairside.get_command(context, "serve")
    assert command is not None
    context.invoke(command, workspace=workspace)
