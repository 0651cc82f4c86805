"""What is learned: the step law, spreads, KV capacity, the mix; and which limit of a replica binds."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.estimate import law as laws
from controller.estimate.capacity import (
    CONFIDENCE_Z,
    composition,
    estimate_capacity,
    observe_kv,
    observe_law,
    observe_spreads,
)
from controller.estimate.demand import observe_mix
from controller.estimate.world import World, estimate
from controller.model.memory import FleetMemory, VariantMemory
from controller.model.snapshot import VariantSignals
from engine import perf
from engine.perf import Mix
from engine.profile import EngineLimits, Profile, StepLaw
from tests.builders import (
    OUTPUT_TOKENS,
    PROMPT_TOKENS,
    a_fleet,
    a_profile,
    a_snapshot,
    a_state,
    fresh,
    signals,
    stale,
)
from tests.scenario.controller.virtual import stretched

MIX = Mix(PROMPT_TOKENS, 0.0, OUTPUT_TOKENS)
KNOWN = VariantMemory("v1", prompt_tokens=PROMPT_TOKENS, output_tokens=OUTPUT_TOKENS)
WRONG = [(1.4,) * 5, (0.6,) * 5, (1.4, 0.6, 1.4, 0.6, 1.4), (0.6, 1.4, 0.6, 1.4, 0.6)]


def row_at(law: StepLaw, rps: float) -> laws.Row:
    """The mean step of a replica with this law at so many requests/s."""
    load = rps * perf.step_time_s(law, MIX, rps)
    seqs = load * OUTPUT_TOKENS
    return (1.0, load * PROMPT_TOKENS, load * MIX.attention_tokens2, seqs, seqs * MIX.context_tokens)


def predicted_s(belief_law: StepLaw, row: laws.Row) -> float:
    return sum(x * y for x, y in zip(laws.terms_of(belief_law), row, strict=True))


@pytest.mark.parametrize("factors", WRONG, ids=str)
@pytest.mark.parametrize("rps", [1.5, 3.0])
def test_a_prior_40_percent_off_predicts_the_operating_point_within_5_percent_after_30_windows(
    factors: tuple[float, ...], rps: float
) -> None:
    truth, wrong = a_profile().law, stretched(a_profile(), factors)
    row = row_at(truth, rps)
    belief = laws.prior(wrong)
    for _ in range(30):
        belief = laws.updated(belief, row, predicted_s(truth, row), wrong)
    assert predicted_s(laws.step_law(belief), row) == pytest.approx(predicted_s(truth, row), rel=0.05)


@settings(max_examples=50, derandomize=True, deadline=None)
@given(st.lists(st.tuples(st.floats(0.1, 4.0), st.floats(0.001, 0.5)), max_size=60))
def test_no_term_falls_below_a_tenth_of_its_prior_and_no_certainty_below_the_priors(
    seen: list[tuple[float, float]],
) -> None:
    profile = a_profile()
    start = belief = laws.prior(profile)
    for rps, step_s in seen:
        belief = laws.updated(belief, row_at(profile.law, rps), step_s, profile)
        for i, (term, floor) in enumerate(zip(belief.mean, laws.terms_of(profile.law), strict=True)):
            assert term >= 0.1 * floor
            assert -1e-18 <= belief.covariance[i * 5 + i] <= start.covariance[i * 5 + i] * (1 + 1e-9)
    assert belief.samples == len(seen)


def test_certainty_grows_with_observations_and_more_so_where_one_looks() -> None:
    profile = a_profile()
    busy, idle = row_at(profile.law, 3.0), row_at(profile.law, 0.1)
    belief = laws.prior(profile)
    before = laws.relative_error(belief, busy), laws.relative_error(belief, idle)
    for _ in range(20):
        belief = laws.updated(belief, busy, predicted_s(profile.law, busy), profile)
    assert laws.relative_error(belief, busy) < before[0] / 3
    assert laws.relative_error(belief, busy) < laws.relative_error(belief, idle) < before[1]


@pytest.mark.parametrize("step_s", [0.0, -0.01, float("nan"), float("inf")])
def test_an_impossible_step_time_teaches_nothing(step_s: float) -> None:
    belief = laws.prior(a_profile())
    assert laws.updated(belief, row_at(a_profile().law, 1.0), step_s, a_profile()) == belief


def test_an_old_reading_teaches_nothing() -> None:
    seen = signals(ready=2, arrival_rps=4.0)
    old = replace(seen, itl_mean_s=stale(0.03))
    assert observe_law(KNOWN, seen, a_profile()).law != observe_law(KNOWN, old, a_profile()).law
    assert observe_law(KNOWN, old, a_profile()).law == laws.prior(a_profile())
    assert observe_mix(KNOWN, a_state(first_token_rps=stale(9.0)), 5.0) == KNOWN


def test_another_profile_starts_the_belief_afresh() -> None:
    memory = observe_law(KNOWN, signals(), a_profile())
    other = stretched(a_profile(), (1.0,) * 5, name="other")
    learned = observe_law(memory, VariantSignals(), other).law
    assert learned == laws.prior(other)


def test_nothing_decoding_or_an_unknown_mix_says_nothing_of_a_step() -> None:
    assert composition(replace(signals(), decode_tps=fresh(0.0)), KNOWN) is None
    assert composition(signals(), VariantMemory("v1")) is None


def capacity_with(limits: dict[str, int] | None = None, mix: Mix = MIX, **thresholds: str) -> str:
    """Which limit binds."""
    profile = a_profile()
    profile = replace(profile, limits=replace(profile.limits, **(limits or {})))
    objectives = {name: {"threshold": threshold, "target": 0.95} for name, threshold in thresholds.items()}
    return estimate_capacity(KNOWN, mix, a_fleet(objectives=objectives), profile).binding


def test_the_smallest_of_four_limits_binds() -> None:
    assert capacity_with() == "tpot"
    assert capacity_with({"max_num_seqs": 4}) == "seats"
    assert capacity_with({"num_gpu_blocks": 400}) == "kv"
    assert capacity_with(mix=Mix(6000.0, 0.0, 20.0), ttft="750ms") == "ttft"


def test_capacity_is_taken_at_the_lower_confidence_bound() -> None:
    sure = replace(laws.prior(a_profile()), covariance=(0.0,) * 25, samples=100)
    unsure = estimate_capacity(KNOWN, MIX, a_fleet(), a_profile())
    certain = estimate_capacity(replace(KNOWN, law=sure), MIX, a_fleet(), a_profile())
    assert certain.uncertainty_ratio == 0.0
    assert unsure.uncertainty_ratio > 0.1
    assert unsure.rps < certain.rps / (1 + 0.5 * CONFIDENCE_Z * unsure.uncertainty_ratio)


def test_an_objective_below_an_idle_step_is_unattainable_and_sized_for_stability() -> None:
    fleet = a_fleet(objectives={"tpot": {"threshold": "10ms", "target": 0.95}})
    found = estimate_capacity(KNOWN, MIX, fleet, a_profile())
    assert not found.attainable
    assert found.rps == 0.0
    assert found.sizing_rps == found.stable_rps > 0


def test_kv_capacity_is_configured_until_a_fifth_is_used_and_then_learned_from_use() -> None:
    configured = observe_kv(KNOWN, replace(signals(), kv_capacity_tokens=fresh(50_000.0), kv_usage_ratio=fresh(0.1)))
    assert configured.kv_tokens_per_ratio == 50_000.0
    used = replace(signals(), kv_usage_ratio=fresh(0.5), running=fresh(40.0), engines=fresh(2.0))
    learned = observe_kv(configured, used).kv_tokens_per_ratio
    seen = 20 * MIX.context_tokens / 0.5
    assert learned == pytest.approx(50_000 + 0.1 * (seen - 50_000))


def test_the_mix_follows_the_windows_slowly_and_begins_with_the_first() -> None:
    first = observe_mix(VariantMemory("v1"), a_state(arrival_rps=4.0), 5.0)
    assert (first.prompt_tokens, first.output_tokens) == (PROMPT_TOKENS, OUTPUT_TOKENS)
    longer = a_state(arrival_rps=4.0, prefill_tps=fresh(4.0 * 2 * PROMPT_TOKENS))
    moved = observe_mix(first, longer, 5.0)
    assert PROMPT_TOKENS < (moved.prompt_tokens or 0) < 1.2 * PROMPT_TOKENS


PARTIAL = ("first_token_rps", "finished_rps", "prefill_tps", "cached_tps", "decode_tps", "steps_per_s", "itl_mean_s")


def seen_in_part(memory: FleetMemory) -> tuple[World, FleetMemory]:
    """Two replicas with a window that is not full yet: half of its rates, the same means."""
    full = signals(2, arrival_rps=4.0)
    half = {name: stale((getattr(full, name).value or 0.0) / 2) for name in PARTIAL[:-1]}
    state = a_state(arrival_rps=4.0, **half, itl_mean_s=stale(full.itl_mean_s.value or 0.0))
    return estimate(a_snapshot(state), memory, a_fleet(), {"v1": a_profile()})


def test_a_fleet_of_which_nothing_is_known_is_judged_by_its_first_look_and_remembers_none_of_it() -> None:
    world, memory = seen_in_part(FleetMemory.empty("llm/llama-8b"))
    assert world.mix == MIX
    assert world.capacities["v1"].samples == 1
    assert memory.variant("v1").prompt_tokens is None
    law = memory.variant("v1").law
    assert law is None or law.samples == 0


def test_what_is_known_is_not_touched_by_a_window_that_is_not_full() -> None:
    _, known = estimate(a_snapshot(), FleetMemory.empty("llm/llama-8b"), a_fleet(), {"v1": a_profile()})
    world, memory = seen_in_part(known)
    assert world.capacities["v1"].samples == 1
    assert memory.variant("v1").law == known.variant("v1").law


def test_the_spread_is_learned_from_the_share_inside_the_objective_in_steady_windows_only() -> None:
    fleet = a_fleet()
    state = a_state(ready=2, arrival_rps=6.0, itl_mean_s=fresh(0.04), tpot_within_ratio=fresh(0.9))
    steady = a_snapshot(state)
    assert observe_spreads(KNOWN, state, fleet, steady).tpot_spread != KNOWN.tpot_spread
    jumping = replace(steady, inflight=fresh(90.0), inflight_before=fresh(30.0))
    assert observe_spreads(KNOWN, state, fleet, jumping) == KNOWN


def shipped(limits: EngineLimits) -> Profile:
    return replace(a_profile(), limits=limits)


@settings(max_examples=60, derandomize=True, deadline=None)
@given(st.floats(50, 4000), st.floats(10, 800))
def test_capacity_keeps_the_mean_step_inside_the_objective(prompt: float, output: float) -> None:
    mix = Mix(prompt, 0.0, output)
    found = estimate_capacity(KNOWN, mix, a_fleet(), a_profile())
    assert perf.step_time_s(a_profile().law, mix, found.rps) <= 0.05
