"""Owns the colours of source code: which part of a line is a keyword, a string, a comment.

Pygments does the work, in a thread, because it takes about a second for a megabyte.
"""

from __future__ import annotations

import asyncio
import functools
import os
import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from pygments.lexer import Lexer

HIGHLIGHT_CHARACTERS = 512 * 1024
"""A longer text stays without colours."""
HIGHLIGHT_SECONDS = 5.0
"""What is not done by then stays without colours: some patterns are slow."""
LINE_CHARACTERS = 2000
"""A line beyond this is hardly source code that a person wrote, and slow to take apart."""
PIECE = 2000

KINDS = ("comment", "keyword", "string", "number", "function", "type", "tag", "punctuation")
"""What a part of a line can be; whoever draws has a style for each."""

Kinds: TypeAlias = tuple[tuple[int, int, str], ...]
"""The parts of a line: start, end (exclusive), kind. Parts that are nothing special are left out."""


async def highlight(text: str, path: str) -> list[Kinds] | None:
    """The parts of each line of a text that stands in a file of that name; None where there is nothing to colour.

    Lines end at LF alone. Cancelled, the thread soon ends as well.
    """
    if len(text) > HIGHLIGHT_CHARACTERS or not text:
        return None
    given_up = threading.Event()
    try:
        return await asyncio.to_thread(_highlight, text, path, given_up)
    finally:
        given_up.set()


def _highlight(text: str, path: str, given_up: threading.Event) -> list[Kinds] | None:
    lexer = _lexer(os.path.basename(path), text)
    if lexer is None:
        return None
    deadline = time.monotonic() + HIGHLIGHT_SECONDS
    lines: list[Kinds] = []
    parts: list[tuple[int, int, str]] = []
    column = 0
    # Carriage returns and a byte order mark would be taken away there, and every column after them would be wrong.
    for number, (token, value) in enumerate(lexer.get_tokens(text.replace("\r", " ").replace("\ufeff", " "))):
        if number % PIECE == 0:
            if given_up.is_set() or time.monotonic() > deadline:
                break
            time.sleep(0)  # the thread that draws comes first
        kind = _kind(token)
        for index, piece in enumerate(value.split("\n")):
            if index:
                lines.append(tuple(parts))
                parts, column = [], 0
            if kind and piece:
                parts.append((column, column + len(piece), kind))
            column += len(piece)
    lines.append(tuple(parts))
    return lines


def _lexer(name: str, text: str) -> Lexer | None:
    from pygments.lexers import get_lexer_for_filename, guess_lexer
    from pygments.util import ClassNotFound

    if any(len(line) > LINE_CHARACTERS for line in text.split("\n")):
        return None
    options: dict[str, Any] = {"stripnl": False, "ensurenl": False}
    try:
        return get_lexer_for_filename(name, text[:1000], **options)
    except ClassNotFound:
        pass
    if not text.startswith("#!"):
        return None
    try:
        return guess_lexer(text[:1000], **options)
    except ClassNotFound:
        return None


@functools.cache
def _kind(token: Any) -> str:
    """One of `KINDS` for a token type of Pygments, or ""."""
    for kind, types in _types().items():
        if any(token in one for one in types):
            return kind
    return ""


@functools.cache
def _types() -> dict[str, tuple[Any, ...]]:
    from pygments.token import Comment, Keyword, Name, Number, Operator, Punctuation, String

    return {
        "comment": (Comment,),
        "type": (Keyword.Type, Name.Class, Name.Exception, Name.Builtin),
        "keyword": (Keyword, Operator.Word),
        "string": (String,),
        "number": (Number,),
        "function": (Name.Function, Name.Decorator),
        "tag": (Name.Tag, Name.Attribute, Name.Label),
        "punctuation": (Punctuation, Operator),
    }


def joined(parts: Kinds) -> Iterator[tuple[int, int, str]]:
    """The parts, those of one kind that touch as one."""
    start = end = -1
    kind = ""
    for one in parts:
        if one[0] == end and one[2] == kind:
            end = one[1]
            continue
        if kind:
            yield start, end, kind
        start, end, kind = one
    if kind:
        yield start, end, kind
