"""Claude Code's own settings files: what is read of them, which of them wins, and that nothing else leaves them."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from pairside.agents.claude import settings
from pairside.agents.claude.settings import File, Rules, choose
from tests.e2e.install_cli import VERSION

SECRET = "sk-hush-hush"


class Place:
    """A home, a project folder and a folder of managed settings, all throwaway."""

    def __init__(self, root: Path) -> None:
        self.home, self.project, self.managed = root / "home", root / "project", root / "managed"
        for folder in (self.home, self.project, self.managed):
            folder.mkdir(exist_ok=True)
        self.environment = {"HOME": str(self.home)}

    def write(self, source: str, content: object, *, folder: Path | None = None) -> Path:
        """Write a settings file, as JSON unless it is a text."""
        path = {
            "managed": self.managed / "managed-settings.json",
            "dropped": self.managed / "managed-settings.d" / "10.json",
            "local": (folder or self.project) / ".claude" / "settings.local.json",
            "project": (folder or self.project) / ".claude" / "settings.json",
            "user": self.home / ".claude" / "settings.json",
            "state": self.home / ".claude.json",
        }[source]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
        return path

    def files(self, folder: Path | None = None) -> list[File]:
        """What is read for a client in the project, or in another folder."""
        return settings.files(self.environment, str(folder or self.project), managed=str(self.managed))


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path.resolve())


def mode(name: object) -> dict[str, object]:
    return {"permissions": {"defaultMode": name}}


def git(*arguments: str | Path, cwd: Path) -> None:
    identity = {f"GIT_{role}_{fact}": "x@y" for role in ("AUTHOR", "COMMITTER") for fact in ("NAME", "EMAIL")}
    environment = {"PATH": os.environ["PATH"], "HOME": str(cwd), **identity}
    subprocess.run(["git", *map(str, arguments)], cwd=cwd, env=environment, check=True, capture_output=True, timeout=10)


def test_it_was_seen_in_the_version_that_the_tests_drive() -> None:
    """The version that is named to people is the one whose behaviour is checked."""
    assert settings.TESTED == VERSION


def test_without_a_file_the_mode_is_auto(place: Place) -> None:
    """Nothing set is no review."""
    assert place.files() == []
    assert choose([]) == (settings.UNSET, None, None, False)


@pytest.mark.parametrize("name", settings.MODES)
def test_a_mode_is_read_from_the_person_s_file(place: Place, name: str) -> None:
    """Each word of the vocabulary counts there."""
    path = place.write("user", mode(name))
    choice = choose(place.files())
    assert choice.file is not None
    assert (choice.mode, choice.file.path, choice.file.source) == (name, str(path), "user")


def test_manual_is_another_word_for_default(place: Place) -> None:
    """The client takes it in files as on its command line."""
    place.write("user", mode("manual"))
    assert choose(place.files()).mode == "default"


def test_the_file_that_wins_is_the_one_nearest_to_the_machine_then_to_the_folder(place: Place) -> None:
    """Managed drop-in, managed, local, project, user; the others do not count."""
    order = ("user", "project", "local", "managed", "dropped")
    for number, source in enumerate(order):
        place.write(source, mode(settings.MODES[number]))
        assert choose(place.files()).mode == settings.MODES[number]
    assert [file.source for file in place.files()] == ["managed", "managed", "local", "project", "user"]


def test_of_two_managed_drop_ins_the_last_by_name_wins(place: Place) -> None:
    """They are laid over each other in the order of their names."""
    first = place.write("dropped", mode("default"))
    (first.parent / "20.json").write_text(json.dumps(mode("plan")))
    assert choose(place.files()).mode == "plan"


def test_the_configuration_folder_is_followed(place: Place, tmp_path: Path) -> None:
    """CLAUDE_CONFIG_DIR moves the person's files, and those below the home count no more."""
    place.write("user", mode("plan"))
    place.write("state", {"diffTool": "terminal"})
    other = tmp_path / "other"
    other.mkdir()
    place.environment["CLAUDE_CONFIG_DIR"] = str(other)
    assert place.files() == []
    assert settings.state(place.environment) == (str(other / ".claude.json"), False, True, None)
    (other / "settings.json").write_text(json.dumps(mode("dontAsk")))
    assert choose(place.files()).mode == "dontAsk"


@pytest.mark.parametrize("source", ["project", "local"])
def test_a_project_cannot_bypass_permissions(place: Place, source: str) -> None:
    """It gets manual mode by saying so, whatever the person's own file says."""
    place.write("user", mode("acceptEdits"))
    place.write(source, mode("bypassPermissions"))
    choice = choose(place.files())
    assert (choice.mode, choice.bypass_ignored) == ("default", True)


@pytest.mark.parametrize("source", ["user", "project", "local", "managed"])
@pytest.mark.parametrize("where", [{"disableAutoMode": "disable"}, {"permissions": {"disableAutoMode": "disable"}}])
def test_auto_mode_that_is_disabled_is_manual_mode(place: Place, source: str, where: dict[str, object]) -> None:
    """Every file may disable it, at the top or among the permissions."""
    path = place.write(source, where)
    choice = choose(place.files())
    assert choice.auto_disabled is not None
    assert (choice.mode, choice.auto_disabled.path) == ("default", str(path))


def test_a_disabled_auto_mode_leaves_other_modes_alone(place: Place) -> None:
    """Only auto is affected."""
    place.write("user", {"permissions": {"disableAutoMode": "disable", "defaultMode": "acceptEdits"}})
    assert choose(place.files()) == ("acceptEdits", place.files()[0], None, False)


def test_the_project_s_file_is_read_in_the_current_folder_only(place: Place) -> None:
    """A file in a folder above does not count, repository or not."""
    git("init", "-q", cwd=place.project)
    below = place.project / "below"
    below.mkdir()
    place.write("project", mode("plan"))
    assert place.files(below) == []


def test_the_local_file_at_the_top_of_the_repository_counts_below_and_wins(place: Place) -> None:
    """Where there is no repository it does not."""
    below = place.project / "below"
    below.mkdir()
    place.write("local", mode("plan"))
    assert place.files(below) == []
    git("init", "-q", cwd=place.project)
    place.write("local", mode("acceptEdits"), folder=below)
    assert [file.mode for file in place.files(below)] == ["plan", "acceptEdits"]
    place.write("local", {})
    assert choose(place.files(below)).mode == "acceptEdits"


def test_in_a_linked_work_tree_the_local_file_of_the_main_one_counts(place: Place, tmp_path: Path) -> None:
    """The client looks where the repository is."""
    git("init", "-q", cwd=place.project)
    git("commit", "-q", "--allow-empty", "-m", "x", cwd=place.project)
    linked = tmp_path.resolve() / "linked"
    git("worktree", "add", "-q", linked, cwd=place.project)
    place.write("local", mode("plan"))
    assert choose(place.files(linked)).mode == "plan"


@pytest.mark.parametrize("link", ["gitdir: ../elsewhere/.git/modules/x\n", "nothing of the kind", ""])
def test_a_submodule_is_a_repository_of_its_own(place: Place, link: str) -> None:
    """A file .git that leads to no shared folder is the top, whatever is in it."""
    (place.project / ".git").write_text(link)
    assert settings.main_work_tree(str(place.project)) == str(place.project)


def test_rules_are_counted_and_never_told(place: Place) -> None:
    """Only rules for Edit and Write are, and which of both are named for all files."""
    rules = ["Edit", "Edit(src/**)", "Write(*)", "Bash(curl -H token)", "EditX", "Read", 7, "mcp__x__Edit"]
    place.write("user", {"permissions": {"allow": rules, "ask": ["Write", "Edit"]}})
    (file,) = place.files()
    assert file.allow == Rules(3, frozenset({"Edit"}))
    assert file.ask == Rules(2, frozenset({"Edit", "Write"}))
    assert "src" not in repr(file)


@pytest.mark.parametrize(
    ("content", "line", "what"),
    [
        ('{\n "a": "' + SECRET + '"\n "b": 1}', 3, "is not valid JSON"),
        ('// a comment\n{"a": 1}', 1, "is not valid JSON"),
        ('{"permissions": {"defaultMode": "plan",}}', 1, "is not valid JSON"),
        ("[" * 200_000, None, "is not valid JSON"),
        ("[]", 1, "holds no object"),
        ({"permissions": SECRET}, None, "permissions is not an object"),
        (mode(SECRET), None, "permissions.defaultMode is none of the modes"),
        (mode(None), None, "permissions.defaultMode is none of the modes"),
        (mode(["plan"]), None, "permissions.defaultMode is none of the modes"),
        (mode("Plan"), None, "permissions.defaultMode is none of the modes"),
        ({"permissions": {"allow": SECRET, "defaultMode": "plan"}}, None, "permissions.allow is not a list"),
        ({"permissions": {"ask": 1, "defaultMode": "plan"}}, None, "permissions.ask is not a list"),
        ({"disableAutoMode": SECRET}, None, 'disableAutoMode takes only "disable"'),
    ],
)
def test_a_file_that_the_client_skips_is_told_by_its_place_and_does_not_count(
    place: Place, content: object, line: int | None, what: str
) -> None:
    """The whole file is skipped, and nothing in it is quoted."""
    path = place.write("project", content)
    place.write("user", mode("plan"))
    found = place.files()
    assert found[0].problem == (str(path), line, what)
    assert choose(found).mode == "plan"
    assert choose(found).file is found[1]
    assert SECRET not in repr(found)


def test_a_managed_file_with_a_mode_that_is_none_means_default(place: Place) -> None:
    """The strict reading counts there."""
    place.write("managed", mode(SECRET))
    place.write("user", mode("acceptEdits"))
    assert choose(place.files()).mode == "default"
    assert place.files()[0].problem is not None


@pytest.mark.parametrize("content", ["", " \n", "\ufeff" + json.dumps(mode("plan"))])
def test_an_empty_file_says_nothing_and_a_byte_order_mark_is_no_harm(place: Place, content: str) -> None:
    """The client starts with both and says nothing."""
    place.write("user", content)
    (file,) = place.files()
    assert (file.problem, file.mode) == (None, "plan" if content.strip() else None)


def test_what_cannot_be_read_is_told_with_the_reason(place: Place) -> None:
    """A folder, a pipe and bytes that are no text, each without waiting."""
    folder = place.home / ".claude" / "settings.json"
    folder.mkdir(parents=True)
    (place.project / ".claude").mkdir()
    os.mkfifo(place.project / ".claude" / "settings.json")
    (place.project / ".claude" / "settings.local.json").write_bytes(b'{\n"a": "\xff"}')
    problems = [file.problem for file in place.files() if file.problem is not None]
    assert [(problem.line, problem.what) for problem in problems] == [
        (2, "is not UTF-8"),
        (None, "cannot be read: Not a regular file"),
        (None, "cannot be read: Not a regular file"),
    ]


@pytest.mark.parametrize(
    ("content", "auto_connect", "diffs_in_ide"),
    [
        ({}, False, True),
        ({"diffTool": "auto", "autoConnectIde": True}, True, True),
        ({"diffTool": "terminal", "autoConnectIde": False}, False, False),
        ({"diffTool": SECRET, "autoConnectIde": "yes"}, False, False),
    ],
)
def test_of_the_client_s_own_state_two_switches_are_read(
    place: Place, content: object, auto_connect: bool, diffs_in_ide: bool
) -> None:
    """Any diff tool but auto keeps questions in the terminal."""
    path = place.write("state", content)
    assert settings.state(place.environment) == (str(path), auto_connect, diffs_in_ide, None)


def test_a_state_that_is_no_json_is_told(place: Place) -> None:
    """The client does not start before that is mended."""
    path = place.write("state", "{\n")
    assert settings.state(place.environment).problem == (str(path), 2, "is not valid JSON")


def test_no_other_key_leaves_the_module(place: Place) -> None:
    """Whatever else is in the files: tokens, commands, variables, rules."""
    hidden = {
        "apiKeyHelper": SECRET,
        "env": {"ANTHROPIC_API_KEY": SECRET, SECRET: "x"},
        "hooks": {"PreToolUse": [{"hooks": [{"command": SECRET}]}]},
        "permissions": {"allow": [f"Edit({SECRET})", SECRET], "ask": [f"Write({SECRET})"], "deny": [SECRET]},
        SECRET: SECRET,
    }
    for source in ("user", "project", "local", "managed", "dropped"):
        place.write(source, hidden)
    place.write("state", {"oauthAccount": SECRET, "primaryApiKey": SECRET, "diffTool": SECRET})
    found = place.files()
    assert len(found) == 5
    assert SECRET not in repr([found, choose(found), settings.state(place.environment)])


def program(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\nfalse\n")
    path.chmod(0o755)
    return path


def found_version(tmp_path: Path, target: Path) -> str | None:
    """The version of a program that a link on the PATH leads to."""
    link = tmp_path / "bin" / "claude"
    link.parent.mkdir()
    link.symlink_to(target)
    found = settings.installed({"PATH": str(link.parent)})
    assert found is not None
    assert found.path == str(link)
    return found.version


def test_the_version_of_an_npm_package_is_read_beside_the_program(tmp_path: Path) -> None:
    """The link of npm leads into the package."""
    target = program(tmp_path / "lib" / "claude-code" / "bin" / "claude.exe")
    manifest = {"name": "@anthropic-ai/claude-code", "version": "2.9.1", "author": SECRET}
    (tmp_path / "lib" / "claude-code" / "package.json").write_text(json.dumps(manifest))
    assert found_version(tmp_path, target) == "2.9.1"


@pytest.mark.parametrize("path", ["share/claude/versions/2.9.1", "Caskroom/claude-code/2.9.1/claude"])
def test_the_version_of_a_native_program_is_in_its_path(tmp_path: Path, path: str) -> None:
    """Its file, or the folder that it lies in, is named by it."""
    assert found_version(tmp_path, program(tmp_path / path)) == "2.9.1"


def test_a_version_that_is_nowhere_to_be_read_is_not_guessed(tmp_path: Path) -> None:
    """Another package's manifest says nothing about it."""
    target = program(tmp_path / "wrapper" / "bin" / "claude-x")
    (tmp_path / "wrapper" / "package.json").write_text(json.dumps({"name": "x", "version": "2.9.1"}))
    assert found_version(tmp_path, target) is None


def test_what_is_no_program_is_not_found(tmp_path: Path) -> None:
    """A folder of that name, and a file that is not executable."""
    (tmp_path / "a" / "claude").mkdir(parents=True)
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "claude").write_text("")
    assert settings.installed({"PATH": f"{tmp_path}/a:{tmp_path}/b"}) is None
