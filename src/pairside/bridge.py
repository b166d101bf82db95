"""Owns what belongs together: one editor, its clients, its reviews and its changes. Read this file first.

Facts flow up into a bridge: the editor says what is selected and which folders are open. Values flow down: each
client follows the latest selection on its own, reviews are decided by whoever comes first, and every view (the
command line's, a terminal UI's) is made from what stands here at the moment it is asked for.

A bridge knows neither how agents are found nor what their protocols look like; see `pairside.agents`. What agents
can do with it is in `pairside.tools`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Iterable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import replace
from types import TracebackType
from typing import Any

from pairside.cell import Cell
from pairside.changes import Change, Changes, Image
from pairside.clients import Client, Clients, Departure, NotThere
from pairside.editor import Diagnostic, Editor, EditorError, Selection
from pairside.journal import Journal
from pairside.limits import Limits
from pairside.mentions import Mention, Mentions
from pairside.peer import Gone
from pairside.reviews import Outcome, Review, Reviews, Verdict
from pairside.sharing import Kind, Policy, Sharing, Withheld
from pairside.text import clean_unicode, cut, within

log = logging.getLogger(__name__)


SETTLE_SECONDS = 2.0


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
    ) -> None:
        """`folders` are the absolute real paths of the workspace; `share` says what agents get to know.

        Without `reviews_here` proposals are left to the agents' own terminals.
        """
        self.editor = editor
        self.reviews_here = reviews_here
        self.limits = limits or Limits()
        self.journal = Journal()
        self.clients = Clients(self.limits.clients)
        self.reviews = Reviews()
        self.changes = Changes(
            image_bytes=self.limits.before_image_bytes,
            total_bytes=self.limits.changes_bytes,
            noticed=self._change_noticed,
        )
        self.mentions = Mentions(self.limits.mention_seconds, self._mention_expired)
        self.folders: Cell[tuple[str, ...]] = Cell(tuple(folders))
        """The workspace; the first folder is the root."""
        self.selection: Cell[Selection | None] = Cell(None)
        """What is selected now, as far as it is shared."""
        self.sharing = Sharing(share or Policy(), lambda: self.folders.value)
        self._selected: Selection | None = None
        self._latest: Selection | None = None
        self.diagnosed: Cell[int] = Cell(0)
        """Counts the reports of fresh diagnostics."""
        self._diagnosed_at: dict[str, int] = {}
        self._pushed: dict[str, tuple[Diagnostic, ...]] = {}
        self._telling_changes = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self._listening = ExitStack()

    async def __aenter__(self) -> Bridge:
        self._listening.enter_context(self.clients.listen(_ClientEvents(self)))
        self._listening.enter_context(self.reviews.listen(_ReviewEvents(self)))
        return self

    async def __aexit__(
        self, type: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listening.close()
        self.mentions.take()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Do something that nobody waits for; it ends with the bridge at the latest."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

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
            selection = replace(selection, text=cut(clean_unicode(selection.text), self.limits.selection_bytes))
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
        """The person sent a prompt to `client`."""
        self.changes.prompted(client)
        self.editor.prompted()

    # Small questions.

    def inside(self, path: str) -> bool:
        """Whether a path lies in the workspace, compared component by component."""
        return within(path, self.folders.value)

    def _change_noticed(self, change: Change) -> None:
        self.spawn(self._tell_change(change, first=self.changes.is_first(change)))

    async def _tell_change(self, change: Change, *, first: bool) -> None:
        """Write a change into the journal with how much it is; changes are told in their order."""
        async with self._telling_changes:
            added, removed = await change.measure() or (None, None)
            self.journal.note(
                "change",
                change.client_id,
                change=change.id,
                path=change.path,
                agent=change.agent,
                pid=change.pid,
                added=added,
                removed=removed,
                first=first,
            )

    async def _read_leftovers(self, client_id: int) -> None:
        """Read the files that a client may have been writing when it left."""
        left = self.changes.pending(client_id)
        for path in left:
            self.changes.end(client_id, path, await asyncio.to_thread(Image.read, path, self.changes.image_bytes))
        self.changes.departed(client_id)
        with suppress(EditorError):
            await self.editor.files_changed(left)  # no question of that client will do it any more


class _ClientEvents:
    """Writes who comes and goes into the journal."""

    def __init__(self, bridge: Bridge) -> None:
        self._bridge = bridge

    def arrived(self, client: Client) -> None:
        self._bridge.journal.note("connected", client.id)

    def introduced(self, client: Client) -> None:
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
        if self._bridge.changes.pending(departure.client_id):
            self._bridge.spawn(self._bridge._read_leftovers(departure.client_id))
        else:
            self._bridge.changes.departed(departure.client_id)


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
