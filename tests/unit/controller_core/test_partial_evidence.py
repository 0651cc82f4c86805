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


OLD_QUEUE = a_snapshot(a_state(ready=6, arrival_rps=4.0, running=stale(20.0)))
LULL = a_snapshot(a_state(ready=6, arrival_rps=4.0))


def test_what_evidence_forbids_is_not_put_down_to_the_look_back() -> None:
    made, _ = through(a_memory(4.0, wanted=[{"v1": 2}]), OLD_QUEUE, T0, cycles=3)
    assert made.decision.reason is Reason.NOT_FRESH
    assert "running stale" in made.decision.sentence
    assert "wanted" not in made.decision.sentence


def test_more_that_was_wanted_is_said_to_have_been_wanted() -> None:
    wanted = a_memory(4.0, wanted=[{"v1": 6}, {"v1": 2}])
    made = plan(LULL, wanted, FLEET, T0, priors()).decision
    assert made.reason is Reason.STABILISED
    assert made.sentence.endswith("samples); more was wanted within the last 60 s")


def test_a_memory_younger_than_the_window_is_said_to_be_young() -> None:
    young = a_memory(4.0, wanted=[{"v1": 2}], started_at=T0 - 20)
    made = plan(LULL, young, FLEET, T0, priors()).decision
    assert made.reason is Reason.STABILISED
    assert "watched for 20 s of the window of 60 s: what was wanted before is not known" in made.sentence


def test_after_a_fault_the_look_back_says_until_when_evidence_was_incomplete() -> None:
    made, at = through(a_memory(4.0, wanted=[{"v1": 2}]), OLD_QUEUE, T0, cycles=3)
    said = []
    for _ in range(16):
        at += INTERVAL_S
        made = plan(replace(LULL, at=at), made.memory, FLEET, at, priors())
        said.append(made.decision.sentence)
    text = "within the last 60 s, more was wanted or could not be ruled out: evidence was incomplete until {} s ago"
    assert [s.rpartition("; ")[2] for s in said[:3]] == [text.format(n) for n in (0, 5, 10)]
    assert made.decision.after < (("v1", 6),)


def test_a_wish_after_a_fault_is_said_to_have_been_a_wish() -> None:
    made, at = through(a_memory(4.0, wanted=[{"v1": 2}]), OLD_QUEUE, T0, cycles=3)
    busy = a_snapshot(a_state(ready=6, arrival_rps=14.0), at=at + 5)
    made = plan(busy, made.memory, FLEET, at + 5, priors())
    assert dict(made.memory.recommendations[-1].replicas)["v1"] >= 6
    made = plan(replace(LULL, at=at + 10), made.memory, FLEET, at + 10, priors())
    assert made.decision.sentence.endswith("samples); more was wanted within the last 60 s")
