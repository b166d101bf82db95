"""Owns the settings: defaults, then the file, then the environment, then flags; the last that says something wins.

The file is `$XDG_CONFIG_HOME/pairside/config.toml` (or `~/.config/pairside/config.toml`). A setting `key` of a
section `[section]` is `PAIRSIDE_SECTION_KEY` in the environment. A key that does not exist, a value of the wrong type
and a value out of range are errors, because a limit that is silently not applied is worse than none.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from pairside.limits import Limits

PREFIX = "PAIRSIDE_"
LEVELS = ("warning", "info", "debug")
_PORT_FIELDS = ("port_min", "port_max")
_KIB, _MIB, _GIB = 1 << 10, 1 << 20, 1 << 30
_RANGES: dict[str, tuple[float, float]] = {
    "clients": (1, 1000),
    "handshakes": (1, 10_000),
    "handshake_seconds": (0.05, 300),
    "handshake_bytes": (1 * _KIB, 1 * _MIB),
    "message_bytes": (1 * _KIB, 1 * _GIB),
    "fragments": (1, 16 * _MIB),
    "unsent_bytes": (1 * _KIB, 1 * _GIB),
    "calls": (1, 10_000),
    "ping_seconds": (0.05, 86_400),
    "silence_seconds": (0.1, 86_400),
    "linger_seconds": (0.05, 60),
    "selection_bytes": (1, 16 * _MIB),
    "mention_seconds": (0.05, 86_400),
    "before_image_bytes": (1, 1 * _GIB),
    "changes_bytes": (1, 16 * _GIB),
}
"""The lowest and the highest value of each limit."""


class ConfigError(Exception):
    """A setting is wrong; the message names it, where it stands and what is allowed."""


@dataclass(frozen=True, slots=True)
class Config:
    """Every setting, with the value that counts."""

    limits: Limits = field(default_factory=Limits)
    log: str = LEVELS[0]
    """What goes to standard error: warnings only, progress too (info), or everything (debug)."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What there is to know about one setting, for whoever reads it, checks it or documents it."""

    section: str
    key: str
    type: str
    """How a person says its type."""
    allowed: str
    """How a person says what it takes."""
    default: str
    """As it would stand in the file."""
    flag: str | None = None
    """The option of `pairside serve` that sets it as well."""

    @property
    def name(self) -> str:
        """Section and key, with a dot between."""
        return f"{self.section}.{self.key}"

    @property
    def variable(self) -> str:
        """The environment variable that sets it."""
        return f"{PREFIX}{self.section}_{self.key}".upper()

    @property
    def description(self) -> str:
        """What it is for, in a sentence or two."""
        return _SERVE[self.key] if self.section == "serve" else _described_limits()[self.key]


_SERVE = {
    "ports": "The ports to listen on; one of them is taken at random. Above 32767 lies the ephemeral range of Linux.",
    "log": "What goes to standard error: warnings only, progress too (info), or everything (debug).",
}


def settings() -> Iterator[Setting]:
    """Every setting, in the order of the reference."""
    limits = Limits()
    ports = f'"{limits.port_min}-{limits.port_max}"'
    yield Setting("serve", "ports", "range of ports", "MIN-MAX, both from 1 to 65535", ports, "--port-range")
    yield Setting("serve", "log", "word", ", ".join(LEVELS), f'"{LEVELS[0]}"', "--verbose")
    for one in fields(Limits):
        if one.name not in _PORT_FIELDS:
            default = getattr(limits, one.name)
            whole = isinstance(default, int)
            low, high = _RANGES[one.name]
            yield Setting(
                "limits",
                one.name,
                "whole number" if whole else "number",
                f"a {'whole ' if whole else ''}number from {low:.15g} to {high:.15g}",
                repr(default),
            )


def path(environment: Mapping[str, str]) -> str:
    """Where the file is, whether it exists or not."""
    base = environment.get("XDG_CONFIG_HOME") or ""
    if not os.path.isabs(base):  # the specification wants a relative one ignored
        base = os.path.join(environment.get("HOME") or os.path.expanduser("~"), ".config")
    return os.path.join(base, "pairside", "config.toml")


def load(environment: Mapping[str, str], flags: Mapping[str, str] | None = None) -> Config:
    """The settings that count. `flags` maps the names of settings to what the command line says.

    Raises:
        ConfigError: A setting is wrong, or the file cannot be read.
    """
    config = Config()
    for where, setting, value in _given(environment, flags or {}):
        config = _with(config, setting, value, where)
    limits = config.limits
    if limits.ping_seconds >= limits.silence_seconds:
        raise ConfigError(
            f"limits.ping_seconds ({limits.ping_seconds:g}) must be less than limits.silence_seconds "
            f"({limits.silence_seconds:g}): a client must have time to answer before it is dropped"
        )
    return config


def _given(environment: Mapping[str, str], flags: Mapping[str, str]) -> Iterator[tuple[str, Setting, Any]]:
    """Every setting that somebody gave, with a name for the place; what counts more comes later."""
    known = {setting.name: setting for setting in settings()}
    yield from _in_file(path(environment), known)
    variables = {setting.variable: setting for setting in known.values()}
    sections = tuple(dict.fromkeys(f"{PREFIX}{setting.section}_".upper() for setting in known.values()))
    for name in sorted(environment):
        if name in variables:
            if environment[name]:  # an empty variable says nothing
                yield name, variables[name], _number_if_any(environment[name])
        elif name.startswith(sections):
            raise ConfigError(f"{name} sets nothing{_similar(name, variables)}")
    for name, text in flags.items():
        yield known[name].flag or name, known[name], text


def _in_file(file: str, known: Mapping[str, Setting]) -> Iterator[tuple[str, Setting, Any]]:
    try:
        with open(file, "rb") as opened:
            data = opened.read()
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise ConfigError(f"cannot read {file}: {error.strerror}") from None
    import tomllib  # only whoever has a file pays for it

    try:
        sections = tomllib.loads(data.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(f"{file} is not valid TOML: {error}") from None
    names = tuple(dict.fromkeys(setting.section for setting in known.values()))
    for section, content in sections.items():
        if section not in names:
            allowed = ", ".join(f"[{name}]" for name in names)
            if not isinstance(content, dict):
                raise ConfigError(f"{file}: {section} stands outside of a section; sections: {allowed}")
            raise ConfigError(f"{file}: unknown section {section}{_similar(section, names, allowed)}")
        if not isinstance(content, dict):
            raise ConfigError(f"{file}: {section} must be a section: [{section}]")
        for key, value in content.items():
            setting = known.get(f"{section}.{key}")
            if setting is None:
                keys = [one.key for one in known.values() if one.section == section]
                raise ConfigError(f"{file}: unknown key {section}.{key}{_similar(key, keys)}")
            yield file, setting, value


def _with(config: Config, setting: Setting, value: Any, where: str) -> Config:
    """The settings with one of them changed."""
    wrong = ConfigError(f"{where}: {setting.name} takes {setting.allowed}, not {value!r}")
    if setting.name == "serve.ports":
        match = re.fullmatch(r"([0-9]{1,5})-([0-9]{1,5})", value) if isinstance(value, str) else None
        if match is None:
            raise wrong
        low, high = int(match[1]), int(match[2])
        if not 1 <= low <= high <= 65535:
            raise wrong
        return replace(config, limits=replace(config.limits, port_min=low, port_max=high))
    if setting.name == "serve.log":
        if value not in LEVELS:
            raise wrong
        return replace(config, log=value)
    lowest, highest = _RANGES[setting.key]
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not lowest <= value <= highest:
        raise wrong
    if setting.type == "whole number" and not isinstance(value, int):
        raise wrong
    changed: dict[str, Any] = {setting.key: value if setting.type == "whole number" else float(value)}
    return replace(config, limits=replace(config.limits, **changed))


def _number_if_any(text: str) -> str | int | float:
    """The environment has only texts: one that reads like a number of TOML is that number."""
    if re.fullmatch(r"[+-]?[0-9]{1,18}", text):
        return int(text)
    if re.fullmatch(r"[+-]?[0-9]{1,18}\.[0-9]{1,18}", text):
        return float(text)
    return text


def _similar(name: str, known: Any, allowed: str | None = None) -> str:
    """The end of a complaint about an unknown name: the one that was probably meant, or all that there are."""
    import difflib

    close = difflib.get_close_matches(name, list(known), 1)
    return f"; did you mean {close[0]}?" if close else f"; known: {allowed or ', '.join(known)}"


def _described_limits() -> dict[str, str]:
    """The description of each limit: the string below it in the source, so that it stands in one place only."""
    import ast
    import inspect
    import itertools

    tree = ast.parse(inspect.getsource(Limits))
    described = {}
    (body,) = [node.body for node in tree.body if isinstance(node, ast.ClassDef)]
    for named, below in itertools.pairwise(body):
        if (
            isinstance(named, ast.AnnAssign)
            and isinstance(named.target, ast.Name)
            and isinstance(below, ast.Expr)
            and isinstance(below.value, ast.Constant)
        ):
            described[named.target.id] = str(below.value.value)
    return described
