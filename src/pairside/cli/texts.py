"""Owns the texts that a command gives in place of a proposal: from a file, or from the person's editor."""

from __future__ import annotations

import sys

import click

from pairside.cli.exits import Failure
from pairside.draft import Draft, DraftError, as_text
from pairside.text import printable


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
        text, note = as_text(data, where)
    except OSError as error:
        raise Failure(f"Cannot read {where}: {error.strerror}.") from None
    except DraftError as error:
        raise Failure(str(error)) from None
    _tell(note)
    return text


def edited(draft: Draft) -> str:
    """What the person makes of a text in their editor.

    Raises:
        Failure: The editor cannot be started or fails, or what it saved is not UTF-8.
    """
    try:
        text = draft.edit()
    except DraftError as error:
        raise Failure(str(error)) from None
    _tell(draft.note)
    return text


def _tell(note: str) -> None:
    if note:
        click.echo(note, err=True)
