"""Settings: who wins, what is refused and how it is said, and that each one can be documented."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pairside import config
from pairside.hooks import VARIABLES, Hooks
from pairside.limits import Limits
from pairside.sharing import Policy


def write(home: Path, text: str) -> dict[str, str]:
    """Write the file; the environment that leads to it."""
    path = home / "pairside" / "config.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return {"XDG_CONFIG_HOME": str(home)}


def complaint(environment: dict[str, str], flags: dict[str, str] | None = None) -> str:
    """What is said about settings that are wrong."""
    with pytest.raises(config.ConfigError) as caught:
        config.load(environment, flags)
    return str(caught.value)


def test_without_anything_the_defaults_count(tmp_path: Path) -> None:
    """No file and no variable: the limits are those of the class."""
    assert config.load({"HOME": str(tmp_path)}) == config.Config(Limits(), "warning")


def test_the_file_then_the_environment_then_flags_win(tmp_path: Path) -> None:
    """Each later one wins over those before it, setting by setting."""
    environment = write(
        tmp_path,
        '[serve]\nports = "11000-11009"\nlog = "info"\n[limits]\nclients = 5\ncalls = 7\nmention_seconds = 1.5\n',
    )
    environment |= {"PAIRSIDE_LIMITS_CALLS": "9", "PAIRSIDE_SERVE_PORTS": "12000-12009"}
    loaded = config.load(environment, {"serve.ports": "13000-13000"})
    assert (loaded.limits.port_min, loaded.limits.port_max) == (13000, 13000)
    assert (loaded.limits.clients, loaded.limits.calls, loaded.limits.mention_seconds) == (5, 9, 1.5)
    assert loaded.log == "info"


def test_without_the_configuration_directory_variable_the_file_is_below_the_home(tmp_path: Path) -> None:
    """As the XDG specification says; a relative directory is ignored as it wants."""
    write(tmp_path / ".config", "[limits]\nclients = 6\n")
    assert config.load({"HOME": str(tmp_path)}).limits.clients == 6
    assert config.load({"HOME": str(tmp_path), "XDG_CONFIG_HOME": "relative"}).limits.clients == 6


def test_every_limit_can_be_set_in_the_file_and_in_the_environment(tmp_path: Path) -> None:
    """The settings are made from the fields of the limits, so that none is forgotten."""
    limits = {setting.key: setting for setting in config.settings() if setting.section == "limits"}
    assert {*limits, "port_min", "port_max"} == set(Limits._fields)
    for key, setting in limits.items():
        other = type(getattr(Limits(), key))(getattr(Limits(), key) * 0.9)
        loaded = config.load({"HOME": str(tmp_path), setting.variable: repr(other)})
        assert getattr(loaded.limits, key) == other
        loaded = config.load(write(tmp_path / key, f"[limits]\n{key} = {other!r}\n"))
        assert getattr(loaded.limits, key) == other


def test_every_setting_says_what_a_reference_needs(tmp_path: Path) -> None:
    """Name, variable, type, allowed values, default and description; the default is valid as it stands."""
    described = {setting.name: setting for setting in config.settings()}
    assert "serve.ports" in described
    for setting in described.values():
        assert setting.description[0].isupper()
        assert setting.description.endswith(".")
        assert setting.variable == "PAIRSIDE_" + setting.name.replace(".", "_").upper()
        assert setting.allowed
        loaded = config.load(write(tmp_path, f"[{setting.section}]\n{setting.key} = {setting.default}\n"))
        assert loaded == config.Config()
    assert described["limits.clients"].description == "Agents connected at once; one more is answered 503."


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "[limits]\nclinets = 5\n",
            "unknown key limits.clinets; did you mean clients; keys of [limits]: clients, handshakes,",
        ),
        ("[limits]\nzzz = 5\n", "unknown key limits.zzz; keys of [limits]: clients, handshakes,"),
        ("[limits]\nport_min = 5\n", "unknown key limits.port_min"),
        ("[limit]\nclients = 5\n", "unknown section limit; did you mean limits; sections: [serve], [review],"),
        ("clients = 5\n", "clients stands outside of a section; sections: [serve], [review],"),
        ("limits = 5\n", "limits must be a section: [limits]"),
        ("[limits]\nclients = 0\n", "limits.clients takes a whole number from 1 to 1000, not 0"),
        ("[limits]\nclients = 1001\n", "limits.clients takes a whole number from 1 to 1000, not 1001"),
        ("[limits]\nclients = 1.5\n", "limits.clients takes a whole number from 1 to 1000, not 1.5"),
        ("[limits]\nclients = true\n", "limits.clients takes a whole number from 1 to 1000, not True"),
        ('[limits]\nclients = "5"\n', "limits.clients takes a whole number from 1 to 1000, not '5'"),
        ("[limits]\nping_seconds = nan\n", "limits.ping_seconds takes a number from"),
        ("[limits]\nping_seconds = inf\n", "limits.ping_seconds takes a number from"),
        ("[serve]\nports = 5\n", "serve.ports takes MIN-MAX, both from 1 to 65535, not 5"),
        ('[serve]\nports = "20-10"\n', "serve.ports takes MIN-MAX"),
        ('[serve]\nports = "0-10"\n', "serve.ports takes MIN-MAX"),
        ('[serve]\nports = "1-65536"\n', "serve.ports takes MIN-MAX"),
        ('[serve]\nlog = "loud"\n', "serve.log takes warning, info, debug, not 'loud'"),
        ("[limits\n", "is not valid TOML: "),
        ("[limits]\nclients = " + "1" * 5000 + "\n", "is not valid TOML: "),
        ('[review]\nwhere = "there"\n', "review.where takes here, terminal, not 'there'"),
        ("[review]\nwhere = [1]\n", "review.where takes here, terminal, not [1]"),
        ("[share]\nselection = 1\n", "share.selection takes true or false, not 1"),
        ('[share]\nexclude = "*.key"\n', "share.exclude takes a list of texts, like"),
        ('[share]\nexclude = ["*.key", 5]\n', "share.exclude takes a list of texts, like"),
        ('[share]\nexclude = [""]\n', "share.exclude takes a list of texts, like"),
        ('[hooks]\non_review = "notify-send"\n', "hooks.on_review takes a program and its arguments, like"),
        ('[hooks]\non_review = ["a\\u0000b"]\n', "hooks.on_review takes a program and its arguments, like"),
    ],
)
def test_what_is_wrong_in_the_file_is_named_with_the_file_and_what_is_allowed(
    tmp_path: Path, text: str, said: str
) -> None:
    """A typing error never goes unnoticed."""
    message = complaint(write(tmp_path, text))
    assert message.startswith(str(tmp_path / "pairside" / "config.toml"))
    assert said in message


def test_a_file_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    """A directory in its place, a pipe, a device without an end, too much, or bytes that are no text."""
    environment = write(tmp_path, "")
    path = tmp_path / "pairside" / "config.toml"
    path.write_bytes(b"\xff")
    assert "is not valid TOML" in complaint(environment)
    path.unlink()
    path.mkdir()
    assert f"cannot read {path}" in complaint(environment)
    path.rmdir()
    os.mkfifo(path)
    assert f"cannot read {path}" in complaint(environment)
    path.unlink()
    path.symlink_to("/dev/zero")
    assert f"cannot read {path}" in complaint(environment)
    path.unlink()
    path.write_bytes(b"#" * (config.FILE_BYTES + 1))
    assert f"cannot read {path}: it is larger than 1 MiB" in complaint(environment)


def test_what_is_wrong_in_the_environment_names_the_variable(tmp_path: Path) -> None:
    """An unknown variable of ours too; others are none of our business, and an empty one says nothing."""
    home = {"HOME": str(tmp_path)}
    assert complaint(home | {"PAIRSIDE_LIMITS_CALLS": "many"}).startswith("PAIRSIDE_LIMITS_CALLS: limits.calls takes")
    assert complaint(home | {"PAIRSIDE_LIMITS_CALL": "1"}) == (
        "PAIRSIDE_LIMITS_CALL sets nothing; did you mean PAIRSIDE_LIMITS_CALLS"
    )
    assert config.load(home | {"PAIRSIDE_THEME": "1", "PAIRSIDE_LIMITS_CALLS": ""}) == config.Config()


def test_what_is_wrong_in_a_flag_names_the_flag(tmp_path: Path) -> None:
    """The person reads back what they typed."""
    message = complaint({"HOME": str(tmp_path)}, {"serve.ports": "x"})
    assert message.startswith("--port-range: serve.ports takes MIN-MAX")


def test_a_client_must_have_time_to_answer_a_ping(tmp_path: Path) -> None:
    """Limits that contradict each other are refused, both named."""
    message = complaint({"HOME": str(tmp_path), "PAIRSIDE_LIMITS_SILENCE_SECONDS": "30"})
    assert "limits.ping_seconds" in message
    assert "limits.silence_seconds" in message


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("[limits]\n\nclients = 0\n", 3),
        ("# [limits]\n[serve] # here\n[ limits ] # there\ncalls = 5\nclients = 0\n", 5),
        ('["limits"]\n"clients" = 0\n', 2),
        ("limits.calls = 5\nlimits.clients = 0\n", 2),
        ("[serve]\n[limits]\r\nclients = 0\r\n", 3),
        ("\n\nlimits = { calls = 5, clients = 0 }\n", 3),
        ('[serve]\nlog = "info"\n\n[limit]\n', 4),
        ("[serve]\n[limits]\ncalls = 1\nport_min = 5\n", 4),
        ("clients = 5\n", 1),
        ("[serve]\n[[limits]]\nclients = 5\n", 2),
        ('[share]\nexclude = [\n  "a",\n  5,\n]\n', 2),
    ],
)
def test_what_is_wrong_in_the_file_is_named_with_its_line(tmp_path: Path, text: str, line: int) -> None:
    """However the section is written."""
    assert complaint(write(tmp_path, text)).startswith(f"{tmp_path / 'pairside' / 'config.toml'}:{line}: ")


def test_switches_lists_and_words_are_read_from_the_file_and_the_environment(tmp_path: Path) -> None:
    """In the environment a list is split into words as a shell would split them, and a switch is true or false."""
    environment = write(
        tmp_path,
        '[share]\nexclude = ["*.a"]\nselection = false\n'
        '[review]\nwhere = "terminal"\n[hooks]\non_review = ["x", "y z"]\n',
    )
    loaded = config.load(environment)
    assert loaded.share == Policy(exclude=("*.a",), selection=False)
    assert (loaded.review_where, loaded.hooks) == ("terminal", Hooks(on_review=("x", "y z")))
    loaded = config.load(
        environment
        | {
            "PAIRSIDE_SHARE_EXCLUDE": "*.b 'with blank*'",
            "PAIRSIDE_SHARE_SELECTION": "True",
            "PAIRSIDE_REVIEW_WHERE": "here",
            "PAIRSIDE_HOOKS_ON_CHANGES": 'notify-send "Look at it"',
        }
    )
    assert loaded.share == Policy(exclude=("*.b", "with blank*"), selection=True)
    assert (loaded.review_where, loaded.hooks) == ("here", Hooks(("x", "y z"), ("notify-send", "Look at it")))
    assert complaint(environment | {"PAIRSIDE_SHARE_SELECTION": "maybe"}).startswith(
        "PAIRSIDE_SHARE_SELECTION: share.selection takes true or false, not 'maybe'"
    )
    for text in ("'open", "*.a,*.b", '["*.a"', '["*.a", 5]', "[[]]"):
        assert "takes a list of texts" in complaint(environment | {"PAIRSIDE_SHARE_EXCLUDE": text})
    listed = config.load(environment | {"PAIRSIDE_SHARE_EXCLUDE": ' ["*.b", "c d"]'})
    assert listed.share.exclude == ("*.b", "c d")


def test_what_hooks_find_in_their_environment_is_no_setting(tmp_path: Path) -> None:
    """A pairside that a hook runs must start."""
    environment = {"HOME": str(tmp_path), **dict.fromkeys(VARIABLES, "1")}
    assert config.load(environment) == config.Config()


def test_each_value_is_told_with_where_it_came_from(tmp_path: Path) -> None:
    """The default, a line of the file, a variable or a flag: the one that counts."""
    environment = write(tmp_path, '[limits]\nclients = 5\ncalls = 6\n[share]\nexclude = ["ü*"]\nselection = false\n')
    environment |= {"PAIRSIDE_LIMITS_CALLS": "7"}
    found = {one.setting.name: (one.value, one.where) for one in config.values(environment, {"serve.log": "info"})}
    file = str(tmp_path / "pairside" / "config.toml")
    assert found["limits.clients"] == ("5", f"{file}:2")
    assert found["limits.calls"] == ("7", "PAIRSIDE_LIMITS_CALLS")
    assert found["serve.log"] == ('"info"', "--verbose")
    assert found["share.exclude"] == ('["ü*"]', f"{file}:5")
    assert found["share.selection"] == ("false", f"{file}:6")
    assert found["limits.hooks"] == ("8", "default")
    assert list(found) == [setting.name for setting in config.settings()]
    with pytest.raises(config.ConfigError):
        config.values(environment | {"PAIRSIDE_LIMITS_CALLS": "0"})
