"""All estimates of one cycle in one value, and the memory that they leave behind."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields

from controller.estimate.capacity import Capacity, estimate_capacity, observe_kv, observe_law, observe_spreads
from controller.estimate.coldstart import ColdStart, cold_start, observe_starts
from controller.estimate.demand import Demand, estimate_demand, mix_of, observe_demand, observe_mix
from controller.estimate.evidence import Evidence, weigh, without_weights
from controller.estimate.split import observed_weights
from controller.model.copies import replace
from controller.model.fleet import Fleet
from controller.model.memory import FleetMemory, VariantMemory
from controller.model.snapshot import Freshness, Reading, Snapshot, VariantSignals, VariantState
from engine.perf import Mix
from engine.profile import Profile


@dataclass(frozen=True, slots=True)
class World:
    """What the core believes: demand (None when it cannot be estimated), capacity and cold start by variant."""

    evidence: Evidence
    demand: Demand | None
    mix: Mix | None
    capacities: Mapping[str, Capacity]
    cold_starts: Mapping[str, ColdStart]
    horizon_s: float
    given_up: Mapping[str, tuple[str, ...]]


def estimate(
    snapshot: Snapshot, memory: FleetMemory, fleet: Fleet, priors: Mapping[str, Profile]
) -> tuple[World, FleetMemory]:
    """Estimates from what is seen and remembered; `priors` has a profile for every variant of the fleet."""
    scaling = fleet.spec.scaling
    states = {v.name: v for v in snapshot.variants}
    looked_at = memory.recommendations[-1].at if memory.recommendations else None
    unseen_s = math.inf if looked_at is None else snapshot.at - looked_at + 2 * snapshot.interval_s
    learned = tuple(
        _observe(memory.variant(v.name), states.get(v.name), fleet, snapshot, priors[v.name], unseen_s)
        for v in fleet.spec.variants
    )
    starts = {m.name: cold_start(m, scaling.cold_start) for m in learned}
    horizon_s = max(s.p90_s for s in starts.values()) + snapshot.interval_s
    memory = replace(memory, variants=learned)
    memory, point = observe_demand(memory, snapshot)
    demand = estimate_demand(memory, snapshot, point, horizon_s) if point is not None else None
    evidence = weigh(snapshot)
    if fleet.spec.traffic is not None and observed_weights(fleet, snapshot) is None:
        evidence = without_weights(evidence, snapshot)
    if demand is not None and not evidence.complete and demand.arrival_rps < demand.usual_rps:
        # Partial evidence may show more demand than before, never less: the past must not sink by a fault.
        memory = replace(memory, demand=memory.demand[:-1])
    looks = [_first_look(m, states.get(m.name), snapshot, priors[m.name]) for m in learned]
    fleet_mix = mix_of(looks)
    capacities = {m.name: estimate_capacity(m, mix_of([m]) or fleet_mix, fleet, priors[m.name]) for m in looks}
    world = World(
        evidence=evidence,
        demand=demand,
        mix=fleet_mix,
        capacities=capacities,
        cold_starts=starts,
        horizon_s=horizon_s,
        given_up={m.name: m.given_up for m in learned},
    )
    return world, memory


def _observe(
    memory: VariantMemory,
    state: VariantState | None,
    fleet: Fleet,
    snapshot: Snapshot,
    profile: Profile,
    unseen_s: float,
) -> VariantMemory:
    if state is None:
        return memory
    memory = observe_starts(memory, state.target, snapshot.cluster_at, fleet.spec.scaling.start_deadline, unseen_s)
    memory = observe_mix(memory, state, snapshot.interval_s)
    memory = observe_kv(memory, state.signals)
    memory = observe_law(memory, state.signals, profile)
    return observe_spreads(memory, state, fleet, snapshot)


def _first_look(
    memory: VariantMemory, state: VariantState | None, snapshot: Snapshot, profile: Profile
) -> VariantMemory:
    """Where nothing was learned yet: what the window shows although it is not full. For this cycle, not to remember.

    Means over a window do not depend on how much of it there is, and any is better than none at all.
    """
    if state is None or (memory.law is not None and memory.law.samples):
        return memory
    readings = {field.name: _trusted(getattr(state.signals, field.name)) for field in fields(state.signals)}
    state = replace(state, signals=VariantSignals(**readings))
    memory = observe_mix(memory, state, snapshot.interval_s)
    return observe_law(memory, state.signals, profile)


def _trusted(reading: Reading) -> Reading:
    return reading if reading.usable is None else Reading(reading.usable, Freshness.FRESH, reading.age_s)
