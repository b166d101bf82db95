"""What happened, and the messages on the wire: bounded, filtered, followed, and all facts of each."""

from __future__ import annotations

import functools
import os
import time
from pathlib import Path
from typing import Any

import pytest
from textual.events import MouseScrollDown, MouseScrollUp
from textual.widget import Widget

from pairside import phrases
from pairside.tui.log import EVENTS, LogView
from pairside.tui.reading import Copy
from tests.conftest import Serve, address_of, agent
from tests.tui.mounted import Stage, ask, mounted
from tests.until import until

SIZES = [(80, 24), (40, 12)]
KINDS: dict[str, dict[str, Any]] = {
    "call": {"tool": "openDiff", "seconds": 0.5, "outcome": "ok"},
    "change": {
        "change": 1, "turn": 2, "path": "/a.py", "agent": "Claude Code", "pid": 1, "means": "edit", "reviewed": False,
        "added": 1, "removed": 2, "first": True,
    },
    "connected": {},
    "decided": {"review": 1, "path": "/a.py", "agent": "Claude Code", "outcome": "accepted", "by": "me"},
    "disconnected": {"agent": "Claude Code", "pid": 1, "reason": "lost", "code": 1006, "detail": "gone"},
    "forgotten": {"turn": 1, "changes": 3},
    "hook-failed": {"hook": "hooks.on_review", "why": "no such program"},
    "introduced": {"agent": "Claude Code", "version": "2.1", "pid": 1},
    "mention-expired": {"path": "/a.py", "seconds": 60.0},
    "mentioned": {"path": "/a.py"},
    "restarting": {"version": "2.0"},
    "review": {"review": 1, "path": "/a.py", "agent": "Claude Code"},
    "review-where": {"here": False},
    "rival": {"ide": "Other", "pid": 2, "port": 3, "notice": "another IDE serves this folder"},
    "rival-gone": {"ide": "Other", "pid": 2, "port": 3},
    "sharing": {"on": False},
    "turn": {"turn": 1, "agent": "Claude Code", "pid": 1},
    "turn-ended": {
        "turn": 1, "agent": "Claude Code", "pid": 1, "files": 1, "added": 1, "removed": 1, "unreviewed": 1,
        "by_other_means": 1,
    },
    "undone": {"turn": 1, "by": "me", "paths": ["/a.py", "/b.py"]},
}  # fmt: skip
"""Each kind of event that docs/reference.md names, with its facts."""
STARTED = time.time()
HOSTILE = [
    "[red]x[/red] [/] [@click=app.quit]y a\x1b[31mb\x07\x9b\nc\td\u202eb",
    "n" * 1000,
    "日本語のエージェント" * 10,
    None,
]


def event(number: int, kind: str = "mentioned", client: Any = 1, **facts: Any) -> dict[str, Any]:
    """An event, told just now; of a mention the file is called after its number."""
    known = KINDS.get(kind, {}) | ({"path": f"/file-{number}."} if kind == "mentioned" else {})
    return {"number": number, "at": time.time(), "kind": kind, "client_id": client, **known, **facts}


def several(first: int, last: int) -> list[dict[str, Any]]:
    """Events with these numbers."""
    return [event(number) for number in range(first, last + 1)]


def frame(number: int, contents: str = "{}", direction: str = "<") -> dict[str, Any]:
    """A message on the wire."""
    return {
        "at": STARTED + number / 1000,
        "client_id": 1,
        "direction": direction,
        "length": number,
        "contents": contents,
    }


def rows(at: Stage[LogView]) -> list[str]:
    """The rows on the screen, without the scroll bar."""
    lines = [line.rstrip("▁▂▃▄▅▆▇ ") for line in at.screen.split("\n")[1:-1]]
    return [line for line in lines if line and "Filter:" not in line]


def head(at: Stage[LogView]) -> str:
    """The first line."""
    return at.screen.split("\n")[0]


def wired(at: Stage[LogView]) -> list[bool]:
    """What was asked for of the wire."""
    return [message.on for message in at.posted if isinstance(message, LogView.Wire)]


def wheel(turned: type[MouseScrollUp] | type[MouseScrollDown], target: Widget) -> MouseScrollUp | MouseScrollDown:
    """The wheel of a mouse, turned over a widget."""
    return turned(target, 5, 5, 0, 0, 0, False, False, False)


async def recent(serving: Serve, workspace: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Events and messages of a real server: an agent that asks, proposes nothing, fails once and breaks off."""
    async with serving() as server:
        async with agent(address_of(server), introduce=os.getpid()) as one:
            await one.call("getWorkspaceFolders")
            with pytest.raises(RuntimeError):
                await one.call("openFile", filePath=str(workspace / "missing.py"))
            one.socket.transport.abort()
            told: dict[str, Any] = {"events": []}
            while not any(event["kind"] == "disconnected" for event in told["events"]):
                told = await ask(server, "log", {"wire": True, "contents": True})
    return told["events"], told["frames"]


async def test_what_a_real_server_tells_reads_as_on_the_command_line(serving: Serve, workspace: Path) -> None:
    """Each event is a line with its time, in the words of the command line; a call has its duration at the right."""
    events, _ = await recent(serving, workspace)
    async with mounted(LogView(id="log"), size=(160, 24)) as at:
        at.view.fill(events)
        await at.settle()
        shown = rows(at)
        assert len(shown) == len(events)
        for line, one in zip(shown, events, strict=True):
            assert phrases.clock(one["at"]) in line
            if one["kind"] != "call":
                assert phrases.line_of(one).removeprefix("! ") in line
        assert at.line("called getWorkspaceFolders: ok").endswith(" ms")
        assert "✗ Client 1 called openFile: " in at.line("called openFile")
        assert "Claude Code  " in at.line("called openFile")
        assert "✗ Claude Code" in at.line("left: lost 1006")


async def test_what_is_told_twice_is_shown_once(serving: Serve, workspace: Path) -> None:
    """What `follow` told before the answer to `log` came, and what it told after, stands in one order."""
    events, _ = await recent(serving, workspace)
    async with mounted(LogView(id="log"), size=(160, 24)) as at:
        at.view.append(events[2:])
        at.view.fill(events[:-1])
        await at.settle()
        assert len(rows(at)) == len(events)
        clean = [line.lstrip("▶ ") for line in rows(at)]
        at.view.fill(events)
        await at.settle()
        assert [line.lstrip("▶ ") for line in rows(at)] == clean


async def test_another_server_with_the_same_numbers_comes_after_the_one_before() -> None:
    """After a restart numbers and clients begin anew: nothing is lost, and no name goes to another client."""
    before = [event(1, "connected", at=100.0), event(2, "introduced", at=100.1, agent="Old")]
    after = [event(1, "connected", at=200.0), event(2, "call", at=200.1), event(3, "introduced", at=200.2, agent="New")]
    async with mounted(LogView(id="log"), size=(120, 24)) as at:
        at.view.fill(before)
        at.view.append(after[:2])
        at.view.fill(after)
        await at.settle()
        assert len(rows(at)) == 5
        assert "Old" in rows(at)[1]
        assert "New" in at.line("called openDiff")


async def test_the_end_is_followed_until_the_person_goes_up() -> None:
    """Then what is on the screen stays, new rows are counted, and the end is followed again once it is reached."""
    async with mounted(LogView(id="log")) as at:
        at.view.append(several(1, 100))
        await at.settle()
        assert "file-100." in rows(at)[-1]
        await at.press("up")
        before = rows(at)
        assert "not following" in head(at)
        at.view.append(several(101, 112))
        await at.settle()
        assert rows(at) == before
        assert "▼ 12 new" in head(at)
        await at.press("end")
        assert "file-112." in rows(at)[-1]
        assert "new" not in head(at)
        assert "not following" not in head(at)
        at.view.append(several(113, 113))
        await at.settle()
        assert "file-113." in rows(at)[-1]


async def test_what_is_new_is_counted_down_as_it_is_read() -> None:
    """Rows that came on the screen are not new any more."""
    async with mounted(LogView(id="log")) as at:
        at.view.append(several(1, 100))
        await at.press("up")
        at.view.append(several(101, 160))
        await at.settle()
        assert "▼ 60 new" in head(at)
        await at.press("pagedown")
        assert "new" in head(at)
        assert "▼ 60 new" not in head(at)


async def test_the_wheel_goes_up_and_comes_back() -> None:
    """The cursor stays on the screen; at the end it follows again."""
    async with mounted(LogView(id="log")) as at:
        at.view.append(several(1, 100))
        await at.settle()
        target = at.view.query_one("Rows")
        target.post_message(wheel(MouseScrollUp, target))
        await at.settle()
        assert "not following" in head(at)
        assert "▶" in at.screen
        at.view.append(several(101, 101))
        await at.settle()
        assert "▼ 1 new" in head(at)
        for _ in range(10):
            target.post_message(wheel(MouseScrollDown, target))
        await at.settle()
        assert "not following" not in head(at)
        assert "file-101." in at.line("▶")


async def test_the_oldest_go_and_the_screen_stays() -> None:
    """Never more than the bound; who reads something older goes on reading it."""
    async with mounted(LogView(id="log")) as at:
        at.view.append(several(1, EVENTS))
        await at.press("up", "pageup", "pageup")
        before = rows(at)
        at.view.append(several(EVENTS + 1, EVENTS + 1000))
        await at.settle()
        assert rows(at) == before
        assert f"{EVENTS:,}, not following" in head(at)
        assert "▼ 1,000 new" in head(at)
        await at.press("home")
        assert "file-1001." in rows(at)[0]


async def test_many_more_than_the_bound_at_once() -> None:
    """The newest are kept."""
    async with mounted(LogView(id="log")) as at:
        at.view.append(several(1, EVENTS + 3))
        await at.settle()
        assert f"{EVENTS:,}" in head(at)
        await at.press("home")
        assert "file-4." in rows(at)[0]


@pytest.mark.parametrize("size", SIZES)
async def test_keys_go_through_the_rows(size: tuple[int, int]) -> None:
    """By arrows and letters, pages and ends, and no further than the ends."""
    async with mounted(LogView(id="log"), size=size) as at:
        at.view.append(several(1, 60))
        await at.settle()
        steps = [
            ("k", 59), ("up", 58), ("j", 59), ("down", 60), ("down", 60), ("g", 1), ("up", 1), ("G", 60),
            ("home", 1), ("end", 60),
        ]  # fmt: skip
        for key, number in steps:
            await at.press(key)
            assert f"file-{number}." in at.line("▶"), key
        page = len(rows(at))
        await at.press("pageup")
        assert f"file-{60 - page + 1}." in at.line("▶")
        await at.press("pagedown")
        assert "file-60." in at.line("▶")


@pytest.mark.parametrize("size", SIZES)
async def test_the_filter_works_while_it_is_typed(size: tuple[int, int]) -> None:
    """Letters that are keys elsewhere are text in it; Enter goes back to the rows, Escape shows everything again."""
    async with mounted(LogView(id="log"), size=size) as at:
        at.view.append([*several(1, 5), event(6, "sharing"), event(7, path="/w-j-q.")])
        await at.press("slash", "w", "-", "j")
        assert [line for line in rows(at) if "w-j-q" not in line] == []
        assert "1 of 7" in head(at)
        assert wired(at) == []
        await at.press("enter", "k")
        assert "1 of 7" in head(at)
        assert "w-j" in at.line("Filter:")
        await at.press("escape")
        assert len(rows(at)) == 7
        assert "Filter:" not in at.screen
        await at.press("slash", "x", "x", "x")
        assert "Nothing matches: xxx" in at.screen
        await at.press("escape")
        assert len(rows(at)) == 7


FILTERED = {
    "plain.": event(1, path="/plain."),
    "other.": event(2, path="/other."),
    "Claude Code 2.1": event(3, "introduced", 1),
    "called alpha": event(4, "call", 1, tool="alpha"),
    "Codex 2.1": event(5, "introduced", 2, agent="Codex"),
    "called beta": event(6, "call", 2, tool="beta", outcome="broken"),
    "Turn 1 of Codex": event(7, "turn", 2, agent="Codex"),
}
"""Events, by words that only their lines hold."""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("PLAIN", ["plain."]),
        ("mentioned -plain", ["other."]),
        ("kind:call", ["called alpha", "called beta"]),
        ("kind:call -broken", ["called alpha"]),
        ("-kind:call -kind:intro -mentioned", ["Turn 1 of Codex"]),
        ("agent:codex", ["Codex 2.1", "called beta", "Turn 1 of Codex"]),
        ("agent:CLAUDE kind:call", ["called alpha"]),
        ("500 ms", ["called alpha", "called beta"]),
        ("kind: agent: -", list(FILTERED)),
        ("kind:call -kind:call", []),
    ],
)
async def test_filters(text: str, expected: list[str]) -> None:
    """Words in any case, kinds, agents (also of calls, which only have a client), and what is not wanted."""
    async with mounted(LogView(id="log"), size=(120, 24)) as at:
        at.view.append(list(FILTERED.values())[:3])
        await at.press("slash", *(key_of(one) for one in text), "enter")
        at.view.append(list(FILTERED.values())[3:])
        await at.settle()
        shown = rows(at) if expected else []
        assert [words for words in FILTERED if any(words in line for line in shown)] == expected
        assert len(shown) == len(expected)
        assert expected or "Nothing matches" in at.screen
        await at.press("w", "w")
        assert (rows(at) if expected else []) == shown


async def test_the_cursor_stays_on_its_row_when_the_filter_changes() -> None:
    """Where the row is left out the one before it has the cursor."""
    async with mounted(LogView(id="log")) as at:
        at.view.append([event(number, "call" if number % 2 else "mentioned") for number in range(1, 101)])
        await at.press("home", "pagedown", "k", "k")
        (row,) = [number for number in range(1, 101) if f"file-{number}." in at.line("▶")]
        await at.press("slash", *"file", "enter")
        assert f"file-{row}." in at.line("▶")
        await at.press("escape")
        assert f"file-{row}." in at.line("▶")
        await at.press("slash", *"call", "enter", "escape")
        assert "called" in at.line("▶")


@pytest.mark.parametrize(("kind", "size"), [("call", SIZES[0]), ("disconnected", SIZES[0]), ("undone", SIZES[1])])
async def test_enter_shows_all_facts_and_y_copies(kind: str, size: tuple[int, int]) -> None:
    """Each fact by its name; y copies all of them, and the line where it is a row."""
    async with mounted(LogView(id="log"), size=size) as at:
        at.view.append([event(7, kind)])
        await at.press("y")
        assert at.copied().startswith(phrases.clock(time.time())[:5])
        await at.press("enter")
        assert kind in at.screen
        await at.press("y")
        for name in KINDS[kind]:
            shown = "duration" if name == "seconds" and kind == "call" else name.replace("_", " ")
            assert f"\n{shown}:" in at.copied()
        assert "\nnumber: 7" in at.copied()
        await at.press("escape")
        assert "▶" in at.screen


async def test_enter_shows_nothing_where_there_is_nothing() -> None:
    """An empty log has no facts, and says that it is empty."""
    async with mounted(LogView(id="log")) as at:
        await at.press("enter", "y", "up", "down", "pageup", "home", "end", "w", "enter", "y", "up", "end")
        assert "No message was seen yet." in at.screen
        await at.press("w")
        assert "Nothing happened yet." in at.screen
        assert wired(at) == [True, False]


async def test_the_wire_of_a_real_server(serving: Serve, workspace: Path) -> None:
    """Messages with time, client, direction, length and their beginning; the same ones again are no new ones."""
    _, frames = await recent(serving, workspace)
    async with mounted(LogView(id="log"), size=(200, 40)) as at:
        await at.press("w")
        assert wired(at) == [True]
        assert "[Wire]" in head(at)
        at.view.show_frames(frames[:5])
        at.view.show_frames(frames)
        at.view.show_frames(frames)
        await at.settle()
        assert len(rows(at)) == len(frames)
        for line, one in zip(rows(at), frames, strict=True):
            assert phrases.clock(one["at"]) in line
            assert f"Client {one['client_id']} {one['direction']} {one['length']:>6,}" in line
        await at.press("slash", *(key_of(one) for one in "kind:received getWorkspaceFolders"), "enter")
        (line,) = rows(at)
        await at.press("enter", "y")
        assert "direction: from the agent" in at.copied()
        assert '"name": "getWorkspaceFolders"' in at.copied()
        await at.press("escape", "w")
        assert wired(at) == [True, False]
        assert "[Events]" in head(at)


@pytest.mark.parametrize("size", SIZES)
async def test_the_wire_follows_its_own_end(size: tuple[int, int]) -> None:
    """Each page has its own place; what comes to the other one moves nothing."""
    async with mounted(LogView(id="log"), size=size) as at:
        at.view.append(several(1, 50))
        await at.press("home", "w")
        at.view.show_frames([frame(number) for number in range(1, 51)])
        at.view.append(several(51, 60))
        await at.settle()
        assert "<     50" in rows(at)[-1]
        await at.press("up")
        at.view.show_frames([frame(number) for number in range(20, 61)])
        await at.settle()
        assert "10 new" in head(at)
        assert "60" in head(at)
        await at.press("w")
        assert "file-1." in at.line("▶")
        assert "new" in head(at)
        await at.press("w")
        assert "<     49" in at.line("▶")


@pytest.mark.parametrize("size", [(80, 24), (40, 12), (20, 5)])
@pytest.mark.parametrize("text", HOSTILE)
async def test_hostile_text_is_shown_as_it_is_and_breaks_nothing(text: str | None, size: tuple[int, int]) -> None:
    """Nothing of it is obeyed, and no line is longer than the screen: in rows, in facts, in the wire, in copies."""
    told = [event(number, kind, **dict.fromkeys(KINDS[kind], text)) for number, kind in enumerate(KINDS)]
    async with mounted(LogView(id="log"), size=size) as at:
        at.view.append([*told, {"number": text, "at": text, "kind": text, "client_id": text}, {}])
        at.view.show_frames([frame(1, text or ""), {"at": None, "direction": text, "contents": text}])
        for keys in (("home",), ("enter", "y"), ("escape", "end", "enter"), ("escape", "up"), ("w",), ("enter", "y")):
            await at.press(*keys)
            assert "\x1b" not in at.screen
            assert "\u202e" not in at.screen
            assert all(len(line) <= size[0] for line in at.screen.split("\n"))
        assert "\x1b" not in at.copied()


@pytest.mark.parametrize("text", [HOSTILE[0], None])
async def test_every_kind_of_event_can_hold_anything(text: str | None) -> None:
    """Each line and all facts of each event are safe to show and to copy."""
    async with mounted(LogView(id="log"), size=(100, 40)) as at:
        for number, kind in enumerate(KINDS):
            at.view.append([event(number, kind, **dict.fromkeys(KINDS[kind], text))])
            await at.settle()
            assert "▶" in at.screen
            at.view.action_copy()
            at.view.action_details()
            await at.settle()
            at.app.screen.action_copy()  # type: ignore[attr-defined]
            await until(functools.partial(_are, at, 2 * (number + 1)), "both are copied")
            at.app.pop_screen()
            await at.settle()
            assert all(f"\n{name.replace('_', ' ')}:" in at.copied() for name in KINDS[kind])
            assert not any(
                set("\x1b\x07\u202e\t") & set(message.text) for message in at.posted if isinstance(message, Copy)
            )


def _are(at: Stage[LogView], number: int) -> bool:
    return len(at.posted) == number


async def test_rows_that_came_while_another_view_was_shown() -> None:
    """Back in the log, its end is on the screen."""
    async with mounted(LogView(id="log")) as at:
        at.view.append(several(1, 5))
        await at.settle()
        switcher = at.app.query_one("ContentSwitcher")
        switcher.current = "neighbour"  # type: ignore[attr-defined]
        await at.settle()
        assert "the neighbour" in at.screen
        at.view.append(several(6, 90))
        await at.settle()
        switcher.current = "log"  # type: ignore[attr-defined]
        await at.settle()
        assert "file-90." in rows(at)[-1]


async def test_it_survives_every_size() -> None:
    """From very small to large and back: the end stays in view, and the keys below say what can be done."""
    async with mounted(LogView(id="log")) as at:
        at.view.append(several(1, 100))
        for size in ((20, 5), (10, 3), (40, 12), (120, 40), (80, 24)):
            await at.pilot.resize_terminal(*size)
            await at.settle()
            assert "▶" in at.screen, size
        assert "file-100." in rows(at)[-1]
        for words in ("Details", "Filter", "Wire"):
            assert words in at.screen
        await at.press("home")
        await at.pilot.resize_terminal(40, 12)
        await at.settle()
        assert "file-1." in at.line("▶")


async def test_the_mouse_does_what_keys_do() -> None:
    """A click puts the cursor on a row, a second one shows its facts, the tabs and the number of new rows work."""
    async with mounted(LogView(id="log")) as at:
        at.view.append(several(1, 100))
        await at.press("up")
        at.view.append(several(101, 105))
        await at.settle()
        await at.pilot.click(offset=(20, 3))
        await at.settle()
        assert "▶" in at.screen.split("\n")[3]
        await at.pilot.click(offset=(head(at).index("▼") + 1, 0))
        await at.settle()
        assert "file-105." in at.line("▶")
        await at.pilot.click(offset=(head(at).index("Wire"), 0))
        await at.settle()
        assert "[Wire]" in head(at)
        await at.pilot.click(offset=(head(at).index("Events"), 0))
        await at.settle()
        assert wired(at) == [True, False]
        await at.pilot.click(offset=(20, 5), times=2)
        await at.settle()
        assert "number: " in at.screen


async def test_without_colour_nothing_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """The cursor, failures, warnings and the page are told by signs and words."""
    monkeypatch.setenv("NO_COLOR", "1")
    async with mounted(LogView(id="log"), size=(100, 24)) as at:
        assert at.app.no_color
        at.view.append([event(1, "call", outcome="broken"), event(2, "rival"), event(3, "call")])
        await at.settle()
        assert "✗ Client 1 called openDiff: broken" in at.screen
        assert "! Another IDE" in at.screen
        assert "▶" in at.line("openDiff: ok")
        assert "✗" not in at.line("openDiff: ok")
        assert "[Events]" in head(at)


def key_of(character: str) -> str:
    """The key that types a character."""
    return {" ": "space", ":": "colon", "-": "minus", ".": "full_stop"}.get(character, character)
