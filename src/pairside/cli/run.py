"""Owns the commands that bring an agent to a server: `pairside run` starts it there, `pairside env` says how."""

from __future__ import annotations

import contextlib
import os
import re
import select
import shlex
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import IO, Any

import click

from pairside import runtime
from pairside.agents.claude.environment import CLAUDE, OPENCODE, Environment, beside
from pairside.cli.client import Closed, NotAnswering, Refused, Server, Several, find, here
from pairside.cli.common import as_json, choosing, print_json, told
from pairside.cli.exits import Exit, Failure
from pairside.phrases import agent_of, count, shown
from pairside.text import links, printable

NOT_EXECUTABLE, NOT_FOUND = 126, 127
"""The exit statuses of a shell for a command that cannot be run (POSIX, Shell Command Language, 2.8.2)."""
LEAVE_SECONDS = 2.0
"""How long a client may take to leave after its agent has ended."""
CONNECT_SECONDS = 5.0
"""An agent that ran for longer than this has had the time to connect."""
RETURN_SECONDS = 20.0
"""How long a server that closed the connection may take to come back: longer than agents wait for it."""
RETRY_SECONDS = 0.5
_MODES = ("--permission-mode", "--dangerously-skip-permissions")
"""The options of Claude Code that choose a permission mode."""


class _Command(click.Command):
    """A command before another command: its own options come first."""

    def parse_args(self, context: click.Context, args: list[str]) -> list[str]:
        """Take the options up to the first word. Options of the agent in their place are a common mistake."""
        try:
            return super().parse_args(context, args)
        except click.NoSuchOption as error:
            option = error.option_name
            hint = f"No such option: {option}. The agent's own come after its name: pairside run claude {option}"
            raise click.NoSuchOption(option, hint, error.possibilities, error.ctx) from None


@click.command(cls=_Command, context_settings={"allow_interspersed_args": False})
@click.option(
    "--review", is_flag=True, help="Be asked before each edit: starts Claude Code with --permission-mode manual."
)
@click.option("--port", type=click.IntRange(1, 65535), metavar="PORT", help="Join the server on this port.")
@click.option(
    "--workspace",
    metavar="DIR",
    type=click.Path(exists=True, file_okay=False),
    help="Join or start the server of this folder. The agent runs in the current one all the same.",
)
@click.argument("command", nargs=-1, type=click.UNPROCESSED, metavar="[COMMAND [ARGS]...]")
@click.pass_context
def run(
    context: click.Context, review: bool, port: int | None, workspace: str | None, command: tuple[str, ...]
) -> None:
    """Start an agent that connects to the server of this folder.

    COMMAND is claude unless another one is given. A server that serves the folder is joined, that of an editor before
    one of pairside alone; where none does, one is started and ends with the agent. At the end the files are listed
    that the agent changed without a review. Also then "pairside changes" shows all of it, and "pairside undo" takes it
    back.

    A shell or a script works too: the agents that are started in it connect.

    The exit status is that of COMMAND, 128 + N if signal N ended it, 127 if it is not found, 126 if it cannot be run.
    """
    words = list(command) or [CLAUDE]
    program = _program(words[0])
    agent = _agent(program)
    if review:
        words[1:1] = _asking_first(agent, words)
    prints = agent == CLAUDE and _prints(words[1:])
    if prints:
        _say(f"{printable(words[0])} --print connects to no IDE: it sees no selection, and no edit comes to a review.")
    with contextlib.ExitStack() as stack:
        server = _joined_or_started(port, workspace, words[0], stack)
        current = here(None)
        if not server.serves(current):
            _say(
                f"Note: the current folder {printable(current)} is not in {_folders(server)}. "
                "The agent connects all the same; what it proposes here is marked as outside the workspace."
            )
        facts = _status(server)
        if prints:
            pass
        elif review and facts["review_where"] == "terminal":
            _say("Its proposals are answered in its own terminal: review.where is terminal.")
        elif review and server.facts["editor"] == "pairside":
            _say("Its proposals wait for you in another terminal: pairside")
        changed = beside(os.environ, agent=agent, port=server.port, lock_file=facts["lock_file"])
        for note in changed.notes:
            _say(f"Note: {printable(note)}")
        watch = Watch(server)
        stack.callback(watch.close)
        started = time.monotonic()
        status = _run(program, words, _changed(os.environ, changed), watch)
        ran = time.monotonic() - started
        watch.leave()
        if agent == CLAUDE and not prints and not watch.connected and _should_have_connected(words, ran, status):
            _say("Claude Code did not connect. To see why: pairside doctor")
        _tell_changes(watch, review=review)
    context.exit(status)


# What is run.


def _program(name: str) -> str:
    """The path of the program that a command names.

    Raises:
        Failure: There is none, with status 127; it is not executable, with status 126; or the name is empty.
    """
    if not name:
        raise Failure("COMMAND is empty.", Exit.USAGE)
    found = None
    for path in [name] if "/" in name else [os.path.join(folder, name) for folder in os.get_exec_path()]:
        if os.access(path, os.X_OK) and not os.path.isdir(path):
            return path
        if found is None and os.path.exists(path):
            found = path
    if found is not None:
        what = "is a folder" if os.path.isdir(found) else "is not executable"
        raise Failure(f"{printable(name)} cannot be run: {printable(found)} {what}.", NOT_EXECUTABLE)
    if "/" in name:
        raise Failure(f"There is no {printable(name)}.", NOT_FOUND)
    raise Failure(
        f"{printable(name)} is not found. If it is installed, give its path, as for an alias of your shell: "
        f"pairside run /path/to/{printable(name)}",
        NOT_FOUND,
    )


def _agent(program: str) -> str:
    """The name of the agent that a program is, by its own name or that of a file that it is a link to; else ''."""
    for path in links(program):
        name = os.path.basename(path).removesuffix(".exe")  # Claude Code's own program is claude.exe everywhere
        if name in (CLAUDE, OPENCODE):
            return name
    return ""


def _options(arguments: Sequence[str]) -> Iterator[str]:
    """The options among arguments, without their values."""
    for one in arguments:
        if one == "--":
            return
        if one.startswith("-"):
            yield one.partition("=")[0]


def _asking_first(agent: str, words: Sequence[str]) -> list[str]:
    """What makes an agent ask before each edit.

    Raises:
        Failure: It is not known for this agent, or the person chose a mode themselves.
    """
    if agent != CLAUDE:
        raise Failure(
            f"--review is for claude only: how {printable(words[0])} is made to ask before each edit is not known. "
            "Start it without --review.",
            Exit.USAGE,
        )
    chosen = next((one for one in _options(words[1:]) if one in _MODES), None)
    if chosen is not None:
        raise Failure(
            f"--review starts claude with --permission-mode manual, but {chosen} chooses a mode too. "
            "Leave one of them out.",
            Exit.USAGE,
        )
    return ["--permission-mode", "manual"]


def _prints(arguments: Sequence[str]) -> bool:
    """Whether Claude Code is to answer once, without a conversation."""
    return any(one == "--print" or re.fullmatch("-c?pc?", one) for one in _options(arguments))


def _should_have_connected(words: Sequence[str], ran: float, status: int) -> bool:
    """Whether Claude Code had a conversation in which it should have connected."""
    # A single word is a command of its own: claude update, claude mcp.
    command = len(words) > 1 and re.fullmatch("[a-z-]+", words[1]) is not None and not words[1].startswith("-")
    return not command and status <= 128 and ran > CONNECT_SECONDS


# The server.


def _joined(port: int | None, workspace: str | None) -> Server:
    """The server on a port, or the nearest one; where several are equally near the one of an editor.

    Raises:
        Failure: As in `find`.
    """
    try:
        return find(port=port, workspace=workspace)
    except Several as several:
        editors = [server for server in several.servers if server.facts["editor"] != "pairside"]
        chosen = editors[0] if len(editors) == 1 else None
        for server in several.servers:
            if server is not chosen:
                server.close()
        if chosen is None:
            raise
        return chosen


def _joined_or_started(port: int | None, workspace: str | None, name: str, stack: contextlib.ExitStack) -> Server:
    """The server for an agent; one that is started ends with `stack`. Says which one it is."""
    try:
        return _join(port, workspace)
    except Failure as failure:
        if failure.exit_code != Exit.NO_SERVER or port is not None:
            raise
    from pairside.cli.companion import aside

    errors = stack.enter_context(aside())
    try:
        own = stack.enter_context(_own(here(workspace), errors))
    except Failure as failure:
        if failure.exit_code == Exit.SERVED:  # somebody else was quicker
            return _join(port, workspace)
        _tell_errors(errors)
        raise
    stack.callback(_tell_errors, errors)
    server = find(port=own)
    _say(
        f"pairside {server.facts['version']} serves {_folders(server)} on port {own} "
        f"until {printable(os.path.basename(name))} ends."
    )
    return server


@contextlib.contextmanager
def _own(folder: str, errors: IO[bytes]) -> Iterator[int]:
    """A server of our own while the block runs; gives its port, and says at the end if others keep it."""
    from pairside.cli.companion import USED, companion

    with companion([folder], errors=errors, until=USED) as own:
        yield own.port
    if own.goes_on:
        _say("Others use pairside: it goes on until they have left. To stop it now: pairside stop")


def _join(port: int | None, workspace: str | None) -> Server:
    server = _joined(port, workspace)
    facts = server.facts
    process = f"pid {facts['pid']}, port {server.port}"
    _say(f"Joined {printable(facts['editor'])}, which serves {_folders(server)} ({process}).")
    return server


def _folders(server: Server) -> str:
    return ", ".join(map(printable, server.folders))


def _tell_errors(errors: IO[bytes]) -> None:
    """Say what a server of our own had to say, now that nobody else needs the screen."""
    from pairside.cli.companion import said

    for line in said(errors):
        _say(line)


def _status(server: Server) -> dict[str, Any]:
    """What a server says of itself.

    Raises:
        Failure: It is gone.
    """
    try:
        status: dict[str, Any] = server.request("status")
    except (Closed, NotAnswering, Refused):
        raise Failure(f"The server on port {server.port} does not answer any more. Try again.") from None
    return status


def _changed(environment: Mapping[str, str], changed: Environment) -> dict[str, str]:
    """An environment with what has to be changed in it."""
    whole = {name: value for name, value in environment.items() if name not in changed.variables}
    return {**whole, **{name: value for name, value in changed.variables.items() if value is not None}}


# The agent while it runs, and what is said afterwards.


def _run(program: str, words: list[str], environment: Mapping[str, str], watch: Watch) -> int:
    from pairside.cli.job import Job

    try:
        job = Job(program, words, environment)
    except OSError as error:
        if isinstance(error, FileNotFoundError):
            what = f"{printable(program)} needs a program that is not there; see its first line."
            raise Failure(f"{printable(words[0])} cannot be run: {what}", NOT_FOUND) from None
        raise Failure(f"{printable(words[0])} cannot be run: {error.strerror}.", NOT_EXECUTABLE) from None
    watch.process = job.pid
    return job.wait(watch)


class Watch:
    """What a server tells about a program that runs: the clients that belong to it, and which of them have left.

    A client belongs to it whose process, as the client told it, is the program's own or descends from it in the moment
    in which that is told. Where the system does not tell ancestors only the program's own process counts.
    """

    def __init__(self, server: Server) -> None:
        self.process = 0
        """The program; set it before anything is heard."""
        self.connected = False
        """Whether there ever was one."""
        self.lost = False
        """Whether the server that is asked now may not know of all that happened."""
        self.port = server.port
        self._server: Server | None = None
        self._here: set[int] = set()
        self._processes: set[int] = set()
        """Those of the clients that belong to it; also when they have left."""
        self._since = time.time()
        self._until = 0.0
        self._follow(server)

    @property
    def source(self) -> int | None:
        """Where the server's news come from."""
        return self._server.fileno() if self._server is not None else None

    @property
    def patience(self) -> float | None:
        """When to look whether the server has come back."""
        return RETRY_SECONDS if self._server is None and time.monotonic() < self._until else None

    def hear(self) -> None:
        """Take in what the server has told."""
        if self._server is None:
            if time.monotonic() < self._until:
                self._return()
            return
        try:
            for event in self._server.events():
                if event["kind"] == "introduced":
                    self._arrived(event["client_id"], event.get("pid"))
                elif event["kind"] == "disconnected":
                    self._here.discard(event["client_id"])
        except (Closed, NotAnswering):
            self._lose()

    def leave(self) -> None:
        """Wait until the clients of the program, which has ended, have left; not for long."""
        deadline = time.monotonic() + LEAVE_SECONDS
        self.hear()
        while self._here and self._server is not None and (left := deadline - time.monotonic()) > 0:
            select.select([self._server], [], [], left)
            self.hear()

    def turns(self) -> list[dict[str, Any]] | None:
        """What the program changed, turn by turn, oldest first; None if the server is not there to tell."""
        if self._server is None:
            return None
        try:
            answer = self._server.request("changes", {"all": True})
        except (Closed, NotAnswering, Refused):
            self._lose()
            return None
        return [turn for turn in answer["turns"] if turn["pid"] in self._processes and turn["began_at"] >= self._since]

    def close(self) -> None:
        """Let the server go."""
        if self._server is not None:
            self._server.close()

    def _follow(self, server: Server) -> None:
        try:
            server.follow()
            present = server.request("status")["clients"]
        except (Closed, NotAnswering, Refused):
            server.close()
            self._lose()
            return
        self._server = server
        self._until = 0.0
        for client in present:
            self._arrived(client["id"], client["pid"])

    def _arrived(self, client: int, pid: int | None) -> None:
        if self.process and pid is not None and (pid == self.process or self.process in runtime.ancestors(pid)):
            self.connected = True
            self._processes.add(pid)
            self._here.add(client)

    def _lose(self) -> None:
        """The server is gone. It may come back, by `pairside restart` or because somebody starts it again."""
        self.close()
        self._server = None
        self.lost = True
        self._here.clear()
        if not self._until:
            self._until = time.monotonic() + RETURN_SECONDS

    def _return(self) -> None:
        with contextlib.suppress(Failure):
            self._follow(find(port=self.port))


def _tell_changes(watch: Watch, *, review: bool) -> None:
    """Say what an agent that has ended changed without a review, and what can be done about it."""
    if not watch.connected:
        return
    turns = watch.turns()
    if watch.lost:
        _tell_lost(watch, is_back=turns is not None)
    if not turns:
        return
    unasked: dict[str, list[dict[str, Any]]] = {}
    by_other_means = set()
    numbers = set()
    for turn in turns:
        for change in turn["changes"]:
            if change["state"] == "undone" or change["late"]:
                continue
            if change["means"] == "other":
                by_other_means.add(change["path"])
            elif not change["reviewed"]:
                unasked.setdefault(change["path"], []).append(change)
            else:
                continue
            numbers.add(turn["turn"])
    if unasked:
        if review:
            why = 'It left its manual mode, or its diff tool is "terminal" (/config).'
        else:
            why = "Be asked first: pairside run --review claude"
        _say(f"{agent_of(turns[0])} changed {count(len(unasked), 'file')} without a review. {why}")
    for path, writes in unasked.items():
        _say(_line(path, writes))
    if by_other_means:
        were = "was" if len(by_other_means) == 1 else "were"
        also = "also " if unasked else ""
        _say(f"{count(len(by_other_means), 'file')} {were} {also}changed by other means, as by its shell commands.")
    if len(numbers) == 1:
        (number,) = numbers
        _say(f"See it: pairside changes --turn {number}. Take it back: pairside undo --turn {number}")
    elif numbers:
        _say("See it: pairside changes --all. Take it back, turn by turn: pairside undo --turn N")


def _tell_lost(watch: Watch, *, is_back: bool) -> None:
    """Say what follows from it that the server was gone in between, or still is."""
    from pairside import config

    kept = False
    with contextlib.suppress(config.ConfigError):
        kept = config.load(os.environ).changes.keep
    if is_back and kept:
        return  # it knows what it knew before
    what = "was restarted" if is_back else "has stopped"
    if kept:
        _say(f"pairside on port {watch.port} {what} meanwhile. What was changed until then: pairside changes")
    else:
        which = " before that" if is_back else ""
        _say(f"pairside on port {watch.port} {what} meanwhile: what was changed{which} is not known.")


def _line(path: str, writes: Sequence[dict[str, Any]]) -> str:
    """One line about a file and all that was written to it."""
    size = ""
    if all(write["added"] is not None for write in writes):
        size = f" +{sum(write['added'] for write in writes)} -{sum(write['removed'] for write in writes)}"
    times = f" in {len(writes)} writes" if len(writes) > 1 else ""
    what = {"new": "was made", "deleted": "was deleted"}.get(writes[-1]["kind"], "was changed")
    if writes[0]["kind"] == "new" and writes[-1]["kind"] != "deleted":
        what = "was made"
    note = next((f" [{printable(write['note'])}]" for write in writes if write["note"]), "")
    return f"! {shown(path)}{size} {what} without a review{times}{note}"


def _say(line: str) -> None:
    """Say something on standard error, if anybody is still there to see it."""
    encoding = getattr(sys.stderr, "encoding", None) or "utf-8"
    with contextlib.suppress(OSError):
        os.write(2, (line + "\n").encode(encoding, "backslashreplace"))


# The same for a shell.


@click.command()
@click.option(
    "--shell",
    type=click.Choice(["sh", "fish"]),
    metavar="SHELL",
    default="sh",
    show_default=True,
    help="The shell that reads it: sh (or bash, zsh), or fish.",
)
@as_json
@choosing
@click.argument("agent", metavar="[AGENT]", default=CLAUDE)
def env(shell: str, as_json: bool, port: int | None, workspace: str | None, agent: str) -> None:
    """Print what a shell exports so that agents connect.

    For eval "$(pairside env)" in a shell, and for direnv and tmux. AGENT is the agent that is meant: for opencode it
    differs from what all others need. The exit status is 4, and nothing is printed, if no server serves the folder.
    """
    server = _joined(port, workspace)
    with told(server):
        lock_file = _status(server)["lock_file"]
    changed = beside(os.environ, agent=_agent(agent), port=server.port, lock_file=lock_file)
    for note in changed.notes:
        _say(f"Note: {printable(note)}")
    if as_json:
        print_json(
            {
                "port": server.port,
                "set": {name: value for name, value in changed.variables.items() if value is not None},
                "unset": [name for name, value in changed.variables.items() if value is None],
            }
        )
        return
    lines = [_exported(shell, name, value) for name, value in changed.variables.items()]
    sys.stdout.buffer.write(os.fsencode("".join(line + "\n" for line in lines)))  # a path need not be text
    sys.stdout.buffer.flush()


def _exported(shell: str, name: str, value: str | None) -> str:
    """The command of a shell that sets a variable, or unsets it."""
    if shell == "fish":
        if value is None:
            return f"set --erase {name}"
        quoted = value.replace("\\", "\\\\").replace("'", "\\'")
        return f"set --global --export {name} '{quoted}'"
    return f"unset {name}" if value is None else f"export {name}={shlex.quote(value)}"
