"""Owns the command that prints the completion script of a shell."""

from __future__ import annotations

import os

import click
from click.shell_completion import get_completion_class

from pairside.cli.exits import Exit, Failure

SHELLS = ("bash", "zsh", "fish")


@click.command()
@click.argument("shell", type=click.Choice(SHELLS), required=False)
@click.pass_context
def completion(context: click.Context, shell: str | None) -> None:
    """Print the completion script of a shell.

    By default it is that of $SHELL. For bash and zsh, in the start-up file of the shell:
    eval "$(pairside completion)". For fish: pairside completion fish | source.
    """
    shell = shell or os.path.basename(os.environ.get("SHELL", ""))
    kind = get_completion_class(shell) if shell in SHELLS else None
    if kind is None:
        raise Failure(f"There is completion for {', '.join(SHELLS)}. Say which.", Exit.USAGE)
    root = context.find_root().command
    click.echo(kind(root, {}, "pairside", "_PAIRSIDE_COMPLETE").source())
