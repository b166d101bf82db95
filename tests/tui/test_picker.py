"""Picking a file or lines of it: by letters, by keys and by the mouse, at once and among very many."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from textual.app import App, ComposeResult
from textual.events import Key
from textual.geometry import Offset
from textual.pilot import Pilot
from textual.widgets import Static

from pairside.tui import picker as picker_module
from pairside.tui.files import Candidate, candidate, listed
from pairside.tui.picker import Picked, Picker
from pairside.tui.preview import Preview
from tests.held import never_held
from tests.tui.screens import approve, seen, text_of
from tests.until import until

SECONDS = 10.0
HELD_SECONDS = 1.0
TEXT = "".join(f"line {number}\n" for number in range(1, 61))


class Shelf(App[None]):
    """Something below the page."""

    ENABLE_COMMAND_PALETTE = False

    def compose(self) -> ComposeResult:
        yield Static("below")


@dataclass
class Stage:
    """The page, and what was picked on it."""

    app: Shelf
    page: Picker
    pilot: Pilot[None]
    picked: list[Picked | None] = field(default_factory=list)

    @property
    def screen(self) -> str:
        """What is on the screen."""
        return text_of(self.app)

    @property
    def preview(self) -> Preview:
        """The file that is shown."""
        return self.page.query_one(Preview)

    async def see(self, *words: str) -> None:
        """Wait until all the words are on the screen."""
        await seen(self.app, lambda screen: all(one in screen for one in words), f"{words} on the screen", SECONDS)

    async def press(self, *keys: str) -> None:
        """Press keys, and let them work."""
        await self.pilot.press(*keys)
        await self.pilot.pause()

    async def taken(self) -> Picked | None:
        """What was picked."""
        await until(lambda: bool(self.picked), "something is picked", SECONDS)
        return self.picked[0]


@contextlib.asynccontextmanager
async def picking(
    *folders: Path, mention: bool = False, recent: Sequence[str] = (), size: tuple[int, int] = (80, 24)
) -> AsyncIterator[Stage]:
    """The page, open."""
    app = Shelf()
    async with app.run_test(size=size) as pilot:
        page = Picker([str(one) for one in folders], mention=mention, recent=recent)
        stage = Stage(app, page, pilot)
        app.push_screen(page, stage.picked.append)
        await pilot.pause()
        yield stage


@pytest.fixture
def shop(workspace: Path) -> Path:
    """A work tree."""
    subprocess.run(["git", "init", "-q", str(workspace)], check=True)
    for name in ("src/shop.py", "src/workshop.py", "docs/shop.md", "README.md"):
        path = workspace / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(TEXT)
    (workspace / ".gitignore").write_text("*.log\n")
    (workspace / "x.log").write_text("x\n")
    return workspace


def whole(path: Path, *, mention: bool = False) -> Picked:
    """A whole file, picked."""
    return Picked(str(path), str(path), mention)


def lines(path: Path, first: int, last: int) -> Picked:
    """Lines of a file, picked; they count from 1 here."""
    end = len(path.read_text().split("\n")[last - 1])
    return Picked(str(path), str(path), False, first - 1, last - 1, end)


@pytest.mark.parametrize("size", [(80, 24), (160, 45), (40, 12)])
async def test_a_file_is_found_by_letters_and_taken(shop: Path, size: tuple[int, int]) -> None:
    """What is typed can be read, the likeliest is under the cursor, and its text is shown."""
    async with picking(shop, size=size) as at:
        await at.see("▶ .gitignore")
        assert "x.log" not in at.screen
        await at.press(*"wshop")
        await at.see("wshop", "▶ src/workshop.py", "line 1")
        await at.press("enter")
        assert await at.taken() == whole(shop / "src/workshop.py")


async def test_the_page(shop: Path) -> None:
    """The files, the one under the cursor, and the keys."""
    async with picking(shop) as at:
        await at.press(*"shop:3-8")
        await at.see("▶ src/shop.py", "█  3 line 3")
        await approve(at.app, "picking")


async def test_the_page_where_there_is_room(shop: Path) -> None:
    """Both beside each other."""
    async with picking(shop, mention=True, size=(130, 24)) as at:
        await at.see("▶ .gitignore", "*.log", "src/")
        await approve(at.app, "picking_beside")


@pytest.mark.parametrize(
    ("keys", "name"),
    [
        ((), ".gitignore"),
        (("down",), "docs/shop.md"),
        (("ctrl+n", "ctrl+n"), "README.md"),
        (("down", "down", "up"), "docs/shop.md"),
        (("down", "down", "ctrl+p"), "docs/shop.md"),
        (("pagedown",), "src/workshop.py"),
        (("pagedown", "pageup"), ".gitignore"),
        (("up",), ".gitignore"),
    ],
)
async def test_keys_go_through_the_files_while_letters_are_typed(shop: Path, keys: tuple[str, ...], name: str) -> None:
    """The cursor is where they lead, and Enter takes that one."""
    async with picking(shop) as at:
        await at.see("▶ .gitignore")
        await at.press(*keys)
        await at.see(f"▶ {name}")
        await at.press("enter")
        assert await at.taken() == whole(shop / name)


async def test_enter_at_once_after_the_letters_takes_what_they_mean(shop: Path) -> None:
    """Also before the files are known, and before the letters were looked for."""
    async with picking(shop) as at:
        await at.pilot.press(*"workshop:7", "enter")
        assert await at.taken() == lines(shop / "src/workshop.py", 7, 7)


async def test_keys_that_come_at_once_are_done_in_their_order(shop: Path) -> None:
    """What takes letters away does so before those that were typed after it stand there."""
    async with picking(shop) as at:
        await at.pilot.press(*"README")
        for key in ("ctrl+u", "x", "backspace", "w", "o", "r", "k", "enter"):
            at.app.post_message(Key(key, key if len(key) == 1 else None))
        assert await at.taken() == whole(shop / "src/workshop.py")


async def test_enter_before_the_files_are_known_waits_for_them(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not lost; more letters take it back."""
    gate = asyncio.Event()
    loop = asyncio.get_running_loop()

    def slow(folders: Sequence[str], *, with_folders: bool) -> list[Candidate]:
        asyncio.run_coroutine_threadsafe(gate.wait(), loop).result(SECONDS)
        return listed(folders, with_folders=with_folders)

    monkeypatch.setattr(picker_module, "listed", slow)
    async with picking(shop) as at:
        await at.press(*"workshop", "enter")
        assert at.picked == []
        await at.press("backspace", *"p:5", "enter")
        gate.set()
        assert await at.taken() == lines(shop / "src/workshop.py", 5, 5)


@pytest.mark.parametrize(
    ("typed", "first", "last"),
    [("work:3-8", 3, 8), ("work:5", 5, 5), ("work:8-3", 8, 8), ("work:50-999", 50, 60), ("work:999", 60, 60)],
)
async def test_lines_are_typed_after_the_name(shop: Path, typed: str, first: int, last: int) -> None:
    """They are chosen and on the screen; beyond the end it is the last line."""
    async with picking(shop) as at:
        await at.press(*typed)
        words = f"line {first}" if first == last else f"lines {first} to {last}"
        await at.see(f"src/workshop.py, {words}", f"█ {first:>2} line {first}")
        await at.press("enter")
        assert await at.taken() == lines(shop / "src/workshop.py", first, last)


async def test_lines_are_chosen_by_keys(shop: Path) -> None:
    """Tab goes to them and back; Shift or Space chooses, and every key that moves moves."""
    async with picking(shop) as at:
        await at.press(*"work")
        await at.see("▶ src/workshop.py", "line 1")
        await at.press("tab")
        assert at.preview.has_focus
        steps: list[tuple[str, int, tuple[int, int] | None]] = [
            ("down", 2, None), ("j", 3, None), ("k", 2, None), ("up", 1, None), ("up", 1, None),
            ("end", 60, None), ("home", 1, None), ("G", 60, None), ("g", 1, None),
            ("j", 2, None), ("shift+down", 3, (2, 3)), ("J", 4, (2, 4)), ("shift+up", 3, (2, 3)), ("K", 2, (2, 2)),
            ("K", 1, (1, 2)), ("space", 1, None), ("v", 1, (1, 1)), ("down", 2, (1, 2)), ("v", 2, None),
            ("space", 2, (2, 2)), ("right", 2, (2, 2)), ("l", 2, (2, 2)), ("left", 2, (2, 2)), ("h", 2, (2, 2)),
        ]  # fmt: skip
        for key, cursor, chosen in steps:
            await at.press(key)
            now = at.preview.chosen
            found = (at.preview.cursor + 1, None if now is None else (now[0] + 1, now[1] + 1))
            assert found == (cursor, chosen), key
        await at.press("pagedown")
        assert at.preview.cursor > 5
        await at.press("pageup", "j")
        await at.see("lines 2 to 3")
        await at.press("shift+tab")
        assert not at.preview.has_focus
        await at.press("tab", "enter")
        assert await at.taken() == lines(shop / "src/workshop.py", 2, 3)


async def test_without_a_choice_the_line_of_the_cursor_is_taken(shop: Path) -> None:
    """Whoever goes to the lines means lines."""
    async with picking(shop) as at:
        await at.press(*"work")
        await at.see("▶ src/workshop.py", "line 1")
        await at.press("tab", "j", "j", "enter")
        assert await at.taken() == lines(shop / "src/workshop.py", 3, 3)


async def test_escape_goes_back_and_then_picks_nothing(shop: Path) -> None:
    """From the lines to the names, from there away."""
    async with picking(shop) as at:
        await at.press(*"work")
        await at.see("▶ src/workshop.py", "line 1")
        await at.press("tab", "escape")
        assert at.picked == []
        await at.press("escape")
        assert await at.taken() is None


async def test_the_mouse_picks_too(shop: Path) -> None:
    """A drag over lines chooses them, with Shift up to where it is clicked; a second click on a file takes it."""
    async with picking(shop) as at:
        await at.press(*"work")
        await at.see("▶ src/workshop.py", "line 1")
        await at.pilot.mouse_down(at.preview, offset=Offset(10, 2))
        await at.pilot.hover(at.preview, offset=Offset(10, 4))
        await at.pilot.mouse_up(at.preview, offset=Offset(10, 4))
        await at.see("lines 3 to 5")
        await at.pilot.click(at.preview, offset=Offset(10, 1))
        await at.pilot.click(at.preview, offset=Offset(10, 3), shift=True)
        await at.see("lines 2 to 4")
        await at.press("shift+tab", *["backspace"] * 4)
        await at.see("▶ src/workshop.py", "docs/shop.md")
        await at.pilot.click(at.page.query_one("FileList"), offset=Offset(5, 1), times=2)
        assert await at.taken() == whole(shop / "docs/shop.md")


async def test_a_folder_is_mentioned_and_not_selected(shop: Path) -> None:
    """Agents can be told to look at one; there is nothing of it to select."""
    async with picking(shop, mention=True) as at:
        await at.press(*"src/")
        await at.see("▶ src/", "A folder with 2 entries.")
        await at.press("tab")
        assert not at.preview.has_focus
        await at.press("enter")
        assert await at.taken() == whole(shop / "src", mention=True)
    async with picking(shop) as at:
        await at.press(*"docs")
        await at.see("▶ docs/shop.md")
        assert "docs/ " not in at.screen


@pytest.mark.parametrize("how", ["/", "~", "../", "./"])
async def test_a_file_elsewhere_is_named_by_its_path(shop: Path, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Absolute, from home or from here, with lines; a link is told by both of its names."""
    other = shop.parent / "other"
    other.mkdir()
    (other / "far.py").write_text(TEXT)
    (other / "link.py").symlink_to("far.py")
    monkeypatch.setenv("HOME", str(other))
    (shop / "near.py").symlink_to(other / "far.py")
    typed, said = {
        "/": (f"{other}/link.py:4", other / "link.py"), "~": ("~/link.py:4", other / "link.py"),
        "../": ("../other/link.py:4", other / "link.py"), "./": ("./near.py:4", shop / "near.py"),
    }[how]  # fmt: skip
    async with picking(shop) as at:
        await at.press(*typed, "enter")
        assert await at.taken() == Picked(str(other / "far.py"), str(said), False, 3, 3, len(TEXT.split("\n")[3]))


async def test_nothing_that_fits_is_nothing_to_take(shop: Path) -> None:
    """Enter does nothing then, and Tab goes nowhere."""
    async with picking(shop) as at:
        await at.press(*"zzzz", "enter", "tab")
        await at.see("No file fits.")
        assert at.picked == []
        await at.press(*["backspace"] * 4)
        await at.see("▶ .gitignore")


async def test_what_was_picked_lately_stands_first(shop: Path) -> None:
    """As long as nothing is typed."""
    async with picking(shop, recent=[str(shop / "src/workshop.py"), str(shop / "gone.py")]) as at:
        await at.see("▶ src/workshop.py")


@pytest.mark.parametrize(
    "name", ["new\nline.py", "esc\x1b[31m\x07.py", "[red]x[@click=app.quit]y.py", "日本語" * 20 + ".py", "a" * 200]
)
async def test_any_name_can_be_picked(workspace: Path, name: str) -> None:
    """Nothing of it is obeyed, of a long one the end is shown, and the file is the right one."""
    (workspace / name).write_text("x\n")
    (workspace / "other.txt").write_text("x\n")
    async with picking(workspace) as at:
        await at.see("other.txt")
        await at.press(*"py" if name.endswith("py") else "aa")
        await seen(at.app, lambda screen: "other.txt" not in screen, "only that one", SECONDS)
        assert "\x1b" not in at.screen
        assert all(len(line) <= 80 for line in at.screen.split("\n"))
        if "red" in name:
            assert "[red]x[@click=app.quit]y.py" in at.screen
        await at.press("enter")
        assert await at.taken() == whole(workspace / name)


async def test_a_name_of_bytes_that_are_no_text_can_be_picked(workspace: Path) -> None:
    """Its path is the one on disk."""
    raw = os.fsdecode(os.path.join(os.fsencode(workspace), b"\xff\xfe.py"))
    Path(raw).write_text("x\n")
    async with picking(workspace) as at:
        await at.press(*"py", "enter")
        assert await at.taken() == Picked(raw, raw, False)


async def test_fifty_thousand_files_hold_nothing_up(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The event loop never works long in one piece, and what was typed last is what counts."""
    many = [candidate(f"{workspace}/package{number % 100}/module_{number}.py") for number in range(50_000)]
    monkeypatch.setattr(picker_module, "listed", lambda folders, with_folders: many)
    async with picking(workspace) as at, never_held(HELD_SECONDS, time.thread_time):
        await at.press(*"p_49999")
        await at.see("▶ package99/module_49999.py", "(1)")
        await at.press("enter")
        assert await at.taken() == whole(workspace / "package99/module_49999.py")
