"""Hard bounds: the variant's or the active schedule's minimum and maximum, and the budget."""

from __future__ import annotations

import math

from controller.guard.base import GuardContext, keep
from controller.guard.foreign import foreign_writers
from controller.model.decision import Counts, Reason, Step


def bound_min(context: GuardContext, proposed: Counts) -> Step | None:
    """Never below the minimum: the one guard that may raise a count."""
    after = tuple((name, max(replicas, context.bounds[name].min)) for name, replicas in proposed)
    sources = ", ".join(f"{n}: at least {context.bounds[n].min} ({context.bounds[n].source})" for n, _ in proposed)
    return keep("bounds", proposed, after, Reason.BOUND_MIN, sources)


def bound_max(context: GuardContext, proposed: Counts) -> Step | None:
    """Never above the maximum. Existing replicas above it leave only on complete evidence."""
    now = dict(context.current)

    def limited(name: str, replicas: int) -> int:
        most = context.bounds[name].max
        return min(replicas, most if context.world.evidence.complete else max(most, now[name]))

    after = tuple((name, limited(name, replicas)) for name, replicas in proposed)
    sources = ", ".join(f"{n}: at most {context.bounds[n].max} ({context.bounds[n].source})" for n, _ in proposed)
    return keep("bounds", proposed, after, Reason.BOUND_MAX, sources)


def budget(context: GuardContext, proposed: Counts) -> Step | None:
    """No growth beyond `maxCostPerHour`; a fleet that is above it already does not grow further.

    What the minimum will add, and what other writers keep, is paid for first.
    """
    limit = context.fleet.spec.scaling.max_cost_per_hour
    if limit is None:
        return None
    now = dict(context.current)
    others = foreign_writers(context)
    counts = {n: now[n] if n in others else max(replicas, context.bounds[n].min) for n, replicas in proposed}
    prices = {v.name: v.cost_per_hour for v in context.fleet.spec.variants}
    cost = math.fsum(prices[name] * replicas for name, replicas in counts.items())
    for name in sorted(counts, key=lambda n: (-prices[n], n)):
        floor = max(now[name], context.bounds[name].min)
        while cost > limit + 1e-9 and counts[name] > floor:
            counts[name] -= 1
            cost -= prices[name]
    after = tuple((name, min(replicas, counts[name])) for name, replicas in proposed)
    return keep("budget", proposed, after, Reason.BUDGET, f"the budget is {limit:g} per hour")
