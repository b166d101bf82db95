"""Owns what a server tells of two texts, made without a server: for tests of what is shown of it."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from typing import Any

from pairside.hunks import split
from pairside.tui.rows import Comparison


def hunks_of(old: str, new: str) -> list[dict[str, int]]:
    """The hunks between two texts, as `review/show` and `changes/show` have them."""
    matcher = difflib.SequenceMatcher(None, split(old), split(new), autojunk=False)
    found = [one for one in matcher.get_opcodes() if one[0] != "equal"]
    return [
        {"number": number, "old_start": a, "old_count": b - a, "new_start": c, "new_count": d - c}
        for number, (_, a, b, c, d) in enumerate(found, 1)
    ]


def compared(old: str, new: str, *, divisible: bool = True) -> Comparison:
    """Two texts, compared."""
    return Comparison.of(old, new, hunks_of(old, new), divisible=divisible)


def proposal(
    id: int, name: str, old: str | None, new: str, *, found: list[dict[str, int]] | None = None, **facts: Any
) -> dict[str, Any]:
    """What `review/show` says of a proposal for a file of the current folder; `found` are its hunks, where known."""
    hunks = hunks_of(old or "", new) if found is None else found
    return {
        "id": id, "client_id": 1, "agent": "Claude Code", "pid": 1, "path": os.path.join(os.getcwd(), name),
        "new_file": old is None, "outside_workspace": False, "changed_on_disk": False,
        "added": sum(one["new_count"] for one in hunks), "removed": sum(one["old_count"] for one in hunks),
        "opened_at": 0.0, "original_exists": old is not None, "divisible": True, "hunk_count": len(hunks),
        "hunks": hunks, "cut": False, "original": old, "proposed": new, **facts,
    }  # fmt: skip


class Proposals:
    """Answers for a view of proposals: shows them, and takes each verdict."""

    def __init__(self, *told: dict[str, Any]) -> None:
        self.told = told
        self.asked: list[tuple[str, Mapping[str, Any]]] = []

    async def ask(self, method: str, params: Mapping[str, Any]) -> Any:
        """What a server would answer."""
        (found,) = (one for one in self.told if one["id"] == params["id"])
        if method == "review/show":
            return found
        self.asked.append((method, params))
        outcome = "rejected" if method == "review/reject" else "accepted"
        return {"id": found["id"], "path": found["path"], "agent": found["agent"], "outcome": outcome}
