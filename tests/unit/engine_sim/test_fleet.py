"""A simulated fleet: births, drain, death, least-request routing, all in virtual time."""

from __future__ import annotations

import itertools
from random import Random

import pytest

from engine.load.token_lengths import shipped_pairs
from engine.profile_files import load_profile
from engine.sim import counters
from engine.sim.card import Card, card_for, ideal_card
from engine.sim.fleet import Arrival, Phase, Result, SimFleet
from engine.sim.interface import Request
from tests.unit.engine_sim.cards import card


def poisson(rps: float, end_s: float, seed: int) -> list[Arrival]:
    """Poisson arrivals with token lengths of real conversations."""
    rng, pairs, at, arrivals = Random(seed), shipped_pairs("azure-conv"), 0.0, []
    for number in itertools.count():
        at += rng.expovariate(rps)
        if at > end_s:
            return arrivals
        arrivals.append(Arrival(at, Request(f"r{number}", *rng.choice(pairs))))
    raise AssertionError


def attainment_ratio(truth: Card, rps: float, seed: int, replicas: int = 1) -> float:
    """Share of the requests after a minute of warm-up with TTFT within 1 s and TPOT within 50 ms."""
    fleet = SimFleet(truth, seed)
    for _ in range(replicas):
        fleet.add_replica()
    fleet.follow(poisson(rps, 600.0, seed))
    fleet.advance_to(700.0)
    settled = [result for result in fleet.results() if result.arrived_at > 60]
    return sum(result.within(1.0, 0.05) for result in settled) / len(settled)


def by_id(fleet: SimFleet) -> dict[str, Result]:
    return {result.id: result for result in fleet.results()}


def test_requests_go_to_the_replica_with_the_fewest() -> None:
    fleet = SimFleet(card(), seed=1)
    fleet.add_replica()
    fleet.add_replica()
    for number in range(6):
        fleet.offer(Request(f"r{number}", 100, 20), at=0.01 * number)
    fleet.advance_to(0.06)
    assert [view.inflight for view in fleet.replicas()] == [3, 3]


def test_a_starting_replica_takes_nothing_and_shows_no_page() -> None:
    fleet = SimFleet(card(), seed=1)
    fleet.add_replica(ready_at=15.0)
    fleet.offer(Request("early", 10, 1), at=14.9)
    fleet.offer(Request("in time", 10, 1), at=15.0)
    fleet.advance_to(14.9)
    assert (fleet.replicas()[0].phase, dict(fleet.pages())) == (Phase.STARTING, {})
    fleet.advance_to(20.0)
    assert (by_id(fleet)["early"].error, by_id(fleet)["in time"].error, fleet.refused) == ("refused", "", 1)
    assert fleet.pages()["replica-0"].finished["length"] == 1


def test_a_draining_replica_ends_what_it_has_and_leaves() -> None:
    fleet = SimFleet(card(), seed=1)
    fleet.add_replica()
    fleet.offer(Request("old", 10, 50))
    fleet.advance_to(0.1)
    fleet.add_replica()
    fleet.drain("replica-0")
    fleet.offer(Request("new", 10, 50))
    fleet.advance_to(0.2)
    assert [(v.name, v.phase, v.inflight) for v in fleet.replicas()] == [
        ("replica-0", Phase.DRAINING, 1),
        ("replica-1", Phase.READY, 1),
    ]
    fleet.advance_to(60.0)
    assert [view.name for view in fleet.replicas()] == ["replica-1"]
    assert {result.replica for result in fleet.results()} == {"replica-0", "replica-1"}


def test_an_idle_replica_drains_at_once() -> None:
    fleet = SimFleet(card(), seed=1)
    fleet.drain(fleet.add_replica())
    assert fleet.replicas() == ()


def test_a_killed_replica_loses_its_requests() -> None:
    fleet = SimFleet(card(), seed=1)
    fleet.add_replica()
    fleet.offer(Request("r", 10, 50))
    fleet.advance_to(0.1)
    fleet.kill("replica-0")
    assert by_id(fleet)["r"].error == "lost"
    assert not by_id(fleet)["r"].within(1.0, 0.05)


def test_results_agree_with_the_pages_histograms() -> None:
    fleet = SimFleet(card_for(load_profile("l40s-8b")), seed=2)
    fleet.add_replica()
    fleet.follow(poisson(2.0, 60.0, 2))
    fleet.advance_to(300.0)
    page, results = fleet.pages()["replica-0"], fleet.results()
    assert page.histograms[counters.TTFT].count == page.finished["length"] == len(results)
    assert page.histograms[counters.TTFT].within(1.0) == sum((r.ttft_s or 0) <= 1.0 for r in results)
    assert page.histograms[counters.TPOT].within(0.05) == sum((r.tpot_s or 0) <= 0.05 for r in results)
    assert page.generation_tokens == sum(r.output_tokens for r in results)
    assert page.histograms[counters.ITL].count == page.generation_tokens - len(results)


def test_arrivals_may_be_endless_and_mixed_with_single_offers() -> None:
    fleet = SimFleet(card(), seed=1)
    fleet.add_replica()
    fleet.follow(Arrival(float(n), Request(f"r{n}", 10, 1)) for n in itertools.count())
    fleet.offer(Request("single", 10, 1), at=2.5)
    fleet.advance_to(4.5)
    assert [result.id for result in fleet.results()] == ["r0", "r1", "r2", "single", "r3", "r4"]


def test_the_past_cannot_be_offered() -> None:
    fleet = SimFleet(card(), seed=1, start_at=5.0)
    with pytest.raises(ValueError, match="nothing can arrive at"):
        fleet.offer(Request("r", 10, 1), at=4.0)


def test_the_same_seed_gives_the_same_results() -> None:
    def run() -> tuple[Result, ...]:
        fleet = SimFleet(card_for(load_profile("l40s-8b")), seed=5)
        fleet.add_replica()
        fleet.add_replica(ready_at=10.0)
        fleet.follow(poisson(4.0, 30.0, 5))
        fleet.advance_to(100.0)
        return fleet.results()

    assert run() == run()


def test_an_l40s_at_its_published_knee_serves_nearly_all_inside_the_objectives() -> None:
    """Taken at its word, the profile holds 3.5 requests/s of conversations at 95 %; 3.9 lie just past the knee."""
    ideal = ideal_card(load_profile("l40s-8b"))
    assert sum(attainment_ratio(ideal, 3.5, seed) for seed in range(3)) / 3 == pytest.approx(0.95, abs=0.03)
    assert sum(attainment_ratio(ideal, 3.9, seed) for seed in range(3)) / 3 > 0.85


def test_a_real_l40s_holds_3_9_conversations_a_second_at_95_percent() -> None:
    truth = card_for(load_profile("l40s-8b"))
    assert sum(attainment_ratio(truth, 3.9, seed) for seed in range(3)) / 3 == pytest.approx(0.95, abs=0.03)


def test_more_replicas_serve_the_same_traffic_better() -> None:
    truth = card_for(load_profile("l40s-8b"))
    ratios = [attainment_ratio(truth, 7.5, 1, replicas) for replicas in (1, 2, 3)]
    assert ratios == sorted(ratios)
    assert ratios[0] < 0.1
    assert ratios[2] > 0.97
