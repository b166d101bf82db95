"""Owns the command `python -m bench`: which benchmarks run, and how their figures are printed."""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from types import FrameType

from bench import calls, connections, idle, neovim, starts
from bench.figures import Figure, Unavailable, table

BENCHMARKS: dict[str, Callable[..., list[Figure]]] = {
    "serve": starts.serve,
    "calls": calls.calls,
    "selection": calls.selection,
    "idle": idle.idle,
    "connections": connections.connections,
    "status": starts.status,
    **neovim.NEOVIM,
}
LIMIT_SECONDS = 120
"""What one benchmark may take."""


class _TooLong(BaseException):
    """Raised in the middle of a benchmark; no base of OSError, or whoever expects a socket's timeout would take it."""


def main() -> int:
    """Run the benchmarks; the exit status is 1 if one could not run. A target that is missed is no failure."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure pairside, as ratios within one run.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"all, or some of: {', '.join(BENCHMARKS)}")
    parser.add_argument("--quick", action="store_true", help="fewer rounds: shows that it runs, not how fast")
    parser.add_argument("--json", metavar="FILE", help="write the figures and the facts of the machine there as well")
    asked = parser.parse_args()
    for name in asked.names:
        if name not in BENCHMARKS:
            parser.error(f"unknown benchmark {name}; known: {', '.join(BENCHMARKS)}")
    figures: list[Figure] = []
    failures: dict[str, str] = {}
    started = time.monotonic()
    signal.signal(signal.SIGALRM, _too_long)
    for name in dict.fromkeys(asked.names or BENCHMARKS):
        print(f"{name} ...", file=sys.stderr, flush=True)
        signal.alarm(LIMIT_SECONDS)
        try:
            figures += BENCHMARKS[name](quick=asked.quick)
        except _TooLong:
            failures[name] = f"it took longer than {LIMIT_SECONDS} s"
        except (Unavailable, OSError, subprocess.SubprocessError) as error:
            failures[name] = f"{type(error).__name__}: {error}"
        finally:
            signal.alarm(0)
    facts = _machine() | {"quick": asked.quick, "seconds": round(time.monotonic() - started, 1)}
    print(table(figures))
    print("\n" + ", ".join(f"{name} {value}" for name, value in facts.items()))
    print("A ratio is the median over paired rounds; half of the rounds lie between the quartiles.")
    for name, why in failures.items():
        print(f"{name} could not run: {why}", file=sys.stderr)
    if asked.json:
        with open(asked.json, "w", encoding="utf-8") as file:
            result = {"machine": facts, "figures": [figure.facts() for figure in figures], "failures": failures}
            json.dump(result, file, indent=2, ensure_ascii=False)
            file.write("\n")
    return 1 if failures else 0


def _too_long(number: int, frame: FrameType | None) -> None:
    raise _TooLong


def _machine() -> dict[str, object]:
    """What the figures depend on."""
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "cpus": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
        **{name: version(name) for name in ("pairside", "websockets", "msgspec", "click")},
    }


if __name__ == "__main__":
    sys.exit(main())
