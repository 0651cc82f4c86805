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
    counts, short = proposed, ""
    for names, share in _parts(context):
        needed = share * demand.sized_rps
        while not idle and shrinks(_only(counts, names), current) and _carried(context, counts, names) < needed:
            counts = _one_back(counts, current, names)
        if counts != proposed and not short:
            carried = _carried(context, proposed, names)
            short = f"{carried:.1f} requests/s could be carried, {needed:.1f}/s are planned for"
    if counts == proposed:
        return None
    return keep("headroom", proposed, counts, Reason.HEADROOM, f"predicted to miss the objectives: {short}")


def _parts(context: GuardContext) -> list[tuple[tuple[str, ...], float]]:
    """Variants that share a part of the demand, and that part. Without a split every variant may be given back."""
    if context.split is None:
        return [(tuple(name for name, _ in context.current), 1.0)]
    variants = context.fleet.spec.variants
    return [(tuple(v.name for v in variants if v.subset == s), share) for s, share in context.split.items() if share]


def _only(counts: Counts, names: tuple[str, ...]) -> Counts:
    return tuple((name, replicas) for name, replicas in counts if name in names)


def _carried(context: GuardContext, counts: Counts, names: tuple[str, ...]) -> float:
    """What these variants will carry. If a ready one has to leave, only ready ones count: nothing replaces it yet."""
    usable = SPARE_RATIO * (1 - context.fleet.spec.scaling.headroom)
    serving = [s for s in context.snapshot.variants if s.name in context.serving and s.name in names]
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


def _one_back(counts: Counts, current: Counts, names: tuple[str, ...]) -> Counts:
    now = dict(current)
    for i, (name, replicas) in enumerate(counts):
        if name in names and replicas < now[name]:
            return (*counts[:i], (name, replicas + 1), *counts[i + 1 :])
    return counts
