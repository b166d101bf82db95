"""Nothing that an agent, a file, a name or another IDE says reaches a terminal as anything but text to be read."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Callable, Iterator

import pytest

from pairside import cli
from tests.cli.command import pairside
from tests.cli.robot import Robot, write_unreviewed
from tests.cli.terminal import Terminal
from tests.e2e.home import Home
from tests.e2e.served import Served

TITLE, CLIPBOARD, CSI, C1 = "\x1b]0;owned\x07", "\x1b]52;c;b3duZWQ=\x07", "\x1b[2J\x1b[31m", "\x9b31m\x9d0;owned\x9c"
HIDDEN = "\u202eevil\u2066\u200b\U000e0041\ufeff"
HOSTILE = f"{TITLE}{CLIPBOARD}{CSI}{C1}{HIDDEN}\r\b\x7f"
NAME = f"a\x1b]0;owned\x07\n{C1}\u202e\U000e0041.py"
SECONDS = 15.0
ALLOWED = re.compile(
    # What pairside itself says to a terminal: colours and, on a terminal alone, how its screen is used.
    rb"\x1b\[(?:0|1|2|22|3[0-9]|39|4[0-9]|49|1;3[0-9]|)m"
)
COMMANDS = (
    ("status",), ("status", "--line"), ("reviews",), ("show",), ("show", "1"), ("changes",), ("changes", "--all"),
    ("changes", "--stat"), ("changes", "1"), ("log",), ("log", "--wire", "--contents"), ("config",), ("doctor",),
    ("undo", "--dry-run", "--turn", "1"), ("undo", "1"), ("accept", "--hunks", "1"), ("reject",), ("share",),
    ("mention", f"./{NAME}"), ("select", f"./{NAME}:1-2"), ("open", f"./{NAME}"), ("env",), ("completion", "bash"),
    ("show", HOSTILE), ("undo", HOSTILE), ("changes", HOSTILE), ("select", HOSTILE), ("mention", HOSTILE),
    ("open", HOSTILE), ("diagnostics", "import", HOSTILE), ("status", "--workspace", "."), (HOSTILE,),
    ("--" + HOSTILE,), ("show", "--" + HOSTILE), ("accept", "--hunks", HOSTILE), ("serve", "--port-range", HOSTILE),
    ("nvim", "--" + HOSTILE),
)  # fmt: skip
ELSEWHERE = {"run", "serve", "frontend", "nvim", "edit", "review", "attach", "restart", "stop"}
"""Commands that start something, use the whole terminal or end the server: those below, or with an error above."""


def is_harmless(data: bytes) -> bool:
    """Whether there is nothing in an output that a terminal obeys, but for our own colours, or that nobody sees."""
    text = ALLOWED.sub(b"", data).decode()
    return all(character in "\n\t" or character.isprintable() for character in text)


@pytest.fixture
def stage(home: Home) -> Iterator[Callable[..., subprocess.CompletedProcess[bytes]]]:
    """A project in which everything is hostile; runs a command there."""
    subprocess.run(["git", "init", "-q", str(home.project)], env=home.environment(), check=True)
    home.write(NAME, f"one\n{HOSTILE}\n")
    home.write("b.txt", f"one\n{HOSTILE}\n")
    locks = home.claude_config / "ide"
    locks.mkdir()
    rival = {"pid": os.getpid(), "workspaceFolders": [str(home.project)], "ideName": HOSTILE, "transport": HOSTILE}
    (locks / "4711.lock").write_text(json.dumps(rival))
    with Served(home) as served:
        served.start("-vv")
        with Robot(next(lock for lock in home.lock_files if lock.stem != "4711")) as robot:
            robot.introduce_again(HOSTILE, HOSTILE)
            robot.call("closeAllDiffTabs")
            write_unreviewed(robot, home, "b.txt", f"two {HOSTILE}\n{HOSTILE}\n")
            write_unreviewed(robot, home, f"new{HOSTILE.replace('/', '')}", f"{HOSTILE}\n")
            robot.propose(home.project / NAME, f"two{HOSTILE}\n{HOSTILE}\n")
            served.wait_review()

            def run(*words: str) -> subprocess.CompletedProcess[bytes]:
                return pairside(home, *words)

            yield run
        assert is_harmless(served.output.encode()), served.output
        assert is_harmless(served.errors.encode()), served.errors


def test_every_command_prints_text_and_nothing_else(stage: Callable[..., subprocess.CompletedProcess[bytes]]) -> None:
    """What it succeeds in, what it fails with, and what it says of words that it does not know."""
    bad = []
    for words in COMMANDS:
        done = stage(*words)
        if not is_harmless(done.stdout + done.stderr):
            bad.append((words, done.stdout, done.stderr))
        assert b"Traceback" not in done.stderr, done.stderr
    assert bad == []
    assert {words[0] for words in COMMANDS} | ELSEWHERE >= set(cli.COMMANDS)


@pytest.mark.parametrize(
    ("words", "keys"),
    [
        (("review", "1"), ("p\r", "?\r", "y\r")),
        (("review", "--changes"), ("p\r", "?\r", "q\r")),
        (("undo",), ("n\r",)),
        (("changes", "--patch"), ()),
        (("show",), ()),
    ],
)
def test_a_dialogue_at_a_terminal_shows_text_and_nothing_else(
    home: Home, stage: Callable[..., object], words: tuple[str, ...], keys: tuple[str, ...]
) -> None:
    """With colours, page by page, hunk by hunk."""
    with Terminal(*words, cwd=home.project, environment=home.environment(PAGER="cat")) as terminal:
        for key in keys:
            terminal.wait(r"\? ?\]?\)? ?$|\[[a-z,?/A-Z]+\]")
            terminal.press(key)
        terminal.wait_end(SECONDS)
        shown = terminal.raw.replace(b"\r\n", b"\n")
        # The terminal echoes the keys, and shows what they are.
        assert b"owned" in shown
        assert is_harmless(shown), shown
