"""What `make soak` says of a series: that it grows where it does, and is flat where only chance moves it."""

from __future__ import annotations

import random

import pytest
from bench.trend import FEWEST, trend

HOURS = [minute / 60 for minute in range(60)]


def noise(seed: int) -> list[float]:
    """What is left of the sample before, and chance: as memory goes."""
    chance = random.Random(seed)
    values, last = [], 0.0
    for _ in HOURS:
        last = 0.5 * last + chance.gauss(0, 0.5)
        values.append(40 + last)
    return values


@pytest.mark.parametrize("per_hour", [5.0, -5.0])
def test_a_series_that_grows_or_falls_is_seen_through_the_noise(per_hour: float) -> None:
    """For each of 4 seeds; its slope lies in the interval that is told."""
    for seed in range(4):
        values = [value + per_hour * hour for value, hour in zip(noise(seed), HOURS, strict=True)]
        found = trend("x", "MB", HOURS, values, tolerance=0.5, seed=seed)
        assert found.verdict == ("grows" if per_hour > 0 else "falls"), found
        assert found.interval[0] <= found.per_hour <= found.interval[1]


def test_noise_is_flat_and_a_step_in_the_warm_up_does_not_count() -> None:
    """For most of 15 seeds: an interval of 95 % may miss now and then, and neighbours that agree make it narrower."""
    flat = 0
    for seed in range(15):
        values = [value - 30 if hour < 0.1 else value for value, hour in zip(noise(seed), HOURS, strict=True)]
        flat += trend("x", "MB", HOURS, values, tolerance=0.0, seed=seed).verdict == "flat"
    assert flat >= 10


def test_too_few_samples_are_no_evidence() -> None:
    """Whatever they look like."""
    few = HOURS[: FEWEST - 1]
    assert trend("x", "", few, [1.0] * len(few), tolerance=0.0, seed=0).verdict == "too short"
    assert trend("x", "", [], [], tolerance=0.0, seed=0).verdict == "too short"


def test_a_run_of_a_few_minutes_is_all_warm_up() -> None:
    """What is bounded has not reached its bound by then: that it grows is no failure, and no evidence of a leak."""
    hours = [second / 3600 for second in range(0, 300, 2)]
    found = trend("x", "MB", hours, [30 + hour * 20 for hour in hours], tolerance=0.5, seed=0)
    assert found.verdict == "too short"
    assert 30 < found.median < 32
