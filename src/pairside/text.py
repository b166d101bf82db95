"""Owns positions, file URIs, the decoding of files and what may reach a terminal.

Inside pairside a position is a 0-based line and a 0-based UTF-16 column, as in the Language Server
Protocol. This module alone converts to and from anything else.
"""

from __future__ import annotations

import codecs
import errno
import os
import re
import stat
from collections.abc import Iterable, Iterator
from typing import IO
from urllib.parse import quote, unquote_to_bytes

PATH_BYTES = 4096
"""A path that is longer is none: no system opens it (PATH_MAX is 4096 on Linux, 1024 on macOS)."""
LINKS = 40
"""So many symbolic links are followed, as by the kernel."""
_ESCAPED = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
_UNPRINTABLE = re.compile(
    "[\x00-\x1f\x7f-\x9f"  # controls
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # directions
    "\u2028\u2029\ud800-\udfff"  # ends of lines, half characters
    # What is not seen though it is there; but for the joiners and selectors that scripts and emoji are written with.
    "\xad\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u2060-\u2065\u206a-\u206f\u3164\ufeff\uffa0\ufff0-\ufffb"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)


def utf16_length(text: str) -> int:
    """The length of `text` in UTF-16 code units: a character outside the Basic Multilingual Plane counts 2."""
    if text.isascii():
        return len(text)
    return len(text) + sum(1 for character in text if character > "\uffff")


def from_utf16(text: str, column: int) -> int:
    """The index into `text` of UTF-16 column `column`, clamped to the text; inside a pair it is the pair's start."""
    if column <= 0:
        return 0
    if text.isascii():
        return min(column, len(text))
    units = 0
    for index, character in enumerate(text):
        units += 2 if character > "\uffff" else 1
        if units > column:
            return index
    return len(text)


def file_uri(path: str) -> str:
    """The `file://` URI of an absolute path, percent-encoded (RFC 8089)."""
    return "file://" + quote(os.fsencode(path))


def raw_file_uri(path: str) -> str:
    """`file://` before the path as it is. Claude Code understands this form alone in diagnostics."""
    return "file://" + path


def path_of(uri: str) -> str | None:
    """The absolute path that a `file://` URI or a plain absolute path names; None for anything else.

    Claude Code does not percent-encode, other clients do. So a name that exists as it stands is taken as
    it stands, and percent-decoded only otherwise.
    """
    raw = uri
    if uri[:7].lower() == "file://":
        raw = uri[7:]
        if raw.startswith("localhost/"):
            raw = raw[len("localhost") :]
    if not is_absolute(raw):
        return None
    if "%" in raw and raw is not uri and not os.path.lexists(raw):
        decoded = os.fsdecode(unquote_to_bytes(os.fsencode(raw)))
        if "\0" not in decoded:
            return decoded
    return raw


def is_absolute(path: str) -> bool:
    """Whether a text can be the absolute path of a file: without NUL, with a name in bytes, and not too long for one.

    Whoever follows a path of a million folders that nobody can have made is busy for minutes.
    """
    if not path.startswith("/") or len(path) > PATH_BYTES:
        return False
    try:
        name = os.fsencode(path)
        return b"\0" not in name and len(name) <= PATH_BYTES
    except UnicodeEncodeError:  # a lone surrogate that stands for no byte
        return False


def within(path: str, folders: Iterable[str]) -> bool:
    """Whether an absolute path is one of `folders` or lies in one, by whole components; a final slash is nothing."""
    return any(path == one.rstrip("/") or path.startswith(one.rstrip("/") + "/") for one in folders)


def links(path: str) -> Iterator[str]:
    """A path, what it is a link to, and so on, as far as the kernel would follow."""
    for _ in range(LINKS):
        yield path
        try:
            path = os.path.join(os.path.dirname(path), os.readlink(path))
        except (OSError, ValueError):
            return


def up_to(file: IO[bytes], limit: int) -> bytes:
    """At most `limit` more bytes of a file.

    Memory is taken for what is there, not for all that could be: that much, for each file that a thread reads, would
    be given back to nobody.
    """
    size = min(limit, os.fstat(file.fileno()).st_size + 1)
    data = file.read(size)
    return data + file.read(limit - size) if len(data) == size < limit else data


def read_file(path: str, limit: int) -> bytes:
    """The first `limit` + 1 bytes of a regular file; more than `limit` means that it is larger.

    Raises:
        OSError: It cannot be read, or is not a regular file: opening a pipe would wait for its other end.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "Not a regular file", path)
        with open(descriptor, "rb", closefd=False) as file:
            return up_to(file, limit + 1)
    finally:
        os.close(descriptor)


def decode_file(data: bytes) -> str | None:
    """The text of a file as agents see it: LF line ends, a byte order mark kept as U+FEFF; None if it is no text.

    UTF-8 is assumed unless the file starts with a UTF-16 byte order mark.
    """
    decoded = decode_exactly(data)
    return None if decoded is None else decoded.replace("\r\n", "\n")


def decode_exactly(data: bytes) -> str | None:
    """Like `decode_file`, with the line ends as they are: what a patch must hold to apply to the file."""
    try:
        if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            decoded = "\ufeff" + data.decode("utf-16")
        else:
            decoded = data.decode("utf-8")
    except UnicodeDecodeError:
        return None
    if "\0" in decoded:
        return None
    return decoded


def clean_unicode(text: str) -> str:
    """`text` with every lone surrogate replaced by U+FFFD, so that it can be encoded as UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def cut(text: str, limit: int) -> str:
    """The longest start of `text` that takes at most `limit` bytes as UTF-8, cut between characters."""
    if len(text) * 4 <= limit:
        return text
    data = text.encode("utf-8", "replace")
    return text if len(data) <= limit else data[:limit].decode("utf-8", "ignore")


def printable(text: str) -> str:
    """`text` on one line without anything that a terminal would obey or hide.

    Control characters, C1 codes, direction overrides, lone surrogates and characters that nobody sees come out as
    visible escapes.
    """
    return _UNPRINTABLE.sub(_escape, text)


def printable_line(text: str) -> str:
    """Like `printable`, but a tab stays a tab: for a line of a file shown in a diff."""
    return _UNPRINTABLE.sub(lambda match: "\t" if match[0] == "\t" else _escape(match), text)


def _escape(match: re.Match[str]) -> str:
    character = match[0]
    code = ord(character)
    escape = f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
    return _ESCAPED.get(character) or escape
