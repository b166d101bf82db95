"""Owns when the git work trees of the workspace are looked at: soon after they may have changed, and not often.

One snapshot is made at a time, in a thread, by git. What asks for one while another is being made is answered by the
next. Nobody who waits for an answer to an agent ever waits for a snapshot.
"""

from __future__ import annotations

import asyncio
import logging
import os
import tempfile
from collections.abc import Callable, Collection, Mapping, Sequence

from pairside.archive import Archive, repository
from pairside.cell import Cell
from pairside.changes import Change, Changes
from pairside.snapshots import Difference, SnapshotError, WorkTree, work_trees
from pairside.text import within

log = logging.getLogger(__name__)

SHARE = 5
"""After a snapshot that took a second the next one waits for so many seconds, unless somebody waits for it."""
PART = 20
"""So many differences are accounted for in one go."""
RETRY_SECONDS = 60.0
"""A work tree that could not be looked at is left alone for so long."""
CLOSE_SECONDS = 2.0


class Watch:
    """Makes snapshots while there is somebody to be watched, and has `Changes` account for what they find."""

    def __init__(
        self,
        changes: Changes,
        folders: Cell[tuple[str, ...]],
        *,
        archive: Archive | None,
        files: int,
        excluded: Callable[[str], bool],
        hidden: Callable[[str], bool] = lambda path: False,
        found: Callable[[list[Change]], None] = lambda changes: None,
    ) -> None:
        """`files` is how many files a work tree may have; `found` is told what was changed by other means.

        Of what is `excluded` or `hidden` no snapshot tells anything: the one is not to be read, the other is ours.
        """
        self._changes = changes
        self._folders = folders
        self._archive = archive
        self._files = files
        self._excluded = excluded
        self._hidden = hidden
        self._found = found
        self._trees: dict[str, WorkTree] = {}
        self._unseen: tuple[str, ...] = ()
        """The work trees that could not be looked at the last time."""
        self._parts: dict[str, list[str]] = {}
        """What is looked at of each work tree."""
        self._gone: frozenset[str] = frozenset()
        """The work trees that are not there at the moment."""
        self._failed_at: dict[str, float] = {}
        self._looked_into: set[str] = set()
        """The work trees of which there is a snapshot."""
        self._asked: Cell[int] = Cell(0)
        """Counts the wishes for a snapshot."""
        self._answered: Cell[int] = Cell(0)
        """The last wish that a finished snapshot came after."""
        self._urgent = False
        self._hint: int | None = None
        self._task: asyncio.Task[None] | None = None
        self._own: tempfile.TemporaryDirectory[str] | None = None
        self.notices: dict[str, str] = {}
        """By work tree why it cannot be looked at."""
        self.uncovered: tuple[str, ...] = ()
        """Nested repositories, which are not looked into."""
        self.unwatched: tuple[str, ...] = ()
        """The served folders that lie in no git work tree, as of the last look."""

    def soon(self, *, hint: int | None = None, urgent: bool = False) -> None:
        """Ask for a snapshot. `hint` is the client that showed that it was at work; `urgent` if it should not wait."""
        if hint is not None:
            self._hint = hint
        self._urgent = self._urgent or urgent
        self._asked.set(self._asked.value + 1)
        if self._task is None:
            self._task = asyncio.create_task(self._run())

    async def now(self, seconds: float) -> bool:
        """Wait for a snapshot that begins from now on; whether it came within `seconds`, and of all work trees."""
        self.soon(urgent=True)
        wish, version = self._asked.value, self._answered.version
        try:
            async with asyncio.timeout(seconds):
                while self._answered.value < wish:
                    version = await self._answered.changed(version)
        except TimeoutError:
            return False
        return not self._unseen

    async def forget(self) -> None:
        """Drop what our own repositories have of files as they were before."""
        if self._archive is not None and not self._trees:
            await asyncio.to_thread(self._archive.remove_repositories)
        for tree in self._trees.values():
            try:
                await asyncio.to_thread(tree.forget)
            except SnapshotError as error:
                log.warning("%s", error)

    async def close(self) -> None:
        """End what is going on."""
        for tree in self._trees.values():
            tree.close()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task], timeout=CLOSE_SECONDS)
        if self._own is not None:
            own, self._own = self._own, None
            await asyncio.to_thread(own.cleanup)

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        rested_at = loop.time()
        while True:
            version = self._asked.version
            while self._asked.value == self._answered.value:
                version = await self._asked.changed(version)
            while not self._urgent and (left := rested_at - loop.time()) > 0:
                try:
                    async with asyncio.timeout(left):
                        version = await self._asked.changed(self._asked.version)
                except TimeoutError:
                    break
            wish, hint = self._asked.value, self._hint
            self._urgent, self._hint = False, None
            begun = loop.time()
            try:
                await self._look(hint)
            except Exception:
                log.exception("a snapshot failed")
            rested_at = loop.time() + SHARE * (loop.time() - begun)
            self._answered.set(wish)

    async def _look(self, hint: int | None) -> None:
        # Each time: a folder may have become a work tree since.
        await asyncio.to_thread(self._find_trees, self._folders.value)
        look = self._changes.look()
        differences: list[Difference] = []
        uncovered: list[str] = []
        first_of: list[str] = []
        unseen: list[str] = []
        now = asyncio.get_running_loop().time()
        for top, tree in self._trees.items():
            if now - self._failed_at.get(top, -RETRY_SECONDS) < RETRY_SECONDS:
                unseen.append(top)
                continue
            if top in self._gone:  # it may come back, with less in it
                self.notices[top] = "it is gone"
                unseen.append(top)
                continue
            try:
                snapshot = await asyncio.to_thread(tree.snapshot, look.about)
            except SnapshotError as error:
                log.warning("%s: %s", top, error)
                self._failed_at[top] = now
                self.notices[top] = str(error)
                unseen.append(top)
            else:
                self.notices.pop(top, None)
                differences += [one for one in snapshot.differences if not self._hidden(one.path)]
                uncovered += snapshot.uncovered
                if top not in self._looked_into:
                    self._looked_into.add(top)
                    first_of.append(top)
        self.uncovered = tuple(uncovered)
        found: list[Change] = []
        for start in range(0, len(differences), PART):
            found += self._changes.account(look, differences[start : start + PART], hint=hint)
            await asyncio.sleep(0)  # whoever waits for an answer comes first
        covered = {difference.path for difference in differences}
        found += self._changes.accounted(look, covered, hint=hint, first_of=first_of, unseen=unseen)
        self._unseen = tuple(unseen)
        if found:
            self._found(found)

    def _find_trees(self, folders: Collection[str]) -> None:
        found = work_trees(folders)
        kept = self._without_repository(found, folders)
        for top in kept:
            self._keep(top, found)
        self._gone = frozenset(top for top in kept if not os.path.isdir(top))
        known, self._trees = self._trees, {}
        self.unwatched = tuple(folder for folder in folders if not within(folder, found))
        for top, parts in found.items():
            if top in known and self._parts[top] == parts:
                self._trees[top] = known.pop(top)
                continue
            self._parts[top] = parts
            self._looked_into.discard(top)
            self._trees[top] = WorkTree(
                top,
                parts,
                git_dir=self._repository(top),
                store=self._changes.store,
                file_bytes=self._changes.image_bytes,
                files=self._files,
                excluded=lambda path: self._hidden(path) or self._excluded(path),
            )
        for tree in known.values():
            tree.close()
        self._changes.is_watched = bool(self._trees)

    def _without_repository(self, found: Mapping[str, Sequence[str]], folders: Collection[str]) -> list[str]:
        """The work trees that were looked at and have lost their repository: what is done to them is seen all the same.

        Who removes a `.git` may remove more. Ours has all that was there.
        """
        return [
            top
            for top in self._trees
            if top in self._looked_into
            and top not in found
            and set(self._parts[top]) <= set(folders)
            and all(
                within(top, (other,)) for other, inside in found.items() if not set(self._parts[top]).isdisjoint(inside)
            )
        ]

    def _keep(self, top: str, found: dict[str, list[str]]) -> None:
        """Go on with a work tree, and not with one above it that its folders would belong to now."""
        own = self._parts[top]
        for other, inside in list(found.items()):
            left = [folder for folder in inside if folder not in own]
            if left:
                found[other] = left
            else:
                del found[other]
        found[top] = own

    def _repository(self, top: str) -> str:
        if self._archive is not None:
            return self._archive.repository(top)
        if self._own is None:
            self._own = tempfile.TemporaryDirectory(prefix="pairside-", ignore_cleanup_errors=True)
        return repository(self._own.name, top)
