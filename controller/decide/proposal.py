"""What a policy is given and what it answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from controller.estimate.demand import Demand
from controller.estimate.world import World
from controller.model.bounds import EffectiveBounds
from controller.model.decision import Alternative, Counts, Step
from controller.model.fleet import Fleet
from controller.model.memory import FleetMemory
from controller.model.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class Question:
    """Everything that a policy may look at."""

    snapshot: Snapshot
    memory: FleetMemory
    fleet: Fleet
    world: World
    current: Counts
    """Replicas ordered now, by variant."""
    bounds: Mapping[str, EffectiveBounds]
    stable: str
    """Subset that holds production traffic."""
    split: Mapping[str, float] | None = None
    """Part of the demand by subset that capacity is ordered for; None: all of it by the stable one."""

    def serving(self) -> list[str]:
        """Names of the variants that may carry the fleet's traffic."""
        variants = self.fleet.spec.variants
        if self.split is None:
            return [v.name for v in variants if v.subset == self.stable]
        return [v.name for v in variants if self.split.get(v.subset, 0.0) > 0]

    def share(self, subset: str) -> float:
        """Part of the demand that capacity of this subset is ordered for."""
        if self.split is None:
            return 1.0 if subset == self.stable else 0.0
        return self.split.get(subset, 0.0)


Restrained = Callable[[Counts, Demand | None], Counts]
"""What the guards would leave of other counts, at that demand."""
WhatIf = Callable[[Counts, Restrained], tuple[str, ...]]
"""What would have changed the final counts, given them and the guards: sentences that are true as they stand."""


def always(*texts: str) -> WhatIf:
    """A what-if that depends on nothing."""
    return lambda _final, _restrained: texts


_SILENT = always()


@dataclass(frozen=True, slots=True)
class Proposal:
    """The replicas that a policy wants, before guards, and why: the steps, of which there is at least one."""

    counts: Counts
    steps: tuple[Step, ...]
    rejected: tuple[Alternative, ...] = ()
    what_if: WhatIf = _SILENT
    unattainable: str = ""
    """Why no replica count can meet the objective; empty where one can."""
    short: str = ""
    """Which limit keeps the fleet smaller than the demand asks for."""


def with_count(counts: Counts, name: str, replicas: int) -> Counts:
    """The counts with one variant's replaced."""
    return tuple((n, replicas if n == name else r) for n, r in counts)


def text_of(counts: Counts) -> str:
    """The counts for messages: v1 3, v2 0."""
    return ", ".join(f"{name} {replicas}" for name, replicas in counts)
