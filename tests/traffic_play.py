"""A fleet whose weights are set by hand, played cycle by cycle without a loop: what is written takes effect, or not.

play = Play(a_split_fleet(weights={"v1": 70, "v2": 30}), ready=[4, 0], weights=[100, 0])
play.cycle()             # the plan; its orders start replicas, its weights are written
play.become_ready()
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from controller.model.decision import Condition
from controller.model.fleet import Fleet
from controller.model.memory import FleetMemory
from controller.model.plan import Plan
from controller.model.snapshot import ScaleTarget, Snapshot, VariantState
from controller.model.weights import RouteState, Weights
from tests.builders import T0, a_memory, a_snapshot, a_state, a_target, planned


@dataclass
class Play:
    """Variants in the fleet's order: so many ready and starting replicas each; weights in the order of subsets."""

    fleet: Fleet
    ready: list[int]
    weights: list[int] | None
    arrival_rps: float = 9.0
    at: float = T0
    version: int = 5
    foreign: str = ""
    problem: str = ""
    starting: list[int] = field(default_factory=list)
    memory: FleetMemory | None = None
    writes_fail: bool = False
    plans: list[Plan] = field(default_factory=list)

    def __post_init__(self) -> None:
        names = [v.name for v in self.fleet.spec.variants]
        self.starting = self.starting or [0] * len(names)
        self.memory = self.memory or replace(a_memory(self.arrival_rps, names=names), fleet=self.fleet.key)

    @property
    def split(self) -> Weights | None:
        return None if self.weights is None else tuple(zip(self.fleet.subsets, self.weights, strict=True))

    def snapshot(self, **changes: Any) -> Snapshot:
        """What the daemon sees now."""
        states = [self._state(i) for i in range(len(self.ready))]
        route = RouteState(str(self.version), self.foreign, self.problem)
        return a_snapshot(*states, at=self.at, fleet=self.fleet.key, route=route, **changes)

    def _state(self, i: int) -> VariantState:
        variant = self.fleet.spec.variants[i]
        percent = None if self.split is None else dict(self.split)[variant.subset]
        flavours = [j for j, v in enumerate(self.fleet.spec.variants) if v.subset == variant.subset]
        ready = sum(self.ready[j] for j in flavours)
        served = self.arrival_rps * (percent or 0) / 100 * (self.ready[i] / ready if ready else 0.0)
        target: ScaleTarget = a_target(self.ready[i], starting=self.starting[i])
        return replace(a_state(variant.name, target=target, arrival_rps=served), weight_pct=percent)

    def cycle(self, **changes: Any) -> Plan:
        """One cycle, five seconds after the last; `changes` are of what is seen."""
        made = planned(self.snapshot(**changes), self.memory, self.fleet)
        self.memory, self.at = made.memory, self.at + 5
        self.plans.append(made)
        if not self.writes_fail:
            self._apply(made)
        return made

    def cycles(self, count: int) -> list[Plan]:
        return [self.cycle() for _ in range(count)]

    def become_ready(self) -> None:
        """All that were starting are ready."""
        self.ready = [ready + starting for ready, starting in zip(self.ready, self.starting, strict=True)]
        self.starting = [0] * len(self.ready)

    def moved_by_another(self, weights: Sequence[int], who: str = "argocd-controller") -> None:
        """Somebody else writes the weights."""
        self.weights, self.version, self.foreign = list(weights), self.version + 1, who

    def _apply(self, made: Plan) -> None:
        for write in made.writes:
            i = [v.name for v in self.fleet.spec.variants].index(write.variant)
            change = write.replicas - write.current
            if change >= 0:
                self.starting[i] += change
                continue
            late = min(-change, self.starting[i])
            self.starting[i] -= late
            self.ready[i] -= -change - late
        if made.weights is not None and made.weights.resource_version == str(self.version):
            self.weights, self.version = [percent for _, percent in made.weights.weights], self.version + 1


def in_sync(plan: Plan) -> Condition:
    """The condition about traffic."""
    return next(c for c in plan.decision.conditions if c.type == "TrafficInSync")
