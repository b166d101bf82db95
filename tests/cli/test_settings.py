"""The command that shows the settings."""

from __future__ import annotations

import json

from pairside.config import settings
from tests.cli.command import pairside
from tests.e2e.home import Home


def configure(home: Home, text: str) -> str:
    """Write the file of settings; its path."""
    path = home.home / ".config" / "pairside" / "config.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return str(path)


def test_every_setting_is_shown_with_its_value_and_where_it_came_from(home: Home) -> None:
    """Without a file all are defaults, and the file that would change them is named."""
    done = pairside(home, "config")
    lines = done.stdout.decode().splitlines()
    assert lines[0] == f"# {home.home}/.config/pairside/config.toml (does not exist: make it to change a setting)"
    assert [line.partition(" = ")[0] for line in lines[1:]] == [setting.name for setting in settings()]
    assert 'serve.log = "warning"  # default' in lines
    path = configure(home, "[limits]\ncalls = 5\n")
    done = pairside(home, "config", "--changed", environment={"PAIRSIDE_SHARE_SELECTION": "false"})
    assert done.stdout.decode().splitlines() == [
        f"# {path}",
        "share.selection = false  # PAIRSIDE_SHARE_SELECTION",
        f"limits.calls = 5  # {path}:2",
    ]


def test_settings_are_told_to_programs(home: Home) -> None:
    """Name, value as in the file, and where it came from."""
    path = configure(home, '[share]\nexclude = ["*.key"]\n')
    told = json.loads(pairside(home, "config", "--json", "--changed").stdout)
    assert told == {
        "file": path,
        "exists": True,
        "settings": [{"name": "share.exclude", "value": '["*.key"]', "where": f"{path}:2"}],
    }


def test_what_is_wrong_is_told_with_file_line_key_and_what_is_allowed(home: Home) -> None:
    """By this command as by the one that serves; nothing of it reaches the terminal as an escape sequence."""
    path = configure(home, '[review]\n\nwhere = "th\\u001bere"\n')
    for command in ("config", "serve"):
        done = pairside(home, command)
        assert done.returncode == 2
        assert done.stdout == b""
        assert done.stderr.decode() == f"{path}:3: review.where takes here, terminal, not 'th\\x1bere'\n"
