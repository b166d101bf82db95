"""The benchmark: it runs, against others too, and does not make a figure up."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from bench import processes
from bench.contenders import pairside_command
from bench.figures import Beside, Figure, Target, Unavailable, figure, table
from bench.machine import ROOT
from bench.rounds import OURS, Rounds

from tests.e2e.home import Home

SECONDS = 60
SCRIPTED = shlex.join([sys.executable, str(Path(__file__).with_name("scripted_ide.py"))])


def bench(*arguments: str) -> tuple[str, dict[str, Any]]:
    """What `python -m bench --quick` prints, and what it writes as JSON."""
    with Home() as home:
        written = home.root / "bench.json"
        done = subprocess.run(
            [sys.executable, "-m", "bench", "--quick", "--json", str(written), *arguments],
            cwd=ROOT,
            env=home.environment(),
            capture_output=True,
            text=True,
            timeout=SECONDS,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout, json.loads(written.read_text())


def beside(result: dict[str, Any], what: str) -> dict[str, Any]:
    """What stands beside a figure."""
    (found,) = [one for one in result["figures"] if one["what"] == what]
    assert found["value"] > 0
    return dict(found["beside"])


def test_another_ide_server_is_found_by_its_lock_file_and_measured_with_the_same_work() -> None:
    """A peer has a ratio with quartiles where it answers, and no figure but a reason where it does not."""
    printed, result = bench("--peer", SCRIPTED, "start", "calls", "pipelined")
    for what in ("start: spawn to lock file and 101", "tools/list: p50", "60 calls at once, each: time"):
        peer = beside(result, what)["peer"]
        assert peer["value"] > 0
        assert peer["quartiles"][0] <= peer["ratio"] <= peer["quartiles"][1]
    assert set(beside(result, "getOpenEditors: p50")) == {"echo", "asyncio"}
    assert any(note.startswith("peer, getOpenEditors: ") for note in result["notes"])
    (line,) = [line for line in printed.splitlines() if line.startswith("getOpenEditors: p50")]
    assert line.split()[-1] == "–"
    assert result["machine"]["cores"]
    assert result["machine"]["revision"]


def test_a_pairside_as_the_peer_does_all_that_pairside_does() -> None:
    """What a peer can be measured at is what Claude Code asks of an IDE, selections and proposals too."""
    command = shlex.join([*pairside_command("serve", "--workspace"), "{workspace}"])
    _, result = bench("--peer", command, "selection", "proposals", "stall")
    assert "peer" in beside(result, "openFile to selection_changed of 10 clients: p50")
    assert "peer" in beside(result, "openDiff 1 MB, taken back at once: until answered")
    assert beside(result, "tools/list while the editor stands still for 0.2 s: longest") == {}
    assert result["failures"] == {}


def test_a_peer_that_does_not_start_has_no_figure_and_the_others_have_theirs() -> None:
    """A command that fails is told as such, with what it said."""
    _, result = bench("--peer", shlex.join([sys.executable, "-c", "raise SystemExit('no such editor')"]), "pipelined")
    assert set(beside(result, "60 calls at once, each: time")) == {"echo", "asyncio"}
    assert any("no such editor" in note for note in result["notes"])


def test_a_revision_that_is_not_there_is_said_so() -> None:
    """Nothing is installed, and the exit status is 1."""
    done = subprocess.run(
        [sys.executable, "-m", "bench", "--revision", "no-such-revision", "status"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert done.returncode == 1
    assert "there is no revision no-such-revision" in done.stderr


def test_a_ratio_is_the_median_of_the_ratios_of_the_rounds() -> None:
    """Not the ratio of the medians, which a busy minute could turn around."""
    found = figure("work", "ms", [1.0, 20.0, 3.0], {"echo": [1.0, 10.0, 1.0]}, Target("at_most", 1.5))
    assert found.value == 3.0
    (echo,) = found.beside
    assert echo.ratio == 2.0
    assert found.met is False


def test_a_target_bounds_the_ratio_to_the_first_beside_it_or_the_figure_itself() -> None:
    """Where neither was measured nothing is claimed."""
    close = (Beside("echo", 10.0, 1.1, (1.0, 1.2)),)
    assert Figure("work", 11.0, "ms", close, target=Target("at_most", 1.15)).met is True
    assert Figure("work", 11.0, "ms", close, target=Target("at_most", 10, of_value=True)).met is False
    assert Figure("work", 11.0, "ms", target=Target("below", 11)).met is False
    assert Figure("work", 11.0, "ms", (Beside("echo", 0.0),), target=Target("at_most", 1)).met is None


def test_each_contender_has_a_column_and_who_has_no_figure_a_dash() -> None:
    """What belongs to one row only stands in the last column."""
    lines = table(
        [
            Figure("asked", 2.0, "ms", (Beside("echo", 1.0, 2.0, (1.5, 2.5)), Beside("git", 4.0))),
            Figure("seen", 3.0, "ms"),
        ],
        ["echo", "peer"],
    ).splitlines()
    assert "peer" not in lines[0]
    assert "1 ms (2.00x, 1.50 to 2.50)" in lines[2]
    assert "git: 4 ms" in lines[2]
    assert lines[3].split() == ["seen", "3", "ms", "–"]


def test_who_fails_in_a_later_round_has_no_figure_at_all() -> None:
    """Rounds are paired: figures of some rounds cannot stand beside those of all."""
    notes: list[str] = []
    rounds = Rounds(notes)
    done = iter(range(100))

    def fails() -> dict[str, float]:
        if next(done) == 2:
            raise TimeoutError("too slow")
        return {"work": 1.0}

    rounds.add("work", OURS, lambda: {"work": 2.0})
    rounds.add("work", "echo", lambda: {"work": 1.0})
    rounds.add("work", "peer", fails)
    rounds.go(4)
    assert [one.name for one in rounds.figure("work", "ms").beside] == ["echo"]
    assert notes == ["peer, work: TimeoutError: too slow"]


def test_pairside_itself_must_not_fail() -> None:
    """A row without pairside would be no figure of it."""
    rounds = Rounds([])

    def fails() -> dict[str, float]:
        raise Unavailable("broken")

    rounds.add("work", OURS, fails)
    with pytest.raises(Unavailable):
        rounds.go(1)


def test_a_child_that_has_just_ended_counts_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It may end between being found and being looked at; the process itself may not."""
    ended = subprocess.Popen(["true"])
    ended.wait(SECONDS)
    monkeypatch.setattr(processes, "_tree", lambda pid: [pid, ended.pid])
    home = processes.Home(tmp_path)
    here = processes.Process(os.getpid(), 0, "", "", home)
    assert here.cpu() > 0
    assert here.resident() > 1_000_000
    gone = processes.Process(ended.pid, 0, "", "", home)
    for measure in (gone.cpu, gone.resident):
        with pytest.raises(Unavailable):
            measure()
