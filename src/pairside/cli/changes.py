"""Owns the command that shows what agents changed: as a list, as statistics, as patches, or one change in full."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import click
from click.shell_completion import CompletionItem

from pairside.cli.client import here
from pairside.cli.common import as_json, coloured, print_json, work_tree
from pairside.cli.decide import numbers
from pairside.cli.exits import Exit, Failure
from pairside.cli.kept import Answering, answering, asks_changes
from pairside.cli.terminal import Dialogue
from pairside.phrases import (
    MEANS,
    all_hunks,
    change_facts,
    change_line,
    clock,
    count,
    ids_text,
    means_of,
    shown,
    turn_line,
    width_of,
)
from pairside.text import printable, printable_line

FORGET = "forget"
BAR = 40
"""A bar of changed lines is at most so long."""


class What(click.ParamType[str]):
    """Changes by their numbers, as `5`, `5,7` or `5-7`, or a file; shells complete both."""

    name = "what"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """The latest changes of the current folder by their numbers, and files."""
        files = [CompletionItem(incomplete, type="file")]
        if incomplete and not incomplete[0].isdigit():
            return files
        try:
            with answering(ctx.params.get("port"), ctx.params.get("workspace")) as source:
                entries = [one for turn in listed(source, {"fresh": False})["turns"] for one in turn["files"]]
        except Exception:
            return files  # a shell that completes must not show an error
        texts = ((ids_text(entry["ids"]), shown(entry["path"])) for entry in entries)
        return [CompletionItem(ids, help=path) for ids, path in texts if ids.startswith(incomplete)] + files


what_argument = click.argument("what", metavar="[WHAT]...", nargs=-1, type=What())


def meant(source: Answering, what: Sequence[str], turn: int | None) -> dict[str, Any]:
    """The parameters that say what is meant: changes by their numbers, files, a turn, or nothing of it.

    Raises:
        Failure: It cannot be meant so.
    """
    which: dict[str, Any] = {} if turn is None else {"turn": turn}
    if not what:
        return which
    ids: list[int] = []
    files: list[str] = []
    for one in what:
        found = numbers(one)
        if found is not None:
            ids += found
        else:
            files.append(_path(source, one))
    if ids and turn is not None:
        raise Failure("Changes are numbered through all turns: leave --turn out, or the numbers.", Exit.USAGE)
    if not ids and len(files) == 1:
        return {**which, "path": files[0]}
    for path in files:
        found = [
            id
            for one in listed(source, {**which, "path": path})["turns"]
            for file in one["files"]
            for id in file["ids"]
        ]
        if not found:
            raise Failure(f"No change of {shown(path)} is left.")
        ids += found
    return {"ids": sorted(set(ids))}


def _path(source: Answering, name: str) -> str:
    """The path by which the changes of a file are known: its real one, or that of a link which was changed itself."""
    if not name or "\0" in name:
        raise Failure("WHAT is empty." if not name else "A name cannot hold NUL.", Exit.USAGE)
    real = os.path.realpath(name)
    if os.path.isdir(real) and not os.path.islink(name):
        if listed(source, {"path": real})["turns"]:
            return real  # it was a file
        raise Failure(f"{printable(name)} is a folder: name files, or say --turn.", Exit.USAGE)
    link = os.path.join(os.path.realpath(os.path.dirname(os.path.abspath(name))), os.path.basename(name))
    if link != real and listed(source, {"path": link})["turns"]:
        return link
    return real


def listed(source: Answering, params: dict[str, Any]) -> dict[str, Any]:
    """What `changes` answers."""
    answer: dict[str, Any] = source.request("changes", params)
    return answer


@click.command()
@what_argument
@click.option("--turn", metavar="N", type=click.IntRange(1), help="What this turn changed.")
@click.option("--all", "everything", is_flag=True, help="Every turn that is known, and undos as well.")
@click.option("--stat", is_flag=True, help="How many lines came and went, file by file.")
@click.option("--patch", is_flag=True, help="Print what they amount to as a patch, which git apply -R takes back.")
@click.option("--yes", is_flag=True, help="With forget: do not ask.")
@as_json
@asks_changes
def changes(
    source: Answering,
    what: tuple[str, ...],
    turn: int | None,
    everything: bool,
    stat: bool,
    patch: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Show what agents changed, turn by turn, reviewed or not.

    A turn goes from one prompt to the next. Without an option it is the last one with changes, of each agent that is
    connected. The numbers are those that undo takes.

    WHAT is a change by its number (5, or 5,7 for several of one file) or a file: its difference is shown, with
    numbered hunks. A file whose name is a number or forget needs ./ before it.

    "pairside changes forget" forgets all that is kept, or with --turn that turn, for good.

    The names in a patch are relative to the top of the git work tree that holds the current folder, or to the current
    folder where there is none: apply it there. What it leaves out is told on standard error. A patch goes to a
    terminal with everything escaped that the terminal would obey, and to a file or a pipe exactly as it is.

    Where no server runs it is about what the last one has kept.
    """
    ways = {"--stat": stat, "--patch": patch}
    if all(ways.values()):
        raise Failure("Say either --stat or --patch.", Exit.USAGE)
    if everything and (turn is not None or what):
        raise Failure("--all is about every turn: leave out what else is named.", Exit.USAGE)
    if what == (FORGET,):
        if any(ways.values()):
            raise Failure("forget shows nothing: leave --stat and --patch out.", Exit.USAGE)
        _forget(source, turn, yes=yes, as_json=as_json)
        return
    if yes:
        raise Failure(f"--yes is for {FORGET}.", Exit.USAGE)
    which = {"all": True} if everything else meant(source, what, turn)
    if patch:
        _patches(source, which, as_json=as_json)
    elif what and not stat:
        for number, some in enumerate([which] if as_json else _each(source, what, turn)):
            if number:
                click.echo()
            _show(source, some, as_json=as_json)
    else:
        answer = listed(source, which)
        if as_json:
            print_json(answer)
            return
        for line in _statistics(answer) if stat else _listing(answer, which):
            click.echo(line)


# The list.


def _listing(answer: dict[str, Any], which: Mapping[str, Any]) -> Iterator[str]:
    """All turns of an answer, and what to do next."""
    turns = answer["turns"]
    known = {change["id"]: change for turn in turns for change in turn["changes"]}
    blocks = [[turn_line(turn), *_turn_lines(turn, known)] for turn in turns]
    if not turns:
        none = (
            f"Turn {which['turn']} has changed nothing." if "turn" in which else "No agent has changed anything here."
        )
        blocks.append([none])
        if answer["unwatched"]:
            names = ", ".join(printable(path) for path in answer["unwatched"])
            blocks[-1].append(f"What shell commands change is not seen, as it is no git work tree: {names}")
    blocks.append([*_explained(turns), *_next(turns, which)])
    if answer["earlier"]:
        blocks[-1].append(f"Earlier turns: {answer['earlier']} (pairside changes --all)")
    blocks[-1] += _limits(answer)
    for number, block in enumerate(filter(None, blocks)):
        if number:
            yield ""
        yield from block


def _explained(turns: Sequence[dict[str, Any]]) -> Iterator[str]:
    """What the words mean that stand in a list."""
    entries = [entry for turn in turns for entry in (*turn["files"], *turn["changes"])]
    other, late = MEANS
    if any("other" in means_of(entry) for entry in entries):
        yield other
    if any(entry["late"] for entry in entries):
        yield late


def _turn_lines(turn: dict[str, Any], known: Mapping[int, dict[str, Any]]) -> Iterator[str]:
    """The files of a turn, each as one and, if it was written several times, one by one; then what is not there now."""
    rows: list[tuple[str, str]] = []
    listed_ids: set[int] = set()
    for entry in turn["files"]:
        listed_ids |= set(entry["ids"])
        rows.append((ids_text(entry["ids"]), f"{shown(entry['path'])}  {change_facts(entry, known)}"))
        if len(entry["ids"]) > 1:
            rows += [(f"  {id}", _single(known.get(id))) for id in entry["ids"]]
    for change in turn["changes"]:
        if change["id"] not in listed_ids:
            left = "" if change["state"] == "undone" else ", and back again since"
            rows.append((str(change["id"]), f"{shown(change['path'])}  {change_facts(change)}{left}"))
    wide = max((len(ids) for ids, _ in rows if len(ids) <= 9), default=0)
    for ids, text in rows:
        yield f"  {ids:<{wide}}  {text}"


def _single(change: dict[str, Any] | None) -> str:
    """One of several changes that a file had."""
    if change is None:  # it belongs to a turn that is not shown
        return "an undo"
    return f"{clock(change['at'])}  {change_facts(change)}"


def _next(turns: Sequence[dict[str, Any]], which: Mapping[str, Any]) -> Iterator[str]:
    """What can be done about it."""
    there = [turn for turn in turns if turn["files"]]
    if not there:
        return
    turn = next((one for one in reversed(there) if not one["is_undo"]), there[-1])
    ids = ids_text(turn["files"][0]["ids"])
    options = " --all" if which.get("all") else f" --turn {which['turn']}" if "turn" in which else ""
    ways = [f"pairside undo {ids}"]
    if not all(entry["late"] for entry in turn["files"]):
        ways.append(f"pairside undo --turn {turn['turn']}")
    if not which.get("all"):
        ways.append(f"pairside review --changes{options}")
    yield f"Take back: {', '.join(ways)}"
    yield f"The differences: pairside changes {ids}, pairside changes{options} --patch"


def _limits(answer: dict[str, Any]) -> Iterator[str]:
    """What the answer does not cover."""
    if not answer["complete"]:
        yield "! The work tree could not be looked at in time: changes by other means may be missing."
    if answer["uncovered"]:
        names = ", ".join(shown(path) for path in answer["uncovered"])
        yield f"Not looked into, as it is a repository of its own: {names}"
    for notice in answer["notices"]:
        yield f"Note: {printable(notice)}"


# Statistics.


def _statistics(answer: dict[str, Any]) -> Iterator[str]:
    """How many lines came and went, in the way of git diff --stat."""
    turns = [turn for turn in answer["turns"] if turn["files"]]
    for turn in turns:
        if len(turns) > 1:
            yield turn_line(turn)
        yield from _bars(turn["files"])
    if not turns:
        yield "Nothing is changed."
    yield from _limits(answer)


def _bars(entries: Sequence[dict[str, Any]]) -> Iterator[str]:
    columns = shutil.get_terminal_size().columns
    sizes = [None if one["added"] is None else one["added"] + one["removed"] for one in entries]
    digits = max((len(str(size)) for size in sizes if size is not None), default=1)
    names = [shown(entry["path"]) for entry in entries]
    wide = min(max(map(width_of, names)), max(10, columns - digits - 16))
    bar = max(4, min(BAR, columns - wide - digits - 5))
    most = max((size for size in sizes if size is not None), default=0)
    for entry, name, size in zip(entries, names, sizes, strict=True):
        start = f" {_fit(name, wide)} | "
        if size is None:
            yield f"{start}{printable(entry['note'])}"
        else:
            yield f"{start}{size:>{digits}} {_bar(entry, most, bar)}".rstrip()
    files = count(len({entry["path"] for entry in entries}), "file")
    added = sum(entry["added"] or 0 for entry in entries)
    removed = sum(entry["removed"] or 0 for entry in entries)
    yield f" {files} changed, {count(added, 'insertion')}(+), {count(removed, 'deletion')}(-)"


def _bar(entry: dict[str, Any], most: int, bar: int) -> str:
    """Plus and minus signs for the lines of a file, in proportion to those of the file with most of them."""

    def length(lines: int) -> int:
        return lines if most <= bar else -(-lines * (bar - 1) // most)  # what is not nothing is at least one sign

    return coloured("+" * length(entry["added"])) + coloured("-" * length(entry["removed"]))


def _fit(name: str, wide: int) -> str:
    """A name in so many columns: of one that is too long the end."""
    if width_of(name) > wide:
        while width_of(name) > wide - 3:
            name = name[1:]
        name = "..." + name
    return name + " " * (wide - width_of(name))


# Patches.


def _patches(source: Answering, which: Mapping[str, Any], *, as_json: bool) -> None:
    current = here(None)
    root = work_tree(current)
    found = source.request("changes/patches", {**which, "root": root})
    if as_json:
        print_json(found)
        return
    inside = current.rstrip("/") + "/"
    for change in found:
        if change["patch"] is None:
            click.echo(f"No patch for {shown(change['path'])}: {printable(change['note'])}.", err=True)
        else:
            _print_patch(change["patch"])
    # git says nothing about what it leaves out there.
    if any(change["patch"] is not None and not change["path"].startswith(inside) for change in found):
        click.echo(
            f"Apply it in {printable(root)}: git would leave out what lies outside of the current folder.", err=True
        )


def _print_patch(text: str) -> None:
    stream = sys.stdout.buffer
    if stream.isatty():
        for line in text.removesuffix("\n").split("\n"):
            click.echo(coloured(printable_line(line)))
    else:
        stream.write(text.encode("utf-8", "surrogatepass"))
        stream.flush()


# One change.


def _each(source: Answering, what: Sequence[str], turn: int | None) -> list[dict[str, Any]]:
    """What is shown one after the other: the changes that were named by their numbers, and each file."""
    ids = [one for one in what if numbers(one) is not None]
    files = dict.fromkeys(one for one in what if numbers(one) is None)
    return [meant(source, some, turn) for some in (ids, *([one] for one in files)) if some]


def _show(source: Answering, which: Mapping[str, Any], *, as_json: bool) -> None:
    """Show a file, or changes of one, in full: one net change after the other."""
    if as_json:
        print_json(source.request("changes/show", dict(which)))
        return
    entries = [which]
    if "path" in which:  # somebody else may have written in between: then they are several
        found = listed(source, dict(which))["turns"]
        entries = [{"ids": file["ids"]} for turn in found for file in turn["files"]] or entries
    for entry in entries:
        told = source.request("changes/show", dict(entry))
        click.echo(change_line(told))
        for line in whole(told):
            click.echo(coloured(line))
        ids = ids_text(told["ids"])
        hunks = f", or some of it: pairside undo {ids} --hunks 1" if told.get("hunk_count", 0) > 1 else ""
        click.echo(f"Take it back: pairside undo {ids}{hunks}")


def whole(told: dict[str, Any]) -> Iterator[str]:
    """All hunks of a change with their numbers, or why there are none."""
    if not told["divisible"]:
        yield f"Its lines cannot be shown: {printable(told['note'] or 'binary')}."
        return
    yield from all_hunks(told)
    if not told["hunks"]:
        yield "Only its permissions were changed." if told["kind"] == "mode" else "It is an empty file."


# Forgetting.


def _forget(source: Answering, turn: int | None, *, yes: bool, as_json: bool) -> None:
    """Have changes forgotten, after a question if it is about all of them."""
    if turn is None and not yes:
        if not (os.isatty(0) and os.isatty(1)):
            raise Failure(f"It forgets all changes for good: say pairside changes {FORGET} --yes", Exit.USAGE)
        if not agreed("Forget all changes here for good? Then none of them can be taken back."):
            click.echo("Nothing was forgotten.")
            return
    answer = source.request("changes/forget", {} if turn is None else {"turn": turn})
    if as_json:
        print_json(answer)
    elif answer["forgotten"]:
        click.echo(f"Forgot {count(answer['forgotten'], 'change')}.")
    else:
        click.echo("There was nothing to forget.")


def agreed(question: str) -> bool:
    """Whether the person at the terminal says yes."""
    from pairside.cli.terminal import Left

    dialogue = Dialogue()
    dialogue.discard()
    try:
        return dialogue.ask(f"{question} [y/N] ") in ("y", "yes")
    except (Left, KeyboardInterrupt):
        dialogue.say()
        return False
