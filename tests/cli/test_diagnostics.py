"""Diagnostics from linters: every accepted form, and what is said about the others."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from pairside.cli.diagnostics import Unsuitable, parse
from tests.cli.command import pairside
from tests.cli.robot import Robot
from tests.e2e.home import Home
from tests.e2e.served import Served

RANGE = {"start": {"line": 1, "character": 6}, "end": {"line": 1, "character": 9}}
FOUND = {"range": RANGE, "severity": 2, "code": "F821", "source": "pyflakes", "message": "undefined name"}
TAKEN = {
    "message": "undefined name", "severity": 2, "start": [1, 6], "end": [1, 9], "source": "pyflakes", "code": "F821",
}  # fmt: skip


def sarif(*results: dict[str, Any], **run: Any) -> dict[str, Any]:
    """A SARIF document of one run."""
    return {"version": "2.1.0", "runs": [{"tool": {"driver": {"name": "lint"}}, "results": list(results), **run}]}


def result(uri: str = "a.py", region: dict[str, int] | None = None, **more: Any) -> dict[str, Any]:
    """A SARIF result."""
    physical: dict[str, Any] = {"artifactLocation": {"uri": uri}}
    if region is not None:
        physical["region"] = region
    return {"message": {"text": "bad"}, "locations": [{"physicalLocation": physical}], **more}


def only(document: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The only diagnostic of a document."""
    files, _ = parse(document, str(folder))
    ((diagnostic,),) = files.values()
    return diagnostic


@pytest.mark.parametrize("form", ["object", "notification", "array", "array of notifications"])
def test_every_form_of_lsp_is_taken(tmp_path: Path, form: str) -> None:
    """One object, a JSON-RPC notification, or an array of either."""
    plain: dict[str, Any] = {"uri": f"file://{tmp_path}/a.py", "version": 3, "diagnostics": [FOUND]}
    wrapped = {"jsonrpc": "2.0", "method": "textDocument/publishDiagnostics", "params": plain}
    forms = {"object": plain, "notification": wrapped, "array": [plain], "array of notifications": [wrapped]}
    assert parse(forms[form], "/") == ({str(tmp_path.resolve() / "a.py"): [TAKEN]}, 0)


def test_other_notifications_in_an_array_are_left_out(tmp_path: Path) -> None:
    """A recorded conversation with a language server can be imported."""
    assert parse([{"jsonrpc": "2.0", "method": "window/logMessage", "params": {}}], "/") == ({}, 0)


def test_what_lsp_leaves_out_has_its_default(tmp_path: Path) -> None:
    """Without severity it is an error; numbers are codes too; a message may be markup."""
    found = {"range": RANGE, "message": {"kind": "markdown", "value": "bad"}, "code": 7}
    document = {"uri": f"file://{tmp_path}/a%20b.py", "diagnostics": [found]}
    files, _ = parse(document, "/")
    assert files == {
        str(tmp_path.resolve() / "a b.py"): [
            {"message": "bad", "severity": 1, "start": [1, 6], "end": [1, 9], "code": "7"}
        ]
    }


def test_what_names_no_file_is_counted_and_passed_over(tmp_path: Path) -> None:
    """Untitled documents and web pages are nothing that an agent edits."""
    assert parse({"uri": "untitled:Untitled-1", "diagnostics": [FOUND]}, "/") == ({}, 1)
    assert parse(sarif(result("https://example.org/a.py")), "/") == ({}, 1)


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({}, "has no uri and diagnostics"),
        (5, "has no uri and diagnostics"),
        ([[]], r"\[0\] has no uri"),
        ({"uri": 5, "diagnostics": []}, "uri is no text"),
        ({"uri": "file:///a", "diagnostics": {}}, "diagnostics is no array"),
        ({"uri": "file:///a", "diagnostics": [5]}, r"diagnostics\[0\] is no object"),
        ({"uri": "file:///a", "diagnostics": [{**FOUND, "severity": 9}]}, "severity is not 1, 2, 3 or 4"),
        ({"uri": "file:///a", "diagnostics": [{**FOUND, "message": None}]}, "message is no text"),
        (
            {"uri": "file:///a", "diagnostics": [{**FOUND, "range": {**RANGE, "end": {"line": -1, "character": 0}}}]},
            r"diagnostics\[0\].range.end.line is no whole number",
        ),
        ({"version": "2.0.0", "runs": []}, "version '2.0.0' is not 2.1"),
        ({"version": "2.1.0", "runs": [{}]}, r"runs\[0\].tool is no object"),
        (sarif({"message": {}}), r"runs\[0\].results\[0\].message is no text"),
        (sarif(result(region={"startLine": 0})), r"region.startLine is no whole number from 1"),
    ],
)
def test_a_malformed_document_is_refused_with_the_place(document: Any, said: str) -> None:
    """Half an import would hide what is wrong."""
    with pytest.raises(Unsuitable, match=said):
        parse(document, "/")


def test_sarif_counts_from_1_with_an_exclusive_end_column(tmp_path: Path) -> None:
    """Columns are characters unless the run says UTF-16."""
    (tmp_path / "a.py").write_text("x\na𝟚b𝟛c\n", encoding="utf-8")
    region = {"startLine": 2, "startColumn": 3, "endColumn": 5}
    found = only(sarif(result(region=region)), tmp_path)
    assert (found["start"], found["end"]) == ([1, 3], [1, 6])
    found = only(sarif(result(region=region), columnKind="utf16CodeUnits"), tmp_path)
    assert (found["start"], found["end"]) == ([1, 2], [1, 4])


@pytest.mark.parametrize(
    ("region", "start", "end"),
    [
        (None, [0, 0], [0, 0]),
        ({"startLine": 2}, [1, 0], [1, 4]),
        ({"startLine": 1, "endLine": 2}, [0, 0], [1, 4]),
        ({"startLine": 1, "startColumn": 2, "endLine": 2, "endColumn": 1}, [0, 1], [1, 0]),
        ({"startLine": 9, "startColumn": 3}, [8, 2], [8, 2]),
        ({"charOffset": 4, "charLength": 2}, [1, 0], [1, 2]),
    ],
)
def test_what_a_sarif_region_leaves_out_has_its_meaning(
    tmp_path: Path, region: dict[str, int] | None, start: list[int], end: list[int]
) -> None:
    """No start column is the start of the line, no end column its end; a place may be given by offset."""
    (tmp_path / "a.py").write_text("one\nfour\n")
    found = only(sarif(result(region=region)), tmp_path)
    assert (found["start"], found["end"]) == (start, end)


def test_the_level_of_a_sarif_result_may_come_from_its_rule(tmp_path: Path) -> None:
    """Its own level, else that of its rule, else warning."""
    rules = [{"id": "R1", "defaultConfiguration": {"level": "error"}}, {"id": "R2"}]
    tool = {"driver": {"name": "lint", "rules": rules}}

    def severity(**more: Any) -> Any:
        return only(sarif(result(**more), tool=tool), tmp_path)["severity"]

    assert severity(level="note") == 3
    assert severity(ruleId="R1") == 1
    assert severity(ruleIndex=0) == 1
    assert severity(ruleId="R2") == 2
    assert severity() == 2


def test_the_message_of_a_sarif_result_may_come_from_its_rule(tmp_path: Path) -> None:
    """By its id, with the arguments put in; doubled braces are braces."""
    rules = [{"id": "R1", "messageStrings": {"m": {"text": "'{0}' is {{{1}}}"}}}]
    document = sarif(
        {**result(ruleId="R1"), "message": {"id": "m", "arguments": ["x", "bad"]}},
        tool={"driver": {"name": "lint", "rules": rules}},
    )
    found = only(document, tmp_path)
    assert (found["message"], found["code"], found["source"]) == ("'x' is {bad}", "R1", "lint")


def test_sarif_results_that_report_no_failure_are_left_out(tmp_path: Path) -> None:
    """What passed and what was suppressed is nothing to fix."""
    document = sarif(
        result(kind="pass"),
        result(suppressions=[{"kind": "inSource"}]),
        result(suppressions=[{"kind": "external", "status": "rejected"}]),
    )
    files, _ = parse(document, str(tmp_path))
    assert sum(map(len, files.values())) == 1


def test_sarif_names_are_resolved_as_the_run_says(tmp_path: Path) -> None:
    """Relative to the served folder, to a base, or by an index into the artifacts; percent-encoded or not."""
    assert set(parse(sarif(result("a%20b.py")), str(tmp_path))[0]) == {str(tmp_path.resolve() / "a b.py")}
    assert set(parse(sarif(result(f"file://{tmp_path}/c.py")), "/")[0]) == {str(tmp_path.resolve() / "c.py")}
    bases = {"ROOT": {"uri": f"file://{tmp_path}/"}, "SRC": {"uri": "src/", "uriBaseId": "ROOT"}}
    based = result()
    based["locations"][0]["physicalLocation"]["artifactLocation"]["uriBaseId"] = "SRC"
    assert set(parse(sarif(based, originalUriBaseIds=bases), "/")[0]) == {str(tmp_path.resolve() / "src" / "a.py")}
    indexed = result()
    indexed["locations"][0]["physicalLocation"]["artifactLocation"] = {"index": 0}
    artifacts = [{"location": {"uri": "d.py"}}]
    assert set(parse(sarif(indexed, artifacts=artifacts), str(tmp_path))[0]) == {str(tmp_path.resolve() / "d.py")}


def test_imported_diagnostics_are_what_the_agent_is_told(home: Home, served: Served, robot: Robot) -> None:
    """Per source they are replaced as a whole, and an empty array clears them."""
    path = home.write("a.py", "one\ntwo = tvo\n")

    def told() -> list[Any]:
        return [
            diagnostic["message"]
            for file in json.loads(robot.call("getDiagnostics")[0])
            for diagnostic in file["diagnostics"]
        ]

    lsp = json.dumps({"uri": path.as_uri(), "diagnostics": [FOUND]}).encode()
    done = pairside(home, "diagnostics", "import", "-", given=lsp)
    assert done.stdout == b"1 diagnostic in 1 file from import.\n"
    (home.root / "lint.sarif").write_text(json.dumps(sarif(result(region={"startLine": 1}))))
    served.do("diagnostics", "import", "--source", "lint", str(home.root / "lint.sarif"))
    assert sorted(told()) == ["bad", "undefined name"]
    pairside(home, "diagnostics", "import", "-", given=b"[]")
    assert told() == ["bad"]


@pytest.mark.parametrize(
    ("given", "said"),
    [(b"{", b"is not JSON"), (b"\xff", b"is not UTF-8"), (b"{}", b"has no uri"), (b"[" * 100_000, b"is not JSON")],
    ids=["broken", "bytes", "empty", "deep"],
)
def test_what_cannot_be_imported_is_told(home: Home, served: Served, given: bytes, said: bytes) -> None:
    """The status is 1, and nothing was replaced."""
    done = pairside(home, "diagnostics", "import", "-", given=given)
    assert done.returncode == 1
    assert said in done.stderr


def test_a_pipe_that_sarif_names_is_not_waited_for(tmp_path: Path) -> None:
    """The columns of a file need its text; a pipe would have to be written first."""
    os.mkfifo(tmp_path / "a.py")
    found = only(sarif(result(region={"startLine": 2, "startColumn": 3})), tmp_path)
    assert found["start"] == [1, 2]
