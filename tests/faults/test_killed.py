"""A process that is killed at any step leaves nothing half done that anybody meets, and the next one goes on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
SECONDS = 110.0
STATE = {
    "HEAD", "config", "excludes", "excludes.before", "index", "info", "lock", "objects", "refs",
}  # fmt: skip
"""What stands in a repository of ours."""


def killed(what: str, place: Path, stride: int = 1) -> list[dict[str, Any]]:
    """What was found after each kill; the last one came too late."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults.killed", what, str(place), str(stride)],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "LANG": "C.UTF-8"},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert found[-1]["before"] == "the end"
    return found


def test_a_server_that_is_killed_at_any_step_leaves_a_whole_lock_or_none_and_the_next_one_takes_over(
    place: Path,
) -> None:
    """From its start to its end; what it leaves is swept when nobody can take it over any more."""
    found = killed("server", place)
    assert len(found) > 20
    assert {"os.rename", "socket.bind", "open"} <= {one["before"] for one in found}
    for one in found:
        assert all(one["locks"] + one["records"]), one
        assert one["next"] == {"adopted": bool(one["records"]), "good": True}, one
        assert one["left"] == ["start.lock"], one
        assert not [name for name in one["kept"] if ".new" in name or "tmp" in name], one


@pytest.mark.parametrize("kind", ["modified", "merged", "new", "deleted", "names"])
def test_an_undo_that_is_killed_at_any_step_leaves_the_file_before_or_after_it(place: Path, kind: str) -> None:
    """The next process clears up beside it and can undo; a file with several names is whole again from then on."""
    found = killed(f"undo {kind}", place, stride=3 if kind == "merged" else 1)
    assert len(found) > 5
    whole = (
        {"nothing", "before"} if kind == "deleted" else {"nothing", "after"} if kind == "new" else {"before", "after"}
    )
    for one in found:
        stands, litter = one["killed"]
        assert stands in whole or (kind == "names" and (stands, litter) == ("torn", 1)), one
        assert litter <= 1, one
        assert one["loaded"] == [stands if stands in whole else "after", 0], one
        assert one["known"]["changes"] in (1, 2), one
        assert not one["known"]["set_aside"], one
        assert one["undone"] == ["nothing" if kind == "new" else "before", 0], one
    assert any(one["killed"][1] for one in found)
    assert found[0]["killed"][0] != found[-1]["killed"][0]


@pytest.mark.parametrize(("which", "stride"), [("first", 7), ("second", 3)])
def test_a_snapshot_that_is_killed_at_any_step_touches_nothing_and_the_next_one_is_right(
    place: Path, which: str, stride: int
) -> None:
    """Neither the work tree nor the person's repository, and nothing half made is left in ours."""
    found = killed(f"snapshot {which}", place, stride)
    assert len(found) > 5
    for one in found:
        assert one["untouched"], one
        assert one["found"] == ["tracked"], one
        assert set(one["left"]) <= STATE, one
        assert one["loose"] == [], one
