"""Shrink only as far as the shrunken fleet is predicted to carry the demand, by the same model that decides growth."""

from __future__ import annotations

import math

from controller.estimate.capacity import SPARE_RATIO
from controller.estimate.coldstart import arriving, unseen
from controller.guard.base import GuardContext, governed, keep, shrinks
from controller.model.decision import Counts, Reason, Step
from controller.model.snapshot import ScaleTarget


def headroom(context: GuardContext, proposed: Counts) -> Step | None:
    """Give back replicas one by one until the prediction holds."""
    demand, current = context.world.demand, governed(context, proposed)
    if not shrinks(proposed, current):
        return None
    if demand is None:
        return keep("headroom", proposed, current, Reason.HEADROOM, "demand is unknown: nothing to predict with")
    idle = demand.sized_rps <= 0 and demand.running + demand.waiting <= 0
    counts = proposed
    while not idle and shrinks(counts, current) and _carried(context, counts) < demand.sized_rps:
        counts = _one_back(counts, current)
    if counts == proposed:
        return None
    text = f"{_carried(context, proposed):.1f} requests/s could be carried, {demand.sized_rps:.1f}/s are planned for"
    return keep("headroom", proposed, counts, Reason.HEADROOM, f"predicted to miss the objectives: {text}")


def _carried(context: GuardContext, counts: Counts) -> float:
    """What the fleet will carry. If a ready replica has to leave, only ready ones count: nothing replaces it yet."""
    usable = SPARE_RATIO * (1 - context.fleet.spec.scaling.headroom)
    serving = [s for s in context.snapshot.variants if s.name in context.serving]
    targets = {s.name: s.target for s in serving if s.target is not None}
    wanted = dict(counts)
    drops = any(wanted[name] < target.ready for name, target in targets.items())
    return math.fsum(
        min(wanted[name], target.ready + (0 if drops else _arriving(context, name, target)))
        * context.world.capacities[name].sizing_rps
        * usable
        for name, target in targets.items()
    )


def _arriving(context: GuardContext, name: str, target: ScaleTarget) -> int:
    """Replicas on their way, and those ordered that the cluster does not show yet."""
    given_up = context.world.given_up.get(name, ())
    return len(arriving(target, given_up)) + unseen(target)


def _one_back(counts: Counts, current: Counts) -> Counts:
    now = dict(current)
    for i, (name, replicas) in enumerate(counts):
        if replicas < now[name]:
            return (*counts[:i], (name, replicas + 1), *counts[i + 1 :])
    return counts
