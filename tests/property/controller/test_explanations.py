"""Law 4: what is said of a decision is true. Counterfactuals are tried by planning again."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, event, given, settings

from controller.decide.allocation import KEPT_S
from controller.model.decision import Counts
from controller.model.plan import Plan
from controller.model.snapshot import Reading
from tests.builders import (
    T0,
    a_fleet,
    a_memory,
    a_replica,
    a_snapshot,
    a_state,
    a_target,
    a_variant,
    fresh,
    planned,
)
from tests.property.controller.worlds import World, worlds

LONG = settings(max_examples=100, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
ARROW = r"(?P<before>[^→]+) → (?P<after>.+?) if "
MORE = re.compile(ARROW + r"(?:waiting > (?P<waiting>\d+))?(?: or )?(?:arrival > (?P<arrival>[\d.]+)/s)?$")


def counts_text(counts: Counts) -> str:
    return str(counts[0][1]) if len(counts) == 1 else ", ".join(f"{n} {r}" for n, r in counts)


def with_arrivals(world: World, made: Plan, arrival_rps: float) -> World:
    """The same world with other arrivals: the difference is refused at the proxy, which is nothing else's input."""
    now = dict(made.decision.estimates)["arrival_rps"] or 0.0
    refused = (world.snapshot.refused_rps.value or 0.0) + arrival_rps - now
    return world.but(refused_rps=fresh(refused))


def with_waiting(world: World, waiting: float) -> World:
    first, *others = world.snapshot.variants
    changed = replace(first, signals=replace(first.signals, waiting=Reading(waiting, first.signals.waiting.freshness)))
    return world.but(variants=(changed, *others))


def after_text(world: World) -> str:
    return counts_text(world.plan().decision.after)


@LONG
@given(worlds(plain=True))
def test_more_arrivals_than_stated_give_the_stated_replicas_and_fewer_do_not(world: World) -> None:
    made = world.plan()
    stated = [m for text in made.decision.counterfactuals if (m := MORE.match(text)) and m["arrival"]]
    assume(stated and sum(r for _, r in made.decision.before) > 0)
    for match in stated:
        edge = float(match["arrival"])
        assert match["before"] == counts_text(made.decision.after)
        assert after_text(with_arrivals(world, made, edge + 0.01)) == match["after"]
        now = dict(made.decision.estimates)["arrival_rps"] or 0.0
        refused = world.snapshot.refused_rps.value or 0.0
        if now - refused <= edge - 0.11:
            event("tried just before the edge")
            assert after_text(with_arrivals(world, made, max(edge - 0.11, now))) == match["before"]


@LONG
@given(worlds(plain=True))
def test_more_waiting_than_stated_gives_the_stated_replicas_and_fewer_do_not(world: World) -> None:
    made = world.plan()
    stated = [m for text in made.decision.counterfactuals if (m := MORE.match(text)) and m["waiting"]]
    assume(stated)
    for match in stated:
        edge = float(match["waiting"])
        assert match["before"] == counts_text(made.decision.after)
        assert after_text(with_waiting(world, edge + 1)) == match["after"]
        if edge >= (world.snapshot.variants[0].signals.waiting.value or 0.0):
            assert after_text(with_waiting(world, edge)) == match["before"]


@settings(LONG, max_examples=30)
@given(worlds())
def test_every_statement_about_arrivals_holds_in_fleets_of_several_flavours_too(world: World) -> None:
    made = world.plan()
    stated = [m for text in made.decision.counterfactuals if (m := MORE.match(text)) and m["arrival"]]
    assume(stated and len(world.fleet.spec.variants) > 1 and sum(r for _, r in made.decision.before) > 0)
    for match in stated:
        assert match["before"] == counts_text(made.decision.after)
        assert after_text(with_arrivals(world, made, float(match["arrival"]) + 0.01)) == match["after"]


LESS = re.compile(r"(\d+) → (\d+) after (\d+) s with arrivals below ([\d.]+)/s and nobody waiting$")


def lull(ready: int, arrival_rps: float, for_s: float, down_s: float = 60.0) -> int:
    """Replicas after so long with so many arrivals, from a fleet that was busy; nothing is learned meanwhile."""
    fleet = a_fleet(stabilization={"down": down_s})
    memory = a_memory(3.0 * ready, wanted=[{"v1": ready}])
    state = a_state(ready=ready, arrival_rps=arrival_rps, itl_mean_s=Reading(None, fresh(0).freshness), waiting=0.0)
    counts = ready
    for second in range(0, int(for_s) + 1, 5):
        made = planned(a_snapshot(state, at=T0 + second), memory, fleet)
        memory, counts = made.memory, made.decision.after[0][1]
        if counts < ready:
            break
    return counts


@pytest.mark.parametrize("ready", [2, 3, 5, 9])
@pytest.mark.parametrize("down_s", [60.0, 300.0])
def test_fewer_arrivals_than_stated_for_as_long_as_stated_let_one_replica_go(ready: int, down_s: float) -> None:
    fleet = a_fleet(stabilization={"down": down_s})
    seen = a_state(ready=ready, arrival_rps=1.9 * ready, itl_mean_s=Reading(None, fresh(0).freshness))
    made = planned(a_snapshot(seen), a_memory(1.9 * ready, wanted=[{"v1": ready}]), fleet)
    match = next(m for text in made.decision.counterfactuals if (m := LESS.match(text)))
    before, after, seconds, arrival = int(match[1]), int(match[2]), float(match[3]), float(match[4])
    assert (before, after) == (ready, ready - 1)
    assert lull(ready, arrival - 0.01, seconds, down_s) < ready
    assert lull(ready, arrival + 0.11, seconds, down_s) == ready


def test_beside_a_given_up_replica_the_edge_counts_the_retry() -> None:
    replicas = (a_replica("r0"), a_replica("r1"), a_replica("r2", age_s=9000.0))
    stuck = replace(replicas[2], phase=a_target(0, starting=1).replicas[0].phase, ready_at=None)
    target = replace(a_target(0), desired=3, replicas=(*replicas[:2], stuck))
    world = World(a_snapshot(a_state(target=target, arrival_rps=7.0)), a_memory(7.0, starting=(stuck,)), a_fleet())
    made = world.plan()
    match = next(m for text in made.decision.counterfactuals if (m := MORE.match(text)) and m["arrival"])
    assert made.decision.after == (("v1", 4),)
    assert after_text(with_arrivals(world, made, float(match["arrival"]) + 0.01)) == match["after"]
    assert after_text(with_arrivals(world, made, float(match["arrival"]) - 0.11)) == "4"


def test_under_pressure_the_edge_lies_beyond_the_replica_that_pressure_added() -> None:
    slow: dict[str, Any] = {"ttft_within_ratio": fresh(0.5)}
    world = World(a_snapshot(a_state(ready=3, arrival_rps=4.0, **slow)), a_memory(4.0), a_fleet())
    made = world.plan()
    match = next(m for text in made.decision.counterfactuals if (m := MORE.match(text)) and m["arrival"])
    assert made.decision.after == (("v1", 4),)
    assert after_text(with_arrivals(world, made, float(match["arrival"]) + 0.01)) == match["after"] == "5"
    assert after_text(with_arrivals(world, made, float(match["arrival"]) - 0.11)) == "4"


def test_a_fleet_at_its_maximum_says_so_and_promises_nothing_for_more_demand() -> None:
    made = planned(a_snapshot(a_state(ready=3, arrival_rps=30.0)), a_memory(30.0), a_fleet(high=3))
    assert made.decision.counterfactuals[0] == "3 is the most allowed of v1 (replicas of variant v1)"
    assert not any(MORE.match(text) for text in made.decision.counterfactuals)


def test_a_paused_fleet_promises_no_change() -> None:
    made = planned(a_snapshot(a_state(ready=3, arrival_rps=9.0)), a_memory(9.0), a_fleet(paused=True))
    assert made.decision.counterfactuals == ()


RULE = re.compile(ARROW + r"(?P<when>.+)$")


@pytest.mark.parametrize("busy", [0.1, 0.5, 0.95])
@pytest.mark.parametrize("ready", [1, 2, 3])
def test_under_thresholds_each_stated_side_of_the_rule_gives_what_is_stated(busy: float, ready: int) -> None:
    fleet = a_fleet(policy="thresholds", low=1, high=3, stabilization={"down": "0s"})
    state = a_state(ready=ready, arrival_rps=0.5, gpu_busy_ratio=fresh(busy))
    world = World(a_snapshot(state), a_memory(0.5), fleet)
    made = world.plan()
    stated = [m for text in made.decision.counterfactuals if (m := RULE.match(text))]
    assert stated
    for match in stated:
        side = 0.5 if match["when"].startswith("neither") else 0.95 if "GPU >" in match["when"] else 0.1
        other = replace(state, signals=replace(state.signals, gpu_busy_ratio=fresh(side)))
        assert match["before"] == counts_text(made.decision.after)
        assert after_text(world.but(variants=(other,))) == match["after"]


@LONG
@given(worlds())
def test_rejected_alternatives_carry_less_than_is_required_cost_more_or_are_not_needed(world: World) -> None:
    made = world.plan()
    known, demand = dict(made.decision.estimates), made.decision.steps[0]
    required = re.search(r"([\d.]+)/s at a horizon", demand.message)
    assume(made.decision.rejected and required)
    assert required is not None
    headroom = 1 - world.fleet.spec.scaling.headroom
    serving = [v.name for v in world.fleet.spec.variants if v.subset == made.memory.stable]
    chosen = made.decision.steps[1]
    for other in made.decision.rejected:
        carried = sum(r * (known[f"capacity_rps.{n}"] or 0.0) * headroom for n, r in other.replicas if n in serving)
        more = price(world, made, other.replicas) - price(world, made, chosen.after)
        stated = re.match(r"costs ([\d.]+)/h more$", other.why_not)
        assert other.replicas != made.decision.after
        if other.why_not.startswith("carries"):
            assert carried < float(required[1]) + 0.06
        elif any(v.given_up for v in made.memory.variants):
            continue
        elif stated:
            assert more == pytest.approx(float(stated[1]), abs=0.006)
            assert carried >= float(required[1]) - 0.06
        elif other.why_not.startswith("not needed"):
            assert more > 0


def price(world: World, made: Plan, counts: Counts) -> float:
    """Per hour, with the price of the starts that it takes."""
    known, now = dict(made.decision.estimates), dict(made.decision.before)
    prices = {v.name: v.cost_per_hour for v in world.fleet.spec.variants}
    starts = {n: max(0, r - now[n]) * (known[f"cold_start_p90_s.{n}"] or 0.0) / KEPT_S for n, r in counts}
    return sum(prices[n] * (r + starts[n]) for n, r in counts)


@LONG
@given(worlds())
def test_the_sentence_names_every_number(world: World) -> None:
    decision = world.plan().decision
    for _, replicas in decision.after:
        assert str(replicas) in decision.sentence


def test_flavours_are_named_with_their_numbers() -> None:
    fleet = a_fleet(a_variant("l40s", cost=1.86), a_variant("h100", 0, 4, 8.0))
    states = (a_state("l40s", ready=2, arrival_rps=4.0), a_state("h100", target=a_target(0), arrival_rps=0.0))
    made = planned(a_snapshot(*states), a_memory(4.0, names=("l40s", "h100")), fleet)
    assert made.decision.sentence.startswith("hold l40s 2, h100 0: ")
    assert made.decision.counterfactuals[0].startswith("l40s 2, h100 0 → l40s 3, h100 0 if ")
