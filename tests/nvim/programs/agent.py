"""Stands in for an agent's program in a terminal: tells how it was started, what is typed, and what size it has.

Everything goes as JSON lines into `$HOME/agent.jsonl`, with its process id; what is typed is shown as well. The line
`exit N` ends it with that status. `--stubborn` makes it deaf to SIGHUP and SIGTERM, and `--fail N` end at once.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import termios
import tty


def tell(kind: str, **facts: object) -> None:
    """Write one line of the log."""
    line = json.dumps({"kind": kind, "pid": os.getpid(), **facts}) + "\n"
    log = os.open(os.path.join(os.environ["HOME"], "agent.jsonl"), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(log, line.encode())
    os.close(log)


def size() -> list[int]:
    """The columns and lines of the terminal; nothing where there is none."""
    return list(os.get_terminal_size(0)) if os.isatty(0) else []


def main() -> int:
    arguments = sys.argv[1:]
    tell("started", argv=sys.argv, cwd=os.getcwd(), environment=dict(os.environ), size=size(), tty=os.isatty(0))
    if arguments[:1] == ["--fail"]:
        print("something is wrong here", flush=True)
        return int(arguments[1])
    if "--stubborn" in arguments:
        signal.signal(signal.SIGHUP, lambda *_: tell("deaf", signal="SIGHUP"))
        signal.signal(signal.SIGTERM, lambda *_: tell("deaf", signal="SIGTERM"))
    if not os.isatty(0):
        signal.pause()
        return 0
    signal.signal(signal.SIGWINCH, lambda *_: tell("resized", size=size()))
    tty.setraw(0, termios.TCSANOW)
    # Bracketed paste is asked for, as agents do; without it Neovim pastes plainly.
    print("\x1b[?2004hagent ready\r", flush=True)
    line = b""
    while typed := os.read(0, 65536):
        tell("typed", text=typed.decode(errors="replace"))
        os.write(1, repr(typed)[2:-1].encode() + b"\r\n")
        line += typed
        if line.endswith(b"\r"):
            if line.startswith(b"exit "):
                return int(line.split()[1])
            line = b""
    return 0


if __name__ == "__main__":
    sys.exit(main())
