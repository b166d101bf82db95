"""Owns which files there are to pick from, and which of them a few typed letters mean.

In a git work tree git says which files there are, so what it ignores is left out. It is asked in a way in which nothing
of the repository's own configuration is run. Elsewhere the folders are walked.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from pairside import phrases

FILES = 200_000
"""More are not offered."""
LIST_SECONDS = 10.0
"""What git has not listed by then is walked."""
NESTED = 50
"""So many repositories within a repository are looked into."""
FOUND = 200
"""So many of those that fit are offered."""
_LEFT_OUT = frozenset({".git", ".hg", ".svn", "node_modules", "__pycache__"})
"""Folders that are not walked."""
_LINES = re.compile(r"(?P<name>.+?):(?P<first>[0-9]{1,9})?(?:-(?P<last>[0-9]{1,9})?)?")


class Candidate(NamedTuple):
    """A file or folder that can be picked."""

    path: str
    """Absolute."""
    name: str
    """What it is called on the screen, which is what typed letters are compared with; a folder ends in a slash."""
    folded: str
    """The name in lower case."""


class Match(NamedTuple):
    """A candidate that fits what was typed."""

    candidate: Candidate
    places: tuple[int, ...]
    """Where in its name the typed characters stand, from 0."""


class Query(NamedTuple):
    """What was typed: letters of a name, and lines if it ends in them, like `shop:3-8`."""

    words: str
    first: int | None
    """From 0."""
    last: int | None
    """From 0, included."""

    @classmethod
    def of(cls, typed: str) -> Query:
        """Take lines off what was typed; they count from 1 there, and the last one is included."""
        typed = typed.strip()
        match = _LINES.fullmatch(typed)
        if match is None:
            return cls(typed, None, None)
        if match["first"] is None:
            return cls(match["name"], None, None)
        first = max(1, int(match["first"]))
        last = max(first, int(match["last"])) if match["last"] else first
        return cls(match["name"], first - 1, last - 1)


def candidate(path: str, *, folder: bool = False) -> Candidate:
    """A path as something to pick."""
    name = phrases.shown(path) + ("/" if folder else "")
    return Candidate(path, name, _folded(name))


def listed(folders: Sequence[str], *, with_folders: bool) -> list[Candidate]:
    """All that can be picked in some folders, in the order of the names. It takes long: not for the event loop."""
    found: dict[str, Candidate] = {}
    for folder in folders:
        for path in _files(folder):
            if path not in found:
                found[path] = candidate(path)
            if with_folders:
                above = os.path.dirname(path)
                while above not in found and len(above) > len(folder):
                    found[above] = candidate(above, folder=True)
                    above = os.path.dirname(above)
            if len(found) >= FILES:
                break
    return sorted(found.values(), key=lambda one: one.folded)


def _files(folder: str) -> Iterator[str]:
    """The paths of the files in a folder."""
    names = _asked(folder)
    return _walked(folder) if names is None else _of_git(folder, names)


def _of_git(folder: str, names: Iterable[str]) -> Iterator[str]:
    """The files that git named, and those of the repositories in between that it does not look into."""
    waiting = [(folder, iter(names))]
    nested = 0
    while waiting:
        above, rest = waiting[-1]
        name = next(rest, None)
        if name is None:
            waiting.pop()
            continue
        path = os.path.join(above, name.rstrip("/"))
        if not (name.endswith("/") or os.path.isdir(path)):
            if os.path.lexists(path):  # git knows a removed file until its removal is staged
                yield path
        elif nested < NESTED and not os.path.islink(path):
            nested += 1
            inside = _asked(path)
            if inside is not None:
                waiting.append((path, iter(inside)))


def _asked(folder: str) -> list[str] | None:
    """What git lists below a folder, by names relative to it; None where it is no work tree or git does not answer."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    environment |= {"GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0"}
    command = ("git", "-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", "-C", folder)
    try:
        told = subprocess.run(
            (*command, "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--deduplicate"),
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=LIST_SECONDS,
            check=True,
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    return [os.fsdecode(name) for name in told.split(b"\0") if name][:FILES]


def _walked(folder: str) -> Iterator[str]:
    """The files below a folder; links to folders are not followed."""
    for above, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if name not in _LEFT_OUT)
        for name in sorted(names):
            yield os.path.join(above, name)


# What fits.


def matches(
    words: str, candidates: Sequence[Candidate], *, first: Sequence[str] = (), given_up: Callable[[], bool] = bool
) -> list[Match]:
    """The candidates that hold all words, or at least their letters in that order, the likeliest first.

    Upper and lower case are one. Without words all fit; then the paths in `first` come first. Where `given_up` says so
    nobody waits for the answer any more, and what was found so far is given. Not for the event loop.
    """
    recent = {path: place for place, path in enumerate(first)}
    terms = _folded(words).split()
    if not terms:
        ahead = sorted((one for one in candidates if one.path in recent), key=lambda one: recent[one.path])
        rest = (one for one in candidates if one.path not in recent)
        chosen = [*ahead, *(one for one, _ in zip(rest, range(FOUND), strict=False))]
        return [Match(one, ()) for one in chosen[:FOUND]]
    ranked: list[tuple[tuple[int, int, int, int], str, Match]] = []
    for number, one in enumerate(candidates):
        if number % 1000 == 0 and given_up():
            break
        rank, spread, places = 0, 0, list[int]()
        for term in terms:
            found = _found(term, one.folded)
            if found is None:
                break
            rank += found[0]
            spread += found[1]
            places += found[2]
        else:
            order = (rank, spread, recent.get(one.path, len(recent)), len(one.name))
            ranked.append((order, one.folded, Match(one, tuple(sorted(set(places))))))
    ranked.sort(key=lambda entry: entry[:2])
    return [match for _, _, match in ranked[:FOUND]]


def _folded(text: str) -> str:
    """In lower case, each character as one: places in it are places in the text."""
    lower = text.lower()
    return lower if len(lower) == len(text) else "".join(one.lower()[:1] or one for one in text)


def _in_order(term: str, name: str, start: int) -> int | None:
    """Where the characters of a term, found in their order as early as they come, end; None if they are not there.

    No pattern does that: with names that are made for it the search for one takes for ever.
    """
    at = start
    for character in term:
        at = name.find(character, at) + 1
        if not at:
            return None
    return at


def _found(term: str, name: str) -> tuple[int, int, list[int]] | None:
    """How well a term fits a name (0 is best), over how many characters it is spread, and where; None if it does not.

    What stands in the last component counts for more than what stands in a folder's name, the start of a word for more
    than its middle, and letters in one piece for more than the same with others between them.
    """
    base = name.rstrip("/").rfind("/") + 1
    place = name.find(term, base)
    within = place >= 0
    if not within:
        place = name.find(term)
    if place >= 0:
        starts = [at for at in _occurrences(term, name, base if within else 0) if _begins_word(name, at)]
        place = starts[0] if starts else place
        whole = within and place == base and name[base:].rstrip("/") in (term, term.rpartition("/")[2])
        stem = within and place == base and name[base + len(term) : base + len(term) + 1] == "."
        rank = 0 if whole else 1 if stem else 2 if within and place == base else 3 if within else 6
        return rank + (0 if starts else 1), len(term), list(range(place, place + len(term)))
    # The last component may hold all of it, also where a search from the left begins earlier.
    end = _in_order(term, name, base) or _in_order(term, name, 0)
    if end is None:
        return None
    # From its end backwards: the shortest stretch that ends there.
    places: list[int] = []
    at = end
    for character in reversed(term):
        at = name.rindex(character, 0, at)
        places.append(at)
    spread = end - places[-1]
    return (9 if places[-1] >= base else 12), spread, places[::-1]


def _occurrences(term: str, name: str, start: int) -> Iterator[int]:
    at = name.find(term, start)
    while at >= 0:
        yield at
        at = name.find(term, at + 1)


def _begins_word(name: str, place: int) -> bool:
    return place == 0 or not name[place - 1].isalnum()
