"""Situations in which a restraint matters, one at least for each guard: taken away, a law of decisions breaks."""

from __future__ import annotations

from collections.abc import Mapping

from controller.model.fleet import Fleet
from controller.model.memory import FleetMemory
from controller.model.snapshot import Snapshot
from tests.builders import T0, a_fleet, a_memory, a_snapshot, a_state, a_target, a_variant, fresh, stale
from tests.property.controller.worlds import World


def world(snapshot: Snapshot | None = None, memory: FleetMemory | None = None, fleet: Fleet | None = None) -> World:
    return World(snapshot or a_snapshot(), memory or a_memory(), fleet or a_fleet())


def _shift_to_cheaper_replicas_that_still_load() -> World:
    fleet = a_fleet(a_variant("dear", cost=4.0), a_variant("cheap", 0, 10, 1.0), stabilization={"down": "0s"})
    states = (
        a_state("dear", ready=4, arrival_rps=10.0),
        a_state("cheap", target=a_target(0, starting=4), arrival_rps=0.0),
    )
    return world(a_snapshot(*states), a_memory(10.0, names=("dear", "cheap")), fleet)


SITUATIONS: Mapping[str, World] = {
    "thresholds ask for more during the cool-down": world(
        a_snapshot(a_state(gpu_busy_ratio=fresh(0.95))),
        a_memory(last_up_at=T0 - 20),
        a_fleet(policy="thresholds"),
    ),
    "a burst that was not wanted for the whole window of growth": world(
        a_snapshot(a_state(ready=2, arrival_rps=14.0)),
        a_memory(4.0, wanted=[{"v1": 2}] * 3),
        a_fleet(stabilization={"up": 30.0}),
    ),
    "a lull, half a minute after six were wanted": world(
        a_snapshot(a_state(ready=6, arrival_rps=4.0)), a_memory(4.0, wanted=[{"v1": 6}, *[{"v1": 2}] * 6])
    ),
    "thresholds give back what the demand needs": world(
        a_snapshot(a_state(ready=3, arrival_rps=8.5, gpu_busy_ratio=fresh(0.2))),
        a_memory(8.5),
        a_fleet(policy="thresholds", stabilization={"down": "0s"}),
    ),
    "a shift to cheaper replicas that still load": _shift_to_cheaper_replicas_that_still_load(),
    "too many replicas, but a reading is old": world(
        a_snapshot(a_state(ready=6, arrival_rps=4.0, running=stale(20.0))), a_memory(4.0)
    ),
    "far too many replicas": world(a_snapshot(a_state(ready=9, arrival_rps=1.0)), a_memory(1.0)),
    "more replicas than the maximum, under the rule of thresholds": world(
        a_snapshot(a_state(ready=6, gpu_busy_ratio=fresh(0.5))), fleet=a_fleet(high=4, policy="thresholds")
    ),
    "a queue that only a replica beyond the budget would shorten": world(
        a_snapshot(a_state(ready=2, arrival_rps=4.0, waiting=9.0)), fleet=a_fleet(max_cost_per_hour=4.0)
    ),
    "more demand, but paused": world(
        a_snapshot(a_state(ready=2, arrival_rps=14.0)), a_memory(14.0), a_fleet(paused=True)
    ),
    "paused below the minimum": world(a_snapshot(a_state(ready=1)), fleet=a_fleet(low=2, paused=True)),
    "more demand, but another autoscaler drives the target": world(
        a_snapshot(a_state(target=a_target(2, foreign_writer="hpa/llama"), arrival_rps=14.0)), a_memory(14.0)
    ),
}
