"""Owns the texts that a person puts in place of a proposal: as they write them in their own editor.

They reach the agent byte for byte, as UTF-8. One thing is changed, and said: a text whose every line ends in CRLF
comes from an editor or a file for which that is how lines end, while agents speak LF and restore CRLF themselves.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import termios

from pairside.text import printable

_SUFFIX = re.compile(r"\.[A-Za-z0-9_+-]{1,20}")


class DraftError(Exception):
    """The text cannot be had; the message, whole sentences, says why and that nothing was decided."""


def as_text(data: bytes, where: str, *, errors: str = "strict") -> tuple[str, str]:
    """What bytes say, and a note about it or ""; `where` is what they are called.

    Raises:
        DraftError: It is not UTF-8.
    """
    try:
        text = data.decode("utf-8", errors)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DraftError(f"{where} is not UTF-8: byte {error.start + 1}, in line {line}.") from None
    if "\r\n" in text and text.count("\n") == text.count("\r\n"):
        note = f"{where} has CRLF line ends: given to the agent as LF, which it turns back itself."
        return text.replace("\r\n", "\n"), note
    return text, ""


def _forget_typed() -> None:
    """What was typed while the editor was open was meant for it, also where it has a window of its own."""
    with contextlib.suppress(AttributeError, OSError, ValueError, termios.error):
        termios.tcflush(sys.__stdin__.fileno(), termios.TCIFLUSH)  # type: ignore[union-attr]


class Draft:
    """A text in a private file, for the person's editor. Leaving the block removes it unless it was kept."""

    def __init__(self, text: str, like: str) -> None:
        """`like` is the name of the file that the text is for: editors choose their mode by its suffix."""
        suffix = os.path.splitext(like)[1]
        self._text = text
        self._name = "proposal" + (suffix if _SUFFIX.fullmatch(suffix) else "")
        self._folder: str | None = None
        self.path = ""
        """Where the text is; empty until it is edited."""
        self.note = ""
        """What the person should know of the text that they saved; "" if nothing."""
        self.kept = False
        """Whether the file stays where it is."""

    def __enter__(self) -> Draft:
        return self

    def __exit__(self, *error: object) -> None:
        if self._folder is not None and not self.kept:
            shutil.rmtree(self._folder, ignore_errors=True)

    def keep(self) -> None:
        """Leave the file where it is."""
        self.kept = True

    def _write(self) -> None:
        try:
            if self._folder is None:
                self._folder = tempfile.mkdtemp(prefix="pairside-")  # mode 0700
            path = os.path.join(self._folder, self._name)
            with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                file.write(self._text.encode("utf-8", "surrogatepass"))
        except OSError as error:
            where = self._folder or "the temporary folder"
            raise DraftError(f"Cannot write the text to {where}: {error.strerror}. Nothing was decided.") from None
        self.path = path

    def _saved(self) -> str:
        """Keep what the person saved before their editor failed, if they did, and say where it is."""
        try:
            with open(self.path, "rb") as file:
                if file.read() == self._text.encode("utf-8", "surrogatepass"):
                    return ""
        except OSError:
            return ""
        self.keep()
        return f" What was saved is kept: {printable(self.path)}"

    def edit(self) -> str:
        """Let the person edit it in `$VISUAL` or `$EDITOR`; the text as saved.

        Raises:
            DraftError: There is no room for it, the editor cannot be started or fails, or what it saved is not UTF-8.
        """
        if not self.path:
            self._write()
        editor = os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi"
        # The value may hold arguments, so a shell reads it; the file name never passes through that shell's parser.
        # Ctrl-C in the editor is the editor's own affair: neither that shell nor this process ends by it. Both catch
        # it and do nothing, since "ignore" would be inherited by the editor.
        command = ["/bin/sh", "-c", f'trap : INT; {editor} "$@"', editor, self.path]
        previous = signal.signal(signal.SIGINT, lambda number, frame: None)
        try:
            status = subprocess.run(command, check=False).returncode
        except OSError as error:
            raise DraftError(f"Cannot start the editor: {error.strerror}. Nothing was decided.") from None
        finally:
            signal.signal(signal.SIGINT, previous)
            _forget_typed()
        if status != 0:
            raise DraftError(
                f"The editor ({printable(editor)}) ended with status {status}: nothing was decided. "
                "Set VISUAL or EDITOR to another one if need be." + self._saved()
            )
        try:
            with open(self.path, "rb") as file:
                data = file.read()
        except OSError as error:
            raise DraftError(f"Cannot read what the editor saved: {error.strerror}. Nothing was decided.") from None
        try:
            text, self.note = as_text(data, "The edited text", errors="surrogatepass")
        except DraftError as error:
            self.keep()
            raise DraftError(f"{error} Nothing was decided. It is kept: {self.path}") from None
        return text
