"""Stacks for scenarios: the shipped ones by name, and constant traffic on a Fleet of the test's own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise, takewhile
from random import Random
from typing import Any

from controller.model.decision import Decision
from controller.model.fleet import Fleet
from engine.load.arrivals import Arrival, RateSegment, poisson_times_s, with_lengths
from engine.load.scenario_file import load_scenario
from engine.load.token_lengths import sample_pairs, shipped_pairs
from engine.profile import Profile
from engine.sim.card import card_for
from tests.builders import a_fleet, a_profile
from tests.scenario.controller.virtual import EPOCH, VirtualStack


def shipped_stack(name: str, until_s: float, seed: int = 1) -> VirtualStack:
    """A shipped scenario's fleet, replicas and traffic."""
    found = load_scenario(name)
    profile = a_profile(found.stack.profile)
    if found.stack.max_num_seqs is not None:
        profile = replace(profile, limits=replace(profile.limits, max_num_seqs=found.stack.max_num_seqs))
    arrivals = list(takewhile(lambda a: a.at_s < until_s, found.arrivals(seed)))
    return VirtualStack(
        found.fleet,
        card_for(profile),
        a_profile(found.stack.profile),
        arrivals,
        found.stack.start_replicas,
        found.stack.cold_start,
    )


def stack_of(
    rps: Sequence[tuple[float, float]],
    fleet: Fleet | None = None,
    start: int = 2,
    seed: int = 1,
    prior: Profile | None = None,
    cold_start_s: float = 15.0,
    **scaling: Any,
) -> VirtualStack:
    """Poisson traffic with Azure-like lengths: pairs of duration (s) and requests/s, on a fleet of L40S replicas."""
    spans = [_constant(duration_s, rate) for duration_s, rate in rps]
    lengths = sample_pairs(shipped_pairs("azure-conv"), Random(f"{seed}/lengths"))
    arrivals: list[Arrival] = list(with_lengths(poisson_times_s(spans, Random(f"{seed}/times")), lengths))
    fleet = fleet or a_fleet(**scaling)
    return VirtualStack(fleet, card_for(a_profile()), prior or a_profile(), arrivals, start, cold_start_s)


def _constant(duration_s: float, rate_rps: float) -> RateSegment:
    return RateSegment(duration_s, rate_rps, lambda _s: rate_rps)


def sizes(stack: VirtualStack) -> list[int]:
    """The sizes that were ordered, in turn."""
    return [count for _, count in stack.counts()]


def reversals(stack: VirtualStack, start: int) -> int:
    """How often the direction of change turned."""
    ups = [after > before for before, after in pairwise([start, *sizes(stack)])]
    return sum(left != right for left, right in pairwise(ups))


def decisions(stack: VirtualStack, since: float = 0.0, until: float = 1e9) -> list[Decision]:
    """What was decided within a span of virtual time."""
    return [d for d in stack.remembered.decisions if since <= d.at - EPOCH - stack.clock.offset_s < until]


def condition(decision: Decision, kind: str) -> tuple[str, str, str]:
    """Status, reason and message of one condition."""
    found = next(c for c in decision.conditions if c.type == kind)
    return found.status.value, found.reason, found.message
