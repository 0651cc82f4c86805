"""Laws 5, 7 and 8, and monotony: what guards may do, what a loading replica is, and which way numbers move."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from controller.act.dry_run import DryRunReplicaWriter
from controller.guard.base import Guard, GuardContext
from controller.guard.bounds import bound_max, bound_min
from controller.guard.chain import GUARDS
from controller.guard.stabilize import stabilize_down
from controller.model.decision import Counts, Reason, Step
from controller.model.snapshot import ReplicaPhase
from tests.builders import (
    T0,
    a_fleet,
    a_memory,
    a_profile,
    a_replica,
    a_snapshot,
    a_state,
    a_target,
    fresh,
    planned,
)
from tests.property.controller.worlds import World, worlds
from tests.scenario.controller.virtual import stretched

MANY = settings(max_examples=150, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))


def context_of(world: World) -> GuardContext | None:
    """What the guards are shown of this world; None where nothing is decided."""
    seen: list[GuardContext] = []

    def witness(context: GuardContext, _proposed: Counts) -> Step | None:
        seen.append(context)
        return None

    world.plan((witness,))
    return seen[0] if seen else None


@pytest.mark.parametrize("guard", GUARDS, ids=lambda g: g.__name__)
@settings(max_examples=40, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
@given(world=worlds(wild=True), wanted=st.lists(st.integers(0, 15), min_size=3, max_size=3))
def test_a_guard_leaves_a_number_between_what_is_and_what_was_proposed(
    guard: Guard, world: World, wanted: list[int]
) -> None:
    context = context_of(world)
    assume(context is not None)
    assert context is not None
    proposed = tuple((name, n) for (name, _), n in zip(context.current, wanted, strict=False))
    step = guard(context, proposed)
    if step is None:
        return
    assert step.before == proposed
    assert step.message
    now, limits = dict(context.current), context.bounds
    for (name, before), (_, after) in zip(proposed, step.after, strict=True):
        low, high = sorted((now[name], before))
        if guard is bound_min:
            assert after == max(before, limits[name].min)
        elif guard is bound_max:
            assert after in (min(before, limits[name].max), min(before, max(limits[name].max, now[name])))
        else:
            assert low <= after <= high


@MANY
@given(worlds(wild=True), st.lists(st.integers(0, 8), min_size=3, max_size=3))
def test_growth_is_never_held_by_the_window_for_reductions(world: World, more: list[int]) -> None:
    context = context_of(world)
    assume(context is not None)
    assert context is not None
    grown = tuple((name, r + n) for (name, r), n in zip(context.current, more, strict=False))
    assert stabilize_down(context, grown) is None


@MANY
@given(worlds(plain=True))
def test_a_longer_window_for_reductions_does_not_change_any_growth(world: World) -> None:
    def with_window(seconds: float) -> Counts:
        scaling = world.fleet.spec.scaling
        window = scaling.stabilization.model_copy(update={"down": seconds})
        spec = world.fleet.spec.model_copy(update={"scaling": scaling.model_copy(update={"stabilization": window})})
        return replace(world, fleet=world.fleet.model_copy(update={"spec": spec})).plan().decision.after

    short, long = with_window(0.0), with_window(3600.0)
    for (name, now), (_, a), (_, b) in zip(world.plan().decision.before, short, long, strict=True):
        assert a == b or (a < now and b >= a), name


@MANY
@given(worlds(), st.floats(0.1, 40))
def test_more_arrivals_never_mean_fewer_proposed_replicas(world: World, more_rps: float) -> None:
    world = world.but(refused_rps=fresh(0.5))
    busier = world.but(refused_rps=fresh(0.5 + more_rps))
    if world.fleet.spec.scaling.policy == "slo" and len(world.fleet.spec.variants) == 1:
        assert proposed(busier) >= proposed(world)
    elif world.fleet.spec.scaling.policy == "slo" and not corrected(world) | corrected(busier):
        assert carried(busier) >= carried(world) - 1e-6


def proposed(world: World) -> int:
    """Replicas that the policy asks for, before any guard."""
    return sum(r for _, r in world.plan(()).decision.after)


def corrected(world: World) -> bool:
    """Whether something beside the model had a say: what users feel, a replica given up, the operator, the budget."""
    others = {Reason.PRESSURE, Reason.IN_FLIGHT, Reason.RETRY, Reason.OVERRIDE, Reason.BUDGET, Reason.UNATTAINABLE}
    return any(s.reason in others for s in world.plan(()).decision.steps)


def carried(world: World) -> float:
    """Requests/s that the proposed mix carries."""
    made = world.plan(())
    known = dict(made.decision.estimates)
    serving = [v.name for v in world.fleet.spec.variants if v.subset == made.memory.stable]
    return sum(r * (known[f"capacity_rps.{n}"] or 0.0) for n, r in made.decision.after if n in serving)


@MANY
@given(worlds(plain=True), st.floats(1.0, 3.0))
def test_more_capacity_never_means_more_proposed_replicas(world: World, slower: float) -> None:
    """The step law at its word: nothing learned, nothing in flight beyond what was ordered."""
    unlearned = tuple(replace(v, law=None) for v in world.memory.variants)
    states = tuple(
        replace(v, signals=replace(v.signals, itl_mean_s=fresh(0.0), ttft_within_ratio=fresh(1.0), running=fresh(0.0)))
        for v in world.snapshot.variants
    )
    world = replace(world, memory=replace(world.memory, variants=unlearned)).but(variants=states)
    fast = world.plan((), {"v1": a_profile()}).decision
    slow = world.plan((), {"v1": stretched(a_profile(), (slower,) * 5)}).decision
    assume(all(c.status == "True" for d in (fast, slow) for c in d.conditions if c.type == "ObjectiveAttainable"))
    assert fast.after[0][1] <= slow.after[0][1]


def in_flight(ready: int, starting: int) -> World:
    """Demand for five, `ready` of which are there and `starting` of which load."""
    state = a_state(target=a_target(ready, starting), arrival_rps=9.6, itl_mean_s=fresh(0.0), running=fresh(20.0))
    return World(a_snapshot(state), a_memory(9.6), a_fleet())


@pytest.mark.parametrize(("ready", "starting"), [(1, 4), (2, 3), (4, 1)])
def test_the_same_demand_orders_nothing_more_while_its_replicas_load(ready: int, starting: int) -> None:
    assert in_flight(5, 0).plan().decision.after == (("v1", 5),)
    world = in_flight(ready, starting)
    for _ in range(12):
        made = world.plan()
        assert made.writes == ()
        world = replace(world, memory=made.memory).but(at=world.snapshot.at + 5)


@pytest.mark.parametrize("starting", [1, 3])
def test_what_presses_while_replicas_load_orders_nothing_more_and_says_so(starting: int) -> None:
    crowd = a_state(target=a_target(4, starting), arrival_rps=6.0, waiting=40.0, ttft_within_ratio=fresh(0.2))
    made = planned(a_snapshot(crowd), a_memory(6.0))
    assert made.writes == ()
    assert made.decision.reason is Reason.IN_FLIGHT
    settled = a_state(ready=4 + starting, arrival_rps=6.0, waiting=40.0, ttft_within_ratio=fresh(0.2))
    assert planned(a_snapshot(settled), a_memory(6.0)).decision.reason is Reason.PRESSURE


def stuck(count: int, ready: int = 2) -> World:
    """Demand for three; `count` replicas have been starting for two hours."""
    old = [a_replica(f"old{n}", ReplicaPhase.STARTING, 7200.0 + n) for n in range(count)]
    replicas = (*[a_replica(f"r{n}") for n in range(ready)], *old)
    target = replace(a_target(0), desired=len(replicas), replicas=replicas)
    return World(a_snapshot(a_state(target=target, arrival_rps=6.5)), a_memory(6.5, starting=old), a_fleet())


def test_a_given_up_replica_is_no_capacity_and_is_said() -> None:
    made = stuck(1).plan()
    assert made.decision.after == (("v1", 4),)
    assert made.decision.reason is Reason.RETRY
    capacity = next(c for c in made.decision.conditions if c.type == "CapacityAvailable")
    assert (capacity.status, capacity.reason) == ("False", "StartDeadlineExceeded")
    assert "old0" in capacity.message
    assert made.memory.variant("v1").given_up == ("old0",)


@pytest.mark.parametrize("count", [2, 3, 5])
def test_the_retry_is_bounded_however_many_were_given_up(count: int) -> None:
    assert stuck(count).plan(()).decision.after == (("v1", 4),)


def test_given_up_replicas_of_other_versions_are_not_retried() -> None:
    canary = {"name": "v2", "subset": "v2", "scaleTargetRef": {"name": "b"}, "accelerator": "l40s", "costPerHour": 1.0}
    fleet = a_fleet({**canary, "name": "v1", "subset": "v1", "scaleTargetRef": {"name": "a"}}, canary)
    broken = stuck(1, ready=0).snapshot.variants[0].target
    states = (a_state(arrival_rps=4.0), a_state("v2", target=broken, arrival_rps=0.0))
    assert planned(a_snapshot(*states), a_memory(4.0, names=("v1", "v2")), fleet).writes == ()


Dip = Callable[[int], float]


@pytest.mark.parametrize("skew_s", [-600.0, 600.0])
def test_ages_of_replicas_do_not_depend_on_the_daemons_clock(skew_s: float) -> None:
    """The daemon's clock is off by -skew; cluster and metrics agree with each other."""
    young = a_target(0, starting=1)
    target = replace(young, desired=3, replicas=(a_replica("r0"), a_replica("r1"), *young.replicas))
    seen = a_snapshot(a_state(target=target, arrival_rps=6.5), at=T0 - skew_s, source_skew_s=skew_s)
    made = planned(seen, a_memory(6.5, at=T0 - skew_s), a_fleet(start_deadline=120.0))
    assert made.memory.variant("v1").given_up == ()


def test_a_writer_of_a_dry_run_holds_nothing_that_could_write() -> None:
    writer = DryRunReplicaWriter()
    assert not hasattr(writer, "__dict__") or vars(writer) == {}
