"""The person's programs: when they run, with what, how long, and what is told when they fail."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from pairside import hooks as module
from pairside.hooks import Hooks, Runner
from pairside.journal import Journal

from .until import until

PORT = 12345


@asynccontextmanager
async def running(hooks: Hooks, *, seconds: float = 20.0, at_once: int = 8) -> AsyncIterator[Journal]:
    """A journal whose events run hooks."""
    journal = Journal()
    runner = Runner(
        hooks, journal, environment={"PATH": os.environ["PATH"]}, port=PORT, seconds=seconds, at_once=at_once
    )
    runner.start()
    try:
        yield journal
    finally:
        await runner.close()


def shell(script: str, *arguments: object) -> tuple[str, ...]:
    return ("sh", "-c", script, "sh", *map(str, arguments))


def review(journal: Journal, id: int = 1, path: str = "/w/a.py") -> None:
    journal.note("review", 1, review=id, path=path, agent="Claude Code")


def change(journal: Journal, path: str) -> None:
    journal.note("change", 1, path=path, means="edit", reviewed=False)


def failures(journal: Journal) -> list[str]:
    return [f"{event.facts['hook']}: {event.facts['why']}" for event in journal.events if event.kind == "hook-failed"]


async def failure(journal: Journal) -> str:
    await until(lambda: bool(failures(journal)), "a failure is told", 10)
    return failures(journal)[0]


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    with open(f"/proc/{pid}/stat") as file:  # whoever adopted it may not have reaped it yet
        return file.read().rpartition(")")[2].split()[0] == "Z"


async def test_a_proposal_runs_its_program_with_what_it_is_about(tmp_path: Path) -> None:
    """Number, file and port in the environment; arguments as they are, since no shell reads them."""
    out = tmp_path / "out"
    program = shell(
        'echo "$PAIRSIDE_REVIEW|$PAIRSIDE_FILE|$PAIRSIDE_PORT|$2" > "$1.new"; mv "$1.new" "$1"', out, "$(x) *"
    )
    async with running(Hooks(on_review=program)) as journal:
        review(journal, 7, "/w/odd name.py")
        await until(out.exists, "the program ran")
        assert out.read_text() == f"7|/w/odd name.py|{PORT}|$(x) *\n"
        assert failures(journal) == []


async def test_other_events_and_empty_hooks_run_nothing(tmp_path: Path) -> None:
    """A hook that is not set is not missed."""
    async with running(Hooks(on_changes=shell('touch "$1"', tmp_path / "changed"))) as journal:
        review(journal)
        journal.note("decided", 1, review=1)
        change(journal, "/w/a.py")
        await until((tmp_path / "changed").exists, "the other one ran")
        assert failures(journal) == []


async def test_only_what_nobody_was_asked_about_runs_the_program(tmp_path: Path) -> None:
    """Neither a write that was reviewed, nor what was changed by other means, nor an undo."""
    log = tmp_path / "log"
    async with running(Hooks(on_changes=shell('echo "$PAIRSIDE_FILE" >> "$1"', log))) as journal:
        for means, reviewed in (("edit", True), ("other", False), ("undo", False)):
            journal.note("change", 1, path=f"/w/{means}", means=means, reviewed=reviewed)
        change(journal, "/w/a.py")
        await until(lambda: log.exists() and log.read_text().endswith("\n"), "the program ran")
    assert log.read_text() == "/w/a.py\n"


async def test_changes_while_the_program_runs_lead_to_one_more_run(tmp_path: Path) -> None:
    """A hundred writes in a turn are not a hundred programs; the last file is the one that is named."""
    out, gate = tmp_path / "out", tmp_path / "gate"
    os.mkfifo(gate)
    program = shell('echo "$PAIRSIDE_FILE" >> "$1"; read -r line < "$2"', out, gate)
    async with running(Hooks(on_changes=program)) as journal:
        change(journal, "/w/0")
        await until(out.exists, "the first run")
        for number in range(1, 100):
            change(journal, f"/w/{number}")
        for lines in (1, 2):
            await until(lambda lines=lines: len(out.read_text().splitlines()) == lines, "a run")  # type: ignore[misc]
            opened: list[int] = []
            await until(lambda opened=opened: _open(gate, opened), "the program waits")  # type: ignore[misc]
            os.write(opened[0], b"go on\n")
            os.close(opened[0])
        change(journal, "/w/again")
        await until(lambda: len(out.read_text().splitlines()) == 3, "a run")
    assert out.read_text().splitlines() == ["/w/0", "/w/99", "/w/again"]


def _open(fifo: Path, opened: list[int]) -> bool:
    """Whether somebody reads the fifo; its other end is `opened` then."""
    try:
        opened.append(os.open(fifo, os.O_WRONLY | os.O_NONBLOCK))
    except OSError:
        return False
    return True


@pytest.mark.parametrize(
    ("program", "told"),
    [
        (("no-such-program-of-ours",), "no-such-program-of-ours cannot be started: No such file or directory"),
        (("/",), "/ cannot be started: Permission denied"),
        (shell("exit 3"), "sh ended with status 3"),
        (shell("echo first >&2; echo 'no \x1b]0;display' >&2; exit 1"), "sh ended with status 1: no \\x1b]0;display"),
        (shell("kill -9 $$"), "sh was ended by signal 9"),
    ],
)
async def test_a_program_that_fails_is_told_with_its_last_words(program: tuple[str, ...], told: str) -> None:
    """Whoever waits for a popup that never comes learns why."""
    async with running(Hooks(on_review=program)) as journal:
        review(journal)
        assert await failure(journal) == f"hooks.on_review: {told}"


async def test_much_on_standard_error_costs_no_memory_and_the_end_of_it_is_told() -> None:
    """A megabyte is no obstacle to the program, and four kilobytes of it are looked at."""
    async with running(
        Hooks(on_review=shell("head -c 1000000 /dev/zero >&2; echo >&2; echo the end >&2; exit 1"))
    ) as journal:
        review(journal)
        assert (await failure(journal)).endswith("status 1: the end")


async def test_a_program_that_runs_too_long_is_ended_with_all_that_it_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also one that does not listen to SIGTERM."""
    monkeypatch.setattr(module, "END_SECONDS", 0.2)
    pids = tmp_path / "pids"
    program = shell('trap "" TERM; sleep 60 & echo $$ $! > "$1.new"; mv "$1.new" "$1"; wait', pids)
    async with running(Hooks(on_review=program), seconds=3.0) as journal:
        review(journal)
        assert await failure(journal) == "hooks.on_review: sh still ran after 3 s and was ended"
        for pid in map(int, pids.read_text().split()):
            await until(lambda pid=pid: gone(pid), "the process is gone")  # type: ignore[misc]


async def test_the_end_of_the_server_ends_programs(tmp_path: Path) -> None:
    """Nothing is left behind."""
    pids = tmp_path / "pids"
    program = shell('sleep 60 & echo $$ $! > "$1.new"; mv "$1.new" "$1"; wait', pids)
    async with running(Hooks(on_review=program, on_changes=program)) as journal:
        review(journal)
        await until(pids.exists, "the program runs")
    for pid in map(int, pids.read_text().split()):
        await until(lambda pid=pid: gone(pid), "the process is gone")  # type: ignore[misc]


async def test_what_a_program_leaves_running_when_it_ends_runs_on(tmp_path: Path) -> None:
    """A hook may open a terminal window and be done."""
    pid = tmp_path / "pid"
    journal = Journal()
    program = shell('sleep 60 & echo $! > "$1"', pid)
    runner = Runner(Hooks(on_review=program), journal, environment=os.environ, port=PORT, seconds=20.0, at_once=8)
    runner.start()
    review(journal)
    assert runner.running == 1
    await until(lambda: runner.running == 0, "the program ended")
    await runner.close()
    left = int(pid.read_text())
    assert not gone(left)
    os.kill(left, signal.SIGKILL)


async def test_so_many_programs_run_at_once_and_no_more(tmp_path: Path) -> None:
    """For one more proposal none is run, and that is told."""
    folder = tmp_path / "runs"
    folder.mkdir()
    program = shell('touch "$1/$PAIRSIDE_REVIEW"; sleep 60', folder)
    async with running(Hooks(on_review=program), at_once=2) as journal:
        for id in (1, 2, 3):
            review(journal, id)
        assert failures(journal) == ["hooks.on_review: 2 run already, so it was not run for review 3"]
        await until(lambda: sorted(os.listdir(folder)) == ["1", "2"], "two programs run")


async def test_programs_stand_in_a_process_group_of_their_own(tmp_path: Path) -> None:
    """Ctrl-C in the terminal of the server is not for them."""
    out = tmp_path / "out"
    async with running(
        Hooks(on_review=shell('echo $$ > "$1.new"; ps -o pgid= -p $$ >> "$1.new"; mv "$1.new" "$1"', out))
    ) as journal:
        review(journal)
        await until(out.exists, "the program ran")
    pid, group = out.read_text().split()
    assert pid == group != str(os.getpgrp())


async def test_a_program_that_never_stops_complaining_costs_nothing_but_its_time(tmp_path: Path) -> None:
    """Nothing is kept of it but the end, neither in memory nor on disk, and the event loop goes on."""
    descriptors = len(os.listdir("/proc/self/fd"))
    async with running(Hooks(on_review=shell("while :; do echo complaint; done >&2")), seconds=1.0) as journal:
        review(journal)
        assert "still ran after 1 s" in await failure(journal)
    assert len(os.listdir("/proc/self/fd")) == descriptors


async def test_the_child_of_a_program_that_obeys_is_ended_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also if only the program itself listens to SIGTERM."""
    monkeypatch.setattr(module, "END_SECONDS", 0.2)
    pids = tmp_path / "pids"
    program = shell(
        'sh -c \'trap "" TERM; echo $$ > "$1.new"; mv "$1.new" "$1"; while :; do sleep 1; done\' x "$1"', pids
    )
    async with running(Hooks(on_review=program)) as journal:
        review(journal)
        await until(pids.exists, "the child runs")
    pid = int(pids.read_text())
    await until(lambda: gone(pid), "the child is gone")
