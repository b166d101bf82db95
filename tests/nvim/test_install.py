"""`:Pairside install`: pairside in the plugin's own folder, and what is said where there is no pairside."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from pairside import __version__
from tests.e2e.home import Home
from tests.nvim.editor import ROOT, Neovim

Start = Callable[..., Neovim]
PARTS = ["plugin", "lua", "doc", "src", "Makefile", "pyproject.toml", "constraints.txt", "README.md", "LICENSE"]


def plugin_copy(home: Home) -> Path:
    """The plugin as in a fresh clone: without `.venv`."""
    folder = home.root / "a clone"
    folder.mkdir()
    for part in PARTS:
        source = ROOT / part
        if source.is_dir():
            shutil.copytree(source, folder / part, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
        elif source.exists():
            shutil.copy(source, folder / part)
    return folder


def network() -> dict[str, str]:
    """What pip needs to reach packages, as this test has it."""
    names = [name for name in os.environ if name.startswith("PIP_") or name.lower().endswith("_proxy")]
    names += [name for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE") if name in os.environ]
    return {name: os.environ[name] for name in names}


def test_a_missing_program_is_one_message(neovim: Start, home: Home) -> None:
    """Where pairside is not installed the person reads, once, three ways to install it, and nothing is downloaded."""
    folder = plugin_copy(home)
    editor = neovim(options={"cmd": None}, root=folder, columns=80)
    said = editor.wait_said("^type :Pairside install, its program is missing")
    editor.wait_screen("^pairside: type :Pairside install")
    for way in (":Pairside install", f"uv tool install '{folder}'", f"pipx install '{folder}'"):
        assert way in said
    assert editor.said() == [said]
    assert not (folder / ".venv").exists()
    assert not editor.mode().blocking


def test_the_program_of_the_plugin_itself_is_taken(neovim: Start, home: Home) -> None:
    """A `.venv` in the plugin's folder comes before a pairside on PATH."""
    folder = plugin_copy(home)
    program = folder / ".venv" / "bin" / "pairside"
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\nexit 0\n")
    program.chmod(0o755)
    editor = neovim(options={"cmd": None, "auto_start": False}, root=folder)
    assert editor.lua("return require('pairside.options').find()") == [str(program), "frontend"]


def test_a_program_on_path_is_taken(neovim: Start, home: Home) -> None:
    """Without a `.venv` of its own the plugin takes the pairside on PATH."""
    folder, tools = plugin_copy(home), home.root / "tools"
    tools.mkdir()
    program = tools / "pairside"
    program.write_text("#!/bin/sh\nexit 0\n")
    program.chmod(0o755)
    path = f"{tools}:{home.environment()['PATH']}"
    editor = neovim(options={"cmd": None, "auto_start": False}, root=folder, environment={"PATH": path})
    assert editor.lua("return require('pairside.options').find()") == [str(program), "frontend"]


@pytest.mark.parametrize("version", ["0.11.4"], indirect=True)
def test_install_makes_it_run(neovim: Start, home: Home) -> None:
    """`:Pairside install` makes the `.venv` in the background, tells what it does, and pairside runs then."""
    folder = plugin_copy(home)
    editor = neovim(options={"cmd": None}, root=folder, environment=network())
    editor.wait_said("program is missing")
    editor.command("Pairside install")
    editor.wait_said("^installing pairside into ")
    editor.command("Pairside install")
    editor.wait_said("^pairside is being installed already$")
    editor.wait_said("^pairside is installed$", seconds=180)
    assert editor.wait_running()["version"] == __version__
    assert editor.lua("return require('pairside.options').find()")[0] == str(folder / ".venv" / "bin" / "pairside")


def test_an_installation_that_fails_says_why(neovim: Start, home: Home) -> None:
    """The line of pip that names the cause is told, and it can be tried again."""
    folder = plugin_copy(home)
    (folder / "constraints.txt").write_text("click==0.0.1\n")
    offline = {"PIP_NO_INDEX": "1", "PIP_RETRIES": "0"}
    editor = neovim(options={"cmd": None}, root=folder, environment=offline)
    editor.wait_said("program is missing")
    editor.command("Pairside install")
    editor.wait_said("^pairside could not be installed: .*(ERROR|No matching|error)", seconds=60)
    assert editor.state == "failed"
    assert not editor.mode().blocking


def test_without_make_that_is_said(neovim: Start, home: Home) -> None:
    """`:Pairside install` needs make, and says so."""
    editor = neovim(options={"auto_start": False})
    editor.lua("vim.env.PATH = ''")
    editor.command("Pairside install")
    editor.wait_said("^make is not found")
