"""Owns what a process started beside a server needs in its environment, so that an agent in it connects to that server.

Values in, values out: nothing is read from this process's own environment, and nothing is changed. Cheap to import.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import NamedTuple

CLAUDE = "claude"
OPENCODE = "opencode"
"""It reads Claude Code's lock files too, but takes a server named by `CLAUDE_CODE_SSE_PORT` for one without a token."""

LOOPBACK = ("127.0.0.1", "localhost", "::1")
_FALSE = ("false", "0", "no", "off")


class Environment(NamedTuple):
    """What has to be changed in an environment."""

    variables: dict[str, str | None]
    """The value that each has to have; None where it must not be there."""
    notes: list[str]
    """What the person should know, since they had said something else. Not yet fit for a terminal."""


def beside(environment: Mapping[str, str], *, agent: str, port: int, lock_file: str) -> Environment:
    """What to change in `environment` for an agent that is to connect to the server on `port`.

    `agent` is the name of the agent's program. What is no known agent may start one, as shells and wrapper scripts do:
    it gets what Claude Code needs. `lock_file` is the path of the server's lock file.
    """
    variables: dict[str, str | None] = {}
    notes: list[str] = []

    name = "CLAUDE_CODE_SSE_PORT"
    if agent == OPENCODE:
        variables[name] = None
    else:
        variables[name] = str(port)
        inherited = environment.get(name, "")
        if inherited not in ("", str(port)):
            notes.append(f"{name} was {inherited}, another IDE's port. It is {port} now.")

    name = "CLAUDE_CONFIG_DIR"
    config = os.path.dirname(os.path.dirname(lock_file))
    if not _same(config, os.path.join(_home(environment), ".claude")):  # there every client looks as well
        variables[name] = config
        inherited = environment.get(name, "")
        if not inherited:
            notes.append(f"{name} is {config} now: only there the agent finds this server.")
        elif not _same(config, inherited):
            notes.append(f"{name} was {inherited}. It is {config} now: only there the agent finds this server.")

    name = "CLAUDE_CODE_AUTO_CONNECT_IDE"
    if environment.get(name, "").strip().lower() in _FALSE:
        variables[name] = None
        notes.append(f"{name} was {environment[name]}. It is unset now, so that the agent connects.")

    name = "CLAUDE_CODE_IDE_HOST_OVERRIDE"
    inherited = environment.get(name, "")
    if inherited not in ("", "127.0.0.1", "localhost"):
        variables[name] = None
        notes.append(f"{name} was {inherited}. It is unset now: pairside listens on 127.0.0.1 only.")

    for name, other in (("no_proxy", "NO_PROXY"), ("NO_PROXY", "no_proxy")):
        # A program that reads the one looks no further: what was said in the other alone has to stand in both.
        variables[name] = _with_loopback(environment.get(name, environment.get(other, "")))
    return Environment(variables, notes)


def _with_loopback(hosts: str) -> str:
    """A list of hosts that need no proxy, this machine among them."""
    listed = [host.lower() for host in re.split(r"[\s,]+", hosts)]
    if "*" in listed:
        return hosts
    return ",".join(filter(None, [hosts.strip().rstrip(","), *(host for host in LOOPBACK if host not in listed)]))


def _home(environment: Mapping[str, str]) -> str:
    return environment.get("HOME") or os.path.expanduser("~")


def _same(path: str, other: str) -> bool:
    return os.path.realpath(path) == os.path.realpath(other)
