"""Holds pairside's transport to RFC 6455 with Autobahn|Testsuite, after checking how that is run and read."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from . import autobahn
from .autobahn import Interpreter, NotInstalled, Outcome
from .conftest import obstacle
from .echo import echo_server

# 12.* and 13.* are about permessage-deflate, which pairside does not accept.
COMPRESSION = ("12.*", "13.*")

# All the others. Fewer would mean that not the transport but the selection has become better.
CASES = 301

# The client sends a first fragment, then a Close, then the last fragment, and expects the Close to be
# answered with 1000. websockets answers 1002 "incomplete fragmented message", and means it
# (`Protocol.recv_frame`): control frames may come between the fragments of a message (RFC 6455 §5.4), but
# no data may follow a Close (§5.5.1), so this message can never be complete. The closing handshake is
# completed all the same.
CLOSE_INSIDE_A_MESSAGE = "7.1.5"

judged = pytest.mark.timeout(autobahn.INSTALL_TIMEOUT + autobahn.RUN_TIMEOUT + 60)


class NoInterpreter(Exception):
    """There is no CPython 2.7 to run the suite with."""


async def judge(reports: Path) -> None:
    """Run the suite against pairside's transport, after installing it if need be."""
    interpreter = await autobahn.find_interpreter()
    if interpreter is None:
        raise NoInterpreter(autobahn.NO_INTERPRETER)
    site = await autobahn.install(interpreter)
    async with echo_server() as server:
        await autobahn.fuzz(interpreter, site, server.url, reports, headers=server.headers, exclude=COMPRESSION)


@pytest.fixture(scope="module")
def reports(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The suite's reports on pairside's transport."""
    folder = tmp_path_factory.mktemp("autobahn")
    try:
        asyncio.run(judge(folder))
    except NoInterpreter as error:
        reason, excused = str(error), True
    except NotInstalled as error:
        reason, excused = f"Autobahn|Testsuite cannot be installed: {error}", not os.environ.get("CI")
    else:
        return folder
    if not excused:
        pytest.fail(f"CI has a CPython 2.7, but {reason}", pytrace=False)
    request.config.stash[obstacle] = reason
    pytest.skip(reason)


@judged
def test_no_case_of_autobahn_testsuite_fails(reports: Path) -> None:
    """Every case is answered and closed as the RFC says, but the one that the next test is about."""
    outcomes = autobahn.read_outcomes(reports)
    print(autobahn.summary(outcomes))
    assert len(outcomes) == CASES
    del outcomes[CLOSE_INSIDE_A_MESSAGE]
    failed = [case for case, outcome in outcomes.items() if not outcome.passed]
    assert not failed, "\n".join(autobahn.explain(reports, case) for case in failed)


@judged
def test_a_close_inside_a_fragmented_message_is_answered_as_a_protocol_error(reports: Path) -> None:
    """Case 7.1.5 fails by its close code alone; should it ever pass, the exception for it must go."""
    outcome = autobahn.read_outcomes(reports)[CLOSE_INSIDE_A_MESSAGE]
    assert outcome == Outcome("FAILED", "WRONG CODE"), autobahn.explain(reports, CLOSE_INSIDE_A_MESSAGE)
    report = autobahn.read_report(reports, CLOSE_INSIDE_A_MESSAGE)
    assert (report["remoteCloseCode"], report["wasClean"]) == (1002, True)


def test_a_case_passes_only_if_its_answer_and_its_close_do() -> None:
    """Conforming is OK, NON-STRICT, or left open by the RFC; every other word of the suite's is a failure."""
    passing = [Outcome("OK", "OK"), Outcome("NON-STRICT", "OK"), Outcome("INFORMATIONAL", "INFORMATIONAL")]
    failing = [
        Outcome("FAILED", "OK"),
        Outcome("UNIMPLEMENTED", "OK"),
        *(Outcome("OK", close) for close in ("FAILED", "WRONG CODE", "UNCLEAN", "FAILED BY CLIENT")),
        Outcome("MISSING", "MISSING"),
    ]
    assert all(outcome.passed for outcome in passing)
    assert not any(outcome.passed for outcome in failing)


def test_outcomes_are_read_from_the_reports_and_a_case_without_one_is_missing(tmp_path: Path) -> None:
    """What the suite wrote is read as it stands; a selected case that it did not come to is MISSING."""
    results = {
        "1.1.1": {"behavior": "OK", "behaviorClose": "OK", "reportfile": "first.json"},
        "1.1.2": {"behavior": "FAILED", "behaviorClose": "UNCLEAN", "reportfile": "second.json"},
    }
    report = {
        "behavior": "FAILED",
        "behaviorClose": "UNCLEAN",
        "description": "Send text\n message.",
        "expectation": "Receive echo.",
        "result": "Actual events differ.",
        "resultClose": "Not clean.",
        "remoteCloseCode": None,
        "remoteCloseReason": None,
        "received": [["message", "hello", False]],
    }
    (tmp_path / "cases.json").write_text(json.dumps(["1.1.1", "1.1.2", "1.1.10"]))
    (tmp_path / "index.json").write_text(json.dumps({"server": results}))
    (tmp_path / "second.json").write_text(json.dumps(report))

    outcomes = autobahn.read_outcomes(tmp_path)

    assert outcomes == {
        "1.1.1": ("OK", "OK"),
        "1.1.2": ("FAILED", "UNCLEAN"),
        "1.1.10": ("MISSING", "MISSING"),
    }
    assert autobahn.summary(outcomes) == "3 cases: 1 OK, 1 FAILED, 1 MISSING; closing: 1 OK, 1 UNCLEAN, 1 MISSING"
    assert "1.1.2: FAILED, closing UNCLEAN\n  does     Send text message." in autobahn.explain(tmp_path, "1.1.2")
    assert autobahn.explain(tmp_path, "1.1.10") == "1.1.10: not run"


def test_no_outcomes_are_read_where_the_client_never_started(tmp_path: Path) -> None:
    """An empty folder holds no outcomes, so that a time-out before the first case can be told as such."""
    assert autobahn.read_outcomes(tmp_path) == {}


@pytest.fixture
def script(tmp_path: Path) -> Callable[[str, str], Path]:
    """Makes an executable shell script of a given name in a folder of its own."""

    def make(name: str, text: str) -> Path:
        path = tmp_path / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)
        return path

    return make


def test_a_python27_that_starts_nothing_is_not_an_interpreter(
    script: Callable[[str, str], Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A launcher on PATH counts for what it answers, not for its name."""
    launcher = script("python2.7", "exit 127")
    monkeypatch.delenv(autobahn.INTERPRETER_VARIABLE, raising=False)
    monkeypatch.setenv("PATH", str(launcher.parent))
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path / "nowhere"))
    assert asyncio.run(autobahn.find_interpreter()) is None


def test_an_interpreter_named_by_mistake_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever sets the variable wants the suite to run: another Python there is told, not skipped over."""
    monkeypatch.setenv(autobahn.INTERPRETER_VARIABLE, sys.executable)
    with pytest.raises(ValueError, match=r"no working CPython 2\.7"):
        asyncio.run(autobahn.find_interpreter())


def test_an_installation_that_fails_half_way_leaves_nothing(script: Callable[[str, str], Path], tmp_path: Path) -> None:
    """What pip has written before it fails is never taken for an installation."""
    pip = """
        while [ $# -gt 0 ]; do
            if [ "$1" = --target ]; then mkdir "$2" && echo no route && exit 1; fi
            shift
        done
    """
    interpreter = Interpreter(script("python2.7", pip), "a build")
    installations = tmp_path / "installations"
    with pytest.raises(NotInstalled, match="ended with status 1:\nno route"):
        asyncio.run(autobahn.install(interpreter, installations))
    assert list(installations.iterdir()) == []


def test_a_run_that_takes_too_long_is_told_with_what_it_came_to(
    script: Callable[[str, str], Path], tmp_path: Path
) -> None:
    """A hanging client is not waited for longer than said."""
    interpreter = Interpreter(script("python2.7", "sleep 60"), "a build")
    with pytest.raises(TimeoutError, match=r"^python2.7 was ended after 0.2 s; 0 cases"):
        asyncio.run(autobahn.fuzz(interpreter, tmp_path, "ws://127.0.0.1:9/", tmp_path / "reports", timeout=0.2))


@pytest.mark.timeout(30)
def test_nothing_that_a_client_started_outlives_it(script: Callable[[str, str], Path], tmp_path: Path) -> None:
    """However a run ends, its whole process group ends, even a process that ignores SIGTERM."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    child = f"(trap '' TERM; echo started; sleep 100) > {pipe}"
    interpreter = Interpreter(script("python2.7", f"{child} & wait"), "a build")

    async def start_and_cancel() -> bytes:
        run = asyncio.create_task(autobahn.fuzz(interpreter, tmp_path, "ws://127.0.0.1:9/", tmp_path / "reports"))
        with await asyncio.to_thread(pipe.open, "rb") as reading:
            started = await asyncio.to_thread(reading.readline)
            run.cancel()
            await asyncio.gather(run, return_exceptions=True)
            # The end of file comes when no process holds the other end.
            return started + await asyncio.to_thread(reading.read)

    assert asyncio.run(start_and_cancel()) == b"started\n"
