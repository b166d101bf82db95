"""Owns the settings: defaults, then the file, then the environment, then flags; the last that says something wins.

The file is `$XDG_CONFIG_HOME/pairside/config.toml` (or `~/.config/pairside/config.toml`). A setting `key` of a
section `[section]` is `PAIRSIDE_SECTION_KEY` in the environment. A key that does not exist, a value of the wrong type
and a value out of range are errors, because a limit that is silently not applied is worse than none. A list
stands in the environment as in the file, or as words that are split as a shell splits them.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from pairside.archive import Recording
from pairside.hooks import Hooks
from pairside.limits import Limits
from pairside.sharing import Kind, Policy
from pairside.text import read_file

PREFIX = "PAIRSIDE_"
LEVELS = ("warning", "info", "debug")
PLACES = ("here", "terminal")
_PORT_FIELDS = ("port_min", "port_max")
_KIB, _MIB, _GIB = 1 << 10, 1 << 20, 1 << 30
FILE_BYTES = 1 * _MIB
"""The largest file of settings that is read."""
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
    "snapshot_files": (1, 10_000_000),
    "hooks": (1, 1000),
    "hook_seconds": (0.05, 86_400),
}
"""The lowest and the highest value of each limit."""


class ConfigError(Exception):
    """A setting is wrong; the message names it, where it stands and what is allowed."""


class Ui(NamedTuple):
    """What the terminal UI is like."""

    open: bool = True
    """Whether plain `pairside` opens it."""
    theme: str = ""
    """The name of a theme; "" for the usual one."""


class Config(NamedTuple):
    """Every setting, with the value that counts."""

    limits: Limits = Limits()
    log: str = LEVELS[0]
    """What goes to standard error: warnings only, progress too (info), or everything (debug)."""
    review_where: str = PLACES[0]
    """Where the person answers proposals: here, or in the agent's terminal."""
    share: Policy = Policy()
    changes: Recording = Recording()
    hooks: Hooks = Hooks()
    ui: Ui = Ui()


class Setting(NamedTuple):
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
        return _described_limits()[self.key] if self.section == "limits" else _DESCRIPTIONS[self.name]


class Value(NamedTuple):
    """A setting with the value that counts, and who gave it."""

    setting: Setting
    value: str
    """As it would stand in the file."""
    where: str
    """The file and the line, the variable, the flag, or `default`."""


_DESCRIPTIONS = {
    "serve.ports": "The ports to listen on; one of them is taken at random. Above 32767 lies the ephemeral range of "
    "Linux.",
    "serve.log": "What goes to standard error: warnings only, progress too (info), or everything (debug).",
    "review.where": "Where you answer proposals: here, or only in the agent's own terminal.",
    "share.exclude": "Files that no agent hears of: not what is selected in them, not that they are open, not what "
    "linters found in them. Patterns with `*`, `?` and `[...]`, matched with the path from the workspace folder, "
    "with each part of it and each beginning of it; `*` reaches across folders. One with a slash is matched with the "
    "whole path too. Case does not matter, and links do not help.",
    "share.selection": "Whether agents are told what is selected.",
    "share.open_files": "Whether agents are told which files are open.",
    "share.diagnostics": "Whether agents are told what linters found.",
    "changes.exclude": "Files whose contents are never kept: of what an agent's own tool writes there it is only noted "
    "that it changed, and it cannot be undone; what commands change there is not seen. Patterns as in share.exclude. "
    "Files that git ignores are recorded only if an agent's own tool writes them.",
    "changes.snapshots": "Whether git work trees are looked at, so that what an agent's shell commands changed is "
    "known too. It is done with git, in a repository of pairside's own.",
    "changes.keep": "Whether the changes are still known when pairside is started again. They stand in the state "
    "directory, for your user alone.",
    "ui.open": "Whether plain `pairside` on a terminal opens the terminal UI. Otherwise it reviews line by line, which "
    "screen readers can follow.",
    "ui.theme": "The theme of the terminal UI, like textual-light; the command palette (Ctrl+P) shows them all.",
    "hooks.on_review": "A program to run for each proposal, and its arguments, without a shell. PAIRSIDE_REVIEW, "
    "PAIRSIDE_FILE and PAIRSIDE_PORT are in its environment.",
    "hooks.on_changes": "A program to run when an agent wrote a file without a review. PAIRSIDE_FILE is the last one, "
    "and PAIRSIDE_PORT the server's port. What is written while it runs leads to one more run.",
}


def settings() -> Iterator[Setting]:
    """Every setting, in the order of the reference."""
    limits, share, changes, hooks = Limits(), Policy(), Recording(), Hooks()
    patterns = 'a list of texts, like ["*.key"]'
    ports = f'"{limits.port_min}-{limits.port_max}"'
    yield Setting("serve", "ports", "range of ports", "MIN-MAX, both from 1 to 65535", ports, "--port-range")
    yield Setting("serve", "log", "word", ", ".join(LEVELS), _toml(LEVELS[0]), "--verbose")
    yield Setting("review", "where", "word", ", ".join(PLACES), _toml(PLACES[0]))
    yield Setting("share", "exclude", "list of texts", patterns, _toml(share.exclude))
    for kind in Kind:
        yield Setting("share", kind, "switch", "true or false", _toml(getattr(share, kind)))
    yield Setting("changes", "exclude", "list of texts", patterns, _toml(changes.exclude))
    for name in ("snapshots", "keep"):
        yield Setting("changes", name, "switch", "true or false", _toml(getattr(changes, name)))
    yield Setting("ui", "open", "switch", "true or false", _toml(Ui().open))
    yield Setting("ui", "theme", "text", "the name of a theme", _toml(Ui().theme))
    program = 'a program and its arguments, like ["notify-send", "pairside", "A proposal waits"]'
    for name in Hooks._fields:
        yield Setting("hooks", name, "list of texts", program, _toml(getattr(hooks, name)))
    for name in Limits._fields:
        if name not in _PORT_FIELDS:
            default = getattr(limits, name)
            whole = isinstance(default, int)
            low, high = _RANGES[name]
            yield Setting(
                "limits",
                name,
                "whole number" if whole else "number",
                f"a {'whole ' if whole else ''}number from {low:.15g} to {high:.15g}",
                _toml(default),
            )


def _toml(value: Any) -> str:
    """A value as it stands in the file."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (tuple, list)):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f") if isinstance(value, str) else repr(value)


def path(environment: Mapping[str, str]) -> str:
    """Where the file is, whether it exists or not."""
    base = environment.get("XDG_CONFIG_HOME") or ""
    if not os.path.isabs(base):  # the specification wants a relative one ignored
        base = os.path.join(environment.get("HOME") or os.path.expanduser("~"), ".config")
    return os.path.join(base, "pairside", "config.toml")


def load(environment: Mapping[str, str], flags: Mapping[str, str] | None = None, *, by_flags: bool = True) -> Config:
    """The settings that count. `flags` maps the names of settings to what the command line says.

    Without `by_flags` somebody else says it, who knows of no flags.

    Raises:
        ConfigError: A setting is wrong, or the file cannot be read.
    """
    config = Config()
    for where, setting, value in _given(environment, flags or {}):
        if not by_flags and where == setting.flag:
            where = setting.name
        config = _with(config, setting, value, where)
    limits = config.limits
    if limits.ping_seconds >= limits.silence_seconds:
        raise ConfigError(
            f"limits.ping_seconds ({limits.ping_seconds:g}) must be less than limits.silence_seconds "
            f"({limits.silence_seconds:g}): a client must have time to answer before it is dropped"
        )
    return config


def values(environment: Mapping[str, str], flags: Mapping[str, str] | None = None) -> list[Value]:
    """Every setting with the value that counts and where it came from, in the order of the reference.

    Raises:
        ConfigError: As `load` does.
    """
    load(environment, flags)
    given = {setting.name: (where, value) for where, setting, value in _given(environment, flags or {})}
    found = []
    for setting in settings():
        where, value = given.get(setting.name, ("default", None))
        found.append(Value(setting, setting.default if value is None else _toml(value), where))
    return found


def _given(environment: Mapping[str, str], flags: Mapping[str, str]) -> Iterator[tuple[str, Setting, Any]]:
    """Every setting that somebody gave, with a name for the place; what counts more comes later."""
    known = {setting.name: setting for setting in settings()}
    yield from _in_file(path(environment), known)
    variables = {setting.variable: setting for setting in known.values()}
    sections = tuple(dict.fromkeys(f"{PREFIX}{setting.section}_".upper() for setting in known.values()))
    for name in sorted(environment):
        if name in variables:
            if environment[name]:  # an empty variable says nothing
                yield name, variables[name], _from_text(variables[name], environment[name])
        elif name.startswith(sections):
            raise ConfigError(f"{name} sets nothing{_similar(name, variables) or ': there is no such setting'}")
    for name, text in flags.items():
        if name not in known:
            raise ConfigError(f"there is no setting {name}{_similar(name, known)}")
        yield known[name].flag or name, known[name], _from_text(known[name], text)


def _in_file(file: str, known: Mapping[str, Setting]) -> Iterator[tuple[str, Setting, Any]]:
    try:
        data = read_file(file, FILE_BYTES)
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise ConfigError(f"cannot read {file}: {error.strerror}") from None
    if len(data) > FILE_BYTES:
        raise ConfigError(f"cannot read {file}: it is larger than {FILE_BYTES >> 20} MiB")
    import tomllib  # only whoever has a file pays for it

    try:
        text = data.decode()
        sections = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{file} is not valid TOML: {error}") from None
    names = tuple(dict.fromkeys(setting.section for setting in known.values()))
    for section, content in sections.items():
        where = f"{file}:{_line(text, section)}"
        if section not in names:
            allowed = ", ".join(f"[{name}]" for name in names)
            if not isinstance(content, dict):
                raise ConfigError(f"{where}: {section} stands outside of a section; sections: {allowed}")
            raise ConfigError(f"{where}: unknown section {section}{_similar(section, names)}; sections: {allowed}")
        if not isinstance(content, dict):
            raise ConfigError(f"{where}: {section} must be a section: [{section}]")
        for key, value in content.items():
            where = f"{file}:{_line(text, section, key)}"
            setting = known.get(f"{section}.{key}")
            if setting is None:
                keys = [one.key for one in known.values() if one.section == section]
                raise ConfigError(
                    f"{where}: unknown key {section}.{key}{_similar(key, keys)}; keys of [{section}]: {', '.join(keys)}"
                )
            yield where, setting, value


_HEADER = re.compile(r"\s*\[{1,2}\s*[\"']?([^\]\"']+?)[\"']?\s*\]{1,2}\s*(?:#.*)?")
_KEY = re.compile(r"\s*[\"']?([\w-]+)[\"']?(?:\s*\.\s*[\"']?([\w-]+)[\"']?)?\s*=")


def _line(text: str, section: str, key: str | None = None) -> int:
    """The line, counting from 1, in which a valid TOML text names a section, or a key of it."""
    current, found = "", 1
    for number, line in enumerate(text.split("\n"), 1):
        if header := _HEADER.fullmatch(line.rstrip("\r")):
            current = header[1]
            if current == section:
                if key is None:
                    return number
                found = number
        elif named := _KEY.match(line):
            path = tuple(part for part in (current, named[1], named[2]) if part)
            if path == (section, key) or (key is None and path[0] == section):
                return number
            if path[0] == section and path[-1] == section:  # an inline table
                found = number
    return found


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
        return config._replace(limits=config.limits._replace(port_min=low, port_max=high))
    if setting.type == "word":
        if value not in setting.allowed.split(", "):
            raise wrong
        return config._replace(**{"log" if setting.name == "serve.log" else "review_where": value})
    changed: dict[str, Any]
    if setting.type == "text":
        if not isinstance(value, str):
            raise wrong
        changed = {setting.key: value}
    elif setting.type == "switch":
        if not isinstance(value, bool):
            raise wrong
        changed = {setting.key: value}
    elif setting.type == "list of texts":
        if not isinstance(value, list) or not all(isinstance(one, str) and one and "\0" not in one for one in value):
            raise wrong
        changed = {setting.key: tuple(value)}
    else:
        lowest, highest = _RANGES[setting.key]
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not lowest <= value <= highest:
            raise wrong
        if setting.type == "whole number" and not isinstance(value, int):
            raise wrong
        changed = {setting.key: value if setting.type == "whole number" else float(value)}
    if setting.section == "share":
        return config._replace(share=config.share._replace(**changed))
    if setting.section == "changes":
        return config._replace(changes=config.changes._replace(**changed))
    if setting.section == "ui":
        return config._replace(ui=config.ui._replace(**changed))
    if setting.section == "hooks":
        return config._replace(hooks=config.hooks._replace(**changed))
    return config._replace(limits=config.limits._replace(**changed))


def _from_text(setting: Setting, text: str) -> Any:
    """The environment has only texts: what one of them says in the type of its setting, as far as it can be read so.

    A list is written as in the file, or as words that are split as a shell would split them.
    """
    if setting.type == "switch":
        return {"true": True, "false": False}.get(text.lower(), text)
    if setting.type == "list of texts":
        try:
            if text.lstrip().startswith("["):
                import tomllib

                return tomllib.loads(f"list = {text}")["list"]
            import shlex

            words = shlex.split(text)
        except ValueError:
            return text
        # Who parts patterns by commas would keep nothing from anybody, and not know it.
        return text if setting.key == "exclude" and "," in text else words
    if setting.section == "limits":
        if re.fullmatch(r"[+-]?[0-9]{1,18}", text):
            return int(text)
        if re.fullmatch(r"[+-]?[0-9]{1,18}\.[0-9]{1,18}", text):
            return float(text)
    return text


def _similar(name: str, known: Iterable[str]) -> str:
    """The middle of a complaint about an unknown name: the one that was probably meant, if there is one."""
    import difflib

    close = difflib.get_close_matches(name, list(known), 1)
    return f"; did you mean {close[0]}" if close else ""


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
