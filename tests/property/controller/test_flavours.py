"""Several flavours of one version: the cheapest mix, the budget, and shifts that never leave a gap."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.decide.allocation import KEPT_S, Option, allocate, mixture
from controller.model.decision import Decision, Reason
from controller.model.fleet import Fleet
from controller.model.memory import FleetMemory
from controller.model.snapshot import Replica, ReplicaPhase, ScaleTarget
from tests.builders import T0, a_fleet, a_memory, a_replica, a_snapshot, a_state, a_target, a_variant, fresh, planned


@st.composite
def options(draw: st.DrawFn) -> list[Option]:
    found = []
    for i in range(draw(st.integers(1, 3))):
        low = draw(st.integers(0, 2))
        found.append(
            Option(
                name=f"v{i}",
                rps=draw(st.sampled_from([0.0, 0.5, 1.0, 2.5, 3.0, 7.0])),
                cost_per_hour=draw(st.sampled_from([1.0, 1.86, 2.0, 4.0, 8.0])),
                min=low,
                max=low + draw(st.integers(0, 5)),
                current=draw(st.integers(0, 6)),
                cold_start_s=draw(st.sampled_from([0.0, 15.0, 600.0])),
            )
        )
    return found


def score(found: Sequence[Option], counts: Sequence[int]) -> float:
    """Price per hour with the price of starts, by its definition."""
    return sum(
        n * o.cost_per_hour + max(0, n - o.current) * o.cost_per_hour * o.cold_start_s / KEPT_S
        for n, o in zip(counts, found, strict=True)
    )


@settings(max_examples=300, derandomize=True, deadline=None)
@given(options(), st.floats(0, 30), st.none() | st.floats(1, 30))
def test_the_allocation_is_the_cheapest_of_all_mixes_that_carry_the_demand(
    found: list[Option], required: float, budget: float | None
) -> None:
    every = [mixture(found, counts) for counts in product(*(range(o.min, o.max + 1) for o in found))]
    enough = [m for m in every if m.rps >= required - 1e-9]
    affordable = [m for m in enough if budget is None or m.cost_per_hour <= budget + 1e-9]
    made = allocate(found, required, budget)
    assert all(o.min <= n <= o.max for o, n in zip(found, made.chosen.counts, strict=True))
    assert made.chosen.score == pytest.approx(score(found, made.chosen.counts))
    if affordable:
        assert made.short == ""
        assert made.chosen in affordable
        assert made.chosen.score == pytest.approx(min(m.score for m in affordable))
        assert all(other.score >= made.chosen.score - 1e-9 for other in made.runners_up)
        assert all(other in affordable for other in made.runners_up)
    else:
        assert made.short == ("budget" if enough else made.short)
        assert made.short in ("budget", "max", "max and budget")
        floor = sum(o.min * o.cost_per_hour for o in found)
        assert budget is None or made.chosen.cost_per_hour <= max(budget, floor) + 1e-9


def test_sixteen_flavours_are_searched_in_bounded_time() -> None:
    many = [Option(f"v{i}", 1.0 + i / 7, 1.0 + i / 6.5, 0, 50, i % 3, 30.0) for i in range(16)]
    made = allocate(many, 300.0, 500.0)
    assert made.chosen.rps >= 300.0
    best_value = min(o.price for o in many)
    assert made.chosen.cost_per_hour <= 300.0 * best_value * 1.1


@dataclass
class Hand:
    """A cluster moved by hand: what is written is there at once, and ready after 15 s."""

    fleet: Fleet
    replicas: dict[str, list[Replica]]
    memory: FleetMemory
    at: float = T0
    ready: list[int] = field(default_factory=list)
    sizes: list[Mapping[str, int]] = field(default_factory=list)
    reasons: set[Reason] = field(default_factory=set)

    def play(self, cycles: int, arrival_rps: float) -> None:
        for _ in range(cycles):
            self._cycle(arrival_rps)
            self.at += 5

    def _cycle(self, arrival_rps: float) -> None:
        targets = {name: self._target(name) for name in self.replicas}
        ready = sum(t.ready for t in targets.values())
        states = [
            a_state(name, target=t, arrival_rps=arrival_rps * t.ready / max(ready, 1), itl_mean_s=fresh(0.0))
            for name, t in targets.items()
        ]
        made = planned(a_snapshot(*states, at=self.at), self.memory, self.fleet)
        self.memory = made.memory
        self.ready.append(ready)
        self.reasons |= {s.reason for s in made.decision.steps}
        for write in made.writes:
            self._apply(write.variant, write.replicas, write.victims)
        self.sizes.append({name: len(found) for name, found in self.replicas.items()})

    def _target(self, name: str) -> ScaleTarget:
        seen = []
        for replica in self.replicas[name]:
            ready_at = replica.created_at + 15.0
            done = self.at >= ready_at
            phase = ReplicaPhase.READY if done else ReplicaPhase.STARTING
            seen.append(replace(replica, phase=phase, ready_at=ready_at if done else None, load=1.0))
        return ScaleTarget(len(seen), "1", tuple(seen))

    def _apply(self, name: str, wanted: int, victims: Sequence[str]) -> None:
        stay = [r for r in self.replicas[name] if r.name not in victims]
        born = [Replica(f"{name}-{self.at:.0f}-{n}", ReplicaPhase.STARTING, self.at) for n in range(wanted - len(stay))]
        self.replicas[name] = [*stay, *born]


def two_flavours(**scaling: Any) -> Hand:
    """Six dear replicas carry 10 requests/s; cheaper ones of the same kind have become available."""
    fleet = a_fleet(a_variant("dear", 0, 10, 8.0), a_variant("cheap", 0, 10, 1.0), **scaling)
    old = [a_replica(f"dear-{n}", age_s=900.0 + n) for n in range(6)]
    memory = a_memory(10.0, wanted=[{"dear": 6, "cheap": 0}], names=("dear", "cheap"))
    return Hand(fleet, {"dear": old, "cheap": []}, memory)


def test_a_shift_to_a_cheaper_flavour_grows_it_first_and_leaves_no_gap() -> None:
    hand = two_flavours()
    hand.play(60, 10.0)
    assert hand.sizes[-1]["dear"] == 0
    assert hand.sizes[-1]["cheap"] >= 4
    assert min(hand.ready) >= 5
    grown = next(i for i, s in enumerate(hand.sizes) if s["cheap"] >= 4)
    gone = next(i for i, s in enumerate(hand.sizes) if s["dear"] < 6)
    assert gone >= grown + 3


def test_a_shift_without_any_window_still_waits_until_the_cheaper_replicas_are_ready() -> None:
    hand = two_flavours(stabilization={"down": 0.0})
    hand.play(40, 10.0)
    assert hand.sizes[-1]["dear"] == 0
    assert min(hand.ready) >= 5
    assert Reason.HEADROOM in hand.reasons


def test_a_shift_never_costs_more_than_the_budget() -> None:
    hand = two_flavours(max_cost_per_hour=50.0)
    hand.play(80, 10.0)
    costs = [8.0 * s["dear"] + 1.0 * s["cheap"] for s in hand.sizes]
    assert max(costs) <= 50.0
    assert hand.sizes[-1]["dear"] < 6


def test_the_budget_buys_the_better_value_first() -> None:
    fleet = a_fleet(a_variant("dear", 0, 10, 8.0), a_variant("cheap", 0, 4, 1.0), max_cost_per_hour=12.0)
    states = (
        a_state("dear", target=a_target(0), arrival_rps=0.0),
        a_state("cheap", ready=2, arrival_rps=30.0, itl_mean_s=fresh(0.0)),
    )
    made = planned(a_snapshot(*states), a_memory(30.0, names=("dear", "cheap")), fleet)
    assert made.decision.after == (("dear", 1), ("cheap", 4))
    assert made.decision.reason is Reason.BUDGET
    assert "12 per hour" in made.decision.sentence


def test_flavours_that_may_all_sleep_keep_one_replica_until_the_idle_time_is_over() -> None:
    hand = two_flavours(stabilization={"down": 0.0}, idle_after=200.0)
    hand.play(30, 0.0)
    assert sum(hand.sizes[-1].values()) == 1
    hand.play(40, 0.0)
    assert sum(hand.sizes[-1].values()) == 0


def test_another_version_keeps_its_replicas_and_carries_nothing_of_the_stable_one() -> None:
    fleet = a_fleet(a_variant("v1", 1, 10), a_variant("v2", 0, 10, 0.1, subset="canary"))
    states = (a_state("v1", ready=2, arrival_rps=14.0, itl_mean_s=fresh(0.0)), a_state("v2", ready=3, arrival_rps=0.1))
    made = planned(a_snapshot(*states), a_memory(14.0, names=("v1", "v2")), fleet)
    assert dict(made.decision.after)["v2"] == 3
    assert dict(made.decision.after)["v1"] >= 4
    quiet = (a_state("v1", ready=4, arrival_rps=0.5), a_state("v2", ready=3, arrival_rps=0.1))
    made = planned(a_snapshot(*quiet), a_memory(0.6, names=("v1", "v2")), fleet)
    assert dict(made.decision.after)["v2"] == 3
    assert dict(made.decision.after)["v1"] < 4


def pressed(first: ScaleTarget, second: ScaleTarget, most: tuple[int, int] = (2, 4)) -> Decision:
    """Two flavours of one version; the first one misses its objective for first tokens."""
    fleet = a_fleet(a_variant("v1", 1, most[0]), a_variant("v2", 1, most[1]))
    states = (a_state("v1", target=first, ttft_within_ratio=fresh(0.5)), a_state("v2", target=second))
    return planned(a_snapshot(*states), a_memory(8.0, names=("v1", "v2")), fleet).decision


def test_pressure_on_a_flavour_at_its_most_orders_one_more_of_the_next() -> None:
    made = pressed(a_target(2), a_target(2))
    assert (made.after, made.reason) == ((("v1", 2), ("v2", 3)), Reason.PRESSURE)
    assert "at most 2 of v1 are allowed (replicas of variant v1): one more of v2" in made.sentence


def test_pressure_orders_of_the_flavour_that_is_pressed_while_it_has_room() -> None:
    assert pressed(a_target(2), a_target(2), (3, 4)).after == (("v1", 3), ("v2", 2))


def test_pressure_orders_nothing_more_while_the_next_flavour_loads() -> None:
    made = pressed(a_target(2), a_target(2, starting=1))
    assert (made.after, made.reason) == ((("v1", 2), ("v2", 3)), Reason.IN_FLIGHT)


def test_pressure_on_flavours_that_are_all_at_their_most_says_so() -> None:
    made = pressed(a_target(2), a_target(2), (2, 2))
    assert (made.after, made.reason) == ((("v1", 2), ("v2", 2)), Reason.PRESSURE)
    assert "but at most 2 of v1 are allowed" in made.sentence
