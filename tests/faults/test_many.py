"""Twenty servers at once for one folder: each has a lock of its own, and none harms another."""

from __future__ import annotations

import os
from pathlib import Path

from pairside import runtime
from pairside.agents.claude import discovery
from tests.starters import Starters

COUNT = 20


def test_twenty_servers_started_at_once_for_one_folder_have_one_lock_each_and_leave_none(
    environment: dict[str, str], workspace: Path
) -> None:
    """One lock, record and socket for each port; those that follow take over what the killed half has left."""
    state = runtime.directory(environment)
    with Starters(environment) as starters:
        started = starters.start([str(workspace)] * COUNT)
        by_port = {one.port: one for one in started}
        assert len(by_port) == COUNT
        locks = {lock.port: lock for lock in discovery.locks(environment)}
        assert {port: lock.pid for port, lock in locks.items()} == {port: one.pid for port, one in by_port.items()}
        assert len({lock.token for lock in locks.values()}) == COUNT
        assert {record.port for record in runtime.records(state)} == set(by_port)
        assert set(runtime.sockets(state)) == {runtime.socket_path(state, port) for port in by_port}
        killed, stopped = started[: COUNT // 2], started[COUNT // 2 :]
        starters.stop(*killed, kill=True)
        starters.stop(*stopped)
        assert {lock.port for lock in discovery.locks(environment)} == {one.port for one in killed}
        # Those that follow take over what the killed ones left, each something else.
        again = starters.start([str(workspace)] * COUNT)
        assert sum(one.adopted for one in again) == len(killed)
        assert {one.port for one in again} >= {one.port for one in killed}
        starters.stop(*again)
    assert list(discovery.locks(environment)) == []
    assert os.listdir(state) == ["start.lock"]
    assert os.listdir(discovery.directory(environment)) == []
