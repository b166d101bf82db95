"""Owns the texts that a person puts in place of a proposal: from a file, or from their editor.

They reach the agent byte for byte, as UTF-8. One thing is changed, and said: a text whose every line ends in CRLF
comes from an editor or a file for which that is how lines end, while agents speak LF and restore CRLF themselves.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile

import click

from pairside.cli.exits import Failure
from pairside.text import printable

_SUFFIX = re.compile(r"\.[A-Za-z0-9_+-]{1,20}")


def from_file(name: str) -> str:
    """The text in a file, or on standard input for `-`.

    Raises:
        Failure: It cannot be read, or is not UTF-8.
    """
    where = "Standard input" if name == "-" else printable(name)
    try:
        if name == "-":
            data = sys.stdin.buffer.read()
        else:
            with open(name, "rb") as file:
                data = file.read()
    except OSError as error:
        raise Failure(f"Cannot read {where}: {error.strerror}.") from None
    return _decoded(data, where)


def _decoded(data: bytes, where: str) -> str:
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise Failure(f"{where} is not UTF-8: byte {error.start + 1}, in line {line}.") from None
    return _with_lf(text, where)


def _with_lf(text: str, where: str) -> str:
    if "\r\n" in text and text.count("\n") == text.count("\r\n"):
        click.echo(f"{where} has CRLF line ends: given to the agent as LF, which it turns back itself.", err=True)
        return text.replace("\r\n", "\n")
    return text


class Draft:
    """A text in a private file, for the person's editor. Leaving the block removes it unless it was kept."""

    def __init__(self, text: str, like: str) -> None:
        """`like` is the name of the file that the text is for: editors choose their mode by its suffix."""
        suffix = os.path.splitext(like)[1]
        self._folder = tempfile.mkdtemp(prefix="pairside-")  # mode 0700
        self.path = os.path.join(self._folder, "proposal" + (suffix if _SUFFIX.fullmatch(suffix) else ""))
        self._keep = False
        with open(os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(text.encode("utf-8", "surrogatepass"))

    def __enter__(self) -> Draft:
        return self

    def __exit__(self, *error: object) -> None:
        if not self._keep:
            shutil.rmtree(self._folder, ignore_errors=True)

    def keep(self) -> None:
        """Leave the file where it is."""
        self._keep = True

    def edit(self) -> str:
        """Let the person edit it in `$VISUAL` or `$EDITOR`; the text as saved.

        Raises:
            Failure: The editor cannot be started or fails, or what it saved is not UTF-8.
        """
        editor = os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi"
        # The value may hold arguments, so a shell reads it; the file name never passes through that shell's parser.
        # Ctrl-C in the editor is the editor's own affair: neither that shell nor this process ends by it. Both catch
        # it and do nothing, since "ignore" would be inherited by the editor.
        command = ["/bin/sh", "-c", f'trap : INT; {editor} "$@"', editor, self.path]
        previous = signal.signal(signal.SIGINT, lambda number, frame: None)
        try:
            status = subprocess.run(command, check=False).returncode
        except OSError as error:
            raise Failure(f"Cannot start the editor: {error.strerror}.") from None
        finally:
            signal.signal(signal.SIGINT, previous)
        if status != 0:
            raise Failure(
                f"The editor ({printable(editor)}) ended with status {status}: nothing was decided. "
                "Set VISUAL or EDITOR to another one if need be."
            )
        try:
            with open(self.path, "rb") as file:
                data = file.read()
        except OSError as error:
            raise Failure(f"Cannot read what the editor saved: {error.strerror}.") from None
        try:
            return _with_lf(data.decode("utf-8", "surrogatepass"), "The edited text")
        except UnicodeDecodeError:
            self.keep()
            raise Failure(f"The editor did not save UTF-8: nothing was decided. See {self.path}") from None
