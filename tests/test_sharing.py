"""What agents get to know: patterns, kinds and the switch, and that nothing else leaves by any way."""

from __future__ import annotations

import asyncio
import fnmatch
import re
import time
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from pairside import testing
from pairside.agents.claude import mcp
from pairside.agents.claude.mcp import NOTHING_SELECTED
from pairside.bridge import Bridge
from pairside.editor import Diagnostic, Position, Range, Selection, Severity
from pairside.mentions import Mention
from pairside.sharing import EXCLUDE, Kind, Policy, Sharing, Withheld
from pairside.testing import MemoryEditor

from .until import until

SECRET = "hunter2"
FOLDER = "/home/me/secret-project"


def sharing(*exclude: str) -> Sharing:
    return Sharing(Policy(exclude=exclude or EXCLUDE), lambda: [FOLDER])


@pytest.mark.parametrize(
    ("path", "pattern"),
    [
        (f"{FOLDER}/.env", ".env*"),
        (f"{FOLDER}/.ENV.local", ".env*"),
        (f"{FOLDER}/deploy/.envrc", ".env*"),
        (f"{FOLDER}/tls/server.pem", "*.pem"),
        (f"{FOLDER}/tls/server.key", "*.key"),
        ("/home/me/.ssh/id_ed25519", "id_*"),
        (f"{FOLDER}/my_secrets.toml", "*secret*"),
        (f"{FOLDER}/secrets/db.yml", "*secret*"),
        (f"{FOLDER}/aws-Credentials", "*credential*"),
        (f"{FOLDER}/app.py", None),
        (f"{FOLDER}/environment.py", None),
        (f"{FOLDER}/src/idle.py", None),
        (f"{FOLDER}/monkey.py", None),
        ("/home/me/secret-other/app.py", "*secret*"),
        ("/srv/secrets/app.py", "*secret*"),
        (f"{FOLDER}/sub/.env.d/prod", ".env*"),
        (f"{FOLDER}/deep/keys/id_rsa.d/x", "id_*"),
    ],
)
def test_the_default_patterns_keep_what_usually_is_secret(path: str, pattern: str | None) -> None:
    """By name and by path from the workspace folder, whose own name says nothing; case does not matter."""
    assert sharing().pattern(path) == pattern


@pytest.mark.parametrize(
    ("pattern", "path", "excluded"),
    [
        ("private/*", f"{FOLDER}/private/a.py", True),
        ("private/*", f"{FOLDER}/sub/private/a.py", False),
        ("*/private/*", f"{FOLDER}/sub/private/a.py", True),
        ("*/private/*", "/elsewhere/private/a.py", True),
        ("/elsewhere/*", "/elsewhere/a/b.py", True),
        ("/elsewhere/*", f"{FOLDER}/elsewhere/b.py", False),
        ("[ab].txt", f"{FOLDER}/a.txt", True),
        ("[ab].txt", f"{FOLDER}/c.txt", False),
        ("?.txt", f"{FOLDER}/ü.txt", True),
        ("*.key", f"{FOLDER}/odd\nname.key", True),
        ("private/", f"{FOLDER}/sub/private/a.py", True),
        ("config/private", f"{FOLDER}/config/private/deep/a.py", True),
        ("config/private", f"{FOLDER}/config/privateer/a.py", False),
        ("/elsewhere/", "/elsewhere/a.py", False),
        ("caf\u00e9*", f"{FOLDER}/cafe\u0301.txt", True),
        ("cafe\u0301*", f"{FOLDER}/caf\u00e9.txt", True),
    ],
)
def test_patterns_with_and_without_a_slash(pattern: str, path: str, excluded: bool) -> None:
    """One with a slash is matched from the workspace folder and from the root."""
    assert (sharing(pattern).pattern(path) is not None) == excluded


def test_a_pattern_may_start_at_the_home(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tilde stands for it."""
    monkeypatch.setenv("HOME", "/home/me")
    assert sharing("~/notes/*").pattern("/home/me/notes/a.txt") == "~/notes/*"


def test_of_a_link_both_its_name_and_its_target_count(tmp_path: Path) -> None:
    """Neither hides what the other would keep."""
    (tmp_path / ".env").write_text("KEY=1\n")
    (tmp_path / "plain").symlink_to(".env")
    (tmp_path / "settings").write_text("KEY=1\n")
    (tmp_path / "server.key").symlink_to("settings")
    shared = Sharing(Policy(), lambda: [str(tmp_path)])
    assert shared.pattern(str(tmp_path / "plain")) == ".env*"
    assert shared.pattern(str(tmp_path / "server.key")) == "*.key"
    assert shared.pattern(str(tmp_path / "settings")) is None


def test_a_name_that_a_pattern_excludes_excludes_the_file_for_good(tmp_path: Path) -> None:
    """Editors and tools know real paths only: what the file was called on the way there counts all the same."""
    (tmp_path / "plain").mkdir()
    real = tmp_path / "plain" / "prod.txt"
    real.write_text("KEY=1\n")
    (tmp_path / ".env").symlink_to("plain/prod.txt")
    (tmp_path / "alias").symlink_to(".env")
    (tmp_path / "secrets").symlink_to("plain")
    for said, pattern in (("alias", ".env*"), (".env", ".env*"), ("secrets/prod.txt", "*secret*")):
        shared = Sharing(Policy(), lambda: [str(tmp_path)])
        assert shared.pattern(str(real)) is None
        assert shared.pattern(str(tmp_path / said)) == pattern
        shared.named(str(tmp_path / said), str(real))
        assert shared.pattern(str(real)) == pattern


def test_a_reason_says_what_to_do() -> None:
    """The switch first, then the kind, then the file."""
    shared = Sharing(Policy(exclude=("*.key",), open_files=False), list)
    assert shared.why_not(Kind.SELECTION, "/a.py") is None
    assert shared.why_not(Kind.SELECTION, "/a.key") == "share.exclude has *.key"
    assert shared.why_not(Kind.OPEN_FILES, "/a.key") == "share.open_files is false"
    shared.on = False
    assert shared.why_not(Kind.OPEN_FILES, "/a.py") == "sharing is off: pairside share on"


# What agents see.


def selected(path: str, text: str = "KEY=abc") -> Selection:
    return Selection(path, text, Range(Position(0, 0), Position(0, len(text))))


def test_a_selection_in_an_excluded_file_is_none_for_agents(workspace: Path) -> None:
    """It also ends the one before: agents must not take that for what is selected now."""
    bridge = Bridge(MemoryEditor(), folders=[str(workspace)])
    bridge.select(selected(f"{workspace}/a.py", "text"))
    bridge.select(selected(f"{workspace}/.env"))
    assert bridge.selection.value is None
    assert bridge.latest_selection == selected(f"{workspace}/a.py", "text")


async def test_switched_off_nothing_is_selected_and_switched_on_it_is_again(workspace: Path) -> None:
    """What the person selected meanwhile counts then."""
    async with Bridge(MemoryEditor(), folders=[str(workspace)]) as bridge:
        bridge.select(selected(f"{workspace}/a.py", "one"))
        bridge.share(False)
        assert (bridge.selection.value, bridge.latest_selection) == (None, None)
        bridge.select(selected(f"{workspace}/a.py", "two"))
        assert bridge.selection.value is None
        bridge.share(True)
        assert bridge.selection.value == selected(f"{workspace}/a.py", "two")
        assert [event.facts for event in bridge.journal.events] == [{"on": False}, {"on": True}]


async def test_a_mention_of_an_excluded_file_needs_force(workspace: Path) -> None:
    """What is explicit can be overruled by saying so."""
    async with Bridge(MemoryEditor(), folders=[str(workspace)]) as bridge:
        with pytest.raises(Withheld, match=r"share\.exclude has \.env\*"):
            await bridge.mention(Mention(f"{workspace}/.env"))
        assert len(bridge.mentions) == 0
        await bridge.mention(Mention(f"{workspace}/.env", forced=True))
        assert len(bridge.mentions) == 1


@pytest.mark.parametrize("way", ["excluded", "off", "kinds"])
async def test_no_tool_and_no_notification_tells_what_is_not_shared(
    workspace: Path, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the text, nor the name, nor what a linter said about it reaches the wire."""
    monkeypatch.setattr(mcp, "SETTLE_SECONDS", 0.0)
    policy = Policy(selection=False, open_files=False, diagnostics=False) if way == "kinds" else Policy()
    path = str(workspace / (".env" if way == "excluded" else "app.py"))
    async with (
        testing.server(folders=[str(workspace)], share=policy) as server,
        testing.Agent.connect(server, introduce=1) as agent,
    ):
        if way == "off":
            server.bridge.share(False)
        (client,) = server.bridge.clients
        await until(lambda: client.ready, "the client listens")
        finding = Diagnostic(SECRET, Severity.ERROR, Range(Position(0, 0), Position(0, 1)))
        server.editor.texts[path], server.editor.active, server.editor.dirty = SECRET, path, {path}
        server.editor.found = {path: (finding,)}
        server.bridge.select(selected(path, SECRET))
        server.bridge.diagnostics_changed(path, (finding,))
        answers = {
            tool: (await agent.call(tool))[0]
            for tool in ("getCurrentSelection", "getLatestSelection", "getOpenEditors", "getDiagnostics")
        }
        answers["of one"] = (await agent.call("getDiagnostics", uri=f"file://{path}"))[0]
        answers["dirty"] = (await agent.call("checkDocumentDirty", filePath=path))[0]
        answers["save"] = (await agent.call("saveDocument", filePath=path))[0]
        with server.editor.stalled():
            answers["pushed"] = (await agent.call("getDiagnostics", uri=f"file://{path}"))[0]
        # Whatever was told came before the last answer.
        told = list(agent.told)
    assert SECRET not in str(answers)
    assert SECRET not in str(told)
    assert answers["getOpenEditors"] == '{"tabs":[]}'
    assert "No active editor" in answers["getCurrentSelection"]
    assert "Document not open" in answers["dirty"]
    assert "Document not open" in answers["save"]
    assert server.editor.saved == []


async def test_what_stands_is_taken_back_when_sharing_is_switched_off(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The agent is told at once that nothing is selected, and at once again what is."""
    monkeypatch.setattr(mcp, "SETTLE_SECONDS", 0.0)
    async with (
        testing.server(folders=[str(workspace)]) as server,
        testing.Agent.connect(server, introduce=1) as agent,
    ):
        server.bridge.select(selected(f"{workspace}/a.py", "text"))
        assert (await agent.wait_told("selection_changed"))["text"] == "text"
        server.bridge.share(False)
        assert await agent.wait_told("selection_changed", 2) == NOTHING_SELECTED
        server.bridge.share(True)
        assert (await agent.wait_told("selection_changed", 3))["text"] == "text"


async def test_switched_off_nothing_is_mentioned_until_it_is_switched_on_again(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither what is mentioned then nor what waited for an agent before; what is forced is told all the same."""
    monkeypatch.setattr(mcp, "SETTLE_SECONDS", 0.0)
    async with testing.server(folders=[str(workspace)]) as server:
        await server.bridge.mention(Mention(f"{workspace}/waited.py"))
        server.bridge.share(False)
        async with testing.Agent.connect(server, introduce=1) as agent:
            (client,) = server.bridge.clients
            await until(lambda: client.ready, "the client listens")
            with pytest.raises(Withheld, match="sharing is off"):
                await server.bridge.mention(Mention(f"{workspace}/now.py"))
            await server.bridge.mention(Mention(f"{workspace}/forced.py", forced=True))
            assert (await agent.wait_told("at_mentioned"))["filePath"] == f"{workspace}/forced.py"
            server.bridge.share(True)
            assert (await agent.wait_told("at_mentioned", 2))["filePath"] == f"{workspace}/waited.py"
    assert "now.py" not in str(agent.told)


@pytest.mark.parametrize("one", [True, False], ids=["of one file", "of all"])
async def test_what_the_editor_answers_after_the_switch_is_not_told(workspace: Path, one: bool) -> None:
    """It counts when the answer is given, not when the question came."""
    path = str(workspace / "a.py")
    async with (
        testing.server(folders=[str(workspace)]) as server,
        testing.Agent.connect(server) as agent,
    ):
        server.editor.found = {path: (Diagnostic(SECRET, Severity.ERROR, Range(Position(0, 0), Position(0, 1))),)}
        with server.editor.stalled():
            asked = asyncio.create_task(agent.call("getDiagnostics", **({"uri": f"file://{path}"} if one else {})))
            (client,) = server.bridge.clients
            await until(lambda: client.peer.calls_in_flight == 1, "the editor is asked")
            server.bridge.share(False)
        assert SECRET not in str(await asked)


async def test_with_open_files_kept_back_an_empty_selection_tells_none(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would say nothing but which file is open; a text that is selected is shared with its file."""
    monkeypatch.setattr(mcp, "SETTLE_SECONDS", 0.0)
    async with (
        testing.server(folders=[str(workspace)], share=Policy(open_files=False)) as server,
        testing.Agent.connect(server, introduce=1) as agent,
    ):
        path = f"{workspace}/a.py"
        server.editor.texts[path], server.editor.active = "", path
        server.bridge.select(selected(path, ""))
        assert "a.py" not in str(await agent.call("getCurrentSelection"))
        server.bridge.select(selected(path, "text"))
        assert (await agent.wait_told("selection_changed"))["filePath"] == path


# Where proposals are answered.


async def test_where_proposals_are_answered_in_the_terminal_each_is_an_error_at_once(workspace: Path) -> None:
    """The question stays there; the write that follows the answer was reviewed, and so is no news."""
    path = workspace / "a.py"
    path.write_text("old")
    async with (
        testing.server(folders=[str(workspace)], reviews_here=False) as server,
        testing.Agent.connect(server) as agent,
    ):
        with pytest.raises(RuntimeError, match="answered in the agent's own terminal"):
            await agent.propose(str(path), "new")
        assert len(server.bridge.reviews) == 0
        assert server.editor.reviews == {}
        await agent.call("getDiagnostics", uri=f"file://{path}")
        path.write_text("new")
        await agent.call("getDiagnostics")
        assert [change.reviewed for change in server.bridge.changes] == [True]
        await agent.call("getDiagnostics", uri=f"file://{path}")
        path.write_text("newer")
        await agent.call("getDiagnostics")
        assert [change.reviewed for change in server.bridge.changes] == [True, False]


@given(
    st.text("ab./*?[]!\n", min_size=1, max_size=6),
    st.lists(st.text("ab.\n", min_size=1, max_size=3), min_size=1, max_size=4),
)
def test_a_pattern_is_matched_with_each_part_of_a_path_and_each_beginning(pattern: str, parts: list[str]) -> None:
    """All beginnings in one go are the same as one after the other."""
    assume(not any(part.strip(".") == "" for part in parts) and not pattern.startswith("!"))
    names = {*parts, *("/".join(parts[:count]) for count in range(1, len(parts) + 1))}
    plain = re.compile(fnmatch.translate(pattern.rstrip("/") or "/"), re.IGNORECASE)
    sharing = Sharing(Policy(exclude=(pattern,)), lambda: ["/nowhere-at-all"])
    path = "/nowhere-at-all/" + "/".join(parts)
    expected = any(map(plain.match, names)) or ("/" in pattern and plain.match(path) is not None)
    assert (sharing.pattern(path) is not None) == expected


def test_a_path_of_two_thousand_folders_is_matched_at_once() -> None:
    """An agent may ask about as many of them as it wants, and the others wait for the loop."""
    sharing = Sharing(Policy(), lambda: ["/workspace"])
    seconds = []
    for number in range(3):
        started = time.process_time()
        assert sharing.pattern(f"/{number}" + "/y" * 2000) is None
        seconds.append(time.process_time() - started)
    assert min(seconds) < 0.1
