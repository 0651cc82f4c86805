"""The closed form against the simulator that steps through every batch, and its own inverse functions."""

from __future__ import annotations

import itertools
import math
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import perf
from engine.load.token_lengths import shipped_pairs
from engine.perf import Mix, Promise
from engine.sim.card import ideal_card
from engine.sim.fleet import Arrival, Result, SimFleet
from engine.sim.interface import Request
from tests.builders import a_profile

PROFILE = a_profile()
LAW, LIMITS = PROFILE.law, PROFILE.limits
PAIRS = shipped_pairs("azure-conv")
MIX = Mix(sum(p for p, _ in PAIRS) / len(PAIRS), 0.0, sum(o for _, o in PAIRS) / len(PAIRS))
RATES = [0.5, 1.5, 2.5, 3.5]


def answers(rps: float, seed: int = 1, end_s: float = 400.0) -> list[Result]:
    """Poisson traffic of real lengths on one noiseless replica that obeys the profile to the letter."""
    rng, at, arrivals = Random(seed), 0.0, []
    for number in itertools.count():
        at += rng.expovariate(rps)
        if at > end_s:
            break
        arrivals.append(Arrival(at, Request(f"r{number}", *rng.choice(PAIRS))))
    fleet = SimFleet(ideal_card(PROFILE), seed)
    fleet.add_replica()
    fleet.follow(arrivals)
    fleet.advance_to(end_s + 60)
    return [r for r in fleet.results() if 60 < r.arrived_at < end_s]


def mean(values: list[float]) -> float:
    return sum(values) / len(values)


@pytest.mark.parametrize("rps", RATES)
def test_the_step_time_is_the_simulators_mean_time_per_token_within_12_percent(rps: float) -> None:
    found = [r for r in answers(rps) if r.tpot_s and r.output_tokens > 1]
    weighted = sum((r.tpot_s or 0.0) * r.output_tokens for r in found) / sum(r.output_tokens for r in found)
    assert perf.step_time_s(LAW, MIX, rps) == pytest.approx(weighted, rel=0.12)


@pytest.mark.parametrize("rps", RATES[:3])
def test_the_mean_time_to_first_token_is_the_simulators_within_40_percent(rps: float) -> None:
    seen = mean([r.ttft_s for r in answers(rps) if r.ttft_s is not None])
    assert perf.ttft_mean_s(LAW, LIMITS, MIX, rps, PROFILE.api_overhead_s) == pytest.approx(seen, rel=0.4)


@given(st.floats(0.01, 0.99))
def test_the_rate_for_a_step_time_is_its_inverse(share: float) -> None:
    rps = share / perf.work_s(LAW, MIX)
    assert perf.rps_for_step_time(LAW, MIX, perf.step_time_s(LAW, MIX, rps)) == pytest.approx(rps, rel=1e-6)


@given(st.floats(0.1, 200))
def test_the_rate_for_a_batch_holds_that_batch_by_littles_law(seqs: float) -> None:
    rps = perf.rps_for_batch(LAW, MIX, seqs)
    assert rps * MIX.output_tokens * perf.step_time_s(LAW, MIX, rps) == pytest.approx(seqs, rel=1e-6)


@given(st.floats(0.12, 5.0))
def test_the_rate_for_a_time_to_first_token_reaches_it_and_no_more(mean_s: float) -> None:
    rps = perf.rps_for_ttft(LAW, LIMITS, MIX, mean_s, 0.01)
    assert perf.ttft_mean_s(LAW, LIMITS, MIX, rps, 0.01) <= mean_s
    assert perf.ttft_mean_s(LAW, LIMITS, MIX, rps * 1.001 + 1e-4, 0.01) >= mean_s * 0.98


@given(st.floats(0, 6), st.floats(0, 6))
def test_more_requests_never_make_steps_or_first_tokens_faster(one: float, other: float) -> None:
    low, high = sorted((one, other))
    assert perf.step_time_s(LAW, MIX, low) <= perf.step_time_s(LAW, MIX, high)
    assert perf.ttft_mean_s(LAW, LIMITS, MIX, low, 0.0) <= perf.ttft_mean_s(LAW, LIMITS, MIX, high, 0.0)


def test_beyond_its_capacity_a_replica_takes_for_ever() -> None:
    assert perf.step_time_s(LAW, MIX, 1.01 / perf.work_s(LAW, MIX)) == math.inf
    assert perf.ttft_mean_s(LAW, LIMITS, MIX, 1.01 / perf.work_s(LAW, MIX), 0.0) == math.inf


def test_what_an_idle_engine_misses_no_rate_meets() -> None:
    assert perf.rps_for_step_time(LAW, MIX, LAW.base_s) == 0.0
    assert perf.rps_for_ttft(LAW, LIMITS, MIX, 0.001, 0.0) == 0.0


@given(st.floats(0.5, 0.999), st.floats(0.03, 1.5))
def test_a_promise_is_kept_by_its_share_of_lognormal_latencies(ratio: float, spread: float) -> None:
    promise = Promise(1.0, ratio)
    median_s = promise.mean_s(spread)
    assert math.log(1.0 / median_s) / spread == pytest.approx(perf.quantile_z(ratio), abs=1e-9)


def test_a_prefix_found_in_the_cache_saves_its_prefill_but_not_its_context() -> None:
    whole, cached = Mix(1000.0, 0.0, 200.0), Mix(200.0, 800.0, 200.0)
    assert cached.context_tokens == whole.context_tokens
    assert perf.work_s(LAW, cached) < perf.work_s(LAW, whole)
