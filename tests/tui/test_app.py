"""The terminal UI as a whole: views, help, palette, sizes, themes, and a server that goes and comes back."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest
from rich.style import Style
from textual.binding import Binding
from textual.color import Color
from textual.events import Key

from pairside.tui import app as app_module
from pairside.tui.agents import AgentsView
from pairside.tui.app import Ending, PairsideApp
from pairside.tui.changes import ChangesView
from pairside.tui.diff import DiffView
from pairside.tui.entries import EntryList
from pairside.tui.facts import Facts
from pairside.tui.help import AFTERWORD, Help
from pairside.tui.keys import key_name
from pairside.tui.log import LogView
from pairside.tui.picker import Picker
from pairside.tui.preview import Preview
from pairside.tui.reading import Reading
from pairside.tui.reviews import ReviewsView
from tests.conftest import Serve, address_of, agent
from tests.front_end import front_end
from tests.tui.conftest import SECONDS, OpenScene
from tests.tui.mounted import ask
from tests.tui.screens import approve, seen
from tests.until import until

OWNERS = (
    PairsideApp, ReviewsView, ChangesView, Reading, EntryList, DiffView, AgentsView, LogView, Facts, Picker, Preview,
)  # fmt: skip


READABLE = 2.0
"""With less contrast a text cannot be read. (Some themes have little more for what is under the cursor.)"""
LINE_COLUMNS = 72
PID = 2_000_000_000
"""Of a process that is none."""


def bindings_of(owner: Any) -> list[Binding]:
    """The keys that something has by itself."""
    return [one for one in owner.__dict__["BINDINGS"] if isinstance(one, Binding)]


async def test_views_are_gone_to_by_keys_and_clicks(scene: OpenScene) -> None:
    """The present one stands in brackets."""
    async with scene() as at:
        names = {"1": "Reviews", "2": "Changes", "3": "Agents", "4": "Log"}
        for key in "2341":
            await at.press(key)
            await at.see(f"[{key} {names[key]}")
            assert at.screen.split("\n")[0].count("[") == 1
        for key in "4321":
            await at.pilot.click(f"#tab-{names[key].lower()}")
            await at.see(f"[{key} {names[key]}")


async def test_the_first_screen(scene: OpenScene, moment: None) -> None:
    """Where nothing waits it says how to begin."""
    async with scene() as at:
        await at.see("No proposal waits.", "3 Agents 0", "? Help")
        await approve(at.app, "nothing_waits")


async def test_help_names_every_key_of_every_view(scene: OpenScene) -> None:
    """It is made from the bindings; each of its keys closes it."""
    async with scene(size=(120, 24)) as at:
        await at.press("question_mark")
        await at.see("Keys (Esc closes)", "Everywhere")
        page = at.app.screen
        assert isinstance(page, Help)
        told = page._text()
        for owner in OWNERS:
            for binding in bindings_of(owner):
                for key in binding.key.split(","):
                    line = next((one for one in told.split("\n") if key_name(key) in one.split()), None)
                    assert line is not None, (owner, key)
                assert (binding.tooltip or binding.description) in told, binding
        assert all(len(line) <= 72 for line in told.removesuffix(AFTERWORD).split("\n")), (
            "a line does not fit 80 columns"
        )
        await at.press("end", "pagedown")
        await at.see("Line by line, for screen readers")
        for key in ("escape", "q", "question_mark", "enter"):
            await at.press(key)
            await at.miss("Keys (Esc closes)")
            assert at.app.is_running
            await at.press("question_mark")
            await at.see("Keys (Esc closes)")


def test_no_two_keys_of_a_view_do_different_things() -> None:
    """Within one list of bindings a key stands once, and each says what it is for."""
    for owner in (*OWNERS, Help):
        keys = [key.strip() for binding in bindings_of(owner) for key in binding.key.split(",")]
        assert len(keys) == len(set(keys)), owner
        assert all(binding.description for binding in bindings_of(owner)), owner


async def test_the_palette_offers_what_has_a_key_and_runs_it(scene: OpenScene) -> None:
    """By its name, each once; themes too."""
    async with scene(size=(100, 40)) as at:
        offered = [command.title for command in at.app.get_system_commands(at.app.screen)]
        assert len(offered) == len(set(offered))
        assert {"Theme", "Follow", "Accept", "Reject", "Help", "Quit", "Search", "Agents", "Mention"} <= set(offered)
        await at.press("ctrl+p", *"follow")
        await at.see("Show each proposal and each change as it comes")
        await at.press("enter", "enter")
        await at.see("Follows: each proposal and each change is shown as it comes.")


async def test_a_theme_that_is_chosen_can_be_kept(scene: OpenScene, monkeypatch: pytest.MonkeyPatch) -> None:
    """How is said; the settings are the person's, and are not written."""
    monkeypatch.setenv("XDG_CONFIG_HOME", "/c")
    async with scene(size=(100, 40)) as at:
        await at.press("ctrl+p", *"theme")
        await at.see("Other colours")
        await at.press("enter")
        await at.see("Search for themes")
        await at.press(*"nord")
        await at.see("nord")
        await at.press("enter")
        await at.see('Theme nord. To keep it: theme = "nord" below [ui] in /c/pairside/config.toml')


async def test_quitting_by_the_palette_says_what_is_pending_too(scene: OpenScene) -> None:
    """However it was asked for."""
    async with scene() as at:
        at.propose(await at.agent(), "a.py", "a\n")
        await at.see("Review 1:")
        await at.app.run_action("quit")
        assert at.app.return_value == Ending(1, ["Claude Code"], False)


def contrast(style: Style) -> float:
    """How much a text differs from its ground, from 1 to 21, as the guidelines for accessibility count it."""
    assert style.color is not None
    assert style.bgcolor is not None
    text, ground = (Color.from_rich_color(one) for one in (style.color, style.bgcolor))

    def light(color: Color) -> float:
        parts = [part / 12.92 if part <= 0.04 else ((part + 0.055) / 1.055) ** 2.4 for part in color.normalized]
        return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]

    dark, bright = sorted((light(text), light(ground)))
    return (bright + 0.05) / (dark + 0.05)


async def test_every_theme_shows_the_same_and_can_be_read(
    scene: OpenScene, moment: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Numbers, signs, what is left out and what is pale: in light themes too it differs from what is below it."""
    monkeypatch.setenv("XDG_CONFIG_HOME", "/c")
    async with scene(size=(110, 24)) as at:
        one = await at.agent()
        (at.workspace / "a.py").write_text("def f():\n    return 1\n" * 9)
        at.propose(
            one, "a.py", "def f():\n    return 1\n" * 4 + "def g():\n    return  2 \n" + "def f():\n    return 1\n" * 5
        )
        at.propose(one, "b.py", "b\n")
        await at.see("+ def g", "b.py (new)")
        await at.press("space")
        await at.see("left out")
        at.app.theme = "monokai"
        await at.see("Theme monokai.")
        words = at.screen.replace("monokai", "THEME")
        assert len(at.app.available_themes) > 6
        for theme in ("textual-dark", "textual-light", "solarized-light", "catppuccin-latte", "nord", "gruvbox"):
            at.app.theme = theme
            await at.see(f"Theme {theme}.")
            assert at.screen.replace(theme, "THEME") == words
            for strip in at.app.screen._compositor.render_strips()[:-1]:  # the keys below are drawn by Textual
                for segment in strip:
                    if segment.text.strip(" │▌▁▂▃▄▅▆▇█·→") and segment.style is not None and not segment.style.reverse:
                        assert contrast(segment.style) > READABLE, (theme, segment)


@pytest.mark.parametrize("variable", ["NO_COLOR", "TEXTUAL_COLOR_SYSTEM"])
async def test_without_colour_all_is_told_by_signs_and_words(
    scene: OpenScene, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    """The present view, warnings, what follows."""
    monkeypatch.setenv(variable, "1" if variable == "NO_COLOR" else "none")
    async with scene() as at:
        await at.press("3", "f")
        await at.see("[3 Agents 0]", "follows ")
        at.app.say("Beware.", warning=True)
        await at.see("! Beware.")


@pytest.mark.parametrize("views", ["12", "34"])
async def test_it_survives_every_size(scene: OpenScene, views: str) -> None:
    """From 80x24 to 200x50, to 40x10, to hardly anything, and back to what it was, in each view."""
    async with scene() as at:
        at.propose(await at.agent(), "a.py", "a\n")
        await at.see("[1 Reviews 1]", "+ a", "3 Agents 1")
        for view in views:
            await at.press(view)
            for size in ((200, 50), (40, 10), (8, 3), (80, 24)):
                await at.pilot.resize_terminal(*size)
                await at.pilot.pause()
                assert all(len(line) <= size[0] for line in at.screen.split("\n"))
            await at.see(f"[{view} ", "? Help")
        await at.press("1")
        await at.see("Review 1:", "+ a")


@pytest.mark.parametrize(("page", "words"), [("question_mark", "Keys (Esc closes)"), ("o", "Letters of its name")])
async def test_pages_over_the_views_survive_every_size(scene: OpenScene, page: str, words: str) -> None:
    """What lies over the views as well."""
    async with scene() as at:
        await at.press(page)
        for size in ((200, 50), (40, 10), (80, 24)):
            await at.pilot.resize_terminal(*size)
            await at.pilot.pause()
        await at.see(words)


# The server.


async def test_the_server_restarts_while_attached_and_again_another(scene: OpenScene) -> None:
    """It is said, what was pending is gone, and as soon as one serves the folder all goes on, on whatever port."""
    async with scene(size=(100, 24)) as at:
        one = await at.agent()
        at.propose(one, "a.py", "a\n")
        await at.see("Review 1:", "3 Agents 1")
        at.server.bridge.journal.note("restarting", version="9.9")
        await at.stop()
        await at.see("pairside is started anew …", "not connected")
        await at.miss("Start it again")
        await at.press("a", "r", "o", "3", "s", "1")
        for _ in range(2):
            await at.start()
            await at.see("is there again, on port", "3 Agents 0")
            assert f"on port {at.port}" in at.screen
            two = await at.agent()
            at.propose(two, "b.py", "b\n")
            await at.see("Review 1: Claude Code proposes a new file b.py")
            await at.settle()
            await at.press("a")
            await until(at.proposals[-1].done, "the agent is answered", SECONDS)
            assert at.proposals[-1].result() == ["FILE_SAVED", "b\n"]
            await at.stop()
            await at.see("! pairside is gone.", "not connected")


async def test_without_a_server_every_key_says_that_there_is_none(scene: OpenScene) -> None:
    """Nothing fails, nothing is done, and changes stay to be read."""
    async with scene(size=(100, 24)) as at:
        one = await at.agent()
        await one.call("closeAllDiffTabs")
        await one.call("getDiagnostics", uri=f"file://{at.workspace / 'a.py'}")
        (at.workspace / "a.py").write_text("a\n")
        await one.call("getDiagnostics")
        await at.press("2")
        await at.see("+ a")
        await at.settle(at.app.changes)
        await at.stop()
        await at.see("! pairside is gone.")
        await at.press("u")
        await at.see("pairside is not there: nothing was undone.")
        await at.press("o")
        await at.see("! pairside is not there.")
        await at.press("T", "f5", "H", "4", "w", "3")
        await at.see("Nothing is known yet.", "[3 Agents]")
        assert (at.workspace / "a.py").exists()
        await at.press("q")
        assert at.app.return_value == Ending(0, [], True)


async def test_where_no_server_was_there_from_the_start_it_says_so(workspace: Path) -> None:
    """And looks for one."""
    looked: list[None] = []
    app = PairsideApp(1, find=lambda: looked.append(None), gone=lambda: "No server.")
    async with app.run_test() as pilot:
        await seen(app, lambda screen: "! No server." in screen, "it says so", SECONDS)
        await until(lambda: len(looked) > 1, "it looks again", SECONDS)
        await pilot.press("q")
    assert app.return_value == Ending(0, [], True)


async def test_what_happens_is_said_whatever_view_is_shown(scene: OpenScene) -> None:
    """Who leaves and why, another IDE, a hook that failed; also while a page lies over the views."""
    async with scene(size=(120, 24)) as at:
        await at.press("4", "question_mark")
        async with agent(address_of(at.server)):
            pass
        await at.press("escape")
        await at.see("Claude Code left: closed 1000 (it said goodbye)")
        note = at.server.bridge.journal.note
        note("rival", ide="Other", pid=2, port=3, notice="another IDE serves\nthis folder")
        await at.see("! Another IDE serves\\nthis folder")
        note("hook-failed", hook="hooks.on_review", why="no such program")
        await at.see("! hooks.on_review: no such program")
        note("mention-expired", path=str(at.workspace / "a.py"), seconds=60.0)
        await at.see("The mention of a.py expired")


async def test_what_was_said_goes_after_a_while(scene: OpenScene, monkeypatch: pytest.MonkeyPatch) -> None:
    """It does not stand there as if it were so still."""
    monkeypatch.setattr(app_module, "SAID_SECONDS", 0.0)
    async with scene() as at:
        at.app.say("This is so now.")
        await at.see("This is so now.")
        await at.miss("This is so now.")


async def test_leaving_stops_nothing(scene: OpenScene) -> None:
    """The server, its agents and what is pending stay; how much that is is told."""
    async with scene() as at:
        one = await at.agent(introduce=os.getpid())
        at.propose(one, "a.py", "a\n")
        await at.see("Review 1:", "3 Agents 1")
        await at.press("ctrl+c")
        assert at.app.return_value == Ending(1, [f"Claude Code (pid {os.getpid()})"], False)
        assert [review["id"] for review in await ask(at.server, "reviews")] == [1]
        assert not at.proposals[0].done()


async def test_what_was_decided_just_before_leaving_counts(scene: OpenScene) -> None:
    """Keys do what they do in the order in which they were typed."""
    async with scene() as at:
        at.propose(await at.agent(), "a.py", "a\n")
        await at.see("Review 1:", "+ a")
        await at.settle()
        await at.pilot.press("a", "q")
        await until(at.proposals[0].done, "the agent is answered", SECONDS)
        assert at.proposals[0].result() == ["FILE_SAVED", "a\n"]
        await until(lambda: at.app.return_value is not None, "it is left", SECONDS)


async def test_ctrl_z_stops_it_where_a_shell_can_let_it_go_on(
    scene: OpenScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A shell puts each job into a process group of its own."""
    stopped: list[bool] = []
    monkeypatch.setattr(PairsideApp, "action_suspend_process", lambda app: stopped.append(True))
    monkeypatch.setattr(os, "getsid", lambda pid: 1)
    async with scene() as at:
        monkeypatch.setattr(os, "getpgid", lambda pid: os.getpgrp())
        await at.press("ctrl+z")
        await at.see("There is no shell here to go back to.")
        assert not stopped
        monkeypatch.setattr(os, "getpgid", lambda pid: os.getpgrp() + 1)
        await at.press("?", "ctrl+z")
        assert stopped == [True]


async def test_it_is_left_from_any_page(scene: OpenScene) -> None:
    """Ctrl+Q is a way out wherever one is."""
    async with scene() as at:
        await at.press("o", "ctrl+q")
        assert at.app.return_value == Ending(0, [], False)


async def test_an_agents_own_shell_may_look_but_not_decide(scene: OpenScene) -> None:
    """Everything is shown, and every key that decides is refused with the reason."""
    async with scene(mark="CLAUDECODE", size=(120, 24)) as at:
        at.propose(await at.agent(), "a.py", "a\n")
        await at.see("Review 1:", "+ a")
        await at.settle()
        refusal = "! This is an agent's own shell (CLAUDECODE is set): only the person may do that"
        for key in ("a", "r", "s", "A"):
            at.app.say("")
            await at.press(key)
            await at.see(refusal)
        assert not at.proposals[0].done()
        at.app.say("")
        await at.press("3", "s")
        await at.see(refusal)
        assert at.server.bridge.sharing.on
        await at.press("4", "w")
        await at.see(refusal)


async def test_the_server_of_an_editor_is_shown_as_such(workspace: Path) -> None:
    """Its proposals are decided here too; what is done in the editor itself is refused with its name."""
    (workspace / "a.py").write_text("a\n")
    async with front_end() as (editor, _):
        told = {"protocol": 1, "editor": {"name": "Neovim", "version": "0.11"}, "folders": [str(workspace)]}
        welcome = await editor.request("hello", told)
        app = PairsideApp(welcome["port"], find=lambda: None, gone=lambda: "It is gone.")
        async with app.run_test(size=(120, 24)) as pilot:
            await seen(app, lambda screen: "Neovim: " in screen, "whose it is", SECONDS)
            await pilot.press("o", *"a.py", "enter")
            words = "! Select is done in Neovim itself."
            await seen(app, lambda screen: words in screen, "it is refused", SECONDS)
            await pilot.press("m", *"a.py:1", "enter")
            await seen(app, lambda screen: "Mentioned line 1 of a.py: it waits for an agent." in screen, "yes", SECONDS)
            await pilot.press("q")


# What is done with what was picked, and with the other views.


async def test_a_file_is_mentioned(scene: OpenScene) -> None:
    """Whole, or lines of it; to whom it went is said, and what is not to be shared does not go."""
    async with scene(size=(120, 30)) as at:
        (at.workspace / "shop.py").write_text("1\n2\n3\n4\n")
        (at.workspace / ".env").write_text("SECRET=1\n")
        await at.press("m", *"shop:2-3", "enter")
        await at.see("Mentioned lines 2 to 3 of shop.py: it waits for an agent.")
        one = await at.agent()
        await one.introduce(PID)
        assert (await one.wait_told("at_mentioned"))["lineStart"] == 1
        await at.press("m", *"shop", "enter")
        await at.see(f"Mentioned shop.py to Claude Code (pid {PID}).")
        await at.press("m", *".env", "enter")
        await at.see("! ", ".env")
        assert len([told for told, _ in one.told if told == "at_mentioned"]) == 2


async def test_letters_typed_at_once_after_the_key_are_for_the_page_it_opens(scene: OpenScene) -> None:
    """None is lost or taken for a key of the view, as they come in one go over a slow line."""
    async with scene() as at:
        for name in ("a.py", "raft.py", "z.py"):
            (at.workspace / name).write_text("x\n")
        for key in ("m", *"raft", "enter"):
            at.app.post_message(Key(key, key if len(key) == 1 else None))
        await at.see("Mentioned raft.py")


async def test_a_file_is_selected(scene: OpenScene) -> None:
    """Lines of it; what is not shared is said, and what was picked lately comes first the next time."""
    async with scene(size=(120, 30)) as at:
        (at.workspace / "shop.py").write_text("1\n2\n3\n4\n")
        (at.workspace / ".env").write_text("SECRET=1\n")
        await at.press("o", *"shop:2", "enter")
        await at.see("Selected line 2 of shop.py.")
        assert (await ask(at.server, "status"))["sharing"]["now"]["selection"]["start"] == [1, 0]
        await at.press("o", *".env", "enter")
        await at.see("! Selected .env. Agents are not told:")
        await at.press("o")
        await at.see("▶ .env", "  shop.py")
        await at.press("down", "ctrl+p")
        await at.see("▶ .env", "Select: agents see it")
        await at.press("escape", "3", "c")
        await at.see("Nothing is selected any more.")


async def test_sharing_is_switched_from_here(scene: OpenScene) -> None:
    """Off, and on again, and the view of the agents says it."""
    async with scene() as at:
        await at.press("3")
        await at.see("Sharing is on")
        await at.press("s")
        await at.see("Agents are told nothing any more.", "! Sharing is OFF")
        assert not at.server.bridge.sharing.on
        await at.press("s")
        await at.see("Agents are told what is shared again.", "Sharing is on")


async def test_the_wire_is_shown_as_it_goes_on(scene: OpenScene) -> None:
    """Frames come by themselves while it is looked at."""
    async with scene() as at:
        one = await at.agent()
        await at.press("4", "w")
        await at.see("[Wire]", "initiali")
        await one.call("closeAllDiffTabs")
        await at.see("tools/ca")


async def test_an_agent_that_comes_and_goes_is_seen(scene: OpenScene) -> None:
    """In the count of the tab and in its view, without a key."""
    async with scene(size=(100, 24)) as at:
        await at.press("3")
        async with agent(address_of(at.server), introduce=os.getpid()):
            await at.see("[3 Agents 1]", "Claude Code 2.1.330")
        await at.see("[3 Agents 0]", "closed 1000")


async def test_two_uis_decide_and_each_says_who_was_first(scene: OpenScene, serving: Serve) -> None:
    """The second one moves on."""
    async with scene() as at:
        other = PairsideApp(at.server.port, find=lambda: None, gone=lambda: "")
        one = await at.agent()
        at.propose(one, "a.py", "a\n")
        await at.see("Review 1:", "+ a")
        await at.settle()
        task = asyncio.create_task(other.run_async(headless=True, size=(80, 24)))
        try:
            await until(lambda: bool(other.reviews.list.entries), "the other one sees it", SECONDS)
            await until(lambda: other.reviews.shown is not None, "the other one shows it", SECONDS)
            await at.press("r")
            await until(lambda: not other.reviews.list.entries, "the other one moves on", SECONDS)
            await seen(other, lambda screen: "rejected by the terminal UI" in screen, "it says who", SECONDS)
        finally:
            other.exit()
            await task
