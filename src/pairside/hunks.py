"""Owns the comparison of two texts: hunks, the text that some of them make, and patches.

A hunk is one run of changed lines, as in `diff -U0` and in the editors' diff modes. The texts are compared by git
in a process of its own, because a large comparison would hold up every client: difflib kept the interpreter for
5.9 s on 60,000 lines. Where git is missing, difflib runs in a worker process for at most a second; where even that
takes too long, the difference is one hunk.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

CONTEXT = 3
DIFFLIB_SECONDS = 1.0
GIT_SECONDS = 10.0
_HUNK = re.compile(rb"^@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@")
_NO_NEWLINE = "\\ No newline at end of file"


@dataclass(frozen=True, slots=True)
class Hunk:
    """One run of changed lines. Line numbers are 0-based; the lines keep their ends.

    Where `old` is empty the lines of `new` are inserted before line `old_start`; where `new` is empty the lines
    of `old` are deleted.
    """

    number: int
    """Counts from 1, as the person says it."""
    old_start: int
    old: tuple[str, ...]
    new_start: int
    new: tuple[str, ...]


def split(text: str) -> list[str]:
    """The lines of a text with their ends. Only LF ends a line."""
    lines = text.split("\n")
    last = lines.pop()
    result = [line + "\n" for line in lines]
    if last:
        result.append(last)
    return result


async def compare(old: str, new: str) -> tuple[Hunk, ...]:
    """The hunks that lead from `old` to `new`, in order; none if the texts are the same."""
    if old == new:
        return ()
    before, after = split(old), split(new)
    head = _common(before, after)
    tail = _common(reversed(before[head:]), reversed(after[head:]))
    middle_before = before[head : len(before) - tail]
    middle_after = after[head : len(after) - tail]
    if not middle_before or not middle_after:
        spans = [(0, len(middle_before), 0, len(middle_after))]
    else:
        spans = await _spans(middle_before, middle_after)
    return tuple(
        Hunk(
            number,
            head + old_start,
            tuple(middle_before[old_start:old_end]),
            head + new_start,
            tuple(middle_after[new_start:new_end]),
        )
        for number, (old_start, old_end, new_start, new_end) in enumerate(spans, 1)
    )


def apply(old: str, hunks: Sequence[Hunk], chosen: Collection[int]) -> str:
    """The text that `old` becomes when only the hunks with the numbers in `chosen` are applied."""
    lines = split(old)
    result: list[str] = []
    position = 0
    for hunk in hunks:
        if hunk.number not in chosen:
            continue
        result += lines[position : hunk.old_start]
        result += hunk.new
        position = hunk.old_start + len(hunk.old)
    result += lines[position:]
    # A line without an end is the last of its text, and no hunk follows it: none ever ends up in the middle.
    return "".join(result)


def count(hunks: Sequence[Hunk]) -> tuple[int, int]:
    """How many lines the hunks add and remove."""
    return sum(len(hunk.new) for hunk in hunks), sum(len(hunk.old) for hunk in hunks)


def patch(path: str, old: str | None, new: str | None, hunks: Sequence[Hunk]) -> str:
    """A unified diff as git writes it (it applies with `git apply`); `path` is relative, None stands for no file."""
    if not hunks and (old is None) == (new is None):
        return ""
    source, target = _quoted("a/" + path), _quoted("b/" + path)
    lines = [f"diff --git {source} {target}\n"]
    if old is None:
        lines.append("new file mode 100644\n")
    if new is None:
        lines.append("deleted file mode 100644\n")
    if hunks:
        lines.append(f"--- {'/dev/null' if old is None else source}{_tab(source, old is None)}\n")
        lines.append(f"+++ {'/dev/null' if new is None else target}{_tab(target, new is None)}\n")
        lines += unified(old or "", hunks)
    return "".join(lines)


def unified(old: str, hunks: Sequence[Hunk], context: int = CONTEXT) -> Iterator[str]:
    """The `@@` sections of a unified diff, hunks that stand close together joined."""
    before = split(old)
    group: list[Hunk] = []
    for hunk in hunks:
        if group and hunk.old_start - (group[-1].old_start + len(group[-1].old)) > 2 * context:
            yield from _section(before, group, context)
            group = []
        group.append(hunk)
    if group:
        yield from _section(before, group, context)


def _section(before: Sequence[str], group: Sequence[Hunk], context: int) -> Iterator[str]:
    first, last = group[0], group[-1]
    start = max(0, first.old_start - context)
    end = min(len(before), last.old_start + len(last.old) + context)
    new_start = first.new_start - (first.old_start - start)
    added, removed = count(group)
    old_count = end - start
    new_count = old_count + added - removed
    yield f"@@ -{_place(start, old_count)} +{_place(new_start, new_count)} @@\n"
    position = start
    for hunk in group:
        for line in before[position : hunk.old_start]:
            yield from _marked(" ", line)
        for line in hunk.old:
            yield from _marked("-", line)
        for line in hunk.new:
            yield from _marked("+", line)
        position = hunk.old_start + len(hunk.old)
    for line in before[position:end]:
        yield from _marked(" ", line)


def _place(start: int, lines: int) -> str:
    """A start and a length as a unified diff says them: a length of 0 names the line before."""
    return f"{start + 1 if lines else start},{lines}"


def _marked(mark: str, line: str) -> Iterator[str]:
    if line.endswith("\n"):
        yield mark + line
    else:
        yield f"{mark}{line}\n"
        yield _NO_NEWLINE + "\n"


def _tab(name: str, absent: bool) -> str:
    # git ends a name that holds a blank with a tab, so that patch(1) finds where it ends.
    return "\t" if " " in name and not name.startswith('"') and not absent else ""


def _quoted(name: str) -> str:
    """A file name as git writes it in a patch (C-style quotes where it holds anything special)."""
    data = os.fsencode(name)
    if all(0x20 <= byte < 0x7F and byte not in b'"\\' for byte in data):
        return name
    special = {
        7: "\\a",
        8: "\\b",
        9: "\\t",
        10: "\\n",
        11: "\\v",
        12: "\\f",
        13: "\\r",
        34: '\\"',
        92: "\\\\",
    }
    inner = (special.get(byte) or (chr(byte) if 0x20 <= byte < 0x7F else f"\\{byte:03o}") for byte in data)
    return '"' + "".join(inner) + '"'


def _common(first: Sequence[str] | Iterator[str], second: Sequence[str] | Iterator[str]) -> int:
    same = 0
    for one, other in zip(first, second, strict=False):
        if one != other:
            break
        same += 1
    return same


_Span = tuple[int, int, int, int]


async def _spans(before: Sequence[str], after: Sequence[str]) -> list[_Span]:
    git = shutil.which("git")
    spans = await _git_spans(git, before, after) if git else await _difflib_spans(before, after)
    return [(0, len(before), 0, len(after))] if spans is None else spans


async def _git_spans(git: str, before: Sequence[str], after: Sequence[str]) -> list[_Span] | None:
    with tempfile.TemporaryDirectory(prefix="pairside-") as folder:
        for name, lines in (("old", before), ("new", after)):
            await asyncio.to_thread(_write, os.path.join(folder, name), lines)
        arguments = [
            git, "-c", "core.fsmonitor=false", "-c", "core.attributesFile=/dev/null", "diff", "--no-index", "--text",
            "--no-ext-diff", "--no-textconv", "--no-color", "--diff-algorithm=histogram", "-U0", "old", "new",
        ]  # fmt: skip
        # The configuration of the person must not decide what a hunk is.
        environment = {
            "PATH": os.environ.get("PATH", os.defpath), "HOME": folder, "LC_ALL": "C",
            "GIT_CONFIG_NOSYSTEM": "1", "GIT_CEILING_DIRECTORIES": os.path.dirname(folder),
        }  # fmt: skip
        output = await _output(arguments, folder, environment, GIT_SECONDS)
    if output is None:
        return None
    spans = []
    for line in output.split(b"\n"):
        match = _HUNK.match(line)
        if match:
            old_start, old_count = int(match[1]), int(match[2] or 1)
            new_start, new_count = int(match[3]), int(match[4] or 1)
            # A count of 0 names the line before which nothing stands; otherwise the numbers count from 1.
            old_first = old_start - 1 if old_count else old_start
            new_first = new_start - 1 if new_count else new_start
            spans.append((old_first, old_first + old_count, new_first, new_first + new_count))
    return spans or None


def _write(path: str, lines: Sequence[str]) -> None:
    with open(path, "wb") as file:
        file.write("".join(lines).encode("utf-8", "surrogatepass"))


async def _difflib_spans(before: Sequence[str], after: Sequence[str]) -> list[_Span] | None:
    arguments = [sys.executable, "-I", "-c", _WORKER]
    given = json.dumps([before, after]).encode()
    output = await _output(arguments, None, None, DIFFLIB_SECONDS, given)
    return [tuple(span) for span in json.loads(output)] if output else None


_WORKER = """
import difflib, json, sys
before, after = json.load(sys.stdin)
codes = difflib.SequenceMatcher(None, before, after, autojunk=False).get_opcodes()
json.dump([code[1:] for code in codes if code[0] != "equal"], sys.stdout)
"""


async def _output(
    arguments: list[str],
    folder: str | None,
    environment: dict[str, str] | None,
    seconds: float,
    given: bytes | None = None,
) -> bytes | None:
    """What a program prints; None if it cannot be started or does not end in time."""
    try:
        process = await asyncio.create_subprocess_exec(
            *arguments,
            cwd=folder,
            env=environment,
            stdin=asyncio.subprocess.PIPE if given is not None else asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
    except OSError:
        return None
    try:
        async with asyncio.timeout(seconds):
            output, _ = await process.communicate(given)
        return output
    except TimeoutError:
        return None
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
