"""The shipped step scenario in virtual time: two replicas, arrivals times three at 60 s for 150 s."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise, takewhile
from typing import Any

from engine.load.scenario import Scenario
from engine.load.scenario_file import load_scenario
from engine.profile import Profile
from engine.sim.card import card_for
from tests.builders import a_profile
from tests.scenario.controller.virtual import VirtualStack

STEP_AT, LOAD_END, TRAFFIC_END, END = 60.0, 210.0, 450.0, 520.0
COLD_START_S = 15.0


@cache
def scenario(name: str = "step") -> Scenario:
    return load_scenario(name)


@dataclass(frozen=True)
class Stretch:
    """Law terms (base, prefill, attention, batch, KV) of the prior as multiples of the shipped profile's."""

    name: str
    factors: tuple[float, ...]


def step_stack(seed: int = 1, prior: Profile | None = None, **scaling: Any) -> VirtualStack:
    """The stack before its first second; `scaling` changes the scenario's Fleet."""
    found = scenario()
    arrivals = list(takewhile(lambda a: a.at_s < TRAFFIC_END, found.arrivals(seed)))
    stack = VirtualStack(
        found.fleet, card_for(a_profile()), prior or a_profile(), arrivals, found.stack.start_replicas, COLD_START_S
    )
    if scaling:
        stack.change_fleet(**scaling)
    return stack


@cache
def played(seed: int, prior: Profile | None = None) -> VirtualStack:
    """The whole scenario, run once for all tests of one process that look at it."""
    stack = step_stack(seed, prior)
    stack.run(END)
    return stack


def growths(stack: VirtualStack, since: float) -> list[float]:
    """When the fleet was ordered to grow."""
    sizes = [(0.0, 2), *stack.counts()]
    return [at for (_, before), (at, after) in pairwise(sizes) if after > before and at >= since]


def first_jump(samples: Sequence[tuple[float, float]], step_at: float) -> float | None:
    """The first stored sample since the step whose running + waiting exceeds 1.5 x the maximum of the minute before."""
    most = max(value for at, value in samples if step_at - 60 <= at < step_at)
    return next((at for at, value in samples if at >= step_at and value > 1.5 * most), None)
