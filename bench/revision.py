"""Owns another revision of pairside, installed for a while to be compared with."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
import venv
from collections.abc import Iterator
from pathlib import Path

from bench.contenders import Contender, a_pairside
from bench.figures import Unavailable
from bench.machine import git

INSTALL_SECONDS = 300


@contextlib.contextmanager
def installed(revision: str) -> Iterator[Contender]:
    """A revision of this clone, in a work tree and with a `.venv` of its own, for as long as the block runs.

    It is installed as `make install` does, with the versions that it asks for.

    Raises:
        Unavailable: There is no such revision, or it cannot be installed.
    """
    try:
        commit = git("rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}")
        name = git("describe", "--always", "--abbrev=9", "--exclude=*", commit)
    except subprocess.CalledProcessError:
        raise Unavailable(f"there is no revision {revision}") from None
    with tempfile.TemporaryDirectory(prefix="bench-") as folder, contextlib.ExitStack() as stack:
        tree = Path(folder).resolve() / "tree"
        git("worktree", "add", "--quiet", "--detach", str(tree), commit)
        stack.callback(git, "worktree", "remove", "--force", str(tree))
        print(f"installing {name} ...", file=sys.stderr, flush=True)
        venv.create(tree / ".venv", with_pip=True, symlinks=True)
        binaries = tree / ".venv" / "bin"
        command = [str(binaries / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        if (tree / "constraints.txt").exists():
            command += ["--constraint", str(tree / "constraints.txt")]
        try:
            subprocess.run([*command, "--editable", str(tree)], check=True, timeout=INSTALL_SECONDS)
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as problem:
            raise Unavailable(f"{name} cannot be installed: {problem}") from None
        yield a_pairside(name, str(binaries / "pairside"))
