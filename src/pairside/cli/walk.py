"""Owns the walk over what agents changed: one change after the other, hunk by hunk, in the way of `git add -p`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pairside.cli.changes import listed, whole
from pairside.cli.client import REFUSED, Refused
from pairside.cli.common import coloured, print_json
from pairside.cli.exits import Exit
from pairside.cli.kept import Answering
from pairside.cli.terminal import Dialogue, Left
from pairside.cli.undo import status_of, told
from pairside.phrases import change_line, count, hunk_lines, sentence, shown

HUNK_HELP = """\
A letter, then Enter:
y  undo this hunk
n  keep this hunk
a  undo this and all that follow in this file
d  keep this and all that follow: next file
q  quit: undo the hunks chosen so far
p  print the hunk again
?  print this help
After the last hunk of a file those that were
chosen are taken back. Ctrl-C: none of this file."""
WHOLE_HELP = """\
A letter, then Enter:
y  undo this change
n  keep it
q  quit: keep it, and all that follow
p  print the change again
?  print this help"""


class _Quit(Exception):
    """The person wants to leave."""


class Walk:
    """A person who goes through changes, and whoever takes them back."""

    def __init__(self, source: Answering, *, programs: bool = False) -> None:
        """With `programs` standard output gets each undo as a line of JSON, and standard error the dialogue."""
        self._source = source
        self._programs = programs
        self._dialogue = Dialogue(error=programs)
        self._status = Exit.OK

    def run(self, which: Mapping[str, Any]) -> int:
        """Go through what is left of the turns that are meant; the exit status."""
        entries = [entry for turn in listed(self._source, dict(which))["turns"] for entry in turn["files"]]
        if not entries:
            self._dialogue.say("No change is left.")
            return Exit.OK
        self._dialogue.say(f"{count(len(entries), 'change')}.")
        try:
            for entry in entries:
                self._one(entry)
        except (_Quit, Left, KeyboardInterrupt):
            self._dialogue.say()
        return self._status

    def _one(self, entry: Mapping[str, Any]) -> None:
        """Go through what one file amounts to."""
        try:
            change = self._source.request("changes/show", {"ids": entry["ids"]})
        except Refused as refused:  # taken back or forgotten meanwhile
            self._dialogue.say(f"{shown(entry['path'])}: {sentence(refused.message)}")
            return
        self._dialogue.say()
        self._dialogue.say(change_line(change))
        if change["divisible"] and len(change["hunks"]) > 1:
            self._by_hunks(change)
        else:
            self._whole(change)

    def _by_hunks(self, change: Mapping[str, Any]) -> None:
        total = len(change["hunks"])
        chosen: list[int] = []
        leaves = False
        for number in range(1, total + 1):
            lines = [coloured(line) for line in hunk_lines(dict(change), number)]
            answer = self._ask(f"Undo hunk {number}/{total}?", "ynadqp?", HUNK_HELP, lines, first=number == 1)
            if answer == "y":
                chosen.append(number)
            elif answer == "a":
                chosen += range(number, total + 1)
            leaves = answer == "q"
            if answer in "adq":
                break
        if chosen:
            self._undo(change, None if len(chosen) == total else chosen)
        if leaves:
            raise _Quit

    def _whole(self, change: Mapping[str, Any]) -> None:
        lines = [coloured(line) for line in whole(dict(change))]
        answer = self._ask("Undo it?", "ynqp?", WHOLE_HELP, lines, first=True)
        if answer == "y":
            self._undo(change, None)
        elif answer == "q":
            raise _Quit

    def _ask(self, question: str, answers: str, explained: str, lines: Sequence[str], *, first: bool) -> str:
        """Print lines and ask about them: one letter of `answers` but `p` and `?`, which are answered here."""
        self._dialogue.page(lines)
        if first:
            self._dialogue.discard()
        while True:
            answer = self._dialogue.ask(f"{question} [{','.join(answers)}] ")
            if answer == "p":
                self._dialogue.page(lines)
            elif answer and len(answer) == 1 and answer != "?" and answer in answers:
                return answer
            else:
                self._dialogue.say(explained)

    def _undo(self, change: Mapping[str, Any], hunks: Sequence[int] | None) -> None:
        """Take a change back, or some of its hunks, and say what became of it."""
        which: dict[str, Any] = {"ids": change["ids"]}
        if hunks is not None:
            which["hunks"] = list(hunks)
        try:
            answer = self._source.request("undo", which)
        except Refused as refused:
            if refused.code == REFUSED:
                raise
            self._dialogue.say(sentence(refused.message))
            self._status = Exit.FAILED
            return
        if self._programs:
            print_json(answer, line=True)
        for line in told(answer, self._source):
            self._dialogue.say(line)
        self._status = max(self._status, status_of(answer))
