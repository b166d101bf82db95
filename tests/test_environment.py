"""What a process beside a server needs in its environment."""

from __future__ import annotations

from pathlib import Path

import pytest

from pairside.agents.claude.environment import CLAUDE, OPENCODE, beside

HOME = "/home/someone"
LOCK = f"{HOME}/.claude/ide/12345.lock"
ELSEWHERE = "/srv/config/ide/12345.lock"


def variables(agent: str = CLAUDE, lock_file: str = LOCK, **environment: str) -> dict[str, str | None]:
    """What is to be changed in an environment with that home."""
    return beside({"HOME": HOME, **environment}, agent=agent, port=12345, lock_file=lock_file).variables


def notes(agent: str = CLAUDE, lock_file: str = LOCK, **environment: str) -> list[str]:
    """What the person is told about it."""
    return beside({"HOME": HOME, **environment}, agent=agent, port=12345, lock_file=lock_file).notes


def test_without_anything_said_only_port_and_proxies_are_set() -> None:
    """Nothing else is touched, and there is nothing to tell."""
    loopback = "127.0.0.1,localhost,::1"
    assert variables() == {"CLAUDE_CODE_SSE_PORT": "12345", "no_proxy": loopback, "NO_PROXY": loopback}
    assert notes() == []


@pytest.mark.parametrize("agent", ["", CLAUDE, "some-shell"])
def test_the_port_of_another_ide_is_replaced_and_that_is_told(agent: str) -> None:
    """Terminals of VS Code hand down a port; what may start an agent gets ours as well."""
    assert variables(agent, CLAUDE_CODE_SSE_PORT="41234")["CLAUDE_CODE_SSE_PORT"] == "12345"
    (note,) = notes(agent, CLAUDE_CODE_SSE_PORT="41234")
    assert "41234" in note
    assert notes(agent, CLAUDE_CODE_SSE_PORT="12345") == notes(agent, CLAUDE_CODE_SSE_PORT="") == []


def test_opencode_never_gets_the_port() -> None:
    """It would connect without a token and be refused; an inherited port is taken away, all else is alike."""
    others = variables()
    assert variables(OPENCODE) == {**others, "CLAUDE_CODE_SSE_PORT": None}
    assert variables(OPENCODE, CLAUDE_CODE_SSE_PORT="41234") == {**others, "CLAUDE_CODE_SSE_PORT": None}


def test_a_lock_file_in_the_default_place_is_found_whatever_else_is_said() -> None:
    """Every client looks there as well: the person's own choice of a configuration stays."""
    assert "CLAUDE_CONFIG_DIR" not in variables(CLAUDE_CONFIG_DIR="/mine")
    assert "CLAUDE_CONFIG_DIR" not in variables()


def test_a_lock_file_elsewhere_brings_its_configuration_along() -> None:
    """The configuration holds the log-in too, so it is told when it was not already this one."""
    assert variables(lock_file=ELSEWHERE)["CLAUDE_CONFIG_DIR"] == "/srv/config"
    assert ["/srv/config" in note for note in notes(lock_file=ELSEWHERE)] == [True]
    assert variables(lock_file=ELSEWHERE, CLAUDE_CONFIG_DIR="/mine")["CLAUDE_CONFIG_DIR"] == "/srv/config"
    assert ["/mine" in note for note in notes(lock_file=ELSEWHERE, CLAUDE_CONFIG_DIR="/mine")] == [True]
    assert notes(lock_file=ELSEWHERE, CLAUDE_CONFIG_DIR="/srv/config/") == []


def test_the_default_place_by_another_name_is_the_default_place(tmp_path: Path) -> None:
    """With the variable set Claude Code keeps its state elsewhere: it must not be set where there is no need."""
    (tmp_path / "dotfiles" / "ide").mkdir(parents=True)
    (tmp_path / ".claude").symlink_to(tmp_path / "dotfiles")
    lock = str(tmp_path / "dotfiles" / "ide" / "12345.lock")
    assert "CLAUDE_CONFIG_DIR" not in variables(lock_file=lock, HOME=str(tmp_path))


@pytest.mark.parametrize("value", ["false", "FALSE", "0", "no", "Off", " false "])
def test_a_no_to_connecting_is_taken_back_and_that_is_told(value: str) -> None:
    """Whoever runs an agent beside a server wants it to connect."""
    assert variables(CLAUDE_CODE_AUTO_CONNECT_IDE=value)["CLAUDE_CODE_AUTO_CONNECT_IDE"] is None
    assert len(notes(CLAUDE_CODE_AUTO_CONNECT_IDE=value)) == 1


@pytest.mark.parametrize("value", ["true", "1", ""])
def test_anything_else_about_connecting_stays(value: str) -> None:
    """It is in nobody's way."""
    assert "CLAUDE_CODE_AUTO_CONNECT_IDE" not in variables(CLAUDE_CODE_AUTO_CONNECT_IDE=value)


def test_another_host_to_connect_to_is_taken_back() -> None:
    """The server listens on 127.0.0.1 only; a name for that may stay."""
    assert variables(CLAUDE_CODE_IDE_HOST_OVERRIDE="10.0.0.1")["CLAUDE_CODE_IDE_HOST_OVERRIDE"] is None
    assert len(notes(CLAUDE_CODE_IDE_HOST_OVERRIDE="10.0.0.1")) == 1
    assert "CLAUDE_CODE_IDE_HOST_OVERRIDE" not in variables(CLAUDE_CODE_IDE_HOST_OVERRIDE="localhost")


@pytest.mark.parametrize(
    ("given", "lower", "upper"),
    [
        ({"no_proxy": "a.example", "NO_PROXY": "b.example"}, "a.example,{}", "b.example,{}"),
        ({"NO_PROXY": "b.example"}, "b.example,{}", "b.example,{}"),
        ({"no_proxy": "a.example, "}, "a.example,{}", "a.example,{}"),
        ({"no_proxy": "*"}, "*", "*"),
        ({"no_proxy": "", "NO_PROXY": "b.example"}, "{}", "b.example,{}"),
        ({"no_proxy": "LOCALHOST,127.0.0.1,::1"}, "LOCALHOST,127.0.0.1,::1", "LOCALHOST,127.0.0.1,::1"),
        ({"no_proxy": "localhost a.example"}, "localhost a.example,127.0.0.1,::1", "localhost a.example,127.0.0.1,::1"),
    ],
)
def test_loopback_is_added_to_what_needs_no_proxy(given: dict[str, str], lower: str, upper: str) -> None:
    """What is there stays, for programs that read either variable, and nothing is added twice."""
    loopback = "127.0.0.1,localhost,::1"
    changed = variables(**given)
    assert (changed["no_proxy"], changed["NO_PROXY"]) == (lower.format(loopback), upper.format(loopback))
