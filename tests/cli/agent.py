"""Owns a program that stands for Claude Code in a terminal; `install` makes it a command of that name.

It connects as Claude Code does to the port that its environment names, and then does what it reads, line by line.
"""

from __future__ import annotations

import os
import signal
import sys
import tty
from pathlib import Path

from tests.cli.robot import Robot

ROOT = Path(__file__).resolve().parent.parent.parent


def install(folder: Path, name: str = "claude") -> Path:
    """Make the program a command in a folder."""
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f'#!/bin/sh\nPYTHONPATH="{ROOT}" exec "{sys.executable}" -P -m tests.cli.agent "$@"\n')
    path.chmod(0o755)
    return path


def main() -> None:
    """Connect, and do what is asked for."""
    say(f"ARGUMENTS {sys.argv[1:]}")
    signal.signal(signal.SIGINT, lambda number, frame: say("INTERRUPTED"))
    signal.signal(signal.SIGCONT, lambda number, frame: say("CONTINUED"))
    # Only the thread that reads is to be woken: what was printed by another one would wait for the next line.
    handled = {signal.SIGINT, signal.SIGCONT}
    if "--offline" in sys.argv:
        sys.exit(follow(None))
    port = os.environ["CLAUDE_CODE_SSE_PORT"]
    signal.pthread_sigmask(signal.SIG_BLOCK, handled)
    with Robot(Path(os.environ["CLAUDE_CONFIG_DIR"], "ide", f"{port}.lock"), pid=os.getpid()) as robot:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, handled)
        say(f"CONNECTED {port}")
        status = follow(robot)
    sys.exit(status)


def follow(robot: Robot | None) -> int:
    """Do what is read until the end of the input; the exit status."""
    for line in sys.stdin:
        match line.split():
            case ["write", name, text]:
                assert robot is not None
                begin(robot, name, text)
                robot.call("getDiagnostics")
            case ["begin", name, text]:
                assert robot is not None
                begin(robot, name, text)
            case ["prompt"]:
                assert robot is not None
                robot.call("getDiagnostics")
                robot.call("closeAllDiffTabs")
            case ["command", name, text]:  # as a command in its shell does
                assert robot is not None
                (Path.cwd() / name).write_text(text + "\n")
                robot.call("getDiagnostics")
            case ["raw"]:
                tty.setraw(0)
            case ["stop"]:  # as a program does that reads the key by itself
                os.kill(os.getpid(), signal.SIGSTOP)
            case ["kill", number]:
                os.kill(os.getpid(), int(number))
            case ["exit", status]:
                return int(status)
        say(f"DONE {line.split()}")
    return 0


def say(line: str) -> None:
    """Print a line, also from within the printing of another one."""
    os.write(1, line.encode() + b"\n")


def begin(robot: Robot, name: str, text: str) -> None:
    """Write a file as an agent does that asks nobody, but do not say that it is written."""
    path = Path.cwd() / name
    robot.call("getDiagnostics", uri=f"file://{path}")
    path.write_text(text + "\n")


if __name__ == "__main__":
    main()
