"""select, mention and open: what the agent is told, and what the person is."""

from __future__ import annotations

import json

import pytest

from pairside.agents.claude.mcp import NOTHING_SELECTED
from tests.cli.robot import PID, Robot
from tests.e2e.home import Home
from tests.e2e.served import Served
from tests.e2e.until import until


def test_selected_lines_reach_the_agent(home: Home, served: Served, robot: Robot) -> None:
    """Their text and their place, 0-based as agents count, and the person reads back what they meant."""
    path = home.write("a.py", "one\ntwo\nthree\n")
    assert served.do("select", "a.py:2-3") == "Selected lines 2 to 3 of a.py (9 characters), for the next prompt.\n"
    told = robot.wait_told("selection_changed")
    assert (told["text"], told["filePath"]) == ("two\nthree", str(path))
    assert told["selection"]["start"] == {"line": 1, "character": 0}
    assert told["selection"]["end"] == {"line": 2, "character": 5}


def test_selected_columns_reach_the_agent_in_utf16(home: Home, served: Served, robot: Robot) -> None:
    """A person counts characters; the last one is included."""
    home.write("a.py", "a𝟚ü𝟛b\n")
    assert "Selected line 1 of a.py (2 characters)" in served.do("select", "a.py:1:2-1:3")
    told = robot.wait_told("selection_changed")
    assert told["text"] == "𝟚ü"
    assert (told["selection"]["start"]["character"], told["selection"]["end"]["character"]) == (1, 4)


def test_a_selection_ends_with_the_prompt_unless_it_is_kept(home: Home, served: Served, robot: Robot) -> None:
    """closeAllDiffTabs comes with each prompt; --keep makes the selection stand, --clear ends it."""
    home.write("a.py", "one\n")
    served.do("select", "a.py:1")
    robot.wait_told("selection_changed")
    robot.call("closeAllDiffTabs")
    assert robot.wait_told("selection_changed", 2)["text"] == ""
    assert "until it is cleared" in served.do("select", "a.py:1", "--keep")
    robot.wait_told("selection_changed", 3)
    robot.call("closeAllDiffTabs")
    assert served.do("select", "--clear") == "Nothing is selected.\n"
    assert robot.wait_told("selection_changed", 4)["text"] == ""


def test_a_file_without_lines_is_shown_as_open(home: Home, served: Served, robot: Robot) -> None:
    """Its name is told, none of its text."""
    path = home.write("a.py", "one\n")
    assert served.do("select", "a.py") == "Open: a.py, for the next prompt.\n"
    told = robot.wait_told("selection_changed")
    assert (told["text"], told["filePath"]) == ("", str(path))


@pytest.mark.parametrize("arguments", [[], ["a.py", "--clear"], ["--clear", "--keep"], ["missing.py"], ["a.py:9"]])
def test_a_selection_that_makes_no_sense_is_a_usage_error(home: Home, served: Served, arguments: list[str]) -> None:
    """Nothing is guessed."""
    home.write("a.py", "one\n")
    assert served.run("select", *arguments).returncode == 2


def test_mentioned_lines_reach_the_agent(home: Home, served: Served, robot: Robot) -> None:
    """0-based, the last one included; without lines the keys are left out."""
    path = home.write("a.py", "one\ntwo\nthree\n")
    served.wait(lambda now: now["clients"] and now["clients"][0]["pid"])
    served.do("mention", "a.py:2-3")
    told = robot.wait_told("at_mentioned")
    assert (told["lineStart"], told["lineEnd"]) == (1, 2)
    assert told["filePath"] in (str(path), "a.py")
    assert served.do("mention", "a.py:3") == f"Mentioned line 3 of a.py to Claude Code (pid {PID}).\n"
    assert robot.wait_told("at_mentioned", 2)["lineStart"] == 2
    served.do("mention", "a.py")
    assert "lineStart" not in robot.wait_told("at_mentioned", 3)


def test_a_folder_can_be_mentioned_but_has_no_lines(home: Home, served: Served, robot: Robot) -> None:
    """Lines of a folder are a usage error."""
    folder = home.project / "folder"
    folder.mkdir()
    served.wait(lambda now: now["clients"] and now["clients"][0]["pid"])
    served.do("mention", "folder")
    assert robot.wait_told("at_mentioned")["filePath"] in (str(folder), "folder")
    assert served.run("mention", "folder:1").returncode == 2


def test_a_mention_without_an_agent_waits_and_says_so(home: Home, served: Served) -> None:
    """The person knows that nothing has arrived yet."""
    home.write("a.py", "one\n")
    assert served.do("mention", "a.py") == "No agent listens yet: the mention of a.py waits 60 s for one.\n"
    assert "the mention of line 1 of a.py waits" in served.do("mention", "a.py:1-9")
    told = json.loads(served.do("mention", "a.py", "--json"))
    assert told == {"delivered": False, "waits_seconds": 60.0}


def test_the_columns_of_a_mention_are_left_out_with_a_word(home: Home, served: Served) -> None:
    """What a compiler prints can be pasted."""
    home.write("a.py", "one\n")
    done = served.run("mention", "a.py:1:2")
    assert done.returncode == 0
    assert "columns were left out" in done.stderr


@pytest.mark.parametrize(("name", "warned"), [("sp ace.py", True), ("plain.py", False)])
def test_a_name_with_blanks_is_warned_of(home: Home, served: Served, name: str, warned: bool) -> None:
    """Claude Code takes such a name only up to the first blank."""
    home.write(name, "one\n")
    assert ("holds blanks" in served.run("mention", name).stderr) is warned


def test_an_opened_file_is_what_the_agent_sees(home: Home, served: Served, robot: Robot) -> None:
    """The line counts from 1; a folder cannot be opened, and a line that is not there is told."""
    home.write("a.py", "one\ntwo\n")
    assert served.do("open", "a.py:2") == "Opened a.py.\n"
    assert robot.wait_told("selection_changed")["selection"]["start"] == {"line": 1, "character": 0}
    assert "a.py" in robot.call("getOpenEditors")[0]
    assert served.run("open", ".").returncode == 2
    assert served.run("open", "a.py:9").returncode == 1


# What is not shared.


def test_a_selection_in_a_file_that_is_kept_from_agents_is_told_to_nobody(
    home: Home, served: Served, robot: Robot
) -> None:
    """The person reads why, and the agent gets neither text nor name."""
    home.write(".env", "KEY=hunter2\n")
    home.write("a.py", "one\n")
    served.do("select", "a.py:1")
    robot.wait_told("selection_changed")
    said = served.do("select", ".env:1")
    assert said == "Selected line 1 of .env (11 characters), but agents are not told: share.exclude has .env*.\n"
    assert robot.wait_told("selection_changed", 2) == NOTHING_SELECTED
    assert "hunter2" not in str(robot.call("getLatestSelection"))
    assert ".env" not in str(robot.call("getOpenEditors"))
    assert "Shared with agents now: open: a.py." in served.do("status")
    assert json.loads(served.do("select", ".env:1", "--json"))["withheld"] == "share.exclude has .env*"


def test_a_mention_of_a_file_that_is_kept_from_agents_wants_force(home: Home, served: Served, robot: Robot) -> None:
    """What would help is said; with it the agent gets the name, as it was asked to."""
    home.write(".env", "KEY=hunter2\n")
    done = served.run("mention", ".env")
    assert done.returncode == 1
    assert "share.exclude has .env*. To mention it all the same: --force" in done.stderr
    served.do("mention", ".env", "--force")
    assert robot.wait_told("at_mentioned")["filePath"].endswith(".env")


def test_sharing_is_switched_off_and_on_at_once(home: Home, served: Served, robot: Robot) -> None:
    """Whoever looks sees what is shared, and the server's terminal tells the switch."""
    home.write("a.py", "one\ntwo\n")
    served.do("select", "a.py:1-2", "--keep")
    robot.wait_told("selection_changed")
    shared = "Shared with agents now: lines 1 to 2 of a.py; open: a.py."
    assert served.do("share").splitlines()[0] == shared
    assert served.do("share", "off") == "Sharing is off, agents are told nothing: pairside share on\n"
    assert robot.wait_told("selection_changed", 2) == NOTHING_SELECTED
    assert "Sharing is off, agents are told nothing: pairside share on" in served.do("status")
    told = served.status()["sharing"]
    assert (told["on"], told["now"]) == (False, {"selection": None, "open_files": [], "diagnostics": {}})
    assert served.do("share", "on").splitlines()[0] == shared
    assert robot.wait_told("selection_changed", 3)["text"] == "one\ntwo"
    until(lambda: served.output.count("Sharing is o") == 2, timeout=5, what="both switches told")
    assert served.run("share", "maybe").returncode == 2


def test_what_the_settings_turn_off_is_said(home: Home) -> None:
    """By `share`, in words, and to programs."""
    with Served(home, environment={"PAIRSIDE_SHARE_DIAGNOSTICS": "false", "PAIRSIDE_SHARE_EXCLUDE": "*.x"}) as served:
        served.start()
        assert served.do("share").splitlines() == [
            "Shared with agents now: nothing.",
            "Turned off in the settings: share.diagnostics",
            "Never shared: files like *.x",
        ]
        told = json.loads(served.do("share", "--json"))
        assert (told["selection"], told["open_files"], told["diagnostics"], told["exclude"]) == (
            True, True, False, ["*.x"],
        )  # fmt: skip


def test_an_agent_may_look_but_not_switch_sharing(home: Home, served: Served) -> None:
    """What is shared is no secret to it; and what is not shared is not named."""
    home.write(".env", "x\n")
    served.do("select", ".env:1")
    mark = {"CLAUDECODE": "1"}
    looked = served.run("share", environment=mark)
    assert (looked.returncode, looked.stdout.splitlines()[0]) == (0, "Shared with agents now: nothing.")
    assert served.run("share", "off", environment=mark).returncode == 6
    assert served.status()["sharing"]["on"]


def test_a_link_is_kept_from_agents_by_its_own_name_too(home: Home, served: Served, robot: Robot) -> None:
    """Select, mention, open and import know the file by another name only; what the person called it counts."""
    home.write("conf/prod.txt", "KEY=hunter2\n")
    (home.project / ".env").symlink_to("conf/prod.txt")
    finding = {
        "range": {"start": {"line": 0, "character": 0}, "end": {"line": 0, "character": 1}},
        "message": "hunter2",
    }
    published = {"uri": f"file://{home.project}/.env", "diagnostics": [finding]}
    served.do("diagnostics", "import", "-", standard_input=json.dumps(published))
    assert robot.call("getDiagnostics") == ["[]"]
    assert "but agents are not told: share.exclude has .env*" in served.do("select", ".env:1")
    assert "but agents are not told: share.exclude has .env*" in served.do("open", ".env")
    assert served.run("mention", ".env").returncode == 1
    for tool in ("getCurrentSelection", "getLatestSelection", "getOpenEditors"):
        assert "prod.txt" not in str(robot.call(tool))
        assert "hunter2" not in str(robot.call(tool))


def test_nothing_is_mentioned_while_sharing_is_off(home: Home, served: Served, robot: Robot) -> None:
    """The person reads why, and what would overrule it."""
    home.write("a.py", "x\n")
    served.do("share", "off")
    done = served.run("mention", "a.py")
    assert done.returncode == 1
    assert "sharing is off: pairside share on. To mention it all the same: --force" in done.stderr
    served.do("mention", "a.py", "--force")
    assert robot.wait_told("at_mentioned")["filePath"].endswith("a.py")
