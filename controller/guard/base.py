"""The protocol of guards: each may hold, cap or defer what was proposed, never push further.

A guard answers a `Step` (before, after, why), or None where it has nothing to say. What it leaves lies between what is
and what was proposed, for every variant. The configured bounds are the exception: the minimum may raise a count to
itself, the maximum may lower one to itself. Reductions are refused or softened; growth is touched only by limits that
the operator set (pause, step, maximum, budget, cool-down, another writer).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from controller.estimate.world import World
from controller.model.bounds import EffectiveBounds
from controller.model.decision import Counts, Reason, Step
from controller.model.fleet import Fleet
from controller.model.memory import FleetMemory
from controller.model.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class GuardContext:
    """What every guard may look at. `serving`: the variants that carry the fleet's traffic.

    `by_hand`: the variants whose replicas an operator has set for now; soft guards stand aside for these.
    """

    snapshot: Snapshot
    memory: FleetMemory
    fleet: Fleet
    world: World
    current: Counts
    bounds: Mapping[str, EffectiveBounds]
    serving: tuple[str, ...]
    by_hand: frozenset[str] = frozenset()
    split: Mapping[str, float] | None = None
    """Part of the demand by subset that its replicas have to carry; None: all of it by those that serve."""


Guard = Callable[[GuardContext, Counts], Step | None]


def governed(context: GuardContext, proposed: Counts) -> Counts:
    """The present counts as soft guards see them: what was set by hand counts as being there already."""
    if not context.by_hand:
        return context.current
    now = dict(context.current)
    return tuple((name, replicas if name in context.by_hand else now[name]) for name, replicas in proposed)


def asleep(context: GuardContext) -> bool:
    """Whether no serving variant has a replica: growth is then the way back from zero, which no window delays."""
    now = dict(context.current)
    return not any(now[name] for name in context.serving)


def keep(stage: str, before: Counts, after: Counts, reason: Reason, message: str) -> Step | None:
    """The step, or None where nothing changed."""
    return Step(stage, before, after, reason, message) if before != after else None


def no_lower(proposed: Counts, floor: Counts) -> Counts:
    """The counts, none below the floor's."""
    least = dict(floor)
    return tuple((name, max(replicas, least.get(name, 0))) for name, replicas in proposed)


def no_higher(proposed: Counts, ceiling: Counts) -> Counts:
    """The counts, none above the ceiling's."""
    most = dict(ceiling)
    return tuple((name, min(replicas, most.get(name, replicas))) for name, replicas in proposed)


def shrinks(proposed: Counts, current: Counts) -> bool:
    """Whether any variant would lose replicas."""
    now = dict(current)
    return any(replicas < now[name] for name, replicas in proposed)


def grows(proposed: Counts, current: Counts) -> bool:
    """Whether any variant would gain replicas."""
    now = dict(current)
    return any(replicas > now[name] for name, replicas in proposed)
