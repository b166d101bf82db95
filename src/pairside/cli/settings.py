"""Owns the command that shows the settings."""

from __future__ import annotations

import os

import click

from pairside import config as settings
from pairside.cli.common import as_json, print_json
from pairside.cli.exits import Exit, Failure
from pairside.text import printable


@click.command()
@click.option("--changed", is_flag=True, help="Only those that are not the default.")
@as_json
def config(changed: bool, as_json: bool) -> None:
    """Show every setting with its value and where it came from.

    These are the settings that a server would have that starts here and now: the defaults, then the file, then the
    environment; the last that says something wins. A server that runs has those of its start.
    """
    path = settings.path(os.environ)
    try:
        values = settings.values(os.environ)
    except settings.ConfigError as error:
        raise Failure(printable(str(error)), Exit.USAGE) from None
    if changed:
        values = [value for value in values if value.where != "default"]
    if as_json:
        print_json(
            {
                "file": path,
                "exists": os.path.exists(path),
                "settings": [{"name": one.setting.name, "value": one.value, "where": one.where} for one in values],
            }
        )
        return
    click.echo(f"# {printable(path)}{'' if os.path.exists(path) else ' (does not exist: make it to change a setting)'}")
    for one in values:
        click.echo(f"{one.setting.name} = {printable(one.value)}  # {printable(one.where)}")
