"""Owns how proposals, changes and events read as lines for a person.

Nothing from an agent gets into such a line as it is: names go through `printable`, lines of files through
`printable_line`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from pairside.journal import is_unasked
from pairside.text import printable, printable_line

NO_NEWLINE = "\\ No newline at end of file"
IDS_CHARACTERS = 20
"""Longer lists of changes are told in brief where there is little room."""
NAMES = 5
"""So many open files are named in a line."""

REASONS = {
    "closed": "it said goodbye",
    "lost": "the connection broke without a goodbye",
    "violation": "it broke the rules of the protocol",
    "unresponsive": "it gave no sign of life or took nothing any more",
    "shutdown": "this server stopped",
    "crashed": "a defect of pairside; see the log on standard error",
}


def shown(path: str) -> str:
    """A path for a person: relative to the current folder where it lies inside."""
    try:
        here = os.getcwd()
    except OSError:
        here = "/"
    inside = here.rstrip("/") + "/"
    return printable(path[len(inside) :] if path.startswith(inside) else path)


def agent_of(facts: dict[str, Any]) -> str:
    """What an agent is called."""
    return printable(facts.get("agent") or "") or "The agent"


def count(number: int, one: str, many: str | None = None) -> str:
    """A number and its noun."""
    return f"{number} {one if number == 1 else many or one + 's'}"


def sentence(text: str) -> str:
    """A message as a sentence of its own."""
    text = text[:1].upper() + text[1:]
    return text if text.endswith((".", "!", "?", ")")) else text + "."


def clock(at: float) -> str:
    """A moment, given in seconds since the epoch, as the time of day; with the date if it was another day."""
    then = time.localtime(at)
    today = then[:3] == time.localtime()[:3]
    return time.strftime("%H:%M:%S" if today else "%Y-%m-%d %H:%M:%S", then)


def amount(facts: Mapping[str, Any]) -> str:
    """How many lines came and went, after a blank; nothing where that is not known."""
    return "" if facts["added"] is None else f" +{facts['added']} -{facts['removed']}"


def width_of(text: str) -> int:
    """How many columns a text without control characters takes in a terminal."""
    if text.isascii():
        return len(text)
    import unicodedata

    wide = sum(1 for one in text if unicodedata.east_asian_width(one) in "WF")
    return len(text) + wide - sum(1 for one in text if unicodedata.combining(one))


# Proposals.


def sizes(review: dict[str, Any]) -> str:
    """How much a proposal or a change adds and removes, in parentheses; nothing where that is not known."""
    if review["added"] is None:
        return ""
    return f" (+{review['added']} -{review['removed']})"


def headline(review: dict[str, Any]) -> str:
    """One line that says what is proposed."""
    what = "a new file " if review["new_file"] else ""
    return f"Review {review['id']}: {agent_of(review)} proposes {what}{shown(review['path'])}{sizes(review)}"


def warnings(review: dict[str, Any], others: Sequence[dict[str, Any]] = ()) -> Iterator[str]:
    """What a person should know before deciding. `others` are the pending reviews."""
    if review["outside_workspace"]:
        yield "Warning: this file lies outside the workspace."
    if review["changed_on_disk"]:
        yield (
            f"Warning: the file changed on disk after this was proposed: {agent_of(review)} will refuse to write it."
        )
    same = [str(one["id"]) for one in others if one["path"] == review["path"] and one["id"] != review["id"]]
    if same:
        yield f"Warning: review {', '.join(same)} is for the same file."
    if review.get("divisible") is False:
        yield "The file as it is cannot be shown as text: accept or reject the whole proposal."


def split(text: str) -> list[str]:
    """The lines of a text with their ends; only LF ends a line."""
    lines = text.split("\n")
    last = lines.pop()
    return [line + "\n" for line in lines] + ([last] if last else [])


def hunk_lines(told: dict[str, Any], number: int, *, start: int = 0) -> Iterator[str]:
    """One hunk of a proposal as in a unified diff, with the unchanged lines around it.

    `number` counts from 1. No line of the original before `start` is shown.
    """
    hunk = told["hunks"][number - 1]
    before = hunk["before"][max(0, start - (hunk["old_start"] - len(hunk["before"]))) :]
    around = len(before) + len(hunk["after"])
    old = _place(hunk["old_start"] - len(before), around + hunk["old_count"])
    new = _place(hunk["new_start"] - len(before), around + hunk["new_count"])
    yield f"@@ -{old} +{new} @@ hunk {number} of {told['hunk_count']}"
    for mark, lines in ((" ", before), ("-", hunk["old"]), ("+", hunk["new"]), (" ", hunk["after"])):
        for line in lines:
            yield from marked(mark, line)


def _place(start: int, lines: int) -> str:
    """A start and a length as a unified diff says them: a length of 0 names the line before."""
    return f"{start + 1 if lines else start},{lines}"


def marked(mark: str, line: str) -> Iterator[str]:
    """A line of a file as a line of a diff."""
    yield mark + printable_line(line.removesuffix("\n"))
    if not line.endswith("\n"):
        yield NO_NEWLINE


def all_hunks(told: dict[str, Any]) -> Iterator[str]:
    """The hunks of a comparison with their numbers; no line that is around two of them comes twice."""
    shown_to = 0
    for number, hunk in enumerate(told["hunks"], 1):
        yield from hunk_lines(told, number, start=shown_to)
        shown_to = hunk["old_start"] + hunk["old_count"] + len(hunk["after"])


def whole(told: dict[str, Any]) -> Iterator[str]:
    """All that a proposal changes: its hunks, or its text where there is nothing to compare with."""
    if not told["divisible"]:
        for line in split(told.get("proposed", "")):
            yield from marked("+", line)
        return
    yield from all_hunks(told)
    if not told["hunks"]:
        yield "An empty file." if told["new_file"] else "It changes nothing."


def verdict(told: dict[str, Any], hunks: Sequence[int] | None = None, *, stale: bool = False) -> str:
    """What to say after a decision, by how the server took it.

    `hunks` are the numbers of those that were accepted; `stale` says that the file changed after it was proposed.
    """
    if told["outcome"] != "accepted":
        return f"Rejected. {agent_of(told)} waits: tell it in its terminal what to do instead."
    part = ""
    if hunks is not None:
        part = f"{'hunk' if len(hunks) == 1 else 'hunks'} {', '.join(map(str, hunks))} of "
    if stale:
        then = f"but the file changed after it was proposed, so {agent_of(told)} will refuse to write it."
        return f"Accepted {part}{shown(told['path'])}, {then}"
    return f"Accepted {part}{shown(told['path'])}: {agent_of(told)} writes it now."


# Changes.


KINDS = {"mode": "permissions"}
"""What a kind is called, if not as it is."""
MEANS = (
    "By other means: by a command that the agent ran in its shell, or by anybody else while it was at work.",
    "After its last sign of work: hardly the agent's. The undo of a turn leaves it; by its number it is taken back.",
)
BECOMES = {"new": ", it is back", "deleted": ", it is gone", "mode": ", its permissions"}
"""What the undo does to a file, where it does not only change its lines."""
WOULD = {"new": ", it comes back", "deleted": ", it goes", "mode": ", its permissions"}


def turn_line(turn: dict[str, Any]) -> str:
    """One line about a turn."""
    whose = f"undo by {printable(turn['agent'])}" if turn["is_undo"] else who(turn)
    line = f"Turn {turn['turn']}  {whose}, {clock(turn['began_at'])}"
    files = len({entry["path"] for entry in turn["files"]})
    return f"{line}: {count(files, 'file')}{_total(turn['files'])}" if files else f"{line}: nothing of it is left"


def _total(entries: Iterable[dict[str, Any]]) -> str:
    known = [entry for entry in entries if entry["added"] is not None]
    if not known:
        return ""
    return amount({"added": sum(one["added"] for one in known), "removed": sum(one["removed"] for one in known)})


def change_facts(entry: Mapping[str, Any], known: Mapping[int, dict[str, Any]] | None = None) -> str:
    """What became of a file, by how much, and what else is to be known: of a change, or of several as one.

    `known` are the changes by their numbers.
    """
    text = KINDS.get(entry["kind"], entry["kind"])
    if entry["kind"] != "mode":
        text += amount(entry)
    if entry["note"]:
        text += f" [{printable(entry['note'])}]"
    means = means_of(entry)
    own = [known[id] for id in entry["ids"] if id in known] if known and "ids" in entry else [entry]
    part = "in part " if "edit" in means else ""
    marks = []
    if "other" in means:
        marks.append(f"{part}by other means")
    if entry["reviewed"]:
        marks.append("reviewed")
    if entry["late"]:
        marks.append(f"{part}after its last sign of work")
    if "edit" not in means and "other" not in means:
        undoes = sorted({id for one in own for id in one.get("undoes", ())})
        marks.append(f"takes back {ids_text(undoes)}" if undoes else "an undo")
    states = {one.get("state", "written") for one in own}
    if states == {"undone"}:
        marks.append("undone")
    elif not states.isdisjoint(("undone", "partly undone")):
        marks.append("partly undone")
    return ", ".join([text, *marks])


def means_of(entry: Mapping[str, Any]) -> list[str]:
    """By which means something was changed, all of them."""
    means = entry["means"]
    return [means] if isinstance(means, str) else list(means)


def ids_text(ids: Sequence[int]) -> str:
    """Numbers of changes as undo takes them: `5,7`, and `5-8` for those that follow one another."""
    parts: list[list[int]] = []
    for id in ids:
        if parts and id == parts[-1][-1] + 1:
            parts[-1].append(id)
        else:
            parts.append([id])
    return ",".join(f"{part[0]}-{part[-1]}" if len(part) > 2 else ",".join(map(str, part)) for part in parts)


def change_line(told: Mapping[str, Any], *, brief: bool = False) -> str:
    """One line about what is shown in full; with `brief` of many numbers only the first and the last."""
    ids = told["ids"]
    number = "Change" if len(ids) == 1 else "Changes"
    numbers = ids_text(ids)
    if brief and len(numbers) > IDS_CHARACTERS:
        numbers = f"{ids[0]} to {ids[-1]} ({len(ids)} of them)"
    return f"{number} {numbers}: {shown(told['path'])}  {change_facts(told)}"


def undo_line(file: Mapping[str, Any], *, dry_run: bool = False) -> str:
    """What became of a file of an undo, or would, without the lines of conflicts."""
    path, outcome = shown(file["path"]), file["outcome"]
    if outcome == "undone":
        size = "" if file["kind"] == "mode" else amount(file)
        how = (WOULD if dry_run else BECOMES).get(file["kind"], "")
        change = "" if file["change"] is None else f" (change {file['change']})"
        return f"{'Would be undone' if dry_run else 'Undone'}: {path}{size}{how}{change}"
    if outcome == "nothing":
        return f"Nothing to do: {path}: {_clause(file['why'])}"
    return f"Not undone: {path}: {_clause(file['why'])}"


def _clause(why: str) -> str:
    text = printable(why)
    return text if text.endswith((".", "!", "?", ")")) else text + "."


# What is shared.


def place(path: str, first: int | None = None, last: int | None = None) -> str:
    """A file, or its lines from `first` to `last`, which count from 0, as a person counts them."""
    if first is None or last is None:
        return shown(path)
    lines = f"line {first + 1}" if first == last else f"lines {first + 1} to {last + 1}"
    return f"{lines} of {shown(path)}"


def sharing(told: dict[str, Any]) -> Iterator[str]:
    """What agents are told at this moment."""
    if not told["on"]:
        yield "Sharing is off, agents are told nothing: pairside share on"
        return
    now = told["now"]
    parts = []
    selection = now["selection"]
    if selection is not None and selection["characters"]:
        parts.append(place(selection["path"], selection["start"][0], selection["end"][0]))
    if now["open_files"]:
        names = ", ".join(shown(path) for path in now["open_files"][:NAMES])
        more = len(now["open_files"]) - NAMES
        parts.append(f"open: {names}" + (f" and {more} more" if more > 0 else ""))
    if now["diagnostics"]:
        found = sum(now["diagnostics"].values())
        parts.append(f"{count(found, 'diagnostic')} in {count(len(now['diagnostics']), 'file')}")
    yield f"Shared with agents now: {'; '.join(parts) or 'nothing'}."


def never_shared(told: dict[str, Any]) -> Iterator[str]:
    """What agents are never told, by the settings."""
    if not told["on"]:
        return
    off = [name for name in ("selection", "open_files", "diagnostics") if not told[name]]
    if off:
        yield f"Turned off in the settings: {', '.join(f'share.{name}' for name in off)}"
    if told["exclude"]:
        yield f"Never shared: files like {', '.join(map(printable, told['exclude']))}"


# Events.


def who(event: dict[str, Any], *, version: bool = False) -> str:
    """The agent that an event is about."""
    name = agent_of(event)
    if version and event.get("version"):
        name += f" {printable(event['version'])}"
    if event.get("pid") is not None:
        name += f" (pid {event['pid']})"
    return name


def departure(told: dict[str, Any]) -> str:
    """How and why an agent left."""
    code = f" {told['code']}" if told.get("code") is not None else ""
    why = REASONS.get(told["reason"], "")
    detail = printable(told.get("detail") or "")
    explained = "; ".join(part for part in (why, detail) if part)
    return f"{told['reason']}{code}" + (f" ({explained})" if explained else "")


WHY_NO_REVIEW = (
    'It is in a mode that does not ask (auto, accept edits), or its diff tool is "terminal" (/config). '
    "See it: pairside changes. Be asked first: pairside run --review claude, or Shift+Tab in it until it shows "
    "manual mode."
)
"""What a person has to know, once, who believes that they are asked before an agent writes."""


def change(event: dict[str, Any]) -> str:
    """A change; with the first one of an agent that nobody was asked about, why there was none and what to do."""
    path, size = shown(event["path"]), amount(event)
    if event["means"] == "undo":
        return f"{printable(event['agent'])} took back {path}{size} (turn {event['turn']})"
    if event["means"] == "other":
        return f"{path}{size} was changed by other means (turn {event['turn']})"
    if event["reviewed"]:
        return f"{who(event)} wrote {path}{size} (turn {event['turn']})"
    line = f"! {who(event)} changed {path}{size} without a review here."
    return f"{line} {WHY_NO_REVIEW}" if event["first"] else line


def turn_ended(event: dict[str, Any]) -> str:
    """What a turn amounted to, and what to type."""
    parts = [f"{count(event['files'], 'file')}{amount(event)}"]
    if event["unreviewed"]:
        parts.append(f"{count(event['unreviewed'], 'write')} without a review")
    if event["by_other_means"]:
        parts.append(f"{event['by_other_means']} by other means")
    turn = event["turn"]
    what = ", ".join(parts)
    return (
        f"Turn {turn} of {who(event)} is over: {what}. See it: pairside changes --turn {turn}. "
        f"Take it back: pairside undo --turn {turn}"
    )


def undone(event: dict[str, Any]) -> str:
    """What was taken back, and how to have it again."""
    paths = event["paths"]
    names = ", ".join(map(shown, paths[:NAMES])) + (f" and {len(paths) - NAMES} more" if len(paths) > NAMES else "")
    return f"Taken back by {printable(event['by'])}: {names}. Have it again: pairside undo --turn {event['turn']}"


def call(event: dict[str, Any], *, timed: bool = True) -> str:
    """A call of a tool: how it ended, and how long it took where that is not said elsewhere."""
    took = f" ({event['seconds']:.3f} s)" if timed else ""
    return f"Client {event['client_id']} called {printable(event['tool'])}{took}: {printable(str(event['outcome']))}"


def line_of(event: dict[str, Any]) -> str:
    """An event in a line."""
    kind = event["kind"]
    if kind == "connected":
        return f"Client {event['client_id']} arrived"
    if kind == "introduced":
        if event.get("pid") is None:
            return f"Client {event['client_id']} is {who(event, version=True)}"
        return f"{who(event, version=True)} connected"
    if kind == "disconnected":
        return f"{who(event)} left: {departure(event)}"
    if kind == "review":
        return f"Review {event['review']}: {agent_of(event)} proposes {shown(event['path'])}"
    if kind == "decided":
        return f"Review {event['review']} ({shown(event['path'])}): {event['outcome']} by {printable(event['by'])}"
    if kind == "mentioned":
        return f"Mentioned {shown(event['path'])}"
    if kind == "mention-expired":
        return f"The mention of {shown(event['path'])} expired: no agent came within {event['seconds']:g} s"
    if kind == "change":
        return change(event)
    if kind == "turn":
        return f"Turn {event['turn']} of {who(event)} begins"
    if kind == "turn-ended":
        return turn_ended(event)
    if kind == "undone":
        return undone(event)
    if kind == "forgotten":
        return f"Forgot {count(event['changes'], 'change')}"
    if kind == "rival":
        return f"! {printable(event['notice'][:1].upper() + event['notice'][1:])}"
    if kind == "rival-gone":
        return f"The other IDE on port {event['port']} ({printable(event['ide'] or 'unnamed')}) is gone"
    if kind == "sharing":
        return "Sharing is on" if event["on"] else "Sharing is off: agents are told nothing any more"
    if kind == "review-where":
        return f"Proposals are answered {'here' if event['here'] else 'in the terminals of the agents'}"
    if kind == "hook-failed":
        return f"! {event['hook']}: {printable(event['why'])}"
    if kind == "restarting":
        return f"pairside {printable(event['version'])} is started in place of this one"
    if kind == "call":
        return call(event)
    facts = {key: value for key, value in event.items() if key not in ("number", "at", "kind")}
    return printable(f"{kind} {facts}")


class Commentary:
    """Turns events into lines for somebody who watches: who comes and goes in one line each."""

    INTRODUCTION_SECONDS = 1.0
    """An agent says its name first and its process a moment later; one without a process is not waited for longer."""

    WARNINGS = frozenset({"change", "rival", "hook-failed"})
    """What is worth a line to whoever only reviews."""

    def __init__(self, *, calls: bool = False, warnings: bool = False) -> None:
        """With `calls` tool calls are told too; with `warnings` nothing but warnings."""
        self._introductions = not warnings
        self._kinds = set(self.WARNINGS)
        if not warnings:
            self._kinds |= {
                "disconnected", "decided", "mentioned", "mention-expired", "rival-gone", "sharing", "restarting",
                "turn-ended", "undone",
            }  # fmt: skip
        if calls:
            self._kinds.add("call")
        self._introduced: set[int] = set()
        self._nameless: dict[int, tuple[float, dict[str, Any]]] = {}

    def lines(self, event: dict[str, Any]) -> Iterator[str]:
        """The lines that an event is worth."""
        client = event["client_id"]
        if event["kind"] == "introduced":
            if not self._introductions:
                return
            if client in self._introduced:
                return
            if event.get("pid") is None:
                self._nameless[client] = (time.monotonic() + self.INTRODUCTION_SECONDS, event)
                return
            self._nameless.pop(client, None)
            self._introduced.add(client)
            yield self._at(event)
        elif event["kind"] in self._kinds and (event["kind"] != "change" or is_unasked(event)):
            if event["kind"] == "disconnected":
                self._introduced.discard(client)
                self._nameless.pop(client, None)
            yield self._at(event)

    def overdue(self) -> Iterator[str]:
        """The lines for agents whose process stayed unknown."""
        now = time.monotonic()
        for client, (deadline, event) in list(self._nameless.items()):
            if now >= deadline:
                del self._nameless[client]
                self._introduced.add(client)
                yield f"{clock(event['at'])} {who(event, version=True)} connected"

    @property
    def patience(self) -> float | None:
        """In how many seconds to ask for overdue lines; None if there will be none."""
        deadlines = [deadline for deadline, _ in self._nameless.values()]
        return max(0.0, min(deadlines) - time.monotonic()) if deadlines else None

    @staticmethod
    def _at(event: dict[str, Any]) -> str:
        return f"{clock(event['at'])} {line_of(event)}"
