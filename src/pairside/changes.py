"""Owns what agents changed, turn by turn: with a review here or without one, by their own tools or by other means.

Claude Code asks for the diagnostics of a file just before it writes it, in every permission mode, and waits for
the answer. So the text before the write is read before that question is answered, and the text after it at the
next question: such a change is known exactly. What changes in the work tree besides, by a shell command of the agent
or by anything else, is found by comparing snapshots: whatever the known writes do not explain was done by other means.

Nothing here reads or writes a file of the person.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import itertools
import logging
import os
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Any, NamedTuple

import msgspec

from pairside import disk, hunks
from pairside.archive import Archive
from pairside.clients import Client
from pairside.images import Image, Kind, Store
from pairside.snapshots import Difference
from pairside.text import within

log = logging.getLogger(__name__)

CHANGES_KEPT = 5000
WRITES_KEPT = 1000
"""Of so many files of a client it is remembered that it may be about to write them."""
PROMPT_SECONDS = 0.5
"""Claude Code asks for all diagnostics a moment before it tells a prompt: that is no sign of work."""
BOUND_SECONDS = 1.0
"""At most so often it is looked for what is to be forgotten."""
INTERRUPTED = 100
"""Of so many clients that left the turn is remembered, in case they come back."""
IDLE_TURNS = 500
"""So many turns in which nothing was changed are remembered."""
SIGN_SECONDS = 5.0
"""At most so often it is kept that a client was seen at work."""
LOG_BYTES = 16 * 1024 * 1024
"""A log that has grown by so much is written anew."""
CLOCK_SECONDS = 0.02
"""The clock of a file system may lag so far behind ours."""
WATCHED = 50_000
"""Of so many files the known writes are remembered until the next snapshot."""


class Means(StrEnum):
    """How something was changed."""

    EDIT = "edit"
    """By the agent's own tool."""
    OTHER = "other"
    """By other means: a command that the agent ran, or anybody else while the agent was at work."""
    UNDO = "undo"
    """By the person, who took something back."""


class State(StrEnum):
    """What has become of a change."""

    WRITTEN = "written"
    UNDONE = "undone"
    PARTLY = "partly undone"


class Turn(msgspec.Struct, eq=False):
    """What a client did from one prompt to the next; or one undo, which is a turn of the person."""

    number: int
    """Counts from 1, on through restarts."""
    client_id: int | None
    """None for an undo."""
    agent: str
    """Its name; for an undo who did it, as others are told."""
    pid: int | None
    began_at: float = msgspec.field(default_factory=time.time)
    """Seconds since the epoch, as all times here."""
    ended_at: float | None = None
    """When the next prompt came, or the client left."""
    seen_at: float | None = None
    """When the client last showed that it was at work, if it does show that."""
    resumed_at: float | None = None
    """When the client came back to a server that had to be started again, and its turn went on."""

    @property
    def is_undo(self) -> bool:
        """Whether it is a turn of the person."""
        return self.client_id is None


class Change(msgspec.Struct, eq=False):
    """One file from one moment to the next."""

    id: int
    """Counts from 1, on through restarts. What a snapshot finds has a later one than what came after it."""
    turn: Turn
    means: Means
    path: str
    before: Image
    after: Image
    at: float
    """When the change was there, in seconds since the epoch."""
    reviewed: bool = False
    """Whether it had been proposed here."""
    undoes: tuple[int, ...] = ()
    """The changes that it took back, all of one file."""
    hunks: tuple[int, ...] | None = None
    """The numbers of the hunks that it took back; None if all of it."""
    hunk_count: int = 0
    """How many hunks there were to take back."""
    size: tuple[int, int] | None = None
    """How many lines came and went; None where the texts do not tell, or before they were compared."""
    is_compared: bool = False

    @property
    def is_late(self) -> bool:
        """Whether it came after the last sign of work of an agent that gives such signs: it was hardly the agent."""
        seen_at = self.turn.seen_at
        if self.means is not Means.OTHER or seen_at is None:
            return False
        # One that has lost its server gives no signs until its next prompt.
        return seen_at < self.at < (self.turn.resumed_at or self.at + 1)


class Net(NamedTuple):
    """What changes of one file that follow one another amount to."""

    changes: tuple[Change, ...]
    """Oldest first, undos among them."""

    @property
    def path(self) -> str:
        """The file."""
        return self.changes[-1].path

    @property
    def ids(self) -> tuple[int, ...]:
        """The changes by their ids."""
        return tuple(change.id for change in self.changes)

    @property
    def before(self) -> Image:
        """The file before the first of them."""
        return self.changes[0].before

    @property
    def after(self) -> Image:
        """The file after the last of them."""
        return self.changes[-1].after


class _Write(msgspec.Struct):
    """A client is about to write a file, or has just done so."""

    client: Client
    path: str
    before: Image
    reviewed: bool
    at: float = msgspec.field(default_factory=time.time)


class _Known(NamedTuple):
    """Something that a snapshot will find and need not wonder about."""

    serial: int
    before: Image | None
    """None if what stood there is not known."""
    after: Image
    at: float
    change_id: int | None = None
    """The change that it is; of several that follow one another the first."""


class Look(NamedTuple):
    """What was known when a snapshot was begun; see `Changes.look`."""

    at: float
    serial: int
    writing: frozenset[str]
    about: frozenset[str]
    """The files that the snapshot is to tell of even if they did not change."""


class Texts(NamedTuple):
    """Several images as texts, which their common encoding makes bytes again without loss."""

    codec: hunks.Codec
    decoded: tuple[str, ...]

    def encode(self, text: str) -> bytes:
        """The bytes of a text made of parts of these."""
        return self.codec.encode(text)


class Compared(NamedTuple):
    """Both texts of a change, and how they differ."""

    before: str
    after: str
    found: Sequence[hunks.Hunk]
    codec: hunks.Codec


class Changes:
    """All turns and their changes, oldest first, bounded; kept in an archive if there is one."""

    def __init__(
        self,
        *,
        store: Store,
        image_bytes: int,
        total_bytes: int,
        archive: Archive | None = None,
        noticed: Callable[[Change], None] = lambda change: None,
        later: Callable[[Callable[[], None]], None] = lambda work: work(),
    ) -> None:
        """`noticed` is told each change once both of its images are known; `later` does work that may take long."""
        self.store = store
        self.image_bytes = image_bytes
        """The size above which a file is only noted."""
        self._total_bytes = total_bytes
        self._archive = archive
        self._noticed = noticed
        self._later = later
        self._changes: list[Change] = []
        self._open: dict[int, Turn] = {}
        """The turn that each client is in."""
        self._kept: dict[int, Turn] = {}
        """The turns that the archive knows of, by their numbers."""
        self._turns_bound = IDLE_TURNS
        """From so many turns on it is looked for those that nobody needs."""
        self._interrupted: list[Turn] = []
        """Turns whose client left, or whose server ended, before the next prompt."""
        self._bounded_at = -BOUND_SECONDS
        self._writes: list[_Write] = []
        self._reviewed: set[tuple[int, str]] = set()
        self._first_turns: dict[int, int] = {}
        """The first turn of each client since this server started, by its number."""
        self._writers: set[int] = set()
        """The clients here now that wrote without a review."""
        self.is_watched = False
        """Whether snapshots are made: then it is remembered what they will find."""
        self._looked_at = 0.0
        """When the snapshot before was begun."""
        self._serial = 0
        self._known: dict[str, list[_Known]] = {}
        self._bases: dict[str, Image] = {}
        """What stood there at the last snapshot that could be explained, where a later one could not be."""
        self._previous_seen_at: dict[int, float | None] = {}
        self._signs_kept_at: dict[int, float] = {}
        self._undoing: dict[str, tuple[Image, Image]] = {}
        """What is being written just now to take something back: the file, what it was and what it becomes."""
        self._load()
        self._ids = itertools.count(max((change.id for change in self._changes), default=0) + 1)
        self._numbers = itertools.count(max(self._kept, default=0) + 1)
        self._first_own = next(self._ids)
        self._ids = itertools.count(self._first_own)

    def __iter__(self) -> Iterator[Change]:
        return iter(tuple(self._changes))

    def __len__(self) -> int:
        return len(self._changes)

    # Questions.

    @property
    def why_not_kept(self) -> str:
        """Why the archive did not take what it was given last; empty if it did, or if there is none."""
        return self._archive.failed if self._archive is not None else ""

    @property
    def turns(self) -> list[Turn]:
        """The turns in which something changed, oldest first."""
        return sorted({change.turn.number: change.turn for change in self._changes}.values(), key=lambda t: t.number)

    def turn(self, number: int) -> Turn | None:
        """The turn of that number, if anything changed in it or it goes on."""
        return next((turn for turn in (*self.turns, *self._open.values()) if turn.number == number), None)

    def open_turn(self, client_id: int) -> Turn | None:
        """The turn that a client is in."""
        return self._open.get(client_id)

    def latest(self) -> list[Turn]:
        """The last turn with changes of each client that is here; if there is none, the last with changes of all."""
        agents = [turn for turn in self.turns if not turn.is_undo]
        here = {turn.client_id: turn for turn in agents if self._is_here(turn)}
        return sorted(here.values(), key=lambda turn: turn.number) or agents[-1:]

    def _is_here(self, turn: Turn) -> bool:
        """Whether the client of a turn is connected now: ids are given anew when a server starts."""
        return turn.client_id in self._open and turn.number >= self._first_own_turn(turn.client_id)

    def _first_own_turn(self, client_id: int) -> int:
        return self._first_turns.get(client_id, 0)

    def of(self, turn: Turn) -> list[Change]:
        """The changes of a turn, oldest first."""
        return [change for change in self._changes if change.turn is turn]

    def get(self, id: int) -> Change | None:
        """The change of that id."""
        return next((change for change in self._changes if change.id == id), None)

    def unreviewed(self) -> int:
        """How many writes of agents since this server started were neither reviewed nor taken back."""
        states = self.states()
        return sum(
            1
            for change in self._changes
            if change.id >= self._first_own
            and change.means is Means.EDIT
            and not change.reviewed
            and states[change.id] is not State.UNDONE
        )

    def states(self) -> dict[int, State]:
        """What has become of each change, by its id."""
        states: dict[int, State] = {}
        undone: dict[int, list[Change]] = {}
        for change in reversed(self._changes):  # what takes a change back is younger than it
            states[change.id] = _state([(one, states[one.id]) for one in undone.get(change.id, ())])
            for id in change.undoes:
                undone.setdefault(id, []).append(change)
        return states

    def net(self, turns: Collection[Turn] | None = None, *, late: bool = True) -> list[Net]:
        """What the changes of some turns, or of all, amount to now, in the order of their last writes.

        Changes of a file that follow one another are one, those that took them back among them. Between two of
        them somebody else may have changed the file. Then they stay two, so that taking them back one by one never
        touches what is not the agent's. For the same reason those that are late, and so hardly the agent's, are kept
        apart; without `late` they are left out.
        """
        numbers = None if turns is None else {turn.number for turn in turns}
        own: set[int] = set()
        apart: set[int] = set()
        for change in self._changes:
            if change.turn.number in numbers if numbers is not None else not change.turn.is_undo:
                (apart if change.is_late else own).add(change.id)
            if not own.isdisjoint(change.undoes):
                own.add(change.id)
                own |= apart.intersection(change.undoes)  # what was taken back together is not apart any more
            elif not apart.isdisjoint(change.undoes):
                apart.add(change.id)
        nets = self.net_of(own)
        if late:
            nets += self.net_of(apart - own)
        states = self.states()

        def is_over(change: Change) -> bool:
            """Whether it was taken back, or has taken back something that is over."""
            if numbers is not None and change.turn.number in numbers and change.means is Means.UNDO:
                return states[change.id] is State.UNDONE
            if change.means is Means.UNDO:
                return all(states.get(id) is State.UNDONE for id in change.undoes)
            return states[change.id] is State.UNDONE

        return self._ordered(net for net in nets if not all(map(is_over, net.changes)))

    def net_of(self, ids: Collection[int]) -> list[Net]:
        """What these changes amount to; those whose file is in the end as it was before are left out."""
        chains: list[list[Change]] = []
        last: dict[str, list[Change]] = {}
        for change in self._changes:
            if change.id not in ids:
                continue
            chain = last.get(change.path)
            if chain is not None and change.before.is_known and chain[-1].after == change.before:
                chain.append(change)
            else:
                chain = last[change.path] = [change]
                chains.append(chain)
        nets = [Net(tuple(chain)) for chain in chains]
        return self._ordered(net for net in nets if net.before != net.after)

    def _ordered(self, nets: Iterable[Net]) -> list[Net]:
        places = {change.id: place for place, change in enumerate(self._changes)}
        return sorted(nets, key=lambda net: places[net.ids[-1]])

    # Texts.

    async def texts(self, *images: Image) -> Texts | None:
        """The images as texts, that of nothing empty; None if one of them is no text or not kept."""
        return await asyncio.to_thread(self._texts, images)

    def _texts(self, images: Sequence[Image]) -> Texts | None:
        contents = []
        for image in images:
            data = b"" if not image.exists else None if image.digest is None else self.store.get(image.digest)
            if data is None:
                return None
            contents.append(data)
        codec = hunks.common_codec(*contents)
        return None if codec is None else Texts(codec, tuple(codec.decode(data) for data in contents))

    async def compare(self, before: Image, after: Image) -> Compared | None:
        """How two images differ as texts; None if one of them is no text or not kept."""
        texts = await self.texts(before, after)
        if texts is None:
            return None
        old, new = texts.decoded
        return Compared(old, new, await hunks.compare(old, new), texts.codec)

    async def measure(self, change: Change) -> tuple[int, int] | None:
        """How many lines came and went, compared once: a comparison may be the work of another program."""
        if not change.is_compared:
            compared = await self.compare(change.before, change.after)
            change.size = hunks.count(compared.found) if compared else None
            change.is_compared = True
        return change.size

    async def measure_net(self, net: Net) -> tuple[int, int] | None:
        """How many lines came and went by changes that follow one another."""
        if len(net.changes) == 1:
            return await self.measure(net.changes[0])
        compared = await self.compare(net.before, net.after)
        return hunks.count(compared.found) if compared else None

    # Turns.

    def prompted(self, client: Client) -> Turn:
        """The client has a new prompt: its turn is over, and the next one begins."""
        self._forget_reviewed(client.id)
        turn = self._open.get(client.id)
        if turn is not None and turn.seen_at is not None and time.time() - turn.seen_at < PROMPT_SECONDS:
            turn.seen_at = self._previous_seen_at.get(client.id)
        self._end(client.id)
        return self._begin(client)

    def seen(self, client: Client) -> None:
        """The client shows that it was at work until now."""
        turn = self._open.get(client.id)
        if turn is not None:
            self._previous_seen_at[client.id] = turn.seen_at
            turn.seen_at = time.time()
            if turn.seen_at - self._signs_kept_at.get(client.id, 0.0) > SIGN_SECONDS:
                self._keep_turn(turn)

    def departed(self, client_id: int, *, lasting: bool = True) -> Turn | None:
        """A client is gone, and what it may have been writing was read. Returns the turn that ended by it.

        Without `lasting` it is this server that ends: the client may come back to the next one and `resume`.
        """
        self._forget_reviewed(client_id)
        self._writers.discard(client_id)
        self._first_turns.pop(client_id, None)
        turn = self._end(client_id, lasting=lasting)
        if turn is not None and turn.pid is not None:  # the same process may come back before its next prompt
            self._interrupted = [*[one for one in self._interrupted if one.pid != turn.pid][-INTERRUPTED:], turn]
        return turn

    def resume(self, client: Client) -> Turn | None:
        """A client said who it is: if it had a turn when it left, or its server ended, it goes on with that."""
        if client.pid is None or client.id in self._open:
            return None
        for turn in reversed(self._interrupted):
            if turn.pid == client.pid:
                self._interrupted = [one for one in self._interrupted if one.pid != client.pid]
                turn.client_id, turn.ended_at, turn.resumed_at = client.id, None, time.time()
                self._enter(client.id, turn)
                return turn
        return None

    def _begin(self, client: Client) -> Turn:
        if len(self._kept) > self._turns_bound:
            self._forget_idle_turns()
        turn = Turn(next(self._numbers), client.id, client.agent, client.pid)
        self._enter(client.id, turn)
        return turn

    def _forget_idle_turns(self) -> None:
        """Let go of turns in which nothing was changed, and of which no snapshot that is still to come can tell."""
        recent = self._recent_turns() if self.is_watched else self._open.values()
        turns = (*self._interrupted, *self.turns, *recent)
        self._kept = dict(sorted((turn.number, turn) for turn in turns))
        self._turns_bound = len(self._kept) + IDLE_TURNS

    def _enter(self, client_id: int, turn: Turn) -> None:
        self._open[client_id] = turn
        self._first_turns.setdefault(client_id, turn.number)
        self._keep_turn(turn)

    def _end(self, client_id: int, *, lasting: bool = True) -> Turn | None:
        turn = self._open.pop(client_id, None)
        self._previous_seen_at.pop(client_id, None)
        self._signs_kept_at.pop(client_id, None)
        if turn is not None:
            turn.ended_at = time.time()
            self._keep("turn", _turn_facts(turn) | ({} if lasting else {"ended_at": None}))
        return turn

    def _recent_turns(self) -> list[Turn]:
        """The turns of agents in which something may just have happened."""
        since = self._looked_at
        over = [turn for turn in self._kept.values() if turn.ended_at and turn.ended_at >= since and not turn.is_undo]
        return [*over, *self._open.values()]

    # Writes that are known.

    def reviewed(self, client: Client, path: str, *, writes: bool = True) -> None:
        """The client's proposal for `path` was answered or closed: its next write of that file was asked for.

        Without `writes` it was rejected.
        """
        if writes:
            self._reviewed.add((client.id, path))

    def begin(self, client: Client, path: str, before: Image) -> None:
        """The client is about to write `path`, which is `before` now."""
        # Two writes in a row: what the second finds is what the first has left.
        for write in self._of_client(client.id, path):
            self._complete(write, before)
        reviewed = (client.id, path) in self._reviewed
        self._reviewed.discard((client.id, path))
        self._writes.append(_Write(client, path, before, reviewed))
        self._bound_writes(client.id)

    def _bound_writes(self, client_id: int) -> None:
        """Of files that a client may be about to write, remember only so many, and of their texts only so much.

        It is a question that makes us remember them, and whoever asks need not write.
        """
        own = [write for write in self._writes if write.client.id == client_id]
        for write in own[:-WRITES_KEPT]:
            self._writes.remove(write)
        left = self._total_bytes
        for write in reversed(self._writes):
            left -= write.before.size if write.before.digest is not None else 0
            if left < 0:
                write.before = _forgotten(write.before)
        if self.store.total > self._total_bytes:
            self._bound()

    def pending(self, client_id: int) -> tuple[str, ...]:
        """The files that a client may have written since it was last asked; `end` wants them read."""
        return tuple(dict.fromkeys(write.path for write in self._writes if write.client.id == client_id))

    def end(self, client_id: int, path: str, after: Image) -> None:
        """A client's write of `path` is over; it has left `after`."""
        for write in self._of_client(client_id, path):
            self._complete(write, after)

    def is_first(self, change: Change) -> bool:
        """Whether it is the first of its client, which was not asked about before."""
        client_id = change.turn.client_id
        if client_id is None or client_id in self._writers:
            return False
        self._writers.add(client_id)
        return True

    def saved(self, path: str, after: Image) -> None:
        """The person saved a file in their editor: no agent did that."""
        for write in self._writes:
            if write.path == path:
                write.before = after
        self._explain(path, None, after)

    def undid(
        self,
        turn: Turn,
        path: str,
        before: Image,
        after: Image,
        *,
        undoes: tuple[int, ...],
        hunks: tuple[int, ...] | None = None,
        hunk_count: int = 0,
    ) -> Change:
        """The person took changes of a file back, in a turn made by `undo_turn`."""
        for write in [write for write in self._writes if write.path == path]:
            self._complete(write, before)
            self._writes.append(msgspec.structs.replace(write, before=after, at=time.time()))
        change = self._add(
            turn, Means.UNDO, path, before, after, time.time(), undoes=undoes, hunks=hunks, hunk_count=hunk_count
        )
        self._explain(path, before, after, change_id=change.id)
        return change

    @contextlib.contextmanager
    def undoing(self, path: str, before: Image, after: Image) -> Iterator[None]:
        """The person's file is being written while the block runs; if that is cut short the next server clears up."""
        self._undoing[path] = (before, after)
        self._keep("undoing", _undoing_facts(path, before, after))
        try:
            yield
        finally:
            del self._undoing[path]

    def undo_turn(self, by: str) -> Turn:
        """A turn of the person, who is about to take something back."""
        now = time.time()
        return Turn(next(self._numbers), None, by, None, now, now)

    def _of_client(self, client_id: int, path: str) -> list[_Write]:
        return [write for write in self._writes if write.client.id == client_id and write.path == path]

    def _complete(self, write: _Write, after: Image) -> None:
        self._writes.remove(write)
        if after == write.before:
            return  # asked, but not written: the person said no in the terminal
        turn = self._open.get(write.client.id) or self._begin(write.client)
        change = self._add(turn, Means.EDIT, write.path, write.before, after, time.time(), reviewed=write.reviewed)
        self._explain(write.path, write.before, after, write.at, change_id=change.id)

    def _forget_reviewed(self, client_id: int) -> None:
        if self._reviewed:
            self._reviewed = {(id, path) for id, path in self._reviewed if id != client_id}

    # What snapshots find.

    def look(self) -> Look:
        """To be called just before a snapshot is made, and given to `account` with what it finds."""
        self._serial += 1
        writing = frozenset(write.path for write in self._writes)
        return Look(time.time(), self._serial, writing, frozenset(self._known) | frozenset(self._bases))

    def account(self, look: Look, differences: Iterable[Difference], *, hint: int | None = None) -> list[Change]:
        """Explain what a snapshot found, or a part of it; what the known writes do not explain was done by other means.

        `hint` is the client that showed that it was at work when the snapshot was asked for. What was changed while
        no agent had a turn is nobody's business. When all of it was explained `accounted` is to be told.
        """
        found: list[Change] = []
        turns = self._recent_turns()
        writing = look.writing | {write.path for write in self._writes}
        for difference in differences:
            path = difference.path
            base = self._bases.pop(path, difference.before)
            known = self._known.get(path, [])
            if path in writing or any(one.serial >= look.serial for one in known):
                self._bases[path] = base  # whether it was read before or after that write cannot be told
                continue
            self._known.pop(path, None)
            for one in known:
                if one.before is not None and one.before != base:
                    turn = _turn_at(turns, one.at, hint)
                    found += self._other(path, base, one.before, turn, one.at, precedes=one.change_id)
                base = one.after
            if difference.after != base:
                # The clock of the file system lags; but what the snapshot before did not see came after that.
                at = max(difference.at or 0.0, self._looked_at) or look.at
                found += self._other(path, base, difference.after, _turn_at(turns, at, hint), at)
        return found

    def accounted(
        self,
        look: Look,
        covered: Collection[str],
        *,
        hint: int | None = None,
        first_of: Iterable[str] = (),
        unseen: Collection[str] = (),
    ) -> list[Change]:
        """All that a snapshot found was explained: it told of the files `covered`. What is left was deleted meanwhile.

        `first_of` are the work trees that were looked at for the first time, `unseen` those that could not be looked
        at: what is known of their files is for the next snapshot.
        """
        found: list[Change] = []
        for path in look.about.difference(covered):  # no snapshot tells of it: it is ignored, or lies elsewhere
            if within(path, unseen):
                continue
            self._bases.pop(path, None)
            known = self._known.pop(path, [])
            left = [one for one in known if one.serial >= look.serial]
            if left:
                self._known[path] = left
            elif known and known[-1].after.exists and not os.path.lexists(path):
                # It came and went between two snapshots.
                turn = _turn_at(self._recent_turns(), look.at, hint)
                found += self._other(path, known[-1].after, Image(), turn, look.at)
        # What was written while a first snapshot was made may be in it or not; what stood there before is known.
        tops = tuple(first_of)
        begun = [(path, known[0].before) for path, known in self._known.items()]
        begun += [(write.path, write.before) for write in self._writes]
        for path, before in begun if tops else ():
            if before is not None and within(path, tops):
                self._bases.setdefault(path, before)
        if not unseen:
            self._looked_at = look.at
        return found

    def _other(
        self,
        path: str,
        before: Image,
        after: Image,
        turn: Turn | None,
        at: float,
        *,
        precedes: int | None = None,
    ) -> list[Change]:
        if turn is None:
            return []
        return [self._add(turn, Means.OTHER, path, before, after, at, precedes=precedes)]

    def _explain(
        self, path: str, before: Image | None, after: Image, at: float | None = None, *, change_id: int | None = None
    ) -> None:
        if not self.is_watched:
            return
        self._serial += 1
        explained = self._known.setdefault(path, [])
        at = time.time() if at is None else at
        if explained and before is not None and before == explained[-1].after:
            before, at, change_id = explained[-1].before, explained[-1].at, explained[-1].change_id
            del explained[-1]
        explained.append(_Known(self._serial, before, after, at, change_id))
        while len(self._known) > WATCHED:
            del self._known[next(iter(self._known))]

    # What is kept.

    def _add(
        self,
        turn: Turn,
        means: Means,
        path: str,
        before: Image,
        after: Image,
        at: float,
        *,
        precedes: int | None = None,
        **more: Any,
    ) -> Change:
        signs_kept_at = self._signs_kept_at.get(turn.client_id or 0, 0.0)
        if turn.number not in self._kept or (means is Means.OTHER and (turn.seen_at or 0.0) > signs_kept_at):
            self._keep_turn(turn)
        change = Change(next(self._ids), turn, means, path, before, after, at, **more)
        _insert(self._changes, change, precedes)
        self._keep("change", _change_facts(change) | ({} if precedes is None else {"precedes": precedes}))
        if len(self._changes) > CHANGES_KEPT or self.store.total > self._total_bytes:
            self._bound()
        self._noticed(change)
        return change

    def forget(self, turn: Turn | None = None) -> int:
        """Forget a turn, or everything, for good. Returns how many changes that were."""
        before = len(self._changes)
        self._changes = [] if turn is None else [change for change in self._changes if change.turn is not turn]
        self._rewrite()
        self.store.sweep(self.digests(), at_once=True)
        return before - len(self._changes)

    def digests(self) -> set[str]:
        """The names of all bytes that something here needs."""
        images = [image for change in self._changes for image in (change.before, change.after)]
        images += [write.before for write in self._writes]
        images += [
            image for known in self._known.values() for one in known for image in (one.before, one.after) if image
        ]
        images += self._bases.values()
        return {image.digest for image in images if image.digest is not None}

    def _bound(self) -> None:
        """Forget the oldest turns, as a whole; of the last one that is left the oldest texts."""
        now = time.monotonic()
        if now - self._bounded_at < BOUND_SECONDS and len(self._changes) <= 2 * CHANGES_KEPT:
            return  # what nobody needs any more takes a moment to go
        self._bounded_at = now
        counted: set[str] = set()
        total, keep = 0, len(self._changes)
        for index in range(len(self._changes) - 1, max(-1, len(self._changes) - 1 - CHANGES_KEPT), -1):
            change = self._changes[index]
            new = {image.digest for image in (change.before, change.after) if image.digest} - counted
            total += sum(map(self.store.size, new))
            counted |= new
            if total > self._total_bytes:
                break
            keep = index
        if keep > 0:
            self._forget_before(keep)
        self._sweep()

    def _forget_before(self, index: int) -> None:
        """Forget the turns that have changes before that one; but not the last turn, only what it cannot keep."""
        last = self._changes[-1].turn
        over = {change.turn.number for change in self._changes[:index]} - {last.number}
        for change in self._changes[:index]:
            if change.turn is last:
                change.before, change.after = _forgotten(change.before), _forgotten(change.after)
                self._keep("change", _change_facts(change))
        self._changes = [change for change in self._changes if change.turn.number not in over][-CHANGES_KEPT:]
        for number in sorted(over):
            self._kept.pop(number, None)
            self._keep("forget", {"turn": number})

    def _sweep(self) -> None:
        wanted = self.digests()
        self._later(lambda: self.store.sweep(wanted))

    def _rewrite(self) -> None:
        self._sweep()
        if self._archive is not None:
            turns = {turn.number: turn for turn in (*self._interrupted, *self.turns, *self._open.values())}
            self._kept = dict(sorted(turns.items()))
            going_on = {turn.number for turn in self._interrupted}
            lines = [
                {"turn": _turn_facts(turn) | ({"ended_at": None} if turn.number in going_on else {})}
                for turn in self._kept.values()
            ]
            lines += [{"change": _change_facts(change)} for change in self._changes]
            lines += [{"undoing": _undoing_facts(path, *images)} for path, images in self._undoing.items()]
            self._archive.replace(lines)

    def _keep_turn(self, turn: Turn) -> None:
        self._kept[turn.number] = turn
        if turn.client_id in self._open:
            self._signs_kept_at[turn.client_id] = turn.seen_at or 0.0
        self._keep("turn", _turn_facts(turn))

    def _keep(self, what: str, facts: Mapping[str, Any]) -> None:
        if self._archive is not None:
            had_failed = self._archive.failed
            self._archive.append({what: facts})
            # What could not be kept for a while is kept now.
            if self._archive.grown > LOG_BYTES or (had_failed and not self._archive.failed):
                self._rewrite()

    def _load(self) -> None:
        if self._archive is None:
            return
        changes: dict[int, Change] = {}
        order: list[Change] = []
        cut_short: dict[str, set[Image]] = {}
        unread = False
        for line in self._archive.lines():
            try:
                if "turn" in line:
                    turn = _turn_from(line["turn"])
                    known = self._kept.setdefault(turn.number, turn)
                    known.ended_at, known.seen_at = turn.ended_at, turn.seen_at
                    known.resumed_at = turn.resumed_at
                elif "change" in line:
                    change = _change_from(line["change"], self._kept)
                    if change.id in changes:
                        order[order.index(changes[change.id])] = change
                    else:
                        _insert(order, change, line["change"].get("precedes"))
                    changes[change.id] = change
                    if change.means is Means.UNDO:
                        cut_short.pop(change.path, None)
                elif "forget" in line:
                    forgotten = line["forget"]["turn"]
                    changes = {id: one for id, one in changes.items() if one.turn.number != forgotten}
                    order = [one for one in order if one.turn.number != forgotten]
                elif "undoing" in line:
                    images = {_image_from(line["undoing"][name]) for name in ("before", "after")}
                    cut_short.setdefault(str(line["undoing"]["path"]), set()).update(images)
            except (KeyError, TypeError, ValueError, AttributeError):
                unread = True  # written by another version, or by a disk that was full
        self._changes = order[-CHANGES_KEPT:]
        self._interrupted = [turn for turn in self._kept.values() if turn.ended_at is None]
        for turn in self._interrupted:
            turn.ended_at = max([turn.began_at, turn.seen_at or 0.0, *(change.at for change in self.of(turn))])
        for path, found in cut_short.items():
            self._clear_up(path, found)
        if unread:
            self._archive.set_aside()
        if self._kept or cut_short:
            self._rewrite()

    def _clear_up(self, path: str, images: Collection[Image]) -> None:
        """Take away what a process that was killed in the middle of an undo has left beside a file."""
        try:
            for strange in disk.clear(path, images, store=self.store, limit=self.image_bytes):
                log.warning("%s was left beside %s by an undo that was cut short, and is not known", strange, path)
        except disk.DiskError as error:
            log.warning("%s", error)


def _insert(changes: list[Change], change: Change, precedes: int | None) -> None:
    """Put a change at the end, or before the one that it precedes, if that is there."""
    place = len(changes)
    if precedes is not None:
        place = next((index for index, one in enumerate(changes) if one.id == precedes), place)
    changes.insert(place, change)


def _turn_at(turns: Iterable[Turn], at: float, hint: int | None) -> Turn | None:
    """The turn in which something happened; of several that of the client with the id `hint`, if it is among them."""
    possible = [
        turn for turn in turns if turn.began_at - CLOCK_SECONDS <= at and (turn.ended_at is None or at <= turn.ended_at)
    ]
    if not possible:
        return None
    return max(possible, key=lambda turn: (turn.client_id == hint, turn.seen_at or turn.began_at))


def _state(undos: Sequence[tuple[Change, State]]) -> State:
    """What has become of a change, by those that took it back and what has become of them."""
    partly = False
    numbers: dict[tuple[tuple[int, ...], int], set[int]] = {}
    for undo, state in undos:
        if state is State.UNDONE:
            continue
        partly = True
        if state is State.WRITTEN:
            if undo.hunks is None:
                return State.UNDONE
            together = numbers.setdefault((undo.undoes, undo.hunk_count), set())
            together |= set(undo.hunks)
            if len(together) == undo.hunk_count:
                return State.UNDONE
    return State.PARTLY if partly else State.WRITTEN


def _forgotten(image: Image) -> Image:
    if image.digest is None:
        return image
    return dataclasses.replace(image, digest=None, note="forgotten: the texts of later changes needed the room")


def _turn_from(facts: Mapping[str, Any]) -> Turn:
    """A turn from the archive; what another version knows besides is passed over."""

    def moment(name: str) -> float | None:
        return None if facts.get(name) is None else float(facts[name])

    client_id, pid = facts["client_id"], facts["pid"]
    return Turn(
        int(facts["number"]),
        None if client_id is None else int(client_id),
        str(facts["agent"]),
        None if pid is None else int(pid),
        float(facts["began_at"]),
        moment("ended_at"),
        moment("seen_at"),
        moment("resumed_at"),
    )


def _turn_facts(turn: Turn) -> dict[str, Any]:
    return msgspec.structs.asdict(turn)


def _change_facts(change: Change) -> dict[str, Any]:
    facts = {
        "id": change.id,
        "turn": change.turn.number,
        "means": change.means,
        "path": change.path,
        "before": _image_facts(change.before),
        "after": _image_facts(change.after),
        "at": change.at,
        "reviewed": change.reviewed,
    }
    if change.means is Means.UNDO:
        facts |= {"undoes": change.undoes, "hunks": change.hunks, "hunk_count": change.hunk_count}
    return facts


def _undoing_facts(path: str, before: Image, after: Image) -> dict[str, Any]:
    return {"path": path, "before": _image_facts(before), "after": _image_facts(after)}


def _image_facts(image: Image) -> dict[str, Any]:
    return {name: value for name, value in dataclasses.asdict(image).items() if value not in (None, "", 0)}


def _change_from(facts: Mapping[str, Any], turns: Mapping[int, Turn]) -> Change:
    chosen = facts.get("hunks")
    return Change(
        int(facts["id"]),
        turns[facts["turn"]],
        Means(facts["means"]),
        str(facts["path"]),
        _image_from(facts["before"]),
        _image_from(facts["after"]),
        float(facts["at"]),
        bool(facts["reviewed"]),
        tuple(map(int, facts.get("undoes", ()))),
        None if chosen is None else tuple(map(int, chosen)),
        int(facts.get("hunk_count", 0)),
    )


def _image_from(facts: Mapping[str, Any]) -> Image:
    stamp = facts.get("stamp")
    return Image(
        Kind(facts["kind"]),
        facts.get("digest"),
        int(facts.get("size", 0)),
        int(facts.get("mode", 0)),
        str(facts.get("note", "")),
        None if stamp is None else tuple(stamp),
        str(facts.get("missing", "")),
    )


def kind(before: Image, after: Image) -> str:
    """What became of a file: `new`, `modified` or `deleted`; `mode` if only its permissions changed."""
    if not before.exists:
        return "new"
    if not after.exists:
        return "deleted"
    same = before.kind is after.kind and before.digest is not None and before.digest == after.digest
    return "mode" if same else "modified"


def why_unknown(before: Image, after: Image) -> str:
    """Why the texts of a change cannot be told."""
    return before.note or after.note or "binary"
