"""Owns what belongs together: one editor, its clients, its reviews and its changes. Read this file first.

Facts flow up into a bridge: the editor says what is selected and which folders are open. Values flow down: each
client follows the latest selection on its own, reviews are decided by whoever comes first, and every view (the
command line's, a terminal UI's) is made from what stands here at the moment it is asked for.

A bridge knows neither how agents are found nor what their protocols look like; see `pairside.agents`. What agents
can do with it is in `pairside.tools`.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import os
from collections.abc import Callable, Coroutine, Iterable, Mapping
from contextlib import ExitStack, suppress
from types import TracebackType
from typing import Any

import msgspec

from pairside.archive import Archive, Recording
from pairside.cell import Cell
from pairside.changes import Change, Changes, Means, State, Turn
from pairside.clients import Client, Clients, Departure, NotThere
from pairside.disk import PREFIX
from pairside.editor import Diagnostic, Editor, EditorError, Selection
from pairside.images import Image, Store, look
from pairside.images import Kind as ImageKind
from pairside.journal import Journal
from pairside.limits import Limits
from pairside.mentions import Mention, Mentions
from pairside.peer import Gone, Reason
from pairside.reviews import Outcome, Review, Reviews, Verdict
from pairside.sharing import Kind, Policy, Sharing, Withheld
from pairside.text import clean_unicode, cut, within
from pairside.watch import Watch

log = logging.getLogger(__name__)


SETTLE_SECONDS = 2.0
ROOM_BYTES = 64 * 1024 * 1024
"""What may be kept for a moment above twice what changes may take: whoever only asks makes us keep no more."""
TOLD = 100
"""Of what one snapshot finds so much is told one by one; what a turn amounts to is told in any case."""


class Bridge:
    """One editor and everybody who works with it."""

    def __init__(
        self,
        editor: Editor,
        *,
        folders: Iterable[str],
        limits: Limits | None = None,
        share: Policy | None = None,
        reviews_here: bool = True,
        recording: Recording | None = None,
        archive: Archive | None = None,
    ) -> None:
        """`folders` are the absolute real paths of the workspace; `share` says what agents get to know.

        Without `reviews_here` proposals are left to the agents' own terminals. `recording` says what is recorded of
        changes, and `archive` is where they are kept; without it they are gone with the bridge.
        """
        self.editor = editor
        self.reviews_here = reviews_here
        self.limits = limits or Limits()
        self.journal = Journal()
        self.clients = Clients(self.limits.clients)
        self.reviews = Reviews()
        self._tasks: set[asyncio.Task[None]] = set()
        self._runs = False
        self.recording = recording or Recording()
        self.changes = Changes(
            store=Store(None if archive is None else archive.objects, limit=2 * self.limits.changes_bytes + ROOM_BYTES),
            image_bytes=self.limits.before_image_bytes,
            total_bytes=self.limits.changes_bytes,
            archive=archive,
            noticed=self._change_noticed,
            later=self._later,
        )
        self.mentions = Mentions(self.limits.mention_seconds, self._mention_expired)
        self.folders: Cell[tuple[str, ...]] = Cell(tuple(folders))
        """The workspace; the first folder is the root."""
        self.selection: Cell[Selection | None] = Cell(None)
        """What is selected now, as far as it is shared."""
        self.sharing = Sharing(share or Policy(), lambda: self.folders.value)
        self._our_folders = () if archive is None else (os.path.realpath(archive.state),)
        self._unrecorded = Sharing(Policy(exclude=self.recording.exclude), lambda: self.folders.value)
        self.watch = Watch(
            self.changes,
            self.folders,
            archive=archive,
            files=self.limits.snapshot_files,
            excluded=lambda path: self._unrecorded.pattern(path) is not None,
            hidden=self._is_ours,
            found=self.tell_changes,
        )
        self._selected: Selection | None = None
        self._latest: Selection | None = None
        self.diagnosed: Cell[int] = Cell(0)
        """Counts the reports of fresh diagnostics."""
        self._diagnosed_at: dict[str, int] = {}
        self._pushed: dict[str, tuple[Diagnostic, ...]] = {}
        self._telling_changes = asyncio.Lock()
        self.undoing = asyncio.Lock()
        """Held while something is taken back: one undo after the other."""
        self._listening = ExitStack()

    async def __aenter__(self) -> Bridge:
        self._runs = True
        self._listening.enter_context(self.clients.listen(_ClientEvents(self)))
        self._listening.enter_context(self.reviews.listen(_ReviewEvents(self)))
        return self

    async def __aexit__(
        self, type: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listening.close()
        self.mentions.take()
        await self.settle()  # what the last agents left is still to be read
        await self.watch.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Do something that nobody waits for; it ends with the bridge at the latest."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _later(self, work: Callable[[], None]) -> None:
        """Do something that may take long, and that nobody waits for; at once where nothing runs yet."""
        if self._runs:
            self.spawn(asyncio.to_thread(work))
        else:
            work()

    async def settle(self) -> None:
        """Wait until what is being done in the background is done, but not for long: what was written, for one."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=SETTLE_SECONDS)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("something in the background failed", exc_info=task.exception())

    # Facts from the editor.

    def select(self, selection: Selection | None) -> None:
        """The person selected something else, or nothing."""
        if selection is not None:
            selection = msgspec.structs.replace(
                selection, text=cut(clean_unicode(selection.text), self.limits.selection_bytes)
            )
        self._selected = selection
        shared = self._shared(selection)
        if shared is not None and shared.text:
            self._latest = shared
        self.selection.set(shared)

    def share(self, on: bool) -> None:
        """Share with agents, or nothing at all, from this moment on."""
        if on != self.sharing.on:
            self.sharing.on = on
            self.selection.set(self._shared(self._selected))
            self.journal.note("sharing", on=on)
            if on and len(self.mentions):
                self.spawn(self._mention_again())

    def review_here(self, here: bool) -> None:
        """Answer proposals here from now on, or leave them to the agents' own terminals; pending ones stay."""
        if here != self.reviews_here:
            self.reviews_here = here
            self.journal.note("review-where", here=here)

    async def _mention_again(self) -> None:
        """Deliver the mentions that waited for sharing to be switched on."""
        for client in self._listeners()[:1]:
            with suppress(Gone):
                await self.client_ready(client)

    @property
    def latest_selection(self) -> Selection | None:
        """The last text that was selected and shared, also after it no longer is selected."""
        return self._shared(self._latest)

    def _shared(self, selection: Selection | None) -> Selection | None:
        if selection is None or not self.sharing.shares(Kind.SELECTION, selection.path):
            return None
        if not selection.text and not self.sharing.shares(Kind.OPEN_FILES, selection.path):
            return None  # it would only tell which file is open
        return selection

    def diagnostics_changed(self, path: str, diagnostics: tuple[Diagnostic, ...]) -> None:
        """The editor looked at a file again and found this."""
        self.diagnosed.set(self.diagnosed.value + 1)
        self._diagnosed_at[path] = self.diagnosed.value
        if diagnostics:
            self._pushed[path] = diagnostics
        else:
            self._pushed.pop(path, None)

    def pushed_diagnostics(self, path: str) -> tuple[Diagnostic, ...]:
        """What the editor last reported for a file on its own."""
        return self._pushed.get(path, ())

    @property
    def all_pushed_diagnostics(self) -> Mapping[str, tuple[Diagnostic, ...]]:
        """What the editor last reported on its own, by path."""
        return self._pushed

    def diagnosed_since(self, path: str, count: int) -> bool:
        """Whether the editor reported on a file after the report numbered `count`."""
        return self._diagnosed_at.get(path, 0) > count

    # What the person wants an agent to see.

    async def mention(self, mention: Mention, client_id: int | None = None) -> Client | None:
        """Put a file or lines of it into a prompt: that of the client that was last active, else of the next to come.

        With `client_id` only into that of this client. Returns the client; None if nobody listens yet and the mention
        waits.

        Raises:
            Withheld: The file is excluded from sharing or nothing is shared now, and the mention is not forced.
            NotThere: The client is not there, or takes no mentions.
        """
        why = self._why_not_mentioned(mention)
        if why is not None:
            raise Withheld(f"{mention.path} is not shared with agents: {why}")
        for client in self._listeners():
            if client_id not in (None, client.id):
                continue
            assert client.mention is not None
            try:
                await client.mention(mention)
            except Gone:
                continue
            self.journal.note("mentioned", client.id, path=mention.path)
            return client
        if client_id is not None:
            raise NotThere(f"there is no client {client_id} that takes mentions")
        self.mentions.wait(mention)
        return None

    def _why_not_mentioned(self, mention: Mention) -> str | None:
        return None if mention.forced else self.sharing.why_not(None, mention.path)

    def _listeners(self) -> list[Client]:
        """The clients that take mentions, the one that was last active first."""
        ready = [client for client in self.clients if client.ready and client.mention is not None]
        return sorted(ready, key=lambda client: client.asked_at, reverse=True)

    async def client_ready(self, client: Client) -> None:
        """A client listens from now on: deliver what waited for one."""
        client.ready = True
        if client.mention is None:
            return
        waiting = self.mentions.take()
        for index, mention in enumerate(waiting):
            if self._why_not_mentioned(mention) is not None:  # sharing was switched off since
                self.mentions.wait(mention)
                continue
            try:
                await client.mention(mention)
            except Gone:
                for left in waiting[index:]:
                    self.mentions.wait(left)
                raise
            self.journal.note("mentioned", client.id, path=mention.path)

    def _mention_expired(self, mention: Mention) -> None:
        self.journal.note("mention-expired", path=mention.path, seconds=self.limits.mention_seconds)

    def prompted(self, client: Client) -> None:
        """The person sent a prompt to `client`: its turn is over, and the next one begins."""
        over = self.changes.open_turn(client.id)
        turn = self.changes.prompted(client)
        if over is not None:
            self.spawn(self._tell_turn_over(over))
        elif self.recording.snapshots:
            self.watch.soon(urgent=True)
        self.journal.note("turn", client.id, turn=turn.number, agent=turn.agent, pid=turn.pid)
        self.editor.prompted()

    # What agents change.

    def _is_ours(self, path: str) -> bool:
        """Whether a file is our own: it stands beside one of the person's for a moment, or we keep something in it."""
        return os.path.basename(path).startswith(PREFIX) or within(path, self._our_folders)

    async def image(self, path: str) -> Image:
        """What stands at a path now, its contents kept unless the person does not want that."""
        if self._unrecorded.pattern(path) is not None:
            seen = await asyncio.to_thread(look, path, -1, self.changes.store)
            note = f"excluded by changes.exclude ({self._unrecorded.pattern(path)})"
            return seen if seen.kind is not ImageKind.FILE else dataclasses.replace(seen, note=note)
        return await asyncio.to_thread(look, path, self.changes.image_bytes, self.changes.store)

    async def saved(self, path: str) -> None:
        """The person saved a file in their editor."""
        self.changes.saved(path, await self.image(path))

    def worked(self, client: Client) -> None:
        """The client showed that it has just finished some work: look at what else that changed."""
        self.changes.seen(client)
        if self.recording.snapshots:
            self.watch.soon(hint=client.id)

    async def look(self, seconds: float) -> bool:
        """Look at the work trees now; whether that was done within `seconds`."""
        await self.settle()
        return not self.recording.snapshots or not self.clients.arrivals or await self.watch.now(seconds)

    def tell_changes(self, changes: list[Change]) -> None:
        """Files were changed by other means, or taken back: the editor may show one of them."""
        for change in changes[:TOLD]:
            self.spawn(self._tell_change(change, first=False))
        self.tell_editor([change.path for change in changes])

    def tell_editor(self, paths: list[str]) -> None:
        """Files changed on disk, and no question of an agent will have the editor look at them."""
        self.spawn(self._tell_editor(paths))

    async def _tell_editor(self, paths: list[str]) -> None:
        with suppress(EditorError):
            await self.editor.files_changed(paths)

    async def _tell_turn_over(self, turn: Turn) -> None:
        """Tell what a turn amounted to, once the last of it was found."""
        if self.recording.snapshots:
            await self.watch.now(SETTLE_SECONDS)
        changes = self.changes.of(turn)
        if not changes:
            return
        states = self.changes.states()
        left = [change for change in changes if states[change.id] is not State.UNDONE]
        nets = self.changes.net([turn])
        sizes = [await self.changes.measure_net(net) for net in nets[:TOLD]]
        known = len(sizes) == len(nets)
        self.journal.note(
            "turn-ended",
            turn.client_id,
            turn=turn.number,
            agent=turn.agent,
            pid=turn.pid,
            files=len({net.path for net in nets}),
            added=sum(size[0] for size in sizes if size) if known else None,
            removed=sum(size[1] for size in sizes if size) if known else None,
            unreviewed=sum(1 for change in left if change.means is Means.EDIT and not change.reviewed),
            by_other_means=sum(1 for change in left if change.means is Means.OTHER),
        )

    # Small questions.

    def inside(self, path: str) -> bool:
        """Whether a path lies in the workspace, compared component by component."""
        return within(path, self.folders.value)

    def _change_noticed(self, change: Change) -> None:
        if change.means is not Means.EDIT:
            return  # a snapshot may find thousands: see tell_changes
        self.spawn(self._tell_change(change, first=not change.reviewed and self.changes.is_first(change)))

    async def _tell_change(self, change: Change, *, first: bool) -> None:
        """Write a change into the journal with how much it is; changes are told in their order."""
        async with self._telling_changes:
            added, removed = await self.changes.measure(change) or (None, None)
            self.journal.note(
                "change",
                change.turn.client_id,
                change=change.id,
                turn=change.turn.number,
                path=change.path,
                agent=change.turn.agent,
                pid=change.turn.pid,
                means=str(change.means),
                reviewed=change.reviewed,
                added=added,
                removed=removed,
                first=first,
            )

    async def _read_leftovers(self, client_id: int, *, lasting: bool) -> None:
        """Read the files that a client may have been writing when it left."""
        left = self.changes.pending(client_id)
        for path in left:
            self.changes.end(client_id, path, await self.image(path))
        turn = self.changes.departed(client_id, lasting=lasting)
        if turn is not None:
            await self._tell_turn_over(turn)
        if left:
            self.tell_editor(list(left))


class _ClientEvents:
    """Writes who comes and goes into the journal."""

    def __init__(self, bridge: Bridge) -> None:
        self._bridge = bridge

    def arrived(self, client: Client) -> None:
        self._bridge.journal.note("connected", client.id)

    def introduced(self, client: Client) -> None:
        self._bridge.changes.resume(client)
        if self._bridge.recording.snapshots:
            self._bridge.watch.soon()  # so that there is something to compare with when it begins to work
        self._bridge.journal.note("introduced", client.id, agent=client.agent, version=client.version, pid=client.pid)

    def departed(self, departure: Departure) -> None:
        why = departure.why
        self._bridge.journal.note(
            "disconnected",
            departure.client_id,
            agent=departure.agent,
            pid=departure.pid,
            reason=str(why.reason),
            code=why.code,
            detail=why.detail,
        )
        lasting = why.reason is not Reason.SHUTDOWN
        self._bridge.spawn(self._bridge._read_leftovers(departure.client_id, lasting=lasting))


class _ReviewEvents:
    """Writes what is proposed and decided into the journal, and takes a review that is over from the screen."""

    def __init__(self, bridge: Bridge) -> None:
        self._bridge = bridge

    def opened(self, review: Review) -> None:
        self._bridge.journal.note(
            "review", review.client.id, review=review.id, path=review.path, agent=review.client.agent
        )

    def decided(self, review: Review, verdict: Verdict) -> None:
        # Now, and not when the waiting call wakes: the agent may ask about the file before that.
        writes = verdict.outcome is not Outcome.REJECTED
        self._bridge.changes.reviewed(review.client, review.path, writes=writes)

    def closed(self, review: Review, verdict: Verdict) -> None:
        self._bridge.editor.hide_review(review.id)
        self._bridge.journal.note(
            "decided",
            review.client.id,
            review=review.id,
            path=review.path,
            agent=review.client.agent,
            outcome=str(verdict.outcome),
            by=verdict.by,
        )
