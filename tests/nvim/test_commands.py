"""The command `:Pairside`: what each subcommand does, how it is completed, and that nothing waits for a key."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.cli.robot import Robot, write_unreviewed
from tests.e2e.home import Home
from tests.nvim.conftest import Connected
from tests.nvim.editor import Neovim
from tests.nvim.terminals import Log, options, ready
from tests.nvim.test_review import propose

Start = Callable[..., Neovim]
Connect = Callable[..., Robot]


def completed(editor: Neovim, line: str) -> list[str]:
    """What a command line is completed with."""
    found: list[str] = editor.lua("return vim.fn.getcompletion(..., 'cmdline')", line)
    return found


def typed(editor: Neovim, command: str) -> None:
    """Type a command as a person does."""
    editor.keys(f":{command}<CR>")


def connected_clients(editor: Neovim, count: int) -> None:
    """Wait until pairside told of so many agents, each with its process."""
    editor.wait_lua(
        """local clients = require('pairside').status().clients or {}
        return #clients == ... and vim.iter(clients):all(function(client) return type(client.pid) == 'number' end)""",
        count,
    )


# Finding a subcommand


def test_subcommands_are_completed(neovim: Start) -> None:
    """Completion knows every subcommand, also behind a range and a bang, and nothing is started by it."""
    editor = neovim(options={"auto_start": False})
    names = editor.lua("return vim.tbl_map(function(one) return one.name end, require('pairside.command').all())")
    assert completed(editor, "Pairside ") == names
    assert {"start", "stop", "restart", "status", "toggle", "send", "add", "accept", "reject", "health"} <= set(names)
    assert completed(editor, "Pairside tree") == ["tree-add"]
    assert completed(editor, "'<,'>Pairside! sen") == ["send", "send-text"]
    assert completed(editor, "Pairside nothing ") == []
    assert editor.state == "stopped"


def test_arguments_are_completed(running: Start, home: Home) -> None:
    """Completion knows words, names of files with blanks, terminals and the numbers of proposals."""
    home.write("a file.txt", "text\n")
    editor = running(options=options())
    assert completed(editor, "Pairside share ") == ["on", "off", "toggle"]
    assert completed(editor, "Pairside review-where t") == ["terminal", "toggle"]
    assert completed(editor, "Pairside layout u") == ["unified"]
    assert completed(editor, "Pairside log ") == ["wire"]
    assert completed(editor, "Pairside changes ") == ["all", "patch", "quickfix"]
    assert completed(editor, "Pairside change ") == ["next", "prev", "signs"]
    assert completed(editor, "Pairside undo ") == ["file", "turn", "last"]
    assert completed(editor, "Pairside undo file a") == ["a\\ file.txt"]
    assert completed(editor, "Pairside diff ") == ["turn", "a\\ file.txt"]
    assert completed(editor, "Pairside add a") == ["a\\ file.txt"]
    assert completed(editor, "Pairside add a\\ f") == ["a\\ file.txt"]
    assert completed(editor, "ClaudeCodeAdd a\\ f") == ["a\\ file.txt"]
    assert completed(editor, "Pairside share on ") == []
    typed(editor, "Pairside toggle work2")
    editor.wait_screen("agent ready")
    assert completed(editor, "Pairside close ") == ["work2"]
    editor.lua("require('pairside.terminal').close('work2')")
    Log(home).wait_alive(0)


def test_an_unknown_subcommand_is_named_with_the_one_that_was_meant(neovim: Start) -> None:
    """What does not exist is said, with the name that is like it, and nothing else happens."""
    editor = neovim(options={"auto_start": False})
    typed(editor, "Pairside statsu")
    editor.wait_said("^there is no :Pairside statsu, did you mean status\\?$")
    typed(editor, "Pairside share offf")
    editor.wait_said("^:Pairside share takes on, off, toggle: did you mean off\\?$")
    assert not editor.mode().blocking


# Serving


def test_start_stop_and_restart_say_what_came_of_them(running: Start) -> None:
    """Each of the three tells how it went; a second start says that it runs."""
    editor = running()
    port = editor.wait_running()["port"]
    typed(editor, "Pairside start")
    editor.wait_said(f"^pairside serves agents already, on port {port}$")
    typed(editor, "Pairside restart")
    editor.wait_said(f"^pairside serves agents on port {port}$")
    typed(editor, "Pairside stop")
    editor.wait_said("^pairside has stopped$")
    assert editor.state == "stopped"
    typed(editor, "ClaudeCodeStop")
    editor.wait_said("^pairside does not run$")
    typed(editor, "ClaudeCodeStart")
    editor.wait_running()


# What is shown


def test_the_status_tells_everything_at_once_and_goes_by_q(connected: Connected) -> None:
    """The state, the agents, what is shared and the answers of doctor are on one page, which `q` takes away."""
    editor = connected.neovim
    connected_clients(editor, 1)
    hello, before = editor.wait_running(), editor.counts()
    typed(editor, "Pairside")
    editor.wait_screen(rf"pairside {hello['version']} serves .* on port {hello['port']} \(pid {hello['pid']}\)")
    editor.wait_screen(r"Lock file: .*\.lock")
    editor.wait_screen(r"1 agent connected:\s*│\n.*Claude Code 2\.1\.330 \(pid \d+\), since ")
    editor.wait_screen("Reviews: none pending")
    editor.wait_screen("Shared with agents now: nothing")
    editor.wait_screen(r"Terminals: none")
    editor.wait_screen(r"Will it connect\? ", seconds=15)
    editor.wait_screen(r"Will I be asked\? ")
    assert editor.said() == []
    editor.keys("q")
    editor.wait_not_on_screen("pairside status")
    assert editor.counts() == before


def test_the_status_names_who_left_and_why(connected: Connected) -> None:
    """The last departures are told with their reasons."""
    editor = connected.neovim
    connected_clients(editor, 1)
    connected.agent.vanish()
    editor.wait_lua("require('pairside').status().client_count == 0")
    typed(editor, "ClaudeCodeStatus")
    editor.wait_screen("No agent is connected")
    editor.wait_screen(r"Left at .*Claude Code: lost 1006 \(the connection broke without a goodbye")
    editor.keys("<Esc>")
    editor.wait_not_on_screen("pairside status")


def test_the_status_can_be_asked_for_while_nothing_runs(neovim: Start) -> None:
    """A pairside that does not run is told as that, with what starts it."""
    editor = neovim(options={"auto_start": False})
    typed(editor, "Pairside status")
    editor.wait_screen(r"pairside is stopped \(:Pairside start\)")
    editor.wait_screen(r"Will it connect\? No", seconds=15)


def test_a_pending_proposal_is_in_the_status(connected: Connected) -> None:
    """The status names the proposals that wait, and which one is on screen."""
    editor = connected.neovim
    path = connected.home.write("a.txt", "old\n")
    propose(editor, connected.agent, path, "new\n")
    typed(editor, "Pairside status")
    editor.wait_screen("Reviews: 1 pending")
    editor.wait_screen(r"1: Claude Code proposes a\.txt, on screen")


def test_sharing_is_shown_and_switched(connected: Connected) -> None:
    """`share` shows what agents are told; `off`, `on` and `toggle` change that at once."""
    editor = connected.neovim
    typed(editor, "Pairside share")
    editor.wait_screen("Shared with agents now: nothing")
    editor.wait_screen(r"Never files like \.env\*")
    editor.keys("q")
    typed(editor, "Pairside share off")
    editor.wait_said("^sharing is off: agents are told nothing any more")
    editor.wait_lua("require('pairside').status().sharing.on == false")
    assert "⊘" in editor.lua("return require('pairside').statusline()")
    typed(editor, "Pairside share toggle")
    editor.wait_said("^sharing is on$")
    editor.wait_lua("require('pairside').status().sharing.on == true")


def test_where_proposals_are_reviewed_is_switched(connected: Connected) -> None:
    """`review-where` says how it is, and `toggle` leaves proposals to the agents' terminals, and takes them back."""
    editor = connected.neovim
    typed(editor, "Pairside review-where")
    editor.wait_said("^proposals are reviewed here$")
    typed(editor, "Pairside review-where toggle")
    editor.wait_said("^proposals are left to the agents' own terminals")
    editor.wait_lua("require('pairside').status().review_where == 'terminal'")
    typed(editor, "Pairside review-where here")
    editor.wait_lua("require('pairside').status().review_where == 'here'")


def test_changes_without_a_review_are_listed_and_lead_to_the_file(connected: Connected) -> None:
    """`changes` lists what was written, Enter opens the file, and `changes patch` shows the differences."""
    editor = connected.neovim
    typed(editor, "Pairside changes")
    editor.wait_screen("No agent changed anything")
    editor.keys("q")
    path = connected.home.write("a b.txt", "old\n")
    write_unreviewed(connected.agent, connected.home, "a b.txt", "new\n")
    editor.wait_lua("require('pairside').status().unreviewed_changes == 1")
    typed(editor, "Pairside changes patch")
    editor.wait_screen(r"│-old\s")
    editor.wait_screen(r"│\+new\s")
    editor.keys("q")
    typed(editor, "Pairside changes")
    editor.wait_screen(r"Turn 1 .* Claude Code \(pid \d+\)")
    editor.wait_screen(r"  modified a b\.txt \+1 -1")
    editor.keys("j<CR>")
    editor.wait_lua("vim.api.nvim_buf_get_name(0) == ...", str(path))


def test_the_log_tells_what_happened(connected: Connected) -> None:
    """`log` shows events, `log wire` the messages too, and `r` looks again."""
    editor = connected.neovim
    connected_clients(editor, 1)
    typed(editor, "Pairside log")
    editor.wait_screen(r"client 1 is Claude Code 2\.1\.330 \(pid \d+\)")
    typed(editor, "Pairside share off")
    editor.wait_said("sharing is off")
    editor.keys("r")
    editor.wait_screen("sharing is off: agents are told nothing any more")
    editor.keys("q")
    typed(editor, "Pairside log wire")
    editor.wait_screen(r"client 1 [<>] \d+ bytes")


def test_messages_are_shown_in_full(running: Start) -> None:
    """What did not fit into the message area is read on a page."""
    editor = running(columns=60)
    text = "a long text " * 20 + "and its end"
    editor.lua("require('pairside.message').warn(...)", text)
    editor.wait_screen(r"… \(:Pairside messages\)")
    typed(editor, "Pairside messages")
    editor.wait_screen("and its end")


def test_a_page_does_not_take_keys_that_come_while_it_is_filled(connected: Connected) -> None:
    """The page is there at once, so what is typed next goes to it, and nothing moves the person later."""
    editor = connected.neovim
    connected.home.write("a.txt", "one\ntwo\n")
    editor.command("edit a.txt")
    editor.keys(":Pairside status<CR>qAtyped<Esc>")
    editor.wait_lua("vim.api.nvim_buf_get_lines(0, 0, 1, false)[1] == 'onetyped'")
    assert len(editor.lua("return vim.api.nvim_list_wins()")) == 1


def test_there_is_one_page_at_most(running: Start) -> None:
    """The next page takes the place of the last one, and Insert mode ends where one opens."""
    editor = running()
    editor.lua("vim.keymap.set('i', '<F2>', '<Cmd>Pairside share<CR>')")
    editor.keys("ihello<F2>")
    editor.wait_screen("Shared with agents now")
    editor.wait_mode("n")
    typed(editor, "Pairside messages")
    editor.wait_screen("Nothing was said")
    editor.wait_not_on_screen("Shared with agents now")
    editor.keys("q")
    editor.wait_not_on_screen("Nothing was said")
    assert editor.lines() == ["hello"]
    assert len(editor.lua("return vim.api.nvim_list_wins()")) == 1


def test_a_page_in_the_command_line_window_is_refused(running: Start) -> None:
    """In the command-line window no other window can be opened: that is said, and nothing fails."""
    editor = running()
    editor.keys("q:")
    editor.wait_lua("vim.fn.getcmdwintype() == ':'")
    editor.lua("require('pairside.command').run({ args = 'share', bang = false, name = 'Pairside' })")
    editor.wait_said("^close the command-line window first$")
    editor.keys(":q<CR>")


# Sending


def test_add_mentions_files_and_lines(connected: Connected) -> None:
    """`add` takes a file with blanks and lines, and tells the agent of them counted from 0."""
    editor = connected.neovim
    path = connected.home.write("a b.txt", "one\ntwo\nthree\n")
    ready(editor)
    typed(editor, "Pairside add a\\ b.txt 2 3")
    told = connected.agent.wait_told("at_mentioned")
    assert told == {"filePath": str(path), "lineStart": 1, "lineEnd": 2}
    typed(editor, "ClaudeCodeAdd a\\ b.txt 1")
    assert connected.agent.wait_told("at_mentioned", 2) == {"filePath": str(path), "lineStart": 0, "lineEnd": 0}


@pytest.mark.parametrize("command", ["Pairside! add .env", "Pairside add! .env"])
def test_a_bang_mentions_what_is_not_shared(connected: Connected, command: str) -> None:
    """A file that is excluded is refused with the way to mention it all the same, which works."""
    editor = connected.neovim
    path = connected.home.write(".env", "SECRET=1\n")
    ready(editor)
    typed(editor, "Pairside add .env")
    editor.wait_said(r":Pairside add! FILE")
    typed(editor, command)
    assert connected.agent.wait_told("at_mentioned")["filePath"] == str(path)


def test_send_takes_a_range(connected: Connected) -> None:
    """Lines of a range are mentioned, by either name of the command."""
    editor = connected.neovim
    path = connected.home.write("a.txt", "one\ntwo\nthree\n")
    editor.command("edit a.txt")
    ready(editor)
    typed(editor, "2,3Pairside send")
    told = connected.agent.wait_told("at_mentioned")
    assert told == {"filePath": str(path), "lineStart": 1, "lineEnd": 2}
    editor.keys("ggV:ClaudeCodeSend<CR>")
    assert connected.agent.wait_told("at_mentioned", 2) == {"filePath": str(path), "lineStart": 0, "lineEnd": 0}


# Terminals


def test_the_first_word_names_a_terminal_and_the_rest_is_for_the_agent(running: Start, home: Home) -> None:
    """`:Pairside open work2 --flag` starts an agent of its own; options alone go to the unnamed terminal."""
    editor, log = running(options=options()), Log(home)
    typed(editor, "Pairside open work2 --flag 'a b'")
    assert log.wait("started")["argv"][1:] == ["--flag", "a b"]
    editor.keys("<C-\\><C-n>")
    typed(editor, "Pairside toggle --other")
    assert log.wait("started", 2)["argv"][1:] == ["--other"]
    names = editor.lua("return vim.tbl_map(function(one) return one.name end, require('pairside.terminal').status())")
    assert names == ["", "work2"]
    editor.lua("require('pairside.terminal').close('')")
    editor.lua("require('pairside.terminal').close('work2')")
    log.wait_alive(0)


def test_the_commands_of_claudecode_pass_everything_on(running: Start, home: Home) -> None:
    """`:ClaudeCode word` has no name of a terminal in it: the word is the agent's."""
    editor, log = running(options=options()), Log(home)
    typed(editor, "ClaudeCode chat --continue")
    assert log.wait("started")["argv"][1:] == ["chat", "--continue"]
    editor.wait_screen("agent ready")
    editor.keys("<C-\\><C-n>")
    typed(editor, "ClaudeCodeSendText! hello there")
    log.wait_typed("hello there")
    typed(editor, "ClaudeCodeSendText  again")
    log.wait_typed("hello thereagain\r")
    typed(editor, "ClaudeCodeClose")
    log.wait_alive(0)


def test_a_text_goes_to_the_terminal_that_the_person_means(running: Start, home: Home) -> None:
    """`send-text` types into the only terminal, whatever its name, and presses Enter unless a bang is there."""
    editor, log = running(options=options()), Log(home)
    typed(editor, "Pairside open work2")
    editor.wait_screen("agent ready")
    editor.keys("<C-\\><C-n><C-w>w")
    typed(editor, "Pairside send-text do it | now")
    log.wait_typed("do it | now\r")
    typed(editor, "Pairside close work2")
    log.wait_alive(0)


def test_the_commands_of_a_terminal_start_nothing_without_need(running: Start) -> None:
    """Closing what does not run is told and changes nothing."""
    editor = running(options=options())
    before = editor.counts()
    typed(editor, "Pairside close")
    editor.wait_said("^the terminal does not run$")
    assert editor.counts() == before


# Reviews


@pytest.mark.parametrize(
    ("command", "outcome"),
    [
        ("Pairside accept", "FILE_SAVED"),
        ("ClaudeCodeDiffAccept", "FILE_SAVED"),
        ("Pairside reject", "DIFF_REJECTED"),
        ("ClaudeCodeDiffDeny", "DIFF_REJECTED"),
        ("Pairside close-reviews", "DIFF_REJECTED"),
        ("ClaudeCodeCloseAllDiffs", "DIFF_REJECTED"),
        ("Pairside accept 1", "FILE_SAVED"),
    ],
)
def test_a_proposal_is_decided_by_a_command(connected: Connected, command: str, outcome: str) -> None:
    """Commands accept and reject the proposal that is on screen."""
    path = connected.home.write("a.txt", "old\n")
    verdict = propose(connected.neovim, connected.agent, path, "new\n")
    typed(connected.neovim, command)
    assert verdict.result(10)[0] == outcome


def test_a_proposal_that_is_not_there_is_said_so(connected: Connected) -> None:
    """A number that no proposal has decides nothing."""
    editor = connected.neovim
    path = connected.home.write("a.txt", "old\n")
    verdict = propose(editor, connected.agent, path, "new\n")
    typed(editor, "Pairside accept 7")
    editor.wait_said("^there is no pending proposal 7$")
    typed(editor, "Pairside accept all")
    editor.wait_said("^:Pairside accept takes the number of a proposal, or nothing$")
    assert not verdict.done()


def test_the_layout_of_a_proposal_on_screen_is_changed(connected: Connected) -> None:
    """`layout` shows the same proposal in another layout, at once, and the person is in it."""
    editor = connected.neovim
    path = connected.home.write("a.txt", "old\n")
    propose(editor, connected.agent, path, "new\n")
    assert editor.lua("return vim.wo.diff")
    typed(editor, "Pairside layout unified")
    editor.wait_lua("vim.b.pairside_review == 1 and not vim.wo.diff")
    assert editor.lines() == ["new"]
    editor.wait_screen("^ *old *$")
    typed(editor, "Pairside layout sideways")
    editor.wait_said("^:Pairside layout takes vertical, horizontal, unified")


def test_a_proposal_that_was_put_aside_is_shown_again(connected: Connected) -> None:
    """`:only` from the file takes a proposal from the screen, and `review` shows it and goes there at once."""
    editor = connected.neovim
    path = connected.home.write("a.txt", "old\n")
    verdict = propose(editor, connected.agent, path, "new\n")
    editor.keys("<C-w>p")
    typed(editor, "only")
    editor.wait_said("is still pending")
    assert completed(editor, "Pairside review ") == ["1"]
    typed(editor, "Pairside review")
    editor.wait_lua("vim.b.pairside_review == 1")
    assert not verdict.done()


def test_nothing_that_the_commands_say_needs_a_key(connected: Connected) -> None:
    """On a narrow screen every subcommand without arguments ends without a hit-enter prompt."""
    editor = connected.neovim
    editor.request("nvim_ui_try_resize", 40, 12)
    names = editor.lua("return vim.tbl_map(function(one) return one.name end, require('pairside.command').all())")
    for name in names:
        if name in ("install", "stop", "restart", "toggle", "open", "focus", "select-model", "choose"):
            continue  # they ask, or come and go
        typed(editor, f"Pairside {name}")
        editor.wait_lua("vim.fn.histget(':') == ...", f"Pairside {name}")
        editor.wait_mode("n")
        editor.keys("q")
        editor.keys("<Esc>")
