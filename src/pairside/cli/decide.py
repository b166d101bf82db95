"""Owns the commands that decide a proposal: accept, reject, edit."""

from __future__ import annotations

import re
from typing import Any

import click
from click.shell_completion import CompletionItem

from pairside.cli.client import NOT_PENDING, Refused, Server, find
from pairside.cli.common import as_json, asks, print_json
from pairside.cli.exits import Exit, Failure
from pairside.phrases import headline, sentence, verdict

_NUMBERS = re.compile(r"([0-9]{1,9})(?:-([0-9]{1,9}))?")


class ReviewId(click.ParamType[int]):
    """The number of a review; shells complete those that are pending."""

    name = "review"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The number."""
        if isinstance(value, int):
            return value
        if not re.fullmatch(r"[0-9]{1,15}", value):
            self.fail(f"{value!r} is not the number of a review", param, ctx)
        return int(value)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """The pending reviews of the current folder."""
        try:
            server = find(port=ctx.params.get("port"), workspace=ctx.params.get("workspace"))
            pending = server.request("reviews")
        except Exception:
            return []  # a shell that completes must not show an error
        return [
            CompletionItem(str(review["id"]), help=headline(review))
            for review in pending
            if str(review["id"]).startswith(incomplete)
        ]


review_id = click.argument("id", metavar="[ID]", type=ReviewId(), required=False)


class HunkNumbers(click.ParamType[list[int]]):
    """Numbers of hunks: `1,3` or `1-3,5`."""

    name = "numbers"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> list[int]:
        """The numbers, sorted."""
        if isinstance(value, list):
            return value
        chosen = numbers(value)
        if chosen is None:
            self.fail(f"{value!r} is no list of hunks; say for example 1,3 or 1-3", param, ctx)
        return chosen


def numbers(text: str) -> list[int] | None:
    """The numbers, each once and sorted, that stand in a text like `1,3` or `1-3,5`; None if that is not what it is."""
    chosen: set[int] = set()
    for part in text.split(","):
        match = _NUMBERS.fullmatch(part.strip())
        if match is None or int(match[1]) == 0 or int(match[2] or match[1]) - int(match[1]) not in range(100_000):
            return None
        chosen.update(range(int(match[1]), int(match[2] or match[1]) + 1))
    return sorted(chosen)


def meant(server: Server, id: int | None) -> tuple[int, list[dict[str, Any]]]:
    """The review that is meant, and all that are pending: the one of that id, else the only one.

    Raises:
        Failure: None is pending, or several are.
    """
    pending: list[dict[str, Any]] = server.request("reviews")
    if id is not None:
        return id, pending
    if not pending:
        raise Failure("No review is pending.", Exit.NONE_PENDING)
    if len(pending) > 1:
        listed = "\n".join(f"  {headline(review)}" for review in pending)
        raise Failure(f"{len(pending)} reviews are pending. Say which:\n{listed}", Exit.USAGE)
    return pending[0]["id"], pending


def ask_about(server: Server, method: str, params: dict[str, Any]) -> dict[str, Any]:
    """Ask about one review, or decide it.

    Raises:
        Failure: It is not pending: somebody was first, or it never was.
        Refused: The server says no for another reason.
    """
    try:
        answer: dict[str, Any] = server.request(method, params)
    except Refused as refused:
        if refused.code != NOT_PENDING:
            raise
        status = Exit.DECIDED if "outcome" in refused.data else Exit.NONE_PENDING
        raise Failure(sentence(refused.message), status) from None
    return answer


@click.command()
@review_id
@click.option("--hunks", metavar="1,3", type=HunkNumbers(), help="Accept these hunks only, as numbered by show.")
@click.option(
    "--text-file",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, allow_dash=True),
    help="Accept the text in this file in place of the proposal; - for standard input.",
)
@as_json
@asks
def accept(server: Server, id: int | None, hunks: list[int] | None, text_file: str | None, as_json: bool) -> None:
    """Accept a proposal, some of its hunks or another text.

    Without ID the only pending one is meant. A text must be UTF-8 and reaches the agent byte for byte; only one with
    CRLF at the end of every line is given with LF, which the agent turns back where the file has CRLF.
    """
    if hunks is not None and text_file is not None:
        raise Failure("Say either --hunks or --text-file.", Exit.USAGE)
    text = None
    if text_file is not None:
        from pairside.cli.texts import from_file

        text = from_file(text_file)
    id, pending = meant(server, id)
    params: dict[str, Any] = {"id": id}
    if hunks is not None:
        params["hunks"] = hunks
    if text is not None:
        params["text"] = text
    told = ask_about(server, "review/accept", params)
    if as_json:
        print_json(told)
        return
    stale = any(review["id"] == id and review["changed_on_disk"] for review in pending)
    click.echo(verdict(told, hunks, stale=stale))


@click.command()
@review_id
@as_json
@asks
def reject(server: Server, id: int | None, as_json: bool) -> None:
    """Reject a proposal.

    The agent stops and waits for the person in its terminal. Without ID the only pending one is meant.
    """
    id, _ = meant(server, id)
    told = ask_about(server, "review/reject", {"id": id})
    if as_json:
        print_json(told)
    else:
        click.echo(verdict(told))


@click.command()
@review_id
@as_json
@asks
def edit(server: Server, id: int | None, as_json: bool) -> None:
    """Edit a proposal, then accept or reject it.

    The editor is $VISUAL or $EDITOR. After it the edited text can be accepted, edited again, rejected or left. Without
    ID the only pending one is meant. What the editor saves reaches the agent byte for byte, as with accept --text-file.
    """
    from pairside.cli.review import Session

    id, _ = meant(server, id)
    told = Session(server, programs=as_json).edit_alone(ask_about(server, "review/show", {"id": id}))
    if as_json and told is None:
        print_json({"id": id, "outcome": "pending"}, line=True)
