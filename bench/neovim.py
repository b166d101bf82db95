"""Owns the benchmarks of the front-end for Neovim: a real one with a screen, against plain commands in the same one."""

from __future__ import annotations

import contextlib
import json
import random
import re
import statistics
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from tests.e2e.home import Home
from tests.nvim.editor import COMMAND, Neovim

from bench.contenders import Run
from bench.figures import Figure, Target, Unavailable, compared
from bench.wire import Client, message

VERSION = "0.11.4"
PID = 2**22 + 1
"""A process that cannot exist: it is beyond what Linux gives out."""
SIZES = {"10 KB": (10_000, 3.0), "1 MB": (1_000_000, 1.7), "8 MB": (8_000_000, 1.3)}
FREEZE_SIZE, FREEZE_TARGET = "1 MB", 1.5
BUSY = {
    "Lua": "local start = vim.uv.hrtime() while vim.uv.hrtime() < start + ... * 1e9 do end",
    "vim.fn.system": "vim.fn.system({'sleep', tostring((...))})",
    ":sleep": "vim.cmd(('sleep %dm'):format((...) * 1000))",
}
GAPS = """
local timer, last, longest = vim.uv.new_timer(), vim.uv.hrtime(), 0
timer:start(1, 1, function()
  local now = vim.uv.hrtime()
  longest, last = math.max(longest, now - last), now
end)
_G.longest = function()
  local found = math.max(longest, vim.uv.hrtime() - last)
  longest, last = 0, vim.uv.hrtime()
  return found / 1e6
end
"""
"""A function that gives the longest time, in ms, for which Neovim did nothing else since it was asked last."""
PLAIN = """
local path, text = ...
vim.cmd.edit(vim.fn.fnameescape(path))
local filetype = vim.bo.filetype
vim.cmd.diffthis()
vim.cmd("rightbelow vnew")
vim.bo.buftype = "nofile"
vim.api.nvim_buf_set_lines(0, 0, -1, false, vim.split(text, "\\n", { plain = true, trimempty = true }))
vim.bo.filetype = filetype
vim.cmd.diffthis()
"""
"""What a person would do by hand to compare a file with a text."""
CLEAR = "vim.cmd('silent! only! | silent! diffoff! | enew! | silent! %bwipeout!')"


@contextlib.contextmanager
def _neovim() -> Iterator[tuple[Home, Neovim, Client]]:
    """A Neovim in which pairside runs, and a client that asks, and is told nothing by itself."""
    with Home() as home, Neovim(home, version=VERSION) as neovim:
        try:
            port, token = _address(neovim)
        except AssertionError as error:
            raise Unavailable(f"pairside does not run in Neovim: {error}") from None
        with contextlib.closing(Client.connect(port, token)) as client:
            client.ask(_initialize(0))
            yield home, neovim, client


def _address(neovim: Neovim) -> tuple[int, str]:
    lock = neovim.lock
    return int(lock.stem), json.loads(lock.read_bytes())["authToken"]


def _initialize(id: int) -> bytes:
    info = {"name": "claude-code", "version": "2.1.330"}
    return message("initialize", {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": info}, id=id)


def _call(tool: str, id: int, **arguments: object) -> bytes:
    return message("tools/call", {"name": tool, "arguments": arguments}, id=id)


def blocked(run: Run) -> list[Figure]:
    """What agents wait for while Neovim is busy."""
    seconds = 1 if run.quick else 5
    figures = []
    with _neovim() as (_, neovim, client):
        port, token = _address(neovim)
        ping, tools = message("ping", id=7), message("tools/list", id=8)
        for how, code in BUSY.items():
            pings, arrivals = [], []
            told = len(neovim.told)
            work = neovim.begin(f"vim.rpcnotify(1, 'busy') {code}", seconds)
            neovim.wait_told("busy", told + 1)
            until = time.monotonic() + seconds * 0.9
            while time.monotonic() < until:
                started = time.perf_counter()
                client.ask(ping)
                pings.append((time.perf_counter() - started) * 1e3)
                started = time.perf_counter()
                with contextlib.closing(Client.connect(port, token)) as other:
                    other.ask(_initialize(0))
                    other.ask(tools)
                    arrivals.append((time.perf_counter() - started) * 1e3)
                time.sleep(0.01)
            if work.done():
                raise Unavailable(f"Neovim was not busy for {seconds} s ({how})")
            work.result(10)
            target = Target("at_most", 20)
            for what, spent in (("ping", pings), ("handshake, initialize and tools/list", arrivals)):
                name = f"{what} while Neovim is busy ({how}, {seconds} s): p99"
                figures.append(Figure(name, _percentile(spent, 99), "ms", rounds=len(spent), target=target))
    return figures


def review(run: Run) -> list[Figure]:
    """From openDiff until the proposal is on screen, against doing the same by plain commands in the same Neovim."""
    rounds = 3 if run.quick else 9
    figures = []
    with _neovim() as (home, neovim, client):
        neovim.lua(GAPS)
        for name, (size, bound) in SIZES.items():
            old = _text(size)
            path = home.write("large.txt", old)
            times: dict[str, list[float]] = {"ours": [], "plain": []}
            freezes: dict[str, list[float]] = {"ours": [], "plain": []}
            works: list[Callable[[], None]] = [
                partial(_propose, neovim, client, path, old, times["ours"], freezes["ours"]),
                partial(_compare, neovim, path, old, times["plain"], freezes["plain"]),
            ]
            for _ in range(1 + rounds):
                for work in random.sample(works, len(works)):
                    work()
            yardstick, target = ":diffthis by hand", Target("at_most", bound)
            # The first round warms up.
            ours, plain = times["ours"][1:], times["plain"][1:]
            figures.append(compared(f"openDiff on screen, {name}", "ms", ours, yardstick, plain, target))
            ours, plain = freezes["ours"][1:], freezes["plain"][1:]
            bounded = Target("at_most", FREEZE_TARGET) if name == FREEZE_SIZE else None
            figures.append(compared(f"longest freeze meanwhile, {name}", "ms", ours, yardstick, plain, bounded))
    return figures


def _propose(neovim: Neovim, client: Client, path: Path, old: str, times: list[float], freezes: list[float]) -> None:
    text, mark = _changed(old)
    neovim.lua(f"vim.cmd.edit(vim.fn.fnameescape(...)) return 1 -- {mark}", str(path))
    neovim.redrawn()
    neovim.lua("return longest()")
    name = f"tab {mark}"
    prepared = _call(
        "openDiff", 9, old_file_path=str(path), new_file_path=str(path), new_file_contents=text, tab_name=name
    )
    started = time.perf_counter()
    client.socket.sendall(prepared)
    neovim.wait_screen(mark, 60)
    times.append((time.perf_counter() - started) * 1e3)
    freezes.append(neovim.lua("return longest()"))
    client.socket.sendall(_call("close_tab", 10, tab_name=name))
    client.receive_with(b'"id":10')
    neovim.wait_not_on_screen(mark, 60)
    neovim.lua(CLEAR)


def _compare(neovim: Neovim, path: Path, old: str, times: list[float], freezes: list[float]) -> None:
    text, mark = _changed(old)
    neovim.lua("vim.cmd.edit(vim.fn.fnameescape(...)) return 1", str(path))
    neovim.redrawn()
    neovim.lua("return longest()")
    started = time.perf_counter()
    work = neovim.begin(PLAIN, str(path), text)
    neovim.wait_screen(mark, 60)
    times.append((time.perf_counter() - started) * 1e3)
    work.result(60)
    freezes.append(neovim.lua("return longest()"))
    neovim.lua(CLEAR)
    neovim.wait_not_on_screen(mark, 60)


def trips(run: Run) -> list[Figure]:
    """Questions of an agent that only Neovim can answer, with 1 and with 50 buffers."""
    count = 100 if run.quick else 1000
    figures = []
    with _neovim() as (home, neovim, client):
        for buffers, bounds in ((1, (0.4, 0.4)), (50, (1.1, 2.9))):
            for number in range(buffers):
                neovim.lua("vim.cmd.edit(vim.fn.fnameescape(...))", str(home.write(f"{number}.txt", "text\n" * 100)))
            for tool, bound in zip(("getOpenEditors", "getDiagnostics"), bounds, strict=True):
                spent = []
                for _ in range(count):
                    started = time.perf_counter()
                    answer = client.ask(_call(tool, 11))
                    spent.append((time.perf_counter() - started) * 1e3)
                if b'"error"' in answer or b'"isError":true' in answer:
                    raise Unavailable(f"{tool}: {answer!r}")
                what = f"{tool}, {buffers} buffer{'s' if buffers > 1 else ''}: p50"
                bounded = Target("at_most", bound)
                figures.append(Figure(what, statistics.median(spent), "ms", rounds=count, target=bounded))
    return figures


def cursor(run: Run) -> list[Figure]:
    """What moving the cursor costs in Neovim, and how long until agents know of it."""
    count, moves = (5, 5_000) if run.quick else (21, 20_000)
    with _neovim() as (home, neovim, _):
        path = home.write("moves.txt", "some words in a line\n" * 1000)
        neovim.command(f"edit {path}")
        with contextlib.closing(Client.connect(*_address(neovim))) as client:
            client.initialize(pid=PID)
            client.receive_with(b"selection_changed")
            late = []
            for number in range(4 * count):
                time.sleep(0.12)  # what came before is over: this move is one by itself
                started = time.perf_counter()
                neovim.keys("j")
                client.receive_with(b'"start":{"line":%d,' % (number + 1))
                late.append((time.perf_counter() - started) * 1e3)
        code = """local count = ...
        local start = vim.uv.hrtime()
        for number = 1, count do
          vim.api.nvim_win_set_cursor(0, { 1 + number % 1000, number % 7 })
          vim.api.nvim_exec_autocmds("CursorMoved", { modeline = false })
        end
        return (vim.uv.hrtime() - start) / count / 1e3"""
        with_it, without = [], []
        for _ in range(count):
            with_it.append(float(neovim.lua(code, moves)))
            neovim.lua(
                """require("pairside.selection").disable()
                _G.empty = vim.api.nvim_create_autocmd("CursorMoved", { callback = function() end })"""
            )
            without.append(float(neovim.lua(code, moves)))
            neovim.lua('vim.api.nvim_del_autocmd(_G.empty) require("pairside.selection").enable()')
    over = statistics.median(mine - empty for mine, empty in zip(with_it, without, strict=True))
    return [
        Figure(
            "cursor to selection_changed: p50",
            statistics.median(late),
            "ms",
            rounds=len(late),
            target=Target("at_most", 60),
        ),
        Figure("cost of CursorMoved over an empty autocmd", over, "µs", rounds=count, target=Target("at_most", 6)),
    ]


def start(run: Run) -> list[Figure]:
    """What the plugin adds to Neovim's start, as Neovim itself measures it."""
    rounds = 5 if run.quick else 21
    added = []
    for _ in range(rounds):
        with Home() as home:
            log = home.root / "startup.txt"
            with Neovim(home, "--startuptime", str(log), version=VERSION) as neovim:
                neovim.redrawn()
            lines = [line for line in log.read_text().splitlines() if "pairside" in line]
        # Clock, with what it sourced itself, without, and then what: "001.234  000.050  000.040: sourcing …".
        own = [float(match[1]) for line in lines if (match := re.match(r"\S+\s+\S+\s+(\S+): ", line))]
        if not own:
            raise Unavailable(f"Neovim's --startuptime names no file of pairside: {lines}")
        added.append(sum(own))
    what = f"added to Neovim's start ({COMMAND[-1]} is spawned after the first redraw)"
    return [Figure(what, statistics.median(added), "ms", rounds=rounds, target=Target("at_most", 3))]


def _text(size: int) -> str:
    line = "some words that stand in a line of a file, as lines of files are"
    return "".join(f"{number:07} {line}\n" for number in range(size // (len(line) + 9)))


_marks = iter(range(10**6, 10**7))


def _changed(old: str) -> tuple[str, str]:
    """The text with three lines changed, and a word that is on screen when the first of them is."""
    mark = f"mark{next(_marks)}"
    lines = old.splitlines(keepends=True)
    for number in (1, len(lines) // 2, len(lines) - 2):
        lines[number] = f"{mark} {number}\n"
    return "".join(lines), mark


def _percentile(values: list[float], percent: int) -> float:
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]


NEOVIM: dict[str, Callable[[Run], list[Figure]]] = {
    "neovim-blocked": blocked,
    "neovim-review": review,
    "neovim-trips": trips,
    "neovim-cursor": cursor,
    "neovim-start": start,
}
