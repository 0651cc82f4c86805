"""The guards in their order: evidence first, hard limits last."""

from __future__ import annotations

from controller.guard.base import Guard, GuardContext
from controller.guard.bounds import bound_max, bound_min, budget
from controller.guard.cooldown import cool_down
from controller.guard.foreign import foreign_writer
from controller.guard.freshness import freshness
from controller.guard.headroom import headroom
from controller.guard.pause import pause
from controller.guard.rate import step_limit
from controller.guard.stabilize import stabilize_down, stabilize_up
from controller.model.decision import Counts, Step

GUARDS: tuple[Guard, ...] = (
    freshness,
    cool_down,
    stabilize_up,
    stabilize_down,
    headroom,
    step_limit,
    bound_max,
    budget,
    pause,
    bound_min,
    foreign_writer,
)
"""Freshness comes first, so that what evidence forbids is not put down to a window; after it only the maximum can
lower a number, and asks for evidence itself. The budget comes after all that give replicas back, so that it counts
them; another writer's target is left alone whatever was decided."""


def restrain(
    context: GuardContext, proposed: Counts, guards: tuple[Guard, ...] = GUARDS
) -> tuple[Counts, tuple[Step, ...]]:
    """Pass the proposal through the guards; the final counts and the steps of those that changed it."""
    counts, steps = proposed, []
    for guard in guards:
        step = guard(context, counts)
        if step is not None:
            counts = step.after
            steps.append(step)
    return counts, tuple(steps)
