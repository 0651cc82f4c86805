"""Cold starts are sums of stages; a card differs from its profile as served engines do."""

from __future__ import annotations

from statistics import median

import pytest

from engine.profile_files import load_profile
from engine.sim.card import card_for, ideal_card
from engine.sim.cold_start import sample_cold_start
from tests.unit.engine_sim.cards import STAGES


def total_s(seed: int, imposed_s: float | None = None) -> float:
    return sum(span.duration_s for span in sample_cold_start(STAGES, seed, imposed_s))


def test_stages_scatter_around_their_medians() -> None:
    boots = [sample_cold_start(STAGES, seed)[0].duration_s for seed in range(400)]
    assert median(boots) == pytest.approx(10.0, rel=0.05)
    assert len(set(boots)) == 400


def test_the_same_seed_starts_alike() -> None:
    assert sample_cold_start(STAGES, 3) == sample_cold_start(STAGES, 3)


def test_an_imposed_total_is_met_with_the_stages_in_proportion() -> None:
    assert total_s(3, 15.0) == pytest.approx(15.0)
    free, imposed = sample_cold_start(STAGES, 3), sample_cold_start(STAGES, 3, 15.0)
    assert imposed[0].duration_s / imposed[1].duration_s == pytest.approx(free[0].duration_s / free[1].duration_s)


def test_a_start_without_stages_takes_the_imposed_total() -> None:
    assert [span.duration_s for span in sample_cold_start((), 1, 2.0)] == [2.0]


def test_a_real_card_differs_from_its_profile_by_the_documented_factors() -> None:
    profile = load_profile("l40s-8b")
    card, law = card_for(profile), profile.law
    assert card.law.base_s == pytest.approx(law.base_s * 0.82)
    assert card.law.kv_s_per_token == pytest.approx(law.kv_s_per_token * 1.04)
    assert card.law.prefill_s_per_token == pytest.approx(law.prefill_s_per_token * 1.05)
    assert card.api_overhead_s == 0.015
    assert ideal_card(profile).law == law
