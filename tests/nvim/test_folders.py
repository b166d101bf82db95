"""Which folders are open is what Neovim, its windows and its language servers say."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

from tests.e2e.home import Home
from tests.e2e.until import until
from tests.nvim.conftest import Connected
from tests.nvim.editor import SECONDS, Neovim
from tests.nvim.facts import Facts

Start = Callable[..., Neovim]

SERVER = """
local command, folder = ...
vim.lsp.start({ name = "ruff", cmd = command, root_dir = folder, workspace_folders = {
  { name = "root", uri = vim.uri_from_fname(folder) } } })
"""
RUFF = [str(Path(sys.executable).with_name("ruff")), "server"]


def folders_of_agent(connected: Connected) -> list[str]:
    """What getWorkspaceFolders answers."""
    (text,) = connected.agent.call("getWorkspaceFolders")
    return [folder["path"] for folder in json.loads(text)["folders"]]


def folders_of_lock(connected: Connected) -> list[str]:
    """What stands in the lock file."""
    folders: list[str] = json.loads(connected.neovim.lock.read_bytes())["workspaceFolders"]
    return folders


def wait_folders(connected: Connected, *expected: Path) -> None:
    """Wait until agents and the lock file are told these folders."""
    wanted = [str(folder) for folder in expected]
    until(
        lambda: folders_of_agent(connected) == wanted and folders_of_lock(connected) == wanted,
        timeout=SECONDS,
        what=lambda: f"{wanted}: {folders_of_agent(connected)}, {folders_of_lock(connected)}",
    )


def made(home: Home, *names: str) -> list[Path]:
    """New folders in the project."""
    folders = [home.project / name for name in names]
    for folder in folders:
        folder.mkdir()
    return folders


def test_another_working_directory_is_told_at_once(connected: Connected) -> None:
    """After `:cd` the lock file and getWorkspaceFolders say the same."""
    (folder,) = made(connected.home, "a b [x] *$%#ü")
    wait_folders(connected, connected.home.project)
    connected.neovim.lua("vim.api.nvim_set_current_dir(...)", str(folder))
    wait_folders(connected, folder)


def test_folders_of_tab_pages_and_windows_belong_to_it(connected: Connected) -> None:
    """The global directory comes first, those of tab pages and windows follow, and go with them."""
    of_tab, of_window = made(connected.home, "tab", "window")
    connected.neovim.command(f"tabnew | tcd {of_tab} | split | lcd {of_window}")
    wait_folders(connected, connected.home.project, of_tab, of_window)
    connected.neovim.command("close")
    wait_folders(connected, connected.home.project, of_tab)
    connected.neovim.command("tabclose")
    wait_folders(connected, connected.home.project)


def test_roots_of_language_servers_belong_to_it(connected: Connected) -> None:
    """The root of a language server is a folder as it is called on disk, for as long as the server runs."""
    (folder,) = made(connected.home, "root of ä#100%")
    path = folder / "a.py"
    path.write_text("x = 1\n")
    connected.neovim.lua("vim.api.nvim_win_set_buf(0, vim.fn.bufadd(...))", str(path))
    connected.neovim.lua(SERVER, RUFF, str(folder))
    wait_folders(connected, connected.home.project, folder)
    connected.neovim.lua("vim.iter(vim.lsp.get_clients()):each(function(one) one:stop() end)")
    wait_folders(connected, connected.home.project)


def test_a_folder_by_two_names_is_one(connected: Connected) -> None:
    """A link to a folder that is open already adds none."""
    link = connected.home.project / "link"
    link.symlink_to(connected.home.project, target_is_directory=True)
    facts = Facts(connected.neovim)
    connected.neovim.command(f"tabnew | tcd {link}")
    connected.neovim.command(f"tcd {made(connected.home, 'other')[0]}")
    wait_folders(connected, connected.home.project, connected.home.project / "other")
    assert len(facts.told("folders")) == 1


def test_the_same_folders_are_not_told_again(connected: Connected) -> None:
    """Windows that come and go change nothing in the folders, so nothing is told."""
    facts = Facts(connected.neovim)
    connected.neovim.command("split | close | tabnew | tabclose")
    connected.neovim.lua("vim.schedule(function() _G.later = true end)")
    connected.neovim.wait_lua("_G.later")
    assert facts.told("folders") == []


def test_nothing_of_it_is_left_when_pairside_ends(running: Start) -> None:
    """Where pairside does not run no directory is watched, nor a cursor, a buffer or a diagnostic."""
    editor = running()
    editor.lua("require('pairside.process').stop()")
    editor.wait_lua("require('pairside.process').state == 'stopped'")
    groups = editor.lua(
        """return vim.tbl_filter(function(one) return vim.fn.exists("#pairside_" .. one) == 1 end,
          { "selection", "documents", "diagnostics", "folders", "idle", "reload" })"""
    )
    assert not groups
