"""Random interleavings of everything that clients, observers and the person can do: nothing drifts from the model.

`make model STEPS=100000` runs so many steps, others each time; what runs with the other tests is always the same.
"""

from __future__ import annotations

import os
import sys
import time

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

from .clock import Clock
from .world import BAD_HANDSHAKES, BURST, WIRE_DEATHS, World

STEPS = int(os.environ.get("PAIRSIDE_MODEL_STEPS", "0"))
"""So many steps are to be run at least; 0 for the short run, which is always the same."""
PARTS = int(os.environ.get("PAIRSIDE_MODEL_PARTS", "1"))
"""Into so many tests the steps are divided."""
STEPS_EACH = 100
"""Steps of one example at most."""
EXAMPLES = 10
"""Examples of the short run."""
EXAMPLES_AT_ONCE = 50

number = st.integers(0, 1000)
LAST_WORDS = ("ping", "propose", "close all", "close tab", "ide_connected", "initialize", "editors", "no JSON")


class Machine(RuleBasedStateMachine):
    """What may happen next."""

    steps = 0
    """How many were done, by all machines."""
    clock: Clock

    def __init__(self) -> None:
        super().__init__()
        Machine.steps -= 1  # invariants are looked at once before the first step
        self.world = World(self.clock)

    def teardown(self) -> None:
        self.world.finish()

    def check_invariants(self, *args: object, **named: object) -> None:
        super().check_invariants(*args, **named)  # type: ignore[arg-type]
        Machine.steps += 1

    def somebody(self) -> None:
        """If nobody is there somebody connects."""
        if not self.world.present:
            while self.world.halves:
                self.world.do(self.world.end_half(0, "close"))
            self.world.do(self.world.connect(()))

    def some_proposal(self, index: int) -> None:
        """If there is no proposal there is one now."""
        self.somebody()
        if not self.world.proposals:
            self.world.do(self.world.burst(index, ["propose"], index, 1))

    @rule(cuts=st.lists(number, max_size=3))
    def connect(self, cuts: list[int]) -> None:
        self.world.do(self.world.connect(cuts))

    @rule(how=st.sampled_from(sorted(BAD_HANDSHAKES)))
    def connect_wrongly(self, how: str) -> None:
        self.world.do(self.world.connect((), how=how))

    @rule(length=number)
    def connect_half(self, length: int) -> None:
        self.world.do(self.world.connect_half(length))

    @precondition(lambda self: self.world.halves)
    @rule(index=number, how=st.sampled_from(["finish", "finish", "reset", "fin", "close"]))
    def end_half(self, index: int, how: str) -> None:
        self.world.do(self.world.end_half(index, how))

    @rule(
        index=number,
        kinds=st.lists(st.sampled_from(BURST), min_size=1, max_size=6),
        number=number,
        pieces=st.sampled_from([1, 1, 2, 5]),
    )
    def burst(self, index: int, kinds: list[str], number: int, pieces: int) -> None:
        self.somebody()
        self.world.do(self.world.burst(index, kinds, number, pieces))

    @rule(index=number, number=number)
    def propose(self, index: int, number: int) -> None:
        self.somebody()
        self.world.do(self.world.burst(index, ["propose"], number, 1))

    @rule(index=number, number=number)
    def introduce(self, index: int, number: int) -> None:
        self.somebody()
        self.world.do(self.world.burst(index, ["initialize", "ide_connected"], number, 1))

    @rule(
        index=number,
        how=st.sampled_from(["accept", "reject", "text", "original text", "no hunk", "first hunk", "a hunk too many"]),
        by_editor=st.booleans(),
    )
    def decide(self, index: int, how: str, by_editor: bool) -> None:
        self.some_proposal(index)
        self.world.do(self.world.decide(index, how, by_editor))

    @rule(index=number)
    def decide_at_once(self, index: int) -> None:
        self.some_proposal(index)
        self.world.do(self.world.decide_at_once(index))

    @rule(number=number)
    def decide_nothing(self, number: int) -> None:
        self.world.do(self.world.no_review(number))

    @rule(line=number, keep=st.booleans(), clear=st.sampled_from([False, False, True]))
    def select(self, line: int, keep: bool, clear: bool) -> None:
        self.world.do(self.world.select(line, keep, clear))

    @rule(on=st.booleans())
    def share(self, on: bool) -> None:
        self.world.do(self.world.share(on))

    @rule(line=st.none() | st.integers(0, 10), force=st.booleans())
    def mention(self, line: int | None, force: bool) -> None:
        self.world.do(self.world.mention(line, force))

    @rule(count=st.integers(0, 2))
    def open_folders(self, count: int) -> None:
        self.world.do(self.world.open_folders(count))

    @rule(
        index=number,
        name=st.sampled_from(sorted(WIRE_DEATHS)),
        last_words=st.lists(st.sampled_from(LAST_WORDS), max_size=3),
        number=number,
    )
    def die(self, index: int, name: str, last_words: list[str], number: int) -> None:
        self.somebody()
        self.world.do(self.world.die(index, name, last_words, number))

    @rule(index=number)
    def close_and_stay(self, index: int) -> None:
        self.somebody()
        self.world.do(self.world.close_and_stay(index))

    @rule(index=number)
    def fall_silent(self, index: int) -> None:
        self.somebody()
        self.world.do(self.world.fall_silent(index))

    @rule(index=number, how=st.sampled_from(["more", "reset", "silence", "stop"]), seldom=st.integers(0, 3))
    def stall(self, index: int, how: str, seldom: int) -> None:
        if seldom:
            return  # megabytes cost more than all the rest
        self.some_proposal(index)
        self.world.do(self.world.stall(index, how))

    @rule(seldom=st.integers(0, 3))
    def our_defect(self, seldom: int) -> None:
        if seldom:
            return  # or nearly everybody who listens would end by it
        self.somebody()
        self.world.do(self.world.our_defect())

    @rule(moments=st.sampled_from([1, 2, 9]))
    def wait(self, moments: int) -> None:
        self.world.do(self.world.wait(moments))

    @rule()
    def look_for_leftovers(self) -> None:
        self.world.do(self.world.nothing_left_over())

    @rule(how=st.sampled_from(["stop", "restart", "crash"]))
    def stop(self, how: str) -> None:
        self.world.do(self.world.stop(how))


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time moves only when a step says so."""
    Machine.clock = Clock(time.monotonic())
    monkeypatch.setattr(time, "monotonic", Machine.clock)


def run(examples: int, *, same: bool) -> None:
    """Run some examples: always the same ones, or others each time."""
    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=STEPS_EACH,
            derandomize=same,
            database=None,
            deadline=None,
            print_blob=True,
            suppress_health_check=list(HealthCheck),
            phases=(Phase.generate, Phase.shrink) if same else (Phase.generate,),
        ),
    )


@pytest.mark.timeout(0 if STEPS else 600)
@pytest.mark.parametrize("part", range(PARTS))
def test_nothing_drifts_from_the_model(part: int) -> None:
    """Whatever happens in whatever order: each is admitted once, told once, answered once, and leaves nothing."""
    began = time.perf_counter()
    done = told = 0
    before = Machine.steps
    while done == 0 or done < STEPS / PARTS:
        run(EXAMPLES_AT_ONCE if STEPS else EXAMPLES, same=not STEPS)
        done = Machine.steps - before
        if STEPS and (done - told >= 2000 or done >= STEPS / PARTS):
            told = done
            print(f"part {part}: {done} steps, {done / (time.perf_counter() - began):.0f}/s", file=sys.__stderr__)
    assert done > EXAMPLES * STEPS_EACH // 2, "hardly anything happens"
