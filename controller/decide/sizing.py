"""What must be carried, and what one replica is planned to carry: requests/s inside the objectives."""

from __future__ import annotations

from controller.decide.allocation import Option
from controller.decide.proposal import Question
from controller.estimate.demand import Demand

_DRAIN_MIN_S = 20.0
"""Work left over is planned to be done within the horizon, but not faster than this."""
_CROWDED_RATIO = 1.25
"""Sequences beyond this multiple of what the ready replicas carry are work left over, not fluctuation."""


def options_of(question: Question) -> list[Option]:
    """The serving variants, as allocation chooses among them."""
    current = dict(question.current)
    options = []
    for name in question.serving():
        variant, bounds = question.fleet.variant(name), question.bounds[name]
        options.append(
            Option(
                name=name,
                rps=usable_rps(question, name),
                cost_per_hour=variant.cost_per_hour,
                min=bounds.min,
                max=bounds.max,
                current=current[name],
                cold_start_s=question.world.cold_starts[name].p90_s,
            )
        )
    return options


def required_rps(question: Question, demand: Demand) -> float:
    """Requests/s to have capacity for: the sized demand and the work left over, done within the horizon."""
    return demand.sized_rps + left_over(question, demand) / drain_s(question)


def drain_s(question: Question) -> float:
    """Seconds within which work left over shall be done."""
    return max(_DRAIN_MIN_S, question.world.horizon_s)


def left_over(question: Question, demand: Demand) -> float:
    """Requests waiting, and running beyond what the ready replicas carry inside the objectives."""
    seats = 0.0
    for state in question.snapshot.variants:
        if state.target is not None and state.name in question.world.capacities:
            seats += state.target.ready * question.world.capacities[state.name].seqs
    return demand.waiting + max(0.0, demand.running - _CROWDED_RATIO * seats)


def usable_rps(question: Question, name: str) -> float:
    """Requests/s to plan one replica with: learned capacity less the headroom."""
    return question.world.capacities[name].sizing_rps * (1 - question.fleet.spec.scaling.headroom)
