"""Real processes that serve, started together: run as a module it forks them from one that has everything imported.

The processes stop on SIGTERM as a server does, and all die with the pipe that leads here.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from pairside.limits import Limits
from pairside.runtime import is_alive
from pairside.serve import serving

SECONDS = 10.0
ROOT = Path(__file__).parent.parent


@dataclass(frozen=True, slots=True)
class Started:
    """A process that serves a folder."""

    pid: int
    port: int
    lock_file: str
    adopted: bool


class Starters:
    """Starts processes that serve, at the same moment, in the given environment."""

    def __init__(self, environment: dict[str, str], *, ports: tuple[int, int] = (10_000, 32_767)) -> None:
        self._nursery = subprocess.Popen(
            [sys.executable, "-m", "tests.starters", *map(str, ports)],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        self._told = b""

    def __enter__(self) -> Starters:
        return self

    def __exit__(
        self, type: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._nursery.stdin is not None
        assert self._nursery.stdout is not None
        self._nursery.stdin.close()
        self._nursery.wait(SECONDS)
        self._nursery.stdout.close()

    def start(self, folders: Sequence[str]) -> list[Started]:
        """Start one process for each folder, all at once, and wait until each accepts connections."""
        assert self._nursery.stdin is not None
        self._nursery.stdin.write(json.dumps(folders).encode() + b"\n")
        self._nursery.stdin.flush()
        return [Started(**json.loads(self._line())) for _ in folders]

    def _line(self) -> bytes:
        assert self._nursery.stdout is not None
        deadline = time.monotonic() + SECONDS
        while b"\n" not in self._told:
            ready, _, _ = select.select([self._nursery.stdout], [], [], max(0.0, deadline - time.monotonic()))
            assert ready, "a starter did not start in time"
            data = os.read(self._nursery.stdout.fileno(), 65536)
            assert data, "the starters died"
            self._told += data
        line, _, self._told = self._told.partition(b"\n")
        return line

    def stop(self, *processes: Started, kill: bool = False) -> None:
        """Stop processes, all at once, and wait until they are gone; with `kill` they cannot clean up."""
        self.signal(*processes, kill=kill)
        self.wait(*processes)

    def signal(self, *processes: Started, kill: bool = False) -> None:
        """Tell processes to stop."""
        for process in processes:
            os.kill(process.pid, signal.SIGKILL if kill else signal.SIGTERM)

    def wait(self, *processes: Started) -> None:
        """Wait until processes are gone."""
        deadline = time.monotonic() + SECONDS
        while any(is_alive(process.pid) for process in processes):
            assert time.monotonic() < deadline, "a starter did not stop in time"
            time.sleep(0.001)


async def _serve(folder: str, limits: Limits, out: int) -> None:
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        async with serving((folder,), limits=limits, environment=os.environ) as server:
            facts = {
                "pid": os.getpid(),
                "port": server.port,
                "lock_file": server.lock_file,
                "adopted": server.adopted,
            }
            os.write(out, json.dumps(facts).encode() + b"\n")
            await asyncio.Event().wait()


def _nursery() -> None:
    limits = Limits(port_min=int(sys.argv[1]), port_max=int(sys.argv[2]))
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the system reaps what ends
    try:
        for line in sys.stdin.buffer:
            gate, open_gate = os.pipe()
            for folder in json.loads(line):
                if os.fork() == 0:
                    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                    os.close(open_gate)
                    os.read(gate, 1)  # returns when the last fork is made and the gate opens
                    status = 1
                    try:
                        asyncio.run(_serve(folder, limits, sys.stdout.fileno()))
                        status = 0
                    finally:
                        os._exit(status)
            os.close(open_gate)
            os.close(gate)
    finally:
        os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    _nursery()
