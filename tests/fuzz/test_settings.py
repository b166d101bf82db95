"""Hostile settings and command lines: an error that says what is wrong, never a traceback."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from pairside import config
from pairside.cli import pairside
from pairside.cli.exits import MEANINGS

from .strategies import ANY_TEXT, mutated
from .target import tries

SETTINGS = list(config.settings())
GOOD = "\n".join(
    f"[{section}]\n" + "\n".join(f"{one.key} = {one.default}" for one in SETTINGS if one.section == section)
    for section in dict.fromkeys(one.section for one in SETTINGS)
)
PLAIN = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=30)
"""What a variable of the environment and an argument can hold."""
TOML = st.sampled_from(
    [
        *("true", "0", "-1", "1e400", "nan", "inf", "9" * 5000, "0x10", "1_0", "+5", "1979-05-27"),
        *("[]", "[[]]", "{}", "{a = 1}", "[" * 2000 + "]" * 2000, '["*"]', '["\\u0000"]'),
        *('"x"', '""', "'\\'", '"10000-20000"'),
    ]
)


@st.composite
def files(draw: st.DrawFn) -> bytes:
    """Files of settings: lines that could stand there, with values that could not."""
    lines = []
    for one in draw(st.lists(st.sampled_from(SETTINGS), max_size=4)):
        how = draw(
            st.sampled_from(
                [f"[{one.section}]\n{one.key}", f"{one.section}.{one.key}", one.key, f"[[{one.section}]]\n{one.key}"]
            )
        )
        lines.append(f"{how} = {draw(TOML | st.just(one.default))}")
    return "\n".join(lines).encode()


def refused(environment: dict[str, str], flags: dict[str, str]) -> bool:
    """Whether the settings are refused, with a reason. Anything but that is the test's failure."""
    try:
        config.values(environment, flags)
    except config.ConfigError:
        return True
    return False


def write(environment: dict[str, str], data: bytes) -> None:
    """Write the file of settings."""
    path = Path(config.path(environment))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def test_files_of_every_kind(environment: dict[str, str]) -> None:
    """A file is read or refused with a reason."""
    tried: list[bool] = []

    @tries(150)
    @given(
        files()
        | files()
        | mutated(st.just(GOOD.encode()))
        | st.binary(max_size=60)
        | ANY_TEXT.map(lambda text: text.encode("utf-8", "surrogatepass"))
    )
    def every(data: bytes) -> None:
        write(environment, data)
        tried.append(refused(environment, {}))

    every()
    assert True in tried
    assert False in tried


def test_variables_and_flags_of_every_kind(environment: dict[str, str]) -> None:
    """Texts in the environment, on the command line and from a front-end."""
    names = st.sampled_from([one.variable for one in SETTINGS]) | PLAIN.map(lambda text: f"PAIRSIDE_LIMITS_{text}")
    texts = TOML | PLAIN | st.sampled_from(["1-2", "0-0", "2-1", "1-99999", "'", '"', "\\", "a,b", "True", "٣"])

    @tries(150)
    @given(
        st.dictionaries(names, texts, max_size=3),
        st.dictionaries(st.sampled_from([one.name for one in SETTINGS]) | ANY_TEXT, texts | ANY_TEXT, max_size=2),
    )
    def every(variables: dict[str, str], flags: dict[str, str]) -> None:
        refused({**environment, **variables}, flags)

    every()


COMMANDS = (
    "config", "status", "reviews", "show", "accept", "reject", "edit", "select", "mention", "open", "share",
    "diagnostics", "changes", "undo", "log", "stop", "restart", "env", "completion", "doctor",
)  # fmt: skip
FLAGS = st.sampled_from(
    [
        *("--json", "--port", "--workspace", "--hunks", "--line", "--all", "--turn", "--stat", "--patch", "--force"),
        *("--help", "-h", "--version", "--changed", "--", "-", "import", "on", "off", "forget"),
        *("--port=1", "--port=99999", "--port=-1", "--hunks=1,3", "--hunks=0", "--hunks=9-1", "--turn=-1", "--lines=1"),
        *("5", "0", "-1", "9" * 20, "~", ".", "..", "/", "--workspace=/nonexistent", "--shell=bash"),
        *("file.txt:3-8", "file.txt:0", "file.txt:8-3", "file.txt:", ":3", "file.txt:3:4"),
    ]
)


def test_command_lines_of_every_kind(environment: dict[str, str], workspace: Path, monkeypatch: Any) -> None:
    """Where no server runs every command ends with one of the exit statuses, and a message."""
    monkeypatch.chdir(workspace)
    Path(workspace, "file.txt").write_text("one\ntwo\n")
    runner = CliRunner()

    @tries(120)
    @given(st.sampled_from(COMMANDS), st.lists(FLAGS | PLAIN, max_size=4))
    def every(command: str, arguments: list[str]) -> None:
        done = runner.invoke(pairside, [command, *arguments], catch_exceptions=True)
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        assert done.exit_code in MEANINGS
        assert "Traceback" not in done.output
        assert done.output or done.exit_code == 0

    every()
    assert os.getcwd() == str(workspace)
