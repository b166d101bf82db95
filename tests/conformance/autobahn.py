"""Owns how Autobahn|Testsuite is found, installed and run, and how its reports are read.

    python tests/conformance/autobahn.py

installs it into the build folder, once; a test run without a network needs that beforehand. The suite runs
in CPython 2.7 only. Nothing of such an interpreter is changed: the suite and all that it needs get their
own folder.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import pwd
import shutil
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

FOLDER = Path(__file__).resolve().parent
INSTALLATIONS = FOLDER.parents[1] / "build" / "autobahn"
REQUIREMENTS = FOLDER / "autobahn.txt"
FUZZING_CLIENT = FOLDER / "fuzzingclient.py"

INTERPRETER_VARIABLE = "PAIRSIDE_PYTHON27"

PROBE_TIMEOUT = 20.0
INSTALL_TIMEOUT = 300.0
RUN_TIMEOUT = 300.0
# How long a process may take to end in good order when asked to, its reports written.
GRACE = 10.0

# When the suite gives up on a handshake, a Close and the end of a connection, in seconds; its own are 5, 1
# and 1. Longer for the reason that fuzzingclient.py gives for PATIENCE.
PROTOCOL_OPTIONS = {"openHandshakeTimeout": 10, "closeHandshakeTimeout": 5, "serverConnectionDropTimeout": 5}

# Where packages come from and how they are compiled is the user's business; all else that pip reads from the
# environment (constraints, targets) is meant for other installations.
PASSED_TO_PIP = (
    "PATH", "LANG", "LC_ALL", "CC", "CFLAGS", "LDFLAGS", "SDKROOT",
    "PIP_CERT", "PIP_CONFIG_FILE", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "PIP_INDEX_URL", "PIP_NO_INDEX",
    "PIP_PROXY", "PIP_TRUSTED_HOST", "REQUESTS_CA_BUNDLE", "SSL_CERT_DIR", "SSL_CERT_FILE",
    "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY",
    "http_proxy", "https_proxy", "all_proxy", "no_proxy",
)  # fmt: skip

PROBE = """
import json, platform, ssl, sys
implementation = platform.python_implementation()
print(json.dumps([implementation, sys.version_info[:2], sys.executable, sys.version, sys.maxunicode]))
"""

# The suite's own words. NON-STRICT is a conforming answer but not the canonical one; INFORMATIONAL marks
# what the RFC leaves open.
PASSING_BEHAVIORS = frozenset({"OK", "NON-STRICT", "INFORMATIONAL"})
PASSING_CLOSES = frozenset({"OK", "INFORMATIONAL"})
MISSING = "MISSING"

# What the reports call the server under test.
SERVER = "server"

NO_INTERPRETER = f"no CPython 2.7 was found on PATH or in pyenv (another place: {INTERPRETER_VARIABLE})"


class NotInstalled(Exception):
    """Autobahn|Testsuite could not be installed; the message says why, with the end of what pip wrote."""


class Interpreter(NamedTuple):
    """A CPython 2.7."""

    executable: Path
    build: str
    """What tells its binary packages from those of another build."""


class Outcome(NamedTuple):
    """How a server did in one case, in the suite's own words."""

    behavior: str
    behavior_close: str

    @property
    def passed(self) -> bool:
        return self.behavior in PASSING_BEHAVIORS and self.behavior_close in PASSING_CLOSES


async def find_interpreter() -> Interpreter | None:
    """The first working CPython 2.7 of: the environment variable PAIRSIDE_PYTHON27, PATH, pyenv's versions.

    Raises:
        ValueError: the environment variable names something else.
    """
    named = os.environ.get(INTERPRETER_VARIABLE)
    if named:
        interpreter = await _probe(named)
        if interpreter is None:
            raise ValueError(f"{INTERPRETER_VARIABLE} is {named!r}, which is no working CPython 2.7")
        return interpreter
    for candidate in _candidates():
        interpreter = await _probe(candidate)
        if interpreter is not None:
            return interpreter
    return None


def _candidates() -> Iterator[str]:
    for name in ("python2.7", "python2"):
        found = shutil.which(name)
        if found is not None:
            yield found
    # Not $HOME, which is a throwaway folder in many a test run.
    pyenv = os.environ.get("PYENV_ROOT") or Path(pwd.getpwuid(os.getuid()).pw_dir, ".pyenv")
    yield from sorted(map(str, Path(pyenv, "versions").glob("2.7*/bin/python2.7")), reverse=True)


async def _probe(executable: str) -> Interpreter | None:
    # A python2.7 on PATH may be a launcher (pyenv's) that starts nothing, so only what it answers counts.
    try:
        status, output = await _run([executable, "-E", "-c", PROBE], timeout=PROBE_TIMEOUT)
        implementation, version, path, *build = json.loads(output)
    except (OSError, TimeoutError, ValueError):
        return None
    if status != 0 or implementation != "CPython" or version != [2, 7]:
        return None
    return Interpreter(Path(path), repr(build))


async def install(interpreter: Interpreter, installations: Path = INSTALLATIONS) -> Path:
    """The folder below `installations` that holds the suite for this interpreter; it is made if need be.

    It gets its name only when it is complete and was seen to work: an installation that is cut short leaves
    nothing that could be taken for one. Other pins or another interpreter make another folder.

    Raises:
        NotInstalled: pip failed, took too long, or what it installed cannot be imported.
    """
    key = hashlib.sha256(REQUIREMENTS.read_bytes() + repr(interpreter).encode()).hexdigest()[:12]
    complete = installations / key
    if complete.is_dir():
        return complete
    installations.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=installations, prefix="partial-") as partial:
        site = Path(partial, "site")
        try:
            await _fill(site, interpreter, Path(partial))
        except TimeoutError as error:
            raise NotInstalled(str(error)) from error
        try:
            site.rename(complete)
        except OSError:
            if not complete.is_dir():  # else somebody else was first
                raise
    return complete


async def _fill(site: Path, interpreter: Interpreter, scratch: Path) -> None:
    """Install the suite into the folder `site`, and import it."""
    python = str(interpreter.executable)
    environment = {name: os.environ[name] for name in PASSED_TO_PIP if name in os.environ}
    environment |= {"HOME": str(scratch), "TMPDIR": str(scratch), "PIP_DISABLE_PIP_VERSION_CHECK": "1"}

    async def succeed(*command: str, **added: str) -> None:
        status, output = await _run(command, timeout=INSTALL_TIMEOUT, environment=environment | added)
        if status != 0:
            raise NotInstalled(f"`python2.7 {' '.join(command[1:4])} …` ended with status {status}:\n{_end_of(output)}")

    status, _ = await _run([python, "-m", "pip", "--version"], timeout=PROBE_TIMEOUT, environment=environment)
    if status != 0:
        bundled = scratch / "pip"
        await succeed(python, "-m", "ensurepip", "--root", str(bundled))
        for packages in bundled.rglob("site-packages"):
            environment["PYTHONPATH"] = str(packages)
    pip = (python, "-m", "pip", "install", "-qq", "--retries", "1", "--timeout", "20")
    pins = ("--no-deps", "--no-cache-dir", "--requirement", str(REQUIREMENTS))
    await succeed(*pip, *pins, "--target", str(site))
    # pip makes zope a namespace by a .pth file, which is not read in a folder like this one.
    (site / "zope" / "__init__.py").touch()
    importing = "import sys; sys.path.insert(0, sys.argv[1]); import autobahntestsuite.fuzzing, wsaccel"
    await succeed(python, *_HERMETIC, "-c", importing, str(site))


# Python 2.7's options for: no site-packages, no PYTHON* variables, no .pyc files, no warnings.
_HERMETIC = ("-S", "-E", "-B", "-W", "ignore")


async def fuzz(
    interpreter: Interpreter,
    site: Path,
    url: str,
    reports: Path,
    *,
    headers: Mapping[str, str] | None = None,
    cases: Sequence[str] = ("*",),
    exclude: Sequence[str] = (),
    timeout: float = RUN_TIMEOUT,
) -> dict[str, Outcome]:
    """Run the fuzzing client against an echo server; return the outcome of each selected case, in order.

    `url` is a ws:// URL; `headers` are added to the suite's own request headers; `cases` and `exclude` are
    ids or patterns ("9.*") in the suite's form; `timeout` is in seconds. The suite's reports, one JSON file
    per case, stay in the folder `reports`. A case is MISSING if the server took no connection for it.

    Raises:
        TimeoutError: it took longer; the message has the outcomes so far.
        RuntimeError: the fuzzing client itself failed.
    """
    reports.mkdir(parents=True, exist_ok=True)
    spec = reports / "spec.json"
    server = {"agent": SERVER, "url": url, "headers": dict(headers or {}), "options": PROTOCOL_OPTIONS}
    selection = {"cases": list(cases), "exclude-cases": list(exclude)}
    spec.write_text(json.dumps({"outdir": str(reports), "servers": [server], **selection}), encoding="utf-8")
    command = [str(interpreter.executable), *_HERMETIC, str(FUZZING_CLIENT), str(site), str(spec)]
    environment = {"PATH": os.defpath, "HOME": str(reports), "TMPDIR": str(reports)}
    try:
        status, output = await _run(command, timeout=timeout, environment=environment)
    except TimeoutError as error:
        raise TimeoutError(f"{error}; {summary(read_outcomes(reports))}") from error
    if status != 0:
        raise RuntimeError(f"the fuzzing client ended with status {status}:\n{_end_of(output)}")
    return read_outcomes(reports)


async def _run(
    command: Sequence[str], *, timeout: float, environment: Mapping[str, str] | None = None
) -> tuple[int, str]:
    """Run a command to its end; return its exit status and what it wrote to both outputs.

    However this ends, no process of the command's group is left.

    Raises:
        TimeoutError: it took longer than `timeout` seconds and was ended, with SIGTERM first.
    """
    with tempfile.TemporaryFile() as output:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=environment,
            start_new_session=True,
        )
        try:
            async with asyncio.timeout(timeout):
                status = await process.wait()
        except TimeoutError:
            _signal_group(process, signal.SIGTERM)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(GRACE):
                    await process.wait()
            raise TimeoutError(f"{Path(command[0]).name} was ended after {timeout:g} s") from None
        finally:
            _signal_group(process, signal.SIGKILL)
            await process.wait()
        output.seek(0)
        return status, output.read().decode(errors="replace")


def _signal_group(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    # macOS: PermissionError when all that is left of a group are zombies.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


def _end_of(output: str, lines: int = 15) -> str:
    return "\n".join(output.splitlines()[-lines:])


def read_outcomes(reports: Path) -> dict[str, Outcome]:
    """The outcome of each selected case, in the order of running; none where the client never started."""
    try:
        selected: list[str] = json.loads((reports / "cases.json").read_bytes())
    except FileNotFoundError:
        return {}
    results = _index(reports)
    return {case: _outcome(results.get(case)) for case in selected}


def _index(reports: Path) -> dict[str, dict[str, Any]]:
    try:
        index: dict[str, dict[str, dict[str, Any]]] = json.loads((reports / "index.json").read_bytes())
    except FileNotFoundError:
        return {}
    return index.get(SERVER, {})


def _outcome(result: dict[str, Any] | None) -> Outcome:
    if result is None:
        return Outcome(MISSING, MISSING)
    return Outcome(result["behavior"], result["behaviorClose"])


def read_report(reports: Path, case: str) -> dict[str, Any]:
    """The suite's report on a case that was run; its keys are the suite's.

    Raises:
        KeyError: the case was not run.
    """
    report: dict[str, Any] = json.loads((reports / _index(reports)[case]["reportfile"]).read_bytes())
    return report


def explain(reports: Path, case: str) -> str:
    """What a case does and expects, and what came of it, in the suite's own words."""
    try:
        report = read_report(reports, case)
    except KeyError:
        return f"{case}: not run"
    close = f"{report['remoteCloseCode']} {report['remoteCloseReason'] or ''}".strip()
    return (
        f"{case}: {report['behavior']}, closing {report['behaviorClose']}\n"
        f"  does     {_line(report['description'])}\n"
        f"  expects  {_line(report['expectation'])}\n"
        f"  result   {_line(report['result'])}\n"
        f"  closing  {_line(report['resultClose'])} (the server's Close: {close})\n"
        f"  received {_line(str(report['received']))[:300]}"
    )


def _line(text: str) -> str:
    return " ".join(text.split())


def summary(outcomes: Mapping[str, Outcome]) -> str:
    """How many cases have which outcome, for example `2 cases: 1 OK, 1 FAILED; closing: 2 OK`."""
    behaviors = _counts(outcome.behavior for outcome in outcomes.values())
    closes = _counts(outcome.behavior_close for outcome in outcomes.values())
    return f"{len(outcomes)} cases: {behaviors}; closing: {closes}"


def _counts(words: Iterable[str]) -> str:
    return ", ".join(f"{count} {word}" for word, count in Counter(words).most_common())


async def main() -> int:
    """Install, and say loudly when that was not possible.

    The status is 0 in either case: it is for the test to skip, or to fail in CI.
    """
    interpreter = await find_interpreter()
    try:
        if interpreter is None:
            raise NotInstalled(NO_INTERPRETER)
        await install(interpreter)
    except NotInstalled as error:
        print(f"*** AUTOBAHN|TESTSUITE NOT INSTALLED, ITS TEST WILL NOT RUN: {error} ***", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
