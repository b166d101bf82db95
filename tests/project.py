"""A git work tree that a server in this process serves, with agents, a person and shell commands that change it."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import AsyncIterator, Collection
from dataclasses import dataclass, field
from pathlib import Path

from pairside import testing
from pairside.archive import Recording
from pairside.changes import Change, Changes, Net, Turn
from pairside.limits import Limits
from pairside.undo import FileUndo, Outcome, Undo, undo

LOOK_SECONDS = 20.0


@dataclass
class Project:
    """The work tree, and who works in it. Paths are relative to its root; agents count from 0."""

    root: Path
    running: testing.Running
    agents: list[testing.Agent] = field(default_factory=list)

    # The agents.

    async def prompt(self, agent: int = 0) -> Turn:
        """The person sends a prompt; the agent's turn, whose work tree was looked at."""
        await self.agents[agent].call("closeAllDiffTabs")
        await self.look()
        turn = self.changes.open_turn(agent + 1)
        assert turn is not None
        return turn

    async def edit(self, name: str, text: str | bytes | None, agent: int = 0) -> None:
        """The agent writes a file by its own tool, or deletes it."""
        path = self.root / name
        await self.agents[agent].call("getDiagnostics", uri=f"file://{path}")
        self.write(name, text)
        await self.agents[agent].call("getDiagnostics")

    async def shell(self, command: str, agent: int = 0, *, sign: bool = True) -> None:
        """The agent runs a shell command, and after it, with `sign`, asks for all diagnostics."""
        subprocess.run(["sh", "-ec", command], cwd=self.root, check=True)
        if sign:
            await self.agents[agent].call("getDiagnostics")
        await self.look()

    # The person.

    def write(self, name: str, text: str | bytes | None) -> None:
        """Somebody writes a file, or deletes it."""
        path = self.root / name
        if text is None:
            path.unlink()
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode() if isinstance(text, str) else text)

    async def mine(self, name: str, text: str | bytes | None) -> None:
        """The person writes a file, or deletes it, in an editor that tells nothing, after the agent was at work."""
        await self.look()
        self.write(name, text)

    async def save(self, name: str, text: str) -> None:
        """The person saves a file in an editor that tells it."""
        self.write(name, text)
        await self.running.bridge.saved(str(self.root / name))

    async def undo(
        self,
        *,
        turn: Turn | None = None,
        ids: Collection[int] | None = None,
        name: str | None = None,
        chosen: Collection[int] | None = None,
        dry_run: bool = False,
    ) -> Undo:
        """The person takes something back."""
        await self.look()
        nets = self.nets(turn, ids, name)
        return await undo(self.running.bridge, nets, chosen=chosen, dry_run=dry_run, by="a test")

    # What there is.

    @property
    def changes(self) -> Changes:
        """What the server knows of them."""
        return self.running.bridge.changes

    async def look(self) -> None:
        """Have the work tree looked at."""
        assert await self.running.bridge.look(LOOK_SECONDS)

    def nets(self, turn: Turn | None = None, ids: Collection[int] | None = None, name: str | None = None) -> list[Net]:
        """The net changes of a turn, of some changes or of all; of one file if it is named."""
        if ids is not None:
            found = self.changes.net_of(ids)
        else:
            found = self.changes.net(None if turn is None else [turn], late=turn is None)
        return [net for net in found if name is None or net.path == str(self.root / name)]

    def last(self) -> Change:
        """The change that came last."""
        return list(self.changes)[-1]

    def told(self) -> list[tuple[str, str, bool]]:
        """All changes: the file, by what means, and whether late."""
        return [(os.path.relpath(one.path, self.root), str(one.means), one.is_late) for one in self.changes]

    def tree(self) -> dict[str, object]:
        """Everything below the root but git's own: folders, links, contents and modes."""
        found: dict[str, object] = {}
        for folder, folders, files in os.walk(self.root):
            if folder == str(self.root):
                folders.remove(".git")
            for name in folders + files:
                path = Path(folder, name)
                relative = os.path.relpath(path, self.root)
                if path.is_symlink():
                    found[relative] = os.readlink(path)
                elif path.is_dir():
                    found[relative] = "folder"
                else:
                    found[relative] = (path.read_bytes(), oct(path.stat().st_mode & 0o7777))
        return found


def outcomes(done: Undo, root: Path) -> dict[str, Outcome]:
    """What became of each file."""
    return {os.path.relpath(one.path, root): one.outcome for one in done.files}


def only(done: Undo) -> FileUndo:
    """The one file of an undo."""
    (one,) = done.files
    return one


@contextlib.asynccontextmanager
async def project(
    root: Path,
    files: dict[str, str | bytes],
    *,
    agents: int = 1,
    limits: Limits | None = None,
    recording: Recording | None = None,
    git: bool = True,
) -> AsyncIterator[Project]:
    """A work tree with these files, and a server whose first look at it is done."""
    root.mkdir(parents=True, exist_ok=True)
    if git:
        subprocess.run(["git", "init", "-q", str(root)], check=True)
    async with contextlib.AsyncExitStack() as stack:
        running = await stack.enter_async_context(
            testing.server(folders=[str(root)], limits=limits, recording=recording)
        )
        served = Project(root, running)
        for name, text in files.items():
            served.write(name, text)
        for _ in range(agents):
            served.agents.append(await stack.enter_async_context(testing.Agent.connect(running)))
        await served.look()
        yield served
