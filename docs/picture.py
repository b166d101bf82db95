"""Owns the pictures of sessions in the README, made from the cells of real terminals.

    python tests/e2e/netns.py -- python -m docs.picture [picture] [changes] [neovim]

`picture.svg`: in one terminal runs the real Claude Code CLI, with the scripted model of the end-to-end tests, in the
other pairside. `changes.svg`: what it wrote without asking, in pairside. `neovim.svg`: Neovim with the plugin, and the
CLI in a terminal of Neovim. What is on a picture is what the programs wrote, cell by cell. When a session does not go
as scripted nothing is written and the status is 1.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import accumulate
from pathlib import Path
from types import TracebackType
from typing import Self
from xml.sax.saxutils import escape

import pyte
from tests.e2e import netns
from tests.e2e.claude import (
    DEVICE_ATTRIBUTES,
    DEVICE_ATTRIBUTES_QUERY,
    READY,
    UNREADABLE,
    find_claude,
    on_terminal,
    seed,
    variables,
)
from tests.e2e.home import Home
from tests.e2e.model import Block, Model, ModelRequest, text, tool
from tests.e2e.served import Served
from tests.e2e.until import until
from tests.nvim.editor import binary

FOLDER = Path(__file__).resolve().parent
MAX_BYTES = 60_000

PROJECT = Path("/tmp/shop")
"""Its name is on the picture, so it is not one of the throwaway names below a temporary folder."""

SECONDS = 30.0
STILL_SECONDS = 2.0
THINKING_SECONDS = 1.0
"""Of the model before its first answer."""

BEFORE = """\
import math


def total(prices):
    sum = 0
    for price in prices:
        sum += price
    return sum


def area(radius):
    return 3.14 * radius * radius
"""
AFTER = """\
import math


def total(prices):
    return sum(prices)


def area(radius):
    return math.pi * radius**2
"""
TAKEN = AFTER.replace("math.pi * radius**2", "3.14 * radius * radius")
"""With the first hunk alone."""

# The renderer.

CELL_WIDTH = 8
CELL_HEIGHT = 17
FONT_SIZE = 13.3
MARGIN = 14
GAP = 3
"""Cells between the terminals; a line stands in the middle."""

BACKGROUND = "#1b1f27"
FOREGROUND = "#d7dce4"
EDGE = "#4a5261"
PALETTE = {
    "black": "#3b414d",
    "red": "#f0737c",
    "green": "#8fd18a",
    "brown": "#e3c07a",
    "blue": "#74aef2",
    "magenta": "#cf93e6",
    "cyan": "#6cc7d1",
    "white": "#d7dce4",
    "brightblack": "#8a93a3",
    "brightred": "#ff8b93",
    "brightgreen": "#a8e6a3",
    "brightbrown": "#f5d68f",
    "brightblue": "#93c3ff",
    "brightmagenta": "#e0b0f5",
    "brightcyan": "#8fe0e8",
    "brightwhite": "#ffffff",
}
"""The sixteen colours by pyte's names. Every one can be read on the background."""

UPRIGHT = "\N{BOX DRAWINGS LIGHT VERTICAL}"

# XML 1.0 takes no other control characters; a surrogate cannot be encoded.
_UNWRITABLE = re.compile(r"[^\t\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True, slots=True)
class Style:
    """How a cell looks; None is the colour of the terminal itself."""

    foreground: str | None = None
    background: str | None = None
    bold: bool = False
    italic: bool = False
    underlined: bool = False
    struck: bool = False


@dataclass(frozen=True, slots=True)
class Cell:
    """A character of the screen, `width` columns wide (1 or 2), and how it looks."""

    character: str
    style: Style = Style()
    width: int = 1


@dataclass(frozen=True, slots=True)
class Run:
    """Characters of one look that stand side by side, from a column counted from 0, `width` columns in all."""

    column: int
    text: str
    style: Style
    width: int


def colour(name: str) -> str | None:
    """The colour that pyte names, as SVG wants it; None for the terminal's own.

    Raises:
        ValueError: pyte has such a name no more.
    """
    if name == "default":
        return None
    if re.fullmatch(r"[0-9a-fA-F]{6}", name):
        return f"#{name.lower()}"
    if name in PALETTE:
        return PALETTE[name]
    raise ValueError(f"an unknown colour: {name!r}")


def cells(screen: pyte.Screen) -> list[list[Cell]]:
    """The screen, row by row. The second column of a wide character is no cell of its own."""
    rows = []
    for y in range(screen.lines):
        row: list[Cell] = []
        for x in range(screen.columns):
            one = screen.buffer[y][x]
            if not one.data:
                if row:
                    row[-1] = Cell(row[-1].character, row[-1].style, 2)
                continue
            foreground, background = colour(one.fg), colour(one.bg)
            if one.reverse:
                foreground, background = background or BACKGROUND, foreground or FOREGROUND
            style = Style(foreground, background, one.bold, one.italics, one.underscore, one.strikethrough)
            row.append(Cell(one.data, style))
        rows.append(row)
    return rows


def runs(row: Sequence[Cell]) -> list[Run]:
    """The characters of a row in as few runs as keep their places in any font.

    ASCII characters of a monospaced font are of one width. Others may come from another font, so only equal ones
    share a run. Blanks at the end that show nothing are left out.
    """
    found: list[Run] = []
    last: object = None
    column = 0
    for cell in row:
        kind = "" if cell.character.isascii() else cell.character
        look = (cell.style, kind, cell.width)
        if found and look == last:
            before = found[-1]
            found[-1] = Run(before.column, before.text + cell.character, cell.style, before.width + cell.width)
        else:
            found.append(Run(column, cell.character, cell.style, cell.width))
        last = look
        column += cell.width
    if found and not _fills(found[-1].style):
        last_run = found.pop()
        seen = last_run.text.rstrip(" ")
        found.append(Run(last_run.column, seen, last_run.style, last_run.width - len(last_run.text) + len(seen)))
    return [run for run in found if run.text.strip() or _fills(run.style)]


def _fills(style: Style) -> bool:
    """Whether even a blank shows something."""
    return style.background is not None or style.underlined or style.struck


def ground(pane: Sequence[Sequence[Cell]]) -> str:
    """The background that most of a screen has: the terminal's own, or that which a program gave to all of it."""
    counted = Counter(cell.style.background for row in pane for cell in row)
    return max(counted, key=lambda background: counted[background], default=None) or BACKGROUND


def svg(panes: Sequence[Sequence[Sequence[Cell]]], columns: int, title: str, description: str) -> str:
    """The terminals side by side as an SVG document; each is `columns` wide.

    It brings its own background, that of the first terminal, so it can be read on any page. The characters are text:
    they can be selected, and are drawn in the reader's own monospaced font, fitted to the grid.
    """
    background = ground(panes[0])
    panes = [[[_on(background, cell) for cell in row] for row in pane] for pane in panes]
    written = [[runs([_blank(cell) for cell in row]) for row in pane] for pane in panes]
    rows = max(len(pane) for pane in panes)
    across = len(panes) * columns + (len(panes) - 1) * GAP
    width, height = across * CELL_WIDTH + 2 * MARGIN, rows * CELL_HEIGHT + 2 * MARGIN
    lefts = [MARGIN + number * (columns + GAP) * CELL_WIDTH for number in range(len(panes))]
    looks = _looks(run.style for lines in written for line in lines for run in line)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        'role="img" aria-labelledby="title description">',
        f'<title id="title">{_written(title)}</title>',
        f'<desc id="description">{_written(description)}</desc>',
        "<style>",
        f"text{{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;font-size:{FONT_SIZE:g}px;"
        f"fill:{FOREGROUND};white-space:pre}}",
        *dict.fromkeys(f".{name}{{{_css(style)}}}" for style, name in looks.items() if name),
        "</style>",
        f'<rect x=".5" y=".5" width="{width - 1}" height="{height - 1}" rx="8" fill="{background}" stroke="{EDGE}"/>',
    ]
    for left in lefts[1:]:
        x = left - GAP * CELL_WIDTH / 2
        lines.append(f'<path d="M{x:g} {MARGIN}V{height - MARGIN}" stroke="{EDGE}"/>')
    for left, pane, rows_of_runs in zip(lefts, panes, written, strict=True):
        lines += _uprights(pane, left)
        for number, row in enumerate(rows_of_runs):
            lines += _line(row, left, MARGIN + number * CELL_HEIGHT, looks)
    return "\n".join([*lines, "</svg>", ""])


def _on(background: str, cell: Cell) -> Cell:
    """The cell without the background that is there already, and with its own where that is another."""
    own = cell.style.background or BACKGROUND
    return replace(cell, style=replace(cell.style, background=None if own == background else own))


def _uprights(pane: Sequence[Sequence[Cell]], left: int) -> Iterator[str]:
    """The upright lines of a terminal, each in one piece: a line of text is higher than the characters in it."""
    begun: dict[tuple[int, str], int] = {}
    for number, row in enumerate([*pane, []]):
        here = {
            (column, cell.style.foreground or FOREGROUND) for column, cell in _columns(row) if cell.character == UPRIGHT
        }
        for column, stroke in sorted(begun.keys() - here):
            x = left + (column + 0.5) * CELL_WIDTH
            top, bottom = (MARGIN + line * CELL_HEIGHT for line in (begun.pop((column, stroke)), number))
            yield f'<path d="M{x:g} {top}V{bottom}" stroke="{stroke}"/>'
        for place in here:
            begun.setdefault(place, number)


def _blank(cell: Cell) -> Cell:
    """The cell without the line that is drawn."""
    return replace(cell, character=" ") if cell.character == UPRIGHT else cell


def _columns(row: Sequence[Cell]) -> Iterator[tuple[int, Cell]]:
    """The cells with the columns in which they begin."""
    return zip(accumulate((cell.width for cell in row), initial=0), row, strict=False)


def _line(line: Sequence[Run], left: int, top: int, looks: Mapping[Style, str]) -> Iterator[str]:
    """One line of a terminal: what is behind its characters, then the characters, as one text."""
    for run in line:
        if run.style.background:
            yield (
                f'<rect x="{left + run.column * CELL_WIDTH}" y="{top}" width="{run.width * CELL_WIDTH}" '
                f'height="{CELL_HEIGHT}" fill="{run.style.background}"/>'
            )
    spans: list[str] = []
    column = 0
    for run in line:
        if not run.text.strip() and not (run.style.underlined or run.style.struck):
            continue
        if spans and run.column > column:
            spans.append(" " * (run.column - column))  # nothing to see, but there for whoever copies the line
        column = run.column + run.width
        look = f' class="{looks[run.style]}"' if looks[run.style] else ""
        spans.append(
            f'<tspan x="{left + run.column * CELL_WIDTH}" textLength="{run.width * CELL_WIDTH}" '
            f'lengthAdjust="spacingAndGlyphs"{look}>{_written(run.text)}</tspan>'
        )
    if spans:
        yield f'<text y="{top + 13}" xml:space="preserve">{"".join(spans)}</text>'


def _looks(styles: Iterator[Style]) -> dict[Style, str]:
    """A class for each look that differs from plain text, "" for those that do not."""
    names: dict[str, str] = {"": ""}
    return {style: names.setdefault(_css(style), f"s{len(names)}") for style in dict.fromkeys(styles)}


def _css(style: Style) -> str:
    lines = " ".join(["underline"] * style.underlined + ["line-through"] * style.struck)
    rules = {
        "fill": style.foreground,
        "font-weight": "bold" if style.bold else None,
        "font-style": "italic" if style.italic else None,
        "text-decoration": lines or None,
    }
    return ";".join(f"{name}:{value}" for name, value in rules.items() if value)


def _written(words: str) -> str:
    return escape(_UNWRITABLE.sub("\ufffd", words))


# The sessions.


class Shell:
    """A shell in a terminal of its own, in the project, from its making until the end of the block."""

    def __init__(self, environment: Mapping[str, str], *, rows: int, columns: int) -> None:
        self.screen = pyte.Screen(columns, rows)
        self._stream = pyte.ByteStream(self.screen)
        self._lock = threading.Lock()
        self._process, self._terminal = on_terminal(
            ["/bin/sh", "-i"], rows=rows, columns=columns, directory=PROJECT, environment=environment
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def shown(self) -> str:
        """What is on the screen, line by line."""
        with self._lock:
            return "\n".join(line.rstrip() for line in self.screen.display)

    def cells(self) -> list[list[Cell]]:
        """The screen as it is now."""
        with self._lock:
            return cells(self.screen)

    def wait(self, pattern: str) -> re.Match[str]:
        """Wait until a pattern is found on the screen.

        Raises:
            TimedOut: It was not within 30 s; the message shows the screen.
        """
        return until(lambda: re.search(pattern, self.shown), timeout=SECONDS, what=lambda: self._missed(pattern))

    def wait_still(self, without: str) -> None:
        """Wait until nothing has moved on the screen for 2 s, and a pattern is not found on it.

        Raises:
            TimedOut: It was not so within 30 s; the message shows the screen.
        """
        last, since = self.shown, time.monotonic()

        def still() -> bool:
            nonlocal last, since
            if (now := self.shown) != last:
                last, since = now, time.monotonic()
            return time.monotonic() - since >= STILL_SECONDS and not re.search(without, now)

        until(still, timeout=SECONDS, what=lambda: self._missed("nothing that moves"))

    def press(self, keys: str) -> None:
        """Press the keys for a text."""
        os.write(self._terminal, keys.encode())

    def enter(self, line: str, shown: str | None = None) -> None:
        """Type a line, wait until it (or its last words, where it is wrapped) is on the screen, and press Enter."""
        self.press(line)
        self.wait(re.escape(shown if shown is not None else line))
        self.press("\r")

    def _missed(self, what: str) -> str:
        return f"{what!r} on the screen\n--- screen ---\n{self.shown}\n--- end of screen ---"

    def _read(self) -> None:
        while True:
            try:
                data = os.read(self._terminal, 65536)
            except OSError:
                return  # EIO: nobody has the other side open any more
            if not data:
                return
            with self._lock, suppress(Exception):  # pyte fails on some private sequences
                self._stream.feed(UNREADABLE.sub(b"", data))
            if DEVICE_ATTRIBUTES_QUERY.search(data):
                with suppress(OSError):
                    os.write(self._terminal, DEVICE_ATTRIBUTES)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        groups = {self._process.pid}
        with suppress(OSError):
            groups.add(os.tcgetpgrp(self._terminal))  # the program that the shell runs has a group of its own
        for number in (signal.SIGHUP, signal.SIGKILL):
            for group in groups:
                with suppress(ProcessLookupError, PermissionError):
                    os.killpg(group, number)
            self._reader.join(5.0)  # it ends when nobody has the terminal open any more
            if not self._reader.is_alive():
                os.close(self._terminal)
                break
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(5.0)


@dataclass(frozen=True, slots=True)
class Stage:
    """What a session is played on: the project, its file, and what the programs need in their environment."""

    home: Home
    file: Path
    environment: Mapping[str, str]

    def wait_written(self, content: str) -> None:
        """Wait until the agent has written the file so.

        Raises:
            TimedOut: It did not within 30 s.
        """
        read = partial(self.file.read_text, encoding="utf-8")
        until(lambda: read() == content, timeout=SECONDS, what=lambda: f"{content!r} in the file; it is {read()!r}")


@contextmanager
def stage(claude: Path, *programs: Path, said: str) -> Iterator[Stage]:
    """The project and the model until the end of the block; the model says at the end of its turn what is given.

    Raises:
        OSError: Something of that name is where the project should be.
    """
    with ExitStack() as stack:
        PROJECT.mkdir()
        stack.callback(shutil.rmtree, PROJECT, ignore_errors=True)
        home = stack.enter_context(Home())
        home.project.rmdir()
        home.project = PROJECT
        seed(home)
        file = home.write("shop.py", BEFORE)
        # The model plays the script that is named in what it is told; said here it is not on the screen.
        (home.claude_config / "CLAUDE.md").write_text("SCRIPT:tidy", encoding="utf-8")
        model = stack.enter_context(Model())
        model.script(
            "tidy",
            thoughtful(tool("Read", file_path=str(file))),
            [tool("Write", file_path=str(file), content=AFTER)],
            [text(said)],
        )
        # A path of the agent may be on the screen: this is one that people have.
        local = home.home / ".local" / "bin" / claude.name
        local.parent.mkdir(parents=True)
        local.symlink_to(claude)
        folders = [program.parent for program in (local, *programs, Path(sys.executable))]
        environment = home.environment(
            PATH=os.pathsep.join([*map(str, folders), os.environ["PATH"]]),
            PS1="$ ",
            TZ="UTC",
            **variables(model.url),
        )
        yield Stage(home, file, environment)


def thoughtful(block: Block) -> Callable[[ModelRequest], Sequence[Block]]:
    """An answer that takes a second, as real ones do at least: by then whoever asked has their hands off the keys."""

    def answer(_: ModelRequest) -> Sequence[Block]:
        time.sleep(THINKING_SECONDS)
        return [block]

    return answer


def in_two_terminals(claude: Path) -> list[list[list[Cell]]]:
    """Review in a terminal beside the agent's; the cells of both while the proposal waits, one of its hunks left out.

    Then the other hunk is accepted, so that what is on the picture is known to work.

    Raises:
        TimedOut: It does not go as scripted.
        OSError: Something of that name is where the project should be.
    """
    with ExitStack() as stack:
        set_up = stack.enter_context(stage(claude, said="Done: total() uses sum() now. You kept area() as it was."))
        environment = {**set_up.environment, "COLORTERM": "truecolor"}
        right = stack.enter_context(Shell(environment, rows=28, columns=70))
        left = stack.enter_context(Shell(set_up.environment, rows=28, columns=70))
        for shell in (left, right):
            shell.wait(r"^\$")
        right.enter("pairside")
        right.wait("No proposal waits")
        left.enter("pairside run --review claude")
        left.wait(READY)
        Served(set_up.home).wait_clients()
        left.enter("Tidy up shop.py")
        right.wait(r"\[x\] hunk 2 of 2")
        left.wait(r"Do you want to overwrite shop\.py\?")
        right.press("n ")
        right.wait(r"\[ \] hunk 2 of 2.*left out")
        left.wait_still(without="/effort")  # the mascot moves for a while, and this hint comes and goes
        panes = [left.cells(), right.cells()]
        right.press("s")
        right.wait(r"Accepted hunk 1 of shop\.py")
        left.wait(r"Done: total")
        set_up.wait_written(TAKEN)
        return panes


def changes_shown(claude: Path) -> list[list[list[Cell]]]:
    """What an agent wrote without asking, as the terminal UI shows it; the cells before one of its hunks is undone.

    Raises:
        TimedOut: It does not go as scripted.
        OSError: Something of that name is where the project should be.
    """
    with ExitStack() as stack:
        set_up = stack.enter_context(stage(claude, said="Done: total() uses sum(), area() uses math.pi."))
        environment = {**set_up.environment, "COLORTERM": "truecolor"}
        ui = stack.enter_context(Shell(environment, rows=24, columns=100))
        agent = stack.enter_context(Shell(set_up.environment, rows=28, columns=70))
        for shell in (ui, agent):
            shell.wait(r"^\$")
        ui.enter("pairside")
        ui.wait("No proposal waits")
        agent.enter("pairside run claude --permission-mode acceptEdits")
        agent.wait(READY)
        Served(set_up.home).wait_clients()
        agent.enter("Tidy up shop.py")
        agent.wait(r"Done: total")
        set_up.wait_written(AFTER)
        ui.press("2")
        ui.wait(r"hunk 2 of 2")
        ui.press("n ")
        ui.wait(r"\[x\] hunk 2 of 2.*to be undone")
        pane = ui.cells()
        ui.press("u")
        ui.wait("Undone: shop.py")
        set_up.wait_written(TAKEN)
        return [pane]


def in_neovim(claude: Path) -> list[list[list[Cell]]]:
    """Review in Neovim, with the agent in a terminal of Neovim; the cells while the proposal waits.

    Then it is accepted, so that what is on the picture is known to work.

    Raises:
        TimedOut: It does not go as scripted.
        OSError: Something of that name is where the project should be, or there is no Neovim.
    """
    with ExitStack() as stack:
        program = binary("0.11.4")
        set_up = stack.enter_context(stage(claude, program, said="Done: total() uses sum(), area() uses math.pi."))
        environment = {**set_up.environment, "COLORTERM": "truecolor"}
        neovim = stack.enter_context(Shell(environment, rows=29, columns=120))
        neovim.wait(r"^\$")
        neovim.enter("pairside nvim shop.py")
        neovim.wait(r"(?m)^import math")
        neovim.enter(":Pairside toggle --permission-mode manual")
        neovim.wait(r"│❯")
        Served(set_up.home).wait_clients()
        neovim.enter("Tidy up shop.py")
        neovim.wait(r":w accept · :q reject")
        neovim.wait(r"Do you want to overwrite shop\.py\?")
        neovim.wait_still(without="/effort")
        pane = neovim.cells()
        neovim.press(":w")
        neovim.wait(r"(?m)^:w$")
        neovim.press("\r")
        neovim.wait(r"│● Done: total")
        set_up.wait_written(AFTER)
        neovim.wait(r"(?m)^    return sum\(prices\) +│[^│]*$")  # no windows but the file's and the agent's
        neovim.wait(r"(?m)^    return math\.pi \* radius\*\*2 +│[^│]*$")
        return [pane]


# The pictures.


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture: where it is, what it is called, and the session of which it is made."""

    path: Path
    title: str
    description: str
    play: Callable[[Path], list[list[list[Cell]]]]

    def made(self, claude: Path) -> bytes:
        """Play the session with the CLI at that path, and draw it.

        Raises:
            TimedOut: It does not go as scripted.
            OSError: Something of that name is where the project should be, or a program is missing.
            ValueError: The picture is too large.
        """
        panes = self.play(claude)
        document = svg(panes, max(sum(cell.width for cell in row) for row in panes[0]), self.title, self.description)
        if (size := len(document.encode())) > MAX_BYTES:
            raise ValueError(f"{self.path.name} would have {size} bytes, more than {MAX_BYTES}")
        return document.encode()


TERMINALS = Picture(
    FOLDER / "picture.svg",
    "A review in two terminals: Claude Code and pairside",
    "On the left Claude Code is asked to tidy up shop.py, and waits. On the right pairside shows what it proposes, "
    "hunk by hunk. The second hunk is left out; s accepts the first one alone.",
    in_two_terminals,
)
CHANGES = Picture(
    FOLDER / "changes.svg",
    "What Claude Code changed without asking, in pairside",
    "pairside lists the turn and the file that Claude Code changed in it, and shows the difference, hunk by hunk. One "
    "hunk is chosen; u undoes it.",
    changes_shown,
)
NEOVIM = Picture(
    FOLDER / "neovim.svg",
    "A review in Neovim: Claude Code and what it proposes",
    "On the right Claude Code, in a terminal of Neovim, is asked to tidy up shop.py, and waits. On the left Neovim "
    "shows the file beside what Claude Code proposes, as a diff. Above it stands what to do: :w accepts it, :q rejects "
    "it, do and dp take single hunks.",
    in_neovim,
)
PICTURES = {picture.path.stem: picture for picture in (TERMINALS, CHANGES, NEOVIM)}


def main(names: Sequence[str]) -> int:
    """Make the pictures of these names anew, without names all.

    The status is 1, and all of them stay as they were, when one fails.
    """
    claude = find_claude()
    try:
        if unknown := set(names) - set(PICTURES):
            raise ValueError(f"there is none called {', '.join(sorted(unknown))}; there are {', '.join(PICTURES)}")
        if claude is None:
            raise FileNotFoundError("the Claude Code CLI is not installed: run tests/e2e/install_cli.py")
        if not netns.is_loopback_only():
            raise OSError("run this in a loopback-only namespace: python tests/e2e/netns.py -- python -m docs.picture")
        made = {picture: picture.made(claude) for name, picture in PICTURES.items() if name in (names or PICTURES)}
    except (AssertionError, OSError, ValueError) as error:
        sys.stderr.write(f"no picture: {error}\n")
        return 1
    for picture, document in made.items():
        picture.path.write_bytes(document)
        sys.stdout.write(f"{picture.path.name}: {len(document)} bytes\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
