"""Owns taking changes back: hunk by hunk, file by file, turn by turn, in files that others may have changed since.

First it is worked out what each file would become, then it is written, each file whole or not at all. A file that
was changed since is merged line by line; where both sides changed the same lines nothing is written, and both are told.
An undo is a turn of the person, made of changes like any other, so it can be taken back in the same way.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from enum import StrEnum

import msgspec

from pairside import disk, hunks
from pairside.bridge import Bridge
from pairside.changes import Change, Net, State, Turn
from pairside.editor import EditorError
from pairside.images import Image, Kind

ATTEMPTS = 3
EDITOR_SECONDS = 2.0


class Outcome(StrEnum):
    """What became of a file that was to be taken back."""

    UNDONE = "undone"
    NOTHING = "nothing"
    """It is as it would be already."""
    CONFLICT = "conflict"
    """Others changed the same lines since."""
    UNSAVED = "unsaved"
    """An editor has unsaved changes in it."""
    FAILED = "failed"


class UndoError(Exception):
    """What was asked for makes no sense; the message says why and what to do."""


class FileUndo(msgspec.Struct):
    """One file of an undo."""

    path: str
    nets: Sequence[Net]
    """What is taken back, the newest first."""
    now: Image = msgspec.field(default_factory=Image)
    """What stands there now."""
    result: Image | None = None
    """What is to stand there; None if nothing is to be written."""
    outcome: Outcome = Outcome.UNDONE
    why: str = ""
    """For the person, if it is not undone."""
    conflicts: tuple[hunks.Conflict, ...] = ()
    hunk_count: int = 0
    change: Change | None = None
    """The change that did it."""

    @property
    def ids(self) -> tuple[int, ...]:
        """The changes that are taken back."""
        return tuple(sorted(id for net in self.nets for id in net.ids))

    @property
    def undoes(self) -> tuple[int, ...]:
        """Those of them that are not themselves an undo of another of them: what they took back stays taken back."""
        ids = set(self.ids)
        changes = [change for net in self.nets for change in net.changes]
        return tuple(sorted(change.id for change in changes if ids.isdisjoint(change.undoes)))

    def failed(self, outcome: Outcome, why: str, conflicts: tuple[hunks.Conflict, ...] = ()) -> FileUndo:
        """The same, but nothing is written."""
        return msgspec.structs.replace(self, result=None, outcome=outcome, why=why, conflicts=conflicts)


class Undo(msgspec.Struct, frozen=True):
    """What became of all files."""

    turn: Turn | None
    """The turn that the undo is; None if nothing was written."""
    files: tuple[FileUndo, ...]


async def undo(
    bridge: Bridge, nets: Iterable[Net], *, chosen: Collection[int] | None = None, dry_run: bool = False, by: str
) -> Undo:
    """Take changes back, or only work out what would become of each file.

    `chosen` are numbers of hunks, counting from 1, of the one net change that is given then. `by` is who does it.

    Raises:
        UndoError: `chosen` does not fit.
    """
    async with bridge.undoing:
        by_path: dict[str, list[Net]] = {}
        nets = list(nets)
        ids = {id for net in nets for id in net.ids}
        for net in reversed(nets):
            if all(not ids.isdisjoint(change.undoes) for change in net.changes):
                continue  # it took back some of the others: that is not to come again first
            by_path.setdefault(net.path, []).append(net)
        if chosen is not None and [len(some) for some in by_path.values()] != [1]:
            raise UndoError("hunks are numbered within one change: name that change alone")
        unsaved = await _unsaved(bridge)
        above = {folder for path in by_path for folder in _above(path)}
        plans: dict[str, FileUndo] = {}
        states = bridge.changes.states()
        going: set[str] = set()
        for path in sorted(by_path, key=lambda one: (-one.count("/"), one)):  # what lies in a folder before the folder
            gives_way = path if path in above else next((one for one in _above(path) if one in by_path), "")
            plan = await _plan(bridge, path, by_path[path], chosen, unsaved, states, gives_way=gives_way, going=going)
            if plan.result is not None and not plan.result.exists:
                going.add(path)
            plans[path] = plan
        for path, plan in plans.items():
            way = plan.now.missing
            comes_back = plan.result is not None and plan.result.exists
            if comes_back and way in by_path and way not in going and await asyncio.to_thread(os.path.lexists, way):
                plans[path] = plan.failed(Outcome.FAILED, f"{way} is not a folder any more")
        if dry_run:
            return Undo(None, _by_path(plans.values()))
        # What is in the way goes first: where a folder stood there may be a file to put back.
        planned = [plans[path] for path in by_path]
        planned.sort(key=lambda one: (one.result is None or one.result.exists, -one.path.count("/")))
        turn = bridge.changes.undo_turn(by)
        done = [await _perform(bridge, one, chosen, unsaved, turn) for one in planned]
        written = [one.path for one in done if one.change is not None]
        if written:
            bridge.journal.note("undone", turn=turn.number, by=by, paths=written)
            bridge.tell_changes([one.change for one in done if one.change is not None])
        return Undo(turn if written else None, _by_path(done))


def _by_path(files: Iterable[FileUndo]) -> tuple[FileUndo, ...]:
    return tuple(sorted(files, key=lambda one: one.path))


def _above(path: str) -> Iterator[str]:
    """The folders on the way to a path, without the root."""
    while (path := os.path.dirname(path)) != "/":
        yield path


async def _unsaved(bridge: Bridge) -> Collection[str] | None:
    """The files with changes that only the editor has; None if it does not answer."""
    try:
        async with asyncio.timeout(EDITOR_SECONDS):
            documents = await bridge.editor.documents()
    except (TimeoutError, EditorError):
        return None
    return {os.path.realpath(document.path) for document in documents if document.dirty and not document.untitled}


async def _plan(
    bridge: Bridge,
    path: str,
    nets: Sequence[Net],
    chosen: Collection[int] | None,
    unsaved: Collection[str] | None,
    states: Mapping[int, State],
    *,
    gives_way: str = "",
    going: Collection[str] = (),
) -> FileUndo:
    """Work out what a file would become.

    `gives_way` is what the same undo takes away first, if there is such a thing: a folder in the file's place, by what
    lies in it, or a link in the place of a folder on the way. `going` are the files that it takes away below others.
    """
    now = await bridge.image(path)
    in_the_way = ""
    if now.kind is Kind.OTHER and gives_way not in ("", path):
        now = Image(missing=gives_way)
    elif now.kind is Kind.OTHER:
        in_the_way = await asyncio.to_thread(disk.obstacle, path, going)
        if not in_the_way:  # as for git, folders that hold no file are nothing
            now = Image()
    plan = FileUndo(path, nets, now)
    if unsaved is None:
        return plan.failed(
            Outcome.UNSAVED, f"{bridge.editor.name} does not answer, and could have unsaved changes in it: try again"
        )
    if path in unsaved:
        return plan.failed(
            Outcome.UNSAVED, f"{bridge.editor.name} has unsaved changes in it: save them, or take them back, first"
        )
    if in_the_way not in ("", path):
        return plan.failed(Outcome.FAILED, f"a folder stands there now, and in it {in_the_way}")
    image = now
    for net in nets:
        plan = await _back(bridge, plan, net, image, chosen, states)
        if plan.outcome is Outcome.NOTHING:
            plan.outcome, plan.why = Outcome.UNDONE, ""
            continue
        if plan.result is None:
            return plan
        image = plan.result
    if image == now:
        return plan.failed(Outcome.NOTHING, "it is as it was before already")
    if not now.is_known:
        return plan.failed(Outcome.FAILED, f"what stands there now is not kept, and could not be had again: {now.note}")
    if image.exists and not gives_way and now.missing and await asyncio.to_thread(os.path.lexists, now.missing):
        return plan.failed(Outcome.FAILED, f"{now.missing} is not a folder any more")
    return msgspec.structs.replace(plan, result=image)


async def _back(
    bridge: Bridge, plan: FileUndo, net: Net, now: Image, chosen: Collection[int] | None, states: Mapping[int, State]
) -> FileUndo:
    """Take one net change back in what stands there, `now`."""
    before, after = net.before, net.after
    if not before.is_known:
        return plan.failed(Outcome.FAILED, f"what it was before is not kept: {before.note}")
    if all(states[change.id] is State.UNDONE for change in net.changes):
        # Once is enough: what stands there may have been changed since, and would come a second time.
        return plan.failed(Outcome.NOTHING, "it was taken back already")
    if chosen is None and now not in (before, after):
        chosen = await _left(bridge, net, states)
    elif chosen is not None:
        taken = _taken(bridge, net, states)
        if chosen and any(set(chosen) <= numbers for numbers in taken.values()):
            return plan.failed(Outcome.NOTHING, "it was taken back already")
    if chosen is not None:
        compared = await bridge.changes.compare(before, after)
        if compared is None:
            raise UndoError("it has no hunks, since it is no text: undo all of it")
        wrong = sorted(set(chosen) - {hunk.number for hunk in compared.found})
        if wrong or not chosen:
            raise UndoError(f"there is no hunk {wrong[0] if wrong else 0}: hunks are 1 to {len(compared.found)}")
        plan.hunk_count = len(compared.found)
        same_mode = before.mode == after.mode or not (before.exists and after.exists)
        if len(set(chosen)) == len(compared.found) and same_mode:
            chosen = None
    if chosen is None:
        if now == before:
            return plan.failed(Outcome.NOTHING, "it is as it was before already")
        if now == after:
            return msgspec.structs.replace(plan, result=before)
    if not after.is_known:
        return plan.failed(Outcome.FAILED, f"what the agent left is not kept: {after.note}")
    if not now.is_known:
        return plan.failed(Outcome.FAILED, f"it cannot be read now: {now.note}")
    if not after.exists:
        return plan.failed(Outcome.CONFLICT, "it was deleted then, and something else stands there now")
    if not now.exists:
        return plan.failed(Outcome.CONFLICT, "it was deleted since")
    if not before.exists:
        return plan.failed(Outcome.CONFLICT, "it was new then, and was changed since: remove it yourself")
    if {before.kind, after.kind, now.kind} != {Kind.FILE}:
        return plan.failed(Outcome.CONFLICT, "it was changed since, and is no text that could be merged")
    return await _merge(bridge, plan, net, now, chosen)


def _taken(bridge: Bridge, net: Net, states: Mapping[int, State]) -> dict[int, set[int]]:
    """The hunks of a net change that were taken back by their numbers, by how many there were then."""
    own = set(net.ids)
    undoes = tuple(sorted(change.id for change in net.changes if own.isdisjoint(change.undoes)))
    taken: dict[int, set[int]] = {}
    for change in bridge.changes:
        is_other = change.undoes == undoes and change.id not in own and states[change.id] is State.WRITTEN
        if is_other and change.hunks is not None:
            taken.setdefault(change.hunk_count, set()).update(change.hunks)
    return taken


async def _left(bridge: Bridge, net: Net, states: Mapping[int, State]) -> Collection[int] | None:
    """The hunks that are not taken back yet, where some are; None for all of them."""
    taken = _taken(bridge, net, states)
    compared = await bridge.changes.compare(net.before, net.after) if taken else None
    if compared is None:
        return None
    gone = taken.get(len(compared.found), set())
    return [hunk.number for hunk in compared.found if hunk.number not in gone] if gone else None


async def _merge(bridge: Bridge, plan: FileUndo, net: Net, now: Image, chosen: Collection[int] | None) -> FileUndo:
    """Take hunks back in a text that was changed since."""
    texts = await bridge.changes.texts(net.before, net.after, now)
    if texts is None:
        return plan.failed(Outcome.CONFLICT, "it was changed since, and is no text that could be merged")
    old, new, present = texts.decoded
    reverted = await hunks.revert(old, new, present, chosen)
    if reverted.text is None:
        return plan.failed(
            Outcome.CONFLICT, "the same lines were changed since: see what stands there now", reverted.conflicts
        )
    data = texts.encode(reverted.text)
    try:
        digest = await asyncio.to_thread(bridge.changes.store.put, data)
    except OSError as error:
        return plan.failed(Outcome.FAILED, f"it cannot be kept: {error.strerror}")
    whole = chosen is None
    mode = net.before.mode if whole and now.mode == net.after.mode else now.mode
    return msgspec.structs.replace(plan, result=Image(Kind.FILE, digest, len(data), mode))


async def _perform(
    bridge: Bridge, plan: FileUndo, chosen: Collection[int] | None, unsaved: Collection[str] | None, turn: Turn
) -> FileUndo:
    """Write what was worked out; if the file changes in that moment, work it out again."""
    changes = bridge.changes
    why = ""
    for _ in range(ATTEMPTS):
        result = plan.result
        if result is None:
            return plan
        try:
            with changes.undoing(plan.path, plan.now, result):
                await asyncio.to_thread(
                    disk.put, plan.path, result, expected=plan.now, store=changes.store, limit=changes.image_bytes
                )
        except disk.Changed as error:
            expected, why = plan.now, str(error)
            plan = await _plan(bridge, plan.path, plan.nets, chosen, unsaved, changes.states())
            if plan.now != expected:
                why = "it is being changed all the time: try again"
            continue
        except disk.DiskError as error:
            return plan.failed(Outcome.FAILED, str(error))
        if not result.exists:
            await asyncio.to_thread(_prune, plan.path, result.missing)
        plan.change = changes.undid(
            turn,
            plan.path,
            plan.now,
            result,
            undoes=plan.undoes,
            hunks=None if chosen is None or len(set(chosen)) == plan.hunk_count else tuple(sorted(set(chosen))),
            hunk_count=plan.hunk_count,
        )
        return plan
    return plan.failed(Outcome.FAILED, why)


def _prune(path: str, missing: str) -> None:
    """Take away the folders that were made for a file that is gone again: `missing` is the topmost of them, if any."""
    if missing:
        disk.prune(os.path.dirname(path), top=os.path.dirname(missing))
