"""The doctor beside the real Claude Code CLI: what it says of settings and variables is what the CLI does.

Managed settings are not among this: they lie outside of any home.
"""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from .claude import API_KEY, READY, Claude, find_claude, seed
from .conftest import StartClaude
from .home import Home
from .install_cli import VERSION
from .model import Model, text, tool
from .served import Served
from .test_claude import AFTER, BEFORE, DONE
from .until import until

pytestmark = pytest.mark.real_cli

QUESTION = r"Do you want to make this edit"
SKIPPED = r"Settings Error"
"""The dialog in which the CLI tells of settings files that it cannot use."""


class Case(NamedTuple):
    """What is set, and what comes of it: a review, a question in the terminal, neither."""

    outcome: str
    user: object = None
    project: object = None
    local: object = None
    state: dict[str, object] = {}  # noqa: RUF012
    below: bool = False
    """Run in a folder below the project, which is a git repository."""
    dialog: bool = False
    """Whether the CLI tells at its start of a file that it skips."""


def mode(name: object, **more: object) -> dict[str, object]:
    return {"permissions": {"defaultMode": name, **more}}


CASES = {
    "nothing-set": Case("written"),
    "user-default": Case("review", user=mode("default")),
    "user-manual": Case("review", user=mode("manual")),
    "user-plan": Case("review", user=mode("plan")),
    "user-acceptEdits": Case("written", user=mode("acceptEdits")),
    "user-auto": Case("written", user=mode("auto")),
    "user-dontAsk": Case("refused", user=mode("dontAsk")),
    "user-bypass": Case("written", user={**mode("bypassPermissions"), "skipDangerousModePermissionPrompt": True}),
    "project-bypass": Case("review", user=mode("acceptEdits"), project=mode("bypassPermissions")),
    "project-before-user": Case("review", user=mode("acceptEdits"), project=mode("default")),
    "local-before-project": Case("written", project=mode("default"), local=mode("acceptEdits")),
    "local-at-the-top": Case("review", local=mode("default"), below=True),
    "project-at-the-top": Case("written", project=mode("default"), below=True),
    "auto-disabled": Case("review", project={"permissions": {"disableAutoMode": "disable"}}),
    "malformed-is-skipped": Case("review", user=mode("default"), project="{\n", dialog=True),
    "wrong-mode-is-skipped": Case("written", user=mode("nonsense"), dialog=True),
    "allowed": Case("written", user=mode("default", allow=["Edit"])),
    "asked-in-auto": Case("review", user=mode("auto", ask=["Edit", "Write"])),
    "asked-and-allowed": Case("review", user=mode("default", ask=["Edit", "Write"], allow=["Edit"])),
    "diff-tool": Case("question", user=mode("default"), state={"diffTool": "terminal"}),
    "diff-tool-of-another-kind": Case("question", user=mode("default"), state={"diffTool": "nonsense"}),
}


def put(path: Path, content: object) -> None:
    if content is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")


def doctor(served: Served, *arguments: str, **environment: str) -> dict[str, dict[str, Any]]:
    """What the doctor says, by the names of the checks."""
    program = find_claude()
    assert program is not None
    path = f"{program.parent}:{os.environ['PATH']}"
    told = json.loads(served.run("doctor", "--json", *arguments, environment={"PATH": path, **environment}).stdout)
    return {one["check"]: one for one in told["connect"] + told["asked"]}


def outcome(served: Served, claude: Claude) -> str:
    """What comes of a proposed edit."""

    def seen() -> str | None:
        if served.status()["pending_reviews"]:
            return "review"
        if DONE in claude.screen:
            return "done"
        # The question stands there a moment before the proposal comes, or without one.
        return "question" if re.search(QUESTION, claude.screen) and "Opened changes in" not in claude.screen else None

    return until(seen, timeout=20, what=lambda: f"an outcome\n{claude.screen}")


@pytest.mark.parametrize("name", CASES)
def test_the_cli_asks_where_the_doctor_says_so(name: str, home: Home, model: Model, served: Served) -> None:
    """For each value of each file, and which of them wins: an edit comes to a review, or it does not."""
    case = CASES[name]
    seed(home, **case.state)
    put(home.claude_config / "settings.json", case.user)
    put(home.project / ".claude" / "settings.json", case.project)
    put(home.project / ".claude" / "settings.local.json", case.local)
    folder = home.project
    if case.below:
        subprocess.run(["git", "init", "-q", str(folder)], env=home.environment(), check=True, timeout=10)
        folder = folder / "below"
        folder.mkdir()
        known = home.claude_config / ".claude.json"
        known.write_text(known.read_text().replace(f'"{home.project}"', f'"{folder}"'))
    path = home.write(str((folder / "a.py").relative_to(home.project)), BEFORE)
    edit = tool("Edit", file_path=str(path), old_string="two = 2", new_string="two = 22")
    model.script("edit", [tool("Read", file_path=str(path))], [edit], [text(DONE)])
    # As root the CLI bypasses permissions in a sandbox only.
    with Claude(home, model.url, "--ide", environment={"IS_SANDBOX": "1"}, directory=folder) as claude:
        if case.dialog:
            claude.answer("3", question=SKIPPED)
        claude.wait(READY)
        served.wait_clients()
        claude.prompt("please SCRIPT:edit")
        came = outcome(served, claude)
        if came == "done":
            came = "written" if path.read_text() == AFTER else "refused"
        assert came == case.outcome, claude.screen
    said = doctor(served, "--workspace", str(folder))
    asks = all(
        said.get(one, {"state": "ok"})["state"] == "ok" for one in ("permission mode", "diff tool", "allow rules")
    )
    assert asks == (case.outcome == "review"), said
    assert ("settings file" in said) == case.dialog


def test_the_doctor_knows_the_version_without_running_it(served: Served) -> None:
    """As npm installs it, by the link in node_modules/.bin."""
    assert doctor(served)["claude"]["found"].startswith(f"{VERSION} ")


def test_all_is_well_where_the_cli_connects_and_the_doctor_is_no_client(
    served: Served, start_claude: StartClaude
) -> None:
    """With the CLI connected nothing fails, its process is named, and the figures count it alone."""
    claude = start_claude("--ide", "--permission-mode", "manual")
    claude.wait(READY)
    served.wait_clients()
    said = doctor(served)
    assert not [one for one in said.values() if one["state"] == "fail"]
    assert f"(pid {claude.pid}) is connected" in said["connected"]["found"]
    status = served.status()
    assert (status["client_count"], status["connects"], status["disconnects"]) == (1, 1, 0)


def test_a_proxy_does_not_keep_the_cli_away(served: Served, start_claude: StartClaude) -> None:
    """With every proxy variable leading to a closed port the CLI connects, and the doctor says so."""
    proxies = {
        variable: "http://127.0.0.1:9"
        for name in ("http_proxy", "https_proxy", "all_proxy")
        for variable in (name, name.upper())
    }
    claude = start_claude("--ide", "--permission-mode", "manual", environment=proxies)
    claude.wait(READY)
    served.wait_clients()
    assert doctor(served, **proxies)["proxy"]["state"] == "ok"


def turn(model: Model, claude: Claude) -> None:
    """Let a whole turn pass: who has not connected by then does not connect by itself."""
    model.script("talk", [text(DONE)])
    claude.wait(READY)
    claude.prompt("hello SCRIPT:talk")
    claude.wait(DONE)


@pytest.mark.parametrize("value", ["false", "0"])
def test_auto_connect_switched_off_keeps_the_cli_away(
    value: str, model: Model, served: Served, start_claude: StartClaude
) -> None:
    """Not even --ide and the port of the server help, as the doctor says."""
    variables = {"CLAUDE_CODE_AUTO_CONNECT_IDE": value, "CLAUDE_CODE_SSE_PORT": str(served.status()["port"])}
    turn(model, start_claude("--ide", "--permission-mode", "manual", environment=variables))
    assert served.status()["connects"] == 0
    assert doctor(served, **variables)["CLAUDE_CODE_AUTO_CONNECT_IDE"]["state"] == "warn"


def rival(home: Home, port: int) -> Path:
    """A live process's lock file for the project."""
    path = home.claude_config / "ide" / f"{port}.lock"
    facts = {"pid": os.getpid(), "workspaceFolders": [str(home.project)], "ideName": "Other", "transport": "ws"}
    path.write_text(json.dumps({**facts, "authToken": API_KEY}))
    return path


def test_a_second_ide_keeps_the_cli_away_until_it_is_told_the_port(
    home: Home, model: Model, served: Served, start_claude: StartClaude
) -> None:
    """Also one that does not listen any more; the doctor names it, and its fix works."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    path = rival(home, port)
    turn(model, start_claude("--ide", "--permission-mode", "manual"))
    assert served.status()["connects"] == 0
    said = doctor(served)["other IDEs"]
    assert said["state"] == "warn"
    assert f"Other (pid {os.getpid()}, port {port})" in said["found"]
    ours = served.status()["port"]
    assert f"CLAUDE_CODE_SSE_PORT={ours} claude" in said["fix"]
    start_claude("--permission-mode", "manual", environment={"CLAUDE_CODE_SSE_PORT": str(ours)})
    served.wait_clients()
    path.unlink()
