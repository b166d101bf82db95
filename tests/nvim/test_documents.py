"""Files are shown, listed, saved and read again as pairside asks, and nothing of the person's is lost by that."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.robot import Robot
from tests.e2e.home import Home
from tests.e2e.until import until
from tests.nvim.conftest import Connected
from tests.nvim.editor import SECONDS, Neovim
from tests.nvim.facts import Facts

Start = Callable[..., Neovim]

SHOWN = "vim.api.nvim_buf_get_name(0) == ..."
NAMES = [
    "a b.txt",
    "[x].txt",
    "st*r?.txt",
    "$HOME.txt",
    "%#.txt",
    "ünï日本.txt",
    "-a.txt",
    "+1.txt",
    "~.txt",
    "a'\"|.txt",
]


@pytest.fixture
def start(home: Home, running: Start, agent: Callable[..., Robot]) -> Callable[..., Connected]:
    """Starts a Neovim with these arguments, and an agent."""

    def started(*arguments: str, **options: Any) -> Connected:
        editor = running(*arguments, **options)
        return Connected(home, editor, agent(editor))

    return started


def real_text(neovim: Neovim) -> str:
    """What is selected, read by Vim's own means."""
    text: str = neovim.lua("""return table.concat(vim.fn.getregion(vim.fn.getpos("v"), vim.fn.getpos("."),
      { type = vim.fn.mode() }), "\\n")""")
    return text


def name(neovim: Neovim) -> str:
    """The path of the file in front."""
    found: str = neovim.lua("return vim.api.nvim_buf_get_name(0)")
    return found


def tell_changed(neovim: Neovim, *paths: Path) -> list[str]:
    """What the front-end answers when these files were changed on disk: those that will be looked at again."""
    answer = neovim.wait_lua(
        """if not _G.asked then
          _G.asked = true
          local paths = ...
          vim.schedule(function()
            _G.answer = require("pairside.process").verbs["files/changed"]({ paths = paths })
          end)
        end
        local answer = _G.answer
        if answer then
          _G.asked, _G.answer = nil, nil
        end
        return answer""",
        [str(path) for path in paths],
    )
    awaits: list[str] = answer["awaits"]
    return awaits


# Opening


def test_a_file_is_opened_where_the_person_is(start: Callable[..., Connected]) -> None:
    """What an agent opens is in front of the person, in the window they were in."""
    it = start("a.txt")
    path = it.home.write("b.txt", "one\ntwo\n")
    it.agent.call("openFile", filePath=str(path))
    it.neovim.wait_lua(SHOWN, str(path))
    it.neovim.wait_screen(r"^one$")
    assert it.neovim.counts()["windows"] == 1


@pytest.mark.parametrize("file", NAMES)
def test_any_name_is_taken_as_it_is(start: Callable[..., Connected], file: str) -> None:
    """Blanks, wildcards, variables and the like in a name mean nothing but themselves."""
    it = start()
    it.home.write("x.txt", "wrong\n")
    path = it.home.write(file, "right\n")
    it.agent.call("openFile", filePath=str(path))
    it.neovim.wait_screen(r"^right$")
    assert name(it.neovim) == str(path)
    before = it.neovim.lua("return #vim.api.nvim_list_bufs()")
    it.agent.call("openFile", filePath=str(path))
    assert it.neovim.lua("return #vim.api.nvim_list_bufs()") == before
    listed = json.loads(it.agent.call("getOpenEditors")[0])["tabs"]
    assert [one["fileName"] for one in listed if one["isActive"]] == [str(path)]
    it.neovim.keys("Aer<Esc>")
    it.neovim.wait_lua("vim.bo.modified")
    assert json.loads(it.agent.call("saveDocument", filePath=str(path))[0])["success"]
    assert path.read_text() == "righter\n"


def test_a_link_leads_to_the_buffer_of_its_file(start: Callable[..., Connected]) -> None:
    """A file that is open under another name is not opened twice."""
    home_link = "link.txt"
    it = start()
    path = it.home.write("real.txt", "one\n")
    (it.home.project / home_link).symlink_to(path)
    it.neovim.command(f"edit {home_link}")
    buffer = it.neovim.lua("return vim.api.nvim_get_current_buf()")
    it.neovim.command("enew")
    it.agent.call("openFile", filePath=str(path))
    it.neovim.wait_lua("vim.api.nvim_get_current_buf() == ...", buffer)


def test_lines_are_selected_exactly(start: Callable[..., Connected]) -> None:
    """Lines 2 to 3 are those two and nothing else; lines behind the end are the last one."""
    it = start()
    path = it.home.write("b.txt", "alpha\nbeta\ngämma\ndelta\n")
    for lines, text in {(2, 3): "beta\ngämma", (1, 1): "alpha", (3, 99): "gämma\ndelta", (99, 100): "delta"}.items():
        it.agent.call("openFile", filePath=str(path), startLine=lines[0], endLine=lines[1])
        it.neovim.wait_mode("v")
        assert real_text(it.neovim) == text
        it.neovim.keys("<Esc>")
        it.neovim.wait_mode("n")


def test_a_passage_is_selected_exactly(start: Callable[..., Connected]) -> None:
    """A text is selected from its first to its last character, behind wide ones and in exclusive selections too."""
    for selection in ("inclusive", "exclusive"):
        it = start(before=f"vim.o.selection = '{selection}'")
        path = it.home.write("b.txt", "alpha\n日\U0001f600beta é gamma\nend\n")
        for passage, text in {("beta", None): "beta", ("é", None): "é", ("beta", "end"): "beta é gamma\nend"}.items():
            more = {} if passage[1] is None else {"endText": passage[1]}
            it.agent.call("openFile", filePath=str(path), startText=passage[0], **more)
            it.neovim.wait_mode("v")
            assert real_text(it.neovim) == text
            it.neovim.keys("<Esc>")
            it.neovim.wait_mode("n")


def test_what_is_selected_far_away_is_on_screen(start: Callable[..., Connected]) -> None:
    """Lines beyond the screen, or in a closed fold, come into sight."""
    it = start()
    path = it.home.write("b.txt", "".join(f"line {number}\n" for number in range(500)))
    it.neovim.command("set foldmethod=manual")
    it.agent.call("openFile", filePath=str(path))
    it.neovim.wait_lua(SHOWN, str(path))
    it.neovim.command("390,410fold")
    it.agent.call("openFile", filePath=str(path), startLine=400, endLine=401)
    it.neovim.wait_screen(r"^line 399$")
    assert real_text(it.neovim) == "line 399\nline 400"


def test_without_focus_a_file_is_only_loaded(start: Callable[..., Connected]) -> None:
    """What an agent opens in the background is in the list and in no window."""
    it = start("a.txt")
    path = it.home.write("b.txt", "one\ntwo\n")
    it.agent.call("openFile", filePath=str(path), makeFrontmost=False)
    assert name(it.neovim).endswith("a.txt")
    assert it.neovim.lua("return #vim.fn.win_findbuf(vim.fn.bufnr(...))", str(path)) == 0
    assert [one["fileName"] for one in json.loads(it.agent.call("getOpenEditors")[0])["tabs"]][-1] == str(path)


UNSUITABLE = {
    "terminal": "terminal",
    "help": "help | only",
    "quickfix": "copen | only",
    "prompt": "setlocal buftype=prompt",
    "fixed": "setlocal winfixbuf",
    "diff": "diffthis",
    "tree": "setlocal buftype=nofile filetype=neo-tree",
    "modified": "set nohidden | call setline(1, 'unsaved')",
    "wiped": "setlocal bufhidden=wipe | call setline(1, 'unsaved')",
    "float": "terminal",
}


@pytest.mark.parametrize("kind", UNSUITABLE)
def test_a_window_that_is_not_for_files_is_left_alone(start: Callable[..., Connected], kind: str) -> None:
    """Terminals, trees, comparisons, unsaved text and so on stay; the file gets a window of its own, with its own
    options."""
    it = start("a.txt", before="vim.o.number = true")
    path = it.home.write("b.txt", "one\n")
    it.neovim.command(UNSUITABLE[kind])
    if kind == "float":
        it.neovim.command(
            "call nvim_open_win(nvim_create_buf(v:false, v:true), v:true, #{relative: 'editor', row: 1, col: 1, "
            "width: 9, height: 3})"
        )
    before = it.neovim.lua("return vim.iter(vim.api.nvim_list_wins()):map(vim.api.nvim_win_get_buf):totable()")
    it.agent.call("openFile", filePath=str(path))
    it.neovim.wait_lua(SHOWN, str(path))
    after = it.neovim.lua("return vim.iter(vim.api.nvim_list_wins()):map(vim.api.nvim_win_get_buf):totable()")
    assert sorted(after)[: len(before) + 1] == sorted([*before, it.neovim.lua("return vim.api.nvim_get_current_buf()")])
    assert it.neovim.lua("return {vim.wo.number, vim.wo.winfixbuf, vim.wo.diff, vim.bo.buftype}") == [
        True,
        False,
        False,
        "",
    ]
    assert it.neovim.lua("return vim.fn.filereadable('a.txt')") == 0


def test_a_suitable_window_beside_a_terminal_is_taken(start: Callable[..., Connected]) -> None:
    """From a terminal the file is opened in the window that the person came from."""
    it = start("a.txt")
    path = it.home.write("b.txt", "one\n")
    it.neovim.command("botright vsplit | terminal")
    it.neovim.keys("i")
    it.neovim.wait_mode("t")
    it.agent.call("openFile", filePath=str(path))
    it.neovim.wait_lua(SHOWN, str(path))
    assert it.neovim.counts()["windows"] == 2
    assert it.neovim.mode().name == "n"


def test_another_tab_page_is_taken_only_if_it_shows_the_file(start: Callable[..., Connected]) -> None:
    """The file is shown in this tab page if there is a place for it; one that shows the file already is gone to, and
    one with other files is left as it is."""
    it = start("a.txt", before="vim.o.splitright = true vim.o.splitbelow = true")
    path = it.home.write("b.txt", "one\n")
    it.neovim.command("tabnew | terminal")
    it.agent.call("openFile", filePath=str(path))
    it.neovim.wait_lua(SHOWN, str(path))
    assert it.neovim.lua("return vim.fn.tabpagenr()") == 2
    it.neovim.command("tabnext 1")
    it.agent.call("openFile", filePath=str(path))
    it.neovim.wait_lua(SHOWN, str(path))
    assert it.neovim.lua("return vim.fn.tabpagenr()") == 1
    it.neovim.command("terminal")
    it.agent.call("openFile", filePath=str(path))
    it.neovim.wait_lua(SHOWN, str(path))
    assert it.neovim.lua("return vim.fn.tabpagenr()") == 2


@pytest.mark.parametrize(
    ("keys", "mode"), [("itext", "i"), ("v", "v"), (":let x", "c"), ("d", "no"), ("gh", "s"), ("q:", "n")]
)
def test_who_types_is_not_moved(start: Callable[..., Connected], keys: str, mode: str) -> None:
    """While something is half typed the person stays; afterwards, when no key came for a while, the file is shown."""
    it = start("a.txt")
    it.neovim.keys("ione two<Esc>")
    it.neovim.keys(keys)
    it.neovim.wait_mode(mode)
    path = it.home.write("b.txt", "one\n")
    before = it.neovim.request("nvim_get_current_win")
    it.agent.call("openFile", filePath=str(path))
    assert it.neovim.mode().name == mode
    assert it.neovim.request("nvim_get_current_win") == before
    it.neovim.keys(":q<CR>" if keys == "q:" else "<Esc>")
    it.neovim.wait_lua(SHOWN, str(path))


def test_what_cannot_be_opened_is_said(start: Callable[..., Connected]) -> None:
    """A folder, or a file that is not there, is no file to show: the answer says why."""
    it = start()
    facts = Facts(it.neovim)
    assert "folder" in facts.verb("file/open", {"path": str(it.home.project), "focus": True})["failure"]
    assert "ENOENT" in facts.verb("file/open", {"path": str(it.home.project / "none"), "focus": True})["failure"]


@pytest.mark.parametrize("directory", ["", ".", "~/swap//"])
def test_a_swap_file_of_a_crash_is_left_for_the_person(
    start: Callable[..., Connected], neovim: Start, directory: str
) -> None:
    """Text that a crash left in a swap file may be all there is: the file is not opened, nothing asks, and the swap
    file stays."""
    it = start(before=f"vim.cmd('set directory={directory}')" if directory else "")
    (it.home.home / "swap").mkdir()
    path = it.home.write("b.txt", "one\n")
    other = neovim(str(path), plugin=False, before=f"vim.cmd('set directory={directory}')" if directory else "")
    other.keys("ounsaved<Esc>:preserve<CR>")
    swap = other.wait_lua("vim.fn.filereadable(vim.fn.swapname('')) == 1 and vim.fn.swapname('')")
    swap = other.lua("return vim.fn.fnamemodify(..., ':p')", swap)
    other.kill()
    other.wait_end()
    answer = Facts(it.neovim).verb("file/open", {"path": str(path), "focus": True})
    assert "swap file" in answer["failure"]
    assert it.neovim.mode().name == "n"
    assert not it.neovim.mode().blocking
    assert Path(swap).exists()
    assert it.neovim.lua("return vim.fn.bufloaded(...)", str(path)) == 0


def test_a_file_that_is_open_in_another_neovim_is_opened_without_a_question(
    start: Callable[..., Connected], neovim: Start
) -> None:
    """The swap file of a Neovim that runs is no reason to ask; nothing blocks."""
    it = start()
    path = it.home.write("b.txt", "one\n")
    other = neovim(str(path), plugin=False)
    other.wait_lua("vim.fn.filereadable(vim.fn.swapname('')) == 1")
    it.agent.call("openFile", filePath=str(path))
    it.neovim.wait_lua(SHOWN, str(path))
    it.neovim.wait_mode("n")


def test_a_preview_is_in_the_preview_window(start: Callable[..., Connected]) -> None:
    """What is opened for a look is in the preview window; the next one takes its place."""
    it = start("a.txt")
    for file in ("b.txt", "c.txt"):
        path = it.home.write(file, f"{file}\n")
        it.agent.call("openFile", filePath=str(path), preview=True)
        it.neovim.wait_lua(SHOWN, str(path))
        assert it.neovim.lua("return vim.wo.previewwindow")
        assert it.neovim.counts()["windows"] == 2


# The list


def test_documents_are_those_that_the_person_has_open(start: Callable[..., Connected]) -> None:
    """Named files in the list of buffers are told with their language and state; the last one in front is active, also
    from a terminal."""
    it = start("a.sh")
    path = it.home.write("b.tsx", "one\ntwo\n")
    it.neovim.command("filetype on | edit b.tsx | set filetype=typescriptreact | help | new | enew | terminal")
    it.neovim.keys("<C-w>jj")
    it.neovim.command(f"call win_gotoid(bufwinid('{path}'))")
    it.neovim.keys("x")
    it.neovim.wait_lua("vim.bo.modified")
    it.neovim.command("tabnew | terminal")
    listed = Facts(it.neovim).verb("documents/list")["documents"]
    assert {"path": str(path), "lines": 2, "language": "typescriptreact", "active": True, "dirty": True} in listed
    (other,) = [one for one in listed if one["path"] != str(path)]
    assert other["path"] == str(it.home.project / "a.sh")
    assert not other.get("active")
    assert "dirty" not in other


def test_a_change_of_the_list_is_told_once_until_it_is_asked_for(start: Callable[..., Connected]) -> None:
    """However much changes, pairside hears of it once; then again after it has asked."""
    it = start("a.txt")
    it.home.write("b.txt", "b\n")
    facts = Facts(it.neovim)
    it.neovim.lua("""local verbs = require("pairside.process").verbs
      local list = verbs["documents/list"]
      _G.asked = 0
      verbs["documents/list"] = function(params)
        _G.asked = _G.asked + 1
        return list(params)
      end""")
    for keys in (":edit b.txt<CR>", "ia<Esc>", ":w<CR>", ":bd<CR>", ":set ft=c<CR>"):
        facts.verb("documents/list")
        facts.forget()
        it.neovim.lua("_G.asked = 0")
        it.neovim.keys(keys + "ix<BS><Esc>")
        facts.wait("documents/changed")
        it.neovim.keys("iy<Esc>o<Esc>")
        it.neovim.wait_mode("n")
        # pairside itself may have asked meanwhile, since an agent has come.
        assert len(facts.told("documents/changed")) <= 1 + it.neovim.lua("return _G.asked")


def test_a_change_of_a_hidden_buffer_is_told(start: Callable[..., Connected]) -> None:
    """What a plugin changes in a buffer that nobody sees is told too: a file is dirty then."""
    it = start("a.txt")
    path = it.home.write("b.txt", "b\n")
    it.agent.call("openFile", filePath=str(path), makeFrontmost=False)
    assert not json.loads(it.agent.call("checkDocumentDirty", filePath=str(path))[0])["isDirty"]
    it.neovim.lua("vim.api.nvim_buf_set_lines(vim.fn.bufnr(...), 0, 0, false, {'new'})", str(path))
    until(
        lambda: json.loads(it.agent.call("checkDocumentDirty", filePath=str(path))[0])["isDirty"],
        timeout=SECONDS,
        what="dirty",
    )


def test_names_that_begin_alike_are_not_confused(start: Callable[..., Connected]) -> None:
    """A file that is not open is not taken for another one whose name contains its own."""
    it = start("a.txt")
    it.neovim.keys("ix<Esc>")
    answer = json.loads(it.agent.call("checkDocumentDirty", filePath=str(it.home.project / "a.t"))[0])
    assert not answer["success"]
    answer = json.loads(it.agent.call("saveDocument", filePath=str(it.home.project / "a.t"))[0])
    assert not answer["success"]
    assert not (it.home.project / "a.txt").exists()


# Saving


def test_saving_writes_exactly_that_buffer_with_its_autocommands(start: Callable[..., Connected]) -> None:
    """A hidden buffer is written as by `:w`, and no other one."""
    it = start("a.txt")
    it.neovim.command("set hidden | autocmd BufWritePre b.txt call setline(1, getline(1) .. '!')")
    it.neovim.keys("ia<Esc>:edit b.txt<CR>ib<Esc>:edit c.txt<CR>ic<Esc>")
    it.neovim.wait_lua("vim.fn.expand('%') == 'c.txt' and vim.fn.mode() == 'n' and vim.fn.getline(1) == 'c'")
    path = it.home.project / "b.txt"
    assert json.loads(it.agent.call("saveDocument", filePath=str(path))[0])["success"]
    assert path.read_text() == "b!\n"
    assert not (it.home.project / "a.txt").exists()
    assert not (it.home.project / "c.txt").exists()
    assert it.neovim.lua("return vim.fn.expand('%')") == "c.txt"


@pytest.mark.parametrize(
    ("prepare", "why"),
    [
        ("setlocal readonly", "readonly"),
        ("set confirm | setlocal readonly", "readonly"),
        ("autocmd BufWritePre a.txt throw 'no good'", "no good"),
        ("autocmd BufWriteCmd a.txt let g:written = 1", "unsaved"),
        ("autocmd BufWritePre a.txt if confirm('Sure?', \"&yes\\n&no\") != 1 | throw 'not sure' | endif", "not sure"),
    ],
)
def test_what_cannot_be_saved_is_said(start: Callable[..., Connected], prepare: str, why: str) -> None:
    """Whatever keeps a file from being written is answered; nothing asks the person, and nothing is lost."""
    it = start("a.txt")
    path = it.home.write("a.txt", "one\n")
    it.neovim.command("edit")
    it.neovim.command("call setline(1, 'two')")
    it.neovim.command(prepare)
    answer = Facts(it.neovim).verb("document/save", {"path": str(path)})
    assert why in answer["failure"], answer
    assert path.read_text() == "one\n"
    assert it.neovim.lines() == ["two"]
    assert not it.neovim.mode().blocking
    assert it.neovim.lua("return vim.o.confirm") == ("confirm" in prepare and "confirm(" not in prepare)


def test_a_file_that_was_changed_on_disk_is_not_overwritten(start: Callable[..., Connected]) -> None:
    """If the file has changed since it was read, saving fails and says so; nothing asks."""
    it = start("a.txt")
    path = it.home.write("a.txt", "one\n")
    it.neovim.command("edit")
    it.neovim.command("call setline(1, 'two')")
    path.write_text("three\n")
    os.utime(path, (2_000_000_000, 2_000_000_000))
    answer = Facts(it.neovim).verb("document/save", {"path": str(path)})
    assert "changed on disk" in answer["failure"]
    assert path.read_text() == "three\n"
    assert it.neovim.lines() == ["two"]
    assert not it.neovim.mode().blocking


# Reading again


@pytest.mark.parametrize("autoread", ["autoread", "noautoread"])
def test_a_changed_file_is_read_again(start: Callable[..., Connected], autoread: str) -> None:
    """A buffer without unsaved changes gets the new text at once: cursors, views and history stay, and nothing asks."""
    it = start("a.txt", before=f"vim.cmd('set {autoread}')")
    path = it.home.write("a.txt", "".join(f"line {number}\n" for number in range(100)))
    it.neovim.command("edit | split | normal! 50Gzt")
    it.neovim.command("wincmd w | normal! 20Gztjj2l")
    it.neovim.keys("ix<Esc>:w<CR>")
    it.neovim.wait_lua("not vim.bo.modified and vim.fn.getline('.') == 'lixne 21'")
    views = it.neovim.lua(
        "return {vim.fn.winsaveview(), vim.fn.win_execute(vim.fn.win_getid(1), 'echo winsaveview()')}"
    )
    path.write_text(path.read_text().replace("line 90", "changed"))
    tell_changed(it.neovim, path)
    assert it.neovim.lines()[90] == "changed"
    assert views == it.neovim.lua(
        "return {vim.fn.winsaveview(), vim.fn.win_execute(vim.fn.win_getid(1), 'echo winsaveview()')}"
    )
    assert not it.neovim.lua("return vim.bo.modified")
    it.neovim.keys("u")
    it.neovim.wait_lua("vim.fn.getline(91) == 'line 90' and vim.fn.getline(22) == 'lixne 21'")
    it.neovim.keys("u")
    it.neovim.wait_lua("vim.fn.getline(22) == 'line 21'")
    assert not [line for line in it.neovim.messages() if "W1" in line]


def test_folds_stay_as_they_are(start: Callable[..., Connected]) -> None:
    """Folds that the person made or opened are as before when the file is read again."""
    it = start("a.txt")
    path = it.home.write("a.txt", "".join(f"line {number}\n" for number in range(100)))
    it.neovim.command("edit | 10,20fold | 30,40fold | 35foldopen")
    state = "return {vim.fn.foldclosed(15), vim.fn.foldclosed(35), vim.fn.foldlevel(35)}"
    assert it.neovim.lua(state) == [10, -1, 1]
    path.write_text(path.read_text().replace("line 90", "changed"))
    tell_changed(it.neovim, path)
    assert it.neovim.lines()[90] == "changed"
    assert it.neovim.lua(state) == [10, -1, 1]


def test_a_long_file_can_be_undone_too(start: Callable[..., Connected]) -> None:
    """Neovim forgets the history of a long file that it reads again; here it stays, and so does the option."""
    it = start("a.txt")
    path = it.home.write("a.txt", "line\n" * 30_000)
    it.neovim.command("edit")
    path.write_text("new\n" + path.read_text())
    tell_changed(it.neovim, path)
    assert it.neovim.lines()[0] == "new"
    it.neovim.keys("u")
    it.neovim.wait_lua("vim.api.nvim_buf_line_count(0) == 30000")
    assert it.neovim.lua("return vim.o.undoreload") == 10_000


def test_what_the_person_types_in_is_read_again_when_they_stopped(start: Callable[..., Connected]) -> None:
    """Text does not change beneath what is half typed: it does when nothing is."""
    it = start("a.txt")
    path = it.home.write("a.txt", "one\ntwo\n")
    it.neovim.command("edit")
    it.neovim.keys("v")
    it.neovim.wait_mode("v")
    path.write_text("new\none\ntwo\n")
    assert tell_changed(it.neovim, path) == []
    assert it.neovim.lines() == ["one", "two"]
    it.neovim.keys("<Esc>")
    it.neovim.wait_lua("vim.fn.getline(1) == 'new'")


def test_a_hidden_buffer_is_read_again_and_one_that_is_not_loaded_is_left(start: Callable[..., Connected]) -> None:
    """A file behind the one in front gets its new text; a file that is not open stays closed."""
    it = start("a.txt")
    hidden, closed = it.home.write("b.txt", "b\n"), it.home.write("c.txt", "c\n")
    it.agent.call("openFile", filePath=str(hidden), makeFrontmost=False)
    before = it.neovim.counts()
    hidden.write_text("new b\n")
    closed.write_text("new c\n")
    assert tell_changed(it.neovim, hidden, closed) == []
    assert it.neovim.lua("return vim.fn.getbufline(vim.fn.bufnr(...), 1, '$')", str(hidden)) == ["new b"]
    assert it.neovim.counts() == before


def modified(start: Callable[..., Connected], autoread: str = "autoread") -> tuple[Connected, Path]:
    """A Neovim with unsaved changes of a file that was then changed on disk."""
    it = start("a.txt", before=f"vim.cmd('set {autoread}')")
    path = it.home.write("a.txt", "one\n")
    it.neovim.command("edit")
    it.neovim.command("call setline(1, 'mine')")
    path.write_text("from disk\n")
    return it, path


@pytest.mark.parametrize("autoread", ["autoread", "noautoread"])
def test_unsaved_changes_are_kept_unless_the_person_says_otherwise(
    start: Callable[..., Connected], autoread: str
) -> None:
    """The person is asked once what is to become of their changes; until then, and if they keep them, all stays."""
    it, path = modified(start, autoread)
    assert tell_changed(it.neovim, path) == []
    tell_changed(it.neovim, path)
    it.neovim.wait_screen("Keep mine")
    assert it.neovim.screen()
    it.neovim.keys("1<CR>")
    it.neovim.wait_mode("n")
    assert it.neovim.lines() == ["mine"]
    assert path.read_text() == "from disk\n"
    it.neovim.lua("vim.defer_fn(function() _G.later = true end, 700)")
    it.neovim.wait_lua("_G.later")
    assert it.neovim.mode().name == "n"
    it.neovim.command("checktime")
    assert not it.neovim.mode().blocking


def test_the_file_can_be_loaded_instead_and_that_undone(start: Callable[..., Connected]) -> None:
    """Loading from disk is a change like any other: `u` brings the unsaved text back."""
    it, path = modified(start)
    tell_changed(it.neovim, path)
    it.neovim.wait_screen("Keep mine")
    it.neovim.keys("2<CR>")
    it.neovim.wait_lua("vim.fn.getline(1) == 'from disk' and not vim.bo.modified")
    it.neovim.keys("u")
    it.neovim.wait_lua("vim.fn.getline(1) == 'mine'")


def test_the_difference_can_be_looked_at(start: Callable[..., Connected]) -> None:
    """Both texts stand side by side; closing the one from disk leaves everything as it was."""
    it, path = modified(start)
    before = it.neovim.counts()
    tell_changed(it.neovim, path)
    it.neovim.wait_screen("Keep mine")
    it.neovim.keys("3<CR>")
    it.neovim.wait_screen("mine.*from disk")
    it.neovim.keys("<C-w>l:q<CR>")
    it.neovim.wait_lua("#vim.api.nvim_list_wins() == 1")
    assert it.neovim.lines() == ["mine"]
    assert not it.neovim.lua("return vim.wo.diff")
    assert it.neovim.counts() == before


def test_nobody_is_asked_in_the_middle_of_typing(start: Callable[..., Connected]) -> None:
    """The question waits until the person is in that buffer and types nothing."""
    it, path = modified(start)
    it.neovim.keys("A and more")
    it.neovim.wait_mode("i")
    tell_changed(it.neovim, path)
    it.neovim.lua("vim.defer_fn(function() _G.later = true end, 800)")
    it.neovim.wait_lua("_G.later")
    assert it.neovim.mode().name == "i"
    it.neovim.keys("<Esc>:split b.txt<CR>")
    it.neovim.lua("_G.later = false vim.defer_fn(function() _G.later = true end, 800)")
    it.neovim.wait_lua("_G.later")
    assert it.neovim.mode().name == "n"
    it.neovim.keys("<C-w>j")
    it.neovim.wait_screen("Keep mine")
    it.neovim.keys("1<CR>")
    it.neovim.wait_mode("n")
    assert it.neovim.lua("return vim.fn.getbufline('a.txt', 1)") == ["mine and more"]


def test_the_text_of_a_deleted_file_is_kept(start: Callable[..., Connected]) -> None:
    """When a file is deleted its buffer stays, and the person is told."""
    it = start("a.txt")
    path = it.home.write("a.txt", "one\n")
    it.neovim.command("edit")
    path.unlink()
    tell_changed(it.neovim, path)
    it.neovim.wait_message("a.txt was deleted")
    assert it.neovim.lines() == ["one"]
