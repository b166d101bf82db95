"""Owns `pairside doctor`: whether Claude Code would connect from this folder and this shell, and whether it would ask.

A check fails where nothing that is typed here connects. It warns where something common does not do what one would
expect, and `pairside run claude` or a setting puts that right. No program is run, nothing is changed (our own state
directory is made or closed to others, as by any command), and all of it takes at most 5 seconds, whatever is stuck.

Of the handshake it is honest to prove what can be proved without being a client, since a client is counted, told to
whoever watches, and given what waits for one. So the port gets two requests that are refused at different steps: one
with a wrong token, refused as such (401), and one with the token of the lock file, which gets past that and is refused
for not asking for a WebSocket (426). Together they show that the port is reached, and that whoever is there takes this
token and no other.
"""

from __future__ import annotations

import base64
import os
import platform
import secrets
import socket
import stat
import time
from collections.abc import Iterator, Mapping, Sequence
from shlex import quote
from typing import Any, NamedTuple

import click

import pairside as package
from pairside import runtime
from pairside.agents.claude import discovery, settings
from pairside.cli.client import Closed, NotAnswering, Refused, Server, Several, find, here, nearness, parsed, result
from pairside.cli.common import as_json, choosing, print_json
from pairside.cli.exits import Exit, Failure
from pairside.phrases import agent_of, count
from pairside.text import cut, printable, within

OK, WARN, FAIL = "ok", "warn", "fail"
STATUS_SECONDS = 1.0
KNOCK_SECONDS = 0.75
PROBE_SECONDS = 0.2
PROBES = 4
"""So many ports of other IDEs are looked at."""
RESPONSE_BYTES = 4096
IDE_BYTES = 80

TOKEN_HEADER = "X-Claude-Code-Ide-Authorization"
RUN = "pairside run claude"
OTHER_AGENTS = ("opencode", "gemini", "qwen", "copilot", "codex")
PROXIES = ("http_proxy", "https_proxy", "all_proxy")
_COLOURS = {OK: "green", WARN: "yellow", FAIL: "red"}
_YES, _NO = ("1", "true", "yes", "on"), ("0", "false", "no", "off")
_LOOPBACK = ("127.0.0.1", "localhost")
_MODE_WORDS = {
    "default": "manual mode: it asks before each edit",
    "plan": "plan mode: it plans first, and asks before each edit",
    "acceptEdits": "accept edits mode: it writes without asking, and nothing comes to a review",
    "auto": "auto mode: it writes without asking, and nothing comes to a review",
    "bypassPermissions": "bypass permissions mode: it writes without asking, and nothing comes to a review",
    "dontAsk": "don't ask mode: it refuses by itself each edit that no rule allows, and nothing comes to a review",
}
assert _MODE_WORDS.keys() == set(settings.MODES)


class Check(NamedTuple):
    """One thing that was looked at. The texts are not yet fit for a terminal."""

    check: str
    state: str
    found: str
    fix: str = ""
    """What to type or to change; not empty unless the state is ok."""


@click.command()
@as_json
@choosing
@click.pass_context
def doctor(context: click.Context, as_json: bool, port: int | None, workspace: str | None) -> None:
    """Tell whether agents will connect, and whether they will ask.

    Looks at what decides it in this folder and this shell: the server, its lock file, other IDEs, variables, and those
    few settings of Claude Code that matter. What is not well comes with what to type. Of Claude Code's settings nothing
    else is read or shown. The exit status is 1 if a check fails; what is only a warning does not count.
    """
    place = _Place(os.environ, here(workspace), os.path.abspath(workspace) if workspace else os.environ.get("PWD", ""))
    connect, facts = _connect(place, port)
    asked = list(_asked(place, facts))
    well = not any(check.state == FAIL for check in connect + asked)
    if as_json:
        told = {
            name: [one._asdict() | {"fix": one.fix or None} for one in checks]
            for name, checks in (("connect", connect), ("asked", asked))
        }
        print_json({"ok": well, **told})
    else:
        _tell("Will it connect?", _connect_answer(connect), connect)
        click.echo()
        _tell("Will I be asked?", _asked_answer(asked), asked)
    context.exit(Exit.OK if well else Exit.FAILED)


def _tell(question: str, answer: str, checks: Sequence[Check]) -> None:
    click.echo(f"{click.style(question, bold=True)} {answer}")
    for one in checks:
        mark = click.style(f"{one.state:<4}", fg=_COLOURS[one.state])
        click.echo(f"  {mark}  {one.check}: {printable(one.found)}")
        if one.state != OK:
            click.echo(f"        Fix: {printable(one.fix)}")


def _connect_answer(checks: Sequence[Check]) -> str:
    if any(one.state == FAIL for one in checks):
        return "No."
    return "Yes, but see the warnings." if any(one.state == WARN for one in checks) else "Yes."


def _asked_answer(checks: Sequence[Check]) -> str:
    bad = {one.check for one in checks if one.state != OK}
    if bad & {"diff tool", "review.where"}:
        return "No."
    if "permission mode" in bad:
        return "No, unless the agent was started with --review or put into manual mode."
    return "Yes, but see the warnings." if bad else "Yes."


# Will it connect?


class _Place(NamedTuple):
    """Where the person is."""

    environment: Mapping[str, str]
    folder: str
    """The real path of the folder in which an agent would run."""
    named: str
    """The same folder by the path that the person took; empty where that is not known."""

    @property
    def sse_port(self) -> int | None:
        """The port that an agent started here is told to connect to."""
        told = self.environment.get("CLAUDE_CODE_SSE_PORT", "").strip()
        return int(told) if told.isdecimal() and len(told) < 6 else None


class _Facts(NamedTuple):
    """What is known of the server, by itself or by what it left where it does not answer."""

    port: int
    pid: int
    folders: Sequence[str]
    token: str | None
    status: dict[str, Any] | None
    """What it says of itself; None where it does not answer."""
    chosen: bool = False
    """Whether `pairside run` has to be told the port to join this one."""


def _run(facts: _Facts | None, *, review: bool = False) -> str:
    """The command that starts Claude Code beside the server."""
    port = f" --port {facts.port}" if facts is not None and facts.chosen else ""
    return f"pairside run{' --review' if review else ''}{port} claude"


def _connect(place: _Place, port: int | None) -> tuple[list[Check], _Facts | None]:
    """The checks of the first question, and the server that they are about."""
    checks = [_state_directory(place.environment)]
    facts = None
    if checks[0].state != FAIL:
        server, facts = _server(place, port)
        checks += server
        if facts is not None and port is not None:
            facts = facts._replace(chosen=True)
    checks += _configuration(place.environment, facts)
    if facts is not None:
        checks += _folder(place, facts)
        lock, about_lock = _lock_file(place, facts)
        checks += about_lock
        if facts.status is not None:
            checks.append(_handshake(facts.port, lock.token if lock is not None else facts.token))
    checks += _others(place, facts)
    checks += _variables(place, facts)
    checks += _start(place, facts, well=all(one.state == OK for one in checks))
    checks += _programs(place.environment)
    checks.append(_versions())
    return checks, facts


def _state_directory(environment: Mapping[str, str]) -> Check:
    path = runtime.location(environment)
    try:
        mode = stat.S_IMODE(os.lstat(path).st_mode)
    except OSError:
        mode = 0o700
    try:
        runtime.directory(environment)
    except (runtime.RuntimeDirectoryError, OSError) as error:
        return Check("state directory", FAIL, f"{error}", "Give XDG_STATE_HOME a directory that is yours.")
    if not os.access(path, os.R_OK | os.W_OK | os.X_OK):
        return Check("state directory", FAIL, f"{path} cannot be written", f"chmod 700 {quote(path)}")
    opened = f" (others could look into it, mode {mode:04o}: closed now)" if mode & 0o077 else ""
    return Check("state directory", OK, f"{path} is yours alone{opened}")


def _server(place: _Place, port: int | None) -> tuple[list[Check], _Facts | None]:
    """The server of the folder, or why there is none."""
    try:
        server = find(port=port, workspace=place.folder)
    except Several as several:
        # `pairside run` joins the one of an editor, if only one is.
        servers = sorted(several.servers, key=lambda one: one.facts["editor"] == "pairside")
        alike = [one for one in servers if one.facts["editor"] != "pairside"] or servers
        checks, facts = _answering(place, servers[0])
        facts = facts._replace(chosen=len(alike) > 1)
        for one in servers[1:]:
            one.close()
        if checks[0].state == OK:
            described = "; ".join(_described(one) for one in servers)
            found = f"{len(servers)} serve this folder alike: {described}. This is about the first"
            checks[0] = Check(
                "server", WARN, found, "; ".join(f"pairside stop --port {one.port}" for one in servers[1:])
            )
        return checks, facts
    except Failure as failure:
        if failure.exit_code != Exit.NO_SERVER:
            return _stuck(place, port, failure)
        elsewhere = "".join(f" {line}" for line in failure.message.splitlines()[1:])
        if port is not None:
            return [Check("server", FAIL, f"no pairside serves on port {port}.{elsewhere}", RUN)], None
        fix = f"{RUN}, or in another terminal: pairside serve"
        return [Check("server", FAIL, f"no pairside serves {place.folder}.{elsewhere}", fix)], None
    return _answering(place, server)


def _described(server: Server) -> str:
    editor = server.facts["editor"]
    return f"port {server.port} (pid {server.facts['pid']}{'' if editor == 'pairside' else f', editor {editor}'})"


def _answering(place: _Place, server: Server) -> tuple[list[Check], _Facts]:
    """A server that said hello."""
    record = runtime.read_record(runtime.record_path(runtime.location(place.environment), server.port))
    status = _status(server)
    server.close()
    facts = _Facts(server.port, server.facts["pid"], server.folders, record.token if record else None, status)
    if status is None:
        found = f"the server on port {server.port} (pid {facts.pid}) said hello and then nothing more"
        return [Check("server", FAIL, found, _revive(facts.pid))], facts
    folders = ", ".join(server.folders)
    found = f"pairside serves {folders} on {_described(server)}"
    version = str(server.facts["version"])
    checks = [Check("server", OK, found)]
    if version == package.__version__:
        checks.append(Check("version", OK, f"server and command are both {version}"))
    else:
        found = f"the server is pairside {version}, this command is {package.__version__}"
        checks.append(Check("version", WARN, found, f"pairside restart --port {server.port}"))
    return checks, facts


def _status(server: Server) -> dict[str, Any] | None:
    """What a server says of itself; None if it does not answer in time."""
    deadline = time.monotonic() + STATUS_SECONDS
    try:
        id = server.send("status", {})
        while True:
            message = parsed(server.line(max(0.0, deadline - time.monotonic())))
            if message.get("id") == id:
                answer = result(message)
                return answer if isinstance(answer, dict) else None
    except (Closed, NotAnswering, Refused):
        return None


def _stuck(place: _Place, port: int | None, failure: Failure) -> tuple[list[Check], _Facts | None]:
    """A server that is there and does not answer."""
    records = list(runtime.records(runtime.location(place.environment)))
    if port is not None:
        records = [record for record in records if record.port == port]
    record = max(records, key=lambda one: nearness(one.folders, place.folder), default=None)
    if record is None:
        return [Check("server", FAIL, failure.message, "pairside serve --new")], None
    facts = _Facts(record.port, record.pid, record.folders, record.token, None)
    found = f"the server on port {record.port} (pid {record.pid}) does not answer"
    if _process_state(record.pid) == "T":
        found += ": its process is stopped, as by Ctrl-Z"
    return [Check("server", FAIL, found, _revive(record.pid))], facts


def _revive(pid: int) -> str:
    if _process_state(pid) == "T":
        return f"kill -CONT {pid}"
    return f"kill -KILL {pid}, and then at once: pairside serve"


def _process_state(pid: int) -> str:
    """The letter for what a process does (proc_pid_stat(5)); empty where the system does not tell."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0].decode()
    except (OSError, IndexError):
        return ""


def _configuration(environment: Mapping[str, str], facts: _Facts | None) -> Iterator[Check]:
    """Only where a setting is wrong: a server would not start then."""
    from pairside import config

    try:
        config.load(environment)
    except config.ConfigError as error:
        state = FAIL if facts is None else WARN
        yield Check("settings", state, f"no server would start: {error}", "Correct it, and then: pairside config")


def _folder(place: _Place, facts: _Facts) -> Iterator[Check]:
    """Whether an agent that runs here is inside of what is served."""
    way = ""
    if place.named and place.named != place.folder and os.path.realpath(place.named) == place.folder:
        way = f" ({place.named} is a link to it)"
    if not within(place.folder, facts.folders):
        served = ", ".join(facts.folders)
        found = f"this folder is {place.folder}{way}, outside of what the server serves: {served}"
        fix = f"{_run(facts)}; or first: cd {quote(facts.folders[0])}" if facts.folders else _run(facts)
        yield Check("folder", WARN, f"{found}. claude --ide does not find it from here", fix)
    else:
        inside = "is served" if place.folder in facts.folders else "lies in the served folder"
        yield Check("folder", OK, f"{place.folder}{way} {inside}")


def _lock_file(place: _Place, facts: _Facts) -> tuple[discovery.Lock | None, list[Check]]:
    """The file by which agents find the server."""
    looked = discovery.directories(place.environment)
    path = facts.status.get("lock_file") if facts.status is not None else None
    if path is None:
        candidates = [os.path.join(folder, f"{facts.port}.lock") for folder in looked]
        path = next((one for one in candidates if os.path.exists(one)), candidates[0])
    restart = f"pairside restart --port {facts.port}"
    lock = discovery.read(path)
    if lock is None:
        what = "is not there" if not os.path.lexists(path) else "cannot be read as one"
        found = f"{path} {what}, so no agent finds the server. The server writes it again within 15 seconds"
        return None, [Check("lock file", FAIL, found, f"Wait for that, or: {restart}")]
    wrong = _wrong(lock, facts, place)
    if wrong:
        return lock, [Check("lock file", FAIL, f"{path} {wrong}", restart)]
    checks = [Check("lock file", OK, f"{path} leads to this server")]
    if not any(_same(os.path.dirname(path), folder) for folder in looked):
        variable = place.environment.get("CLAUDE_CONFIG_DIR", "")
        found = (
            f"{path} is in another configuration folder than that of this shell "
            f"(CLAUDE_CONFIG_DIR is {variable or 'not set'}): claude --ide looks in {' and '.join(looked)}. "
            "Once it finds the server, its settings are those of that folder too"
        )
        fix = f"{_run(facts)}, or: CLAUDE_CONFIG_DIR={quote(os.path.dirname(os.path.dirname(path)))} claude --ide"
        checks = [Check("lock file", WARN, found, fix)]
    checks += _permissions(path)
    return lock, checks


def _wrong(lock: discovery.Lock, facts: _Facts, place: _Place) -> str:
    """What in a lock file is not as it must be; empty if nothing is."""
    if lock.pid != facts.pid or (facts.token is not None and lock.token != facts.token):
        return f"is not the one of this server, but of {_ide(lock)}"
    if not lock.alive:
        return f"names a process that has ended (pid {lock.pid}): Claude Code removes it"
    if lock.transport != "ws":
        return "names another transport than ws"
    if within(place.folder, facts.folders) and not within(place.folder, lock.folders):
        return f"does not name the real path of this folder, {place.folder}"
    return ""


def _same(path: str, other: str) -> bool:
    return os.path.realpath(path) == os.path.realpath(other)


def _permissions(path: str) -> Iterator[Check]:
    """Only where others than us may read the token, or take the file away."""
    for one, right, what in ((path, "600", "read the token in"), (os.path.dirname(path), "700", "look into")):
        try:
            status = os.stat(one)
        except OSError:
            continue
        if status.st_uid != os.getuid():
            found = f"{one} belongs to another user (uid {status.st_uid})"
            yield Check("lock permissions", WARN, found, f"sudo chown {os.getuid()} {quote(one)}")
        elif status.st_mode & 0o077:
            found = f"other users may {what} {one} (mode {stat.S_IMODE(status.st_mode):04o})"
            yield Check("lock permissions", WARN, found, f"chmod {right} {quote(one)}")


def _handshake(port: int, token: str | None) -> Check:
    """Whether the port is reached, and takes the token and no other."""
    name, where = "handshake", f"127.0.0.1:{port}"
    restart = f"pairside restart --port {port}"
    try:
        stranger = _knock(port, secrets.token_hex(16))
        known = _knock(port, token) if token is not None and stranger == 401 else None
    except TimeoutError:
        return Check(name, FAIL, f"{where} does not answer", restart)
    except OSError as error:
        reason = error.strerror or "the connection broke"
        return Check(name, FAIL, f"{where} cannot be reached: {reason}", restart)
    if stranger == 403:
        return Check(name, FAIL, f"{where} refuses this user", "Start the server and the agent as the same user.")
    if stranger == 503:
        return Check(name, FAIL, f"{where} has too many connections that wait", f"Try again, or: {restart}")
    if stranger != 401:
        return Check(name, FAIL, f"{where} is answered by something else than pairside", restart)
    if known == 426:
        found = f"{where} answers, takes the token of the lock file and refuses another one (tried without connecting)"
        return Check(name, OK, found)
    if known is None:
        return Check(name, FAIL, f"{where} answers, but there is no token to try", restart)
    return Check(name, FAIL, f"{where} refuses the token of the lock file", restart)


def _knock(port: int, token: str) -> int | None:
    """The status of the answer to a handshake that lacks the word Upgrade; None if the answer is no HTTP.

    Raises:
        OSError: There is no answer; TimeoutError if none comes in time.
    """
    request = (
        f"GET / HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\nSec-WebSocket-Version: 13\r\n"
        f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}\r\nSec-WebSocket-Protocol: mcp\r\n"
        f"User-Agent: pairside-doctor/{package.__version__}\r\n{TOKEN_HEADER}: {token}\r\n\r\n"
    )
    deadline = time.monotonic() + KNOCK_SECONDS
    answer = b""
    with socket.create_connection(("127.0.0.1", port), KNOCK_SECONDS) as connection:
        connection.sendall(request.encode())
        while b"\r\n" not in answer and len(answer) < RESPONSE_BYTES:
            connection.settimeout(max(0.01, deadline - time.monotonic()))
            data = connection.recv(RESPONSE_BYTES)
            if not data:
                break
            answer += data
    words = answer.partition(b"\r\n")[0].split()
    return int(words[1]) if len(words) > 1 and words[0].startswith(b"HTTP/1.") and words[1].isdigit() else None


def _others(place: _Place, facts: _Facts | None) -> Iterator[Check]:
    """The other IDEs that an agent finds here."""
    name = "other IDEs"
    ours = facts.port if facts is not None else None
    locks = list({lock.port: lock for lock in discovery.locks(place.environment) if lock.port != ours}.values())
    anywhere = place.environment.get("CLAUDE_CODE_IDE_SKIP_VALID_CHECK", "").lower() in _YES
    valid = [lock for lock in locks if lock.valid_for(place.folder) or (anywhere and lock.alive)]
    if not valid:
        yield Check(name, OK, "none is open for this folder")
    for number, lock in enumerate(valid):
        what = _ide(lock)
        if number < PROBES and _closed(lock.port):
            what += " has left its lock file but does not listen any more; it counts all the same"
            end = f"rm {quote(lock.path)}"
        elif os.path.exists(runtime.socket_path(runtime.location(place.environment), lock.port)):
            what += " is open for this folder too"
            end = f"pairside stop --port {lock.port}"
        else:
            what += " is open for this folder too"
            end = "close it"
        if ours is None:
            yield Check(name, WARN, f"{what}: claude --ide connects to that one if it is the only one", RUN)
        elif place.sse_port == ours:
            yield Check(name, OK, f"{what}; CLAUDE_CODE_SSE_PORT leads past it, to this server")
        else:
            found = f"{what}: with two, claude --ide connects to neither and does not say so"
            yield Check(name, WARN, found, f"{_run(facts)}, or: CLAUDE_CODE_SSE_PORT={ours} claude; or {end}")
    stale = sorted({os.path.dirname(lock.path) for lock in locks if not lock.alive})
    if stale:
        number = sum(not lock.alive for lock in locks)
        are = "names a process that has ended" if number == 1 else "name processes that have ended"
        found = f"{count(number, 'lock file')} in {' and '.join(stale)} {are}: harmless, Claude Code removes such files"
        yield Check("stale lock files", OK, found)


def _ide(lock: discovery.Lock) -> str:
    """Another IDE, by what it says of itself."""
    name = cut(lock.ide, IDE_BYTES) or "an IDE without a name"
    return f"{name} (pid {lock.pid if lock.pid is not None else 'unknown'}, port {lock.port})"


def _closed(port: int) -> bool:
    """Whether nobody listens on a port."""
    try:
        with socket.create_connection(("127.0.0.1", port), PROBE_SECONDS):
            return False
    except ConnectionRefusedError:
        return True
    except OSError:
        return False


def _variables(place: _Place, facts: _Facts | None) -> Iterator[Check]:
    """The variables of this shell that lead an agent elsewhere; only those that are set."""
    environment = place.environment
    if environment.get("CLAUDE_CODE_SSE_PORT"):
        yield _sse_port(place, facts)
    name = "CLAUDE_CODE_AUTO_CONNECT_IDE"
    told = environment.get(name, "")
    if told.strip().lower() in _NO:
        found = f"it is {told}: Claude Code connects to no IDE, not even with --ide"
        yield Check(name, WARN, found, f"{_run(facts)}, or: unset {name}")
    name = "CLAUDE_CODE_IDE_HOST_OVERRIDE"
    told = environment.get(name, "")
    if told and told not in _LOOPBACK:
        found = f"it is {told}: Claude Code looks there, and pairside listens on 127.0.0.1 only"
        yield Check(name, WARN, found, f"{_run(facts)}, or: unset {name}")
    name = "CLAUDE_CONFIG_DIR"
    if environment.get(name) == "":
        found = "it is set and empty: Claude Code finds the server, but not your settings in ~/.claude"
        yield Check(name, WARN, found, f"unset {name}")
    proxies = [one for lower in PROXIES for one in (lower, lower.upper()) if environment.get(one)]
    if proxies:
        found = f"{', '.join(proxies)} set: Claude Code {settings.TESTED} goes to 127.0.0.1 without it"
        yield Check("proxy", OK, found)
    where = _surroundings()
    if where:
        yield Check("surroundings", OK, where)


def _sse_port(place: _Place, facts: _Facts | None) -> Check:
    name = "CLAUDE_CODE_SSE_PORT"
    port = place.sse_port
    ours = facts.port if facts is not None else None
    if port is not None and port == ours:
        return Check(name, OK, f"it is {port}, the port of this server: claude connects to it by itself")
    lock = next((one for one in discovery.locks(place.environment) if one.port == port and one.alive), None)
    if lock is None:
        told = place.environment[name]
        found = f"it is {told}, where no IDE is: Claude Code takes the only other one that is valid here"
        return Check(name, OK, found)
    found = f"it is {port}: claude connects to {_ide(lock)}"
    fix = _run(facts) if ours is None else f"{_run(facts)}, or: {name}={ours} claude"
    return Check(name, WARN, found, fix)


def _surroundings() -> str:
    """What has to be true of the place of both, where they could be apart; empty where that is not to be seen."""
    try:
        with open("/proc/sys/kernel/osrelease", encoding="utf-8", errors="replace") as file:
            wsl = "microsoft" in file.read().lower()
    except OSError:
        wsl = False
    if os.path.exists("/.dockerenv") or os.path.exists("/run/.containerenv"):
        return "this is a container: start the agent in the same one"
    return "this is WSL: start the agent in the same WSL, not in Windows" if wsl else ""


def _start(place: _Place, facts: _Facts | None, *, well: bool) -> Iterator[Check]:
    """How an agent is to be started so that it connects; `well` says that nothing stands in its way."""
    environment = place.environment
    state = settings.state(environment)
    if state.problem is not None:
        yield _problem(state.problem)
    reasons = {
        "CLAUDE_CODE_SSE_PORT is set": facts is not None and place.sse_port == facts.port,
        "CLAUDE_CODE_AUTO_CONNECT_IDE is set": environment.get("CLAUDE_CODE_AUTO_CONNECT_IDE", "").lower() in _YES,
        f"autoConnectIde in {state.path} is true": state.auto_connect,
        "TERM_PROGRAM is vscode": environment.get("TERM_PROGRAM") == "vscode",
        "FORCE_CODE_TERMINAL is set": environment.get("FORCE_CODE_TERMINAL", "").lower() in _YES,
    }
    reason = next((reason for reason, holds in reasons.items() if holds), None)
    if reason is not None:
        yield Check("start", OK, f"{_run(facts)}; plain claude looks for an IDE too, because {reason}")
    else:
        commands = f"{_run(facts)}, or claude --ide" if well else _run(facts)
        yield Check("start", OK, f"{commands}; plain claude looks for no IDE (autoConnectIde is not set)")


def _problem(problem: settings.Problem) -> Check:
    place = problem.path if problem.line is None else f"{problem.path}, line {problem.line}"
    found = f"{place}: {problem.what}. Claude Code asks at its start what to do about it"
    return Check("settings file", WARN, found, f"Correct {place}.")


def _programs(environment: Mapping[str, str]) -> Iterator[Check]:
    """The agents that are installed."""
    claude = settings.installed(environment)
    if claude is None:
        yield Check(
            "claude",
            WARN,
            "the command claude is not on the PATH of this shell",
            "Install Claude Code, or give its path: pairside run /path/to/claude",
        )
    else:
        version = claude.version or "found, version not known:"
        tested = "" if claude.version == settings.TESTED else f" (pairside is tested with {settings.TESTED})"
        yield Check("claude", OK, f"{version} {claude.path}{tested}")
    others = [name for name in OTHER_AGENTS if settings.find_program(environment, name)]
    if others:
        yield Check("other agents", OK, f"{', '.join(others)} found, not served yet")


def _versions() -> Check:
    found = f"pairside {package.__version__}, Python {platform.python_version()}, {platform.system()}"
    return Check("this program", OK, found)


# Will I be asked?


def _asked(place: _Place, facts: _Facts | None) -> Iterator[Check]:
    """The checks of the second question."""
    files = settings.files(place.environment, place.folder)
    for file in files:
        if file.problem is not None:
            yield _problem(file.problem)
    choice = settings.choose(files)
    asked = {tool for file in files for tool in file.ask.whole} >= {"Edit", "Write"}
    yield _mode(place, facts, files, choice, asked=asked)
    if choice.mode not in settings.WRITING and not asked:
        for file in files:
            if file.allow.number:
                found = (
                    f"{count(file.allow.number, 'rule')} for Edit or Write in permissions.allow of {file.path}: "
                    "what they match is written without asking"
                )
                yield Check("allow rules", WARN, found, f"Take them out of permissions.allow in {file.path}.")
    state = settings.state(place.environment)
    if state.diffs_in_ide:
        yield Check("diff tool", OK, "proposals go to the IDE" if state.problem is None else "not known, taken as auto")
    else:
        found = f"diffTool in {state.path} is not auto: questions stay in the terminal of Claude Code"
        yield Check("diff tool", WARN, found, "/config in Claude Code, Diff tool: auto")
    yield from _review_where(place.environment, facts)
    clients = facts.status.get("clients", []) if facts is not None and facts.status is not None else []
    for client in clients:
        process = f" (pid {client['pid']})" if client["pid"] is not None else ""
        found = f"{agent_of(client)}{process} is connected and does not tell its mode: it stands below its prompt"
        yield Check("connected", OK, found)


def _mode(
    place: _Place, facts: _Facts | None, files: Sequence[settings.File], choice: settings.Choice, *, asked: bool
) -> Check:
    """The mode in which Claude Code starts, and whether it asks in it before it writes."""
    name = "permission mode"
    words = _MODE_WORDS[choice.mode]
    if choice.file is None:
        why = f"no settings file sets one, and the default of Claude Code {settings.TESTED} is {words}"
    elif choice.bypass_ignored:
        why = f"{choice.file.path} says bypassPermissions, which a file of a project cannot set. That leaves {words}"
    else:
        why = f"{choice.file.path} sets {words}"
    if choice.auto_disabled is not None:
        first = "no settings file sets one" if choice.file is None else f"{choice.file.path} sets auto"
        why = f"{first}, and {choice.auto_disabled.path} disables auto mode. That leaves {words}"
    if choice.mode in settings.ASKING:
        if choice.file is not None and choice.file.source == settings.USER:
            # The dialog was seen once with each new configuration, and Enter alone takes the offer.
            why += ". It may offer at its start to make auto mode your default: choose No"
        return Check(name, OK, f"{why}. An option or Shift+Tab can still change the mode")
    if asked and choice.mode != settings.REFUSING:
        return Check(name, OK, f"{why}. But permissions.ask names Edit and Write, so it asks before each of them")
    if choice.file is not None and choice.file.source == settings.MANAGED_SOURCE:
        change = "whoever runs this machine can change it"
    else:
        path = (
            choice.file.path
            if choice.file
            else os.path.join(settings.configuration(place.environment), "settings.json")
        )
        change = f'"permissions": {{"defaultMode": "default"}} in {path}'
    rules = sum(file.ask.number for file in files)
    if rules and choice.mode != settings.REFUSING:
        why += f" except for what {count(rules, 'rule')} for Edit or Write in permissions.ask match"
    return Check(name, WARN, why, f"{_run(facts, review=True)}; for good: {change}")


def _review_where(environment: Mapping[str, str], facts: _Facts | None) -> Iterator[Check]:
    """Only where proposals are to be answered in the agent's terminal: by the running server, else as one would run."""
    from pairside import config

    if facts is not None and facts.status is not None:
        terminal = facts.status.get("review_where") == "terminal"
    else:
        try:
            terminal = config.load(environment).review_where == "terminal"
        except config.ConfigError:
            terminal = False
    if terminal:
        found = "it is terminal: pairside leaves each question to the agent's own terminal"
        fix = "Change it to here, where pairside config says that it is set, and then: pairside restart"
        yield Check("review.where", WARN, found, fix)
