"""The editor that needs no editor."""

from __future__ import annotations

from pathlib import Path

import pytest

from pairside.editor import Diagnostic, EditorError, Position, Range, Selection, Severity, Spot
from pairside.editors import embedded
from pairside.editors.embedded import EmbeddedEditor

TEXT = "one\ntwo 😀 x\nthree\n"


def span(*numbers: int) -> Range:
    """A range from four numbers."""
    first, start, last, end = numbers
    return Range(Position(first, start), Position(last, end))


@pytest.fixture
def file(workspace: Path) -> str:
    """A file of three lines."""
    (workspace / "a.py").write_text(TEXT)
    return str(workspace / "a.py")


@pytest.fixture
def told() -> list[Selection | None]:
    """Every selection that was told, in order."""
    return []


@pytest.fixture
def editor(told: list[Selection | None]) -> EmbeddedEditor:
    """An editor in which nothing is open."""
    editor = EmbeddedEditor()
    editor.on_select = told.append
    return editor


@pytest.mark.parametrize(
    ("asked", "text", "actual"),
    [
        (span(0, 0, 0, 3), "one", span(0, 0, 0, 3)),
        (span(0, 1, 1, 2), "ne\ntw", span(0, 1, 1, 2)),
        (span(1, 4, 1, 6), "😀", span(1, 4, 1, 6)),
        (span(1, 5, 1, 99), "😀 x", span(1, 4, 1, 8)),
        (span(0, 0, 99, 0), TEXT, span(0, 0, 3, 0)),
        (span(2, 0, 3, 0), "three\n", span(2, 0, 3, 0)),
        (span(0, 99, 0, 100), "", span(0, 3, 0, 3)),
        (span(1, 2, 0, 1), "ne\ntw", span(0, 1, 1, 2)),
        (span(0, 2, 0, 1), "n", span(0, 1, 0, 2)),
        (span(3, 0, 3, 0), "", span(3, 0, 3, 0)),
    ],
)
def test_a_range_selects_its_text_and_is_clamped_to_it(
    editor: EmbeddedEditor, told: list[Selection | None], file: str, asked: Range, text: str, actual: Range
) -> None:
    """UTF-16 columns, ends exclusive; what is told is where the text really stands, in reading order."""
    selection = editor.select(file, asked)
    assert selection == Selection(file, text, actual)
    assert told == [selection]


async def test_what_cannot_be_selected_changes_nothing(
    editor: EmbeddedEditor, told: list[Selection | None], file: str, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Missing, binary and too large files, folders, and lines behind the end."""
    (workspace / "binary").write_bytes(b"\0")
    (workspace / "large").write_bytes(b"x" * 100)
    monkeypatch.setattr(embedded, "READ_BYTES", 99)
    for name, why in (("none", "cannot read"), ("", "cannot read"), ("binary", "not text"), ("large", "larger than")):
        with pytest.raises(EditorError, match=why):
            editor.select(str(workspace / name), None)
    for line in (-1, 4):
        with pytest.raises(EditorError, match=f"has 4 lines, not {line + 1}"):
            editor.select(file, span(line, 0, line, 0))
    with pytest.raises(EditorError, match="cannot read"):
        await editor.open(Spot(str(workspace / "none")))
    assert told == []
    assert await editor.documents() == ()


async def test_a_selection_lasts_until_the_prompt_unless_it_is_kept(
    editor: EmbeddedEditor, told: list[Selection | None], file: str
) -> None:
    """A kept one stands through prompts and what agents open, until it is cleared."""
    editor.select(file, span(0, 0, 0, 3))
    editor.prompted()
    assert told[-1] is None
    kept = editor.select(file, span(0, 0, 0, 3), keep=True)
    editor.prompted()
    await editor.open(Spot(file, span(1, 0, 1, 3)))
    assert told[-1] == kept
    editor.clear()
    assert told[-1] is None
    await editor.open(Spot(file, span(1, 0, 1, 3)))
    assert told[-1] == Selection(file, "two", span(1, 0, 1, 3))
    editor.prompted()
    assert told[-1] is None


async def test_a_file_that_is_merely_opened_is_selected_without_text(
    editor: EmbeddedEditor, told: list[Selection | None], file: str
) -> None:
    """Without focus it is only listed."""
    await editor.open(Spot(file, focus=False))
    assert told == []
    assert [(document.path, document.active) for document in await editor.documents()] == [(file, False)]
    await editor.open(Spot(file))
    assert told == [Selection(file, "", span(0, 0, 0, 0))]


async def test_open_files_are_listed_as_long_as_they_exist(editor: EmbeddedEditor, workspace: Path) -> None:
    """With language and line count; the one opened last with focus is active."""
    for name, text in (("a.py", "1\n2\n"), ("b", ""), ("c.rs", "no newline")):
        (workspace / name).write_text(text)
        await editor.open(Spot(str(workspace / name), focus=name != "c.rs"))
    (workspace / "a.py").unlink()
    documents = {Path(one.path).name: (one.language, one.line_count, one.active) for one in await editor.documents()}
    assert documents == {"b": ("plaintext", 1, True), "c.rs": ("rust", 1, False)}


async def test_diagnostics_of_a_source_are_replaced_as_a_whole(editor: EmbeddedEditor) -> None:
    """What other sources found stays, and an empty import takes a source away."""

    def found(*messages: str) -> tuple[Diagnostic, ...]:
        return tuple(Diagnostic(message, Severity.ERROR, span(0, 0, 0, 1)) for message in messages)

    editor.import_diagnostics("ruff", {"/a": found("r1"), "/b": found("r2")})
    editor.import_diagnostics("mypy", {"/a": found("m1")})
    assert await editor.diagnostics(None) == {"/a": found("r1", "m1"), "/b": found("r2")}
    assert await editor.diagnostics("/a") == {"/a": found("r1", "m1")}
    editor.import_diagnostics("ruff", {"/b": found("r3")})
    assert await editor.diagnostics(None) == {"/a": found("m1"), "/b": found("r3")}
    editor.import_diagnostics("ruff", {})
    assert await editor.diagnostics(None) == {"/a": found("m1")}
    assert await editor.files_changed(["/a"]) == ()
