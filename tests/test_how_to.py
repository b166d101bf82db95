"""What the how-tos tell people to paste is well formed, and the places that it sends are those that pairside takes."""

from __future__ import annotations

import json
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from pairside import config
from pairside.cli import spots

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "how-to"
SECONDS = 10.0
TEXT = "import math\n\n\ndef größe(x):  # äöü\n    return '世界' * x\n"

_FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(name: str, language: str) -> list[str]:
    """The blocks of a how-to that are in one language."""
    found = [body for marked, body in _FENCE.findall((FOLDER / name).read_text("utf-8")) if marked == language]
    assert found, f"{name} has no block of {language}"
    return found


def edited(script: str, text: str) -> str:
    """What sed makes of a text."""
    done = subprocess.run(["sed", script], input=text, capture_output=True, text=True, timeout=SECONDS, check=True)
    return done.stdout


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file with characters of several bytes."""
    path = tmp_path / "shop.py"
    path.write_text(TEXT, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("selection", "selected"),
    [
        ("4.5,4.9", "größe"),
        ("5.13,5.14", "世界"),
        ("4.1,4.21", "def größe(x):  # äöü"),  # with the line end, as after x
        ("3.1,3.1", ""),
        ("1.8,4.3", "math\n\n\ndef"),
    ],
)
def test_a_selection_of_kakoune_is_the_same_in_pairside(file: Path, selection: str, selected: str) -> None:
    """Its lines and columns count from 1 in characters, the last ones included; only the punctuation differs."""
    [script] = re.findall(r"pairside-place select '([^']+)'", blocks("kakoune.md", "kak")[0])
    span = spots.span(spots.parse(f"{file}:{edited(script, selection)}"))
    assert span is not None
    (first, start), (last, end) = span
    lines = TEXT.split("\n")[first : last + 1]
    lines[-1] = lines[-1][:end]
    lines[0] = lines[0][start:]
    assert "\n".join(lines) == selected


def test_a_mention_from_kakoune_has_lines_alone(file: Path) -> None:
    """Columns would be left out, with a message."""
    [script] = re.findall(r"pairside-place mention '([^']+)'", blocks("kakoune.md", "kak")[0])
    place = spots.parse(f"{file}:{edited(script, '4.5,5.14')}")
    assert (place.first, place.first_column, place.last, place.last_column) == (4, None, 5, None)


def test_the_keys_of_micro_call_functions_that_are_there() -> None:
    """What is bound in the one block is defined in the other, and nothing is defined in vain."""
    [bindings] = [json.loads(block) for block in blocks("micro.md", "json")]
    [code] = blocks("micro.md", "lua")
    called = [action.removeprefix("lua:initlua.") for action in bindings.values()]
    assert sorted(called) == sorted(re.findall(r"^function (\w+)\(bp\)$", code, re.MULTILINE))


def test_the_keys_of_helix_are_commands_that_pairside_has(file: Path) -> None:
    """With the expansions replaced, each place that is sent is one."""
    [keys] = [tomllib.loads(block)["keys"] for block in blocks("helix.md", "toml")]
    values = {"buffer_name": str(file), "selection_line_start": "4", "selection_line_end": "5", "cursor_line": "5"}
    places = []
    for command in [*keys["normal"]["space"]["i"].values(), *keys["select"]["space"]["i"].values()]:
        expanded = re.sub(r"%\{(\w+)\}", lambda match: values[match[1]], command)
        assert re.match(r":sh pairside (select|mention|open|show|accept|reject)\b", expanded)
        places += re.findall(r"'(.*)'", expanded)
    assert len(places) == 5
    assert {(spots.parse(place).first, spots.parse(place).last) for place in places} == {(4, 5), (5, 5)}


@pytest.mark.parametrize("block", blocks("tmux.md", "toml"))
def test_the_hooks_are_settings(block: str, tmp_path: Path) -> None:
    """What is pasted into the file is taken as it is."""
    settings = tmp_path / "pairside" / "config.toml"
    settings.parent.mkdir()
    settings.write_text(block, encoding="utf-8")
    hooks = config.load({"XDG_CONFIG_HOME": str(tmp_path)}).hooks
    assert list(hooks.on_review) == tomllib.loads(block)["hooks"]["on_review"]
