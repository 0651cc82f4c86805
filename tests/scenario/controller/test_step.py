"""Arrivals times three within a second: seen, answered, held, and given back."""

from __future__ import annotations

import pytest

from tests.builders import a_profile
from tests.scenario.controller.step import (
    COLD_START_S,
    END,
    LOAD_END,
    STEP_AT,
    TRAFFIC_END,
    Stretch,
    first_jump,
    growths,
    played,
    scenario,
    step_stack,
)
from tests.scenario.controller.virtual import stretched

STRETCHES = [
    Stretch("every term 40 % up", (1.4,) * 5),
    Stretch("every term 40 % down", (0.6,) * 5),
    Stretch("signs in turn, base up", (1.4, 0.6, 1.4, 0.6, 1.4)),
    Stretch("signs in turn, base down", (0.6, 1.4, 0.6, 1.4, 0.6)),
    Stretch("prefill terms up, decode terms down", (1.0, 1.4, 1.4, 0.6, 0.6)),
    Stretch("prefill terms down, decode terms up", (1.0, 0.6, 0.6, 1.4, 1.4)),
]


@pytest.fixture(scope="module", params=range(1, 9), ids=lambda seed: f"seed {seed}")
def seed(request: pytest.FixtureRequest) -> int:
    """Scoped so that the tests of one seed follow each other and share its run."""
    number: int = request.param
    return number


def test_the_first_growth_comes_within_12_s_of_the_step(seed: int) -> None:
    first = growths(played(seed), STEP_AT)[0]
    assert first - STEP_AT <= 12


def test_the_fleet_grows_within_2_s_of_the_first_sample_that_jumps(seed: int) -> None:
    stack = played(seed)
    jump = first_jump(stack.signals.inflight_history, STEP_AT)
    assert jump is not None
    assert growths(stack, STEP_AT)[0] <= jump + 2


def test_it_recovers_within_a_cold_start_and_30_s_and_then_holds_the_objectives(seed: int) -> None:
    stack = played(seed)
    recovery_s = stack.recovery_s(STEP_AT, LOAD_END)
    assert recovery_s <= COLD_START_S + 30
    assert stack.attainment(STEP_AT + recovery_s, LOAD_END) >= 0.99


def test_the_fleet_returns_to_its_floor_and_loses_no_request(seed: int) -> None:
    stack = played(seed)
    assert stack.cluster.desired == 2
    results = stack.results(0, END)
    assert [r for r in results if r.error] == []
    assert len(results) == sum(1 for a in scenario().arrivals(seed) if a.at_s < TRAFFIC_END)
    assert max(count for _, count in stack.counts()) <= 8


@pytest.mark.parametrize("one", [1, 2])
def test_the_static_fleet_does_not_recover_while_the_load_lasts(one: int) -> None:
    stack = step_stack(one, paused=True)
    stack.run(END)
    assert stack.counts() == []
    assert stack.recovery_s(STEP_AT, LOAD_END) >= LOAD_END - STEP_AT


@pytest.mark.parametrize("stretch", STRETCHES, ids=lambda s: s.name)
@pytest.mark.parametrize("one", [1, 2])
def test_a_prior_that_is_40_percent_off_costs_at_most_30_s_more(stretch: Stretch, one: int) -> None:
    stack = played(one, stretched(a_profile(), stretch.factors))
    recovery_s = stack.recovery_s(STEP_AT, LOAD_END)
    assert recovery_s <= COLD_START_S + 60
    assert stack.attainment(STEP_AT + recovery_s, LOAD_END) >= 0.99
    assert stack.cluster.desired == 2
