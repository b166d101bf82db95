"""Who is connected, who has left and why, and what is shared: as told by a real server, and by a hostile one."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pairside.tui import agents
from pairside.tui.agents import AgentsView, ago
from tests.conftest import Serve, address_of, agent
from tests.tui.mounted import Stage, ask, mounted

HOSTILE = {
    "markup": "[red]x[/red] [/] [@click=app.quit]y",
    "control": "a\x1b[31mb\x07\x9b\nc\td\u202eb",
    "long": "n" * 1000,
    "wide": "日本語のエージェント" * 10,
    "none": None,
}


def made(clients: int = 2, departures: int = 3, **facts: Any) -> dict[str, Any]:
    """A status as a server could tell it."""
    now = time.time()
    return {
        "running": True,
        "pid": 4711,
        "port": 12345,
        "version": "1.2.3",
        "editor": "pairside",
        "workspace_folders": ["/somewhere/else"],
        "lock_file": "/somewhere/12345.lock",
        "connects": clients + departures,
        "disconnects": departures,
        "client_count": clients,
        "clients": [
            {
                "id": 100 + number,
                "agent": f"Agent {number}",
                "version": "2.1",
                "pid": 2_000_000_000 + number,
                "connected_at": now,
                "last_received_at": now,
                "calls_in_flight": 0,
                "open_reviews": 0,
            }
            for number in range(1, clients + 1)
        ],
        "departures": [
            {"client_id": number, "agent": f"Gone {number}", "reason": "lost", "code": 1006, "detail": "", "at": now}
            for number in range(1, departures + 1)
        ],
        "pending_reviews": 0,
        "unreviewed_changes": 0,
        "notices": [],
        "review_where": "here",
        "sharing": shared(),
        **facts,
    }


def shared(*, on: bool = True, **facts: Any) -> dict[str, Any]:
    """What `share` could answer."""
    now: dict[str, Any] = {"selection": None, "open_files": [], "diagnostics": {}}
    kinds = {"selection": True, "open_files": True, "diagnostics": True, "exclude": []}
    return {"on": on, **kinds, "now": now, **facts}


def under_cursor(at: Stage[AgentsView]) -> str:
    """The line with the cursor."""
    return at.line("▶").strip("▶ ")


async def test_where_nobody_is_connected_it_says_what_to_type(serving: Serve, workspace: Path) -> None:
    """The server and its folder are shown, and the commands that start an agent."""
    async with serving() as server, mounted(AgentsView(id="agents"), size=(300, 24)) as at:
        at.view.show(await ask(server, "status"))
        await at.settle()
        assert f"on port {server.port} (pid {os.getpid()})" in at.screen
        assert str(workspace) in at.screen
        assert 'No agent is connected. Run "claude --ide" in this folder' in at.screen
        assert "or: pairside run claude" in at.screen


async def test_a_client_is_shown_with_what_it_does_and_where_it_runs(serving: Serve, workspace: Path) -> None:
    """Name, version, pid, the folder of the process, since when, and what it waits for."""
    async with serving() as server, mounted(AgentsView(id="agents"), size=(300, 30)) as at:
        async with agent(address_of(server), introduce=os.getpid()) as one:
            proposal = asyncio.create_task(one.propose(str(workspace / "a.py"), "x\n"))
            status: dict[str, Any] = {}
            while not status.get("pending_reviews"):
                status = await ask(server, "status")
            at.view.show(status)
            await at.settle()
            line = at.line("Claude Code 2.1.330")
            assert f"(pid {os.getpid()})" in line
            assert "1 call in flight, 1 open review, 0 s ago" in line
            assert f"{workspace}, since " in at.screen
            assert "1 agent connected" in at.screen
            proposal.cancel()
            await asyncio.gather(proposal, return_exceptions=True)


async def test_one_that_broke_off_is_shown_with_the_reason_and_the_code(serving: Serve) -> None:
    """The newest departure is the first, in the words of the command line."""
    async with serving() as server, mounted(AgentsView(id="agents"), size=(160, 24)) as at:
        async with agent(address_of(server), introduce=os.getpid()):
            pass
        async with agent(address_of(server), introduce=os.getpid()) as one:
            one.socket.transport.abort()
            status: dict[str, Any] = {}
            while status.get("disconnects") != 2:
                status = await ask(server, "status")
        at.view.show(status)
        await at.settle()
        lines = [line for line in at.screen.split("\n") if "Claude Code: " in line]
        assert [line.split("Claude Code: ")[1].split(" (")[0] for line in lines] == ["lost 1006", "closed 1000"]
        assert "the connection broke without a goodbye" in lines[0]
        assert "2 agents left" in at.screen


async def test_what_is_shared_is_said_with_its_switch(serving: Serve, workspace: Path) -> None:
    """The selection and its end, and that nothing at all is shared, as the server tells it."""
    async with serving() as server, mounted(AgentsView(id="agents")) as at:
        (workspace / "a.py").write_text("one\ntwo\nthree\n")
        await ask(server, "select", {"path": str(workspace / "a.py"), "start": [0, 0], "end": [2, 0]})
        at.view.show(await ask(server, "status"))
        await at.settle()
        assert "Sharing is on (s turns it off)" in at.screen
        assert "Shared with agents now: lines 1 to 3 of a.py; open: a.py." in at.screen
        assert "Never shared: files like " in at.screen
        await ask(server, "share", {"on": False})
        at.view.show(await ask(server, "status"))
        await at.settle()
        assert "! Sharing is OFF (s turns it on)" in at.screen
        assert "Sharing is off, agents are told nothing: pairside share on" in at.screen


@pytest.mark.parametrize("size", [(80, 24), (40, 12)])
async def test_s_asks_for_the_other_state_of_sharing(size: tuple[int, int]) -> None:
    """What is on is to be off, and the other way round; before anything is known it asks for nothing."""
    async with mounted(AgentsView(id="agents"), size=size) as at:
        await at.press("s")
        assert at.posted == []
        at.view.show(made())
        await at.press("s")
        at.view.show(made(sharing=shared(on=False)))
        await at.press("s")
        assert [message.on for message in at.posted if isinstance(message, AgentsView.Share)] == [False, True]


@pytest.mark.parametrize("size", [(80, 24), (40, 12)])
async def test_c_asks_for_no_selection(size: tuple[int, int]) -> None:
    """The selection is to be cleared."""
    async with mounted(AgentsView(id="agents"), size=size) as at:
        at.view.show(made())
        await at.press("c")
        assert [type(message) for message in at.posted] == [AgentsView.ClearSelection]


@pytest.mark.parametrize("size", [(80, 24), (40, 12)])
async def test_keys_go_through_clients_and_departures(size: tuple[int, int]) -> None:
    """Both directions, by arrows and letters, over headings and second rows, and no further than the ends."""
    async with mounted(AgentsView(id="agents"), size=size) as at:
        at.view.show(made())
        await at.settle()
        assert under_cursor(at).startswith("pairside 1.2.3")
        steps: list[tuple[str, str]] = [
            ("down", "Agent 1"), ("j", "Agent 2"), ("j", "Gone 3"), ("down", "Gone 2"), ("k", "Gone 3"),
            ("up", "Agent 2"), ("end", "Gone 1"), ("down", "Gone 1"), ("home", "pairside"), ("up", "pairside"),
            ("G", "Gone 1"), ("g", "pairside"), ("pagedown", ""), ("pageup", "pairside"),
        ]  # fmt: skip
        for key, expected in steps:
            await at.press(key)
            assert expected in under_cursor(at), key


async def test_the_second_row_of_the_last_client_comes_with_the_first() -> None:
    """Where the list is scrolled, both rows of the entry under the cursor are on the screen."""
    async with mounted(AgentsView(id="agents"), size=(80, 14)) as at:
        at.view.show(made(12, 0))
        await at.press("end")
        assert "Agent 12" in under_cursor(at)
        lines = at.screen.split("\n")
        row = next(index for index, line in enumerate(lines) if "▶" in line)
        assert "since " in lines[row + 1]


@pytest.mark.parametrize("size", [(80, 24), (40, 12)])
async def test_enter_shows_all_facts_and_y_copies(size: tuple[int, int]) -> None:
    """Of a client y copies the pid, of one that left the facts; the page with the facts copies all of them."""
    async with mounted(AgentsView(id="agents"), size=size) as at:
        at.view.show(made())
        await at.press("y")
        assert at.copied() == "4711"
        await at.press("down", "y")
        assert at.copied() == "2000000001"
        await at.press("enter")
        assert "client: 101" in at.screen
        assert "open reviews: 0" in at.screen or size != (80, 24)
        await at.press("y")
        assert "agent: Agent 1\nversion: 2.1\nclient: 101\npid: 2000000001\nfolder: not known\n" in at.copied()
        await at.press("escape", "end", "y")
        assert "reason: lost: the connection broke without a goodbye\ncode: 1006\ndetail: not known" in at.copied()
        await at.press("enter")
        assert "code: 1006" in at.screen
        await at.press("j", "k", "q", "home", "enter")
        assert "port: 12345" in at.screen
        await at.press("enter")
        assert "port: 12345" not in at.screen


async def test_the_cursor_stays_on_its_client() -> None:
    """Whoever comes or goes above it does not matter; if it leaves, the next one has the cursor."""
    async with mounted(AgentsView(id="agents")) as at:
        at.view.show(made(3))
        await at.press("down", "down")
        assert "Agent 2" in under_cursor(at)
        status = made(3)
        del status["clients"][0]
        at.view.show(status)
        await at.settle()
        assert "Agent 2" in under_cursor(at)
        del status["clients"][0]
        at.view.show(dict(status))
        await at.settle()
        assert "Agent 3" in under_cursor(at)


async def test_the_last_message_becomes_longer_ago(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tick is enough; no new status is needed."""
    moment = time.time()
    monkeypatch.setattr(agents, "time", SimpleNamespace(time=lambda: moment))
    async with mounted(AgentsView(id="agents")) as at:
        status = made(1)
        status["clients"][0]["last_received_at"] = moment
        at.view.show(status)
        moment += 3
        at.view.tick()
        await at.settle()
        assert at.line("Agent 1").endswith("3 s ago")
        moment += 120
        at.view.tick()
        await at.settle()
        assert at.line("Agent 1").endswith("2 min ago")


def test_how_long_ago_in_words() -> None:
    """One unit, rounded down; a clock that was set back is no time at all."""
    assert [ago(one) for one in (-5, 0.9, 59.9, 60, 3599, 3600, 86400 * 2)] == [
        "0 s ago", "0 s ago", "59 s ago", "1 min ago", "59 min ago", "1 h ago", "2 d ago",
    ]  # fmt: skip


async def test_notices_are_shown_and_go() -> None:
    """They stand above everything, marked, and take no room where there are none."""
    async with mounted(AgentsView(id="agents")) as at:
        at.view.show(made(notices=["another IDE [b]serves[/b] this folder"]))
        await at.settle()
        assert at.screen.startswith(" ! another IDE [b]serves[/b] this folder\n")
        at.view.show(made())
        await at.settle()
        assert at.screen.startswith("▶ pairside")


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("size", [(80, 24), (40, 12), (20, 5)])
async def test_hostile_names_are_shown_as_they_are_and_break_nothing(name: str, size: tuple[int, int]) -> None:
    """Nothing of a name is obeyed, and no line is longer than the screen, in the list and in the facts."""
    text = HOSTILE[name]
    status = made(1, 1, editor=text, workspace_folders=[text], notices=[text], lock_file=text, version=text)
    status["clients"][0] |= {"agent": text, "version": text}
    status["departures"][0] |= {"agent": text, "detail": text, "reason": str(text), "code": None}
    now: dict[str, Any] = {"selection": None, "open_files": [text or ""], "diagnostics": None}
    status["sharing"] = shared(exclude=[text or ""], now=now)
    async with mounted(AgentsView(id="agents"), size=size) as at:
        at.view.show(status)
        for keys in (("home",), ("enter",), ("y", "escape", "down", "enter"), ("escape", "end", "enter"), ("escape",)):
            await at.press(*keys)
            assert "\x1b" not in at.screen
            assert all(len(line) <= size[0] for line in at.screen.split("\n"))
        if name == "markup" and size[0] == 80:
            assert "[red]x[/red] [/] [@click=app.quit]y" in at.screen
        if name == "control" and size[0] == 80:
            assert "a\\x1b[31mb\\x07\\x9b\\nc\\td\\u202eb" in at.screen
        await at.press("home", "enter", "y")
        assert "\x1b" not in at.copied()


async def test_a_name_with_line_ends_makes_no_fact_of_its_own() -> None:
    """A line end in a name is shown as such, so nobody can add a pid that is not theirs."""
    status = made(1, 0)
    status["clients"][0]["agent"] = "Claude\npid: 1"
    async with mounted(AgentsView(id="agents")) as at:
        at.view.show(status)
        await at.press("down", "enter", "y")
        assert "agent: Claude\\npid: 1\n" in at.copied()


async def test_what_another_version_leaves_out_is_not_shown() -> None:
    """A status with hardly any facts is shown all the same."""
    async with mounted(AgentsView(id="agents")) as at:
        at.view.show({"port": 1, "clients": [{"id": 1}], "departures": [{"reason": "new-reason"}]})
        await at.press("down", "enter", "escape", "down", "enter", "escape", "s", "y")
        assert "1 agent connected" in at.screen
        assert "The agent: new-reason" in at.screen


async def test_where_no_server_is_nothing_stands_as_if_it_were() -> None:
    """An empty status takes everything from the screen, and keys ask for nothing."""
    async with mounted(AgentsView(id="agents")) as at:
        at.view.show(made(notices=["beware"]))
        await at.settle()
        at.view.show({})
        await at.press("s", "y", "enter", "down")
        assert at.screen.split("\n")[:-1] == ["  Nothing is known yet.", *[""] * 22]
        assert at.posted == []
        at.view.show(made())
        await at.settle()
        assert "Sharing is on" in at.screen


async def test_the_mouse_does_what_keys_do() -> None:
    """A click on either row of a client goes there, a second one shows its facts, one on the switch turns it."""
    async with mounted(AgentsView(id="agents")) as at:
        at.view.show(made())
        await at.settle()
        row = next(index for index, line in enumerate(at.screen.split("\n")) if "Agent 2" in line)
        await at.pilot.click(offset=(10, row + 1))
        await at.settle()
        assert "Agent 2" in under_cursor(at)
        row = next(index for index, line in enumerate(at.screen.split("\n")) if "Sharing is on" in line)
        await at.pilot.click(offset=(3, row))
        await at.settle()
        assert [message.on for message in at.posted if isinstance(message, AgentsView.Share)] == [False]
        row = next(index for index, line in enumerate(at.screen.split("\n")) if "Agent 1" in line)
        await at.pilot.click(offset=(10, row), times=2)
        await at.settle()
        assert "client: 101" in at.screen


async def test_without_colour_nothing_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """The cursor, the notices and the switch are told by signs and words."""
    monkeypatch.setenv("NO_COLOR", "1")
    async with mounted(AgentsView(id="agents")) as at:
        assert at.app.no_color
        at.view.show(made(notices=["beware"], sharing=shared(on=False)))
        await at.press("down")
        assert "Agent 1" in under_cursor(at)
        assert "! beware" in at.screen
        assert "! Sharing is OFF" in at.screen


async def test_it_survives_every_size() -> None:
    """From very small to large and back: the cursor is on the screen, and the keys below say what can be done."""
    async with mounted(AgentsView(id="agents")) as at:
        at.view.show(made(8, 8))
        await at.press("end")
        for size in ((20, 5), (40, 12), (10, 3), (120, 40), (80, 24)):
            await at.pilot.resize_terminal(*size)
            await at.settle()
            await at.press("up", "down")
            assert "▶" in at.screen, size
        for words in ("Details", "Sharing on/off", "Clear selection", "Copy"):
            assert words in at.screen
