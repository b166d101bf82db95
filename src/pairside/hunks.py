"""Owns the comparison of two texts: hunks, the text that some of them make or are taken back in, and patches.

A hunk is one run of changed lines, as in `diff -U0` and in the editors' diff modes. The texts are compared by git
in a process of its own, because a large comparison would hold up every client: difflib kept the interpreter for
5.9 s on 60,000 lines. Where git is missing, difflib runs in a worker process for at most a second; where even that
takes too long, the difference is one hunk.
"""

from __future__ import annotations

import asyncio
import bisect
import codecs
import contextlib
import json
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Collection, Iterator, Sequence
from enum import Enum

import msgspec

CONTEXT = 3
DIFFLIB_SECONDS = 1.0
GIT_SECONDS = 10.0
SMALL_CHARACTERS = 256 * 1024
"""Of texts up to this long together the lines are made at once, of others in a thread."""
_HUNK = re.compile(rb"^@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@")
_NO_NEWLINE = "\\ No newline at end of file"


class Hunk(msgspec.Struct, frozen=True):
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
    small = len(old) + len(new) <= SMALL_CHARACTERS
    head, middle_before, middle_after = _between(old, new) if small else await asyncio.to_thread(_between, old, new)
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


def moved(found: Sequence[Hunk], start: int, end: int) -> tuple[int, int]:
    """Where lines `start` to `end` (0-based, exclusive) of a text stand in the text that the hunks make of it.

    Lines that were changed are where that happened; nothing is left of those that were deleted.
    """
    first, last = start, end
    for hunk in found:
        old_end, new_end = hunk.old_start + len(hunk.old), hunk.new_start + len(hunk.new)
        if old_end <= start:
            first = start + new_end - old_end
        elif hunk.old_start < start:
            first = hunk.new_start
        if hunk.old_start < end:
            last = end + new_end - old_end if old_end <= end else new_end
    return first, max(first, last)


def count(hunks: Sequence[Hunk]) -> tuple[int, int]:
    """How many lines the hunks add and remove."""
    return sum(len(hunk.new) for hunk in hunks), sum(len(hunk.old) for hunk in hunks)


def patch(
    path: str,
    old: str | None,
    new: str | None,
    hunks: Sequence[Hunk],
    *,
    old_mode: str = "100644",
    new_mode: str = "100644",
) -> str:
    """A unified diff as git writes it (it applies with `git apply`); `path` is relative, None stands for no file.

    The modes are those of git: 100644, 100755 for what can be executed, 120000 for a symbolic link.
    """
    same_mode = old_mode == new_mode or None in (old, new)
    if not hunks and (old is None) == (new is None) and same_mode:
        return ""
    source, target = _quoted("a/" + path), _quoted("b/" + path)
    lines = [f"diff --git {source} {target}\n"]
    if old is None:
        lines.append(f"new file mode {new_mode}\n")
    elif new is None:
        lines.append(f"deleted file mode {old_mode}\n")
    elif not same_mode:
        lines += [f"old mode {old_mode}\n", f"new mode {new_mode}\n"]
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


class Conflict(msgspec.Struct, frozen=True):
    """Why a hunk cannot be taken back: lines of it, or where they were, were changed since."""

    number: int
    """Of the hunk."""
    start: int
    """The line of the present text where the other change stands; counts from 0."""
    lines: tuple[str, ...]
    """What stands there now; empty if lines were deleted."""


class Reverted(msgspec.Struct, frozen=True):
    """What became of taking hunks back: a text, or conflicts."""

    text: str | None
    """None if there are conflicts: all that was asked for is taken back, or nothing."""
    conflicts: tuple[Conflict, ...] = ()


async def revert(before: str, after: str, now: str, chosen: Collection[int] | None = None) -> Reverted:
    """Take hunks of the change from `before` to `after` back in a text that may have changed since.

    `chosen` holds numbers of hunks as `compare(before, after)` counts them; None stands for all. What others changed
    since stays. Where they changed lines of a hunk it is a conflict, unless they took just that hunk back; lines that
    only touch are none.

    Raises:
        ValueError: There is no hunk of such a number.
    """
    found, since = await asyncio.gather(compare(before, after), compare(after, now))
    numbers = {hunk.number for hunk in found}
    wanted = numbers if chosen is None else set(chosen)
    if unknown := sorted(wanted - numbers):
        had = f"hunks 1 to {len(found)}" if found else "no hunks"
        raise ValueError(f"the change has {had}, not {', '.join(map(str, unknown))}")
    # What others took back already is no part of what they changed. Where lines repeat it can only seem taken back:
    # what is true is what leaves the fewest changes to others.
    gone: set[int] = set()
    base = after
    kept = await compare(before, now) if since else found
    for some in await asyncio.to_thread(_seemingly_gone, found, since, kept):
        text = apply(before, found, numbers - some)
        others = await compare(text, now)
        if sum(count(others)) < sum(count(since)):
            gone, base, since = some, text, others
    ours = [hunk for hunk in _rebased(found, gone) if hunk.number in wanted]
    return await asyncio.to_thread(_taken_back, split(base), split(now), ours, since)


class Codec(Enum):
    """How the bytes of files become text for a comparison by lines, and the same bytes again.

    Line ends and byte order marks are characters like any other.
    """

    UTF_8 = "utf-8"
    UTF_16_LE = "utf-16-le"
    UTF_16_BE = "utf-16-be"
    LATIN_1 = "latin-1"
    """Stands for any encoding of 8 bits: each byte is a character, whichever it is."""

    def decode(self, data: bytes) -> str:
        """The text of these bytes. Raises UnicodeDecodeError if they are none."""
        return data.decode(self.value)

    def encode(self, text: str) -> bytes:
        """The bytes of a text that was decoded, or made of the lines of such. Raises UnicodeEncodeError for others."""
        return text.encode(self.value)


def common_codec(*contents: bytes) -> Codec | None:
    """The codec by which all of these files can be compared and written again; None if one of them is binary.

    An empty file fits to any other.
    """
    contents = tuple(data for data in contents if data)
    marked = [
        codec
        for codec, mark in ((Codec.UTF_16_LE, codecs.BOM_UTF16_LE), (Codec.UTF_16_BE, codecs.BOM_UTF16_BE))
        if contents and all(data.startswith(mark) for data in contents)
    ]
    for codec in (Codec.UTF_8, *marked, Codec.LATIN_1):
        try:
            texts = [codec.decode(data) for data in contents]
        except UnicodeDecodeError:
            continue
        if not any("\0" in text for text in texts):
            return codec
    return None


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


def _between(old: str, new: str) -> tuple[int, list[str], list[str]]:
    """How many lines two texts begin with in common, and of each what lies between those and the ones they end with."""
    before, after = split(old), split(new)
    head = _common(before, after)
    tail = _common(reversed(before[head:]), reversed(after[head:]))
    return head, before[head : len(before) - tail], after[head : len(after) - tail]


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
    try:
        spans = await _git_spans(git, before, after) if git else await _difflib_spans(before, after)
    except OSError:  # no room in the temporary folder, or no descriptors
        spans = await _difflib_spans(before, after)
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


def _seemingly_gone(found: Sequence[Hunk], since: Sequence[Hunk], kept: Sequence[Hunk]) -> list[set[int]]:
    """Sets of hunks that others may have taken back, by what they changed since and what is `kept` from before.

    What stood before a hunk stands there again, and the lines around it. Surely so if they also changed the hunk.
    """
    again = {hunk.number for hunk in found if not _touching(kept, hunk.old_start, hunk.old_start + len(hunk.old))}
    surely = {hunk.number for hunk in found if hunk.number in again and _overlapping(since, hunk)}
    return [surely, again] if surely and surely != again else [again] if again else []


def _rebased(found: Sequence[Hunk], gone: Collection[int]) -> Iterator[Hunk]:
    """The hunks that lead to the text in which some are gone, without those."""
    moved = 0
    for hunk in found:
        if hunk.number in gone:
            moved += len(hunk.old) - len(hunk.new)
        else:
            yield msgspec.structs.replace(hunk, new_start=hunk.new_start + moved)


def _taken_back(base: list[str], now: list[str], ours: Sequence[Hunk], since: Sequence[Hunk]) -> Reverted:
    """`ours` led to `base`, `since` leads on to `now`: the lines of `base` are where both are measured."""
    conflicts = tuple(_conflict(hunk, others, now) for hunk in ours if (others := _overlapping(since, hunk)))
    if conflicts:
        return Reverted(None, conflicts)
    # Of two that touch, one that only inserts stands before what begins there.
    edits = [(hunk.new_start, hunk.new_start + len(hunk.new), hunk.old) for hunk in ours]
    edits += ((other.old_start, other.old_start + len(other.old), other.new) for other in since)
    result: list[str] = []
    position = 0
    for start, end, lines in sorted(edits, key=lambda edit: edit[:2]):
        result += base[position:start]
        result += lines
        position = end
    result += base[position:]
    if all(line.endswith("\n") for line in result[:-1]):
        return Reverted("".join(result))
    # A line without an end would get another one after it. Such a line is the last of its text, so both are at the end.
    return Reverted(None, (_conflict(ours[-1], since[-1:], now),))


def _touching(others: Sequence[Hunk], start: int, end: int) -> Sequence[Hunk]:
    """Those that change lines from `start` to `end` of their old text, or lines right beside them."""
    first = bisect.bisect_left(others, start, key=lambda other: other.old_start + len(other.old))
    return others[first : bisect.bisect_right(others, end, first, key=lambda other: other.old_start)]


def _overlapping(since: Sequence[Hunk], hunk: Hunk) -> list[Hunk]:
    """Those that change lines of a hunk, or insert where it deleted."""
    start, end = hunk.new_start, hunk.new_start + len(hunk.new)
    result = []
    for other in _touching(since, start, end):
        other_end = other.old_start + len(other.old)
        if (start, end) == (other.old_start, other_end) or (start < other_end and other.old_start < end):
            result.append(other)
    return result


def _conflict(hunk: Hunk, others: Sequence[Hunk], now: Sequence[str]) -> Conflict:
    start, end = others[0].new_start, others[-1].new_start + len(others[-1].new)
    return Conflict(hunk.number, start, tuple(now[start:end]))
