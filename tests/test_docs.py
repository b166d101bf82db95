"""What the documentation says is true: the reference is complete, the commands exist, the links lead somewhere."""

from __future__ import annotations

import ast
import json
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from docs import generate

from pairside import cli, config
from pairside.agents.claude import mcp
from pairside.archive import Recording
from pairside.cli.exits import MEANINGS, Exit
from pairside.hooks import VARIABLES, Hooks
from pairside.limits import Limits
from pairside.peer import Reason
from pairside.sharing import Policy
from pairside.tools.all import toolbox

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
SECONDS = 30.0

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_SPAN = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
_PROGRAM = re.compile(r"(?:^|[;|]|&&|\$\()\s*((?:pairside|make|claude)(?= |$)[^;|&)]*)")


def read(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def reference() -> dict[str, str]:
    """The sections of the reference by their headings."""
    sections: dict[str, str] = {}
    for part in re.split(r"^#+ ", read(ROOT / "docs" / "reference.md"), flags=re.MULTILINE)[1:]:
        heading, _, body = part.partition("\n")
        assert heading not in sections, f"{heading} stands in the reference twice"
        sections[heading] = body
    return sections


def commands() -> Iterator[tuple[str, click.Command]]:
    """Every command with all its words."""

    def below(command: click.Command, context: click.Context) -> Iterator[tuple[str, click.Command]]:
        yield context.command_path, command
        if isinstance(command, click.Group):
            for name in command.list_commands(context):
                one = command.get_command(context, name)
                assert one is not None
                yield from below(one, click.Context(one, info_name=name, parent=context))

    yield from below(cli.pairside, click.Context(cli.pairside, info_name="pairside"))


COMMANDS = dict(commands())


def written_commands(text: str) -> Iterator[list[str]]:
    """The commands of pairside, make and claude that a page tells the reader to run, word by word.

    They stand in code spans and in blocks marked `sh`. Blocks without that mark show output.
    """
    blocks = [body for language, body in _FENCE.findall(text) if language == "sh"]
    spans = [span.replace("\\|", "|") for span in _SPAN.findall(_FENCE.sub("", text))]
    for line in [line for block in blocks for line in block.splitlines()] + spans:
        line = re.sub(r"^(?:[A-Z_]+=\S+ )+", "", line)
        for run in _PROGRAM.findall(line):
            yield shlex.split(run)


def anchors(page: Path) -> set[str]:
    """The anchors that the headings of a page make on GitHub."""
    headings = re.findall(r"^#+ (.+)$", _FENCE.sub("", read(page)), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


# The reference.


def run_generate(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the copy of the generator in a folder."""
    command = [sys.executable, str(folder / "generate.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)


def test_the_reference_is_what_the_code_says() -> None:
    """A change of a command, a tool or a setting is in the reference, or the check says what to do."""
    done = run_generate(ROOT / "docs", "--check")
    assert done.returncode == 0, done.stderr


def test_a_reference_that_is_stale_or_missing_fails_the_check_until_it_is_written(tmp_path: Path) -> None:
    """The check compares to the letter, and what it asks for puts it right."""
    shutil.copy(ROOT / "docs" / "generate.py", tmp_path)
    missing = run_generate(tmp_path, "--check")
    assert (missing.returncode, "is missing" in missing.stderr, "make reference" in missing.stderr) == (1, True, True)
    assert not (tmp_path / "reference.md").exists()
    assert run_generate(tmp_path).returncode == 0
    assert run_generate(tmp_path, "--check").returncode == 0
    with (tmp_path / "reference.md").open("a", encoding="utf-8") as file:
        file.write("One more line.\n")
    stale = run_generate(tmp_path, "--check")
    assert (stale.returncode, "make reference" in stale.stderr) == (1, True)


@pytest.mark.parametrize("words", COMMANDS)
def test_every_command_stands_in_the_reference_with_its_options(words: str) -> None:
    """One section for each command, with every option under all its names."""
    section = reference()[f"`{words}`"]
    assert section.startswith(f"\n```\n{words}")
    for option in COMMANDS[words].params:
        if isinstance(option, click.Option) and not option.hidden:
            for name in option.opts:
                assert re.search(rf"^\| `[^`]*{re.escape(name)}\b", section, re.MULTILINE), name


def test_a_hidden_option_stays_out_of_the_reference() -> None:
    """What is no part of the contract is not promised."""
    hidden = [
        name
        for command in COMMANDS.values()
        for option in command.params
        if isinstance(option, click.Option) and option.hidden
        for name in option.opts
    ]
    assert hidden
    assert not [name for name in hidden if name in read(ROOT / "docs" / "reference.md")]


def test_every_exit_status_stands_in_the_reference_with_its_meaning() -> None:
    """Scripts rely on the statuses: each that a command may have is there."""
    statuses = {value for name, value in vars(Exit).items() if name.isupper()}
    assert statuses == set(MEANINGS)
    section = reference()["Exit statuses"]
    for status, meaning in MEANINGS.items():
        assert f"| `{status}` | {meaning} |" in section


def test_every_tool_stands_in_the_reference_with_the_schema_that_agents_get() -> None:
    """The schema in the reference is, as JSON, the one of tools/list."""
    sections = reference()
    tools = list(toolbox())
    assert tools
    for tool in tools:
        [(language, schema)] = _FENCE.findall(sections[f"`{tool.name}`"])
        assert language == "json"
        assert json.loads(schema) == tool.schema
        assert tool.description in sections[f"`{tool.name}`"]


def test_every_setting_stands_in_the_reference() -> None:
    """Each field of the limits and each other setting, with default, variable and meaning."""
    sections = reference()
    settings = {setting.name: setting for setting in config.settings()}
    fields = {f"limits.{name}" for name in Limits._fields} - {"limits.port_min", "limits.port_max"}
    share = {f"share.{name}" for name in Policy._fields}
    hooks = {f"hooks.{name}" for name in Hooks._fields}
    changes = {f"changes.{name}" for name in Recording._fields}
    ui = {f"ui.{name}" for name in config.Ui._fields}
    assert settings.keys() == fields | share | changes | hooks | ui | {"serve.ports", "serve.log", "review.where"}
    for name, setting in settings.items():
        section = sections[f"`{name}`"]
        for fact in (f"`{setting.default}`", f"`{setting.variable}`", setting.type, setting.description):
            assert fact in section
        if setting.flag is not None:
            assert f"`{setting.flag}`" in section


def test_the_example_of_a_settings_file_holds_the_defaults(tmp_path: Path) -> None:
    """What the reference shows can be pasted into the file, and changes nothing."""
    [text] = [body for language, body in _FENCE.findall(reference()["Settings"]) if language == "toml"]
    file = tmp_path / "pairside" / "config.toml"
    file.parent.mkdir()
    file.write_text(text, encoding="utf-8")
    assert config.load({"XDG_CONFIG_HOME": str(tmp_path)}) == config.Config()
    assert {f"{section}.{key}" for section, keys in tomllib.loads(text).items() for key in keys} == {
        setting.name for setting in config.settings()
    }


def test_every_revision_of_mcp_stands_in_the_reference() -> None:
    """Whoever writes a client can see what is spoken."""
    section = reference()["MCP"]
    assert [version for version in mcp.VERSIONS if f"`{version}`" not in section] == []


def test_every_method_and_event_for_observers_is_described() -> None:
    """The reference has the parameters, the page about observers the answers; neither knows a method more."""
    names = [name for name, _, _ in generate.methods()]
    assert {"hello", "status", "review/accept", "follow", "stop"} <= set(names)
    for text in (reference()["Methods for observers"], read(ROOT / "docs" / "observers.md").split("\n## ")[2]):
        assert re.findall(r"^\| `([^`]+)` \|", text, re.MULTILINE) == names
    kinds = sorted({kind for kind, _ in generate.events()})
    assert {"connected", "disconnected", "review", "decided"} <= set(kinds)
    assert re.findall(r"^\| `([^`]+)` \|", reference()["Events"], re.MULTILINE) == kinds


# The pages.


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_that_a_page_tells_exists(page: Path) -> None:
    """Its words name a command or a target of make, and it has the options that are written there."""
    targets = set(re.findall(r"^([a-z-]+):", read(ROOT / "Makefile"), re.MULTILINE))
    for words in written_commands(read(page)):
        if words[0] == "make":
            assert {word for word in words[1:] if "=" not in word} <= targets, words
        if words[0] == "pairside":
            names = ["pairside"]
            while len(words) > len(names) and " ".join([*names, words[len(names)]]) in COMMANDS:
                names.append(words[len(names)])
            command, rest = COMMANDS[" ".join(names)], words[len(names) :]
            known = {name for option in command.params for name in option.opts} | {"--help", "-h"}
            assert {word.partition("=")[0] for word in rest if word.startswith("-") and word != "-"} <= known, words
            if isinstance(command, click.Group):
                assert not rest or rest[0].startswith("-"), f"there is no command {' '.join(words)}"


def test_the_readme_tells_the_daily_commands_and_how_to_develop() -> None:
    """The check above finds commands in the README at all, among them those that everybody needs."""
    found = [" ".join(words[:2]) for words in written_commands(read(ROOT / "README.md"))]
    for command in ("pairside", "pairside serve", "pairside status", "pairside review", "pairside accept"):
        assert command in found
    for target in ("make run", "make check", "make test", "make bench"):
        assert target in found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_no_link_of_a_page_is_dead(page: Path) -> None:
    """A link names a file of the repository, and a heading of that file where it names one."""
    for link in _LINK.findall(_FENCE.sub("", read(page))):
        if re.match(r"[a-z]+:", link):
            assert link.startswith("https://"), link
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.is_relative_to(ROOT), link
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target), link


def test_every_page_can_be_reached_from_the_readme() -> None:
    """No page is written for nobody."""
    seen: set[Path] = set()
    waiting = [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in seen or page.suffix != ".md":
            continue
        seen.add(page)
        for link in _LINK.findall(_FENCE.sub("", read(page))):
            if not link.startswith("https://"):
                waiting.append((page.parent / link.partition("#")[0]).resolve() if link[0] != "#" else page)
    assert sorted(seen) == PAGES


def test_the_architecture_names_the_layers_of_the_contract_in_their_order() -> None:
    """The table of layers is the contract that the build checks, row by row."""
    [contract] = tomllib.loads(read(ROOT / "pyproject.toml"))["tool"]["importlinter"]["contracts"]
    section = read(ROOT / "docs" / "architecture.md").partition("## Layers")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (`pairside.*?) \|", section, re.MULTILINE)
    assert [row.replace("`", "").split(", ") for row in rows] == [row.split(" | ") for row in contract["layers"]]


def test_the_table_of_deaths_has_every_reason() -> None:
    """Each reason that a departure may have is explained, and no other."""
    table = read(ROOT / "docs" / "client-life.md").partition("## The table of deaths")[2].partition("\n## ")[0]
    reasons = re.findall(r"^\| [^|]+ \| `([a-z]+)` \|", table, re.MULTILINE)
    assert set(reasons) == {str(reason) for reason in Reason}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_setting_and_variable_that_a_page_names_exists(page: Path) -> None:
    """`limits.x` and `PAIRSIDE_LIMITS_X` are settings."""
    settings = list(config.settings())
    known = {setting.name for setting in settings} | {setting.variable for setting in settings} | set(VARIABLES)
    named = re.findall(r"`((?:limits|serve|review|share|hooks)\.[a-z_]+|PAIRSIDE_[A-Z_]+)`", read(page))
    assert {name for name in named if not name.endswith(".py")} <= known


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_test_that_a_page_names_exists(page: Path) -> None:
    """`FILE::test` is a function of that file: what it is said to hold is held."""
    for name, test in re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", read(page)):
        tree = ast.parse(read(ROOT / name))
        functions = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
        assert test in functions, f"{name} has no {test}"


@pytest.mark.parametrize("name", ["faults.md", "threat-model.md"])
def test_every_row_of_the_pages_about_faults_and_threats_has_its_test(name: str) -> None:
    """Nothing is said there that nobody tried."""
    rows = re.findall(r"^\| (?!What |Fault |Attack |Where |---)(.+) \|$", read(ROOT / "docs" / name), re.MULTILINE)
    assert len(rows) > 40
    assert [row for row in rows if not re.search(r"`tests/[\w/]+\.py::test_\w+`$", row)] == []
