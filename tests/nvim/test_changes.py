"""What an agent changed, seen and taken back in Neovim: signs, jumps, lists, diffs, and undo by hunk, file and turn."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.robot import Robot, write_unreviewed
from tests.e2e.home import Home
from tests.e2e.until import until
from tests.nvim.conftest import Connected
from tests.nvim.editor import POLL_SECONDS, SECONDS, Neovim
from tests.nvim.facts import Facts

Start = Callable[..., Neovim]
Connect = Callable[..., Robot]

LINES = [f"line {number}" for number in range(1, 21)]
OLD = "".join(f"{line}\n" for line in LINES)
NEW = OLD.replace("line 3\n", "LINE 3\n").replace("line 10\n", "line 10\nmore\nmore still\n").replace("line 15\n", "")
"""Line 3 is changed, two lines come behind line 10, and line 15 goes."""
SIGNS = {3: "~", 11: "+", 12: "+", 16: "_"}
"""The signs of that by line, from 1: that of the deleted line is where it was, below line 14, which is the 16th now."""
MARKED = """vim.iter(require("pairside.changes").hunks(0)):map(function(one) return one.row + 1 end):totable()"""


def git(home: Home, *words: str) -> None:
    """Run git in the project."""
    subprocess.run(["git", *words], cwd=home.project, env=home.environment(), check=True, capture_output=True)


@pytest.fixture
def home(home: Home) -> Home:
    """The project is a git work tree with two files in it."""
    git(home, "init", "-q")
    home.write("a.txt", OLD)
    home.write("gone.txt", "was\nhere\n")
    return home


@pytest.fixture
def start(running: Start, agent: Connect, home: Home) -> Callable[..., Connected]:
    """Starts a Neovim with files, and an agent that has its first prompt."""

    def started(*arguments: str, **options: Any) -> Connected:
        neovim = running(*arguments, **options)
        it = Connected(home, neovim, agent(neovim))
        prompt(it)
        asked(neovim, "changes")  # so that what commands change can be told from what was there
        return it

    return started


@pytest.fixture
def changed(start: Callable[..., Connected]) -> Connected:
    """A Neovim with a.txt in front, in which an agent has just changed three places, and the signs of that."""
    it = start("a.txt")
    write(it, "a.txt", NEW)
    wait_signs(it.neovim, SIGNS)
    return it


def prompt(it: Connected) -> None:
    """The person sends a prompt to the agent."""
    it.agent.call("closeAllDiffTabs")


def write(it: Connected, name: str, text: str) -> None:
    """The agent writes a file by its own tool, without a review."""
    write_unreviewed(it.agent, it.home, name, text)


def signs(neovim: Neovim) -> dict[int, str]:
    """The signs on screen beside the lines of the only window, by line from 1; its first line is on the first row."""
    return {row: line[0] for row, line in enumerate(neovim.screen()[:24], start=1) if re.match(r"[~+_‾] \S", line)}


def wait_signs(neovim: Neovim, expected: dict[int, str]) -> None:
    """Wait until just these signs are on screen."""
    until(
        lambda: signs(neovim) == expected,
        timeout=SECONDS,
        every=POLL_SECONDS,
        what=lambda: f"{expected}: {signs(neovim)}{neovim.described()}\n{neovim.said()}",
    )


def typed(neovim: Neovim, command: str) -> None:
    """Type a command as a person does."""
    neovim.keys(f":{command}<CR>")


def wait_file(path: Path, text: str | None) -> None:
    """Wait until a file has exactly that text, or is not there."""

    def there() -> str | None:
        try:
            return path.read_bytes().decode()
        except FileNotFoundError:
            return None

    until(
        lambda: there() == text,
        timeout=SECONDS,
        every=POLL_SECONDS,
        what=lambda: f"{path.name} {text!r}: {there()!r}",
    )


def wait_lines(neovim: Neovim, text: str, buffer: int = 0) -> None:
    """Wait until a buffer has these lines."""
    until(
        lambda: neovim.lines(buffer) == text.splitlines(),
        timeout=SECONDS,
        every=POLL_SECONDS,
        what=lambda: f"lines: {neovim.lines(buffer)}{neovim.described()}",
    )


def shell(it: Connected, name: str, text: str | None) -> None:
    """A command that the agent runs writes a file, or deletes it; then the agent shows that it goes on."""
    path = it.home.project / name
    if text is None:
        path.unlink()
    else:
        it.home.write(name, text)
    it.agent.call("getDiagnostics")


def listed(it: Connected, **which: Any) -> dict[str, list[str]]:
    """The files that are listed as changed now, each with the means."""
    answer = asked(it.neovim, "changes", **which)
    return {Path(file["path"]).name: file["means"] for turn in answer["turns"] for file in turn["files"]}


def asked(neovim: Neovim, method: str, **params: Any) -> Any:
    """What pairside answers to Neovim."""
    neovim.lua(
        """local method, params = ...
        _G.answer = nil
        require("pairside.process").request(method, params, function(result, failure)
          _G.answer = result or { failure = failure }
        end)""",
        method,
        params,
    )
    return neovim.wait_lua("_G.answer")


def closed(neovim: Neovim, before: dict[str, int]) -> None:
    """Wait until there are as many windows, buffers and so on as before."""
    until(
        lambda: neovim.counts() == before,
        timeout=SECONDS,
        every=POLL_SECONDS,
        what=lambda: f"{before}: {neovim.counts()}{neovim.described()}",
    )


# Signs


def test_changed_lines_have_signs(changed: Connected) -> None:
    """Added, changed and deleted lines have each their sign, at the lines where they are, in their colours."""
    neovim = changed.neovim
    rows = neovim.screen()
    assert rows[2].startswith("~ LINE 3")
    assert rows[10].startswith("+ more")
    assert rows[15].startswith("_ line 14")
    assert "Changed" in neovim.groups("~ LINE 3")
    assert "Added" in neovim.groups("+ more")
    assert "Removed" in neovim.groups("_ line 14")


def test_lines_that_were_deleted_at_the_top_have_their_sign_there(start: Callable[..., Connected]) -> None:
    """There is no line above the first one."""
    it = start("a.txt")
    write(it, "a.txt", OLD.replace("line 1\n", "", 1))
    wait_signs(it.neovim, {1: "‾"})


def test_signs_move_with_what_the_person_types(changed: Connected) -> None:
    """Edits shift the signs, saved or not, and what the person writes has none."""
    neovim = changed.neovim
    neovim.keys("ggOmine<Esc>")
    moved = {row + 1: sign for row, sign in SIGNS.items()}
    wait_signs(neovim, moved)
    typed(neovim, "write")
    neovim.wait_lua("not vim.bo.modified")
    neovim.keys("GOlast but one<Esc>")
    typed(neovim, "write")
    neovim.wait_lua("not vim.bo.modified")
    assert signs(neovim) == moved
    neovim.keys("4Gdd")
    wait_signs(neovim, {row - 1: sign for row, sign in moved.items() if row != 4})


def test_the_signs_of_a_turn_stay_until_the_next_one_changes_something(changed: Connected) -> None:
    """A prompt alone takes nothing away; the first change of its turn takes the signs before, in every file."""
    neovim = changed.neovim
    neovim.watch("Pairside*")
    prompt(changed)
    neovim.wait_told("PairsideTurnEnded")
    assert signs(neovim) == SIGNS
    write(changed, "b.txt", "other\n")
    wait_signs(neovim, {})
    neovim.command("edit b.txt")
    wait_signs(neovim, {1: "+"})


def test_what_a_command_changed_is_read_and_has_signs(changed: Connected) -> None:
    """Neovim hears of changes by other means too, also in a file that is not in front."""
    neovim = changed.neovim
    neovim.command("edit b.txt | edit a.txt")
    shell(changed, "a.txt", "first\n" + NEW)
    wait_lines(neovim, "first\n" + NEW)
    wait_signs(neovim, {1: "+", **{row + 1: sign for row, sign in SIGNS.items()}})
    assert listed(changed) == {"a.txt": ["edit", "other"]}
    neovim.keys("u")
    wait_lines(neovim, NEW)


def test_a_file_that_is_opened_later_has_its_signs(changed: Connected) -> None:
    """Files are asked for when they come into a window, and again when they were read anew."""
    neovim = changed.neovim
    write(changed, "b.txt", "one\ntwo\n")
    neovim.command("edit b.txt")
    wait_signs(neovim, {1: "+", 2: "+"})
    neovim.command("edit!")
    wait_signs(neovim, {1: "+", 2: "+"})
    neovim.command("edit a.txt")
    wait_signs(neovim, SIGNS)


def test_a_hidden_file_is_marked_when_it_is_shown(changed: Connected) -> None:
    """Nothing is asked for what nobody sees; once it is in a window its signs are those of now."""
    neovim = changed.neovim
    neovim.command("edit b.txt")
    write(changed, "a.txt", OLD.replace("line 20", "end"))
    neovim.wait_lua("vim.fn.getbufline('a.txt', 20)[1] == 'end'")
    neovim.command("buffer a.txt")
    wait_signs(neovim, {20: "~"})


def test_unsaved_edits_stay_and_are_marked_when_they_are_saved(changed: Connected) -> None:
    """While the buffer is ahead of its file nothing is marked anew nor lost; then the signs are those of now."""
    neovim, path = changed.neovim, changed.home.project / "a.txt"
    neovim.keys("Gomine<Esc>")
    neovim.wait_lua("vim.bo.modified")
    write(changed, "a.txt", NEW.replace("line 7", "LINE 7"))
    neovim.wait_screen("Keep mine")
    neovim.keys("1<CR>")
    neovim.wait_mode("n")
    assert neovim.lines() == [*NEW.splitlines(), "mine"]
    assert signs(neovim) == SIGNS
    neovim.command("write!")
    assert path.read_text() == NEW + "mine\n"
    wait_signs(neovim, {**SIGNS, 7: "~"})


def test_going_back_to_what_is_on_disk_brings_the_signs_up_to_now(changed: Connected) -> None:
    """Undo of the agent's write and redo end with the signs as they were; giving up an edit with those of now."""
    neovim = changed.neovim
    neovim.keys("u")
    wait_lines(neovim, OLD)
    neovim.keys("<C-r>")
    wait_lines(neovim, NEW)
    wait_signs(neovim, SIGNS)
    neovim.keys("Gomine<Esc>")
    neovim.wait_lua("vim.bo.modified and vim.fn.mode() == 'n'")
    prompt(changed)
    write(changed, "b.txt", "b\n")
    neovim.wait_lua("require('pairside').status().unreviewed_changes == 2")
    neovim.keys("u")
    wait_signs(neovim, {})


def test_signs_go_with_the_process_and_come_back_with_it(changed: Connected) -> None:
    """While nothing runs nothing is marked; changes are kept, and so they are marked again after a start."""
    neovim = changed.neovim
    neovim.command("Pairside stop")
    neovim.wait_lua("require('pairside.process').state == 'stopped'")
    wait_signs(neovim, {})
    typed(neovim, "Pairside change next")
    neovim.wait_said(r"pairside does not run \(:Pairside start\)")
    neovim.command("Pairside start")
    wait_signs(neovim, SIGNS)


def test_the_death_of_the_process_leaves_nothing(changed: Connected) -> None:
    """Autocommands, extmarks and keys are gone when the process was killed and may not start again."""
    neovim = changed.neovim
    pid = neovim.wait_running()["pid"]
    neovim.lua("require('pairside.options').values.cmd = {'/nonexistent'}")
    neovim.lua("vim.uv.kill(..., 9)", pid)
    neovim.wait_lua("require('pairside.process').state == 'failed'")
    wait_signs(neovim, {})
    assert neovim.lua("return (pcall(vim.api.nvim_get_autocmds, {group = 'pairside_changes'}))") is False


def test_without_signs_everything_else_works(start: Callable[..., Connected]) -> None:
    """`changes.signs = false` takes the signs away, not the jumps; the command shows and hides them."""
    it = start("a.txt", options={"changes": {"signs": False}})
    write(it, "a.txt", NEW)
    it.neovim.wait_lua(f"#({MARKED}) == 3")
    it.neovim.keys(":Pairside change next<CR>")
    it.neovim.wait_lua("vim.fn.line('.') == 3")
    assert signs(it.neovim) == {}


def test_signs_are_hidden_and_shown_by_a_command(changed: Connected) -> None:
    """`change signs` hides all of them, and shows them again."""
    typed(changed.neovim, "Pairside change signs")
    wait_signs(changed.neovim, {})
    typed(changed.neovim, "Pairside change signs")
    wait_signs(changed.neovim, SIGNS)


COUNT = """_G.asked = 0
local process = require("pairside.process")
local request = process.request
process.request = function(method, ...)
  _G.asked = _G.asked + (method == "changes/marks" and 1 or 0)
  return request(method, ...)
end"""


def test_a_busy_neovim_keeps_no_agent_waiting_and_makes_up_for_it(start: Callable[..., Connected]) -> None:
    """The agent writes on while Neovim is busy; once it is not, the text and the signs are those of now."""
    it = start("a.txt")
    busy = it.neovim.begin("vim.uv.sleep(4000)")
    write(it, "a.txt", NEW)
    assert not busy.done()
    busy.result(SECONDS)
    wait_lines(it.neovim, NEW)
    wait_signs(it.neovim, SIGNS)


def test_many_writes_are_asked_for_together(start: Callable[..., Connected]) -> None:
    """An agent that writes all the time costs few questions, and none about files that nobody sees."""
    it = start("a.txt")
    it.neovim.lua(COUNT)
    for number in range(30):
        write(it, f"{number}.txt", "x\n")
    it.neovim.wait_lua("require('pairside').status().unreviewed_changes == 30")
    assert it.neovim.lua("return _G.asked") <= 2
    for number in range(30):
        write(it, "a.txt", OLD.replace("line 2\n", f"number {number}\n"))
    it.neovim.wait_lua("vim.fn.getline(2) == 'number 29'")
    wait_signs(it.neovim, {2: "~"})
    assert it.neovim.lua("return _G.asked") <= 40


def test_thousands_of_hunks_are_marked_up_to_a_bound(start: Callable[..., Connected], home: Home) -> None:
    """A file that was changed everywhere does not make Neovim slow."""
    home.write("big.txt", "".join(f"{number}\n" for number in range(6000)))
    it = start("big.txt")
    write(it, "big.txt", "".join(f"{number}{'x' * (number % 2)}\n" for number in range(6000)))
    it.neovim.wait_lua(f"#({MARKED}) == 2000")


def test_the_turns_of_two_agents_are_marked_together(changed: Connected, agent: Connect) -> None:
    """Each agent that is here has a latest turn; the next turn of one takes only its own signs away."""
    neovim = changed.neovim
    other = Connected(changed.home, neovim, agent(neovim, pid=2_000_000_001))
    prompt(other)
    write(other, "a.txt", "first\n" + NEW)
    both = {1: "+", **{row + 1: sign for row, sign in SIGNS.items()}}
    wait_signs(neovim, both)
    prompt(other)
    write(other, "b.txt", "b\n")
    wait_signs(neovim, {row: sign for row, sign in both.items() if row > 1})


def test_what_is_half_typed_is_not_marked_anew_in_the_middle(changed: Connected) -> None:
    """While the buffer is behind its file the signs are of the old text; both come up to now together."""
    neovim = changed.neovim
    neovim.keys("v")
    neovim.wait_mode("v")
    write(changed, "a.txt", "first\n" + NEW)
    neovim.wait_lua("require('pairside').status().unreviewed_changes == 2")
    asked(neovim, "changes/marks", path=str(changed.home.project / "a.txt"))
    neovim.wait_screen("VISUAL")
    assert neovim.lines() == NEW.splitlines()
    assert signs(neovim) == SIGNS
    neovim.keys("<Esc>")
    wait_lines(neovim, "first\n" + NEW)
    wait_signs(neovim, {1: "+", **{row + 1: sign for row, sign in SIGNS.items()}})


# Jumps


def test_jumps_go_from_hunk_to_hunk(changed: Connected) -> None:
    """Next and previous go by hunks, with a count by so many; at the end the person is told."""
    neovim = changed.neovim

    def at(command: str, line: int) -> None:
        typed(neovim, command)
        neovim.wait_lua("vim.fn.line('.') == ...", line)

    at("Pairside change next", 3)
    at("Pairside change", 11)
    at("Pairside change prev", 3)
    at("Pairside change next 2", 16)
    typed(neovim, "Pairside change next")
    neovim.wait_said("^no next change in this file; with ! also in others$")
    at("Pairside change prev 9", 3)
    neovim.keys("<C-o>")
    neovim.wait_lua("vim.fn.line('.') == 16")
    neovim.lua("require('pairside').prev_change(2)")
    assert neovim.lua("return vim.fn.line('.')") == 3
    neovim.lua("require('pairside').next_change()")
    assert neovim.lua("return vim.fn.line('.')") == 11


def test_a_bang_goes_on_in_the_next_file(changed: Connected) -> None:
    """Behind the last hunk of a file comes the first of the next one, and the other way round."""
    neovim = changed.neovim
    write(changed, "b.txt", "new\n")
    neovim.keys("G")
    typed(neovim, "Pairside! change next")
    neovim.wait_lua("vim.fs.basename(vim.api.nvim_buf_get_name(0)) == 'b.txt' and vim.fn.line('.') == 1")
    neovim.wait_lua(f"#({MARKED}) == 1")
    typed(neovim, "Pairside! change next")
    neovim.wait_said("^no next file was changed in the agent's latest turn$")
    typed(neovim, "Pairside! change prev")
    neovim.wait_lua("vim.fs.basename(vim.api.nvim_buf_get_name(0)) == 'a.txt' and vim.fn.line('.') == 16")


def test_keys_are_mapped_only_where_there_are_changes(start: Callable[..., Connected]) -> None:
    """The keys of the options are those of a buffer with changes, and what they were before anywhere else."""
    keys = {"next": "]a", "prev": "[a", "undo": "<F4>"}
    it = start("a.txt", options={"changes": {"keymaps": keys}})
    neovim, path = it.neovim, it.home.project / "a.txt"
    is_mapped = "return vim.fn.maparg(..., 'n', false, true).buffer == 1"
    assert not neovim.lua(is_mapped, "]a")
    write(it, "a.txt", NEW)
    wait_signs(neovim, SIGNS)
    neovim.keys("2]a")
    neovim.wait_lua("vim.fn.line('.') == 11")
    neovim.keys("[a")
    neovim.wait_lua("vim.fn.line('.') == 3")
    neovim.keys("<F4>")
    wait_file(path, NEW.replace("LINE 3", "line 3"))
    wait_signs(neovim, {11: "+", 12: "+", 16: "_"})
    prompt(it)
    write(it, "b.txt", "x\n")
    wait_signs(neovim, {})
    assert not neovim.lua(is_mapped, "<F4>")


# Undo


def test_undo_at_the_cursor_takes_that_hunk_back(changed: Connected) -> None:
    """Only the hunk at the cursor is as before, on disk and in the buffer; the signs of the others stay; `u` undoes."""
    neovim, path = changed.neovim, changed.home.project / "a.txt"
    neovim.keys("11G")
    typed(neovim, "Pairside undo")
    without = NEW.replace("more\nmore still\n", "")
    wait_file(path, without)
    wait_lines(neovim, without)
    wait_signs(neovim, {3: "~", 14: "_"})
    neovim.wait_said(r"^taken back: a\.txt \+0 -2$")
    assert not neovim.lua("return vim.bo.modified")
    neovim.keys("u")
    wait_lines(neovim, NEW)
    neovim.keys("u")
    wait_lines(neovim, OLD)
    neovim.keys("2<C-r>")
    wait_lines(neovim, without)
    assert path.read_text() == without


@pytest.mark.parametrize("line", [15, 16, 17])
def test_deleted_lines_are_brought_back_from_beside_them(changed: Connected, line: int) -> None:
    """The hunk is at the line with the sign and at the one behind it, and nowhere else."""
    neovim, path = changed.neovim, changed.home.project / "a.txt"
    neovim.keys(f"{line}G")
    typed(neovim, "Pairside undo")
    if line == 15:
        neovim.wait_said("^nothing at the cursor was changed in the agent's latest turn$")
        assert path.read_text() == NEW
    else:
        wait_file(path, NEW.replace("line 14\n", "line 14\nline 15\n"))


def test_undo_of_a_range_takes_all_hunks_in_it_back(changed: Connected) -> None:
    """The hunks that the lines belong to are taken back together."""
    neovim, path = changed.neovim, changed.home.project / "a.txt"
    typed(neovim, "3,12Pairside undo")
    wait_file(path, OLD.replace("line 15\n", ""))
    wait_signs(neovim, {14: "_"})


def test_undo_with_the_persons_own_edits_around_it(changed: Connected) -> None:
    """What the person wrote and saved elsewhere in the file stays."""
    neovim, path = changed.neovim, changed.home.project / "a.txt"
    neovim.keys("ggOmine<Esc>")
    typed(neovim, "write")
    wait_file(path, "mine\n" + NEW)
    wait_signs(neovim, {row + 1: sign for row, sign in SIGNS.items()})
    neovim.keys("4G")
    typed(neovim, "Pairside undo")
    wait_file(path, "mine\n" + NEW.replace("LINE 3", "line 3"))
    wait_lines(neovim, "mine\n" + NEW.replace("LINE 3", "line 3"))


def test_undo_in_a_file_with_unsaved_edits_is_refused(changed: Connected) -> None:
    """The person is told to save first; nothing is written, and nothing of theirs is lost."""
    neovim, path = changed.neovim, changed.home.project / "a.txt"
    neovim.keys("Gomine<Esc>3G")
    typed(neovim, "Pairside undo")
    neovim.wait_said(r"^a\.txt stays: Neovim has unsaved changes in it: save them, or take them back, first$")
    assert path.read_text() == NEW
    assert neovim.lines() == [*NEW.splitlines(), "mine"]
    assert not neovim.mode().blocking


def test_a_conflict_is_told_with_its_place(changed: Connected) -> None:
    """Where the person changed the same line nothing is written, and the quickfix list leads there."""
    neovim, path = changed.neovim, changed.home.project / "a.txt"
    neovim.keys("3Gccmine<Esc>")
    typed(neovim, "write")
    mine = NEW.replace("LINE 3", "mine")
    wait_file(path, mine)
    neovim.wait_lua(f"({MARKED})[1] == 3 and not vim.bo.modified")
    typed(neovim, "Pairside undo")
    neovim.wait_said(r"^a\.txt stays: the same lines were changed since: .*; see :copen$")
    assert path.read_text() == mine
    places = neovim.lua("return vim.fn.getqflist()")
    assert [(place["lnum"], place["text"]) for place in places] == [(3, "hunk 1 was changed since: mine")]
    typed(neovim, "edit other.txt")
    typed(neovim, "cc")
    neovim.wait_lua("vim.fs.basename(vim.api.nvim_buf_get_name(0)) == 'a.txt' and vim.fn.line('.') == 3")


def test_a_file_is_taken_back_after_a_look(changed: Connected) -> None:
    """What would become of it is shown first: `q` leaves it as it is, Enter does it, and a bang asks nothing."""
    neovim, path = changed.neovim, changed.home.project / "a.txt"
    typed(neovim, "Pairside undo file")
    neovim.wait_screen(r"take back: a\.txt")
    neovim.wait_screen(r"a\.txt \+2 -3")
    neovim.wait_screen("Enter take this back · q close")
    assert not neovim.mode().blocking
    neovim.keys("q")
    neovim.wait_not_on_screen("take back")
    assert path.read_text() == NEW
    typed(neovim, "Pairside undo file a.txt")
    neovim.wait_screen(r"a\.txt \+2 -3")
    neovim.keys("<CR>")
    wait_file(path, OLD)
    wait_lines(neovim, OLD)
    wait_signs(neovim, {})
    write(changed, "a.txt", NEW)
    wait_signs(neovim, SIGNS)
    typed(neovim, "Pairside! undo file")
    wait_file(path, OLD)


def test_nothing_is_taken_back_before_it_is_known_what(changed: Connected) -> None:
    """The page is there at once and takes the keys, and Enter does nothing until the page says what it would do."""
    neovim, path = changed.neovim, changed.home.project / "a.txt"
    neovim.lua(
        """local process = require("pairside.process")
        local request = process.request
        process.request = function(method, params, done)
          return request(method, params, method ~= "undo" and done or function(result, failure)
            _G.release = function() done(result, failure) end
          end)
        end"""
    )
    typed(neovim, "Pairside undo file")
    neovim.keys("<CR><CR>")
    neovim.wait_lua("_G.release ~= nil")
    neovim.keys("<CR>")
    neovim.wait_screen("take back: a.txt")
    neovim.lua("_G.release() _G.release = nil")
    neovim.wait_screen(r"a\.txt \+2 -3")
    assert path.read_text() == NEW
    neovim.keys("<CR>")
    wait_file(path, OLD)
    neovim.wait_lua("_G.release ~= nil")
    neovim.lua("_G.release()")
    neovim.wait_said("^taken back")


def test_a_turn_is_taken_back_with_all_that_it_did(changed: Connected) -> None:
    """Edits, new files and what commands deleted: every file is as before, also in Neovim; `undo last` reverses it."""
    neovim, project = changed.neovim, changed.home.project
    neovim.command("edit gone.txt | edit a.txt")
    prompt(changed)
    write(changed, "a.txt", OLD)
    write(changed, "new.txt", "new\n")
    shell(changed, "gone.txt", None)
    until(lambda: len(listed(changed)) == 3, timeout=SECONDS, what=lambda: f"three files: {listed(changed)}")
    typed(neovim, "Pairside undo turn")
    neovim.wait_screen(r"a\.txt \+3 -2")
    neovim.wait_screen(r"gone\.txt comes back \+2 -0")
    neovim.wait_screen(r"new\.txt goes \+0 -1")
    neovim.keys("<CR>")
    wait_file(project / "a.txt", NEW)
    wait_file(project / "gone.txt", "was\nhere\n")
    wait_file(project / "new.txt", None)
    neovim.wait_said(r"^taken back: 3 files \+5 -3")
    wait_lines(neovim, NEW)
    typed(neovim, "Pairside undo last")
    wait_file(project / "a.txt", OLD)
    wait_file(project / "gone.txt", None)
    wait_file(project / "new.txt", "new\n")
    typed(neovim, "Pairside undo last")
    neovim.wait_said("^no undo is left to be taken back$")


def test_undo_last_goes_back_one_by_one(changed: Connected) -> None:
    """Each time the last undo that still stands is taken back."""
    neovim, path = changed.neovim, changed.home.project / "a.txt"
    typed(neovim, "3Pairside undo")
    first = NEW.replace("LINE 3", "line 3")
    wait_file(path, first)
    wait_signs(neovim, {11: "+", 12: "+", 16: "_"})
    typed(neovim, "16Pairside undo")
    wait_file(path, first.replace("line 14\n", "line 14\nline 15\n"))
    typed(neovim, "Pairside undo last")
    wait_file(path, first)
    typed(neovim, "Pairside undo last")  # at once: the one before may not be told yet
    wait_file(path, NEW)
    wait_lines(neovim, NEW)
    wait_signs(neovim, SIGNS)


def test_a_file_that_was_deleted_comes_back_into_its_buffer(changed: Connected) -> None:
    """The buffer of a deleted file stays; after the undo it is that of the file again, with what is on disk."""
    neovim, path = changed.neovim, changed.home.project / "gone.txt"
    neovim.command("edit gone.txt")
    shell(changed, "gone.txt", None)
    neovim.wait_said(r"^gone\.txt was deleted on disk; its buffer is kept$")
    typed(neovim, "Pairside! undo file")
    wait_file(path, "was\nhere\n")
    neovim.wait_said(r"^taken back: gone\.txt comes back \+2 -0$")
    write(changed, "gone.txt", "is here\n")
    wait_lines(neovim, "is here\n")
    assert not neovim.lua("return vim.bo.modified")


def test_a_new_file_goes_and_its_buffer_stays(changed: Connected) -> None:
    """The undo of a new file deletes it; what was in its buffer is not lost."""
    neovim = changed.neovim
    write(changed, "new.txt", "new\n")
    neovim.command("edit new.txt")
    wait_signs(neovim, {1: "+"})
    typed(neovim, "Pairside! undo file")
    wait_file(changed.home.project / "new.txt", None)
    neovim.wait_said(r"^new\.txt was deleted on disk; its buffer is kept$")
    assert neovim.lines() == ["new"]
    wait_signs(neovim, {})
    assert not neovim.mode().blocking


def test_what_came_after_the_agent_had_finished_is_left(changed: Connected) -> None:
    """The undo of a turn leaves what was hardly the agent's, and says so before and after."""
    neovim, home = changed.neovim, changed.home

    def is_late() -> bool:
        home.write("late.txt", "another program's\n")
        turns = asked(neovim, "changes")["turns"]
        return any(file["late"] for turn in turns for file in turn["files"])

    until(is_late, timeout=SECONDS, what="a late change")
    typed(neovim, "Pairside changes")
    neovim.wait_screen(r"new late\.txt .*after the agent had finished")
    neovim.keys("q")
    typed(neovim, "Pairside undo turn")
    neovim.wait_screen(r"a\.txt \+2 -3")
    neovim.wait_screen(r"late\.txt stays: it was changed after the agent had finished")
    neovim.keys("<CR>")
    wait_file(home.project / "a.txt", OLD)
    neovim.wait_said(r"^taken back: a\.txt \+2 -3; late\.txt stays: it was changed after the agent had finished$")
    assert (home.project / "late.txt").exists()


def test_what_makes_no_sense_is_told(changed: Connected) -> None:
    """A turn that is not there, a file without changes, words that mean nothing: each with what is wrong."""
    neovim = changed.neovim
    for command, said in {
        "Pairside! undo turn 77": "^there is no turn 77",
        "Pairside undo turn x": "takes the number of a turn, not x$",
        "Pairside undo fiel": "did you mean file\\?$",
        "Pairside! undo file none.txt": r"^no change of .*none\.txt is left",
        "Pairside diff none.txt": r"^nothing that an agent changed in none\.txt is there$",
        "Pairside diff a b c": r"^it is :Pairside diff \[FILE\] \[turn N\]$",
        "Pairside changes 1 2": r"^it is :Pairside changes ",
        "Pairside changes nothing": "nothing is neither the number of a turn nor all$",
        "Pairside change back": "takes next, prev, signs$",
        "Pairside changes quickfix 77": "^there is no turn 77",
    }.items():
        typed(neovim, command)
        neovim.wait_said(said)
    typed(neovim, "Pairside undo turn 77")
    neovim.wait_screen("│there is no turn 77")
    neovim.keys("<CR>q")
    neovim.wait_not_on_screen("take back turn 77")
    assert not neovim.mode().blocking


# Lists


def test_the_page_lists_the_turn_and_leads_on(changed: Connected) -> None:
    """Each file with how it was changed; Enter goes to its first hunk, `d` shows the diff, `u` takes it back."""
    neovim, project = changed.neovim, changed.home.project
    shell(changed, "made.txt", "made\n")
    until(lambda: "made.txt" in listed(changed), timeout=SECONDS, what="made.txt")
    neovim.command("enew")
    typed(neovim, "Pairside changes")
    neovim.wait_screen(r"Turn 1  \d\d:\d\d:\d\d  Claude Code \(pid 2000000000\), goes on")
    neovim.wait_screen(r"  modified a\.txt \+3 -2\s")
    neovim.wait_screen(r"  new made\.txt \+1 -0  \[by other means\]")
    neovim.wait_screen("Enter go there · d diff · u take back · q close")
    neovim.keys("j<CR>")
    neovim.wait_lua("vim.api.nvim_buf_get_name(0) == ... and vim.fn.line('.') == 3", str(project / "a.txt"))
    typed(neovim, "Pairside changes")
    neovim.wait_screen("made")
    neovim.keys("/made<CR>u")
    wait_file(project / "made.txt", None)
    neovim.wait_not_on_screen(r"new made\.txt")
    neovim.wait_screen("Turn 1 .*, 1 change taken back")
    neovim.keys("ggjd")
    neovim.wait_lua("#vim.api.nvim_list_tabpages() == 2 and vim.wo.diff")
    neovim.keys("<C-w>hq")
    neovim.wait_lua("#vim.api.nvim_list_tabpages() == 1")


def test_turns_are_listed_by_number_or_all(changed: Connected) -> None:
    """Without a word the latest turn; a number for another one; all of them with the undos."""
    neovim = changed.neovim
    prompt(changed)
    write(changed, "b.txt", "b\n")
    typed(neovim, "Pairside changes")
    neovim.wait_screen(r"new b\.txt \+1 -0")
    neovim.wait_screen("1 turn before: :Pairside changes all")
    assert not re.search(r"modified a\.txt", "\n".join(neovim.redrawn()))
    neovim.keys("q")
    typed(neovim, "Pairside changes 1")
    neovim.wait_screen("pairside changes of turn 1")
    neovim.wait_screen(r"modified a\.txt")
    neovim.keys("q")
    typed(neovim, "Pairside! undo turn 1")
    neovim.wait_said("^taken back")
    typed(neovim, "Pairside changes all")
    neovim.wait_screen("Turn 3 .*taken back by Neovim")
    neovim.wait_screen("Turn 2 ")
    neovim.wait_screen("Turn 1 .*1 change taken back")


def test_all_hunks_come_into_the_quickfix_list(changed: Connected) -> None:
    """Each hunk with its place as it is now and its first line; what was deleted is told and leads nowhere."""
    neovim = changed.neovim
    shell(changed, "gone.txt", None)
    until(lambda: "gone.txt" in listed(changed), timeout=SECONDS, what=lambda: str(listed(changed)))
    neovim.keys("ggOmine<Esc>")
    typed(neovim, "write")
    neovim.wait_lua("not vim.bo.modified")
    typed(neovim, "Pairside changes quickfix")
    neovim.wait_lua("vim.bo.buftype == 'quickfix'")
    places = neovim.lua("return vim.fn.getqflist()")
    assert [(place["lnum"], place["text"], place["valid"]) for place in places] == [
        (4, "+1 -1  +LINE 3", 1),
        (12, "+2 -0  +more", 1),
        (17, "+0 -1  -line 15", 1),
        (0, "deleted", 0),
    ]
    assert neovim.lua("return vim.fn.getqflist({title = true}).title") == ":Pairside changes quickfix"
    neovim.keys("2G<CR>")
    neovim.wait_lua("vim.fs.basename(vim.api.nvim_buf_get_name(0)) == 'a.txt' and vim.fn.line('.') == 12")


# Diffs


def test_a_diff_shows_the_text_before_beside_the_file(changed: Connected) -> None:
    """It opens in its own tab, the text before can be written nowhere, and closing it leaves everything as it was."""
    neovim, project = changed.neovim, changed.home.project
    before = neovim.counts()
    window = neovim.lua("return vim.api.nvim_get_current_win()")
    typed(neovim, "Pairside diff")
    neovim.wait_lua("#vim.api.nvim_list_tabpages() == 2 and vim.wo.diff and vim.fn.line('.') == 3")
    names = neovim.lua(
        """return vim.tbl_map(function(window)
          return vim.api.nvim_buf_get_name(vim.api.nvim_win_get_buf(window))
        end, vim.api.nvim_tabpage_list_wins(0))"""
    )
    assert names == ["pairside://before/a.txt (before)", str(project / "a.txt")]
    assert len(neovim.lua("return vim.api.nvim_tabpage_list_wins(0)")) == 2
    neovim.keys("<C-w>h")
    neovim.wait_lua("vim.bo.buftype == 'nofile'")
    assert neovim.lines() == OLD.splitlines()
    assert neovim.lua("return {vim.bo.modifiable, vim.bo.modified}") == [False, False]
    assert neovim.lua("return (pcall(vim.cmd.write))") is False
    neovim.keys("q")
    neovim.wait_lua("#vim.api.nvim_list_tabpages() == 1")
    assert neovim.lua("return {vim.api.nvim_get_current_win(), vim.wo.diff}") == [window, False]
    closed(neovim, before)
    assert (project / "a.txt").read_text() == NEW


@pytest.mark.parametrize("keys", ["<C-w>h:q<CR>", ":q<CR>", ":tabclose<CR>", "<C-w>h:bwipe<CR>", "<C-w>o:q<CR>"])
def test_a_diff_goes_whichever_way_it_is_closed(changed: Connected, keys: str) -> None:
    """Nothing of it is left, whichever window goes first."""
    neovim = changed.neovim
    before = neovim.counts()
    typed(neovim, "Pairside diff a.txt")
    neovim.wait_lua("#vim.api.nvim_list_tabpages() == 2 and vim.wo.diff")
    neovim.keys(keys)
    neovim.wait_lua("#vim.api.nvim_list_tabpages() == 1 and not vim.wo.diff")
    closed(neovim, before)
    assert neovim.lines() == NEW.splitlines()


def test_a_window_that_the_person_opened_beside_a_diff_stays(changed: Connected) -> None:
    """Only what was opened for the diff is closed, and the file is no diff any more, whatever 'diffopt' says."""
    neovim = changed.neovim
    neovim.command("set diffopt-=closeoff")
    typed(neovim, "Pairside diff")
    neovim.wait_lua("#vim.api.nvim_list_tabpages() == 2 and vim.wo.diff")
    neovim.keys(":split b.txt<CR><C-w>t")
    neovim.wait_lua("vim.bo.buftype == 'nofile'")
    neovim.keys("q")
    neovim.wait_lua("#vim.api.nvim_tabpage_list_wins(0) == 2 and #vim.api.nvim_list_tabpages() == 2")
    assert neovim.lua(
        """return vim.tbl_map(function(window)
          return { vim.fs.basename(vim.api.nvim_buf_get_name(vim.api.nvim_win_get_buf(window))), vim.wo[window].diff }
        end, vim.api.nvim_tabpage_list_wins(0))"""
    ) == [["b.txt", False], ["a.txt", False]]


def test_a_file_that_is_no_text_is_told_as_such(changed: Connected) -> None:
    """What has no lines has no diff; the list says why."""
    (changed.home.project / "a.bin").write_bytes(b"\0\1")
    shell(changed, "other.txt", "x\n")
    until(lambda: "a.bin" in listed(changed), timeout=SECONDS, what=lambda: str(listed(changed)))
    typed(changed.neovim, "Pairside changes")
    changed.neovim.wait_screen(r"new a\.bin  \[by other means, binary\]")
    changed.neovim.keys("q")
    typed(changed.neovim, "Pairside diff a.bin")
    changed.neovim.wait_said(r"^a\.bin cannot be shown: binary$")


def test_the_diff_of_a_new_and_of_a_deleted_file(changed: Connected) -> None:
    """A new file is beside nothing, a deleted one's text beside nothing; what was opened for it is closed again."""
    neovim = changed.neovim
    write(changed, "new.txt", "new\n")
    shell(changed, "gone.txt", None)
    until(lambda: "gone.txt" in listed(changed), timeout=SECONDS, what=lambda: str(listed(changed)))
    before = neovim.counts()

    def texts() -> list[list[str]]:
        shown: list[list[str]] = neovim.lua(
            """return vim.tbl_map(function(window)
              return vim.api.nvim_buf_get_lines(vim.api.nvim_win_get_buf(window), 0, -1, false)
            end, vim.api.nvim_tabpage_list_wins(0))"""
        )
        return shown

    for name, expected in {"new.txt": [[""], ["new"]], "gone.txt": [["was", "here"], [""]]}.items():
        typed(neovim, f"Pairside diff {name}")
        neovim.wait_lua("#vim.api.nvim_list_tabpages() == 2 and vim.wo.diff")
        assert texts() == expected
        neovim.keys(":q<CR>")
        neovim.wait_lua("#vim.api.nvim_list_tabpages() == 1")
        closed(neovim, before)


def test_line_ends_and_marks_of_a_file_are_no_difference(start: Callable[..., Connected], home: Home) -> None:
    """Both texts are shown as Neovim shows that file: only the line that was changed differs."""
    home.write("dos.txt", "\ufeffone\r\ntwo\r\nthree\r\n")
    it = start("dos.txt")
    write(it, "dos.txt", "\ufeffone\r\nTWO\r\nthree\r\n")
    wait_signs(it.neovim, {2: "~"})
    typed(it.neovim, "Pairside diff")
    it.neovim.wait_lua("vim.wo.diff and vim.fn.line('.') == 2")
    differing = it.neovim.lua("return vim.tbl_map(function(line) return vim.fn.diff_hlID(line, 1) > 0 end, {1, 2, 3})")
    assert differing == [False, True, False]


def test_the_diff_of_an_earlier_turn(changed: Connected) -> None:
    """With a turn the text before that one is shown."""
    neovim = changed.neovim
    prompt(changed)
    write(changed, "a.txt", "all new\n")
    wait_lines(neovim, "all new\n")
    typed(neovim, "Pairside diff turn 1")
    neovim.wait_lua("vim.wo.diff and #vim.api.nvim_list_tabpages() == 2")
    neovim.keys("<C-w>h")
    wait_lines(neovim, OLD)
    neovim.keys("q")
    neovim.wait_lua("#vim.api.nvim_list_tabpages() == 1")
    typed(neovim, "Pairside diff a.txt")
    neovim.wait_lua("vim.wo.diff")
    neovim.keys("<C-w>h")
    wait_lines(neovim, NEW)


# What is told


def test_a_write_right_after_the_agent_came_is_listed_once(running: Start, agent: Connect, home: Home) -> None:
    """It may be in the first look at the work tree or not: either way it is the agent's, by its own tool."""
    neovim = running("a.txt")
    it = Connected(home, neovim, agent(neovim))
    prompt(it)
    write(it, "a.txt", NEW)
    assert listed(it) == {"a.txt": ["edit"]}
    assert listed(it) == {"a.txt": ["edit"]}
    wait_signs(neovim, SIGNS)


def test_the_end_of_a_turn_is_told(changed: Connected) -> None:
    """A summary comes when the next prompt does, or when the agent leaves; not for a turn that changed nothing."""
    neovim = changed.neovim
    neovim.watch("PairsideTurnEnded")
    shell(changed, "made.txt", "made\n")
    until(lambda: "made.txt" in listed(changed), timeout=SECONDS, what="made.txt")
    prompt(changed)
    (told,) = neovim.wait_told("PairsideTurnEnded")
    assert told == {
        "client_id": 1, "turn": 1, "agent": "Claude Code", "pid": 2_000_000_000,
        "files": 2, "added": 4, "removed": 2, "unreviewed": 1, "by_other_means": 1,
    }  # fmt: skip
    prompt(changed)
    write(changed, "b.txt", "b\n")
    changed.agent.leave()
    (told,) = neovim.wait_told("PairsideTurnEnded", 2)
    assert (told["turn"], told["files"]) == (3, 1)


def test_only_writes_without_a_review_are_told_as_such(start: Callable[..., Connected]) -> None:
    """What a command changed, and what was taken back, is no write that should have been reviewed."""
    it = start("a.txt")
    it.neovim.watch("PairsideUnreviewedChange")
    shell(it, "a.txt", "x\n" + OLD)
    wait_signs(it.neovim, {1: "+"})
    typed(it.neovim, "Pairside undo")
    wait_lines(it.neovim, OLD)
    write(it, "b.txt", "b\n")
    (told,) = it.neovim.wait_told("PairsideUnreviewedChange")
    assert (Path(told["path"]).name, told["turn"]) == ("b.txt", 1)
    assert len([one for one in it.neovim.told if one.name == "PairsideUnreviewedChange"]) == 1
    it.neovim.wait_lua("require('pairside').status().unreviewed_changes == 1")


@pytest.mark.parametrize("told", [True, False])
def test_what_the_person_saves_is_not_the_agents(start: Callable[..., Connected], told: bool) -> None:
    """A save in Neovim during a turn is told before anything else, so it is in no list; untold it would be."""
    it = start("a.txt")
    facts = Facts(it.neovim)
    if not told:
        it.neovim.lua(
            """local process = require("pairside.process")
            local notify = process.notify
            process.notify = function(method, params)
              return method ~= "document/saved" and notify(method, params)
            end"""
        )
    write(it, "b.txt", "b\n")
    it.neovim.keys("ggOmine<Esc>:write<CR>")
    it.neovim.wait_lua("not vim.bo.modified")
    it.neovim.command("1,2write part.txt")
    it.agent.call("getDiagnostics")
    names = {"b.txt"} if told else {"a.txt", "b.txt", "part.txt"}
    assert set(listed(it)) == names
    if told:
        saved = [Path(one["path"]).name for one in facts.told("document/saved")]
        assert saved == ["a.txt", "part.txt"]


def test_a_proposal_is_no_save_of_the_person(changed: Connected) -> None:
    """Accepting a proposal by `:w` writes no file, so none is told as saved."""
    neovim = changed.neovim
    facts = Facts(neovim)
    verdict = changed.agent.propose(changed.home.project / "a.txt", OLD)
    neovim.wait_lua("require('pairside.review').pending()[1] and require('pairside.review').pending()[1].shown")
    neovim.lua("vim.defer_fn(function() require('pairside').accept() end, 400)")
    assert verdict.result(SECONDS)[0] == "FILE_SAVED"
    assert facts.told("document/saved") == []


def test_what_is_forgotten_has_no_signs_any_more(changed: Connected) -> None:
    """Nothing can be taken back of it."""
    assert asked(changed.neovim, "changes/forget") == {"forgotten": 1}
    wait_signs(changed.neovim, {})
    assert changed.neovim.lines() == NEW.splitlines()


def test_a_commands_write_and_the_agents_own_after_it_are_taken_back_together(start: Callable[..., Connected]) -> None:
    """Though no snapshot was made between them: the file that the command made is gone again."""
    it = start("a.txt")
    it.home.write("made.txt", "by a command\n")
    write(it, "made.txt", "by a command\nby the agent\n")
    asked(it.neovim, "undo", turn=1)
    wait_file(it.home.project / "made.txt", None)
