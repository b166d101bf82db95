"""Owns what a measurement comes to: a figure, what it is compared with, and whether its target is met."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


class Unavailable(Exception):
    """A benchmark cannot run here; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Target:
    """A bound: `at_most`, `below` or `at_least` a number."""

    relation: str
    bound: float

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
class Figure:
    """One line of the table."""

    what: str
    value: float
    unit: str
    yardstick: str = ""
    yardstick_value: float | None = None
    ratio: float | None = None
    """The median of the ratios of the rounds."""
    quartiles: tuple[float, float] | None = None
    """The first and third quartile of those ratios: half of the rounds lie between them."""
    rounds: int = 1
    target: Target | None = None
    """Bounds the ratio where there is one, else the value."""

    @property
    def met(self) -> bool | None:
        """Whether the target is met; None where there is none."""
        if self.target is None:
            return None
        return self.target.met(self.value if self.ratio is None else self.ratio)

    def facts(self) -> dict[str, Any]:
        """All of it, for programs."""
        return {
            "what": self.what,
            "value": self.value,
            "unit": self.unit,
            "yardstick": self.yardstick or None,
            "yardstick_value": self.yardstick_value,
            "ratio": self.ratio,
            "quartiles": list(self.quartiles) if self.quartiles else None,
            "rounds": self.rounds,
            "target": str(self.target) if self.target else None,
            "met": self.met,
        }


def compared(
    what: str, unit: str, ours: Sequence[float], yardstick: str, theirs: Sequence[float], target: Target | None = None
) -> Figure:
    """A figure from paired rounds: `ours[n]` and `theirs[n]` were measured next to each other."""
    ratios = [our / their for our, their in zip(ours, theirs, strict=True)]
    first, _, third = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else (ratios[0],) * 3
    return Figure(
        what,
        statistics.median(ours),
        unit,
        yardstick,
        statistics.median(theirs),
        statistics.median(ratios),
        (first, third),
        len(ratios),
        target,
    )


def table(figures: Sequence[Figure]) -> str:
    """The figures as lines for a person."""
    rows = [("what", "figure", "compared with", "ratio (quartiles)", "target", "met")]
    for figure in figures:
        other = ""
        if figure.yardstick_value is not None:
            other = f"{figure.yardstick}: {_number(figure.yardstick_value)} {figure.unit}"
        ratio = ""
        if figure.ratio is not None and figure.quartiles is not None:
            ratio = f"{figure.ratio:.2f} ({figure.quartiles[0]:.2f} to {figure.quartiles[1]:.2f}, n={figure.rounds})"
        target = "" if figure.target is None else str(figure.target) + ("x" if figure.ratio is not None else "")
        met = {None: "", True: "yes", False: "NO"}[figure.met]
        rows.append((figure.what, f"{_number(figure.value)} {figure.unit}".strip(), other, ratio, target, met))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join((lines[0], "  ".join("-" * width for width in widths), *lines[1:]))


def _number(value: float) -> str:
    size = abs(value)
    if value == int(value) and size < 100_000:
        return str(int(value))
    return f"{value:.{4 if size < 0.1 else 2 if size < 10 else 1 if size < 100 else 0}f}"
