"""The token is in the lock file and the record, for our user alone, and nowhere else."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

from tests.cli.robot import Robot, write_unreviewed
from tests.e2e.home import Home
from tests.e2e.served import Served
from tests.e2e.until import until

HOOK = """#!/bin/sh
env > "$1/environment"
tr '\\0' '\\n' < /proc/$PPID/environ > "$1/environment of the server"
tr '\\0' '\\n' < /proc/$PPID/cmdline > "$1/arguments of the server"
echo "$@" > "$1/arguments"
ls -l /proc/self/fd > "$1/descriptors"
: > "$1/done"
"""
COMMANDS = (
    ("status",), ("status", "--json"), ("status", "--line"), ("reviews", "--json"), ("show", "--json"), ("changes",),
    ("log", "--wire", "--contents"), ("log", "--json", "--wire", "--contents"), ("config",), ("doctor",),
    ("doctor", "--json"), ("env",),
)  # fmt: skip


def test_the_token_is_nowhere_but_in_two_files_that_only_we_can_read(home: Home) -> None:
    """Not in arguments, environments, hooks, logs, answers to commands or other files, with the log at its fullest."""
    hook, out = home.root / "hook", home.root / "hooked"
    out.mkdir()
    hook.write_text(HOOK)
    hook.chmod(0o755)
    settings = home.home / ".config" / "pairside" / "config.toml"
    settings.parent.mkdir(parents=True)
    settings.write_text(f"[hooks]\non_review = {json.dumps([str(hook), str(out)])}\n")
    with Served(home) as served:
        previous = os.umask(0)  # what is made readable by all is so
        try:
            served.start("-vv")
        finally:
            os.umask(previous)
        (lock,) = home.lock_files
        token = json.loads(lock.read_text())["authToken"]
        with Robot(lock) as robot:
            write_unreviewed(robot, home, "b.txt", "x\n")
            robot.propose(home.project / "a.txt", "x\n")
            until(lambda: (out / "done").exists(), timeout=10, what="the hook has run")
            said = "".join(done.stdout + done.stderr for done in (served.run(*words) for words in COMMANDS))
        for process in [served.pid, *children(served.pid)]:
            for name in ("cmdline", "environ"):
                assert token.encode() not in Path(f"/proc/{process}/{name}").read_bytes()
        holding = {path for path in files(home.root) if token.encode() in path.read_bytes()}
        assert holding == {lock, home.home / ".local/state/pairside/run" / f"{lock.stem}.json"}
        for path in holding:
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        ours = [*files(home.home / ".local"), *files(home.claude_config)]
        assert [path for path in ours if path.stat().st_mode & 0o077] == []
        folders = [path for path in (home.home / ".local/state/pairside").rglob("*") if path.is_dir()]
        assert [path for path in folders if path.stat().st_mode & 0o077] == []
        socket = home.home / ".local/state/pairside/run" / f"{lock.stem}.sock"
        assert stat.S_IMODE(socket.stat().st_mode) == 0o600
        assert served.stop() == 0
    assert token not in said
    assert token not in served.output + served.errors
    assert "DEBUG" in served.errors


def children(pid: int) -> list[int]:
    """The processes that a process has started."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return [int(child) for task in tasks for child in (task / "children").read_text().split()]


def files(folder: Path) -> list[Path]:
    """Every file below a folder."""
    return [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
