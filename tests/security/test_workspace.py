"""A hostile workspace: nothing in it is obeyed, run or followed, and looking at it ends."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import time
from pathlib import Path

import pytest

from pairside import snapshots
from pairside.images import Store
from pairside.snapshots import SnapshotError, WorkTree
from tests.cli.robot import PID, Robot
from tests.e2e.home import Home
from tests.e2e.served import Served
from tests.e2e.until import until

SECONDS = 20.0
NAMES = (
    "-x", "--version", "-", "a\nb", "a\tb", ":(top)x", "*.py", "[a]", "$(touch owned)", "`touch owned`",
    "; touch owned",    "a\\b", '"', "'", "\x1b[31m", "\udcff", "é", " ", "HEAD", "con", "..x", "...", "git", "x.git",
)  # fmt: skip


def git(folder: Path, *arguments: str, home: Home) -> None:
    subprocess.run(["git", *arguments], cwd=folder, env=home.environment(), check=True, capture_output=True)


def test_settings_in_a_workspace_are_not_settings(home: Home) -> None:
    """Under whatever name: no hook of it runs, no limit of it counts, also if XDG_CONFIG_HOME is a relative path."""
    mark = home.root / "owned"
    text = f'[hooks]\non_review = ["touch", {json.dumps(str(mark))}]\n[limits]\nclients = 1\n'
    for name in (
        "pairside.toml", ".pairside.toml", "config.toml", "pairside/config.toml", ".pairside/config.toml",
        ".config/pairside/config.toml", ".git/pairside.toml", ".vscode/settings.json", "pyproject.toml",
    ):  # fmt: skip
        home.write(name, text)
    home.write(".env", f"PAIRSIDE_HOOKS_ON_REVIEW=touch {mark}\nPAIRSIDE_LIMITS_CLIENTS=1\n")
    home.write("sitecustomize.py", f"open({str(mark)!r}, 'w')\n")
    for environment in ({"XDG_CONFIG_HOME": ""}, {"XDG_CONFIG_HOME": ".config"}):
        with Served(home, environment=environment) as served:
            served.start()
            done = served.run("config", "--json", environment=environment)
            sources = {one["where"] for one in json.loads(done.stdout)["settings"]} if done.returncode == 0 else None
            assert sources == {"default"}, done
            with Robot(home.lock_files[0]) as one, Robot(home.lock_files[0], pid=PID + 1):
                proposal = one.propose(home.project / "a", "x\n")
                served.wait_review()
                served.do("accept")
                assert proposal.result(SECONDS)[0] == "FILE_SAVED"
            assert served.stop() == 0
    assert not mark.exists()


def furnish(home: Home, mark: Path) -> None:
    """Give the project a repository that would run programs, lead elsewhere, and hold up whoever reads it."""
    top = home.project
    program = home.root / "program"
    program.write_text(f"#!/bin/sh\necho \"$0 $*\" >> '{mark}'\ncat\n")
    program.chmod(0o755)
    elsewhere = home.root / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "precious").write_text("precious\n")
    git(top, "init", "-q", home=home)
    home.write("tracked.txt", "one\n")
    home.write("tracked.up", "one\n")
    git(top, "add", "tracked.txt", "tracked.up", home=home)
    home.write(".gitattributes", "* filter=evil diff=evil merge=evil text eol=crlf working-tree-encoding=UTF-16\n")
    hooks = top / ".git" / "hooks"
    for name in ("post-index-change", "fsmonitor-watchman", "pre-commit", "post-checkout", "reference-transaction"):
        (hooks / name).unlink(missing_ok=True)
        (hooks / name).symlink_to(program)
    config = "\n".join(
        (
            f"[core]\nworktree = {elsewhere}\nfsmonitor = {program}\nhooksPath = {hooks}\npager = {program}",
            f"editor = {program}\nsshCommand = {program}\nattributesFile = {top}/.gitattributes\ngitProxy = {program}",
            f"excludesFile = {top}/fifo\nalternateRefsCommand = {program}\naskPass = {program}",
            f'[filter "evil"]\nclean = {program}\nsmudge = {program}\nprocess = {program}\nrequired = true',
            f'[diff "evil"]\ntextconv = {program}\ncommand = {program}\n[diff]\nexternal = {program}',
            f'[merge "evil"]\ndriver = {program}\n[include]\npath = {top}/included\n[credential]\nhelper = {program}',
            f"[alias]\nls-files = !{program}\nconfig = !{program}\n[uploadpack]\npackObjectsHook = {program}",
            f"[gpg]\nprogram = {program}\n[interactive]\ndiffFilter = {program}\n[trace2]\neventTarget = {mark}",
        )
    )
    with (top / ".git" / "config").open("a") as file:
        file.write(config + "\n")
    home.write("included", f"[core]\nexcludesFile = {top}/fifo\nfsmonitor = {program}\n")
    info = top / ".git" / "objects" / "info"
    info.mkdir(exist_ok=True)
    (info / "alternates").write_text(f"{elsewhere}\n../../../../../../../../etc\n/dev/zero\n")
    os.mkfifo(top / "fifo")
    os.symlink("/", top / "root")
    os.symlink(elsewhere, top / "elsewhere")
    os.symlink("loop", top / "loop")
    os.symlink(elsewhere / "precious", top / "link to a file")
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(top / "socket"))
    if os.geteuid() == 0:
        for name, number in (("zero", 5), ("random", 8)):
            with_device = top / name
            try:
                os.mknod(with_device, 0o600 | 0o020000, os.makedev(1, number))
            except PermissionError:
                continue
    for name in NAMES:
        (top / os.fsencode(name).decode("utf-8", "surrogateescape")).write_text("one\n")


def test_a_hostile_repository_is_looked_at_and_taken_back_and_nothing_of_it_runs(home: Home) -> None:
    """Hooks, filters, watchers, drivers, includes, alternates, another work tree; links, devices, pipes; any name."""
    mark = home.root / "owned"
    furnish(home, mark)
    with Served(home) as served:
        served.start()
        with Robot(home.lock_files[0]) as robot:
            robot.call("closeAllDiffTabs")
            served.do("changes")
            for name in NAMES:
                (home.project / name).write_text("two\n")
            (home.project / "tracked.txt").write_text("two\n")
            robot.call("getDiagnostics")

            def found() -> int:
                told = json.loads(served.do("changes", "--json"))
                return sum(len(turn["changes"]) for turn in told["turns"])

            until(lambda: found() == len(NAMES) + 1, timeout=SECONDS, what=lambda: f"{found()} of {len(NAMES) + 1}")
            robot.call("closeAllDiffTabs")
            done = served.run("undo", "--turn", "1")
            assert done.returncode == 0, done.stdout + done.stderr
        for name in (*NAMES, "tracked.txt"):
            assert (home.project / name).read_text() == "one\n", name
        assert served.stop() == 0
        assert "Traceback" not in served.errors
    assert not mark.exists(), mark.read_text()
    assert not (home.project / "owned").exists()
    assert [path.read_text() for path in (home.root / "elsewhere").iterdir()] == ["precious\n"]
    assert (home.project / "link to a file").is_symlink()


@pytest.mark.parametrize("name", [".gitignore", ".gitattributes", ".git/info/exclude", ".git/index", ".git/config"])
def test_a_pipe_in_the_place_of_a_file_that_git_reads_ends_the_look_in_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """git waits for somebody to write to it; it is ended, that is said, and the person's files are as they were."""
    monkeypatch.setattr(snapshots, "COLD_SECONDS", 0.7)
    monkeypatch.setattr(snapshots, "WARM_SECONDS", 0.7)
    top = tmp_path / "top"
    subprocess.run(["git", "init", "-q", str(top)], check=True)
    (top / "a").write_text("1\n")
    path = top / name
    path.unlink(missing_ok=True)
    os.mkfifo(path)
    began = time.monotonic()
    tree = WorkTree(
        str(top), [str(top)], git_dir=str(tmp_path / "git"), store=Store(), file_bytes=1000, files=100,
        excluded=lambda path: False,
    )  # fmt: skip
    with contextlib.suppress(SnapshotError):
        tree.snapshot()
    assert time.monotonic() - began < 10
    assert (top / "a").read_text() == "1\n"
    path.unlink()
    if name != ".git/config":
        tree.snapshot()  # and when it is gone all is well
