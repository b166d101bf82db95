"""Owns docs/reference.md: everything in it is read from the code, so it cannot say anything else than the code does.

`python docs/generate.py` writes the file; with `--check` it only tells, by its exit status, whether it is up to date.
"""

from __future__ import annotations

import ast
import inspect
import json
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import click
import msgspec

import pairside
from pairside import cli, config, jsonrpc, observers
from pairside.agents.claude import mcp
from pairside.cli import exits
from pairside.tools import Tool
from pairside.tools.all import toolbox

FILE = Path(__file__).with_name("reference.md")
PACKAGE = Path(pairside.__file__).parent

_KINDS = {
    "str": "string",
    "str | None": "string",
    "int": "integer",
    "int | None": "integer",
    "bool": "boolean",
    "bool | None": "boolean",
    "list[int] | None": "array of integers",
    "Count | None": "integer",
    "Literal['here', 'terminal'] | None": "`here` or `terminal`",
    "Place | None": "[line, column]",
    "dict[str, list[Found]]": "object: for each path an array of diagnostics",
}
"""How a type in the parameters of a method is told; one that is missing here stops the generator."""

HEAD = """\
# Reference

Made from the code by `make reference`. Do not edit it: `make check` fails when it says anything else than the code.

Commands count lines and columns from 1. What tools answer, and what observers say and are told, counts from 0, in
UTF-16 columns, ends exclusive. The line arguments of `openFile` count from 1.

- [Commands](#commands)
- [Exit statuses](#exit-statuses)
- [Settings](#settings)
- [MCP](#mcp)
- [Tools](#tools)
- [Methods for observers](#methods-for-observers)
- [Events](#events)
"""


def reference() -> str:
    """The whole reference."""
    parts = (HEAD, *_commands(), _exits(), _settings(), _mcp(), *_tools(), _methods(), _events())
    return "\n".join(part.strip("\n") + "\n" for part in parts)


# Commands.


def _commands() -> Iterator[str]:
    yield (
        "## Commands\n\n"
        "A command finds its server by the current folder: the server with the nearest folder that is or holds it.\n"
    )
    root = cli.pairside
    yield from _command(root, click.Context(root, info_name="pairside", **root.context_settings))


def _command(command: click.Command, context: click.Context) -> Iterator[str]:
    """A command and all below it, each as a section of its own."""
    if command.hidden:
        return
    pieces = " ".join((context.command_path, *command.collect_usage_pieces(context)))
    lines = [f"### `{context.command_path}`", "", "```", pieces, "```", ""]
    lines += [*_paragraphs(command.help or ""), ""]
    records = [one.get_help_record(context) for one in command.get_params(context)]
    # An argument has no meaning of its own beside the usage and the text.
    rows = [(f"`{record[0]}`", _cell(record[1])) for record in records if record is not None and record[1]]
    if rows:
        lines += _table(("Option", "Meaning"), rows)
    yield "\n".join(lines)
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            yield from _command(below, click.Context(below, info_name=name, parent=context))


def _exits() -> str:
    rows = ((f"`{status}`", _cell(meaning)) for status, meaning in sorted(exits.MEANINGS.items()))
    return "\n".join(
        [
            "## Exit statuses",
            "",
            "Each has one meaning, whatever the command.",
            "",
            *_table(("Status", "Meaning"), rows),
        ]
    )


# Settings.


def _settings() -> str:
    lines = [
        "## Settings",
        "",
        "The last of these that says something wins: the default, the file, the environment, a flag of "
        "`pairside serve`.",
        "The file is `$XDG_CONFIG_HOME/pairside/config.toml`, or `~/.config/pairside/config.toml`.",
        "A key that does not exist, a value of the wrong type and a value out of range are errors.",
        "Times are in seconds, sizes in bytes.",
        "",
        "```toml",
    ]
    section = ""
    for setting in config.settings():
        if setting.section != section:
            lines += [""] * bool(section) + [f"[{setting.section}]"]
            section = setting.section
        lines.append(f"{setting.key} = {setting.default}")
    lines += ["```", ""]
    for setting in config.settings():
        rows = [
            ("Meaning", _cell(setting.description)),
            ("Type", setting.type),
            ("Takes", setting.allowed),
            ("Default", f"`{setting.default}`"),
            ("Environment variable", f"`{setting.variable}`"),
        ]
        if setting.flag is not None:
            rows.append(("Flag of `pairside serve`", f"`{setting.flag}`"))
        lines += [f"### `{setting.name}`", "", *(f"- {name}: {value}" for name, value in rows), ""]
    return "\n".join(lines)


# What agents see.


def _mcp() -> str:
    versions = ", ".join(f"`{version}`" for version in mcp.VERSIONS)
    return "\n".join(
        [
            "## MCP",
            "",
            f"The revisions of the Model Context Protocol that are spoken: {versions}.",
            f"A client that asks for another one is offered `{mcp.VERSIONS[-1]}`.",
            f"Only in `{mcp.WITH_BATCHES}` are there batches, of at most {jsonrpc.BATCH_MESSAGES} messages.",
            "The one capability that is declared is `tools`.",
        ]
    )


def _tools() -> Iterator[str]:
    yield (
        "## Tools\n\n"
        "What an agent can call, in the order of `tools/list`.\n"
        "Arguments are checked against the schema; one that does not fit is answered with -32602 and its path.\n"
    )
    for tool in toolbox():
        yield _tool(tool)


def _tool(tool: Tool) -> str:
    schema = json.dumps(tool.schema, indent=2, ensure_ascii=False)
    return "\n".join([f"### `{tool.name}`", "", tool.description, "", "```json", schema, "```"])


# What observers see.


def _methods() -> str:
    rows = [
        (f"`{name}`", _params(struct), {True: "yes", False: "", None: "depends"}[guarded])
        for name, struct, guarded in methods()
    ]
    return "\n".join(
        [
            "## Methods for observers",
            "",
            "How to connect, and what the answers look like: [observers.md](observers.md).",
            "A guarded method is refused to a caller that runs in an agent's own shell.",
            "",
            *_table(("Method", "Parameters", "Guarded"), rows),
        ]
    )


def methods() -> Iterator[tuple[str, type[msgspec.Struct] | None, bool | None]]:
    """The observers' methods: name, type of the parameters, and whether it is guarded (None: only in part)."""
    for kind in (observers.Observer, observers.Answers):
        yield from _table_of(kind)


def _table_of(kind: type) -> Iterator[tuple[str, type[msgspec.Struct] | None, bool | None]]:
    (tree,) = ast.parse(inspect.getsource(kind)).body
    assert isinstance(tree, ast.ClassDef)
    functions = {node.name: node for node in tree.body if isinstance(node, ast.AsyncFunctionDef)}
    (table,) = [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, (ast.AnnAssign, ast.AugAssign)) and ast.unparse(node.target) == "self._methods"
    ]
    assert isinstance(table, ast.Dict)
    for key, value in zip(table.keys, table.values, strict=True):
        assert isinstance(key, ast.Constant)
        assert isinstance(value, ast.Attribute)
        function = functions[value.attr]
        types = [
            ast.unparse(node.args[0])
            for node in ast.walk(function)
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "params.to"
        ]
        at_once = any(ast.unparse(statement) == "self._guard.check()" for statement in function.body)
        somewhere = "self._guard.check()" in ast.unparse(function)
        struct = getattr(observers, types[0]) if types else None
        yield str(key.value), struct, True if at_once else None if somewhere else False


def _params(struct: type[msgspec.Struct] | None) -> str:
    if struct is None:
        return "none"
    told = []
    kinds = (kind for kind in reversed(struct.__mro__) if issubclass(kind, msgspec.Struct))
    annotations = {name: str(one) for kind in kinds for name, one in inspect.get_annotations(kind).items()}
    for field in msgspec.structs.fields(struct):
        name = field.encode_name if field.required else f"{field.encode_name}?"
        told.append(f"`{name}`: {_KINDS[annotations[field.name]]}")
    return "<br>".join(told)


def _events() -> str:
    rows = [(f"`{kind}`", ", ".join(f"`{fact}`" for fact in facts) or "none") for kind, facts in sorted(events())]
    return "\n".join(
        [
            "## Events",
            "",
            "What `follow` and `log` tell, and what `pairside serve --json` prints between its first and its last "
            "line. Each event has `number` (counts from 1), `at` (seconds since the epoch), `kind` and `client_id` "
            "(or null) as well.",
            "",
            *_table(("Kind", "Facts"), rows),
        ]
    )


def events() -> set[tuple[str, tuple[str, ...]]]:
    """Every kind of event that the package notes in the journal, with the names of its facts."""
    found = set()
    for source in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("journal.note"):
                kind = node.args[0]
                assert isinstance(kind, ast.Constant)
                found.add((str(kind.value), tuple(keyword.arg or "" for keyword in node.keywords)))
    return found


# Markdown.


def _paragraphs(text: str) -> Iterator[str]:
    for index, paragraph in enumerate(inspect.cleandoc(text).split("\n\n")):
        if index:
            yield ""
        yield _plain(" ".join(paragraph.split()))


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> list[str]:
    return [_row(head), _row(tuple("---" for _ in head)), *map(_row, rows)]


def _row(cells: tuple[str, ...]) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(text: str) -> str:
    return _plain(" ".join(text.split())).replace("|", "\\|")


def _plain(text: str) -> str:
    """A text as Markdown that shows just that; what stands between backquotes is code already."""
    parts = text.split("`")
    parts[::2] = [re.sub(r"<(?=[A-Za-z/!?])", "&lt;", part).replace("*", "\\*") for part in parts[::2]]
    return "`".join(parts)


def main(arguments: list[str]) -> int:
    """Write the reference, or with `--check` compare it."""
    if arguments not in ([], ["--check"]):
        sys.stderr.write("usage: python docs/generate.py [--check]\n")
        return 2
    text = reference()
    if not arguments:
        FILE.write_text(text, encoding="utf-8")
        return 0
    if FILE.exists() and FILE.read_text(encoding="utf-8") == text:
        return 0
    state = "is not what the code says" if FILE.exists() else "is missing"
    sys.stderr.write(f"docs/{FILE.name} {state}: run `make reference` and look at what changed.\n")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
