"""Owns the command that takes changes back, and how it reads what became of each file."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

import click

from pairside.cli.changes import agreed, listed, meant, what_argument
from pairside.cli.client import Refused
from pairside.cli.common import as_json, coloured, print_json
from pairside.cli.decide import HunkNumbers
from pairside.cli.exits import Exit, Failure
from pairside.cli.kept import Answering, asks_changes
from pairside.phrases import amount, count, hunk_lines, ids_text, marked, shown, undo_line, who

WAYS = (
    "Say what to take back: a change by its number (pairside undo 5), a file (pairside undo FILE) or a turn "
    "(pairside undo --turn N). What there is: pairside changes"
)
NOT_UNDONE = ("conflict", "unsaved", "failed")
STANDS_LINES = 20
"""Of what stands in the place of a conflict so many lines are shown."""


@click.command()
@what_argument
@click.option("--turn", metavar="N", type=click.IntRange(1), help="What this turn changed; with a file only that.")
@click.option("--hunks", metavar="1,3", type=HunkNumbers(), help="These hunks only, as numbered by changes WHAT.")
@click.option("--dry-run", is_flag=True, help="Only tell what would become of each file.")
@as_json
@asks_changes
@click.pass_context
def undo(
    context: click.Context,
    source: Answering,
    what: tuple[str, ...],
    turn: int | None,
    hunks: list[int] | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Take back what agents changed.

    WHAT is a change by its number, as changes tells it (5, or 5,7 for several of one file), or a file: what the last
    turn that changed it did to it. Without anything it is about the latest turn, and asks.

    A file that was changed since is merged: other changes stay. Where the same lines were changed nothing is written,
    and both are shown. An undo is a turn of its own, and can be taken back like any other.

    The exit status is 1 if something could not be taken back. Where no server runs it is about what the last one has
    kept.
    """
    which = meant(source, what, turn)
    if not which:
        if hunks is not None:
            raise Failure("Say which change the hunks are of: pairside undo 5 --hunks 1,3", Exit.USAGE)
        asks = not dry_run
        if asks and (as_json or not (os.isatty(0) and os.isatty(1))):
            raise Failure(WAYS, Exit.USAGE)
        latest = _latest(source)
        if latest is None:
            click.echo("There is nothing to take back.")
            return
        which = {"turn": latest}
        if asks:
            _ask_first(context, source, latest)
            return
    if hunks is not None:
        which["hunks"] = hunks
    answer = source.request("undo", {**which, "dry_run": dry_run})
    if as_json:
        print_json(answer)
    else:
        for line in told(answer, source, dry_run=dry_run):
            click.echo(line)
    context.exit(status_of(answer))


def _latest(source: Answering) -> int | None:
    """The latest turn of which something is left; None if there is none.

    Raises:
        Failure: Several agents are connected: it is open whose is meant.
    """
    turns = [turn for turn in listed(source, {})["turns"] if turn["files"]]
    if len(turns) > 1:
        each = "\n".join(
            f"  pairside undo --turn {turn['turn']}  {who(turn)}, {count(len(turn['files']), 'file')}" for turn in turns
        )
        raise Failure(f"Several agents have changed something. Say whose turn to take back:\n{each}", Exit.USAGE)
    return turns[0]["turn"] if turns else None


def _ask_first(context: click.Context, source: Answering, turn: int) -> None:
    """Show what would become of a turn's files, and do just that if the person says yes."""
    answer = source.request("undo", {"turn": turn, "dry_run": True})
    click.echo(f"Turn {turn}:")
    for line in told(answer, source, dry_run=True):
        click.echo(line)
    ids = sorted(id for file in answer["files"] if file["outcome"] == "undone" for id in file["ids"])
    if not ids:
        context.exit(status_of(answer))
    if not agreed("Take that back?"):
        click.echo("Nothing was taken back.")
        return
    # By their numbers: what the agent has written meanwhile was not shown.
    done = source.request("undo", {"ids": ids})
    for line in told(done, source):
        click.echo(line)
    context.exit(max(status_of(answer), status_of(done)))


def status_of(answer: Mapping[str, Any]) -> int:
    """The exit status for what became of the files."""
    return Exit.FAILED if any(file["outcome"] in NOT_UNDONE for file in answer["files"]) else Exit.OK


def told(answer: Mapping[str, Any], source: Answering, *, dry_run: bool = False) -> Iterator[str]:
    """What became of each file, or would; `source` shows the hunks of which it does not come to a good end."""
    for file in answer["files"]:
        yield undo_line(file, dry_run=dry_run)
        if file["outcome"] in NOT_UNDONE:
            yield from _conflicts(file, source)
    if not answer["files"]:
        yield "There is nothing to take back."
    for entry in answer["left"]:
        yield (
            f"Left: {shown(entry['path'])}{amount(entry)}: changed after the agent's last sign of work, so hardly "
            f"by it. Take it back too: pairside undo {ids_text(entry['ids'])}"
        )
    if not answer["complete"]:
        yield "! The work tree could not be looked at in time: changes by other means may be missing."
    if answer["turn"] is not None:
        yield f"To take this back: pairside undo --turn {answer['turn']}"


def _conflicts(file: Mapping[str, Any], source: Answering) -> Iterator[str]:
    """Each hunk that others have changed since, as it was and as it is; and what can be done."""
    conflicts = file["conflicts"]
    if not conflicts:
        return
    shown_hunks: dict[str, Any] = {"hunks": []}
    with suppress(Refused):  # the file has several changes with others in between: their hunks are not numbered as one
        shown_hunks = source.request("changes/show", {"ids": file["ids"]})
    for conflict in conflicts:
        number = conflict["number"]
        if number <= len(shown_hunks["hunks"]):
            yield from (coloured(line) for line in hunk_lines(shown_hunks, number))
        lines = conflict["lines"]
        first = conflict["start"] + 1
        if not lines:
            yield f"Now there is nothing in its place, at line {first}."
            continue
        last = first + len(lines) - 1
        yield f"Now there {'stands' if len(lines) == 1 else 'stand'} in its place, {_lines_text(first, last)}:"
        for line in lines[:STANDS_LINES]:
            yield from marked(" ", line)
        if len(lines) > STANDS_LINES:
            yield f"({len(lines) - STANDS_LINES} more lines)"
    wrong = {conflict["number"] for conflict in conflicts}
    others = [number for number in range(1, len(shown_hunks["hunks"]) + 1) if number not in wrong]
    if others:
        yield f"Take the others back: pairside undo {ids_text(file['ids'])} --hunks {ids_text(others)}"
    yield "Where both are wanted, or neither, edit these lines yourself."


def _lines_text(first: int, last: int) -> str:
    return f"line {first}" if first == last else f"lines {first} to {last}"
