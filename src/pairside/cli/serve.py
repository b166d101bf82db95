"""Owns `pairside serve`: the settings, the signals, and what is printed meanwhile.

What happens is told by an observer like any other, in a thread of its own: a terminal that takes no output (Ctrl-S, a
pipe that nobody reads) holds up that thread and no agent.
"""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import select
import sys
import threading
from typing import TYPE_CHECKING, Any

import click

import pairside as package
from pairside import config
from pairside.cli.client import Closed, NotAnswering, Refused, Server, find, servers_near
from pairside.cli.common import coloured, json_text
from pairside.cli.companion import BOUND, EXPECTED, GOES_ON, WAYS
from pairside.cli.exits import Exit, Failure
from pairside.cli.signals import Signals
from pairside.phrases import Commentary, clock, headline, warnings, whole
from pairside.text import printable

if TYPE_CHECKING:
    import asyncio

    from pairside.serve import Serving

CHECKED = "PAIRSIDE_CHECKED"
"""The variable by which a process knows that it is only to tell whether it would start; the id of its parent."""
CHECK_SECONDS = 15.0
COME_BACK_SECONDS = 20.0
"""So long agents that did not say goodbye may take to come back: Claude Code tries for about 15 s."""
DIFF_LINES = 200
"""Of a longer diff only the start is told; `pairside show` has the rest."""
LEAVE_SECONDS = 0.5
LINES_WAITING = 10_000
LOOK_SECONDS = 0.1
RESTARTED = "PAIRSIDE_RESTARTED"
"""The variable by which a process that was started anew knows it: its own id, and then those of its agents."""
PRINT_SECONDS = 1.0
"""How long the last lines may take when the server stops."""


def ports_and_log(port_range: str | None, verbose: int) -> dict[str, str]:
    """The settings that flags give."""
    flags = {}
    if port_range is not None:
        flags["serve.ports"] = port_range
    if verbose:
        flags["serve.log"] = config.LEVELS[min(verbose, len(config.LEVELS) - 1)]
    return flags


@click.command()
@click.option(
    "--workspace",
    multiple=True,
    metavar="DIR",
    type=click.Path(exists=True, file_okay=False),
    help="Serve this folder, not the current one. May be repeated; the first is the root.",
)
@click.option("--port-range", metavar="MIN-MAX", help="Listen on one of these ports.")
@click.option("--new", is_flag=True, help="Serve even if another pairside serves the folder already.")
@click.option("--verbose", "-v", count=True, help="Tell more: -v progress and calls, -vv everything.")
@click.option("--json", "as_json", is_flag=True, help="Print every event as a line of JSON, the first when ready.")
@click.option("--companion", type=click.Choice(WAYS), hidden=True)
def serve(
    workspace: tuple[str, ...] = (),
    port_range: str | None = None,
    new: bool = False,
    verbose: int = 0,
    as_json: bool = False,
    companion: str | None = None,
) -> None:
    """Serve folders to agents until stopped.

    The first line says that agents can connect. Then come the agents that arrive and leave, the proposals with the
    commands that decide them, the decisions, what was written without a review, what each turn changed in all, and
    undos. SIGTERM, SIGINT and SIGHUP end it with status 0. The exit status is 7 if another pairside serves the folder
    already.
    """
    signals = Signals()
    restarted = _restarted()
    again: Serving | None = None
    import asyncio

    try:
        settings = config.load(os.environ, ports_and_log(port_range, verbose))
    except config.ConfigError as error:
        raise Failure(printable(str(error)), Exit.USAGE) from None
    if os.environ.pop(CHECKED, None) == str(os.getppid()):
        _check(list(workspace))
        return
    output = Output()
    logging.basicConfig(
        handlers=[_LogLines(output)],
        level=settings.log.upper(),
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        datefmt="%H:%M:%S",
    )
    # At DEBUG it logs the headers of the handshake, the token among them.
    logging.getLogger("websockets").setLevel(max(logging.INFO, logging.getLogger().level))
    try:
        teller = None if companion else _Json(output) if as_json else _Prose(output, calls=verbose > 0)
        again = asyncio.run(
            _serve(list(workspace), settings, output, teller, signals, new=new, restarted=restarted, until=companion)
        )
    finally:
        output.close(PRINT_SECONDS)
        if again is None:
            signals.ignore()
    if again is not None and not signals.hold():
        # The same process: whoever supervises it, and the terminal that it stands in, notice nothing.
        left = [one.pid or 0 for one in again.bridge.clients.departures if one.why.reason == "shutdown"]
        os.environ[RESTARTED] = " ".join(map(str, (os.getpid(), *left)))
        try:
            os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
        except OSError as error:
            raise Failure(f"pairside cannot start anew: {error.strerror}: {sys.executable}") from None
    if again is not None:
        signals.ignore()
        again.leave_nothing()


def _check(folders: list[str]) -> None:
    """Do what else can fail before a server is there, and print the version: this one would start.

    Raises:
        Failure: It would not.
    """
    from pairside.serve import StartError, real_folders

    try:
        real_folders(folders or [os.getcwd()])
    except (StartError, OSError) as error:
        raise Failure(printable(str(error)), Exit.USAGE) from None
    click.echo(package.__version__)


async def next_version() -> str:
    """The version that would start in our place, with our own arguments.

    Raises:
        RestartError: None would.
    """
    import asyncio

    from pairside.observers import RestartError

    try:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *sys.orig_argv[1:],
            env={**os.environ, CHECKED: str(os.getpid())},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        try:
            async with asyncio.timeout(CHECK_SECONDS):
                output, errors = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
    except (OSError, TimeoutError) as error:
        raise RestartError(
            f"pairside would not start again, so the one that runs goes on: {error or 'no answer'}"
        ) from None
    version = output.decode("utf-8", "replace").strip()
    if process.returncode or not version:
        why = next(reversed(errors.decode("utf-8", "replace").strip().splitlines()), "it says nothing")
        raise RestartError(f"pairside would not start again, so the one that runs goes on: {printable(why)}")
    return version


def _restarted() -> list[int] | None:
    """The processes of the agents that this one left when it started anew, 0 for one that was not known.

    None if it was not started anew; told once.
    """
    pid, *left = os.environ.pop(RESTARTED, "").split(" ")
    return [int(one) for one in left if one.isdecimal()] if pid == str(os.getpid()) else None


async def _serve(
    folders: list[str],
    settings: config.Config,
    output: Output,
    teller: _Prose | _Json | None,
    signals: Signals,
    *,
    new: bool,
    restarted: list[int] | None,
    until: str | None,
) -> Serving | None:
    """Serve until stopped; returns the server if this process is to start it anew.

    Without a `teller` only the port is printed, and after the end of standard input it ends when `until` says, one of
    `companion.WAYS`.
    """
    import asyncio

    from pairside.cli.loop import complain_in_words
    from pairside.serve import StartError, real_folders, serving

    loop = asyncio.get_running_loop()
    complain_in_words(loop)
    stopping = asyncio.Event()
    starting = asyncio.current_task()
    assert starting is not None

    def stop() -> None:
        if not stopping.is_set() and not started:
            starting.cancel()
        stopping.set()

    def ask() -> None:
        loop.call_soon_threadsafe(stop)

    def parent() -> None:
        if not os.read(0, 1024):
            loop.remove_reader(0)
            if until != BOUND and (started or restarted is not None):
                left.set()
            else:
                stop()

    left = asyncio.Event()
    started = False
    if teller is None:
        loop.add_reader(0, parent)
    try:
        real = real_folders(folders or [os.getcwd()])
        check = (lambda: None) if new or restarted is not None else (lambda: refuse_if_served(real))
        with signals.call(ask):
            async with serving(
                real,
                limits=settings.limits,
                environment=os.environ,
                share=settings.share,
                reviews_here=settings.review_where == "here",
                recording=settings.changes,
                hooks=settings.hooks,
                next_version=next_version,
                again=restarted is not None,
                before=check,
            ) as served:
                started = True
                if teller is None:
                    output.line(str(served.port))
                else:
                    teller.ready(served)
                    watcher = threading.Thread(target=_watch, args=(served.port, teller), name="observer", daemon=True)
                    watcher.start()
                ends = {
                    loop.create_task(end)
                    for end in (
                        stopping.wait(),
                        served.stopped.wait(),
                        _unused(served, left, output, restarted=restarted, until=until),
                    )
                }
                try:
                    await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    for end in ends:
                        end.cancel()
    except asyncio.CancelledError:
        if not stopping.is_set():
            raise
    except (StartError, OSError) as error:
        raise Failure(f"pairside cannot start: {printable(str(error))}") from None
    if started and served.restarting.is_set() and not stopping.is_set():
        return served
    if teller is not None:
        teller.stopped()
    return None


async def _unused(
    served: Serving, left: asyncio.Event, output: Output, *, restarted: list[int] | None, until: str | None
) -> None:
    """Wait until whoever started the server has left it, nobody else uses it, and no agent is expected back.

    If that takes longer than a look it is told once, with `GOES_ON`.
    """
    import asyncio
    import time

    from pairside.runtime import is_alive

    used_at = time.monotonic()
    await left.wait()
    departures = served.bridge.clients.departures
    if departures:
        used_at = time.monotonic() - max(0.0, time.time() - departures[-1].at)
    # Whoever has started it leaves as an observer too, in the same moment.
    tell_at, told = time.monotonic() + LEAVE_SECONDS, False
    while True:
        if served.in_use():
            used_at = time.monotonic()
        else:
            if not departures:  # who was here before a restart comes back
                expected = restarted is not None and (
                    until == EXPECTED or any(not pid or is_alive(pid) for pid in restarted)
                )
            else:  # and so does an agent that lost its connection and lives
                last = departures[-1].pid
                expected = until == EXPECTED and last is not None and is_alive(last)
            if not expected or time.monotonic() - used_at > COME_BACK_SECONDS:
                return
        if not told and time.monotonic() > tell_at:
            output.line(GOES_ON)
            told = True
        await asyncio.sleep(LOOK_SECONDS)


def refuse_if_served(folders: tuple[str, ...]) -> None:
    """Make sure that no other embedded pairside serves these folders: agents would connect to neither.

    Raises:
        Failure: One does.
    """
    for server in servers_near(folders[0]):
        with contextlib.closing(server):
            if server.facts.get("editor") == "pairside" and all(server.serves(folder) for folder in folders):
                raise Failure(
                    f"pairside serves {', '.join(map(printable, server.folders))} already, on port {server.port} "
                    f"(pid {server.facts['pid']}). To review there: pairside review. "
                    "To start another one all the same: pairside serve --new",
                    Exit.SERVED,
                )


class Output:
    """Lines on their way to standard output and standard error, written by a thread that may be held up."""

    def __init__(self) -> None:
        self._waiting: queue.Queue[tuple[int, bytes] | None] = queue.Queue(LINES_WAITING)
        self._lost = False
        context = click.get_current_context(silent=True)
        self._colour = os.isatty(1) and (context is None or context.color is not False)
        self._thread = threading.Thread(target=self._write, name="output", daemon=True)
        self._thread.start()

    def line(self, line: str, *, descriptor: int = 1) -> None:
        """Print a line as soon as possible; where too many wait it is lost."""
        if not self._colour:
            line = click.unstyle(line)
        encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
        try:
            self._waiting.put_nowait((descriptor, (line + "\n").encode(encoding, "backslashreplace")))
        except queue.Full:
            self._lost = True

    def close(self, seconds: float) -> None:
        """Write what waits, for at most that long."""
        with contextlib.suppress(queue.Full):
            self._waiting.put_nowait(None)
            self._thread.join(seconds)

    def _write(self) -> None:
        while (entry := self._waiting.get()) is not None:
            descriptor, data = entry
            try:
                self._write_all(descriptor, data)
                if self._lost and self._waiting.empty():
                    self._lost = False
                    self._write_all(1, b"(Lines were lost: nobody read them.)\n")
            except OSError:
                continue  # nobody reads it any more; the agents are served all the same

    @staticmethod
    def _write_all(descriptor: int, data: bytes) -> None:
        """Write, however long it takes; not through sys.stdout, which would hold up the end of the process too."""
        while data:
            try:
                data = data[os.write(descriptor, data) :]
            except BlockingIOError:  # whoever shares the terminal with us has made it so
                select.select([], [descriptor], [])


class _LogLines(logging.Handler):
    """The package's log, line by line on standard error."""

    def __init__(self, output: Output) -> None:
        super().__init__()
        self._output = output

    def emit(self, record: logging.LogRecord) -> None:
        """Print a record; what an agent has put into it cannot reach the terminal as it is."""
        try:
            text = self.format(record)
        except Exception:
            self.handleError(record)
            return
        for line in text.split("\n"):
            self._output.line(printable(line), descriptor=2)


class _Prose:
    """Tells a person what happens."""

    def __init__(self, output: Output, *, calls: bool) -> None:
        self._say = output.line
        self.calls = calls
        self._commentary = Commentary(calls=calls)

    def ready(self, served: Serving) -> None:
        """Agents can connect."""
        folders = ", ".join(map(printable, served.bridge.folders.value))
        self._say(
            f"pairside {package.__version__} serves {folders} on port {served.port} for Claude Code: "
            'run "claude --ide" there'
        )
        if served.adopted:
            self._say("Port and token are those of the server before: its agents come back by themselves.")
        for notice in served.notices():
            self._say(f"Note: {printable(notice)}")

    def stopped(self) -> None:
        """The server is gone."""
        self._say("pairside has stopped.")

    def happened(self, server: Server, event: dict[str, Any]) -> None:
        """Tell an event; a proposal with its diff and the commands that decide it."""
        for line in self._commentary.lines(event):
            self._say(line)
        if event["kind"] != "review":
            return
        id = event["review"]
        try:
            proposal = server.request("review/show", {"id": id, "lines": DIFF_LINES})
        except Refused:
            return  # decided already; that is told next
        self._say(f"{clock(event['at'])} {headline(proposal)}")
        for line in warnings(proposal):
            self._say(line)
        for line in whole(proposal):
            self._say(coloured(line))
        if proposal["cut"] or not proposal["divisible"]:
            self._say(f"There is more: pairside show {id}")
        self._say(f"To decide: pairside accept {id}, pairside reject {id} or pairside review {id}")

    def idle(self) -> float | None:
        """Tell what has waited long enough; in how many seconds to come back, None if there is no need."""
        for line in self._commentary.overdue():
            self._say(line)
        return self._commentary.patience


class _Json:
    """Tells programs what happens, a line of JSON for each event."""

    calls = True

    def __init__(self, output: Output) -> None:
        self._output = output

    def _say(self, value: dict[str, Any]) -> None:
        self._output.line(json_text(value))

    def ready(self, served: Serving) -> None:
        """Agents can connect."""
        self._say(
            {
                "kind": "serving",
                "version": package.__version__,
                "pid": os.getpid(),
                "port": served.port,
                "workspace_folders": list(served.bridge.folders.value),
                "lock_file": served.lock_file,
                "adopted": served.adopted,
                "notices": served.notices(),
            }
        )

    def stopped(self) -> None:
        """The server is gone."""
        self._say({"kind": "stopped"})

    def happened(self, server: Server, event: dict[str, Any]) -> None:
        """Tell an event."""
        self._say(event)

    def idle(self) -> float | None:
        """Nothing waits."""
        return None


def _watch(port: int, teller: _Prose | _Json) -> None:
    """Tell what happens until the server is gone."""
    with contextlib.suppress(Failure, Closed, NotAnswering, Refused):
        server = find(port=port)
        with contextlib.closing(server):
            server.follow(calls=teller.calls)
            # Agents that come back by themselves may have been here before this thread.
            last = 0
            for event in server.request("log")["events"]:
                last = event["number"]
                teller.happened(server, event)
            while True:
                for event in server.events():
                    if event["number"] > last:
                        teller.happened(server, event)
                select.select([server], [], [], teller.idle())
