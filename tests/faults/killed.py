"""Owns what is done and then looked at, killed at each step: `python -m tests.faults.killed WHAT FOLDER [STRIDE]`.

Prints a line of JSON for each step: what the process was about to do when it was killed, and what was found then.
With a stride only each so many steps, and the end.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from pairside import archive, runtime
from pairside.agents.claude import discovery
from pairside.archive import Recording
from pairside.bridge import Bridge
from pairside.disk import PREFIX
from pairside.editors.embedded import EmbeddedEditor
from pairside.images import Store
from pairside.limits import Limits
from pairside.serve import serving
from pairside.snapshots import WorkTree
from pairside.undo import undo
from tests.faults.steps import Steps, forked
from tests.memory import client

STEPS = 1000
"""Nothing here takes as many."""
LIMITS = Limits(linger_seconds=0.05)


class Scene:
    """A throwaway home with a workspace."""

    def __init__(self, folder: str, stride: int) -> None:
        self.folder = folder
        self.stride = stride
        self.workspace = os.path.join(folder, "work")
        self.environment = {"PATH": os.environ["PATH"], "HOME": folder, "XDG_STATE_HOME": os.path.join(folder, "s")}
        os.environ["HOME"] = folder
        os.environ["TMPDIR"] = os.path.join(folder, "tmp")

    def clear(self) -> None:
        """Begin anew."""
        for entry in list(os.scandir(self.folder)):
            if entry.is_dir():
                shutil.rmtree(entry.path)
            else:
                os.unlink(entry.path)
        os.mkdir(self.workspace)
        os.mkdir(os.environ["TMPDIR"])

    def each_step(self, work: Callable[[Steps], None], inspect: Callable[[], dict[str, Any]]) -> None:
        """Do it again and again, killed one step later each time, until it is done."""
        for number in range(1, STEPS, self.stride):
            self.clear()
            ended, told = forked(lambda out, number=number: work(Steps(number, out)))  # type: ignore[misc]
            print(json.dumps({"before": told.decode() or "the end", **inspect()}), flush=True)
            if ended:
                return
        raise AssertionError(f"more than {STEPS} steps")


# A server that starts and stops.


def serve(scene: Scene, out: int | None = None, steps: Steps | None = None) -> None:
    """Serve for a moment, and tell what a client would find."""

    async def run() -> None:
        async with serving((scene.workspace,), limits=LIMITS, environment=scene.environment) as server:
            if out is not None:
                lock = discovery.read(server.lock_file)
                facts = {"adopted": server.adopted, "good": lock is not None and lock.pid == os.getpid()}
                os.write(out, json.dumps(facts).encode())

    if steps is not None:
        steps.arm()
    asyncio.run(run())


def lock_and_record(scene: Scene) -> None:
    """A server, killed at any step from its start to its end."""

    def inspect() -> dict[str, Any]:
        run, ide = runtime.location(scene.environment), discovery.directory(scene.environment)
        locks = [name for name in _names(ide) if not name.startswith(".")]
        records = [name for name in _names(run) if name.endswith(".json")]
        found: dict[str, Any] = {
            "locks": [discovery.read(os.path.join(ide, name)) is not None for name in locks],
            "records": [runtime.read_record(os.path.join(run, name)) is not None for name in records],
        }
        _, told = forked(lambda out: serve(scene, out))
        found["next"] = json.loads(told)
        long_ago = time.time() - 60
        for name in _names(run):
            os.utime(os.path.join(run, name), (long_ago, long_ago))
        forked(lambda out: serve(scene))
        found["left"] = sorted(_names(run)) + sorted(_names(ide))
        found["kept"] = sorted(
            os.path.relpath(path, scene.folder) for path in _below(archive.location(scene.environment))
        )
        return found

    scene.each_step(lambda steps: serve(scene, steps=steps), inspect)


# An undo.

OLD = b"".join(b"%d\n" % number for number in range(300))
NEW = OLD.replace(b"\n7\n", b"\nseven\n") + b"more\n"


def an_undo(scene: Scene, kind: str) -> None:
    """An undo of one file, killed at any step."""
    path = os.path.join(scene.workspace, "folder", "file")

    def opened() -> tuple[archive.Archive, Bridge]:
        kept = archive.claim(scene.environment, (scene.workspace,))
        assert kept is not None
        recording = Recording(snapshots=False)
        return kept, Bridge(
            EmbeddedEditor(), folders=(scene.workspace,), archive=kept, recording=recording, limits=LIMITS
        )

    async def change_and_undo(steps: Steps) -> None:
        _, bridge = opened()
        async with bridge:
            agent = client(1)
            os.mkdir(os.path.dirname(path))
            if kind != "new":
                Path(path).write_bytes(OLD)
            if kind == "names":
                os.link(path, os.path.join(scene.workspace, "other"))
            bridge.changes.prompted(agent)
            bridge.changes.begin(agent, path, await bridge.image(path))
            if kind == "deleted":
                shutil.rmtree(os.path.dirname(path))
            else:
                Path(path).write_bytes(NEW)
            bridge.changes.end(1, path, await bridge.image(path))
            await bridge.settle()
            if kind == "merged":
                Path(path).write_bytes(b"mine\n" + NEW)
            steps.arm()
            await undo(bridge, bridge.changes.net(), by="a test")
            steps.disarm()

    async def undo_again() -> None:
        _, bridge = opened()
        async with bridge:
            await undo(bridge, bridge.changes.net(), by="a test")

    def load(out: int) -> None:
        kept, bridge = opened()
        os.write(
            out, json.dumps({"changes": len(bridge.changes), "set_aside": "log.old" in _names(kept.folder)}).encode()
        )

    def stands() -> str:
        try:
            data = Path(path).read_bytes()
        except FileNotFoundError:
            return "nothing"
        texts = {OLD: "before", NEW: "after", b"mine\n" + NEW: "after", b"mine\n" + OLD: "before"}
        return texts.get(data, "torn")

    def litter() -> int:
        return sum(os.path.basename(name).startswith(PREFIX) for name in _below(scene.workspace))

    def inspect() -> dict[str, Any]:
        found: dict[str, Any] = {"killed": [stands(), litter()]}
        _, told = forked(load)
        found["loaded"] = [stands(), litter()]
        found["known"] = json.loads(told)
        forked(lambda out: asyncio.run(undo_again()))
        found["undone"] = [stands(), litter()]
        return found

    scene.each_step(lambda steps: asyncio.run(change_and_undo(steps)), inspect)


# A snapshot.


def a_snapshot(scene: Scene, which: str) -> None:
    """A snapshot of a work tree, the first or the second one, killed at any step."""
    top, git_dir = scene.workspace, os.path.join(scene.folder, "git")

    def tree() -> WorkTree:
        return WorkTree(
            top, [top], git_dir=git_dir, store=Store(), file_bytes=10**6, files=1000, excluded=lambda path: False
        )

    def write(name: str, text: str) -> None:
        Path(top, name).write_text(text)

    def git(*arguments: str) -> None:
        subprocess.run(["git", *arguments], cwd=top, check=True, env=scene.environment)

    def work(steps: Steps) -> None:
        git("init", "-q")
        write("tracked", "1\n")
        write("other", "1\n")
        git("add", "-A")
        git("-c", "user.name=x", "-c", "user.email=x@example.com", "commit", "-q", "-m", "x")
        write("untracked", "1\n")
        looked_at = tree()
        if which == "second":
            looked_at.snapshot()
            write("tracked", "2\n")
            write("new", "1\n")
            os.unlink(os.path.join(top, "other"))
        Path(scene.folder, "seen").write_text(_fingerprint(top))
        steps.arm()
        looked_at.snapshot()
        steps.disarm()

    def next_one(out: int) -> None:
        looked_at = tree()
        looked_at.snapshot()
        write("tracked", "3\n")
        found = looked_at.snapshot().differences
        os.write(out, json.dumps([os.path.relpath(one.path, top) for one in found]).encode())

    def inspect() -> dict[str, Any]:
        seen = Path(scene.folder, "seen").read_text()
        untouched = _fingerprint(top) == seen
        _, told = forked(next_one)
        loose = [name for name in _below(git_dir) if "tmp" in os.path.basename(name) or name.endswith(".lock")]
        return {"untouched": untouched, "found": json.loads(told), "left": sorted(_names(git_dir)), "loose": loose}

    def each(steps: Steps) -> None:
        os.makedirs(git_dir)
        work(steps)

    scene.each_step(each, inspect)


def _fingerprint(top: str) -> str:
    """All names, bytes, modes and times of writing."""
    total = hashlib.sha256()
    for path in sorted(_below(top)):
        status = os.lstat(path)
        total.update(repr((path, status.st_mode, status.st_mtime_ns, status.st_size)).encode())
        if os.path.isfile(path):
            total.update(Path(path).read_bytes())
    return total.hexdigest()


def _names(folder: str) -> list[str]:
    with suppress(FileNotFoundError):
        return os.listdir(folder)
    return []


def _below(folder: str) -> list[str]:
    return [os.path.join(base, name) for base, folders, names in os.walk(folder) for name in (*folders, *names)]


def main() -> None:
    """Do what is asked for."""
    what, folder, *stride = sys.argv[1:]
    scene = Scene(folder, int(stride[0]) if stride else 1)
    match what.split(" "):
        case ["server"]:
            lock_and_record(scene)
        case ["undo", kind]:
            an_undo(scene, kind)
        case ["snapshot", which]:
            a_snapshot(scene, which)


if __name__ == "__main__":
    main()
