"""Clocks that jump: deadlines do not care, and what is told by the clock of the wall errs on the safe side."""

from __future__ import annotations

import ast
import os
import subprocess
import time
from pathlib import Path

import pytest

from pairside import runtime, testing
from pairside.agents.claude import discovery
from pairside.images import Kind, Store
from pairside.limits import Limits
from pairside.snapshots import WorkTree
from tests.conftest import Serve
from tests.raw import RawClient
from tests.until import until

SOURCE = Path(runtime.__file__).parent
WALL = {
    "changes.py": "when changes were made and turns began: compared with the times of files",
    "clients.py": "when a client came and left, for the person",
    "journal.py": "when something happened, for the person",
    "peer.py": "the wall time of a moment, for the person",
    "reviews.py": "when a proposal came, for the person",
    "runtime.py": "how old a record is: the time of its file",
    "snapshots.py": "when a look was begun: compared with the times of files",
}
"""The modules of a server that may ask what time it is, and for what. All else, every deadline first, is monotonic."""
SHOWS = ("cli/", "tui/")
"""What shows things to a person may say how long ago they were."""
HOUR = 3600.0


def asks_for_the_time(path: Path) -> bool:
    """Whether a module calls `time.time`, or anything of `datetime` that tells the present."""
    tree = ast.parse(path.read_text())
    return any(
        isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and (node.value.id, node.attr)
        in {("time", "time"), ("time", "time_ns"), ("datetime", "now"), ("date", "today")}
        for node in ast.walk(tree)
    )


def test_only_what_tells_a_person_or_looks_at_files_asks_what_time_it_is() -> None:
    """A deadline by the wall clock would come at once, or never, when that is set."""
    asking = {str(path.relative_to(SOURCE)) for path in SOURCE.rglob("*.py") if asks_for_the_time(path)}
    assert {name for name in asking if not name.startswith(SHOWS)} == set(WALL)


@pytest.mark.parametrize("jump", [-24 * HOUR, 24 * HOUR])
async def test_clients_and_handshakes_are_timed_by_the_monotonic_clock(
    jump: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clock of the wall jumps by a day: nobody is dropped for it, and half a handshake still has its time."""
    really = time.time
    async with testing.server(limits=Limits(ping_seconds=0.05, silence_seconds=0.5, handshake_seconds=0.5)) as running:
        async with testing.Agent.connect(running, introduce=1) as agent:
            monkeypatch.setattr(time, "time", lambda: really() + jump)
            began = time.monotonic()
            half = await RawClient.tcp(running.port)
            await half.send(b"GET / HTTP/1.1\r\n")
            assert await half.response() == 408
            assert 0.4 < time.monotonic() - began < 5
            half.close()
            assert await agent.request("ping") == {}
            assert len(running.bridge.clients) == 1
        await until(lambda: not running.bridge.clients, "it has left")


async def test_a_record_from_before_the_clock_was_set_back_is_swept_and_not_taken_over(
    serving: Serve, environment: dict[str, str]
) -> None:
    """It would be young for as long as the clock was set back; its port and token stay where they are."""
    state = runtime.directory(environment)
    with subprocess.Popen(["true"]) as gone:
        pass
    lock = discovery.LockFile(environment, port=12_345, token="f" * 32, ide="x")
    lock.write(("/elsewhere",))
    Path(lock.path).write_text(Path(lock.path).read_text().replace(f'"pid": {os.getpid()}', f'"pid": {gone.pid}'))
    runtime.write_record(state, 12_345, "f" * 32, ("/elsewhere",))
    path = Path(runtime.record_path(state, 12_345))
    path.write_text(path.read_text().replace(f'"pid": {os.getpid()}', f'"pid": {gone.pid}'))
    os.utime(path, (time.time() + HOUR, time.time() + HOUR))
    async with serving() as server:
        assert not server.adopted
        assert not path.exists()
        assert not os.path.exists(lock.path)


def test_what_is_new_after_the_clock_was_set_back_is_uncertain_once_and_never_deleted_by_mistake(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that seems older than the look before could have been there: an undo leaves it. Edits are exact."""
    top = tmp_path / "top"
    subprocess.run(["git", "init", "-q", str(top)], check=True)
    (top / "a").write_text("1\n")
    tree = WorkTree(
        str(top), [str(top)], git_dir=str(tmp_path / "git"), store=Store(), file_bytes=10**6, files=100,
        excluded=lambda path: False,
    )  # fmt: skip
    really = time.time
    monkeypatch.setattr(time, "time", lambda: really() + HOUR)
    tree.snapshot()
    monkeypatch.setattr(time, "time", really)
    (top / "a").write_text("two\n")  # git compares whole seconds, which are the same here
    (top / "new").write_text("1\n")
    found = {os.path.basename(one.path): one for one in tree.snapshot().differences}
    assert (found["a"].before.is_known, found["a"].after.is_known) == (True, True)
    assert found["new"].before.kind is Kind.OTHER
    (top / "later").write_text("1\n")
    (later,) = tree.snapshot().differences
    assert later.before.kind is Kind.NONE
