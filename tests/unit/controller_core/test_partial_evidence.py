"""A fault of the metrics leaves no trace that a later, healthy cycle could shrink on."""

from __future__ import annotations

from dataclasses import replace

from controller.model.decision import Reason
from controller.model.memory import FleetMemory
from controller.model.plan import Plan
from controller.model.snapshot import Snapshot
from controller.plan import plan
from tests.builders import T0, a_fleet, a_memory, a_snapshot, a_state, priors, stale

FLEET = a_fleet()
INTERVAL_S = 5.0


def through(memory: FleetMemory, snapshot: Snapshot, begun: float, cycles: int) -> tuple[Plan, float]:
    """Plan the same world several times; the last plan, and when it was made."""
    made = plan(snapshot, memory, FLEET, begun, priors())
    at = begun
    for _ in range(cycles - 1):
        at += INTERVAL_S
        made = plan(replace(snapshot, at=at), made.memory, FLEET, at, priors())
    return made, at


def partial() -> Snapshot:
    """Three replicas, of which those that still report show half of the demand."""
    names = ("running", "waiting", "finished_rps", "first_token_rps", "prefill_tps", "decode_tps")
    half = a_state(ready=3, arrival_rps=4.0)
    return a_snapshot(
        replace(half, signals=replace(half.signals, **{n: stale(getattr(half.signals, n).value) for n in names}))
    )


def test_a_fault_longer_than_the_look_back_does_not_wear_it_away() -> None:
    made, at = through(a_memory(9.0, wanted=[{"v1": 3}]), partial(), T0, cycles=40)
    assert made.decision.reason in (Reason.NOT_FRESH, Reason.STABILISED)

    quieter = a_snapshot(a_state(ready=3, arrival_rps=4.0), at=at + INTERVAL_S)
    after = plan(quieter, made.memory, FLEET, quieter.at, priors())

    assert after.writes == ()
    assert after.decision.reason is Reason.STABILISED


def test_demand_that_only_a_part_of_the_fleet_reports_does_not_lower_what_is_remembered() -> None:
    before = a_memory(9.0, wanted=[{"v1": 3}])

    made, _ = through(before, partial(), T0, cycles=6)

    assert min(point.arrival_rps for point in made.memory.demand) == 9.0
