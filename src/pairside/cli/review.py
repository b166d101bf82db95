"""Owns the review at the terminal: one proposal after the other, hunk by hunk, in the way of `git add -p`."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from typing import Any

import click

from pairside import runtime
from pairside.cli.client import NOT_PENDING, RECONNECT_SECONDS, REFUSED, Closed, Refused, Server, find
from pairside.cli.common import choosing, coloured, print_json, told
from pairside.cli.decide import ask_about, review_id
from pairside.cli.exits import Exit, Failure
from pairside.cli.terminal import Dialogue, Left
from pairside.phrases import (
    WHY_NO_REVIEW,
    Commentary,
    count,
    headline,
    hunk_lines,
    sentence,
    shown,
    verdict,
    warnings,
    whole,
)
from pairside.text import printable

HUNK_HELP = """\
A letter, then Enter:
y  accept this hunk
n  leave this hunk out
a  accept this and all that follow
d  leave out this and all that follow
e  edit the proposal in your editor
s  skip this review: it stays pending
q  quit: all that is pending stays so
p  print the hunk again
?  print this help
After the last hunk the agent is told:
the hunks that were accepted are the
proposal; none of them is a rejection."""
WHOLE_HELP = """\
A letter, then Enter:
y  accept the proposal
n  reject it
e  edit it in your editor
s  skip this review: it stays pending
q  quit: all that is pending stays so
p  print the proposal again
?  print this help"""
EDIT_HELP = """\
A letter, then Enter:
y  accept the edited text
n  reject the proposal
e  edit again
s  skip this review: it stays pending
q  quit: all that is pending stays so
?  print this help"""


class Quit(Exception):
    """The person wants to leave."""


class Skipped(Exception):
    """The review stays pending."""


class Decided(Exception):
    """The review was decided here; `told` is what the server said."""

    def __init__(self, told: dict[str, Any]) -> None:
        super().__init__()
        self.told = told


class Overtaken(Exception):
    """Somebody else decided the review; the message says who."""


class Session:
    """A person who reviews, and the server whose reviews they are."""

    def __init__(
        self, server: Server, *, programs: bool = False, commentary: Commentary | None = None, ends: bool = False
    ) -> None:
        """With `programs` standard output gets each decision as a line of JSON, and standard error the dialogue.

        A `commentary` tells other events between reviews. With `ends` the server stops when the person leaves.
        """
        self._leave = "stop the server" if ends else "leave"
        self._server = server
        self._programs = programs
        self._dialogue = Dialogue(error=programs)
        self._commentary = commentary
        self._current: int | None = None
        self._over: dict[str, Any] | None = None
        """The event that ended the current review elsewhere."""
        self._skipped: set[int] = set()
        self._over_here: set[int] = set()
        """The reviews decided here or found decided; they may be listed until their agent has taken the answer."""
        self._fresh = False
        """A proposal came since we last looked."""
        self._untold: list[str] = []
        self._restarting = False
        """The server has said that it is going to be started anew."""

    # The loop.

    def run(self, *, only: int | None = None, once: bool = False) -> int:
        """Review what is pending and then what comes, until the person leaves; the exit status.

        With `only` it is about that review alone, with `once` about those that are pending now.
        """
        status = None
        try:
            self._server.follow()
            if self._commentary is not None and only is None and not once:
                self._tell_earlier_changes()
            now = {review["id"] for review in self._server.request("reviews")}
            while True:
                self._hear()
                self._fresh = False
                pending = self._server.request("reviews")
                waiting = [
                    review
                    for review in pending
                    if review["id"] not in self._skipped | self._over_here
                    and only in (None, review["id"])
                    and (not once or review["id"] in now)
                ]
                if waiting:
                    status = self._one(waiting[0], pending)
                elif only is not None or once:
                    return self._none_left(only) if status is None else status if only is not None else Exit.OK
                else:
                    self._tell()
                    self._await_proposal()
        except (Quit, Left, KeyboardInterrupt):
            self._dialogue.say()
            return Exit.OK
        except Closed:
            self._dialogue.say()
            if self._restarting:
                return self._again(only=only, once=once)
            raise Failure(self._gone(), Exit.NO_SERVER) from None

    def _tell_earlier_changes(self) -> None:
        """Say what nobody who watched here was told when it happened."""
        changes = self._server.request("status")["unreviewed_changes"]
        if changes:
            go = "Go through what was changed: pairside review --changes"
            self._dialogue.say(f"! {count(changes, 'change')} so far without a review here. {WHY_NO_REVIEW} {go}")

    def _again(self, *, only: int | None, once: bool) -> int:
        """Go on with a server that was started anew; its agents come back, and what was pending is in their terminals.

        Raises:
            Failure: It did not come back.
        """
        try:
            self._server.reconnect(RECONNECT_SECONDS)
        except Closed:
            raise Failure(f"pairside on port {self._server.port} was to start anew and is not there.") from None
        self._dialogue.say(f"pairside {printable(self._server.facts['version'])} was started anew.")
        self._restarting = False
        self._skipped.clear()
        self._over_here.clear()
        return Exit.OK if only is not None or once else self.run()

    def _gone(self) -> str:
        """What to say when the server is there no more."""
        port = self._server.port
        pending = "What was pending can be answered in the agent's terminal."
        if not os.path.exists(runtime.socket_path(runtime.directory(os.environ), port)):
            return f"pairside on port {port} has stopped. {pending}"
        folders = " ".join(f"--workspace {shlex.quote(folder)}" for folder in self._server.folders)
        return (
            f"pairside on port {port} was killed. {pending} "
            f"Started again at once it finds its agents again: pairside serve {printable(folders)}"
        )

    def _none_left(self, only: int | None) -> int:
        """The end of a command that found nothing to review.

        Raises:
            Failure: Always, with the fitting status.
        """
        if only is not None:
            ask_about(self._server, "review/show", {"id": only})
        raise Failure("No review is pending.", Exit.NONE_PENDING)

    def _await_proposal(self) -> None:
        """Wait until there may be something to review."""
        dialogue = self._dialogue
        skipped = f" {count(len(self._skipped), 'review')} skipped: Enter to go back." if self._skipped else ""
        waiting = f"Waiting for a proposal.{skipped} q and Enter, or Ctrl-C, to {self._leave}."
        if dialogue.last != waiting:  # a proposal that was gone before it could be shown is no reason to say it again
            dialogue.say(waiting)
        while not self._fresh:
            seconds = self._commentary.patience if self._commentary else None
            if dialogue.interactive:
                line = dialogue.line(self._server, self._hear_while_waiting, seconds=seconds)
            else:
                dialogue.wait(self._server, self._hear_while_waiting, seconds=seconds)
                line = None
            if line is None:
                self._hear_while_waiting()
            elif line.strip().lower() in ("q", "quit"):
                raise Quit
            elif self._skipped:
                self._skipped.clear()
                return

    # News from the server.

    def _hear(self) -> bool:
        """Take in what the server has told; returns whether the current review still awaits a verdict."""
        for event in self._server.events():
            if event["kind"] == "review":
                self._fresh = True
            if event["kind"] == "restarting":
                self._restarting = True
            if event["kind"] == "decided":
                self._skipped.discard(event["review"])
                if event["review"] in self._over_here:
                    continue
                if event["review"] == self._current:
                    self._over = event
                    continue
            if self._commentary is not None:
                self._untold += self._commentary.lines(event)
        return self._over is None

    def _hear_while_waiting(self) -> bool:
        self._hear()
        self._tell()
        return not self._fresh

    def _tell(self) -> None:
        """Say what happened besides the review; not while a question stands."""
        if self._commentary is not None:
            self._untold += self._commentary.overdue()
        for line in self._untold:
            self._dialogue.say(line)
        self._untold.clear()

    # One review.

    def _one(self, review: dict[str, Any], pending: Sequence[dict[str, Any]]) -> int:
        """Review one proposal, until it is decided or skipped; the exit status for whoever wanted this one."""
        self._current, self._over = review["id"], None
        try:
            told = self._server.request("review/show", {"id": review["id"]})
            self._tell()
            self._dialogue.say()
            for line in (headline(told), *warnings(told, pending)):
                self._dialogue.say(line)
            more = sum(1 for one in pending if one["id"] not in self._skipped | self._over_here) - 1
            if more:
                self._dialogue.say(f"({count(more, 'more review')} after this one)")
            if told["divisible"] and len(told["hunks"]) > 1:
                self._by_hunks(told)
            else:
                self._whole(told)
        except Skipped:
            self._skipped.add(review["id"])
            self._dialogue.say(f"Review {review['id']} stays pending.")
        except Decided:
            pass
        except Overtaken as overtaken:
            self._dialogue.say(str(overtaken))
            return Exit.DECIDED
        except Refused as refused:
            if refused.code == REFUSED:
                raise
            self._dialogue.say(sentence(refused.message))
            if refused.code != NOT_PENDING:
                self._skipped.add(review["id"])
                return Exit.FAILED
            self._over_here.add(review["id"])
            return Exit.DECIDED
        finally:
            self._current = None
        return Exit.OK

    def _ask(self, question: str, answers: str, explained: str) -> str:
        """The answer, one letter of `answers`; any other one has them explained.

        Raises:
            Overtaken: Somebody else decided meanwhile.
            Quit, Skipped: The person wants that.
        """
        while True:
            answer = self._dialogue.ask(f"{question} [{','.join(answers)}] ", self._server, self._hear)
            if answer is None:
                assert self._over is not None
                over = self._over
                self._dialogue.say()
                by = printable(over["by"])
                raise Overtaken(
                    sentence(f"review {over['review']} ({shown(over['path'])}) was {over['outcome']} by {by}")
                )
            if answer == "q":
                raise Quit
            if answer == "s":
                raise Skipped
            if len(answer) == 1 and answer != "?" and answer in answers:
                return answer
            self._dialogue.say(explained)

    def _by_hunks(self, told: dict[str, Any]) -> None:
        total = len(told["hunks"])
        chosen: list[int] = []
        number = 1
        while number <= total:
            lines = [coloured(line) for line in hunk_lines(told, number)]
            self._dialogue.page(lines)
            if number == 1:
                self._dialogue.discard()
            answer = "p"
            while answer == "p":
                answer = self._ask(f"Accept hunk {number}/{total}?", "ynadesqp?", HUNK_HELP)
                if answer == "p":
                    self._dialogue.page(lines)
            if answer == "e":
                self._edit(told, left_out=[one for one in range(1, number) if one not in chosen])
                continue
            if answer == "y":
                chosen.append(number)
            elif answer in "ad":
                chosen += range(number, total + 1) if answer == "a" else ()
                break
            number += 1
        if not chosen:
            self._reject(told)
        self._accept(told, None if len(chosen) == total else chosen)

    def _whole(self, told: dict[str, Any]) -> None:
        lines = [coloured(line) for line in whole(told)]
        self._dialogue.page(lines)
        self._dialogue.discard()
        while True:
            answer = self._ask("Accept?", "ynesqp?", WHOLE_HELP)
            if answer == "p":
                self._dialogue.page(lines)
            elif answer == "e":
                self._edit(told)
            elif answer == "y":
                self._accept(told)
            else:
                self._reject(told)

    def _edit(self, told: dict[str, Any], left_out: Sequence[int] = ()) -> None:
        """Let the person edit the proposal, without the hunks that they left out; returns if they could not."""
        from pairside.cli.texts import edited as edited_in
        from pairside.draft import Draft

        text = told["proposed"]
        if left_out:
            text = _without(told, left_out)
        with Draft(text, told["path"]) as draft:
            edited = text
            try:
                while True:
                    edited = edited_in(draft)
                    answer = self._ask("Accept the edited text?", "ynesq?", EDIT_HELP)
                    if answer == "n":
                        self._reject(told)
                    if answer == "y":
                        self._accept(told, text=edited)
            except Decided:
                raise
            except BaseException as error:
                if isinstance(error, Failure):
                    self._dialogue.say(error.message)
                if edited != text and not draft.kept:
                    draft.keep()
                    self._dialogue.say()
                    self._dialogue.say(f"The edited text is kept in {draft.path}")
                if not isinstance(error, Failure):
                    raise

    def edit_alone(self, told: dict[str, Any]) -> dict[str, Any] | None:
        """Edit one proposal and decide it; what the server said, or None if it stays pending.

        Raises:
            Failure: The editor failed, or somebody else was first.
        """
        self._current = told["id"]
        self._server.follow()
        try:
            self._edit(told)
        except Decided as decided:
            return decided.told
        except Overtaken as overtaken:
            raise Failure(str(overtaken), Exit.DECIDED) from None
        except (Skipped, Quit, Left, KeyboardInterrupt):
            self._dialogue.say(f"Review {told['id']} stays pending.")
            return None
        except Refused as refused:
            if refused.code != NOT_PENDING:
                raise
            raise Failure(sentence(refused.message), Exit.DECIDED) from None
        raise Failure(f"Review {told['id']} stays pending.")

    # Decisions.

    def _accept(self, told: dict[str, Any], hunks: list[int] | None = None, text: str | None = None) -> None:
        params: dict[str, Any] = {"id": told["id"]}
        if hunks is not None:
            params["hunks"] = hunks
        if text is not None:
            params["text"] = text
        self._decide(told, "review/accept", params, hunks)

    def _reject(self, told: dict[str, Any]) -> None:
        self._decide(told, "review/reject", {"id": told["id"]}, None)

    def _decide(self, told: dict[str, Any], method: str, params: dict[str, Any], hunks: list[int] | None) -> None:
        self._over_here.add(told["id"])
        try:
            answer = self._server.request(method, params)
        except Refused:
            self._over_here.discard(told["id"])
            raise
        if self._programs:
            print_json(answer, line=True)
        self._dialogue.say(verdict(answer, hunks, stale=told["changed_on_disk"]))
        raise Decided(answer)


def _without(told: dict[str, Any], left_out: Sequence[int]) -> str:
    """The proposal with some of its hunks left as they were."""
    from pairside.hunks import Hunk, apply

    hunks = [
        Hunk(hunk["number"], hunk["old_start"], tuple(hunk["old"]), hunk["new_start"], tuple(hunk["new"]))
        for hunk in told["hunks"]
    ]
    return apply(told["original"] or "", hunks, {hunk.number for hunk in hunks} - set(left_out))


@click.command()
@review_id
@click.option("--once", is_flag=True, help="Review what is pending now, and do not wait for more.")
@click.option("--changes", is_flag=True, help="Go through what agents have changed, and undo of it what you like.")
@click.option("--turn", metavar="N", type=click.IntRange(1), help="With --changes: what this turn changed.")
@click.option("--json", "as_json", is_flag=True, help="Print each decision as a line of JSON; ask on standard error.")
@choosing
@click.pass_context
def review(
    context: click.Context,
    id: int | None,
    once: bool,
    changes: bool,
    turn: int | None,
    as_json: bool,
    port: int | None,
    workspace: str | None,
) -> None:
    """Review proposals hunk by hunk as they come.

    With ID it is about that one alone. For each hunk: y accepts it, n leaves it out, a and d do so for all that
    follow, e edits the proposal in $VISUAL or $EDITOR, s skips the review, q quits, ? helps. What is skipped, and all
    that is pending at the end, stays pending.

    With --changes it is about what was written already, in the latest turn or in turn N: y undoes a hunk, n keeps it.
    That works where no server runs, too.
    """
    if not changes:
        if turn is not None:
            raise Failure("--turn is for --changes.", Exit.USAGE)
        server = find(port=port, workspace=workspace)
        with told(server):
            session = Session(server, programs=as_json, commentary=Commentary(warnings=True))
            context.exit(session.run(only=id, once=once))
    if id is not None or once:
        raise Failure("--changes is about changes, not about proposals: leave ID and --once out.", Exit.USAGE)
    from pairside.cli.kept import answering
    from pairside.cli.walk import Walk

    with answering(port, workspace) as source:
        context.exit(Walk(source, programs=as_json).run({} if turn is None else {"turn": turn}))
