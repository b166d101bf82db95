"""Owns `pairside nvim`: Neovim with the plugin that came with this package, and nothing else."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import click

from pairside.cli.exits import Exit, Failure
from pairside.text import printable

PACKAGE = Path(__file__).parents[1]


@click.command(
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False, "help_option_names": ["--help"]}
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def nvim(arguments: tuple[str, ...]) -> None:
    """Start Neovim with the plugin and no configuration.

    All arguments but --help are Neovim's. Your own configuration is neither read nor changed.
    """
    program = shutil.which("nvim")
    if program is None:
        raise Failure("There is no nvim on PATH: install Neovim 0.11 or newer.", Exit.FAILED)
    plugin = folder()
    own = (sys.executable, "-P", "-m", "pairside", "frontend")
    try:
        os.execv(
            program,
            [
                program,
                "--clean",
                "--cmd",
                # A comma parts the folders of 'runtimepath'.
                f"lua vim.opt.runtimepath:prepend({_lua(str(plugin).replace(',', chr(92) + ','))})",
                "--cmd",
                f"lua vim.g.pairside = {{ cmd = {{ {', '.join(map(_lua, own))} }} }}",
                *arguments,
            ],
        )
    except OSError as error:
        raise Failure(f"Cannot start {printable(program)}: {error.strerror}.") from None


def folder() -> Path:
    """The folder that holds the plugin: inside the installed package, or the clone that it is imported from.

    Raises:
        Failure: There is none.
    """
    for place in (PACKAGE / "nvim", PACKAGE.parents[1]):
        if (place / "plugin" / "pairside.lua").is_file():
            return place
    raise Failure("This pairside was installed without its Neovim plugin: install it from a clone of its repository.")


def _lua(text: str) -> str:
    """A text as Lua reads it on one line, whatever bytes it has."""
    data = os.fsencode(text)
    return (
        '"'
        + "".join(f"\\{byte:03d}" if byte < 32 or byte > 126 or byte in b'"\\' else chr(byte) for byte in data)
        + '"'
    )
