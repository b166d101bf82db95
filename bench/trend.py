"""Owns whether a series that was measured over time grows: its slope, how sure that is, and a word for it."""

from __future__ import annotations

import random
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

WARM_UP = 0.2
"""This part of a run, its first, is left out: caches fill, and what is bounded reaches its bound."""
WARM_UP_HOURS = 1 / 6
"""It lasts at least so long, however short the run: what grows in that time says nothing."""
BLOCK = 6
"""So many samples that follow one another are drawn together: neighbours are not independent."""
DRAWS = 2000
FEWEST = 4 * BLOCK


@dataclass(frozen=True, slots=True)
class Trend:
    """The least-squares line through a series, without its warm-up."""

    what: str
    unit: str
    samples: int
    median: float
    per_hour: float
    """Growth in units per hour."""
    interval: tuple[float, float]
    """95 of 100 block bootstraps of the slope lie between them, per hour."""
    tolerance: float
    """Growth of less than this per hour is none."""

    @property
    def verdict(self) -> str:
        """`too short` where nothing can be said.

        `grows` or `falls` if zero lies outside of the interval and it is more than the tolerance, else `flat`.
        """
        if self.samples < FEWEST:
            return "too short"
        low, high = self.interval
        if low <= 0 <= high or abs(self.per_hour) < self.tolerance:
            return "flat"
        return "grows" if self.per_hour > 0 else "falls"

    def facts(self) -> dict[str, Any]:
        """All of it, for programs."""
        return {**asdict(self), "verdict": self.verdict}


def trend(
    what: str, unit: str, hours: Sequence[float], values: Sequence[float], *, tolerance: float, seed: int
) -> Trend:
    """The trend of `values`, measured at `hours` since the start; `tolerance` is growth per hour that is none."""
    warm = max(WARM_UP * hours[-1], WARM_UP_HOURS) if hours else 0.0
    first = next((index for index, hour in enumerate(hours) if hour >= warm), len(hours))
    xs, ys = list(hours[first:]), list(values[first:])
    if len(xs) < 2:
        return Trend(what, unit, len(xs), statistics.median(values) if values else 0.0, 0.0, (0.0, 0.0), tolerance)
    draw = random.Random(seed)
    starts = range(max(1, len(xs) - BLOCK + 1))
    slopes = []
    for _ in range(DRAWS):
        places = [
            place
            for start in draw.choices(starts, k=-(-len(xs) // BLOCK))
            for place in range(start, min(start + BLOCK, len(xs)))
        ]
        slopes.append(slope([xs[place] for place in places], [ys[place] for place in places]))
    slopes.sort()
    interval = (slopes[int(0.025 * DRAWS)], slopes[int(0.975 * DRAWS) - 1])
    return Trend(what, unit, len(xs), statistics.median(ys), slope(xs, ys), interval, tolerance)


def slope(xs: Sequence[float], ys: Sequence[float]) -> float:
    """The slope of the least-squares line; 0 where all values of x are the same."""
    mean_x, mean_y = statistics.fmean(xs), statistics.fmean(ys)
    spread = sum((x - mean_x) ** 2 for x in xs)
    return sum((x - mean_x) * (y - mean_y) for x, y in zip(xs, ys, strict=True)) / spread if spread else 0.0


def table(trends: Sequence[Trend]) -> str:
    """Trends as lines for a person."""
    rows = [("what", "median", "growth per hour", "95 % interval", "verdict")]
    for one in trends:
        low, high = one.interval
        rows.append(
            (
                one.what,
                f"{one.median:.4g} {one.unit}",
                f"{one.per_hour:+.3g}",
                f"{low:+.3g} to {high:+.3g}",
                one.verdict,
            )
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join((lines[0], "  ".join("-" * width for width in widths), *lines[1:]))
