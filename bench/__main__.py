"""Owns the command `python -m bench`: which benchmarks run, against whom, and how their figures are told."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from bench import calls, changes, connections, idle, machine, neovim, proposals, selection, stall, starts, tui
from bench.contenders import ECHO, PEER, RAW, Run, peer
from bench.figures import Figure, Unavailable, table
from bench.revision import installed

BENCHMARKS: dict[str, Callable[[Run], list[Figure]]] = {
    "start": starts.serve,
    "handshake": connections.handshake_and_churn,
    "calls": calls.calls,
    "pipelined": calls.pipelined,
    "stall": stall.stall,
    "selection": selection.selection,
    "proposals": proposals.proposals,
    "connections": connections.connections,
    "idle": idle.idle,
    "status": starts.status,
    "tui": tui.tui,
    "changes": changes.changes,
    **neovim.NEOVIM,
}
COMPARABLE = (
    "start",
    "handshake",
    "calls",
    "pipelined",
    "selection",
    "proposals",
    "connections",
    "idle",
    "status",
    "tui",
)
"""Those in which another revision takes part."""
LIMIT_SECONDS = 600
"""What one benchmark may take."""
HISTORY = Path(__file__).with_name("history")


class _TooLong(BaseException):
    """Raised in the middle of a benchmark; no base of OSError, or whoever expects a socket's timeout would take it."""


def main() -> int:
    """Run the benchmarks; the exit status is 1 if one could not run. A target that is missed is no failure."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure pairside, as ratios within one run.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"all, or some of: {', '.join(BENCHMARKS)}")
    parser.add_argument("--quick", action="store_true", help="few rounds: shows that it runs, not how fast")
    parser.add_argument(
        "--peer",
        metavar="COMMAND",
        help="compare with another IDE server for Claude Code too: what starts it, without a shell, in the folder that "
        "it is to serve; {workspace} in it is that folder",
    )
    parser.add_argument(
        "--peer-stall", metavar="COMMAND", default="", help="what keeps the editor of the peer busy for 5 s"
    )
    parser.add_argument("--revision", metavar="REV", help="compare with this revision of pairside too")
    parser.add_argument("--json", metavar="FILE", help="write the figures and the facts of the machine there as well")
    parser.add_argument("--record", action="store_true", help="write them into the history, bench/history")
    asked = parser.parse_args()
    for name in asked.names:
        if name not in BENCHMARKS:
            parser.error(f"unknown benchmark {name}; known: {', '.join(BENCHMARKS)}")
    names = list(dict.fromkeys(asked.names or (COMPARABLE if asked.revision else BENCHMARKS)))
    facts = machine.facts() | {"quick": asked.quick, "peer": asked.peer}
    with contextlib.ExitStack() as stack:
        peers = [] if asked.peer is None else [peer(asked.peer)]
        if asked.revision:
            try:
                peers.append(stack.enter_context(installed(asked.revision)))
            except Unavailable as error:
                print(error, file=sys.stderr)
                return 1
        run = Run(asked.quick, tuple(peers), asked.peer_stall)
        started = time.monotonic()
        figures, failures = _measured(run, names)
    facts |= {"load_after": round(os.getloadavg()[0], 2), "seconds": round(time.monotonic() - started, 1)}
    print(table(figures, [ECHO, RAW, PEER, *(one.name for one in peers if one.name != PEER)]))
    print("\n" + ", ".join(f"{name} {value}" for name, value in facts.items() if value is not None))
    print("A ratio is pairside to the other: the median over paired rounds, half of which lie between the quartiles.")
    for note in run.notes:
        print(f"No figure: {note}")
    for name, why in failures.items():
        print(f"{name} could not run: {why}", file=sys.stderr)
    result = {
        "machine": facts,
        "figures": [figure.facts() for figure in figures],
        "notes": run.notes,
        "failures": failures,
    }
    for file in _files(asked.json, facts if asked.record else None):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return 1 if failures else 0


def _measured(run: Run, names: list[str]) -> tuple[list[Figure], dict[str, str]]:
    """The figures of some benchmarks, and why others have none."""
    figures: list[Figure] = []
    failures: dict[str, str] = {}
    signal.signal(signal.SIGALRM, _too_long)
    for name in names:
        print(f"{name} ...", file=sys.stderr, flush=True)
        signal.alarm(LIMIT_SECONDS)
        try:
            figures += BENCHMARKS[name](run)
        except _TooLong:
            failures[name] = f"it took longer than {LIMIT_SECONDS} s"
        except (Unavailable, OSError, subprocess.SubprocessError) as error:
            failures[name] = f"{type(error).__name__}: {error}"
        finally:
            signal.alarm(0)
    return figures, failures


def _too_long(number: int, frame: FrameType | None) -> None:
    raise _TooLong


def _files(asked: str | None, recorded: dict[str, object] | None) -> list[Path]:
    """Where the result is written."""
    files = [] if asked is None else [Path(asked)]
    if recorded is not None:
        files.append(HISTORY / f"{str(recorded['date'])[:10]}-{recorded['revision']}.json")
    return files


if __name__ == "__main__":
    sys.exit(main())
