"""Owns what a measurement comes to: a figure, what stands beside it, and whether its target is met."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

NOTHING = "–"
"""Stands where a contender has no figure."""


class Unavailable(Exception):
    """A benchmark cannot run here, or a contender cannot do it; the message says why."""


@dataclass(frozen=True, slots=True)
class Target:
    """A bound: `at_most`, `below` or `at_least` a number."""

    relation: str
    bound: float
    of_value: bool = False
    """It bounds the figure itself although something stands beside it."""

    def __str__(self) -> str:
        sign = {"at_most": "≤", "below": "<", "at_least": "≥"}[self.relation]
        return f"{sign} {self.bound:g}"

    def met(self, value: float) -> bool:
        """Whether a value keeps to it."""
        match self.relation:
            case "at_most":
                return value <= self.bound
            case "below":
                return value < self.bound
            case "at_least":
                return value >= self.bound
        raise ValueError(self.relation)


@dataclass(frozen=True, slots=True)
class Beside:
    """What another one did in the same rounds."""

    name: str
    value: float
    ratio: float | None = None
    """The median of the ratios of the rounds, ours to theirs."""
    quartiles: tuple[float, float] | None = None
    """The first and third quartile of those ratios: half of the rounds lie between them."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table."""

    what: str
    value: float
    unit: str
    beside: tuple[Beside, ...] = ()
    rounds: int = 1
    target: Target | None = None
    """Bounds the ratio to the first that stands beside it; the value where there is none, or it says so."""

    @property
    def bounded(self) -> float | None:
        """What the target bounds; None where there is no target, or what it is about was not measured."""
        if self.target is None:
            return None
        return self.value if self.target.of_value or not self.beside else self.beside[0].ratio

    @property
    def met(self) -> bool | None:
        """Whether the target is met; None where that cannot be said."""
        bounded = self.bounded
        return None if self.target is None or bounded is None else self.target.met(bounded)

    def facts(self) -> dict[str, Any]:
        """All of it, for programs."""
        return {
            "what": self.what,
            "value": self.value,
            "unit": self.unit,
            "beside": {
                one.name: {
                    "value": one.value,
                    "ratio": one.ratio,
                    "quartiles": list(one.quartiles) if one.quartiles else None,
                }
                for one in self.beside
            },
            "rounds": self.rounds,
            "target": str(self.target) if self.target else None,
            "met": self.met,
        }


def figure(
    what: str, unit: str, ours: Sequence[float], theirs: Mapping[str, Sequence[float]], target: Target | None = None
) -> Figure:
    """A figure from paired rounds: the n-th of each were measured next to each other. The target bounds the first."""
    beside = tuple(_beside(name, ours, values) for name, values in theirs.items())
    return Figure(what, statistics.median(ours), unit, beside, len(ours), target)


def compared(
    what: str, unit: str, ours: Sequence[float], yardstick: str, theirs: Sequence[float], target: Target | None = None
) -> Figure:
    """A figure with one yardstick beside it."""
    return figure(what, unit, ours, {yardstick: theirs}, target)


def _beside(name: str, ours: Sequence[float], theirs: Sequence[float]) -> Beside:
    ratios = [our / their for our, their in zip(ours, theirs, strict=True) if their]
    if not ratios:  # a share of nothing
        return Beside(name, statistics.median(theirs))
    first, _, third = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else (ratios[0],) * 3
    return Beside(name, statistics.median(theirs), statistics.median(ratios), (first, third))


def table(figures: Sequence[Figure], columns: Sequence[str] = ()) -> str:
    """The figures as lines for a person.

    Each of `columns` is a contender with a column of its own, if it has any figure; what else stands beside a figure
    is in a last one.
    """
    there = {one.name for figure in figures for one in figure.beside}
    named = [name for name in columns if name in there]
    others = bool(there - set(named))
    heads = ["what", "pairside", *(f"{name} (ratio, quartiles)" for name in named)]
    rows = [[*heads, *(["beside it"] if others else []), "target", "met"]]
    for figure in figures:
        cells = {one.name: _cell(one, figure.unit) for one in figure.beside}
        row = [figure.what, _quantity(figure.value, figure.unit)]
        row += [cells.get(name, NOTHING) for name in named]
        if others:
            row.append("; ".join(f"{name}: {cell}" for name, cell in cells.items() if name not in named))
        target = "" if figure.target is None else str(figure.target)
        if target and figure.beside and figure.target is not None and not figure.target.of_value:
            target += "x"
        row += [target, {None: "", True: "yes", False: "NO"}[figure.met]]
        rows.append(row)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join((lines[0], "  ".join("-" * width for width in widths), *lines[1:]))


def _cell(one: Beside, unit: str) -> str:
    if one.ratio is None:
        return _quantity(one.value, unit)
    if one.quartiles is None:
        return f"{_quantity(one.value, unit)} ({one.ratio:.2f}x)"
    return f"{_quantity(one.value, unit)} ({one.ratio:.2f}x, {one.quartiles[0]:.2f} to {one.quartiles[1]:.2f})"


def _quantity(value: float, unit: str) -> str:
    return f"{_number(value)} {unit}".strip()


def _number(value: float) -> str:
    size = abs(value)
    if value == int(value) and size < 100_000:
        return str(int(value))
    return f"{value:.{4 if size < 0.1 else 2 if size < 10 else 1 if size < 100 else 0}f}"
