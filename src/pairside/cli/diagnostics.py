"""Owns the import of diagnostics: LSP's publishDiagnostics and SARIF 2.1, in, and what the server takes, out.

LSP lines and columns are 0-based, columns in UTF-16 units, ends exclusive, just as the server wants them. SARIF
counts from 1, its end column is exclusive, and its columns are characters unless the run says UTF-16.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

import click

from pairside.cli.client import Server
from pairside.cli.common import as_json, asks, print_json
from pairside.cli.exits import Failure
from pairside.phrases import count
from pairside.text import decode_file, path_of, printable, read_file, utf16_length

DEFAULT_SOURCE = "import"
READ_BYTES = 32 * 1024 * 1024
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:")
_PLACEHOLDER = re.compile(r"\{(\d+)\}|\{\{|\}\}")

Files = dict[str, list[dict[str, Any]]]


class Unsuitable(Exception):
    """The document is not what it should be; the message says where and why."""


def parse(document: Any, folder: str) -> tuple[Files, int]:
    """The diagnostics by absolute path, and how many files were passed over because they are no files.

    `folder` is where relative names start.

    Raises:
        Unsuitable: It is neither publishDiagnostics nor SARIF, or a part of it is malformed.
    """
    files: Files = {}
    passed_over = 0
    pairs = _sarif(document, folder) if _is_sarif(document) else _lsp(document)
    for path, found in pairs:
        if path is None:
            passed_over += 1
        else:
            files.setdefault(os.path.normpath(path), []).extend(found)
    return files, passed_over


# LSP.


def _lsp(document: Any) -> Iterator[tuple[str | None, list[dict[str, Any]]]]:
    """One pair for each publishDiagnostics in a document: an object, a notification, or an array of either."""
    several = isinstance(document, list)
    for index, one in enumerate(document if several else [document]):
        where = f"[{index}]" if several else ""
        if isinstance(one, dict) and "params" in one:
            if one.get("method", "textDocument/publishDiagnostics") != "textDocument/publishDiagnostics":
                continue
            one, where = one["params"], f"{where}.params"
        if not isinstance(one, dict) or "uri" not in one or "diagnostics" not in one:
            raise Unsuitable(f"{where or 'the document'} has no uri and diagnostics; SARIF has version and runs")
        uri = _text(one["uri"], f"{where}.uri")
        found = _list(one["diagnostics"], f"{where}.diagnostics")
        yield (
            path_of(uri),
            [_lsp_diagnostic(entry, f"{where}.diagnostics[{number}]") for number, entry in enumerate(found)],
        )


def _lsp_diagnostic(entry: Any, where: str) -> dict[str, Any]:
    entry = _object(entry, where)
    area = _object(entry.get("range"), f"{where}.range")
    message = entry.get("message")
    if isinstance(message, dict):  # MarkupContent, since LSP 3.18
        message = message.get("value")
    severity = entry.get("severity", 1)
    if severity not in (1, 2, 3, 4) or isinstance(severity, bool):
        raise Unsuitable(f"{where}.severity is not 1, 2, 3 or 4")
    found = {
        "message": _text(message, f"{where}.message"),
        "severity": severity,
        "start": _position(area.get("start"), f"{where}.range.start"),
        "end": _position(area.get("end"), f"{where}.range.end"),
    }
    if entry.get("source") is not None:
        found["source"] = _text(entry["source"], f"{where}.source")
    if entry.get("code") is not None:
        code = entry["code"]
        found["code"] = str(_whole(code, "")) if isinstance(code, int) else _text(code, f"{where}.code")
    return found


def _position(value: Any, where: str) -> list[int]:
    value = _object(value, where)
    return [
        _whole(value.get("line"), f"{where}.line"),
        _whole(value.get("character"), f"{where}.character"),
    ]


# SARIF.


def _is_sarif(document: Any) -> bool:
    return isinstance(document, dict) and "runs" in document


_LEVELS = {"error": 1, "warning": 2, "note": 3, "none": 4}


def _sarif(document: dict[str, Any], folder: str) -> Iterator[tuple[str | None, list[dict[str, Any]]]]:
    """One pair for each location of each result that reports a failure and is not suppressed."""
    version = document.get("version")
    if not isinstance(version, str) or not version.startswith("2.1"):
        raise Unsuitable(f"SARIF version {version!r} is not 2.1")
    for number, run in enumerate(_list(document["runs"], "runs")):
        where = f"runs[{number}]"
        yield from _Run(_object(run, where), where, folder).findings()


class _Run:
    """One run of a tool."""

    def __init__(self, run: dict[str, Any], where: str, folder: str) -> None:
        self._run = run
        self._where = where
        self._folder = folder
        self._utf16 = run.get("columnKind") == "utf16CodeUnits"
        tool = _object(_object(run.get("tool"), f"{where}.tool").get("driver"), f"{where}.tool.driver")
        self._tool = _text(tool.get("name"), f"{where}.tool.driver.name")
        self._rules = [rule for rule in tool.get("rules") or [] if isinstance(rule, dict)]
        self._by_id = {rule.get("id"): rule for rule in self._rules}
        self._lines: dict[str, list[str]] = {}

    def findings(self) -> Iterator[tuple[str | None, list[dict[str, Any]]]]:
        for number, result in enumerate(_list(self._run.get("results") or [], f"{self._where}.results")):
            where = f"{self._where}.results[{number}]"
            result = _object(result, where)
            if result.get("kind", "fail") != "fail" or self._is_suppressed(result):
                continue
            rule = self._rule(result)
            found = {
                "message": self._message(result, rule, where),
                "severity": self._severity(result, rule),
                "source": self._tool,
            }
            code = result.get("ruleId") or rule.get("id")
            if isinstance(code, str):
                found["code"] = code
            for place in _list(result.get("locations") or [], f"{where}.locations"):
                physical = _object(place, where).get("physicalLocation")
                if not isinstance(physical, dict):
                    continue
                path = self._path(physical.get("artifactLocation"), where)
                if path is None:
                    yield None, []
                    continue
                start, end = self._area(physical.get("region"), path, where)
                yield path, [{**found, "start": start, "end": end}]

    @staticmethod
    def _is_suppressed(result: dict[str, Any]) -> bool:
        suppressions = result.get("suppressions") or []
        return any(isinstance(one, dict) and one.get("status", "accepted") == "accepted" for one in suppressions)

    def _rule(self, result: dict[str, Any]) -> dict[str, Any]:
        reference = result.get("rule") if isinstance(result.get("rule"), dict) else {}
        index = result.get("ruleIndex", (reference or {}).get("index", -1))
        if isinstance(index, int) and 0 <= index < len(self._rules):
            return self._rules[index]
        return self._by_id.get(result.get("ruleId") or (reference or {}).get("id")) or {}

    def _severity(self, result: dict[str, Any], rule: dict[str, Any]) -> int:
        configured = rule.get("defaultConfiguration")
        level = result.get("level")
        if level is None and isinstance(configured, dict):
            level = configured.get("level")
        return _LEVELS.get(level or "warning", 2)

    def _message(self, result: dict[str, Any], rule: dict[str, Any], where: str) -> str:
        message = _object(result.get("message"), f"{where}.message")
        text = message.get("text") or message.get("markdown")
        if text is None and message.get("id") is not None:
            strings = rule.get("messageStrings")
            known = strings.get(message["id"]) if isinstance(strings, dict) else None
            text = known.get("text") if isinstance(known, dict) else None
        text = _text(text, f"{where}.message")
        arguments = [str(argument) for argument in message.get("arguments") or []]
        if not arguments:
            return text

        def put(match: re.Match[str]) -> str:
            if match[1] is None:
                return match[0][0]
            return arguments[int(match[1])] if int(match[1]) < len(arguments) else match[0]

        return _PLACEHOLDER.sub(put, text)

    def _path(self, location: Any, where: str, depth: int = 0) -> str | None:
        """The path of an artifact; None if it is no file."""
        location = _object(location, f"{where}.artifactLocation")
        uri = location.get("uri")
        if uri is None:
            index = location.get("index", -1)
            artifacts = self._run.get("artifacts") or []
            if depth or not isinstance(index, int) or not 0 <= index < len(artifacts):
                raise Unsuitable(f"{where} names no file")
            artifact = _object(artifacts[index], f"{self._where}.artifacts[{index}]")
            return self._path(artifact.get("location"), where, 1)
        uri = _text(uri, f"{where}.uri")
        if uri.startswith("/") or uri[:7].lower() == "file://":
            return path_of(uri)
        if _SCHEME.match(uri):
            return None
        return os.path.join(self._base(location.get("uriBaseId")), unquote(uri))

    def _base(self, id: Any, depth: int = 0) -> str:
        """The folder that relative names of this base start from."""
        bases = self._run.get("originalUriBaseIds")
        base = bases.get(id) if isinstance(bases, dict) and isinstance(id, str) else None
        if not isinstance(base, dict) or depth > 10:
            return self._folder
        uri = base.get("uri")
        if not isinstance(uri, str):
            return self._folder
        absolute = path_of(uri)
        return absolute or os.path.join(self._base(base.get("uriBaseId"), depth + 1), unquote(uri))

    def _area(self, region: Any, path: str, where: str) -> tuple[list[int], list[int]]:
        """The start and the end of a region; the first line's start where there is none."""
        if not isinstance(region, dict):
            return [0, 0], [0, 0]
        if "startLine" not in region:
            return self._by_offset(region, path, where)
        start_line = _whole(region["startLine"], f"{where}.region.startLine", 1)
        end_line = _whole(region.get("endLine", start_line), f"{where}.region.endLine", 1)
        start = _whole(region.get("startColumn", 1), f"{where}.region.startColumn", 1)
        end = region.get("endColumn")
        if end is not None:
            end = _whole(end, f"{where}.region.endColumn", 1)
        first = [start_line - 1, self._column(path, start_line, start)]
        return first, max(first, [end_line - 1, self._column(path, end_line, end)])

    def _by_offset(self, region: dict[str, Any], path: str, where: str) -> tuple[list[int], list[int]]:
        if "charOffset" not in region:
            return [0, 0], [0, 0]
        offset = _whole(region["charOffset"], f"{where}.region.charOffset")
        text = "\n".join(self._text_lines(path))

        def place(at: int) -> list[int]:
            before = text[:at]
            return [before.count("\n"), utf16_length(before[before.rfind("\n") + 1 :])]

        length = _whole(region.get("charLength", 0), f"{where}.region.charLength")
        return place(offset), place(offset + length)

    def _column(self, path: str, line: int, column: int | None) -> int:
        """A 1-based column of SARIF as a 0-based UTF-16 column; None is the end of the line."""
        if column is not None and (self._utf16 or column == 1):
            return column - 1
        lines = self._text_lines(path)
        text = lines[line - 1] if line <= len(lines) else ""
        if column is None:
            return utf16_length(text)
        return utf16_length(text[: column - 1]) + max(0, column - 1 - len(text))

    def _text_lines(self, path: str) -> list[str]:
        if path not in self._lines:
            try:
                text = decode_file(read_file(path, READ_BYTES)[:READ_BYTES]) or ""
            except OSError:
                text = ""
            self._lines[path] = text.removeprefix("\ufeff").split("\n")
        return self._lines[path]


# Shapes.


def _object(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Unsuitable(f"{where.lstrip('.')} is no object")
    return value


def _list(value: Any, where: str) -> list[Any]:
    if not isinstance(value, list):
        raise Unsuitable(f"{where.lstrip('.')} is no array")
    return value


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str):
        raise Unsuitable(f"{where.lstrip('.')} is no text")
    return value


def _whole(value: Any, where: str, least: int = 0) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value < 2**31:
        raise Unsuitable(f"{where.lstrip('.')} is no whole number from {least}")
    return value


@click.group()
def diagnostics() -> None:
    """What linters and compilers say of the files."""


@diagnostics.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, allow_dash=True))
@click.option(
    "--source",
    metavar="NAME",
    default=DEFAULT_SOURCE,
    show_default=True,
    help="Whose diagnostics these are: they replace all that came from there before.",
)
@as_json
@asks
def import_(server: Server, file: str, source: str, as_json: bool) -> None:
    """Give the agents diagnostics from a FILE, or from standard input for -.

    It is LSP publishDiagnostics JSON (one object with uri and diagnostics, a notification with those as params, or an
    array of them) or SARIF 2.1. All diagnostics of the source are replaced, so an empty array clears it. Relative
    names in SARIF start from the served folder.
    """
    where = "Standard input" if file == "-" else printable(file)
    try:
        if file == "-":
            data = sys.stdin.buffer.read()
        else:
            with open(file, "rb") as opened:
                data = opened.read()
        document = json.loads(data.decode("utf-8-sig"))
        files, passed_over = parse(document, server.folders[0] if server.folders else os.getcwd())
    except OSError as error:
        raise Failure(f"Cannot read {where}: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise Failure(f"{where} is not UTF-8.") from None
    except (ValueError, RecursionError) as error:
        raise Failure(f"{where} is not JSON: {printable(str(error))}.") from None
    except Unsuitable as error:
        raise Failure(f"{where}: {printable(str(error))}.") from None
    told = server.request("diagnostics/import", {"source": source, "files": files})
    if passed_over:
        click.echo(f"Passed over {count(passed_over, 'entry', 'entries')} that name no file.", err=True)
    if as_json:
        print_json(told)
    else:
        found = count(told["diagnostics"], "diagnostic")
        click.echo(f"{found} in {count(told['files'], 'file')} from {printable(source)}.")
