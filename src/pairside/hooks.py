"""Owns the programs that the person wants run when something waits for them: hooks.

A hook is an argument list, run without a shell, in a process group of its own and for a bounded time. What happened
stands in its environment. Only the person's own configuration names hooks; nothing in a workspace does.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Mapping
from typing import NamedTuple

from pairside.journal import Event, Journal, is_unasked
from pairside.text import printable

REVIEW, FILE, PORT = VARIABLES = ("PAIRSIDE_REVIEW", "PAIRSIDE_FILE", "PAIRSIDE_PORT")
"""What a hook finds in its environment: the number of the review, the path of the file, the port of the server."""
COMPLAINT_BYTES = 4096
CHUNK = 64 * 1024
READS_AT_ONCE = 16
END_SECONDS = 1.0
"""How long a hook has after SIGTERM before SIGKILL."""


class Hooks(NamedTuple):
    """The argument lists, empty for none."""

    on_review: tuple[str, ...] = ()
    """Run for each proposal."""
    on_changes: tuple[str, ...] = ()
    """Run after writes without a review; what is written while it runs is worth one more run."""


class Runner:
    """Runs hooks as the journal tells what happens."""

    def __init__(
        self, hooks: Hooks, journal: Journal, *, environment: Mapping[str, str], port: int, seconds: float, at_once: int
    ) -> None:
        """A hook runs for at most `seconds`; of `on_review` at most `at_once` run at the same time."""
        self._hooks = hooks
        self._journal = journal
        self._environment = {**environment, PORT: str(port)}
        self._seconds = seconds
        self._at_once = at_once
        self._reviews: set[asyncio.Task[None]] = set()
        self._changes: asyncio.Task[None] | None = None
        self._changed: str | None = None
        """The file that changed last, for the run of `on_changes` that is due."""
        self._complaints: set[Complaints] = set()
        """Those that are still being read."""
        self._following = contextlib.ExitStack()

    def start(self) -> None:
        """Run hooks from now on."""
        if self._hooks.on_review or self._hooks.on_changes:
            self._following.enter_context(self._journal.follow(self._happened))

    @property
    def running(self) -> int:
        """How many programs run."""
        return len(self._reviews) + (self._changes is not None and not self._changes.done())

    async def close(self) -> None:
        """Run none any more, and end those that run."""
        self._following.close()
        tasks = [*self._reviews, *([self._changes] if self._changes else [])]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.gather(*tasks, return_exceptions=True)
        for complaints in tuple(self._complaints):
            complaints.close()

    def _happened(self, event: Event) -> None:
        if event.kind == "review" and self._hooks.on_review:
            if len(self._reviews) >= self._at_once:
                self._failed(
                    "on_review", f"{self._at_once} run already, so it was not run for review {event.facts['review']}"
                )
                return
            facts = {REVIEW: str(event.facts["review"]), FILE: event.facts["path"]}
            task = asyncio.get_running_loop().create_task(self._run("on_review", self._hooks.on_review, facts))
            self._reviews.add(task)
            task.add_done_callback(self._reviews.discard)
        elif event.kind == "change" and self._hooks.on_changes and is_unasked(event.facts):
            self._changed = event.facts["path"]
            if self._changes is None or self._changes.done():
                self._changes = asyncio.get_running_loop().create_task(self._run_for_changes())

    async def _run_for_changes(self) -> None:
        while self._changed is not None:
            path, self._changed = self._changed, None
            await self._run("on_changes", self._hooks.on_changes, {FILE: path})

    async def _run(self, name: str, arguments: tuple[str, ...], facts: Mapping[str, str]) -> None:
        """Run one to its end; what goes wrong is told and hurts nobody else."""
        try:
            complaints = Complaints()
        except OSError as error:
            self._failed(name, f"{arguments[0]} cannot be started: {error.strerror}")
            return
        self._complaints.add(complaints)
        complaints.over = lambda: self._complaints.discard(complaints)
        try:
            process = await asyncio.create_subprocess_exec(
                *arguments,
                env={**self._environment, **facts},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=complaints.end,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            self._failed(name, f"{arguments[0]} cannot be started: {reason}")
            complaints.close()
            return
        finally:
            complaints.started()
        try:
            async with asyncio.timeout(self._seconds):
                status = await process.wait()
        except TimeoutError:
            self._failed(name, f"{arguments[0]} still ran after {self._seconds:g} s and was ended")
        else:
            if status:
                how = f"was ended by signal {-status}" if status < 0 else f"ended with status {status}"
                said = complaints.last_line()
                self._failed(name, f"{arguments[0]} {how}" + (f": {said}" if said else ""))
        finally:
            # What a program that ended by itself has left running is meant to run on.
            if process.returncode is None:
                await _end(process)

    def _failed(self, name: str, why: str) -> None:
        self._journal.note("hook-failed", hook=f"hooks.{name}", why=printable(why))


class Complaints:
    """The end of what a program says on standard error; all before it is thrown away.

    It is read until nobody can write any more, so that what the program leaves running is never held up by it.
    """

    def __init__(self) -> None:
        """Raises OSError: there are no more descriptors."""
        self._reading, self.end = os.pipe()
        """`end` is for the program; call `started` when it has it."""
        os.set_blocking(self._reading, False)
        self._kept = b""
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._reading, self._read)
        self.over: Callable[[], None] = lambda: None
        """Called when nothing more can come."""

    def started(self) -> None:
        """The program has its end, or never will."""
        os.close(self.end)

    def last_line(self) -> str:
        """The last line that is not empty."""
        self._read()
        lines = self._kept.decode("utf-8", "replace").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "")

    def close(self) -> None:
        """Read no more."""
        if self._reading >= 0:
            self._loop.remove_reader(self._reading)
            os.close(self._reading)
            self._reading = -1
            self.over()

    def _read(self) -> None:
        for _ in range(READS_AT_ONCE):
            if self._reading < 0:
                return
            try:
                chunk = os.read(self._reading, CHUNK)
            except BlockingIOError:
                return
            if not chunk:
                self.close()
                return
            self._kept = (self._kept + chunk)[-COMPLAINT_BYTES:]


async def _end(process: asyncio.subprocess.Process) -> None:
    """End a program and all that it started, however often the wait for that is cancelled."""
    loop = asyncio.get_running_loop()
    ended = asyncio.ensure_future(process.wait())
    for number, seconds in ((signal.SIGTERM, END_SECONDS), (signal.SIGKILL, 10 * END_SECONDS)):
        # The second one also where the program has obeyed the first: what it started may not have.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, number)
        deadline = loop.time() + seconds
        while not ended.done() and (left := deadline - loop.time()) > 0:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait({ended}, timeout=left)
