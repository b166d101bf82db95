"""Owns the rounds of a comparison: who does what in which order, what it took, and who could not do it."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping

from bench.figures import Figure, Target, Unavailable, figure

OURS = "pairside"
Work = Callable[[], Mapping[str, float]]
"""Does some work once; what it took, by name."""


class Rounds:
    """The same work by several contenders, over and over.

    In each round every contender does each piece of work once, one right after the other, in an order that changes
    from round to round. The first round warms up and does not count.
    """

    def __init__(self, notes: list[str]) -> None:
        """`notes` takes in why somebody else than pairside did not do something."""
        self._notes = notes
        self._works: dict[str, dict[str, Work]] = {}
        self._taken: dict[tuple[str, str], list[float]] = {}

    def add(self, piece: str, contender: str, work: Work) -> None:
        """Let a contender do a piece of work."""
        self._works.setdefault(piece, {})[contender] = work

    def go(self, count: int) -> None:
        """Do so many rounds that count."""
        for number in range(1 + count):
            for piece, works in self._works.items():
                for name, work in random.sample(list(works.items()), len(works)):
                    try:
                        taken = work()
                    except (Unavailable, OSError) as problem:
                        if name == OURS:
                            raise
                        # What it did before does not count either: rounds are paired.
                        self.forget(piece, name, f"{type(problem).__name__}: {problem}")
                        continue
                    if number:
                        for what, value in taken.items():
                            self._taken.setdefault((what, name), []).append(value)

    def forget(self, piece: str, contender: str, why: str) -> None:
        """A contender does not do a piece of work."""
        self._works[piece].pop(contender, None)
        self._notes.append(f"{contender}, {piece}: {why}")

    def figure(self, what: str, unit: str, label: str = "", target: Target | None = None) -> Figure:
        """What something took: pairside, and beside it each that did it in all rounds, in the order of `add`."""
        ours = self._taken[what, OURS]
        theirs = {
            name: values
            for (taken, name), values in sorted(self._taken.items(), key=lambda item: self._place(item[0][1]))
            if taken == what and name != OURS and len(values) == len(ours)
        }
        return figure(label or what, unit, ours, theirs, target)

    def _place(self, contender: str) -> int:
        names = [name for works in self._works.values() for name in works]
        return names.index(contender) if contender in names else len(names)
