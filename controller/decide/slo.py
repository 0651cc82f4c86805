"""Policy `slo`: the cheapest fleet that carries the demand of the horizon inside the latency objectives."""

from __future__ import annotations

import math
from functools import partial

from controller.decide import counterfactual
from controller.decide.allocation import Allocation, Mixture, Option, allocate
from controller.decide.idle import asleep, idle_or_wake
from controller.decide.pressure import under_pressure
from controller.decide.proposal import Proposal, Question, text_of, with_count
from controller.decide.sizing import left_over, options_of, required_rps, usable_rps
from controller.decide.split import allocate_split, carried_rps, present, shares_text, uncovered_rps
from controller.estimate.demand import Demand
from controller.model.decision import Alternative, Counts, Reason, Step

_LEAST_RPS = 1e-3
"""Stands for any demand at all: enough that one replica is needed."""


def propose(question: Question) -> Proposal:
    """Replicas for all variants; those outside the stable version keep theirs."""
    demand = question.world.demand
    if demand is None or question.world.evidence.blind:
        return _blind(question)
    idle = idle_or_wake(question, demand)
    if idle is not None:
        return idle
    required = required_rps(question, demand)
    options = options_of(question)
    allocation = _allocated(question, options, required)
    counts = _spread(question, options, allocation.chosen)
    uncovered = uncovered_rps(question, options, allocation.chosen, required)
    reason, message = _why(question, demand, (required, uncovered), allocation, counts)
    steps = [_demand_step(question, demand, required), Step("allocation", question.current, counts, reason, message)]
    pressed = under_pressure(question, counts)
    if pressed is not None:
        steps.append(pressed)
        counts = pressed.after

    def wanted(rps: float) -> tuple[Counts, float]:
        other = _allocated(question, options, rps)
        return _spread(question, options, other.chosen), carried_rps(question, options, other.chosen)

    return Proposal(
        counts=counts,
        steps=tuple(steps),
        rejected=_rejected(question, options, allocation, required),
        what_if=partial(counterfactual.of_demand, question, demand, wanted),
        unattainable=_unattainable(question),
        short=allocation.short,
    )


def _allocated(question: Question, options: list[Option], required: float) -> Allocation:
    """The mix for so much; at least one replica: the last one leaves by the idle rule alone."""
    awake = sum(dict(question.current)[o.name] for o in options) > 0 or required > 0
    if question.split is not None:
        return allocate_split(question, options, required, _LEAST_RPS if awake else 0.0)
    least = _LEAST_RPS if awake and any(o.max for o in options) else 0.0
    return allocate(options, max(required, least), question.fleet.spec.scaling.max_cost_per_hour)


def _spread(question: Question, options: list[Option], chosen: Mixture) -> Counts:
    counts = present(question)
    for option, replicas in zip(options, chosen.counts, strict=True):
        counts = with_count(counts, option.name, replicas)
    return _retry_given_up(question, counts)


def _retry_given_up(question: Question, counts: Counts) -> Counts:
    """One replica more where some were given up: they are no capacity. One, or a broken image fills the cluster."""
    wanted = dict(counts)
    for name in question.serving():
        state = question.snapshot.variant(name)
        lost = question.world.given_up.get(name, ())
        if lost and state is not None and state.target is not None and wanted[name] > state.target.ready:
            counts = with_count(counts, name, min(wanted[name] + 1, question.bounds[name].max))
    return counts


def _blind(question: Question) -> Proposal:
    missing = "; ".join(question.world.evidence.missing[:3]) or "no reading allows an estimate of demand"
    step = Step("demand", question.current, question.current, Reason.BLIND, f"holding still: {missing}")
    return Proposal(question.current, (step,))


def _demand_step(question: Question, demand: Demand, required: float) -> Step:
    left = left_over(question, demand)
    backlog = f" and {left:.0f} requests left over" if left >= 1 else ""
    text = (
        f"{demand.arrival_rps:.1f} requests/s arrive; sized for {demand.sized_rps:.1f}/s by {demand.how}{backlog}: "
        f"{required:.1f}/s at a horizon of {question.world.horizon_s:.0f} s"
    )
    inputs = (
        ("arrival_rps", demand.arrival_rps),
        ("usual_rps", demand.usual_rps),
        ("waiting", demand.waiting),
        ("running", demand.running),
        ("refused_rps", demand.refused_rps),
        ("trend_rps_per_s", demand.trend_rps_per_s),
    )
    return Step("demand", question.current, question.current, Reason.DEMAND, text, inputs)


def _why(
    question: Question, demand: Demand, needed: tuple[float, float], allocation: Allocation, counts: Counts
) -> tuple[Reason, str]:
    """`needed`: requests/s to have capacity for, and those that remain uncovered."""
    required, uncovered = needed
    parts = [
        f"a replica of {name} carries {usable_rps(question, name):.2f}/s ({_binding(question, name)})"
        for name in question.serving()
    ]
    text = f"{required:.1f} requests/s{shares_text(question)} take {text_of(counts)}: {'; '.join(parts)}"
    if allocation.short:
        text += f"; {uncovered:.1f}/s remain uncovered ({allocation.short}: {_limits(question)})"
        return (Reason.BUDGET if "budget" in allocation.short else Reason.BOUND_MAX), text
    if _unattainable(question):
        return Reason.UNATTAINABLE, text + "; sized for stability, not for the objective"
    if asleep(question) and demand.refused_rps > 0:
        return Reason.WAKE, f"requests are refused at the proxy ({demand.refused_rps:.1f}/s): {text}"
    if any(question.world.given_up.values()) and sum(r for _, r in counts) > sum(allocation.chosen.counts):
        return Reason.RETRY, text + "; one more, because a replica that never got ready was given up"
    forced = _forced(question, allocation, required)
    if forced:
        text = f"{required:.1f} requests/s would take fewer than {text_of(counts)}: {forced}"
    if counts == question.current:
        return Reason.STEADY, text
    return (Reason.BOUND_MIN if forced else Reason.DEMAND), text


def _forced(question: Question, allocation: Allocation, required: float) -> str:
    """The minimum without which fewer replicas would do, and where it comes from."""
    if question.split is not None:
        return ""
    for name, replicas in zip(question.serving(), allocation.chosen.counts, strict=True):
        least, fewer_rps = question.bounds[name], allocation.chosen.rps - usable_rps(question, name)
        if replicas == least.min > 0 and fewer_rps >= max(required, _LEAST_RPS):
            return f"at least {least.min} of {name} ({least.source})"
    return ""


def _limits(question: Question) -> str:
    found = [f"at most {question.bounds[n].max} of {n} ({question.bounds[n].source})" for n in question.serving()]
    budget = question.fleet.spec.scaling.max_cost_per_hour
    return ", ".join(found if budget is None else [*found, f"{budget:g} per hour"])


def _binding(question: Question, name: str) -> str:
    capacity = question.world.capacities[name]
    limit = capacity.binding.upper() if capacity.binding in ("ttft", "tpot", "kv") else capacity.binding
    return f"{limit} binds, ± {capacity.uncertainty_ratio:.0%}, {capacity.samples} samples"


def _unattainable(question: Question) -> str:
    lost = [n for n in question.serving() if not question.world.capacities[n].attainable]
    if len(lost) < len(question.serving()):
        return ""
    binding = question.world.capacities[lost[0]].binding
    return f"no replica count meets the {binding.upper()} objective: even one request alone on a replica misses it"


def _rejected(
    question: Question, options: list[Option], allocation: Allocation, required: float
) -> tuple[Alternative, ...]:
    chosen = allocation.chosen
    limit = question.fleet.spec.scaling.max_cost_per_hour
    found = [
        Alternative(_spread(question, options, m), m.cost_per_hour, _dearer(m, chosen, limit))
        for m in allocation.runners_up
    ]
    if allocation.short or question.split is not None:
        return tuple(found)
    for i, option in enumerate(options):
        if chosen.counts[i] > option.min and chosen.rps - option.rps < required:
            fewer = tuple(n - (j == i) for j, n in enumerate(chosen.counts))
            text = f"carries {chosen.rps - option.rps:.1f} requests/s of {required:.1f}"
            cost = chosen.cost_per_hour - option.cost_per_hour
            found.append(Alternative(_counts(question, options, fewer), cost, text))
    head = options[0]
    if chosen.counts[0] < head.max:
        more = (chosen.counts[0] + 1, *chosen.counts[1:])
        text = f"not needed: {math.fsum((chosen.rps, -required)):.1f} requests/s are spare already"
        found.append(Alternative(_counts(question, options, more), chosen.cost_per_hour + head.cost_per_hour, text))
    return tuple(found)


def _dearer(other: Mixture, chosen: Mixture, limit: float | None) -> str:
    if limit is not None and other.cost_per_hour > limit:
        return f"costs {other.cost_per_hour:.2f}/h, the budget is {limit:g}"
    more = other.score - chosen.score
    return f"costs {more:.2f}/h more" if more >= 0.005 else "costs no less, with as many replicas or more"


def _counts(question: Question, options: list[Option], replicas: tuple[int, ...]) -> Counts:
    counts = question.current
    for option, n in zip(options, replicas, strict=True):
        counts = with_count(counts, option.name, n)
    return counts
